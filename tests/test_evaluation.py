"""Metrics against scikit-learn, the budget, the bootstrap, campaigns, and what notebook 6 adds."""

import json

import numpy as np
import pandas as pd
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from sandbox import refused
from sklearn.metrics import average_precision_score, confusion_matrix, roc_auc_score

import n06
from helpers import evaluation as ev


def stream(n: int = 3_000, frauds: int = 12) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    truth = np.zeros(n, dtype=np.int8)
    truth[rng.choice(n, frauds, replace=False)] = 1
    return truth, np.round(rng.normal(size=n) + 2 * truth, 1)


@settings(max_examples=30, deadline=None)
@given(st.lists(st.integers(0, 4), max_size=60), st.integers(0, 30), st.integers(1, 4), st.integers(1, 12))
def test_alerts_equal_a_plain_loop(score, start, per, of):
    expected = np.zeros(len(score), dtype=bool)
    numbers = range(start, start + len(score))
    for block in {number // of for number in numbers}:
        inside = [i for i, number in enumerate(numbers) if number // of == block]
        riskiest = sorted(inside, key=lambda i: (-score[i], i))  # of equal ones the earlier
        expected[riskiest[: per * len(inside) // of]] = True  # a part of a block gets its share
    assert ev.choose_alerts(score, start, per, of).tolist() == expected.tolist()
    assert ev.choose_alerts(range(40), 0, 1.5, 10).reshape(4, 10).sum(axis=1).tolist() == [1, 2, 1, 2]


def test_budget_report_by_hand():
    truth, score = np.zeros(2_000, dtype=int), np.zeros(2_000)
    truth[[*range(100, 110), 1_500]] = 1
    score[107:112] = 9
    report = ev.budget_report(truth, score, start=4_000)
    assert list(report) == ["alerts", "true_positives", "precision", "recall"]
    assert list(report.values()) == [10, 3, 3 / 10, 3 / 11]
    by_the_clock = ev.budget_report([1] * 10 + [0] * 990, np.zeros(1_000), start=600)
    assert [by_the_clock[name] for name in ("alerts", "true_positives", "recall")] == [5, 2, 0.2]


@settings(max_examples=30, deadline=None)
@given(st.lists(st.tuples(st.booleans(), st.integers(0, 6)), min_size=2, max_size=40), st.data())
def test_at_recall_takes_the_highest_sufficient_threshold(events, data):
    truth, score = np.array(events).T
    assume(0 < truth.sum() < len(truth))
    recall = data.draw(st.integers(1, int(truth.sum()))) / truth.sum()
    reached = {t: (truth & (score >= t)).sum() / truth.sum() for t in np.unique(score)}
    threshold = max(t for t, r in reached.items() if r >= recall)
    wrong = int(((score >= threshold) & (truth == 0)).sum())
    assert ev.at_recall(truth, score, recall) == {"recall": reached[threshold], "false_positives": wrong}
    assert ev.at_recall(truth, score, 0) == {"recall": 0, "false_positives": 0}
    reached = [ev.at_recall([1, 1, 1, 0], [4, 3, 2, 1], share)["recall"] for share in (0.3, 0.5)]
    assert reached == [1 / 3, 2 / 3]


@settings(max_examples=20, deadline=None)
@given(st.lists(st.tuples(st.booleans(), st.integers(-3, 3)), min_size=2), st.integers(1, 6), st.integers(0))
def test_bootstrap_equals_scikit_learn_on_the_materialised_resample(events, many, seed):
    truth, score = np.array(events).T
    assume(truth.any())
    campaign = np.random.default_rng(seed).integers(0, many, truth.sum())
    campaign = np.unique(campaign, return_inverse=True)[1]
    draws = ev.campaign_draws(campaign, draws=5, seed=seed)
    for counts, ap in zip(draws, ev.bootstrap_ap(truth, {"a": score}, draws)["a"], strict=True):
        often = np.ones(len(truth), dtype=int)
        often[truth == 1] = counts
        expected = average_precision_score(np.repeat(truth, often), np.repeat(score, often))
        assert ap == pytest.approx(expected, abs=1e-12)


def test_draws_are_seeded_and_draw_as_many_episodes_as_there_are():
    campaign = np.array([0, 0, 1, 2, 2, 2])
    draws = ev.campaign_draws(campaign)
    assert draws.shape == (1_000, 6) and (draws[:, [0, 2, 3]].sum(axis=1) == 3).all()
    assert (draws == draws[:, [0, 2, 3]][:, campaign]).all()  # a campaign's frauds come together
    np.testing.assert_allclose(draws.mean(axis=0), 1, atol=0.1)
    assert np.array_equal(draws, ev.campaign_draws(campaign, seed=0))
    assert not np.array_equal(draws, ev.campaign_draws(campaign, seed=1))


def test_compare_is_paired_and_signed():
    draws, observed = np.random.default_rng(1).normal([0.5, 0.2], 0.01, (300, 2)), {"good": 0.5, "noise": 0.2}
    boot = pd.DataFrame(draws, columns=list(observed))
    lo, hi = np.quantile(boot["good"] - boot["noise"], [0.025, 0.975])
    better = [0.5 - 0.2, pytest.approx(lo), pytest.approx(hi), "better"]
    worse = [0.2 - 0.5, pytest.approx(-hi), pytest.approx(-lo), "worse"]
    same = [0, 0, 0, "cannot tell"]
    for a, b, said in (("good", "noise", better), ("noise", "good", worse), ("good", "good", same)):
        assert list(ev.compare(boot, observed, a, b).values()) == said


def test_coverage_is_near_one_where_episodes_are_many_and_small_where_one_holds_half():
    truth, score = stream(1_000, 60)
    worse = score - truth * np.linspace(0, 1, len(truth))
    many, ahead = (n06.coverage(truth, score, np.arange(60), *other, times=100) for other in ([], [worse]))
    assert 0.85 < many[0] < 1 and 0.85 < ahead[0] < 1 and many != ahead and many[1] == ahead[1] == 0
    score[np.flatnonzero(truth)[:30]] += 9
    half = np.r_[np.zeros(30, int), 1:21, 1:11]
    assert 0.4 < n06.coverage(truth, score, half, times=100)[0] < 0.75
    same = n06.coverage(truth, score, np.arange(60), score, times=9)
    assert same == (1, 0)  # no difference, whatever is drawn


def test_the_sign_is_wrong_in_the_draws_that_miss_the_episode_which_decides_the_world():
    truth = np.repeat([1, 1, 0], [30, 30, 300])
    finds_many, finds_one = np.repeat([0, 3, 1], [30, 30, 300]), np.repeat([9, 2, 3, 0], [30, 30, 30, 270])
    half = np.r_[np.zeros(30, int), 1:31]
    held, wrong = n06.coverage(truth, finds_many, half, finds_one, times=100)
    assert 0.25 < wrong < 0.5 and held <= 1 - wrong  # one draw in e misses a campaign
    assert n06.coverage(truth, finds_one, half, finds_many, times=100)[1] == wrong
    scores, draws = {"one": finds_one, "many": finds_many}, ev.campaign_draws(half)
    told = n06.differences({"Many?": ("many", "one")}, truth, scores, half, draws).loc["Many?"]
    assert set(told) >= {told["lo"], told["hi"], "cannot tell"} and told["wrong sign"].endswith("%")


def test_episodes_link_the_near_the_similar_and_their_chains():
    truth, axes = np.zeros(5_000, dtype=int), np.zeros((5_000, 2))
    events = [10, 1_010, 2_000, 2_001, 3_002]
    truth[events], axes[events] = 1, [(10, 0), (10, 1), (10, 2), (0, 10), (0, 10)]
    assert ev.campaigns(truth, axes, radius=0.12).tolist() == [0, 0, 0, 1, 2]
    assert ev.campaigns(truth, axes, window=999, radius=0.12).tolist() == [0, 1, 1, 2, 3]
    assert ev.campaigns(truth, axes, window=1_001, radius=0.05).tolist() == [0, 1, 2, 3, 3]
    assert ev.campaigns([1, 1], [[1], [2]], radius=0.5).tolist() == [0, 0]  # half of the later one's length
    assert ev.campaigns([1, 1], [[2], [1]], radius=0.5).tolist() == [0, 1]


def test_evaluate_gives_scikit_learns_numbers_as_plain_ones_whatever_holds_them():
    truth, score = stream(4_000, 20)
    naive, campaign = score > 1.5, np.r_[0, 0, 0, 1:18]
    found = ev.evaluate(truth, {"seed_rules": naive, "classifier": score}, campaign, 30_900)
    assert json.loads(json.dumps(found, allow_nan=False)) == found
    (_, false_positives), (_, hits) = confusion_matrix(truth, naive).tolist()
    assert found["seed_rules"]["budget"] is None
    assert found["seed_rules"]["at_seed_recall"] == {"recall": hits / 20, "false_positives": false_positives}
    classifier, kept = found["classifier"], np.isin(np.arange(4_000), np.flatnonzero(truth)[:3], invert=True)
    assert classifier["average_precision"] == average_precision_score(truth, score)
    assert classifier["roc_auc"] == roc_auc_score(truth, score)
    assert classifier["without_largest"] == average_precision_score(truth[kept], score[kept])
    by_the_clock = ev.budget_report(truth, score, 30_900)
    assert by_the_clock["alerts"] == 19 and by_the_clock == classifier["budget"]
    low, high = classifier["average_precision_ci"]
    assert low < classifier["average_precision"] < high
    again = ev.evaluate(truth, {"seed_rules": naive}, np.zeros(20, int), seed=1)["seed_rules"]
    assert again["without_largest"] is None and ev.results_table({"rules": again}).iloc[0, 2] == "-"
    other = ev.evaluate(truth, {"seed_rules": naive}, campaign, seed=1)["seed_rules"]  # of other draws
    assert other["average_precision_ci"] != found["seed_rules"]["average_precision_ci"]


ONE, SCORE = np.array([0, 1] * 1_500), np.arange(3_000.0)
DRAWS = ev.campaign_draws(np.arange(1_500), draws=3)


def parts(*truth: int) -> None:
    ev.check_parts([0, 1, 0, 1, 0], 3)  # which are well
    ev.check_parts(truth, 3)


@pytest.mark.parametrize(
    ("call", "sentence"),
    [
        (lambda: parts(1, 1, 1, 0, 1), "None of the 3 events of the training set is legitimate, so"),
        (lambda: parts(0, 1, 0, 0, 0), "None of the 2 events of the test set is a fraud, so"),
        (lambda: ev.evaluate(ONE[1::2], {}, DRAWS[0]), "all 1,500 events are of one class"),
        (lambda: ev.evaluate(ONE * 0, {}, DRAWS[0]), "all 3,000 events are of one class"),
        (
            lambda: ev.budget_report(ONE * 0, SCORE),
            "3,000 events from event 0 on are all legitimate: take more",
        ),
        (lambda: ev.budget_report(ONE[:150], SCORE[:150], 7), "150 events from event 7 on are too few for"),
        (lambda: ev.bootstrap_ap(ONE, {"a": SCORE}, DRAWS[:, 1:]), "of 1499 frauds, but there are 1500"),
        (lambda: ev.budget_report(ONE, SCORE[1:]), "3,000 events but the detector scored 2,999"),
        (lambda: ev.check_parts(ONE * 2, 9), "truth must be one column of 0 and 1"),
        (lambda: ev.at_recall([0, 1, 1], [1, np.nan, 2], 0.5), "position 1 is nan: score every event"),
    ],
)
def test_bad_arguments_and_absent_metrics_give_one_sentence(call, sentence):
    with refused(sentence):
        call()


def test_a_rule_shares_the_budget_among_those_it_accuses():
    truth, fires = np.zeros(2_000, dtype=int), np.zeros(2_000, dtype=bool)
    truth[[1, 2, 13, 1_500]] = 1
    fires[[1, 2, 10, 11, 12, 13, 14, 1_600]] = True
    rule_score = np.arange(2_000, 0, -1.0)
    rule_score[2] = 0.5  # the last of the seven flagged in its thousand, so beyond the budget
    said = n06.flags(truth, fires, rule_score)
    expected = {"flagged": 8, "frauds": 3, "precision": 0.375, "recall": 0.75, "within_budget": 2}
    assert list(said.items()) == list(expected.items())
    assert set(n06.flags(truth, fires & False, rule_score).values()) == {0}


def test_found_from_every_start_in_all_and_as_a_share_of_the_reference():
    rows = [(0, "late", 1), (0, "full_feedback", 4), (9_000, "late", 2), (9_000, "full_feedback", 2)]
    table = pd.DataFrame(rows, columns=["start", "detector", "found"]).assign(possible=[5, 5, 3, 3])
    free = pd.DataFrame({"start": [0], "detector": ["rules"], "found": [9]})  # is told nothing
    shown = ev.found_over_starts(pd.concat([table, free]))
    assert shown.columns.tolist() == ["0", "9,000", "all", "of the reference"]
    assert shown.T.to_dict("list") == {
        "late": ["1", "2", "3", "50%"],
        "full_feedback": ["4", "2", "6", "100%"],
        "perfect": ["5", "3", "8", "133%"],
    }
    assert list(shown.index) == ["late", "full_feedback", "perfect"]
