"""The static site without a browser: complete, self-contained, and every link leads somewhere."""

from __future__ import annotations

import re
from pathlib import Path
from urllib.parse import unquote, urlsplit

import nbformat
import pytest
from bs4 import BeautifulSoup

from course import notebooks, publish, website
from helpers.files import CourseError
from helpers.settings import ROOT

STAGES = notebooks.notebooks()


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("web") / "site"
    website.build(folder)
    return folder


@pytest.fixture(scope="module")
def pages(site: Path) -> dict[Path, BeautifulSoup]:
    found = sorted(site.rglob("*.html"))
    return {path: BeautifulSoup(path.read_text(encoding="utf-8"), "html.parser") for path in found}


def page(pages: dict[Path, BeautifulSoup], name: str) -> BeautifulSoup:
    (found,) = [soup for path, soup in pages.items() if path.as_posix().endswith(f"site/{name}")]
    return found


def figures(stage: str) -> list[str]:
    """The alternative texts of a notebook's figures, in order."""
    cells = nbformat.read(ROOT / "notebooks" / f"{stage}.ipynb", as_version=4).cells
    shown = [output for cell in cells for output in cell.get("outputs", [])]
    return [o.metadata["image/png"]["alt"] for o in shown if "image/png" in o.get("data", {})]


@pytest.mark.parametrize("stage", STAGES)
def test_a_notebook_is_there_with_its_figures_and_their_texts(pages, site, stage):
    soup = page(pages, f"notebooks/{stage}.html")
    shown = [image for image in soup.select("figure img")]
    assert [image["alt"] for image in shown] == figures(stage)
    assert [caption.get_text() for caption in soup.find_all("figcaption")] == figures(stage)
    for image in shown:
        assert (site / "notebooks" / image["src"]).read_bytes().startswith(b"\x89PNG")
    title = publish.titles()[stage]
    assert soup.title.string == soup.h1.get_text() == title.replace(" ", ". ", 1)
    assert soup.select_one("header a[aria-current=page]").string == title.split()[0]


def test_the_front_page_shows_the_main_result(pages, site):
    front = page(pages, "index.html")
    first = front.select_one("main figure img")
    copy = (site / unquote(first["src"])).read_bytes()
    assert copy == (ROOT / "results" / "figures" / "average_precision.png").read_bytes()
    assert front.select_one("main table th").string.strip() == "detector"
    assert [a["href"] for a in front.select("header nav a")] == [f"notebooks/{s}.html" for s in STAGES]


def leads_somewhere(path: Path, address: str, pages: dict[Path, BeautifulSoup]) -> bool:
    parts = urlsplit(address)
    target = (path.parent / unquote(parts.path)).resolve() if parts.path else path
    anchor = unquote(parts.fragment)
    return target.is_file() and (not anchor or bool(pages[target].find(id=anchor)))


def test_every_link_leads_to_a_page_or_an_anchor_of_the_site(pages):
    mine = [
        (path, link["href"])
        for path, soup in pages.items()
        for link in soup.find_all("a", href=True)
        if urlsplit(link["href"]).scheme not in ("http", "https")
    ]
    lost = [(path.name, address) for path, address in mine if not leads_somewhere(path, address, pages)]
    assert lost == [] and len(mine) > 50


def test_nothing_comes_from_elsewhere_and_nothing_runs(pages):
    for path, soup in pages.items():
        for tag in soup.find_all(["link", "img", "script", "iframe", "source"]):
            address = tag.get("href") or tag.get("src") or ""
            assert tag.name in ("link", "img") and not urlsplit(address).netloc, f"{path.name}: {tag}"
        assert soup.html["lang"] == "en" and soup.select_one('meta[name="viewport"]')


def test_folded_cells_are_folded_under_their_title(pages):
    for stage in STAGES:
        fold = page(pages, f"notebooks/{stage}.html").select_one("details")
        assert fold.summary.string == "Find the course, or fetch it where only this notebook is (Colab)"
        assert "check_course()" in fold.get_text() and fold.select_one(".highlight")


def test_headings_have_the_anchors_that_github_gives_them():
    body = "<h2>The notebooks</h2><h2>Limits, in plain words</h2><h2>The notebooks</h2>"
    soup = BeautifulSoup(body, "html.parser")
    website._arrange(soup)
    anchors = ["the-notebooks", "limits-in-plain-words", "the-notebooks-1"]
    assert [heading["id"] for heading in soup.find_all("h2")] == anchors


def test_a_badge_becomes_words():
    badge = publish.Address("a/b", "v1").badge("01_data_loading")
    body = website.markdown2html_mistune(badge)
    soup = BeautifulSoup(body, "html.parser")
    website._arrange(soup)
    assert soup.get_text().strip() == "Open in Colab" and soup.a["href"].startswith("https://colab.")
    assert not soup.find("img")


@pytest.fixture
def small(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A repository of one page and one notebook."""
    (tmp_path / "README.md").write_text("# A course\n\n[one](notebooks/01_one.ipynb)\n")
    (tmp_path / "notebooks").mkdir()
    cell = nbformat.v4.new_code_cell("1", execution_count=1)
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_markdown_cell("# 1. One"), cell])
    nbformat.write(notebook, tmp_path / "notebooks" / "01_one.ipynb")
    monkeypatch.setattr(website, "ROOT", tmp_path)
    monkeypatch.setattr(website, "README", tmp_path / "README.md")
    monkeypatch.setattr(website, "titles", lambda: {"01_one": "1 One"})
    monkeypatch.setattr(website, "notebook_path", lambda stage: tmp_path / "notebooks" / f"{stage}.ipynb")
    return tmp_path


def test_a_lost_link_or_an_unexecuted_notebook_is_named_and_the_old_site_stays(small):
    site = small / "site"
    website.build(site)
    before = {path: path.read_bytes() for path in site.rglob("*.*")}
    assert len(before) == 3
    (small / "README.md").write_text("# A course\n\n[two](notebooks/02_two.ipynb)\n")
    with pytest.raises(CourseError, match=re.escape("README.md links to notebooks/02_two.ipynb")):
        website.build(site)
    (small / "README.md").write_text("# A course\n")
    notebook = nbformat.read(small / "notebooks" / "01_one.ipynb", as_version=4)
    notebook.cells[1].execution_count = None
    nbformat.write(notebook, small / "notebooks" / "01_one.ipynb")
    with pytest.raises(CourseError, match=r"01_one\.ipynb has not been executed; run `make notebooks`"):
        website.build(site)
    assert {path: path.read_bytes() for path in site.rglob("*.*")} == before
