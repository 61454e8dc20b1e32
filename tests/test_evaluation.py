"""Metrics against scikit-learn, the budget's clock, the bootstrap's identity, episodes."""

from __future__ import annotations

import json
import time

import numpy as np
import pandas as pd
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score, confusion_matrix, precision_recall_curve, roc_auc_score

from helpers import evaluation as ev


def stream(n: int = 3_000, frauds: int = 12, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Truth and a score that knows something of it, with many ties."""
    rng = np.random.default_rng(seed)
    truth = np.zeros(n, dtype=np.int8)
    truth[rng.choice(n, frauds, replace=False)] = 1
    return truth, np.round(rng.normal(size=n) + 2 * truth, 1)


ALONE = np.arange(12)  # every fraud of `stream` an episode


def test_metrics_are_scikit_learns_for_arrays_series_and_float32():
    truth, score = stream()
    for t, s in [(truth, score), (pd.Series(truth, index=range(9, 3_009)), score.astype("f4"))]:
        judge = ev.evaluate(t, {"seed_rules": score > 1, "judge": s}, ALONE)["judge"]
        assert judge["average_precision"] == pytest.approx(average_precision_score(truth, score))
        assert judge["roc_auc"] == pytest.approx(roc_auc_score(truth, score))


def test_all_equal_scores_know_nothing():
    truth, _ = stream()
    flat = np.zeros(len(truth))
    flat_one = ev.evaluate(truth, {"seed_rules": flat > 0, "flat": flat}, ALONE)["flat"]
    assert flat_one["average_precision"] == pytest.approx(12 / 3_000) and flat_one["roc_auc"] == 0.5
    assert ev.at_recall(truth, flat, 0.1) == {"recall": 1.0, "false_positives": 2_988}
    boot = ev.bootstrap_ap(truth, {"a": flat, "b": flat + 7}, ev.episode_draws(ALONE, draws=50))
    told = ev.compare(boot, {"a": 0.5, "b": 0.5}, "a", "b")
    assert told == {"difference": 0, "lo": 0, "hi": 0, "verdict": "cannot tell"}


def test_one_fraud_is_enough():
    truth, score = np.zeros(4_000, dtype=int), np.arange(4_000.0)
    truth[3_990] = 1
    boot = ev.bootstrap_ap(truth, {"a": score}, ev.episode_draws(np.array([0]), draws=200))
    assert ev.interval(boot["a"]) == (0.1, 0.1)
    assert ev.budget_report(truth, score)["true_positives"] == 0
    assert ev.budget_report(truth, score)["f1"] == 0
    assert ev.budget_report(truth, score)["best_recall"] == 1


def test_ties_go_to_the_earlier_event():
    flat = ev.choose_alerts(np.zeros(2_000))
    assert np.flatnonzero(flat).tolist() == [0, 1, 2, 3, 4, 1_000, 1_001, 1_002, 1_003, 1_004]
    score = np.zeros(1_000)
    score[900:907] = 1
    assert np.flatnonzero(ev.choose_alerts(score)).tolist() == [900, 901, 902, 903, 904]


def test_blocks_follow_the_clock_and_parts_get_their_share():
    score = np.arange(2_350.0)
    alerts = np.flatnonzero(ev.choose_alerts(score, start=30_400)) + 30_400
    assert alerts.tolist() == [
        *(30_997, 30_998, 30_999),
        *range(31_995, 32_000),
        *range(32_746, 32_750)[1:],
    ]
    assert not ev.choose_alerts(np.arange(199.0)).any()
    assert ev.choose_alerts(np.arange(200.0)).sum() == 1
    assert len(ev.choose_alerts([])) == 0


@given(
    st.lists(st.integers(0, 4), max_size=60),
    st.integers(0, 30),
    st.integers(1, 4),
    st.integers(1, 12),
)
def test_alerts_equal_a_plain_loop(score, start, per, of):
    expected = np.zeros(len(score), dtype=bool)
    numbers = range(start, start + len(score))
    for block in {number // of for number in numbers}:
        inside = [i for i, number in enumerate(numbers) if number // of == block]
        riskiest = sorted(inside, key=lambda i: (-score[i], i))
        expected[riskiest[: per * len(inside) // of]] = True
    assert ev.choose_alerts(score, start, per, of).tolist() == expected.tolist()


def test_budget_report_follows_the_clock():
    report = ev.budget_report([1] * 10 + [0] * 990, np.zeros(1_000), start=600)
    assert (report["alerts"], report["true_positives"], report["best_recall"]) == (5, 2, 0.2)


def test_budget_report_by_hand():
    truth, score = np.zeros(2_000, dtype=int), np.zeros(2_000)
    truth[100:110] = 1
    truth[1_500] = 1
    score[107:112] = 9
    assert ev.budget_report(truth, score, start=4_000) == {
        "alerts": 10,
        "true_positives": 3,
        "precision": 3 / 10,
        "recall": 3 / 11,
        "f1": pytest.approx(2 * 0.3 * (3 / 11) / (0.3 + 3 / 11)),
        "best_recall": 6 / 11,
    }


def test_a_rule_shares_the_budget_among_those_it_accuses():
    truth = np.zeros(2_000, dtype=int)
    truth[[1, 2, 13, 1_500]] = 1
    fires = np.zeros(2_000, dtype=bool)
    fires[[1, 2, 10, 11, 12, 13, 14, 1_600]] = True
    suspicion = np.arange(2_000, 0, -1.0)
    suspicion[2] = 0.5  # the last of the seven accused in its thousand, so beyond the budget
    assert ev.accusations(truth, fires, suspicion) == {
        "accused": 8,
        "frauds": 3,
        "precision": 0.375,
        "recall": 0.75,
        "within_budget": 2,
    }
    nobody = ev.accusations(truth, np.zeros(2_000, dtype=bool), suspicion)
    assert set(nobody.values()) == {0}


def test_the_budget_curve_agrees_with_the_report_and_prices_what_it_counts():
    truth, score = stream()
    curve = ev.budget_curve(truth, score, start=700, most=8)
    report = ev.budget_report(truth, score, start=700)
    assert list(curve.index) == list(range(1, 9))
    five = curve.loc[5]
    assert (five["found"], five["precision"], five["recall"]) == (
        report["true_positives"],
        report["precision"],
        report["recall"],
    )
    assert (curve[["honest_quiet", "false_alarms", "missed", "found"]].sum(axis=1) == 3_000).all()
    cost = ev.budget_cost(curve, review=2, missed=100)
    assert cost[5] == report["alerts"] * 2 + (12 - report["true_positives"]) * 100


@given(st.lists(st.tuples(st.booleans(), st.integers(0, 6)), min_size=2, max_size=40), st.data())
def test_at_recall_takes_the_highest_sufficient_threshold(events, data):
    truth, score = np.array(events).T
    assume(0 < truth.sum() < len(truth))
    recall = data.draw(st.integers(1, int(truth.sum()))) / truth.sum()
    reached = {t: (truth & (score >= t)).sum() / truth.sum() for t in np.unique(score)}
    threshold = max(t for t, r in reached.items() if r >= recall)
    assert ev.at_recall(truth, score, recall) == {
        "recall": reached[threshold],
        "false_positives": int(((score >= threshold) & (truth == 0)).sum()),
    }


def test_at_recall_of_a_rule_that_finds_nothing_or_everything():
    truth, score = stream()
    assert ev.at_recall(truth, score, 0) == {"recall": 0.0, "false_positives": 0}
    _, recall, thresholds = precision_recall_curve(truth, score)
    lowest = thresholds[np.flatnonzero(recall[:-1] == 1)[-1]]
    expected = int(((score >= lowest) & (truth == 0)).sum())
    assert ev.at_recall(truth, score, 1.0)["false_positives"] == expected


@settings(max_examples=150, deadline=None)
@given(
    st.lists(st.tuples(st.booleans(), st.integers(-3, 3)), min_size=2, max_size=50),
    st.integers(1, 6),
    st.integers(0, 1_000),
)
def test_bootstrap_equals_scikit_learn_on_the_materialised_resample(events, many, seed):
    truth, score = np.array(events).T
    assume(truth.any())
    episode = np.random.default_rng(seed).integers(0, many, truth.sum())
    episode = np.unique(episode, return_inverse=True)[1]
    draws = ev.episode_draws(episode, draws=5, seed=seed)
    assert all((draws[:, episode == e][:, 0] == draws[:, episode == e].T).all() for e in episode)
    boot = ev.bootstrap_ap(truth, {"a": score}, draws)["a"]
    for counts, ap in zip(draws, boot, strict=True):
        often = np.ones(len(truth), dtype=int)
        often[truth == 1] = counts
        expected = average_precision_score(np.repeat(truth, often), np.repeat(score, often))
        assert ap == pytest.approx(expected, abs=1e-12)


def test_draws_are_seeded_and_draw_as_many_episodes_as_there_are():
    episode = np.array([0, 0, 1, 2, 2, 2])
    draws = ev.episode_draws(episode, draws=2_000)
    assert draws.shape == (2_000, 6) and (draws[:, [0, 2, 3]].sum(axis=1) == 3).all()
    np.testing.assert_allclose(draws.mean(axis=0), 1, atol=0.1)
    assert np.array_equal(draws, ev.episode_draws(episode, draws=2_000, seed=0))
    assert not np.array_equal(draws, ev.episode_draws(episode, draws=2_000, seed=1))


def test_coverage_is_what_it_says_where_episodes_are_many_and_small_where_one_holds_half():
    truth, score = stream(3_000, 60)
    many = ev.coverage(truth, score, np.arange(60), times=200)
    score[np.flatnonzero(truth)[:30]] += 9
    one_large = ev.coverage(truth, score, np.r_[np.zeros(30, int), 1:21, 1:11], times=200)
    assert 0.85 < many <= 1 and 0.4 < one_large < 0.75
    worse = score - truth * np.linspace(0, 1, len(truth))  # of differences, too
    assert 0.85 < ev.coverage(truth, score, np.arange(60), worse, times=200) <= 1
    assert ev.coverage(truth, score, np.arange(60), score, times=50) == 1  # no difference, whatever is drawn
    assert ev.coverage(truth, score, np.arange(60), times=50) == ev.coverage(
        truth, score, np.arange(60), times=50
    )


def test_without_the_largest_episode_its_frauds_alone_are_gone():
    truth = np.array([1, 0, 1, 1, 0, 1])
    keep = ev.without_largest(np.array([0, 1, 1, 2]), truth)
    assert keep.tolist() == [True, True, False, False, True, True]


def test_compare_is_paired_and_signed():
    truth, score = stream(6_000, 60)
    scores = {
        "good": score,
        "noise": np.random.default_rng(1).normal(size=6_000),
        "same": -1 / (score - 99),
    }
    boot = ev.bootstrap_ap(truth, scores, ev.episode_draws(np.arange(60), draws=300))
    observed = {name: average_precision_score(truth, score) for name, score in scores.items()}
    better, worse = (ev.compare(boot, observed, *pair) for pair in (("good", "noise"), ("noise", "good")))
    assert better["difference"] == observed["good"] - observed["noise"]
    assert (better["verdict"], worse["verdict"]) == ("better", "worse")
    assert better["lo"] == -worse["hi"] and better["lo"] < better["difference"] < better["hi"]
    assert ev.compare(boot, observed, "good", "same")["hi"] == pytest.approx(0, abs=1e-12)


def test_nine_detectors_bootstrap_in_about_a_second():
    truth, score = stream(20_000, 54)
    scores = {f"detector_{i}": score + i * np.sin(np.arange(20_000)) for i in range(9)}
    begin = time.process_time()
    ev.bootstrap_ap(truth, scores, ev.episode_draws(np.arange(54)))
    assert time.process_time() - begin < 2


def test_episodes_link_the_near_the_similar_and_their_chains():
    truth, axes = np.zeros(5_000, dtype=int), np.zeros((5_000, 2))
    frauds = {10: (10, 0), 1_010: (10, 1), 2_000: (10, 2), 2_001: (0, 10), 3_002: (0, 10)}
    for event, position in frauds.items():
        truth[event], axes[event] = 1, position
    assert ev.episodes(truth, axes, radius=0.12).tolist() == [0, 0, 0, 1, 2]
    assert ev.episodes(truth, axes, window=999, radius=0.12).tolist() == [0, 1, 1, 2, 3]
    assert ev.episodes(truth, axes, window=1_001, radius=0.05).tolist() == [0, 1, 2, 3, 3]
    assert ev.episodes(np.zeros(5_000), axes, radius=1).tolist() == []


@pytest.mark.parametrize(("first", "second", "episodes"), [(1, 2, 1), (2, 1, 2)])
def test_the_radius_is_relative_to_the_later_fraud(first, second, episodes):
    labels = ev.episodes([1, 1], [[first], [second]], radius=0.5)
    assert len(set(labels)) == episodes


def test_episode_table():
    truth = np.array([1, 0, 1, 0, 1, 0])
    flagged = {"a": [0, 1, 1, 1, 0, 0], "b": np.array([False] * 4 + [True, False])}
    table = ev.episode_table(truth, np.array([0, 1, 0]), flagged, start=100)
    expected = pd.DataFrame(
        {
            "frauds": [2, 1],
            "first_event": [100, 102],
            "last_event": [104, 102],
            "a": [False, True],
            "b": [True, False],
        },
        index=pd.Index([0, 1], name="episode"),
    )
    pd.testing.assert_frame_equal(table, expected)
    nothing = ev.episode_table([0, 0], np.array([], dtype=int), {"a": [1, 0]})
    assert list(nothing) == ["frauds", "first_event", "last_event", "a"] and nothing.empty


def test_evaluate_gives_the_summary_and_nothing_but_plain_numbers():
    truth, score = stream(4_000, 20)
    seed_rules = score > 1.5
    detectors = ev.evaluate(truth, {"seed_rules": seed_rules, "judge": score}, np.arange(20), 30_900)
    assert json.loads(json.dumps(detectors, allow_nan=False)) == detectors
    (_, false_positives), (_, found) = confusion_matrix(truth, seed_rules).tolist()
    naive, judge = detectors["seed_rules"], detectors["judge"]
    assert naive["budget"] is None
    assert naive["at_seed_recall"] == {"recall": found / 20, "false_positives": false_positives}
    assert list(judge["budget"]) == ["alerts", "true_positives", "precision", "recall", "f1"]
    assert judge["budget"]["alerts"] == 19
    assert judge["roc_auc"] == roc_auc_score(truth, score)
    assert judge["average_precision"] == average_precision_score(truth, score)
    lo, hi = judge["average_precision_ci"]
    assert lo < judge["average_precision"] < hi
    kept = np.flatnonzero(truth)[0] != np.arange(4_000)  # of equal episodes the first counts as largest
    assert judge["without_largest"] == average_precision_score(truth[kept], score[kept])
    one = ev.evaluate(truth, {"seed_rules": seed_rules, "judge": score}, np.zeros(20, int), 30_900)
    assert one["judge"]["without_largest"] is None


def test_results_table_rounds_for_display_only():
    entry = {
        "average_precision": 0.49876,
        "average_precision_ci": [0.1, 0.71239],
        "without_largest": 0.1234,
        "roc_auc": 0.9,
        "budget": {"precision": 0.25, "recall": 0.5, "f1": 1 / 3},
        "at_seed_recall": {"recall": 0.8, "false_positives": 3_388},
    }
    table = ev.results_table({"judge": entry, "seed_rules": {**entry, "budget": None}})
    assert table.loc["judge"].tolist() == [
        *("0.499", "0.100 to 0.712", "0.123", "0.900", "0.250", "0.500", "3,388"),
    ]
    assert table.loc["seed_rules"].tolist()[4:6] == ["-", "-"]


ONE = np.array([0, 1] * 1_500)
SCORE = np.arange(3_000.0)
FEW = np.arange(3)
DRAWS = ev.episode_draws(np.arange(1_500), draws=3)
AXES = np.ones((3_000, 6))


def evaluated(truth, score) -> dict:
    alone = np.arange(np.sum(np.asarray(truth) == 1))
    return ev.evaluate(truth, {"seed_rules": np.zeros(np.size(truth), bool), "judge": score}, alone)


@pytest.mark.parametrize(
    ("call", "sentence"),
    [
        (lambda: evaluated(ONE * 0, SCORE), "none of the 3,000 events is a fraud"),
        (lambda: evaluated(ONE * 0 + 1, SCORE), "none of the 3,000 events is legitimate"),
        (lambda: ev.at_recall([], [], 0.5), "none of the 0 events"),
        (lambda: evaluated(ONE, SCORE[1:]), "3,000 events but .* scored 2,999"),
        (lambda: evaluated(ONE * 2, SCORE), "truth must be one column of 0 and 1"),
        (lambda: evaluated(None, SCORE), "truth must be one column of 0 and 1"),
        (lambda: evaluated([0, np.nan], [1, 2]), "truth must be one column"),
        (lambda: ev.at_recall([0, 1, 1], [1, np.nan, 2], 0.5), "position 1 is nan"),
        (lambda: ev.choose_alerts([1, 2, -np.inf]), "position 2 is -inf"),
        (lambda: ev.choose_alerts(["much"]), "one column of numbers"),
        (lambda: ev.choose_alerts(AXES), r"not of shape \(3000, 6\)"),
        (lambda: ev.choose_alerts(SCORE, start=-1), "start must be a whole number"),
        (lambda: ev.choose_alerts(SCORE, of=0), "of must be a whole number of 1 or more, not 0"),
        (lambda: ev.choose_alerts(SCORE, per=2.5), "per must be a whole number"),
        (lambda: ev.budget_report(ONE * 0, SCORE), "Recall at the alert budget does not exist"),
        (lambda: ev.budget_report(ONE[:150], SCORE[:150]), "150 events .* too few for an alert"),
        (lambda: ev.at_recall(ONE, SCORE, 1.1), "recall must lie between 0 and 1, not 1.1"),
        (lambda: ev.at_recall(ONE, SCORE, np.nan), "recall must lie between"),
        (lambda: ev.at_recall(ONE * 0, SCORE, 0.5), "does not exist"),
        (lambda: ev.episode_draws(np.array([], int)), "no event is a fraud"),
        (lambda: ev.episode_draws(np.arange(3), draws=0), "draws must be a whole number of 1 or more"),
        (lambda: ev.episode_draws(np.arange(3), seed=None), "seed must be a whole number"),
        (lambda: ev.bootstrap_ap(ONE * 0, {"a": SCORE}, DRAWS), "none of the 3,000 events"),
        (lambda: ev.bootstrap_ap(ONE, {"a": SCORE}, DRAWS[:, 1:]), "of 1499 frauds, but there are 1500"),
        (lambda: ev.interval([np.nan]), "no draw contains a fraud"),
        (lambda: ev.interval([0.5], level=95), "level must lie between 0 and 1"),
        (lambda: ev.compare(pd.DataFrame({"a": [1.0]}), {}, "a", "b"), "'b' was not bootstrapped"),
        (lambda: ev.episodes(ONE, AXES[1:], radius=0.3), "one row for each of 3,000 events"),
        (lambda: ev.episodes(ONE, AXES * np.nan, radius=0.3), "axes must be finite"),
        (lambda: ev.episodes(ONE, AXES, radius=np.nan), "radius must be 0 or more"),
        (lambda: ev.episodes(ONE, AXES, 0, radius=0.3), "window must be a whole number"),
        (lambda: ev.episode_table(ONE, np.zeros(3), {}), "1500 frauds but 3 episode labels"),
        (lambda: ev.episode_table([1], [0], {"a": [7]}), "a must be one column of 0 and 1"),
        (lambda: ev.evaluate(ONE, {"judge": SCORE}, FEW), "must contain 'seed_rules' as a yes/no"),
        (lambda: ev.evaluate(ONE, {"seed_rules": SCORE}, FEW), "must contain 'seed_rules' as a yes/no"),
        (lambda: ev.evaluate(None, {"seed_rules": ONE > 0}, FEW), "truth must be one column"),
        (lambda: ev.evaluate(ONE, {"seed_rules": ONE > 0}, FEW), "of 3 frauds, but there are 1500"),
    ],
)
def test_bad_arguments_and_absent_metrics_give_one_sentence(call, sentence):
    with pytest.raises(ValueError, match=sentence) as error:
        call()
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("truth", "sentence"),
    [
        ([0, 0, 0, 0, 1], "None of the 3 events of the training part is a fraud, so"),
        ([1, 1, 1, 0, 1], "None of the 3 events of the training part is honest, so"),
        ([0, 1, 0, 0, 0], "None of the 2 events of the test part is a fraud, so"),
        ([0, 1, 0, 1, 1], "None of the 2 events of the test part is honest, so"),
    ],
)
def test_a_part_of_one_class_is_named_before_the_work(truth, sentence):
    with pytest.raises(ValueError, match=sentence):
        ev.check_parts(truth, 3)
    ev.check_parts([0, 1, 0, 1, 0], 3)
