"""helpers/scaling.py: more events out of real ones, and what the measurements say."""

from __future__ import annotations

import json
from itertools import pairwise

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from course import growth
from helpers import data, scaling
from helpers.settings import COLUMNS


@pytest.fixture(scope="module")
def snapshot() -> pd.DataFrame:
    return data.load_events("snapshot", rows=100_000)


@settings(max_examples=25, deadline=None)
@given(cuts=st.lists(st.integers(1, 7_499), max_size=6), keys=st.integers(1, 40), seed=st.integers(0, 9))
def test_a_resampled_stream_is_the_same_in_any_parts(snapshot, cuts, keys, seed):
    whole = scaling.resample(snapshot, 7_500, keys, seed)
    borders = [0, *sorted(set(cuts)), 7_500]
    parts = [scaling.resample(snapshot, b - a, keys, seed, start=a) for a, b in pairwise(borders)]
    pd.testing.assert_frame_equal(pd.concat(parts, ignore_index=True), whole)


def test_resampled_keys_take_turns_and_replay_runs_of_real_events(snapshot):
    real = snapshot[:1_500]
    made = scaling.resample(real, 5_000, keys=2, seed=1)
    assert made["event"].tolist() == list(range(5_000)) and list(made) == ["key", "event", *COLUMNS]
    np.testing.assert_array_equal(made["key"], made["event"] % 2)
    values, wrapped, starts = real[COLUMNS].to_numpy(), 0, []
    for _, events in made.groupby("key"):
        for run in (slice(0, 1_000), slice(1_000, 2_000), slice(2_000, 2_500)):
            replayed = events[COLUMNS].to_numpy()[run]
            (start,) = np.flatnonzero(
                (np.roll(values, -1, 0) == replayed[1]).all(1) & (values == replayed[0]).all(1)
            )
            np.testing.assert_array_equal(replayed, values[(start + np.arange(len(replayed))) % 1_500])
            wrapped += start + len(replayed) > 1_500
            starts.append(start)
    assert 0 < wrapped < 6 and len(set(starts)) == 6


def test_one_seed_one_stream(snapshot):
    one, again, other = (scaling.resample(snapshot, 3_000, 5, seed) for seed in (0, 0, 1))
    assert one.equals(again) and not one.equals(other)


@pytest.mark.parametrize("wrong", [{"rows": 0}, {"rows": 5, "keys": 0}, {"rows": 5, "start": -1}])
def test_no_stream_of_nothing(snapshot, wrong):
    with pytest.raises(ValueError, match="must be at least"):
        scaling.resample(snapshot, **wrong)


def test_a_resampled_file_is_written_group_by_group(snapshot, tmp_path, monkeypatch):
    monkeypatch.setattr(scaling, "GROUP_ROWS", 400)
    held = []
    resample = scaling.resample
    monkeypatch.setattr(scaling, "resample", lambda *given: held.append(given[1]) or resample(*given))
    scaling.write_resampled(tmp_path / "x.parquet", snapshot, 1_000, 3, seed=2, start=50)
    assert held == [400, 400, 200] and pq.ParquetFile(tmp_path / "x.parquet").num_row_groups == 3
    pd.testing.assert_frame_equal(
        pd.read_parquet(tmp_path / "x.parquet"), resample(snapshot, 1_000, 3, 2, 50)
    )


def test_a_file_that_cannot_be_made_leaves_the_old_one(snapshot, tmp_path, monkeypatch):
    def full_at_the_second_group(*given, resample=scaling.resample):
        if given[-1] > 0:
            raise OSError("full")
        return resample(*given)

    (tmp_path / "x.parquet").write_bytes(b"old")
    monkeypatch.setattr(scaling, "GROUP_ROWS", 400)
    monkeypatch.setattr(scaling, "resample", full_at_the_second_group)
    with pytest.raises(OSError, match="full"):
        scaling.write_resampled(tmp_path / "x.parquet", snapshot, 1_000)
    assert [p.name for p in tmp_path.iterdir()] == ["x.parquet"]
    assert (tmp_path / "x.parquet").read_bytes() == b"old"


# What the measurements say


def measurements() -> dict:
    """One process takes 1 s for a million, Spark 10 s to start and 2 s or 1.2 s; XGBoost alone 0.5 s."""
    work = {scaling.ONE: 1.0, "Spark, 1 core": 2.0, "Spark, 2 cores": 1.2}
    return {
        "measured": [
            {
                "events": size,
                "path": path,
                "start_s": 0.0 if path == scaling.ONE else 10.0,
                "work_s": seconds * size / 1e6,
                "peak_mb": 300.0,
                "xgboost_per_s": 2e6,
            }
            for size in (1_000_000, 10_000_000)
            for path, seconds in work.items()
        ]
    }


def test_the_findings_are_arithmetic_of_the_measurements():
    found = scaling.findings(measurements())
    assert found == pytest.approx(
        {"peak_mb": 300, "speed_kept": 1, "of_xgboost": 0.5, "spark_against_one": 1.2, "crossover": None}
    )
    faster = measurements()
    for row in faster["measured"]:
        if row["path"] == "Spark, 2 cores":
            row["work_s"] /= 2
    assert scaling.findings(faster)["crossover"] == pytest.approx(10 / (1.0 - 0.6) * 1e6)


def test_a_cluster_is_bound_by_what_more_cores_do_not_help():
    hours = scaling.cluster(measurements(), 10**9, (2, 10, 10**6)) * 1.0
    serial = 2 * 1.2 / 2.0 - 1
    seconds = [1_000, 10 + 1_200, 10 + 2_000 * (serial + 0.8 / 10), 10 + 2_000 * serial]
    np.testing.assert_allclose(hours["hours"] * 3_600, seconds, rtol=1e-4)
    spread = [1_000, 10 + 1_000, 10 + 200, 10 + 2_000 / 10**6]
    np.testing.assert_allclose(hours["hours_if_all_spread"] * 3_600, spread, rtol=1e-4)
    assert list(hours.index) == [scaling.ONE, "Spark, 2 cores", "Spark, 10 cores", "Spark, 1000000 cores"]
    assert hours["share_waiting"].iloc[-1] > 0.99 and hours["share_waiting"].iloc[1] == pytest.approx(
        1 - 2_000 / 2_420
    )


def test_what_is_published_keeps_the_promises():
    result = scaling.read()
    sizes = {row["events"] for row in result["measured"]}
    assert sizes == set(growth.SIZES) and len(result["measured"]) == 9
    found = scaling.findings(result)
    assert found["peak_mb"] < 1_500 and found["speed_kept"] >= 0.7
    assert found["of_xgboost"] >= 0.15  # reading, the distance from forty crowds and writing take the rest
    assert found["spark_against_one"] <= 3
    assert json.loads(scaling.TABLE.read_text()) == result and scaling.TABLE.with_suffix(".png").is_file()
