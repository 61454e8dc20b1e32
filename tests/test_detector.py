"""helpers/detector.py: the whole method, in any batches, kept in one file and read again."""

import warnings
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sandbox import refused, small_files_only
from scipy.stats import combine_pvalues

from helpers.detector import Detector, calibrate, combine, tail
from helpers.features import Profile, behaviour
from helpers.files import to_bytes
from helpers.rules import RULES, SUSPICIOUS, Rule
from helpers.settings import COLUMNS
from helpers.stream import Learner

FIRST, N = 12_600, 2_000  # the scored events, over the border of training and test set


once = pytest.fixture(scope="module")
train = once(lambda window: window[12_000:14_400])
events = once(lambda window: window[FIRST : FIRST + N])
detector = once(lambda train: Detector.fit(train))
reasons = once(lambda detector, events: detector.reasons(events))
scores = once(lambda detector, events: detector.score(events))


@pytest.fixture(scope="module")
def saved(detector, tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("saved") / "detector.zip"
    detector.save(path)
    return path


@settings(max_examples=3, deadline=None)
@given(cuts=st.lists(st.integers(0, N), max_size=8))
def test_an_event_gets_the_same_score_in_any_cut_and_order(detector, events, scores, cuts):
    edges = [0, *sorted([*cuts, *range(70), *range(100, 200, 7)]), N]  # some alone, some in sevens
    parts = [detector.score(events[a:b]) for a, b in pairwise(edges)]
    np.testing.assert_array_equal(np.concatenate(parts), scores)
    order = np.random.default_rng(len(cuts)).permutation(N)
    np.testing.assert_array_equal(detector.score(events.iloc[order]), scores[order])


def test_scores_are_combined_as_fisher_does():
    known = np.random.default_rng(0).normal(size=(2, 1_000))
    ranks = np.array([[1, 3, 1, 1_000], [1, 1, 2, 1_000]])  # from the highest
    scores = np.sort(known)[:, ::-1][[[0], [1]], ranks - 1]
    expected = [combine_pvalues(p, "fisher").statistic / 2 for p in ranks.T / 1_000]
    tails = [tail(one) for one in known]
    np.testing.assert_allclose(combine(scores, tails), expected, atol=1e-12)
    np.testing.assert_allclose(combine(np.full((2, 4), 9.0), tails), 2 * np.log(1_000))


@pytest.mark.parametrize("ties", [False, True])
def test_a_tail_says_which_share_is_as_high(ties):
    known = np.random.default_rng(0).normal(size=5_000)
    known = known.round(1) if ties else known
    kept, log_share = tail(known)
    shares = [(known >= one).mean() for one in kept]
    np.testing.assert_allclose(np.exp(log_share), shares, rtol=1e-9)
    assert len(kept) <= 400 and kept[-1] == known.max() and shares[0] == 1
    steps = np.array(shares[:-1]) / shares[1:]
    assert ties or (steps[np.array(shares[1:]) > 0.01] < 1.05).all()


def test_the_risk_is_one_minus_the_share_of_training_events_as_risky(detector, train):
    out_of_fold, distance, combined = detector.training
    assert out_of_fold.shape == distance.shape == combined.shape
    risk = calibrate(combined[0], combined)
    np.testing.assert_allclose(1 - risk, np.exp(combined[1]), rtol=1e-9)
    assert abs((detector.score(train) >= 0.995).mean() - 0.005) <= 0.002  # in sample; of 2,400
    beyond = calibrate(combined[0, -1] + np.arange(9), combined)
    assert (np.diff(beyond) > 0).all() and beyond[-1] < 1
    seen = detector.seen(train)
    assert (seen[:, -1] > detector.thresholds["distance"]).sum() == 0.005 * len(train)
    assert 0.001 < (seen[:, -2] > detector.error_threshold).mean() < 0.1  # of the presumed normals the share


def test_the_risk_is_combined_from_classifier_and_distance(detector, train, events, scores):
    seen = detector.seen(events)
    np.testing.assert_array_equal(seen[:, :-2], detector.scaling.transform(events))
    np.testing.assert_array_equal(seen[:, -2], detector.autoencoder.reconstruction_error(seen[:, :-2]))
    np.testing.assert_array_equal(seen[:, -1], behaviour(events, detector.profile)["distance"])
    *members, combined = detector.training
    expected = calibrate(combine((detector.classifier.probability(seen), seen[:, -1]), members), combined)
    np.testing.assert_array_equal(scores, expected)
    np.testing.assert_array_equal(members[1], tail(behaviour(train, detector.profile)["distance"]))
    in_sample = tail(detector.classifier.probability(detector.seen(train)))
    assert not np.array_equal(members[0], in_sample)  # but out of fold


def test_reasons_are_the_same_for_any_cut_given_the_history(detector, events, reasons):
    edges = pairwise([0, 1, 8, 500, 1_500, N])
    parts = [detector.reasons(events[a:b], events[max(a - 1_000, 0) : a]) for a, b in edges]
    pd.testing.assert_frame_equal(pd.concat(parts), reasons, check_exact=True)
    last = np.flatnonzero(reasons["rules"].str.contains("burst"))[-1]
    alone = detector.reasons(events[last : last + 1])
    assert "burst" not in alone["rules"].iloc[0] and alone["risk"].iloc[0] == reasons["risk"].iloc[last]
    for above in reasons["risk"].sort_values().iloc[[-200, -1]]:  # which are not above themselves
        some = detector.reasons(events, above=above)
        pd.testing.assert_frame_equal(some, reasons[reasons["risk"] > above], check_exact=True)


def test_reasons_say_what_each_part_says(detector, events, scores, reasons):
    assert list(reasons) == ["risk", "one_in", "rules", "burst", "repeats", "why"]
    np.testing.assert_array_equal(reasons["risk"], scores)
    counts = behaviour(events, detector.profile)[["burst", "repeats"]]
    pd.testing.assert_frame_equal(reasons[["burst", "repeats"]], counts)
    scaled = pd.DataFrame(detector.scaling.transform(events), events.index, COLUMNS)
    low, half, _ = detector.profile.usual["V3"]
    for (_, row), why in zip(scaled.iterrows(), reasons["why"], strict=True):
        first, second = row.abs().sort_values(ascending=False, kind="stable").index[:2]
        assert 0 <= why.index(f"{first} is ") < why.index(f"{second} is ")
    (said,) = detector.reasons(events[:1].assign(Amount=25_000.0, V3=-40.25)).to_dict("records")
    usual = f"usually it is about {half:.3g}, and 99.9 % of the training events have at least {low:.3g}."
    assert "high_amount" in said["rules"]
    assert f"Far more than customers usually spend. V3 is -40.2; {usual}" in said["why"]


def test_one_seed_one_detector_and_the_truth_is_not_looked_at(detector, train, events, saved, tmp_path):
    with_truth = train.assign(Class=np.arange(len(train)) % 2, Time="noon")
    Detector.fit(with_truth, 0, profile=Profile.fit(train)).save(tmp_path / "again.zip")
    assert (tmp_path / "again.zip").read_bytes() == saved.read_bytes()
    np.testing.assert_array_equal(detector.score(with_truth), detector.score(train))
    other = Detector.fit(train, seed=1)
    settled = ("centre", "scale", "oddities", "events")
    assert all(np.array_equal(getattr(other.profile, n), getattr(detector.profile, n)) for n in settled)
    for part in (lambda d: d.profile.clusters, lambda d: d.autoencoder, lambda d: d.classifier):
        assert to_bytes("x", part(other)) != to_bytes("x", part(detector))


@pytest.mark.filterwarnings("error")
def test_events_that_teach_nothing_end_in_one_sentence(train):
    calm = np.random.default_rng(0).uniform(1, 2, (1_200, 7))  # with nothing suspicious
    for events, sentence in (
        (train[:900], "needs 1,000 training events or more"),
        (train.assign(**train.iloc[0]), "Every column has one value"),
        (train.assign(V1=train["V1"].where(train.index != 12_077)), "Event 12077 has nan in V1"),
        (pd.DataFrame(calm, columns=COLUMNS), "The rules suspect nobody here, so what is badly rebuilt is"),
    ):
        with refused(sentence, (ValueError, UserWarning)):
            Detector.fit(events)
    with warnings.catch_warnings(action="ignore"):
        quiet = Detector.fit(pd.DataFrame(calm, columns=COLUMNS))
    odd = quiet.seen(events)[:, -2] > quiet.error_threshold
    assert np.median(quiet.score(events)[odd]) > 0.97


def everybody(signals: pd.DataFrame, thresholds: dict[str, float]) -> pd.Series:
    return signals["amount"] > -1


BOOK = (*RULES[1:], Rule("everybody", "Nobody is safe.", SUSPICIOUS, everybody))


def test_a_book_of_ones_own_is_used_wherever_rules_are_and_kept_by_name(detector, train, events, tmp_path):
    own = replace(detector, rules=list(BOOK))
    told = own.reasons(events)
    assert told["rules"].str.contains("everybody").all()
    own.save(tmp_path / "own.zip")
    again = Detector.load(tmp_path / "own.zip", [*RULES, *BOOK[-1:]])
    assert again.rules == own.rules == BOOK
    pd.testing.assert_frame_equal(again.reasons(events), told, check_exact=True)
    Learner.start(own, train).save(tmp_path / "learner.zip")
    assert Learner.load(tmp_path / "learner.zip", BOOK).detector.rules == BOOK
    for load in (lambda: Detector.load(tmp_path / "own.zip"), lambda: Learner.load(tmp_path / "learner.zip")):
        with refused(r"^The rule 'everybody' .* is not among the rules"):
            load()
    book = [rule for rule in RULES if rule.name not in ("burst", "high_amount")]
    own = Detector.fit(train, rules=book)
    assert own.rules == tuple(book) and own.thresholds["rule_score"] < detector.thresholds["rule_score"]


def test_a_saved_detector_says_the_same_and_is_written_the_same(saved, detector, events, reasons, tmp_path):
    again = Detector.load(saved)
    pd.testing.assert_frame_equal(again.reasons(events), reasons, check_exact=True)
    for name in ("thresholds", "error_threshold", "rules", "schema"):
        assert getattr(again, name) == getattr(detector, name)
    again.save(tmp_path / "again.zip")
    with small_files_only(100), refused("^Cannot write into "):
        detector.save(tmp_path / "again.zip")  # the old file stays
    assert (tmp_path / "again.zip").read_bytes() == saved.read_bytes()
    assert [path.name for path in tmp_path.iterdir()] == ["again.zip"]


def test_what_is_no_detector_of_this_version_or_schema_says_what_to_do(saved, tmp_path):
    changed, path = bytearray(saved.read_bytes()), tmp_path / "foreign.zip"
    changed[len(changed) // 2] ^= 1
    for content in (to_bytes("domain-driven detector, version 2", {}), bytes(changed)):
        path.write_bytes(content)
        with refused(r"^foreign.zip is not a detector that this .*fit one"):
            Detector.load(path)
    with pytest.raises(FileNotFoundError):
        Detector.load(tmp_path / "missing.zip")
