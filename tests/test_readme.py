"""README and results/README.md say what the tables in the repository say, and link to what is there."""

import json
import re

import pandas as pd

from course import results, sweep
from helpers import data, encoder, settings
from helpers.classifier import Classifier
from helpers.settings import ROOT

README = (ROOT / "README.md").read_text(encoding="utf-8")
OWN_DATA = (ROOT / "docs" / "own-data.md").read_text(encoding="utf-8")
TABLES = results.TABLES.read_text(encoding="utf-8")


def between(name: str) -> str:
    return re.search(f"<!-- {name}:start -->\n(.*?)\n<!-- {name}:end -->", TABLES, re.DOTALL)[1]


def test_the_results_table_is_that_of_the_reference_run():
    reference = json.loads((ROOT / "results" / "reference.json").read_text(encoding="utf-8"))
    assert between("results").startswith(results.results_table(reference))


def test_the_tables_are_those_of_the_sweep_and_of_the_unseen_run():
    measured = map(pd.read_csv, (sweep.TABLE, sweep.STREAM_TABLE, sweep.WRONG_TABLE))
    for name, table in sweep.tables(*measured).items():
        assert between(name) == results.markdown_table(table).strip()
    assert between("unseen") == sweep.unseen_block(pd.read_csv(sweep.UNSEEN))


def test_the_limits_table_holds_the_constants_as_they_are():
    row = dict(re.findall(r"^\| (.+?) \| (.+?) \| .+ \| .+ \|$", README, re.M))
    names = ("`RADIUS` of a burst", "`DOUBT`, weight of an undecided event", "`MIXTURES`")
    assert [float(row[name]) for name in names] == [settings.RADIUS, settings.DOUBT, settings.MIXTURES]
    trees = f"{Classifier.trees}, {Classifier.depth}, {Classifier.learning_rate:g}".replace("0.", ".")
    assert row["classifier: trees, depth, rate"] == trees
    clusters, contaminated, _ = row["`CLUSTERS`, `CONTAMINATED`, Fisher's combination"].split(", ")
    assert (int(clusters), float(contaminated)) == (settings.CLUSTERS, settings.CONTAMINATED)
    past = f"{encoder.PRIOR:g} events, {encoder.FAR:g} deviations, {encoder.MANY} values"
    assert row["`PRIOR`, `FAR`, `MANY` of a key's past"] == past
    assert row["`KEEP`, `REVIEWED`"] == f"{settings.KEEP:,} events, {settings.REVIEWED} reviews"
    assert row["learner: weights, `EXPLORE`, votes, look-alikes"].endswith(f"{settings.EXPLORE} reviews")


def test_the_wait_for_openml_is_the_one_that_is_promised():
    assert f"goes on with the snapshot, after {data.AUTO_DEADLINE:g} s at most; with" in OWN_DATA
    assert f"with `--source openml` one sentence, after {data.OPENML_DEADLINE:g} s at most" in OWN_DATA


def test_the_front_page_does_not_tell_the_end():
    """Whoever takes the course finds the truth, and what the detector is worth, in notebook 6."""
    assert not re.search(r"\b0\.\d{3}\b|\d+ frauds", README.split("## Limits")[0])
