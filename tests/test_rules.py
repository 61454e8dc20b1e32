"""helpers/rules.py: votes, what they are worth, and what the rule book concludes."""

from __future__ import annotations

import inspect
import json
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from helpers import rules
from helpers.features import Profile, behaviour
from helpers.files import CourseError
from helpers.rules import RULES, apply_rules, fit_thresholds, pseudo_labels, rule_summary
from helpers.schema import CARDS, Schema

QUIET = {
    "amount": 20.0,
    "amount_z": 0.0,
    "axes_beyond": 0,
    "distance": 1.0,
    "usual": 0.0,
    "burst": 0,
    "repeats": 0,
}
THRESHOLDS = {"distance": 8.0, "burst": 4.0, "repeats": 2.0, "suspicion": 30.0}
SIGNALS = list(QUIET)
NAMES = [rule.name for rule in RULES]


def signal_table(*rows: dict) -> pd.DataFrame:
    return pd.DataFrame([QUIET | row for row in rows], columns=SIGNALS)


def votes_of(**signals) -> dict[str, int]:
    """The votes on one event, without the abstentions."""
    votes = apply_rules(signal_table(signals), THRESHOLDS).iloc[0]
    return votes[votes != rules.ABSTAIN].to_dict()


# --- the book ------------------------------------------------------------------------------------


def test_crowds_that_the_rules_accuse_are_struck_out_whatever_their_distance(small_train):
    profile = Profile.fit(small_train)
    (known,) = (rule for rule in RULES if rule.name == "ordinary_profile")
    large = replace(RULES[0], test=lambda s, _: s["amount_z"] > 0, name="half")
    cleared = rules.without_rings(profile, small_train, (large, known))
    assert 0 < len(cleared.crowds.means) < len(profile.crowds.means)
    assert cleared.crowds.means[:, 0].mean() < profile.crowds.means[:, 0].mean()
    far = replace(RULES[1], test=lambda s, _: s["distance"] > 0)  # a verdict on the crowds by the crowds
    assert rules.without_rings(profile, small_train, (far, known)).to_dict() == profile.to_dict()


def test_the_book_has_the_course_s_rules_and_every_rule_its_words():
    wanted = {"high_amount", "abnormal_combination", "burst", "repeated_attempts", "probing_amount"}
    assert wanted <= set(NAMES) and len(set(NAMES)) == len(NAMES)
    assert {rule.vote for rule in RULES} == {rules.SUSPICIOUS, rules.NORMAL}
    assert all(rule.says and rule.streaming and rule.threshold_from for rule in RULES)


@pytest.mark.parametrize(
    ("silent", "firing", "name"),
    [
        ({"amount_z": 3.0}, {"amount_z": 3.001}, "high_amount"),
        ({"distance": 8.0}, {"distance": 8.001}, "abnormal_combination"),
        ({"burst": 4}, {"burst": 5}, "burst"),
        ({"repeats": 2}, {"repeats": 3}, "repeated_attempts"),
        ({"amount": 1.01, "axes_beyond": 2}, {"amount": 1.0, "axes_beyond": 2}, "probing_amount"),
        ({"amount": 0.0, "axes_beyond": 1}, {"amount": 0.0, "axes_beyond": 2}, "probing_amount"),
        ({"usual": 0.999}, {"usual": 1.0}, "familiar_crowd"),
        ({"axes_beyond": 2}, {"axes_beyond": 1}, "ordinary_profile"),
    ],
)
def test_a_rule_fires_beyond_its_threshold_and_abstains_at_it(silent, firing, name):
    assert name not in votes_of(**silent)
    assert votes_of(**firing)[name] == next(rule.vote for rule in RULES if rule.name == name)


def test_a_quiet_event_has_one_vote_and_no_event_none():
    assert votes_of() == {"ordinary_profile": rules.NORMAL}
    votes = apply_rules(signal_table(), THRESHOLDS)
    assert votes.shape == (0, len(RULES)) and (votes.dtypes == np.int8).all()
    assert apply_rules(signal_table({}, {}), THRESHOLDS, rules=RULES[:2]).shape == (2, 2)


def test_two_rules_of_one_name_are_refused():
    with pytest.raises(ValueError, match=r"cannot be told apart: rename one of burst, burst\.$"):
        apply_rules(signal_table({}), THRESHOLDS, [RULES[2], RULES[2]])


def test_a_book_that_clears_nobody_is_one_sentence():
    book = [rule for rule in RULES if rule.name != "ordinary_profile"]
    signals = signal_table({}, {})
    with pytest.raises(
        ValueError, match=r"nothing could be presumed normal: keep ordinary_profile, or set clears"
    ):
        pseudo_labels(apply_rules(signals, THRESHOLDS, book), signals, THRESHOLDS, book)


def test_any_rule_may_clear():
    mine = replace(RULES[-1], name="small_change", test=lambda signals, _: signals["amount"] < 5)
    book = [*RULES[:-1], mine]
    signals = signal_table({"amount": 3.0}, {"amount": 7.0})
    labels = pseudo_labels(apply_rules(signals, THRESHOLDS, book), signals, THRESHOLDS, book)
    assert labels.tolist() == [rules.NORMAL, rules.UNDECIDED]


def test_the_suspicion_follows_the_book():
    signals = signal_table({"distance": 2.0, "burst": 4.0, "usual": 1.0})
    books = {name: [rule for rule in RULES if rule.name != name] for name in ("burst", "familiar_crowd")}
    assert rules.suspicion(signals).tolist() == [5.0]
    assert rules.suspicion(signals, books["burst"]).tolist() == [1.0]
    assert rules.suspicion(signals, books["familiar_crowd"]).tolist() == [10.0]
    assert rules.suspicion(signals, RULES[:1]).tolist() == [2.0]


def test_a_traceback_names_the_rule_that_fails():
    for rule in RULES:
        assert rule.test.__name__ == rule.name


def test_a_saved_book_finds_its_rules_and_says_which_it_lacks():
    book = (RULES[4], RULES[6], RULES[2])
    saved = json.loads(json.dumps(rules.book_to_json(book)))
    assert rules.book_from_json(saved) == book
    mine = replace(RULES[4], name="mine")
    with pytest.raises(
        CourseError, match=r"^The rule 'mine' of this rule book .* add it to RULES in helpers/rules.py"
    ):
        rules.book_from_json(rules.book_to_json([mine]))
    assert rules.book_from_json(rules.book_to_json([mine]), [*RULES, mine]) == (mine,)
    with pytest.raises(CourseError, match="The rule 'burst' of this rule book"):
        rules.book_from_json(rules.book_to_json([replace(RULES[2], weight=None)]))


def test_naive_rule_is_strict_on_both_sides():
    events = pd.DataFrame({"Amount": [200, 200.01, 0, 0, 300], "V1": [-3, 0, -3.01, 5, -9]})
    assert rules.naive_rule(events).tolist() == [False, True, True, False, True]


def test_on_another_table_the_naive_rule_looks_at_the_first_two_columns():
    train = pd.DataFrame({"n": range(1, 101), "x": range(100), "y": 0.0, "key": "a"})
    events = pd.DataFrame({"n": [95, 96, 0, 0], "x": [0, 0, 94, 95], "y": [0, 0, 9, 9], "key": "a"})
    schema = Schema(counts=("n",), axes=("x", "y"), key="key")
    assert rules.naive_rule(events, train, schema).tolist() == [False, True, False, True]
    cards = pd.DataFrame({"Amount": [300], "V1": [0]})
    assert rules.naive_rule(cards, cards, CARDS).tolist() == [True]


def test_thresholds_leave_the_budget_s_share_above():
    values = np.random.default_rng(0).permutation(10_000).astype(float)
    assert (values > rules.budget_threshold(values)).sum() == 50
    assert rules.budget_threshold(np.full(1_000, 7.0)) == 7.0


def test_thresholds_come_from_the_budget_and_nothing_else():
    generator = np.random.default_rng(0)
    signals = pd.DataFrame(generator.gamma(2, size=(2_000, 7)), columns=SIGNALS)
    thresholds = fit_thresholds(signals)
    assert set(thresholds) == {*SIGNALS, "suspicion"}
    assert list(inspect.signature(fit_thresholds).parameters) == ["signals", "rules"]
    for name, threshold in thresholds.items():
        values = rules.suspicion(signals) if name == "suspicion" else signals[name]
        assert (values > threshold).sum() == 10


# --- Snorkel's LFAnalysis, by hand ---------------------------------------------------------------


def test_rule_summary_equals_snorkel_s_lf_analysis_by_hand():
    votes = pd.DataFrame(
        {
            "a": [1, 1, -1, 1, -1, -1, -1, -1],
            "b": [1, 0, 0, -1, -1, -1, 0, -1],
            "c": [-1, 0, 0, -1, -1, 1, 1, -1],
            "never": [-1] * 8,
        },
        dtype=np.int8,
    )
    expected = pd.DataFrame(
        {
            "Polarity": [[1], [0, 1], [0, 1], []],
            "Coverage": [3 / 8, 4 / 8, 4 / 8, 0],
            "Overlaps": [2 / 8, 4 / 8, 3 / 8, 0],
            "Conflicts": [1 / 8, 2 / 8, 2 / 8, 0],
        },
        index=["a", "b", "c", "never"],
    )
    pd.testing.assert_frame_equal(rule_summary(votes), expected)


@settings(max_examples=50, deadline=None)
@given(rows=st.integers(1, 12), columns=st.integers(1, 5), seed=st.integers(0, 10_000))
def test_rule_summary_equals_its_definition(rows, columns, seed):
    cast = np.random.default_rng(seed).integers(-1, 2, size=(rows, columns))
    summary = rule_summary(pd.DataFrame(cast))
    for j in range(columns):
        mine = [(row[j], [v for k, v in enumerate(row) if k != j and v != -1]) for row in cast.tolist()]
        overlaps = [v != -1 and others != [] for v, others in mine]
        conflicts = [v != -1 and any(other != v for other in others) for v, others in mine]
        assert summary["Coverage"][j] == (cast[:, j] != -1).mean()
        assert summary["Overlaps"][j] == np.mean(overlaps)
        assert summary["Conflicts"][j] == np.mean(conflicts)


# --- what the book concludes ---------------------------------------------------------------------


def test_suspicion_by_hand():
    signals = signal_table(
        {"distance": 6, "burst": 3, "usual": 0.5}, {"distance": 2}, {"distance": 0, "burst": 9}
    )
    assert rules.suspicion(signals).tolist() == [16.0, 2.0, 0.0]


@pytest.mark.parametrize(
    ("signals", "label"),
    [
        ({}, rules.NORMAL),
        ({"amount_z": 4.0}, rules.UNDECIDED),  # an ordinary profile with a vote against
        ({"axes_beyond": 2}, rules.UNDECIDED),  # nobody votes
        ({"axes_beyond": 2, "usual": 2.0}, rules.UNDECIDED),  # a crowd clears nobody by itself
        ({"axes_beyond": 3, "distance": 31.0}, rules.SUSPICIOUS),
        ({"axes_beyond": 3, "distance": 30.0}, rules.UNDECIDED),  # not beyond the suspicion's threshold
        ({"axes_beyond": 3, "distance": 100.0, "usual": 1.0}, rules.UNDECIDED),  # one against, one for
        ({"axes_beyond": 3, "distance": 10.0, "burst": 9, "usual": 1.0}, rules.SUSPICIOUS),  # two against one
        ({"axes_beyond": 1, "distance": 31.0}, rules.UNDECIDED),  # far out, but on no two axes
        ({"axes_beyond": 1, "distance": 31.0, "amount_z": 4.0}, rules.SUSPICIOUS),
    ],
)
def test_pseudo_labels_by_hand(signals, label):
    table = signal_table(signals)
    concluded = pseudo_labels(apply_rules(table, THRESHOLDS), table, THRESHOLDS)
    assert concluded.tolist() == [label] and concluded.dtype == np.int8


@pytest.mark.parametrize(
    ("label", "error", "vote", "refined"),
    [
        (rules.SUSPICIOUS, 5.1, 1, rules.SUSPICIOUS),
        (rules.SUSPICIOUS, 5.0, 1, rules.UNDECIDED),  # the autoencoder knows such events
        (rules.NORMAL, 5.0, 0, rules.NORMAL),
        (rules.NORMAL, 5.1, 0, rules.UNDECIDED),  # the autoencoder does not
        (rules.UNDECIDED, 5.0, -1, rules.NORMAL),  # nobody accuses it
        (rules.UNDECIDED, 5.0, 0, rules.NORMAL),
        (rules.UNDECIDED, 5.0, 1, rules.UNDECIDED),
        (rules.UNDECIDED, 5.1, -1, rules.UNDECIDED),
    ],
)
def test_the_autoencoder_corrects_labels_by_hand(label, error, vote, refined):
    labels = np.array([label, rules.SUSPICIOUS], dtype=np.int8)  # the second is beyond doubt
    votes = pd.DataFrame({"a": [-1, -1], "b": [vote, 1]})
    corrected = rules.refine_labels(labels, votes, np.array([error, 99.0]), threshold=5.0)
    assert corrected.tolist() == [refined, 1] and corrected.dtype == np.int8 and labels[0] == label


def test_an_autoencoder_that_would_acquit_everybody_acquits_nobody():
    labels, votes = np.array([1, 1, 0], dtype=np.int8), pd.DataFrame({"a": [1, 1, -1]})
    assert rules.refine_labels(labels, votes, np.array([1.0, 2.0, 9.0]), threshold=5.0).tolist() == [1, 1, -1]
    assert rules.refine_labels(labels, votes, np.array([1.0, 6.0, 1.0]), threshold=5.0).tolist() == [-1, 1, 0]


def test_the_budget_bounds_the_suspicious_labels(small_train):
    signals = behaviour(small_train, Profile.fit(small_train))
    thresholds = fit_thresholds(signals)
    labels = pseudo_labels(apply_rules(signals, thresholds), signals, thresholds)
    assert 0 < (labels == rules.SUSPICIOUS).sum() <= rules.BUDGET * len(labels)
    assert set(labels.tolist()) == {rules.SUSPICIOUS, rules.NORMAL, rules.UNDECIDED}


# --- the past only, in any batches ---------------------------------------------------------------


def conclude(detector, events, history=None):
    signals = behaviour(events, detector.profile, history)
    votes = apply_rules(signals, detector.thresholds)
    return votes.assign(label=pseudo_labels(votes, signals, detector.thresholds))


@settings(max_examples=20, deadline=None)
@given(change=st.integers(1, 2_499), seed=st.integers(0, 1_000), factor=st.sampled_from([0.0, 1.0, 50.0]))
def test_votes_and_labels_depend_on_the_past_only(detector, small, change, seed, factor):
    events = small[3_000:5_500]
    other = events.copy()
    shuffled = np.random.default_rng(seed).permuted(events.iloc[change:].to_numpy(), axis=0)
    other.iloc[change:] = np.abs(shuffled) * factor
    before, after = conclude(detector, events)[:change], conclude(detector, other)[:change]
    pd.testing.assert_frame_equal(before, after)


@settings(max_examples=20, deadline=None)
@given(cuts=st.lists(st.integers(1, 2_499), max_size=10, unique=True))
def test_votes_and_labels_are_the_same_for_any_cut(detector, small, cuts):
    events = small[3_000:5_500]
    borders = [0, *sorted(cuts), len(events)]
    parts = [conclude(detector, events[a:b], events[max(a - 1_000, 0) : a]) for a, b in pairwise(borders)]
    whole = conclude(detector, events)
    assert (whole[NAMES] == rules.SUSPICIOUS).any().sum() >= 4
    pd.testing.assert_frame_equal(pd.concat(parts), whole)


def test_agreement_model_trusts_rules_that_agree_and_not_one_that_guesses():
    generator = np.random.default_rng(0)
    truth = generator.random(20_000) < 0.02
    good = {f"good {k}": np.where(generator.random(20_000) < 0.9, truth, ~truth) for k in range(3)}
    votes = pd.DataFrame(good | {"guess": generator.random(20_000) < 0.5}).astype(np.int8)
    probability = rules.agreement_model(votes)
    assert ((probability >= 0) & (probability <= 1)).all()
    agreed, split = votes[list(good)].all(axis=1), votes[list(good)].sum(axis=1) == 1
    assert probability[agreed].min() > 0.7 > 0.1 > probability[split].max()
    flipped = votes.assign(guess=1 - votes["guess"])
    assert np.abs(rules.agreement_model(flipped) - probability).max() < 0.1
