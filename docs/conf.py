"""The site, for Sphinx (`python -m course site`): README as front page, notebooks with their outputs."""

import json
import re
from pathlib import Path
from struct import unpack

from docutils import nodes

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
html_static_path = ["site.css", "site.js"]
html_css_files = ["site.css"]
html_js_files = [("site.js", {"defer": "defer"})]
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

docs/glossary
docs/own-data
docs/install
docs/instructor-guide
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


def size(png):
    """Of a figure on the page, so that it does not jump while it loads; it is drawn with twice the pixels."""
    width, height = unpack(">II", png[16:24])
    return {"width": width // 2, "height": height // 2}


def measure(app, page):
    """Tell the sizes of the figures that pages other than notebooks show."""
    for image in page.findall(nodes.image):
        path = Path(app.srcdir, image["uri"])
        if "width" not in image and path.suffix == ".png" and path.is_file():
            image.attributes.update({side: str(pixels) for side, pixels in size(path.read_bytes()).items()})
        if path.suffix == ".svg" and path.is_file():
            image["width"], image["height"] = re.findall(
                r'viewBox="0 0 (\d+) (\d+)"', path.read_text("utf-8")
            )[0]


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
                if svg := "".join(output.get("data", {}).get("image/svg+xml", "")):
                    cell["metadata"]["mystnb"] = {"image": {"alt": re.search("<desc>(.*?)</desc>", svg)[1]}}
        source[0] = json.dumps(notebook)


def setup(app):
    app.connect("source-read", read)
    app.connect("doctree-read", measure)
