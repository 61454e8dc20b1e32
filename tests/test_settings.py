"""helpers/settings.py: a number stands in one place, and everything follows it."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys

import pytest

from helpers.settings import ROOT

MEASURED = """
import json
import numpy as np
from helpers import data, evaluation, features, rules, settings, stream
from helpers.detector import Detector
from helpers.exercises import ex02

events, truth = data.seal(data.load_events("snapshot", rows=8_000))
train = events[:5_000]
detector = Detector.fit(train)
signals = features.behaviour(train, detector.profile)
learner = stream.Learner.start(detector, train)
for _ in stream.replay(learner, events[5_000:], truth):
    pass
risk = detector.score(events[5_000:])
print(json.dumps({
    "budget": settings.BUDGET,
    "beyond_threshold": float((signals["distance"] > detector.thresholds["distance"]).mean()),
    "alerts": evaluation.choose_alerts(risk, start=5_000).reshape(3, -1).sum(axis=1).tolist(),
    "reported": evaluation.budget_report(truth[5_000:], risk, 5_000)["alerts"],
    "learner": [int(n) for n in (learner.memory["alert"][5_000:] == 1).groupby(lambda e: e // 1_000).sum()],
    "complains": ex02.TOO_MANY,
    "words": settings.BUDGET_IN_WORDS,
}))
"""


@pytest.mark.parametrize("alerts", [5, 8])
def test_the_alert_budget_stands_in_one_place(tmp_path, alerts):
    for name in ("helpers", "data"):
        shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
    settings = tmp_path / "helpers" / "settings.py"
    text = settings.read_text(encoding="utf-8")
    settings.write_text(re.sub(r"^ALERTS = 5\b", f"ALERTS = {alerts}", text, flags=re.M), encoding="utf-8")
    command = [sys.executable, "-c", MEASURED]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["budget"] == alerts / 1_000 and found["beyond_threshold"] == alerts / 1_000
    assert found["alerts"] == found["learner"] == [alerts] * 3 and found["reported"] == 3 * alerts
    assert found["complains"] == 10 * alerts / 1_000
    assert found["words"] == f"{alerts} of every 1,000 events"


def test_no_other_line_spells_the_budget():
    """Of the code: 5 of 1,000, its share, and the quantile that it leaves above."""
    spelt = re.compile(r"\b5 (?:/|of|in) (?:every )?1[_,]?000|99\.5|[Hh]alf percent")
    found = [
        f"{path.relative_to(ROOT)}: {line.strip()}"
        for package in ("helpers", "course")
        for path in sorted((ROOT / package).rglob("*.py"))
        for line in path.read_text(encoding="utf-8").splitlines()
        if spelt.search(line)
    ]
    assert found == []
