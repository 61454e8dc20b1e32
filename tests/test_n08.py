"""notebooks/n08.py: what the measurements of `make scale` say."""

import numpy as np
import pandas as pd
import pytest

import n08
from course import growth

SIZES = (1_000_000, 10_000_000)


def measurements(faster: float = 1.0) -> dict:
    """One process takes 1 s for a million, Spark 10 s to start and 2 s or 1.2 s; XGBoost alone 0.5 s."""
    seconds, start = [1.0, 2.0, 1.2 / faster] * 2, [0.0, 10.0, 10.0] * 2
    rows = pd.DataFrame({"events": np.repeat(SIZES, 3), "path": [n08.ONE, "Spark, 1 core", n08.SPARK] * 2})
    rows = rows.assign(start_s=start, work_s=seconds * rows["events"] / 1e6, peak_mb=300.0, xgboost_per_s=2e6)
    return {"measured": rows.to_dict("records")}


def test_the_findings_are_arithmetic_of_the_measurements():
    assert n08.findings(measurements()) == pytest.approx({"spark_against_one": 1.2, "crossover": None})
    slower = measurements(2)
    for row in slower["measured"]:
        row["work_s"] += 1
    assert n08.findings(slower)["crossover"] == pytest.approx(10 / (1.0 - 0.6) * 1e6)


def test_figures_say_from_where_spark_is_ahead_and_what_is_forgotten():
    rows = n08.table(measurements())
    assert rows["total_s"].tolist() == [1, 12, 11.2, 10, 30, 22] and rows["events_per_s"][1] == 5e5
    remembered = pd.Series(4, range(200))
    figures = [n08.growth(rows, crossover, 3e6) for crossover in (2.3e6, 2e7, None)]
    figures.append(n08.forgotten(remembered, remembered.mask(remembered.index % 100 < 10, 1), 100))
    until = "Up to 10,000,000 events Spark on 2 cores is never done first"
    assert [figure.axes[0].get_title(loc="left").replace("\n", " ") for figure in figures] == [
        *("Spark on 2 cores is done first from 2,000,000 events on", until, until),
        "Without memory 7% of the burst counts are forgotten: early in a micro-batch 75%, late 0%",
    ]
    legend = [text.get_text() for text in figures[0].axes[0].get_legend().get_texts()]
    assert legend == [n08.ONE, n08.SPARK, "your guess: 3e+06"]
    bars = [(bar.get_x(), bar.get_height()) for bar in figures[-1].axes[0].patches]
    assert bars[:2] == [(0, 0.75), (10, 0)] and len(bars) == 10


def test_what_is_published_keeps_the_promises():
    result = n08.read()
    assert {row["events"] for row in result["measured"]} == set(growth.SIZES) and len(result["measured"]) == 9
    rows = n08.table(result).sort_values("events")
    before, last = rows[rows["path"] == n08.ONE].to_dict("records")[-2:]
    assert last["peak_mb"] < 1_500 and last["events_per_s"] >= 0.7 * before["events_per_s"]
    assert last["events_per_s"] >= 0.15 * last["xgboost_per_s"]  # reading, the distance and writing are slow
    assert n08.findings(result)["spark_against_one"] <= 3
    assert n08.TABLE.with_suffix(".png").is_file()
