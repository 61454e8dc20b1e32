"""helpers/settings.py: a number stands in one place, and everything follows it."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys

from helpers.settings import ROOT

MEASURED = """
import json, re, sys, types
from pathlib import Path
import helpers

settings = types.ModuleType("helpers.settings")
settings.__file__ = str(Path(helpers.__file__).with_name("settings.py"))
text = Path(settings.__file__).read_text(encoding="utf-8")
exec(re.sub(r"^ALERTS = 5\\b", "ALERTS = 8", text, flags=re.M), vars(settings))
sys.modules["helpers.settings"] = helpers.settings = settings

import n02
from helpers import data, evaluation, features, stream
from helpers.detector import Detector

events, truth = data.seal(data.load_events("snapshot", rows=4_000))
train = events[:2_000]
detector = Detector.fit(train, rounds=1, profile=features.Profile.fit(train, crowds=1))
learner = stream.Learner.start(detector, train)
for _ in stream.replay(learner, events[2_000:], truth):
    pass
risk = detector.score(events[2_000:])
distance = features.behaviour(train, detector.profile)["distance"]
print(json.dumps({
    "share": [settings.BUDGET, float((distance > detector.thresholds["distance"]).mean()), n02.TOO_MANY / 10],
    "alerts": evaluation.choose_alerts(risk, start=2_000).reshape(2, -1).sum(axis=1).tolist(),
    "learner": [int(n) for n in (learner.memory["alert"][2_000:] == 1).groupby(lambda e: e // 1_000).sum()],
    "reported": evaluation.budget_report(risk == risk.max(), risk, 2_000)["alerts"],
    "words": settings.BUDGET_IN_WORDS,
}))
"""


def test_the_alert_budget_stands_in_one_place():
    folders = os.pathsep.join([str(ROOT), str(ROOT / "notebooks")])
    environment = os.environ | {"PYTHONPATH": folders}
    command = [sys.executable, "-c", MEASURED]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == {
        "share": [0.008] * 3,
        "alerts": [8, 8],
        "learner": [8, 8],
        "reported": 16,
        "words": "8 of every 1,000 events",
    }


def test_no_other_line_spells_the_budget():
    """Of the code: 5 of 1,000, its share, and the quantile that it leaves above."""
    spelt = re.compile(r"\b5 (?:/|of|in) (?:every )?1[_,]?000|99\.5|[Hh]alf percent")
    found = [
        f"{path.relative_to(ROOT)}: {line.strip()}"
        for folder in ("helpers", "course", "notebooks")
        for path in sorted((ROOT / folder).rglob("*.py"))
        for line in path.read_text(encoding="utf-8").splitlines()
        if spelt.search(line)
    ]
    assert found == []
