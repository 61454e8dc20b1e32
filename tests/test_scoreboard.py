"""notebooks/scoreboard.py: the learner's own rule, as notebooks 6 and 7 find it."""

import pandas as pd
import pytest

import scoreboard

SIGNALS = pd.DataFrame({"burst": [0, 3, 9, 1]}, index=range(50_000, 50_004))


def broken(signals, thresholds):
    raise RuntimeError


@pytest.mark.parametrize(
    "attempt", [broken, lambda s, t: None, lambda s, t: "text", lambda s, t: s["burst"] > 99, None, 7]
)
def test_it_keeps_what_a_rule_flags_until_an_attempt_is_no_rule(tmp_path, attempt):
    """Nothing raises, because the checker below it says what is off."""
    scoreboard.keep(tmp_path, lambda s, t: s["burst"] > t["burst"], SIGNALS, {"burst": 2})
    assert scoreboard.flags(tmp_path, SIGNALS.index[1:]).tolist() == [True, True, False]
    scoreboard.keep(tmp_path, attempt, SIGNALS, {"burst": 2})
    assert scoreboard.flags(tmp_path, SIGNALS.index) is None
