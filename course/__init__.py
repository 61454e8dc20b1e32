"""What makes, measures and publishes the course: `python -m course NAME`. No lesson imports it."""

import importlib.util
import sys

_LACKING = [name for name in ("click", "pandas", "papermill") if importlib.util.find_spec(name) is None]
if sys.version_info < (3, 11) or _LACKING:
    _why = "lacks " + ", ".join(_LACKING) if _LACKING else "is older than 3.11"
    sys.exit(
        "This Python ({}) {}: run `make NAME`, or `python3 course/setup.py` once and then `.venv/bin/python"
        " -m course NAME` (on Windows `.venv\\Scripts\\python`).".format(sys.executable, _why)
    )
