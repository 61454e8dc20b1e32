"""Guide, glossary and the notebooks' frame: complete, linked, and in step with one another."""

import re
from pathlib import Path

import nbformat
import pytest

from helpers import runs
from helpers.settings import NOTEBOOKS, ROOT

LESSONS = [path for path in sorted(NOTEBOOKS.glob("*.ipynb")) if path.stem in runs.STAGES]
LINK = re.compile(r"\[([^\]]*)\]\(([^)]*)\)")
TERMS = re.findall(r"^- \*\*(.+?)\*\* \((\d+)\): \S", (ROOT / "docs/glossary.md").read_text("utf-8"), re.M)


def text(name: str) -> str:
    return (ROOT / name).read_text("utf-8")


def prose(path: Path) -> list[str]:
    """The texts of a notebook, without links, which may name other notebooks."""
    cells = [cell.source for cell in nbformat.read(path, 4).cells if cell.cell_type == "markdown"]
    return [LINK.sub("", cell) for cell in cells]


def rows(text: str) -> list[list[str]]:
    return [re.split(r" *\| *", line) for line in re.findall(r"^\| (.*) \|$", text, re.M)]


def test_the_glossary_is_whole_and_in_order():
    names = [term.lower() for term, _ in TERMS]
    lines = re.findall(r"^- ", text("docs/glossary.md"), re.M)
    assert len(lines) == len(TERMS) > 50 and names == sorted(set(names))


def test_a_term_is_introduced_where_the_glossary_says():
    """In bold in the named notebook, and nowhere before but in the course's own overview."""
    texts, numbers, wrong = [prose(path) for path in LESSONS], [int(path.stem[:2]) for path in LESSONS], []
    for term, number in TERMS:
        introduced = re.compile(rf"\*\*{re.escape(term)}s?\*\*", re.I)
        longer = [re.escape(name) for name, _ in TERMS if term in name != term]
        used = re.compile(rf"(?<![\w-]){re.escape(term)}s?\b", re.I)
        place = numbers.index(int(number))
        if not any(map(introduced.search, texts[place])):
            wrong.append(f"{term} is not introduced")
        for i, before in enumerate([texts[0][1:], *texts[1:]][:place], 1):
            if used.search(re.sub("|".join(longer) or "$^", "", "\n".join(before), flags=re.I)):
                wrong.append(f"{term} is used in notebook {i}")
    assert wrong == []


def test_the_course_speaks_the_fields_language():
    """The old names, which nobody can search for, stand in no text or module outside the change log."""
    old = (
        r"judge[sd]?|crowds?|rings?|witness(es)?|oracles?|accus\w+|acquit\w*|suspicion|episodes?|complaints?"
    )
    private = re.compile(rf"\b({old}|(training|test) part|perfect ranking|mirror|honest)\b", re.I)
    pages = [*ROOT.glob("docs/*.*"), *ROOT.glob("results/*.md"), ROOT / "README.md"]
    texts = {path.name: path.read_text("utf-8") for path in (*pages, *ROOT.glob("[hcn]*/*.py"))}
    texts |= {path.name: "\n".join(c.source for c in nbformat.read(path, 4).cells) for path in LESSONS}
    assert {name: found[0] for name, text in texts.items() if (found := private.search(text))} == {}


@pytest.mark.parametrize(("heading", "minutes"), [("Half a day", 240), ("A full day", 480)])
def test_the_plans_add_up_and_hold_every_notebook(heading, minutes):
    guide = text("docs/instructor-guide.md")
    plan = rows(re.search(rf"## {heading}\n(.*?)\n## ", guide, re.S)[1])[2:]
    clock = [60 * int(at.split(":")[0]) + int(at.split(":")[1]) for at, *_ in plan]
    ends = [begin + int(lasts) for begin, (_, lasts, *_) in zip(clock, plan, strict=True)]
    assert ends[:-1] == clock[1:] and ends[-1] - clock[0] == minutes
    for path in LESSONS:
        assert any(f"notebook {int(path.stem[:2])}" in what for _, _, what, *_ in plan)


def test_every_link_leads_somewhere_and_the_front_page_to_every_page():
    pages = [ROOT / "README.md", ROOT / "results" / "README.md", *(ROOT / "docs").glob("*.md")]
    for path in pages:
        page = path.read_text("utf-8")
        assert path.parent.name != "docs" or f"](docs/{path.name})" in text("README.md")
        for _, target in LINK.findall(page):
            file, _, anchor = target.partition("#")
            there = path.parent / file if file else path
            assert target[:8] == "https://" or there.exists(), target
            headings = re.findall("^#+ (.*)$", there.read_text("utf-8"), re.M) if anchor else []
            names = [re.sub(r"[^a-z0-9 -]", "", one.lower()).replace(" ", "-") for one in headings]
            assert not anchor or anchor in names, target


@pytest.mark.parametrize("path", LESSONS, ids=lambda path: path.stem)
def test_a_notebook_says_what_one_learns_how_long_and_what_comes_next(path):
    cells = prose(path)
    first = "\n".join(cells[:2])
    objectives = re.search(r"\*\*You will be able to\*\*\n\n((?:- .*\n)+)", first)[1].splitlines()
    assert 3 <= len(objectives) <= 5
    ends = r"\*About (\d+) minutes to read and run, (\d+) more for the exercises\. You need"
    read, more = re.search(ends, first).groups()
    line = rf"\| \[.*\]\(notebooks/{path.name}\) .* \| {read} \+ {more} \|"
    assert re.search(line, text("README.md"))
    marks = ("## Exercises", "### To discuss", "## Summary")
    order = [next(i for i, cell in enumerate(cells) if mark in cell) for mark in marks]
    assert order == sorted(order) and "What comes next: " in cells[order[-1]]
    assert 1 <= cells[order[1]].count("\n- ") <= 3


def test_the_version_is_one_and_the_house_is_drawn_as_it_is():
    names = ("pyproject.toml", "CITATION.cff", "CHANGELOG.md")
    assert len({re.search(r'^(?:version[ =:"]+|## )([^\s"]+)', text(name), re.M)[1] for name in names}) == 1
    drawn = {}
    tree = re.findall(r"^(helpers|course)/(.*?)(?=^\w|^ +[|^])", text("docs/contributing.md"), re.M | re.S)
    for package, rest in tree:
        names = re.findall(r"^ {0,14}(\w+(?:, \w+)*)(?:  |$)", rest, re.M)
        drawn[package] = {one for group in names for one in group.split(", ")}
    for package in ("helpers", "course"):
        modules = {path.stem for path in (ROOT / package).glob("*.py")} - {"__init__"}
        assert drawn[package] == modules, package
