"""helpers/detector.py: the whole method, in any batches, kept in one file and read again."""

import os
import signal
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sandbox import assert_one_sentence
from scipy.stats import combine_pvalues

from helpers.detector import Detector, pool
from helpers.features import Profile, behaviour
from helpers.files import CourseError, to_bytes
from helpers.rules import RULES, SUSPICIOUS, Rule
from helpers.schema import Schema
from helpers.settings import COLUMNS
from helpers.stream import Learner

FIRST, N = 12_600, 2_000  # the scored events, over the border of training and test part


@pytest.fixture(scope="module")
def train(window) -> pd.DataFrame:
    return window[12_000:14_400]


@pytest.fixture(scope="module")
def events(window) -> pd.DataFrame:
    return window[FIRST : FIRST + N]


@pytest.fixture(scope="module")
def detector(train) -> Detector:
    return Detector.fit(train)


@pytest.fixture(scope="module")
def reasons(detector, events) -> pd.DataFrame:
    return detector.reasons(events)


@pytest.fixture(scope="module")
def scores(detector, events) -> np.ndarray:
    return detector.score(events)


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


def test_pooling_is_fishers_method():
    known = np.sort(np.random.default_rng(0).normal(size=(2, 999)))
    said = np.array([[-9.0, known[0, 500], 9, 9], [-9.0, known[1, 500], -9, 9]])
    p = np.array([[1, 0.5, 0.001, 0.001], [1, 0.5, 1, 0.001]])  # of 999 and the event itself
    expected = [1 - combine_pvalues(pair, "fisher").pvalue for pair in p.T]
    np.testing.assert_allclose(pool(said, known), expected, atol=1e-12)


def test_the_risk_is_pooled_from_judge_and_crowds(detector, train, events, scores):
    seen = detector.seen(events)
    np.testing.assert_array_equal(seen[:, :-2], detector.scaling.transform(events))
    np.testing.assert_array_equal(seen[:, -2], detector.autoencoder.reconstruction_error(seen[:, :-2]))
    np.testing.assert_array_equal(seen[:, -1], behaviour(events, detector.profile)["distance"])
    np.testing.assert_array_equal(scores, pool((detector.judge.risk(seen), seen[:, -1]), detector.training))
    distances = np.sort(behaviour(train, detector.profile)["distance"])
    np.testing.assert_allclose(detector.training[1], distances, rtol=1e-6)
    assert detector.training.shape == (2, len(train)) and (np.diff(detector.training) >= 0).all()
    unknown, known = detector.training[0].mean(), detector.judge.risk(detector.seen(train)).mean()
    assert unknown < 0.9 * known  # out of fold


def test_few_training_events_exceed_the_thresholds(detector, train):
    seen = detector.seen(train)
    assert (seen[:, -1] > detector.thresholds["distance"]).sum() == 0.005 * len(train)
    assert 0.001 < (seen[:, -2] > detector.error_threshold).mean() < 0.1  # of the presumed normals the share
    assert 0.001 < (detector.risk(seen) > detector.alert_threshold).mean() < 0.02


def test_reasons_are_the_same_for_any_cut_given_the_history_without_which_no_burst_is_seen(
    detector, events, reasons
):
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
    assert list(reasons) == ["risk", "rules", "burst", "repeats", "worst_input", "pushed_by"]
    np.testing.assert_array_equal(reasons["risk"], scores)
    counts = behaviour(events, detector.profile)[["burst", "repeats"]]
    pd.testing.assert_frame_equal(reasons[["burst", "repeats"]], counts)
    inputs = detector.scaling.transform(events)
    gap = np.abs(inputs - detector.autoencoder.reconstruct(inputs))
    assert reasons["worst_input"].tolist() == [COLUMNS[i] for i in gap.argmax(axis=1)]
    pushes = detector.judge.reasons(detector.seen(events)).drop(columns="bias")
    assert reasons["pushed_by"].tolist() == pushes.idxmax(axis=1).tolist()
    (said,) = detector.reasons(events[:1].assign(Amount=25_000.0)).to_dict("records")
    assert "high_amount" in said["rules"] and said["worst_input"] == "Amount"


def test_one_seed_one_detector_and_the_truth_is_not_looked_at(detector, train, events, saved, tmp_path):
    with_truth = train.assign(Class=np.arange(len(train)) % 2, Time="noon")
    Detector.fit(with_truth, 0, rounds=2, profile=Profile.fit(train)).save(tmp_path / "again.zip")
    assert (tmp_path / "again.zip").read_bytes() == saved.read_bytes()
    np.testing.assert_array_equal(detector.score(with_truth), detector.score(train))
    other = Detector.fit(train, seed=1)
    settled = ("centre", "scale", "oddities", "events")
    assert all(np.array_equal(getattr(other.profile, n), getattr(detector.profile, n)) for n in settled)
    for part in (lambda d: d.profile.crowds, lambda d: d.autoencoder, lambda d: d.judge):
        assert to_bytes("x", part(other)) != to_bytes("x", part(detector))


@pytest.mark.filterwarnings("error")
def test_events_that_teach_nothing_end_in_one_sentence(train):
    calm = np.random.default_rng(0).uniform(1, 2, (1_200, 7))  # with nothing suspicious
    for events, sentence in (
        (train[:900], "needs 1,000 training events or more"),
        (train.assign(**train.iloc[0]), "Every column has one value"),
        (train.assign(V1=train["V1"].where(train.index != 12_077)), "Event 12077 has nan in V1"),
        (pd.DataFrame(calm, columns=COLUMNS), "examples of both suspicious and normal events"),
    ):
        with pytest.raises(ValueError, match=sentence) as caught:
            Detector.fit(events)
        assert_one_sentence(str(caught.value))


def everybody(signals: pd.DataFrame, thresholds: dict[str, float]) -> pd.Series:
    return signals["amount"] > -1


BOOK = (*RULES[1:], Rule("everybody", "Nobody is safe.", "-", "-", SUSPICIOUS, everybody))


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
        with pytest.raises(CourseError, match=r"^The rule 'everybody' .* is not among the rules") as caught:
            load()
        assert_one_sentence(str(caught.value))


def test_a_book_of_ones_own_decides_what_is_learned(detector, train):
    book = [rule for rule in RULES if rule.name not in ("burst", "high_amount")]
    own = Detector.fit(train, rules=book)
    assert own.rules == tuple(book) and own.thresholds["suspicion"] < detector.thresholds["suspicion"]


def test_a_saved_detector_says_the_same_and_is_written_the_same(saved, detector, events, reasons, tmp_path):
    again = Detector.load(saved)
    pd.testing.assert_frame_equal(again.reasons(events), reasons, check_exact=True)
    for name in ("thresholds", "error_threshold", "alert_threshold", "rules", "schema"):
        assert getattr(again, name) == getattr(detector, name)
    again.save(tmp_path / "again.zip")
    assert (tmp_path / "again.zip").read_bytes() == saved.read_bytes()
    assert [path.name for path in tmp_path.iterdir()] == ["again.zip"]
    with pytest.raises(CourseError, match=r"was fitted on another schema: V2, V3, V4, V5, V6 is not there"):
        Detector.load(saved, schema=Schema(amounts=["Amount"], axes=["V1"]))


@pytest.mark.skipif(not hasattr(os, "fork"), reason="kill -9 needs a POSIX system")
def test_killed_while_saving_the_old_file_is_there(saved, detector, tmp_path):
    path = tmp_path / "detector.zip"
    path.write_bytes(b"old")
    child = os.fork()
    if child == 0:
        os.replace = lambda *_: os.kill(os.getpid(), signal.SIGKILL)
        detector.save(path)
        os._exit(0)
    assert os.WTERMSIG(os.waitpid(child, 0)[1]) == signal.SIGKILL and path.read_bytes() == b"old"
    detector.save(path)
    assert path.read_bytes() == saved.read_bytes() and list(tmp_path.iterdir()) == [path]


def test_what_is_no_detector_of_this_version_says_what_to_do(saved, tmp_path):
    changed, path = bytearray(saved.read_bytes()), tmp_path / "foreign.zip"
    changed[len(changed) // 2] ^= 1
    older = to_bytes("domain-driven detector, version 2", {})
    for content in (older, b"not a detector", b"", saved.read_bytes()[:-100], bytes(changed)):
        path.write_bytes(content)
        with pytest.raises(ValueError, match=r"^foreign.zip is not a detector that this .*fit one") as caught:
            Detector.load(path)
        assert_one_sentence(str(caught.value))
    with pytest.raises(FileNotFoundError):
        Detector.load(tmp_path / "missing.zip")
