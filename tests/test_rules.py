"""helpers/rules.py: votes, what they are worth, and what the rule book concludes."""

import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from sandbox import refused

from helpers import rules
from helpers.features import Profile
from helpers.rules import NORMAL, RULES, SUSPICIOUS, UNDECIDED, apply_rules, pseudo_labels
from helpers.schema import Schema

QUIET = {"amount": 20.0, "amount_z": 0.0, "axes_beyond": 0, "distance": 1.0}
QUIET |= {"background_rate": 0.0, "burst": 0, "repeats": 0}
THRESHOLDS = {"distance": 8.0, "burst": 4.0, "repeats": 2.0, "rule_score": 30.0}
BOOK = {rule.name: rule for rule in RULES}


def signal_table(*rows: dict) -> pd.DataFrame:
    return pd.DataFrame([QUIET | row for row in rows], columns=list(QUIET))


def without(*names: str) -> tuple[rules.Rule, ...]:
    return tuple(rule for rule in RULES if rule.name not in names)


def concluded(signals: pd.DataFrame, book=RULES, thresholds=THRESHOLDS) -> np.ndarray:
    return pseudo_labels(apply_rules(signals, thresholds, book), signals, thresholds, book)


def test_every_rule_has_its_words_and_its_name_in_a_traceback():
    assert [rule.test.__name__ for rule in RULES] == [rule.name for rule in RULES]
    assert all(rule.says.endswith(".") for rule in RULES)


@pytest.mark.parametrize(
    ("name", "signal", "silent", "firing", "vote"),
    [
        ("high_amount", "amount_z", 3.0, 3.001, SUSPICIOUS),
        ("abnormal_combination", "distance", 8.0, 8.001, SUSPICIOUS),
        ("burst", "burst", 4, 5, SUSPICIOUS),
        ("repeated_attempts", "repeats", 2, 3, SUSPICIOUS),
        ("probing_amount", "amount", 1.01, 1.0, SUSPICIOUS),
        ("probing_amount", "amount", -0.01, 0.0, SUSPICIOUS),
        ("probing_amount", "axes_beyond", 1, 2, SUSPICIOUS),
        ("familiar_pattern", "background_rate", 0.999, 1.0, NORMAL),
        ("ordinary_profile", "axes_beyond", 2, 1, NORMAL),
    ],
)
def test_a_rule_fires_beyond_its_threshold_and_abstains_at_it(name, signal, silent, firing, vote):
    probe = {"amount": 1.0, "axes_beyond": 2}
    votes = apply_rules(signal_table(probe | {signal: silent}, probe | {signal: firing}), THRESHOLDS)
    assert votes[name].tolist() == [rules.ABSTAIN, vote] and (votes.dtypes == np.int8).all()


def test_a_book_that_cannot_work_is_one_sentence():
    signals = signal_table({})
    with refused(r"have the same name: rename one of burst, burst\.$"):
        apply_rules(signals, THRESHOLDS, [BOOK["burst"]] * 2)
    with refused(r"nothing could be presumed normal: keep ordinary_profile, or set"):
        concluded(signals, without("ordinary_profile"))
    with refused(r"rule burst needs burst, which .* there is \(amount, amount_z"):
        apply_rules(signals.drop(columns="burst"), THRESHOLDS)


def test_any_rule_may_clear_and_a_table_has_the_rules_that_it_has_columns_for():
    mine = replace(BOOK["ordinary_profile"], name="small", test=lambda signals, _: signals["amount"] < 5)
    book = [*without("ordinary_profile"), mine]
    assert concluded(signal_table({"amount": 3.0}, {"amount": 7.0}), book).tolist() == [NORMAL, UNDECIDED]
    assert rules.rules_for(rules.CARDS) == RULES  # without amounts the rules that need none are left
    assert rules.rules_for(Schema(axes=("x", "y"))) == without("high_amount", "probing_amount")
    signals = signal_table({"distance": 2.0, "burst": 4.0, "background_rate": 1.0})
    for left_out, rule_score in (("high_amount", 5), ("burst", 1), ("familiar_pattern", 10)):
        assert rules.rule_score(signals, without(left_out)).tolist() == [rule_score]


def test_a_saved_rule_is_found_among_those_at_hand_or_named():
    saved = json.loads(json.dumps(BOOK["burst"].kept()))
    assert rules.known_rule(RULES, **saved) is BOOK["burst"]
    for other in ({"name": "mine"}, {"weight": None}):
        with refused(r"^The rule '\w+' of this rule book .* give the whole book"):
            rules.known_rule(RULES, **(saved | other))


def test_the_naive_rule_is_strict_and_looks_at_the_first_two_columns_of_another_table():
    events = pd.DataFrame({"Amount": [200, 200.01, 0, 0, 300], "V1": [-3, 0, -3.01, 5, -9]})
    assert rules.naive_rule(events).tolist() == [False, True, True, False, True]
    train = pd.DataFrame({"n": range(101), "x": range(101), "y": 0.0})
    events = pd.DataFrame({"n": [95, 96, 0, 0], "x": [0, 0, 95, 96], "y": [0, 0, 9, 9]})
    schema = Schema(counts=("n",), axes=("x", "y"))
    assert rules.naive_rule(events, train, schema).tolist() == [False, True, False, True]


def test_thresholds_leave_the_budget_s_share_above_and_bound_the_labels():
    signals = pd.DataFrame(np.random.default_rng(0).gamma(2, size=(2_000, 7)), columns=list(QUIET))
    signals["background_rate"] /= 3
    signals = signals.assign(yes=np.arange(2_000) < 9, shop="a")
    thresholds = rules.fit_thresholds(signals)
    assert set(thresholds) == {*QUIET, "yes", "rule_score"} and thresholds["yes"] == 0
    for name in QUIET:
        assert (signals[name] > thresholds[name]).sum() == 10
    assert (rules.rule_score(signals) > thresholds["rule_score"]).sum() == 10
    labels = concluded(signals, thresholds=thresholds)
    assert 0 < (labels == SUSPICIOUS).sum() <= 10 and set(labels) == {SUSPICIOUS, NORMAL, UNDECIDED}
    some = np.random.default_rng(1).permutation(2_000)[:200]  # an event's own signals decide
    assert (concluded(signals.iloc[some], thresholds=thresholds) == labels[some]).all()


def test_rule_summary_equals_snorkel_s_lf_analysis_by_hand():
    votes = pd.DataFrame({"a": [1, 1, -1, 1, -1, -1, -1, -1], "b": [1, 0, 0, -1, -1, -1, 0, -1]})
    votes = votes.assign(c=[-1, 0, 0, -1, -1, 1, 1, -1], never=-1)
    summary = rules.rule_summary(votes).T
    assert summary["a"].tolist() == [[1], 3 / 8, 2 / 8, 1 / 8] and summary["never"].tolist() == [[], 0, 0, 0]
    assert summary["b"].tolist() == [[0, 1], 4 / 8, 4 / 8, 2 / 8]
    assert summary["c"].tolist() == [[0, 1], 4 / 8, 3 / 8, 2 / 8]
    assert list(summary.index) == ["Polarity", "Coverage", "Overlaps", "Conflicts"]


def test_pseudo_labels_by_hand():
    cases = [
        ({}, NORMAL),
        ({"amount_z": 4.0}, UNDECIDED),  # an ordinary profile with a vote against
        ({"axes_beyond": 2}, UNDECIDED),  # nobody votes
        ({"axes_beyond": 2, "background_rate": 2.0}, UNDECIDED),  # a cluster clears nobody by itself
        ({"axes_beyond": 3, "distance": 31.0}, SUSPICIOUS),
        ({"axes_beyond": 3, "distance": 30.0}, UNDECIDED),  # not beyond the rule score's threshold
        ({"axes_beyond": 3, "distance": 100.0, "background_rate": 1.0}, UNDECIDED),  # one against, one for
        ({"axes_beyond": 3, "distance": 10.0, "burst": 9, "background_rate": 1.0}, SUSPICIOUS),  # two to one
        ({"axes_beyond": 1, "distance": 31.0}, UNDECIDED),  # far out, but on no two axes
    ]
    labels = concluded(signal_table(*[signals for signals, _ in cases]))
    assert labels.tolist() == [label for _, label in cases] and labels.dtype == np.int8


def test_the_autoencoder_corrects_labels_by_hand():
    columns = {  # it knows what it rebuilds with an error of 5.0 or less
        "error": [5.1, 5.0, 5.0, 5.1, 5.0, 5.0, 5.1],
        "vote": [1, 1, 0, 0, 0, 1, -1],
        "label": [1, 1, 0, 0, -1, -1, -1],
        "refined": [1, -1, 0, -1, 0, -1, -1],
    }
    table = pd.DataFrame(columns, dtype=np.float64)
    labels, votes = table["label"].to_numpy(np.int8), table[["vote"]].assign(other=-1)
    corrected = rules.refine_labels(labels, votes, table["error"].to_numpy(), threshold=5.0)
    assert corrected.tolist() == table["refined"].tolist() and corrected.dtype == np.int8
    assert labels.tolist() == table["label"].tolist()
    labels, votes = np.array([1, 1, 0]), pd.DataFrame({"a": [1, 1, -1]})  # who would clear all clears none
    assert rules.refine_labels(labels, votes, np.array([1.0, 2.0, 9.0]), threshold=5.0).tolist() == [1, 1, -1]
    with pytest.warns(UserWarning, match="The rules suspect nobody here"):
        nobody = rules.refine_labels(np.r_[0, 0, -1], votes * 0, np.r_[9.0, 1, 9], threshold=5.0)
    assert nobody.tolist() == [1, 0, 1]


def test_clusters_that_the_rules_accuse_are_struck_out_whatever_their_distance():
    random = np.random.default_rng(0)
    events = pd.DataFrame(random.normal(size=(1_000, 3)), columns=["x", "y", "z"])
    events["x"] += np.where(np.arange(1_000) % 2, 4.0, -4.0)
    profile = Profile.fit(events, Schema(axes=("x", "y", "z")), clusters=2)
    right = replace(BOOK["burst"], name="right", test=lambda facts, _: facts["x"] > 0)
    cleared = rules.without_contaminated(profile, events, (right, BOOK["ordinary_profile"])).clusters
    assert len(cleared.means) == len(profile.clusters.means) / 2 and (cleared.means[:, 0] < 0).all()
    far = replace(right, test=lambda facts, _: (facts["distance"] > 0) & (facts["x"] > 0))
    same = rules.without_contaminated(profile, events, (far, BOOK["ordinary_profile"]))
    np.testing.assert_array_equal(same.clusters.means, profile.clusters.means)
