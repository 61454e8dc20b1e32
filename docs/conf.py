"""The site, for Sphinx (`python -m course site`): README as front page, notebooks with their outputs."""

import json
from binascii import a2b_base64
from struct import unpack

project = "Domain-Driven Anomaly Detection"
author = copyright = "The course's authors"
extensions = ["myst_nb"]
root_doc = "README"
include_patterns = [
    "README.md",
    "CHANGELOG.md",
    "LICENSE-DATA.md",
    "notebooks/*.ipynb",
    "docs/*.md",
    "data/README.md",
    "results/*.md",
]
nb_execution_mode = "off"
myst_heading_anchors = 3
html_theme = "furo"
html_title = project
html_copy_source = False
html_static_path = ["site.css"]
html_css_files = ["site.css"]
CONTENTS = """
```{toctree}
:hidden:
:glob:
:caption: Notebooks

notebooks/*
```
```{toctree}
:hidden:
:caption: Around them

docs/instructor-guide
docs/glossary
docs/where-to-go-next
docs/contributing
results/README
results/summary
results/benchmark
data/README
LICENSE-DATA
CHANGELOG
```
"""


def read(app, name, source):
    """Give the README its table of contents, fold what notebooks keep folded, name and measure figures."""
    if name == root_doc:
        source[0] += CONTENTS
    if name.startswith("notebooks/"):
        notebook = json.loads(source[0])
        for cell in notebook["cells"]:
            if cell["metadata"].get("jupyter", {}).get("source_hidden"):
                cell["metadata"].setdefault("tags", []).append("hide-input")
            for output in cell.get("outputs", []):
                if alt := output.get("metadata", {}).get("image/png", {}).get("alt"):
                    cell["metadata"]["mystnb"] = {"image": {"alt": alt}}
                    png = a2b_base64(output["data"]["image/png"])
                    size = dict(zip(("width", "height"), unpack(">II", png[16:24]), strict=True))
                    output["metadata"]["image/png"] |= size  # pages do not jump while they load
        source[0] = json.dumps(notebook)


def setup(app):
    app.connect("source-read", read)
