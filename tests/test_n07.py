"""What notebook 7 prints of alerts and of a reader's reviews, and its alarm for drift."""

import re

import numpy as np
import pandas as pd
import pytest

import n07
from helpers import data, evaluation
from helpers.stream import Learner, drift


def test_reviews_are_held_against_the_truth_and_learned(detector, small, small_train, tmp_path, capsys):
    truth = data.seal(data.load_events("snapshot", len(small)))[1]
    learner, later = Learner.start(detector, small_train), small[7_000:]
    learner.watch(small[len(small_train) : 7_000])
    pending, before = learner.pending, learner.memory.copy()
    frauds, many = int(truth[pending].sum()), len(pending)
    honest = many - frauds

    def said(answers) -> str:
        n07.compare_reviews(answers, pending, learner, later, truth)
        pd.testing.assert_frame_equal(learner.memory, before)
        return capsys.readouterr().out

    assert said("") == said("  ") == "Nothing typed yet, so there is nothing to compare.\n"
    for answers, given in (("fl", 2), ("x" * many, 0), ("f" * (many + 1), many + 1)):
        assert f"These are {given} answers; type f or l once for each of the {many} alerts." in said(answers)
    right = "".join("lf"[one] for one in truth[pending])
    best, worst = said(right), said(right.translate(str.maketrans("fl", "lf")))
    assert 0 < frauds < many and f"{frauds} of {frauds} frauds" in best and "blocked 0 of" in best
    assert "(mistaken: none)" in best and "(mistaken: 1, 2, 3," in worst
    assert f"confirmed 0 of {frauds} frauds and would have blocked {honest} of {honest}" in worst
    mine, true, none = map(int, re.search(r"finds (\d+) .* (\d+) after .* (\d+) after none", best).groups())
    alerts = evaluation.choose_alerts(detector.score(later), 7_000)
    assert mine == true and none == truth[later.index][alerts].sum()
    assert f" {true} after the true ones and {none} after none" in worst
    truth[pending].rename("review").to_csv(tmp_path / "mine.csv", index_label="event")
    assert said(" ".join(right).upper()) == said(tmp_path / "mine.csv") == best


def test_an_alert_is_shown_with_its_amount_how_rare_it_is_and_why(detector, small, capsys):
    events = small[5_000:5_003]
    reasons = detector.reasons(events, small[4_000:5_000])
    n07.show_alerts(events, reasons, ["Amount"])
    shown = capsys.readouterr().out
    numbered = re.findall(r"^(\d)\. Event ([\d,]+): Amount ", shown, re.M)
    assert numbered == [("1", "5,000"), ("2", "5,001"), ("3", "5,002")]
    assert " ".join(reasons["why"].iloc[0].split()) in " ".join(shown.split())
    assert f"about 1 in {reasons['one_in'].iloc[0]:,}, look-alikes: {reasons['burst'].iloc[0]}\n" in shown


def test_the_limit_of_drift_is_the_farthest_block_of_the_warm_up():
    rng = np.random.default_rng(0)
    events = pd.DataFrame({"x": rng.random(5_400), "y": rng.random(5_400) + np.arange(5_400) // 1_000 % 3})
    psi, limit = n07.largest_psi(events[:3_000], events[3_000:])
    assert psi.index.tolist() == [3_000, 4_000]  # the last 400 are no block
    assert psi[4_000] == drift(events[:3_000], events[4_000:5_000])["psi"]["y"] > 0.25
    apart = [events.drop(range(begin, begin + 1_000))[:2_000] for begin in (0, 1_000, 2_000)]
    inside = [drift(apart[n], events[n * 1_000 : (n + 1) * 1_000])["psi"].max() for n in range(3)]
    assert limit == pytest.approx(max(inside))
