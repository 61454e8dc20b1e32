"""helpers/settings.py: a number stands in one place, and everything follows it."""

import re
import sys
import types

from toys import taken_out

import helpers
from helpers.settings import ROOT


def measured() -> dict:
    """What the budget decides, with all modules as they are imported now."""
    import n02
    from helpers import data, evaluation, features, settings, stream
    from helpers.detector import Detector

    events, truth = data.seal(data.load_events("snapshot", rows=4_000))
    train, live = events[:2_000], events[2_000:]
    detector = Detector.fit(train, profile=features.Profile.fit(train, clusters=1))
    learner = stream.Learner.start(detector, train)
    for _ in stream.replay(learner, live, truth):
        pass
    risk, alerted = detector.score(live), learner.memory["alert"][2_000:] == 1
    distance = features.behaviour(train, detector.profile)["distance"]
    beyond = float((distance > detector.thresholds["distance"]).mean())
    return {
        "share": [settings.BUDGET, beyond, n02.TOO_MANY / 10],
        "alerts": evaluation.choose_alerts(risk, start=2_000).reshape(2, -1).sum(axis=1).tolist(),
        "learner": alerted.groupby(lambda event: event // 1_000).sum().tolist(),
        "reported": evaluation.budget_report(risk == risk.max(), risk, 2_000)["alerts"],
        "words": settings.BUDGET_IN_WORDS,
    }


def test_the_alert_budget_stands_in_one_place():
    """With another budget, and all modules imported anew, beside those under test."""
    packages = ("helpers", *(path.stem for path in (ROOT / "notebooks").glob("*.py")))
    settings = types.ModuleType("helpers.settings")
    settings.__file__ = helpers.__file__.replace("__init__", "settings")
    text = (ROOT / "helpers" / "settings.py").read_text(encoding="utf-8")
    exec(re.sub(r"^ALERTS = 5\b", "ALERTS = 8", text, flags=re.M), vars(settings))
    ours = taken_out(packages)
    try:
        sys.modules["helpers.settings"] = settings
        assert measured() == {
            "share": [0.008] * 3,
            "alerts": [8, 8],
            "learner": [8, 8],
            "reported": 16,
            "words": "8 of every 1,000 events",
        }
    finally:
        taken_out(packages)
        sys.modules.update(ours)


def test_no_other_line_spells_the_budget():
    spelt = re.compile(r"\b5 (?:/|of|in) (?:every )?1[_,]?000|99\.5|[Hh]alf percent")
    paths = [path for folder in ("helpers", "course", "notebooks") for path in (ROOT / folder).rglob("*.py")]
    assert [path.name for path in paths if spelt.search(path.read_text(encoding="utf-8"))] == []
