"""helpers/rules.py: votes, what they are worth, and what the rule book concludes."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from helpers import rules
from helpers.features import Profile
from helpers.files import CourseError
from helpers.rules import NORMAL, RULES, SUSPICIOUS, UNDECIDED, apply_rules, pseudo_labels
from helpers.schema import Schema

QUIET = {"amount": 20.0, "amount_z": 0.0, "axes_beyond": 0, "distance": 1.0, "usual": 0.0, "burst": 0}
QUIET |= {"repeats": 0}
THRESHOLDS = {"distance": 8.0, "burst": 4.0, "repeats": 2.0, "suspicion": 30.0}
BOOK = {rule.name: rule for rule in RULES}


def signal_table(*rows: dict) -> pd.DataFrame:
    return pd.DataFrame([QUIET | row for row in rows], columns=list(QUIET))


def without(name: str) -> list[rules.Rule]:
    return [rule for rule in RULES if rule.name != name]


def concluded(signals: pd.DataFrame, book=RULES, thresholds=THRESHOLDS) -> np.ndarray:
    return pseudo_labels(apply_rules(signals, thresholds, book), signals, thresholds, book)


# --- the book ------------------------------------------------------------------------------------


def test_every_rule_has_its_words_and_its_name_in_a_traceback():
    assert len(BOOK) == len(RULES)
    assert all(rule.says and rule.streaming and rule.threshold_from for rule in RULES)
    assert [rule.test.__name__ for rule in RULES] == list(BOOK)


@pytest.mark.parametrize(
    ("silent", "firing", "name", "vote"),
    [
        ({"amount_z": 3.0}, {"amount_z": 3.001}, "high_amount", SUSPICIOUS),
        ({"distance": 8.0}, {"distance": 8.001}, "abnormal_combination", SUSPICIOUS),
        ({"burst": 4}, {"burst": 5}, "burst", SUSPICIOUS),
        ({"repeats": 2}, {"repeats": 3}, "repeated_attempts", SUSPICIOUS),
        ({"amount": 1.01, "axes_beyond": 2}, {"amount": 1.0, "axes_beyond": 2}, "probing_amount", SUSPICIOUS),
        ({"amount": 0.0, "axes_beyond": 1}, {"amount": 0.0, "axes_beyond": 2}, "probing_amount", SUSPICIOUS),
        ({"usual": 0.999}, {"usual": 1.0}, "familiar_crowd", NORMAL),
        ({"axes_beyond": 2}, {"axes_beyond": 1}, "ordinary_profile", NORMAL),
    ],
)
def test_a_rule_fires_beyond_its_threshold_and_abstains_at_it(silent, firing, name, vote):
    votes = apply_rules(signal_table(silent, firing), THRESHOLDS)
    assert votes[name].tolist() == [rules.ABSTAIN, vote] and (votes.dtypes == np.int8).all()


def test_a_book_that_cannot_work_is_one_sentence():
    signals = signal_table({})
    with pytest.raises(ValueError, match=r"cannot be told apart: rename one of burst, burst\.$"):
        apply_rules(signals, THRESHOLDS, [BOOK["burst"]] * 2)
    with pytest.raises(ValueError, match=r"nothing could be presumed normal: keep ordinary_profile, or set"):
        concluded(signals, without("ordinary_profile"))
    with pytest.raises(
        ValueError, match=r"rule burst needs burst, which .* what there is \(amount, amount_z"
    ):
        apply_rules(signals.drop(columns="burst"), THRESHOLDS)


def test_any_rule_may_clear():
    mine = replace(BOOK["ordinary_profile"], name="small", test=lambda signals, _: signals["amount"] < 5)
    book = [*without("ordinary_profile"), mine]
    assert concluded(signal_table({"amount": 3.0}, {"amount": 7.0}), book).tolist() == [NORMAL, UNDECIDED]


def test_a_table_without_amounts_has_the_rules_that_need_none():
    assert rules.usual_book(Schema(axes=("x", "y"))) == tuple(
        rule for rule in RULES if rule.name not in ("high_amount", "probing_amount")
    )
    assert rules.usual_book(rules.CARDS) == RULES


def test_the_suspicion_follows_the_book():
    signals = signal_table({"distance": 2.0, "burst": 4.0, "usual": 1.0}, {"distance": 0.0, "burst": 9})
    assert rules.suspicion(signals).tolist() == [5.0, 0.0]
    assert rules.suspicion(signals, without("burst"))[0] == 1.0
    assert rules.suspicion(signals, without("familiar_crowd"))[0] == 10.0


def test_a_saved_rule_is_found_among_those_at_hand_or_named():
    saved = json.loads(json.dumps(BOOK["burst"].kept()))
    assert rules.known_rule(RULES, **saved) is BOOK["burst"]
    for other in ({"name": "mine"}, {"weight": None}):
        with pytest.raises(CourseError, match=r"^The rule '\w+' of this rule book .* add it to RULES in"):
            rules.known_rule(RULES, **(saved | other))


def test_the_naive_rule_is_strict_and_looks_at_the_first_two_columns_of_another_table():
    events = pd.DataFrame({"Amount": [200, 200.01, 0, 0, 300], "V1": [-3, 0, -3.01, 5, -9]})
    assert rules.naive_rule(events).tolist() == [False, True, True, False, True]
    train = pd.DataFrame({"n": range(101), "x": range(101), "y": 0.0, "key": "a"})
    events = pd.DataFrame({"n": [95, 96, 0, 0], "x": [0, 0, 95, 96], "y": [0, 0, 9, 9], "key": "a"})
    schema = Schema(counts=("n",), axes=("x", "y"), key="key")
    assert rules.naive_rule(events, train, schema).tolist() == [False, True, False, True]


def drawn(rows: int = 2_000) -> pd.DataFrame:
    """Signals of all sizes that nobody measured."""
    signals = pd.DataFrame(np.random.default_rng(0).gamma(2, size=(rows, 7)), columns=list(QUIET))
    return signals.assign(usual=signals["usual"] / 3)


def test_thresholds_leave_the_budget_s_share_above_and_bound_the_labels():
    signals = drawn().assign(yes=np.arange(2_000) < 9, shop="a")
    thresholds = rules.fit_thresholds(signals)
    assert set(thresholds) == {*QUIET, "yes", "suspicion"} and thresholds["yes"] == 0
    for name in QUIET:
        assert (signals[name] > thresholds[name]).sum() == 10
    assert (rules.suspicion(signals) > thresholds["suspicion"]).sum() == 10
    labels = concluded(signals, thresholds=thresholds)
    assert 0 < (labels == SUSPICIOUS).sum() <= 10 and set(labels) == {SUSPICIOUS, NORMAL, UNDECIDED}


# --- what the book concludes ---------------------------------------------------------------------


def test_rule_summary_equals_snorkel_s_lf_analysis_by_hand():
    votes = pd.DataFrame({"a": [1, 1, -1, 1, -1, -1, -1, -1], "b": [1, 0, 0, -1, -1, -1, 0, -1]})
    votes = votes.assign(c=[-1, 0, 0, -1, -1, 1, 1, -1], never=-1)
    summary = rules.rule_summary(votes).T
    assert summary["a"].tolist() == [[1], 3 / 8, 2 / 8, 1 / 8] and summary["never"].tolist() == [[], 0, 0, 0]
    assert summary["b"].tolist() == [[0, 1], 4 / 8, 4 / 8, 2 / 8]
    assert summary["c"].tolist() == [[0, 1], 4 / 8, 3 / 8, 2 / 8]
    assert list(summary.index) == ["Polarity", "Coverage", "Overlaps", "Conflicts"]


@pytest.mark.parametrize(
    ("signals", "label"),
    [
        ({}, NORMAL),
        ({"amount_z": 4.0}, UNDECIDED),  # an ordinary profile with a vote against
        ({"axes_beyond": 2}, UNDECIDED),  # nobody votes
        ({"axes_beyond": 2, "usual": 2.0}, UNDECIDED),  # a crowd clears nobody by itself
        ({"axes_beyond": 3, "distance": 31.0}, SUSPICIOUS),
        ({"axes_beyond": 3, "distance": 30.0}, UNDECIDED),  # not beyond the suspicion's threshold
        ({"axes_beyond": 3, "distance": 100.0, "usual": 1.0}, UNDECIDED),  # one against, one for
        ({"axes_beyond": 3, "distance": 10.0, "burst": 9, "usual": 1.0}, SUSPICIOUS),  # two against one
        ({"axes_beyond": 1, "distance": 31.0}, UNDECIDED),  # far out, but on no two axes
    ],
)
def test_pseudo_labels_by_hand(signals, label):
    labels = concluded(signal_table(signals))
    assert labels.tolist() == [label] and labels.dtype == np.int8


@pytest.mark.parametrize(
    ("label", "error", "vote", "refined"),
    [
        (SUSPICIOUS, 5.1, 1, SUSPICIOUS),
        (SUSPICIOUS, 5.0, 1, UNDECIDED),  # the autoencoder knows such events
        (NORMAL, 5.0, 0, NORMAL),
        (NORMAL, 5.1, 0, UNDECIDED),  # the autoencoder does not
        (UNDECIDED, 5.0, 0, NORMAL),  # nobody accuses it
        (UNDECIDED, 5.0, 1, UNDECIDED),
        (UNDECIDED, 5.1, -1, UNDECIDED),
    ],
)
def test_the_autoencoder_corrects_labels_by_hand(label, error, vote, refined):
    labels = np.array([label, SUSPICIOUS], dtype=np.int8)  # the second is beyond doubt
    votes = pd.DataFrame({"a": [-1, -1], "b": [vote, 1]})
    corrected = rules.refine_labels(labels, votes, np.array([error, 99.0]), threshold=5.0)
    assert corrected.tolist() == [refined, 1] and corrected.dtype == np.int8 and labels[0] == label


def test_an_autoencoder_that_would_acquit_everybody_acquits_nobody():
    labels, votes = np.array([1, 1, 0], dtype=np.int8), pd.DataFrame({"a": [1, 1, -1]})
    assert rules.refine_labels(labels, votes, np.array([1.0, 2.0, 9.0]), threshold=5.0).tolist() == [1, 1, -1]


def test_what_the_book_says_of_an_event_depends_on_its_own_signals():
    """So that it looks at the past only, in any cut, since the signals do."""
    signals, some = drawn(500), np.random.default_rng(1).permutation(500)[:200]
    thresholds = rules.fit_thresholds(signals)
    whole = apply_rules(signals, thresholds).assign(label=concluded(signals, thresholds=thresholds))
    part = apply_rules(signals.iloc[some], thresholds)
    part = part.assign(label=concluded(signals.iloc[some], thresholds=thresholds))
    pd.testing.assert_frame_equal(part, whole.iloc[some])


def test_crowds_that_the_rules_accuse_are_struck_out_whatever_their_distance():
    random = np.random.default_rng(0)
    events = pd.DataFrame(random.normal(size=(1_000, 3)), columns=["x", "y", "z"])
    events["x"] += np.where(np.arange(1_000) % 2, 4.0, -4.0)
    profile = Profile.fit(events, Schema(axes=("x", "y", "z")), crowds=2)
    right = replace(BOOK["burst"], name="right", test=lambda facts, _: facts["x"] > 0)
    cleared = rules.without_rings(profile, events, (right, BOOK["ordinary_profile"])).crowds
    assert len(cleared.means) == len(profile.crowds.means) / 2 and (cleared.means[:, 0] < 0).all()
    far = replace(right, test=lambda facts, _: (facts["distance"] > 0) & (facts["x"] > 0))
    same = rules.without_rings(profile, events, (far, BOOK["ordinary_profile"]))  # no crowd judges crowds
    np.testing.assert_array_equal(same.crowds.means, profile.crowds.means)


def test_agreement_model_trusts_rules_that_agree_and_not_one_that_guesses():
    generator, n = np.random.default_rng(0), 5_000
    truth = generator.random(n) < 0.02
    good = {f"good {k}": np.where(generator.random(n) < 0.9, truth, ~truth) for k in range(3)}
    votes = pd.DataFrame(good | {"guess": generator.random(n) < 0.5}).astype(np.int8)
    probability = rules.agreement_model(votes)
    agreed, split = votes[list(good)].all(axis=1), votes[list(good)].sum(axis=1) == 1
    assert 1 >= probability[agreed].min() > 0.7 > 0.1 > probability[split].max() >= 0
    flipped = votes.assign(guess=1 - votes["guess"])
    assert np.abs(rules.agreement_model(flipped) - probability).max() < 0.1


def test_one_round_of_the_agreement_model_is_bayes_rule_by_hand():
    votes = pd.DataFrame({"a": [1, 1, 0, -1, -1], "b": [1, 0, -1, -1, 0], "c": [-1, 1, 1, 1, -1]})
    first = np.array([0.995, 0.995, 0.005, 0.995, 0.005])  # more votes for than against, at the start
    odds = np.full(5, 0.005 / 0.995)
    for column in votes:
        for event, vote in enumerate(votes[column]):
            same = (votes[column] == vote).to_numpy()
            for weight, sign in ((first, 1), (1 - first, -1)):  # one made-up event more for each vote
                odds[event] *= ((weight[same].sum() + 1) / (weight.sum() + 3)) ** sign
    np.testing.assert_allclose(rules.agreement_model(votes, rounds=1), odds / (1 + odds))
