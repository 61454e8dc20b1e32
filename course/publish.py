"""What `make publish` generates: navigation between the notebooks, links to Colab, first code cells."""

import re
from pathlib import Path
from typing import NamedTuple

import nbformat

from course.notebooks import notebook_path, notebooks
from course.results import with_block
from helpers.files import CourseError, replace
from helpers.settings import ROOT

README = ROOT / "README.md"
COLAB = "https://colab.research.google.com"
BOOTSTRAP = """\
# @title Find the course, or fetch it where only this notebook is (Colab)
REPOSITORY, REF = "", ""  # on GitHub; written by `make publish`
import sys
from pathlib import Path

near = [p for p in (".", "..", "the-course") if Path(p, "helpers/runs.py").is_file()]
if not near and REPOSITORY:
    url, near = f"https://github.com/{REPOSITORY}.git", ["the-course"]
    !rm -rf .part && git clone -q --depth=1 -b {REF} {url} .part && mv .part the-course
    %pip install -q openml papermill
sys.path[:0] = [str(Path(p).resolve()) for p in near]
from helpers import runs  # not found? See what git said, or open a copy of the course"""
FOLDED = {"cellView": "form", "jupyter": {"source_hidden": True}}  # in Colab and in JupyterLab
_TITLE = re.compile(r"^# (\d+)\. (.+)$", re.MULTILINE)
_SET = re.compile(r'^REPOSITORY, REF = "(.*)", "(.*)"', re.MULTILINE)


class Address(NamedTuple):
    """Where the course is published; both empty before that."""

    repository: str = ""
    ref: str = ""

    def colab(self, stage: str) -> str:
        return f"{COLAB}/github/{self.repository}/blob/{self.ref}/notebooks/{stage}.ipynb"

    def badge(self, stage: str) -> str:
        if not self.repository:
            return "Open in Colab: *address not set*"
        return f"[![Open in Colab]({COLAB}/assets/colab-badge.svg)]({self.colab(stage)})"


def parse_address(repository: str, ref: str) -> Address:
    """Raise a CourseError unless both are names that work in an address of GitHub."""
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9-]*/[\w.-]+:\w[\w.-]*", f"{repository}:{ref}", re.ASCII):
        told = f"{repository!r} and {ref!r} make no address on GitHub"
        raise CourseError(f"{told}; give both, and no slash in a tag: REPO=owner/name REF=v1.0.")
    return Address(repository, ref)


def bootstrap(address: Address) -> str:
    """The source of every notebook's first code cell."""
    return BOOTSTRAP.replace('REF = "", ""', 'REF = "{}", "{}"'.format(*address))


def current() -> Address:
    """The address that the first notebook has."""
    first = notebooks()[0]
    return Address(*_SET.search(_bootstrap_cell(first, _read(first)).source).groups())


def write(address: Address) -> list[Path]:
    """Write address and links into README and all notebooks, each file whole; gives what has changed."""
    read = {stage: _read(stage) for stage in notebooks()}
    titles = {stage: _TITLE.search(notebook.cells[0].source) for stage, notebook in read.items()}
    names = {stage: f"{found[1]} {found[2]}" for stage, found in titles.items()}
    texts = {README: with_block(README, "colab", _readme_block(names, address))}
    for stage, notebook in read.items():
        heading = notebook.cells[0].source[titles[stage].start() :]
        notebook.cells[0].source = f"{navigation(stage, names)} · {address.badge(stage)}\n\n{heading}"
        cell = _bootstrap_cell(stage, notebook)
        cell.source = bootstrap(address)
        cell.metadata.update(nbformat.from_dict(FOLDED))
        texts[notebook_path(stage)] = nbformat.writes(notebook) + "\n"
    changed = [path for path, text in texts.items() if path.read_text(encoding="utf-8") != text]
    for path in changed:
        replace(path, texts[path])
    return changed


def _read(stage: str) -> nbformat.NotebookNode:
    return nbformat.read(notebook_path(stage), as_version=4)


def _bootstrap_cell(stage: str, notebook: nbformat.NotebookNode) -> nbformat.NotebookNode:
    for cell in notebook.cells:
        if cell.cell_type == "code" and "from helpers import runs" in cell.source:
            return cell
    raise CourseError(f"{stage} lacks its first code cell; add one with `from helpers import runs`.")


def navigation(stage: str, titles: dict[str, str]) -> str:
    """Previous, contents and next of a notebook, one line of Markdown."""
    stages = list(titles)
    place = stages.index(stage)
    links = [f"← [{titles[other]}]({other}.ipynb)" for other in stages[:place][-1:]]
    links.append("[Contents](../README.md#the-notebooks)")
    links += [f"[{titles[other]}]({other}.ipynb) →" for other in stages[place + 1 :][:1]]
    return " · ".join(links)


def _readme_block(titles: dict[str, str], address: Address) -> str:
    if not address.repository:
        return (
            "**Open in Colab**: *not set up*, because this copy does not know its own address yet. When it "
            "is pushed to GitHub, a workflow writes the links here and into every notebook "
            "(`.github/workflows/publish.yml`). By hand, use `make publish REPO=owner/name REF=tag`."
        )
    links = " · ".join(f"[{title}]({address.colab(stage)})" for stage, title in titles.items())
    return f"**Open in Colab** (`{address.repository}` at `{address.ref}`): {links}"
