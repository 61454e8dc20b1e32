"""Navigation, Colab links and bootstrap cells: as generated, and written all at once or not at all."""

import shutil
from pathlib import Path

import nbformat
import pytest
from sandbox import files

from course import notebooks, publish
from helpers.files import CourseError
from helpers.settings import ROOT

STAGES = notebooks.notebooks()
ADDRESS = publish.Address("some-body/a.course", "v1.0")


@pytest.fixture
def copy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    shutil.copytree(ROOT / "notebooks", tmp_path / "notebooks", ignore=shutil.ignore_patterns("*.py*", ".*"))
    shutil.copyfile(ROOT / "README.md", tmp_path / "README.md")
    monkeypatch.setattr(notebooks, "NOTEBOOKS", tmp_path / "notebooks")
    monkeypatch.setattr(publish, "README", tmp_path / "README.md")
    return tmp_path


def test_publishing_writes_the_address_everywhere_and_nothing_else_and_takes_it_away(copy):
    before = {stage: publish._read(stage).cells for stage in STAGES}
    assert publish.write(publish.current()) == [], "run `make publish` again"
    assert len(publish.write(ADDRESS)) == len(STAGES) + 1 and publish.write(ADDRESS) == []
    assert publish.current() == ADDRESS
    for stage in STAGES:
        cells = publish._read(stage).cells
        colab = f"https://colab.research.google.com/github/{'/blob/'.join(ADDRESS)}/notebooks/{stage}.ipynb"
        assert f"]({colab})\n" in cells[0].source and colab in (copy / "README.md").read_text()
        (cell,) = [cell for cell in cells if "from helpers import runs" in cell.source]
        assert 'REPOSITORY, REF = "some-body/a.course", "v1.0"  # on' in cell.source
        assert max(map(len, cell.source.splitlines())) <= 92  # which lint asks for
        changed = [a.id for a, b in zip(cells, before[stage], strict=True) if a != b]
        assert changed == [cells[0].id, cell.id]
        nbformat.validate(publish._read(stage))
    publish.write(publish.Address())
    unset = files(copy)
    assert [name for name, content in unset.items() if b"colab.research" in content] == []
    assert b"*not set up*" in unset["README.md"]
    for stage in STAGES:
        assert "Open in Colab: *address not set*" in publish._read(stage).cells[0].source


def test_a_notebook_without_its_first_cell_is_named_and_nothing_is_written(copy):
    path = copy / "notebooks" / f"{STAGES[2]}.ipynb"
    path.write_text(path.read_text().replace("from helpers import runs", "import nothing"))
    before = files(copy)
    with pytest.raises(CourseError, match=f"{STAGES[2]} lacks"):
        publish.write(ADDRESS)
    assert files(copy) == before


@pytest.mark.parametrize(
    ("repository", "ref"),
    [(name, "v1") for name in ("", "name", "a/b/c", "https://github.com/a/b", "a b/c", '"/x', "a/b\n")]
    + [("owner/name", ref) for ref in ("", "a/b", "-x", "v 1", 'v"', "v1\n")],
)
def test_what_makes_no_address_is_refused_and_what_does_is_taken(repository, ref):
    with pytest.raises(CourseError, match=r"REPO=owner/name REF=v1\.0"):
        publish.parse_address(repository, ref)
    assert publish.parse_address("Some-body/a.course_2", "v1.0-rc_1") == ("Some-body/a.course_2", "v1.0-rc_1")
