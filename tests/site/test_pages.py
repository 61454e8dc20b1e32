"""Every page of the site that `make site` built, in a headless Chromium, on a desk and on a phone."""

import functools
import http.server
import threading
from collections.abc import Iterator

import pytest
from browser import Browser, programs

from helpers.settings import ROOT

SITE = ROOT / "site"
MADE = ("genindex.html", "search.html", "index.html")  # by Sphinx; the last is README.html again
PAGES = sorted(path.relative_to(SITE).as_posix() for path in SITE.rglob("*.html") if path.name not in MADE)
SCREENS = {"desk": (1200, 900), "phone": (390, 844)}
LOOK = """
for (const image of document.images) image.loading = "eager";
return Promise.all([...document.images].map(image => image.decode().catch(() => null))).then(() => ({
  broken: [...document.images].filter(image => !image.naturalWidth).map(image => image.src),
  nameless: [...document.querySelectorAll("article img")]
    .filter(image => !image.alt || image.alt.includes("_images/")).map(image => image.src),
  unmeasured: [...document.querySelectorAll("article img")]
    .filter(image => !image.hasAttribute("width") || !image.hasAttribute("height")).map(image => image.src),
  foreign: performance.getEntriesByType("resource").map(entry => entry.name)
    .filter(name => !name.startsWith(location.origin) && !name.startsWith("data:")),
  width: document.documentElement.scrollWidth,
  outside: [...document.querySelectorAll("article *")]
    .filter(element => !element.closest("pre, table, .highlight"))
    .filter(element => element.getBoundingClientRect().right > innerWidth + 1)
    .map(element => element.outerHTML.slice(0, 80)),
  size: parseFloat(getComputedStyle(document.querySelector("article p, article li, article pre")).fontSize),
}))"""

FOLLOW = """
return Promise.all(LINKS.map(async link => {
  const answer = await fetch(link), anchor = decodeURIComponent(new URL(link).hash.slice(1));
  const page = new DOMParser().parseFromString(await answer.text(), "text/html");
  return answer.ok && (!anchor || page.getElementById(anchor)) ? null : link;
})).then(found => found.filter(link => link))"""


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture(scope="session")
def address() -> Iterator[str]:
    handler = functools.partial(Quiet, directory=str(SITE))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()


@pytest.fixture(scope="session")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    if not programs():
        pytest.skip("there is no Chromium with chromedriver here (Debian: chromium, chromium-driver)")
    with Browser(*programs(), tmp_path_factory.mktemp("profile")) as opened:
        yield opened


@pytest.mark.parametrize("screen", SCREENS)
@pytest.mark.parametrize("page", PAGES)
def test_a_page_is_whole(browser, address, page, screen):
    browser.be(*SCREENS[screen])
    browser.open(f"{address}/{page}")
    seen = browser.run(LOOK)
    assert [said for said in browser.said() if "favicon" not in said["message"]] == []
    assert (seen["broken"], seen["nameless"], seen["unmeasured"], seen["foreign"]) == ([], [], [], [])
    assert seen["width"] == SCREENS[screen][0] and seen["outside"] == [] and seen["size"] >= 12


def test_every_link_can_be_followed(browser, address):
    """As the browser resolves them, anchors included, from every page of the site."""
    broken = []
    for page in PAGES:
        browser.open(f"{address}/{page}")
        links = browser.run("return [...document.links].map(link => link.href)")
        broken += [f"{page}: {link}" for link in links if link.startswith("file:") or ".ipynb" in link]
        mine = sorted({link for link in links if link.startswith(address)})
        broken += [f"{page}: {link}" for link in browser.run(FOLLOW.replace("LINKS", repr(mine)))]
    assert broken == []


def test_the_front_page_leads_to_every_notebook_solutions_are_folded_and_the_search_finds(browser, address):
    browser.be(*SCREENS["desk"])
    browser.open(f"{address}/index.html")
    first = browser.run("return document.querySelector('article img').src")
    assert first.endswith("one_burst.png")
    menu = browser.run("return [...document.querySelectorAll('.sidebar-tree a')].map(link => link.href)")
    notebooks = [page for page in PAGES if page.startswith("notebooks/")]
    assert {f"{address}/{page}" for page in notebooks} <= set(menu) and len(notebooks) >= 8

    browser.open(f"{address}/notebooks/02_heuristic_labels.html")
    folds = browser.run("return [...document.querySelectorAll('details.hide')].map(fold => fold.open)")
    assert len(folds) == 8 and not any(folds)  # first cell, three solutions, a question, three answers

    browser.open(f"{address}/search.html?q=pseudo-label")
    count = "document.querySelectorAll('.search li').length"
    found = browser.run(f"return new Promise(done => setTimeout(() => done({count}), 3000))")
    assert found > 2
