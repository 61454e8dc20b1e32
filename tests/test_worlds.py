"""helpers/worlds.py: a simulated streaming service, and the notebook that works on it."""

from __future__ import annotations

import ast
import time
from pathlib import Path

import nbformat
import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import average_precision_score

from helpers import worlds
from helpers.detector import Detector
from helpers.judge import Judge
from helpers.rules import RULES, SUSPICIOUS, Rule
from helpers.runs import ROOT
from helpers.schema import SESSIONS

NOTEBOOK = ROOT / "notebooks/09_streaming_sessions.ipynb"


@pytest.fixture(scope="module")
def world() -> tuple[pd.DataFrame, pd.DataFrame]:
    return worlds.simulate(1_000, 30, seed=0)


# --- the table -----------------------------------------------------------------------------------


def test_it_has_the_columns_of_the_schema_and_a_clock(world):
    events, truth = world
    assert set(events) == set(SESSIONS.carried) and len(SESSIONS.columns) == 23
    assert events.index.tolist() == list(range(len(events))) == truth.index.tolist()
    assert events["day"].is_monotonic_increasing and events["day"].max() == 29
    assert not events.duplicated(["account", "day"]).any()
    SESSIONS.inputs(events)  # finite, and no count below zero


def test_what_is_counted_fits_together(world):
    events, _ = world
    counts, shares = events[list(SESSIONS.counts)], events[list(SESSIONS.shares)]
    assert (counts.drop(columns=["failed_cnt", "night_cnt"]) >= 1).all(axis=None)
    assert counts.le(events["license_cnt"], axis=0).all(axis=None)
    assert (shares.ge(0) & shares.le(1)).all(axis=None)
    for family in ("dev_type", "drm_type", "enc_frmt"):
        assert np.allclose(shares.filter(like=family).sum(axis=1), 1)
    impossible = shares["mismatch_pct"] > 0
    assert (shares["drm_type_c_pct"][impossible] > 0).all()  # which televisions and telephones never carry


@pytest.mark.parametrize("abused", [0.005, 0.012, 0.027])
def test_the_stated_share_is_abused_and_categories_overlap(abused):
    _, truth = worlds.simulate(2_000, 30, seed=1, abused=abused)
    kinds = truth.sum(axis=1)
    assert (kinds > 0).mean() == pytest.approx(abused, rel=0.2)
    assert 0.01 < (kinds[kinds > 0] > 1).mean() < 0.4 and (truth.sum() > 0).all()


def test_campaigns_throttle_in_the_second_half(world):
    events, truth = world
    late, abused = events["day"] >= 15, truth.any(axis=1)
    for name in ("license_cnt", "failed_cnt", "dist_dev_id_cnt"):
        honest, early = events[name][~abused].mean(), events[name][abused & ~late].mean()
        assert honest < events[name][abused & late].mean() < early
    assert abused[late].sum() > 50


def test_no_abuse_and_no_throttling_can_be_asked_for():
    assert not worlds.simulate(200, 10, abused=0)[1].any(axis=None)
    events, truth = worlds.simulate(1_000, 30, throttle=1)
    late, abused = events["day"] >= 15, truth.any(axis=1)
    assert events["license_cnt"][abused & late].mean() > 10


def test_a_world_in_which_nothing_happens_is_an_empty_table():
    sizes = {len(worlds.simulate(1, 2, seed)[0]) for seed in range(40)}
    assert 0 in sizes and max(sizes) <= 2


@pytest.mark.parametrize("bad", [{"accounts": 0}, {"days": 1}, {"abused": 1}, {"throttle": -0.1}])
def test_a_world_that_cannot_be_is_one_sentence(bad):
    with pytest.raises(ValueError, match=r"^A world needs accounts, two days or more, and shares.*\.$"):
        worlds.simulate(**bad)


# --- the same again, and many --------------------------------------------------------------------


def test_a_seed_is_a_world():
    one, again, other = (worlds.simulate(300, 10, seed) for seed in (3, 3, 4))
    pd.testing.assert_frame_equal(one[0], again[0])
    pd.testing.assert_frame_equal(one[1], again[1])
    assert len(one[0]) != len(other[0]) or not one[0].equals(other[0])


def test_more_accounts_never_change_the_first_ones(monkeypatch):
    monkeypatch.setattr(worlds, "ACCOUNTS", 100)
    few, more = (worlds.simulate(accounts, 10, seed=5)[0] for accounts in (200, 350))
    order = ["account", "day"]
    kept = more[more["account"] < 200].sort_values(order).reset_index(drop=True)
    pd.testing.assert_frame_equal(kept, few.sort_values(order).reset_index(drop=True))


def test_a_hundred_thousand_account_days_take_seconds():
    began = time.process_time()
    events, _ = worlds.simulate(3_400, 30)
    assert len(events) > 60_000 and time.process_time() - began < 10


# --- neither trivial nor hopeless, and apart from the rules -----------------------------------------


def test_the_world_knows_no_rule_and_the_rules_no_campaign():
    tree = ast.parse(Path(worlds.__file__).read_text(encoding="utf-8"))
    imported = {node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    imported |= {name.name for node in ast.walk(tree) if isinstance(node, ast.Import) for name in node.names}
    assert imported == {"__future__", "numpy", "pandas"}
    cells = [cell.source for cell in nbformat.read(NOTEBOOK, 4).cells if cell.cell_type == "code"]
    sealed = next(n for n, source in enumerate(cells) if "truth = truth.assign" in source)
    (made,) = [n for n, source in enumerate(cells) if "worlds.simulate" in source]
    between = "\n".join(cells[made + 1 : sealed])
    assert "truth" not in between and made < sealed


def test_learning_beats_the_heuristic_and_truth_beats_learning(world):
    events, truth = world
    n, abused = int((events["day"] < 18).sum()), truth.any(axis=1).to_numpy().astype(np.int8)
    known = {rule.name: rule for rule in RULES}
    tries = Rule("tries", "", "", "", SUSPICIOUS, lambda f, t: f["failed_cnt"] > t["failed_cnt"])
    book = (tries, known["abnormal_combination"], known["ordinary_profile"])
    detector = Detector.fit(events[:n], schema=SESSIONS, rules=book)
    oracle = Judge(names=detector.judge.names).fit(detector.seen(events[:n]), abused[:n])
    reached = {
        "heuristic": average_precision_score(abused[n:], events["failed_cnt"][n:]),
        "detector": average_precision_score(abused[n:], detector.score(events[n:])),
        "oracle": average_precision_score(abused[n:], oracle.risk(detector.seen(events[n:]))),
    }
    assert 1.5 * reached["heuristic"] < reached["detector"] < reached["oracle"] < 0.95
