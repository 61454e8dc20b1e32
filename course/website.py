"""A static site: the README as front page, every notebook with its outputs, and all that they link to.

Nothing is fetched from elsewhere when a page is read: system fonts, no scripts.
"""

from __future__ import annotations

import html
import os
import re
import shutil
from pathlib import Path
from string import Template
from urllib.parse import quote, unquote, urlsplit

import nbformat
from bs4 import BeautifulSoup, Tag
from nbconvert import HTMLExporter
from nbconvert.filters.markdown_mistune import markdown2html_mistune
from nbconvert.preprocessors import ExtractOutputPreprocessor
from pygments import highlight
from pygments.formatters import HtmlFormatter
from pygments.lexers import TextLexer, get_lexer_for_filename
from pygments.util import ClassNotFound

from course.notebooks import notebook_path
from course.publish import titles
from course.results import README
from helpers.files import CourseError, writing
from helpers.settings import ROOT

SITE = ROOT / "site"
TEMPLATES = Path(__file__).parent / "templates"
_NUMBERS = re.compile(r"^(?=.*\d)(?:[\d.,:%()+-]|to|\s)+$")
LIGHT, DARK = "friendly", "github-dark"  # pygments styles


def build(site: Path = SITE) -> list[Path]:
    """Write the whole site, or leave the old one; gives its pages.

    Raises:
        CourseError: if a notebook has not been executed, a link leads nowhere, or the site cannot be written.
    """
    new, names = site.with_name(f".{site.name}.new"), titles()
    with writing(site):
        shutil.rmtree(new, ignore_errors=True)
        new.mkdir(parents=True)
        (new / "style.css").write_text(_style(), encoding="utf-8")
        todo, done = [README, *map(notebook_path, names)], set()
        while todo:
            source = todo.pop()
            if source not in done:
                done.add(source)
                todo += _write_page(source, new, names)
        shutil.rmtree(site, ignore_errors=True)
        os.replace(new, site)
    return sorted(site / page_of(source) for source in done)


def page_of(source: Path) -> Path:
    """Where the page of a file of the repository lies in the site."""
    relative = source.relative_to(ROOT)
    if source == README:
        return Path("index.html")
    if source.suffix in (".md", ".ipynb"):
        return relative.with_suffix(".html")
    return relative.with_name(f"{relative.name}.html")


def _style() -> str:
    light, dark = (HtmlFormatter(style=style).get_style_defs(".highlight") for style in (LIGHT, DARK))
    own = (TEMPLATES / "style.css").read_text(encoding="utf-8")
    return f"{light}\n@media (prefers-color-scheme: dark) {{\n{dark}\n}}\n{own}"


def _write_page(source: Path, site: Path, names: dict[str, str]) -> list[Path]:
    """Write one page and the images on it; gives the files of the repository that it links to."""
    page, up = page_of(source), "../" * (len(page_of(source).parts) - 1)
    (site / page).parent.mkdir(parents=True, exist_ok=True)
    kind, body, images = _body(source)
    for name, content in images.items():
        (site / page).with_name(name).write_bytes(content)
    soup = BeautifulSoup(body, "html.parser")
    _arrange(soup)
    linked = _lead_into_site(soup, source, site, images)
    heading = soup.find("h1")
    text = Template((TEMPLATES / "page.html").read_text(encoding="utf-8")).substitute(
        title=html.escape(heading.get_text() if heading else page.stem),
        course=html.escape(re.search(r"^# (.+)$", README.read_text(encoding="utf-8"), re.MULTILINE)[1]),
        notebooks=" ".join(_menu(source, up, names)),
        up=up,
        kind=kind,
        body=soup,
    )
    (site / page).write_text(text, encoding="utf-8")
    return linked


def _menu(source: Path, up: str, names: dict[str, str]) -> list[str]:
    links = []
    for stage, name in names.items():
        here = ' aria-current="page"' if source == notebook_path(stage) else ""
        address = quote(f"{up}{page_of(notebook_path(stage)).as_posix()}")
        links.append(f'<a href="{address}" title="{html.escape(name)}"{here}>{name.split()[0]}</a>')
    return links


def _body(source: Path) -> tuple[str, str, dict[str, bytes]]:
    """What kind of page a file becomes, its HTML, and the images that it carries within."""
    if source.suffix == ".ipynb":
        return "notebook", *_executed(source)
    text = source.read_text(encoding="utf-8")
    if source.suffix == ".md":
        return "text", markdown2html_mistune(text), {}
    try:
        lexer = get_lexer_for_filename(source.name)
    except ClassNotFound:
        lexer = TextLexer()
    heading = f"<h1>{html.escape(source.relative_to(ROOT).as_posix())}</h1>"
    return "source", heading + highlight(text, lexer, HtmlFormatter()), {}


def _executed(source: Path) -> tuple[str, dict[str, bytes]]:
    notebook = nbformat.read(source, as_version=4)
    for cell in notebook.cells:
        if cell.cell_type == "code" and cell.source.strip() and not cell.execution_count:
            raise CourseError(f"{source.name} has not been executed; run `make notebooks` first.")
        if cell.metadata.get("jupyter", {}).get("source_hidden"):
            cell.metadata.setdefault("tags", []).append("folded")
    exporter = HTMLExporter(
        template_name="basic",
        exclude_input_prompt=True,
        exclude_output_prompt=True,
        preprocessors=[ExtractOutputPreprocessor],
    )
    body, resources = exporter.from_notebook_node(notebook, {"unique_key": source.stem})
    return body, resources["outputs"]


def _lead_into_site(soup: BeautifulSoup, source: Path, site: Path, images: dict[str, bytes]) -> list[Path]:
    """Let links lead to pages and images lie in the site; gives the files that are linked to."""
    linked = []
    for link in soup.find_all("a", href=True):
        if not link.find("img") and (target := _target(link["href"], source)):
            fragment = urlsplit(link["href"]).fragment
            way = os.path.relpath(site / page_of(target), (site / page_of(source)).parent)
            link["href"] = quote(Path(way).as_posix()) + (f"#{fragment}" if fragment else "")
            linked.append(target)
    for image in soup.find_all("img", src=True):
        if image["src"] not in images and (target := _target(image["src"], source)):
            copy = site / target.relative_to(ROOT)
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(target, copy)
    return linked


def _target(address: str, source: Path) -> Path | None:
    """The file of the repository that a relative address means; none for one that leads elsewhere."""
    parts = urlsplit(address)
    if parts.scheme or parts.netloc or not parts.path:
        return None
    target = (source.parent / unquote(parts.path)).resolve()
    if not (target.is_file() and target.is_relative_to(ROOT)):
        raise CourseError(f"{source.relative_to(ROOT)} links to {address}, which is no file of the course.")
    return target


def _arrange(soup: BeautifulSoup) -> None:
    """What the pages have and Markdown and nbconvert have not: captions, folds, anchors as on GitHub."""
    for left_over in soup.select("a.anchor-link, style"):
        left_over.decompose()
    seen: dict[str, int] = {}
    for heading in soup.find_all(re.compile("^h[1-6]$")):
        slug = re.sub(r"[^\w\- ]", "", heading.get_text().strip().lower()).replace(" ", "-")
        count = seen[slug] = seen.get(slug, -1) + 1
        heading["id"] = f"{slug}-{count}" if count else slug
    for table in soup.find_all("table"):
        table.attrs.pop("border", None)
        table.wrap(soup.new_tag("div", attrs={"class": "table", "tabindex": "0"}))
    for value in soup.find_all("td", string=_NUMBERS):
        value["class"] = "number"
    for image in soup.find_all("img"):
        _frame(image, soup)
    for cell in soup.select(".celltag_folded .input"):
        fold = cell.wrap(soup.new_tag("details"))
        summary = soup.new_tag("summary")
        found = re.match(r"\s*# @title (.+)", cell.get_text())
        summary.string = found[1] if found else "Show the code"
        fold.insert(0, summary)
    for first in soup.select(".rendered_html > p:first-child:has(+ h1)"):
        first["class"] = "way"


def _frame(image: Tag, soup: BeautifulSoup) -> None:
    """A figure with its alternative text as caption, enlarged by a click; from elsewhere, only the text."""
    alt = image.get("alt", "")
    if urlsplit(image["src"]).netloc:
        image.replace_with(alt)
        return
    figure = image.wrap(soup.new_tag("figure"))
    image.wrap(soup.new_tag("a", href=image["src"]))
    image["loading"] = "lazy"
    caption = soup.new_tag("figcaption")
    caption.string = alt
    figure.append(caption)
    if figure.parent.name == "p" and not figure.parent.get_text().replace(alt, "").strip():
        figure.parent.unwrap()
