"""Guide, glossary and the notebooks' frame: complete, linked, and in step with one another."""

from __future__ import annotations

import json
import re
from pathlib import Path

import nbformat
import pytest

from helpers import runs
from helpers.settings import NOTEBOOKS, ROOT

DOCS = sorted((ROOT / "docs").glob("*.md"))
LESSONS = [path for path in sorted(NOTEBOOKS.glob("*.ipynb")) if path.stem in runs.STAGES]
LINK = re.compile(r"\[([^\]]*)\]\(([^)]*)\)")
TERMS = re.findall(r"^- \*\*(.+?)\*\* \((\d)\): \S", (ROOT / "docs/glossary.md").read_text("utf-8"), re.M)


def prose(path: Path) -> list[str]:
    """The texts of a notebook, without links, which may name other notebooks."""
    cells = [cell.source for cell in nbformat.read(path, 4).cells if cell.cell_type == "markdown"]
    return [LINK.sub("", cell) for cell in cells]


def rows(text: str) -> list[list[str]]:
    lines = re.findall(r"^\| (.*) \|$", text, re.M)
    return [re.split(r" *\| *", line) for line in lines]


# --- glossary ------------------------------------------------------------------------------------


def test_the_glossary_is_whole_and_in_order():
    lines = re.findall(r"^- ", (ROOT / "docs/glossary.md").read_text("utf-8"), re.M)
    names = [term.lower() for term, _ in TERMS]
    assert len(lines) == len(TERMS) > 50 and names == sorted(set(names))


def test_a_term_is_introduced_where_the_glossary_says():
    """In bold in the named notebook, and nowhere before but in the course's own overview."""
    texts = [prose(path) for path in LESSONS]
    wrong = []
    for term, number in TERMS:
        introduced = re.compile(rf"\*\*{re.escape(term)}s?\*\*", re.I)
        used = re.compile(rf"(?<![\w-]){re.escape(term)}s?\b", re.I)
        (place,) = [i for i, path in enumerate(LESSONS) if int(path.stem[:2]) == int(number)]
        if not any(map(introduced.search, texts[place])):
            wrong.append(f"{term} is not introduced")
        before = [texts[0][1:], *texts[1:]][:place]
        wrong += [
            f"{term} is used in notebook {i}"
            for i, text in enumerate(before, 1)
            if used.search("\n".join(text))
        ]
    assert wrong == []


# --- guide ---------------------------------------------------------------------------------------


def test_the_guides_seconds_are_those_of_the_published_run():
    guide = (ROOT / "docs/instructor-guide.md").read_text("utf-8")
    table = re.search("<!-- seconds:start -->(.*)<!-- seconds:end -->", guide, re.S)[1]
    told = {name: float(seconds) for name, seconds in rows(table)[2:]}
    published = json.loads((ROOT / "results/summary.json").read_text("utf-8"))["timings_s"]
    sequence = [path.stem for path in LESSONS if path.stem not in runs.BESIDES]
    assert list(told) == sequence and set(told) <= set(published)
    for name, seconds in told.items():
        assert 1 / 3 < seconds / published[name] < 3, name


@pytest.mark.parametrize("heading", ["Half a day", "A full day"])
def test_the_plans_add_up_and_hold_every_notebook(heading):
    guide = (ROOT / "docs/instructor-guide.md").read_text("utf-8")
    plan = rows(re.search(rf"## {heading}\n(.*?)\n## ", guide, re.S)[1])[2:]
    clock = [60 * int(at.split(":")[0]) + int(at.split(":")[1]) for at, *_ in plan]
    ends = [begin + int(minutes) for begin, (_, minutes, *_) in zip(clock, plan, strict=True)]
    assert ends[:-1] == clock[1:] and ends[-1] - clock[0] in (240, 480)
    for path in LESSONS:
        assert sum(f"notebook {int(path.stem[:2])}" in what for _, _, what, *_ in plan) >= 1


def test_every_link_of_the_docs_leads_somewhere():
    readme = (ROOT / "README.md").read_text("utf-8")
    for path in DOCS:
        assert f"](docs/{path.name})" in readme
        text = path.read_text("utf-8")
        anchors = {
            re.sub(r"[^a-z0-9 -]", "", h.lower()).replace(" ", "-")
            for h in re.findall("^#+ (.*)$", text, re.M)
        }
        for _, target in LINK.findall(text):
            if target.startswith("#"):
                assert target[1:] in anchors, target
            elif not target.startswith("https://"):
                assert (path.parent / target).exists(), target


# --- the notebooks' frame ------------------------------------------------------------------------


@pytest.mark.parametrize("path", LESSONS, ids=lambda path: path.stem)
def test_a_notebook_says_what_one_learns_how_long_and_what_comes_next(path):
    cells = prose(path)
    first = "\n".join(cells[:2])
    objectives = re.search(r"\*\*You will be able to\*\*\n\n((?:- .*\n)+)", first)[1].splitlines()
    assert 3 <= len(objectives) <= 5
    minutes = re.search(
        r"\*About (\d+) minutes to read and run, (\d+) more for the exercises\. You need", first
    )
    readme = (ROOT / "README.md").read_text("utf-8")
    assert re.search(rf"\| \[.*\]\(notebooks/{path.name}\) .* \| {minutes[1]} \+ {minutes[2]} \|", readme)
    order = [
        next(i for i, cell in enumerate(cells) if mark in cell)
        for mark in ("## Exercises", "### To discuss", "## Summary")
    ]
    assert order == sorted(order) and "What comes next: " in cells[order[-1]]
    assert 1 <= cells[order[1]].count("\n- ") <= 3


def test_cells_are_short_and_prose_is_never_far():
    lengths = []
    for path in LESSONS:
        cells = nbformat.read(path, 4).cells
        lengths += [len(cell.source.splitlines()) for cell in cells if cell.cell_type == "code"]
        kinds = "".join("c" if cell.cell_type == "code" else "m" for cell in cells)
        assert "ccc" not in kinds, path.stem
    assert sorted(lengths)[len(lengths) // 2] <= 7


# --- contributing --------------------------------------------------------------------------------


def test_the_version_is_one():
    texts = [(ROOT / name).read_text("utf-8") for name in ("pyproject.toml", "CITATION.cff", "CHANGELOG.md")]
    found = [
        re.search(pattern, text, re.M)[1]
        for pattern, text in zip((r'^version = "(.+)"', r"^version: (.+)$", r"^## (\S+)"), texts, strict=True)
    ]
    assert len(set(found)) == 1


def test_the_house_is_drawn_as_it_is():
    """Every module of both packages stands in the tree, and nothing else does."""
    text = (ROOT / "docs/contributing.md").read_text("utf-8")
    drawn = {}
    for name, rest in re.findall(r"^(helpers|course)/(.*?)(?=^\w|^ +[|^])", text, re.M | re.S):
        names = re.findall(r"^ {0,14}(\w+(?:, \w+)*)(?:  |$)", rest, re.M)
        drawn[name] = {one for group in names for one in group.split(", ")}
    for package in ("helpers", "course"):
        modules = {path.stem for path in (ROOT / package).glob("*.py")} - {"__init__"}
        assert drawn[package] == modules, package
