"""notebooks/n08.py: what the measurements of `make scale` say."""

import json

import numpy as np
import pandas as pd
import pytest

import n08
from course import growth

SIZES = (1_000_000, 10_000_000)


def measurements(start: float) -> dict:
    """One process takes 1 s for a million, Spark so long to start and then 0.6 s; XGBoost alone 0.5 s."""
    seconds, begin = [1.0, 1.2, 0.6] * 2, [0.0, start, start] * 2
    rows = pd.DataFrame({"events": np.repeat(SIZES, 3), "path": [n08.ONE, "Spark, 1 core", n08.SPARK] * 2})
    rows = rows.assign(start_s=begin, work_s=seconds * rows["events"] / 1e6, peak_mb=300.0, xgboost_per_s=2e6)
    return {"measured": rows.to_dict("records")}


@pytest.mark.parametrize(
    ("start", "title"),
    [
        (10, "Up to 10,000,000 events Spark on 2 cores is never done first"),
        (3, "Spark on 2 cores is done first with 10,000,000 events"),
    ],
)
def test_the_figure_says_from_where_spark_is_ahead(start, title, tmp_path, monkeypatch):
    monkeypatch.setattr(n08, "TABLE", tmp_path / "scaling.json")
    n08.TABLE.write_text(json.dumps(measurements(start)))
    rows = n08.table()
    assert rows["total_s"].tolist() == pytest.approx([1, start + 1.2, start + 0.6, 10, start + 12, start + 6])
    assert rows["events_per_s"].tolist()[:2] == pytest.approx([1e6, 1e6 / 1.2])
    axis = n08.growth(rows, 3e6).axes[0]
    assert axis.get_title(loc="left").replace("\n", " ") == title
    legend = [text.get_text() for text in axis.get_legend().get_texts()]
    assert legend == [n08.ONE, n08.SPARK, "your guess: 3e+06"]


def test_what_is_published_keeps_the_promises():
    rows = n08.table().sort_values("events")
    assert set(rows["events"]) == set(growth.SIZES) and len(rows) == 9
    before, last = rows[rows["path"] == n08.ONE].to_dict("records")[-2:]
    assert last["peak_mb"] < 1_500 and last["events_per_s"] >= 0.7 * before["events_per_s"]
    assert last["events_per_s"] >= 0.15 * last["xgboost_per_s"]  # reading, the distance and writing are slow
    assert rows[rows["path"] == n08.SPARK]["work_s"].iloc[-1] <= 3 * last["work_s"]
    assert n08.TABLE.with_suffix(".png").is_file()
