"""`python -m helpers.course NAME`, as it was spelt until version 1: now `python -m course NAME`."""

import runpy

if __name__ == "__main__":
    runpy.run_module("course", run_name="__main__")
