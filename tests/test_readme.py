"""The README says what the tables in the repository say."""

import json
import re

from helpers import ROOT, data, publishing, sweep

README = (ROOT / "README.md").read_text(encoding="utf-8")


def between(name: str) -> str:
    return re.search(f"<!-- {name}:start -->\n(.*?)\n<!-- {name}:end -->", README, re.DOTALL)[1]


def test_the_results_table_is_that_of_the_reference_run():
    reference = json.loads((ROOT / "tests" / "reference.json").read_text(encoding="utf-8"))
    assert between("results") == publishing.results_table(reference)


def test_the_table_of_both_windows_is_that_of_the_sweep():
    shown = [line.split(" | ")[1:] for line in between("windows").splitlines()[2:]]
    table = sweep.windows_table(sweep.read())
    assert [[cell.strip(" |") for cell in row] for row in shown] == table.to_numpy().tolist()


def test_the_wait_for_openml_is_the_one_that_is_promised():
    assert f"goes on with the snapshot, after {data.AUTO_DEADLINE:g} s at most; with" in README
    assert f"with `--source openml` one sentence, after {data.OPENML_DEADLINE:g} s at most" in README


def test_every_link_into_the_repository_leads_somewhere():
    links = re.findall(r"\]\((?!https?:)([^)#]+)\)", README)
    assert len(links) >= 10
    assert [link for link in links if not (ROOT / link).exists()] == []
