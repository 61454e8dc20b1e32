"""notebooks/n09.py: a simulated streaming service, and the notebook that works on it."""

import ast
import inspect

import nbformat
import numpy as np
import pandas as pd
import pytest

import n09
from helpers.settings import RESULTS, ROOT


@pytest.fixture(scope="module")
def world() -> tuple[pd.DataFrame, pd.DataFrame]:
    return n09.simulate(1_000, 30, seed=0)


def test_it_has_the_columns_of_the_schema_and_a_clock_and_what_is_counted_fits_together(world):
    events, truth = world
    assert set(events) == set(n09.SESSIONS.carried) and len(n09.SESSIONS.columns) == 23
    assert events["day"].is_monotonic_increasing and events["day"].max() == 29
    assert not events.duplicated(["account", "day"]).any() and truth.index.equals(events.index)
    n09.SESSIONS.inputs(events)  # finite, and no count below zero
    counts, shares = (events[list(columns)] for columns in (n09.SESSIONS.counts, n09.SESSIONS.shares))
    assert counts.le(events["license_cnt"], axis=0).all(axis=None)
    for family in n09.SHARES:
        assert np.allclose(shares.filter(like=family).sum(axis=1), 1)


def test_the_stated_share_is_abused_categories_overlap_and_campaigns_throttle_later(world):
    events, truth = world
    late, kinds = events["day"] >= 15, truth.sum(axis=1)
    abused = kinds > 0
    assert abused.mean() == pytest.approx(0.012, rel=0.2) and (truth.sum() > 0).all()
    assert 0.01 < (kinds[abused] > 1).mean() < 0.4
    for name in ("license_cnt", "failed_cnt", "dist_dev_id_cnt"):
        ordinary, early = events[name][~abused].mean(), events[name][abused & ~late].mean()
        assert ordinary < events[name][abused & late].mean() < early


def test_a_world_may_be_empty_and_needs_accounts_and_days():
    assert 0 in {len(n09.simulate(1, 2, seed)[0]) for seed in range(8)}
    for bad in ({"accounts": 0}, {"days": 1}):
        with pytest.raises(ValueError, match=r"^A world needs accounts, and two days or more\.$"):
            n09.simulate(**bad)


def test_the_world_is_the_one_that_was_published():
    events, truth = n09.simulate(2_200, 14, seed=3)
    weighed = events.to_numpy() @ np.arange(1, 26)  # each column counts otherwise
    assert (len(events), (truth.to_numpy() @ [1, 10, 100]).sum()) == (21_570, 13_658)
    sums = weighed.sum(), weighed[truth.any(axis=1)].sum()
    assert sums == pytest.approx((575_029_579.0873111, 7_060_477.92721102), rel=1e-12)


def test_more_accounts_never_change_the_first_ones(monkeypatch):
    monkeypatch.setattr(n09, "ACCOUNTS", 100)
    few, more = (n09.simulate(accounts, 10, seed=5)[0] for accounts in (200, 350))
    order = ["account", "day"]
    kept = more[more["account"] < 200].sort_values(order).reset_index(drop=True)
    pd.testing.assert_frame_equal(kept, few.sort_values(order).reset_index(drop=True))


def test_the_world_knows_no_rule_and_the_rules_no_campaign():
    source = inspect.getsource(n09)
    imports = (node for node in ast.parse(source).body if isinstance(node, ast.Import | ast.ImportFrom))
    imported = {name.asname or name.name for node in imports for name in node.names}
    world = ast.parse(source.split("# --- the simulated world\n")[1].split("# --- figures\n")[0])
    used = {node.id for node in ast.walk(world) if isinstance(node, ast.Name)}
    assert used & imported == {"np", "pd", "Schema"}
    notebook = nbformat.read(ROOT / "notebooks/09_streaming_sessions.ipynb", 4)
    cells = [cell.source for cell in notebook.cells if cell.cell_type == "code"]
    sealed = next(n for n, source in enumerate(cells) if "truth = truth.assign" in source)
    (made,) = [n for n, source in enumerate(cells) if "n09.simulate" in source]
    assert made < sealed and "truth" not in "\n".join(cells[made + 1 : sealed])


def test_titles_and_table_count_what_is_found_and_in_how_many_worlds():
    found = pd.DataFrame({"heuristics": [2, 3], "without_past": [4, 6], "detector": [5, 6]})
    caught = pd.Series([1, 1, 0, 0, 1, 0, 0, 0], index=[0, 3, 4, 7, 8, 8, 9, 9])
    figures = (
        n09.found_in_sessions(found.loc[0], 9, 8),
        n09.over_worlds(found),
        n09.caught_by_day(caught, 8, guess=0.5),
    )
    assert [figure.axes[0].get_title(loc="left").replace("\n", " ") for figure in figures] == [
        "With 8 alerts the detector finds 5 of 9 abused account-days, on plain numbers 4, the heuristics 2",
        "The detector finds more than the heuristics in 2 of 2 worlds, more than on plain numbers in 1",
        "Heuristics flag 50% of the abused account-days in the first half, 25% in the second",
    ]
    table = n09.duels(pd.read_csv(RESULTS / "worlds.csv").query("category == 'any'"))
    counts = table["ahead / equal / behind"].str.split(" / ", expand=True).astype(int)
    assert table.shape == (9, 3) and (counts.sum(axis=1) == 20).all()
