"""helpers/detector.py: the whole method, in any batches, kept in one file and read again."""

from __future__ import annotations

import json
import os
import pickle
import subprocess
import sys
import zipfile
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sandbox import assert_one_sentence

from helpers.detector import BUNDLE, Detector
from helpers.features import behaviour
from helpers.files import CourseError, pack, unpack
from helpers.judge import pool
from helpers.rules import RULES, SUSPICIOUS, Rule
from helpers.schema import CARDS, Schema
from helpers.settings import AXES, COLUMNS, ROOT
from helpers.stream import Learner

SEEN = slice(3_000, 5_500)  # events of the property tests, over the border of training and test part
N = 2_500
PARTS = ["settings.json", "autoencoder.safetensors", "judge.ubj", "training.safetensors"]


@pytest.fixture(scope="module")
def events(small) -> pd.DataFrame:
    return small[SEEN]


@pytest.fixture(scope="module")
def scores(detector, events) -> np.ndarray:
    return detector.score(events)


@pytest.fixture(scope="module")
def reasons(detector, events) -> pd.DataFrame:
    return detector.reasons(events)


@pytest.fixture(scope="module")
def saved(detector, tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("saved") / "detector.zip"
    detector.save(path)
    return path


# --- scoring -------------------------------------------------------------------------------------


@settings(max_examples=20, deadline=None)
@given(cuts=st.lists(st.integers(0, N), max_size=10))
def test_scores_have_the_same_bits_for_any_cut(detector, events, scores, cuts):
    parts = [detector.score(events[a:b]) for a, b in pairwise([0, *sorted(cuts), N])]
    np.testing.assert_array_equal(np.concatenate(parts), scores)


def test_scores_have_the_same_bits_one_at_a_time(detector, events, scores):
    one_by_one = [detector.score(events[i : i + 1])[0] for i in range(400)]
    np.testing.assert_array_equal(one_by_one, scores[:400])


def test_a_score_does_not_depend_on_other_events(detector, events, scores):
    order = np.random.default_rng(0).permutation(N)
    np.testing.assert_array_equal(detector.score(events.iloc[order]), scores[order])


def test_scores_are_risks_and_rank_the_suspicious_first(scores, reasons):
    assert ((scores >= 0) & (scores <= 1)).all()
    accused = reasons["rules"].str.contains("abnormal_combination")
    assert np.median(scores[accused]) > 0.97 > 0.8 > np.median(scores[~accused])


def test_the_risk_is_pooled_from_judge_and_crowds(detector, small_train, events, scores):
    seen = detector.seen(events)
    np.testing.assert_array_equal(seen[:, -1], behaviour(events, detector.profile)["distance"])
    opinions = detector.judge.risk(seen), seen[:, -1]
    np.testing.assert_array_equal(scores, pool(opinions, detector.training))
    both = detector.training
    assert both.shape == (2, len(small_train)) and (np.diff(both) >= 0).all()
    np.testing.assert_allclose(
        both[1], np.sort(behaviour(small_train, detector.profile)["distance"]), rtol=1e-6
    )
    assert (detector.score(small_train) > detector.alert_threshold).mean() < 0.01


def test_few_training_events_exceed_the_thresholds(detector, small_train):
    signals = behaviour(small_train, detector.profile)
    assert (signals["distance"] > detector.thresholds["distance"]).sum() == 0.005 * len(small_train)
    assert 0 < detector.alert_threshold < 1 and detector.error_threshold > 0


# --- reasons -------------------------------------------------------------------------------------


@settings(max_examples=15, deadline=None)
@given(cuts=st.lists(st.integers(1, N - 1), max_size=8, unique=True))
def test_reasons_are_the_same_for_any_cut_given_the_history(detector, events, reasons, cuts):
    parts = [
        detector.reasons(events[a:b], history=events[max(a - 1_000, 0) : a])
        for a, b in pairwise([0, *sorted(cuts), N])
    ]
    pd.testing.assert_frame_equal(pd.concat(parts), reasons, check_exact=True)


def test_reasons_one_at_a_time(detector, events, reasons):
    some = np.flatnonzero(reasons["rules"].str.contains("burst"))[:100]
    parts = [detector.reasons(events[i : i + 1], events[max(i - 1_000, 0) : i]) for i in some]
    pd.testing.assert_frame_equal(pd.concat(parts), reasons.iloc[some], check_exact=True)


def test_without_history_no_burst_is_seen(detector, events, reasons):
    last = np.flatnonzero(reasons["rules"].str.contains("burst"))[-1]
    alone = detector.reasons(events[last : last + 1])
    assert "burst" not in alone["rules"].iloc[0] and alone["risk"].iloc[0] == reasons["risk"].iloc[last]


@pytest.mark.parametrize("share", [0.0, 0.9, 1.0])
def test_reasons_can_leave_out_what_is_not_risky(detector, events, reasons, share):
    above = float(reasons["risk"].quantile(share))
    some = detector.reasons(events, above=above)
    assert len(some) < len(reasons)
    pd.testing.assert_frame_equal(some, reasons[reasons["risk"] > above], check_exact=True)


def test_reasons_say_what_each_part_says(detector, events, scores, reasons):
    assert list(reasons) == ["risk", "rules", "burst", "repeats", "worst_input", "pushed_by"]
    np.testing.assert_array_equal(reasons["risk"], scores)
    counts = behaviour(events, detector.profile)[["burst", "repeats"]]
    pd.testing.assert_frame_equal(reasons[["burst", "repeats"]], counts)
    assert reasons.index.equals(events.index)
    inputs = detector.scaling.transform(events)
    gap = np.abs(inputs - detector.autoencoder.reconstruct(inputs))
    assert reasons["worst_input"].tolist() == [COLUMNS[i] for i in gap.argmax(axis=1)]
    huge = events[:1].assign(Amount=25_000.0)
    (said,) = detector.reasons(huge).to_dict("records")
    assert "high_amount" in said["rules"] and said["worst_input"] == "Amount"


# --- fitting -------------------------------------------------------------------------------------


def test_one_seed_one_detector(detector, small_train, saved, tmp_path):
    Detector.fit(small_train).save(tmp_path / "again.zip")
    assert (tmp_path / "again.zip").read_bytes() == saved.read_bytes()
    other = Detector.fit(small_train, seed=1)
    settled = ("centre", "scale", "oddities", "events")
    assert all(np.array_equal(getattr(other.profile, n), getattr(detector.profile, n)) for n in settled)
    assert other.profile.crowds.to_dict() != detector.profile.crowds.to_dict()
    assert other.autoencoder.to_bytes() != detector.autoencoder.to_bytes()
    assert other.judge.to_bytes() != detector.judge.to_bytes()


def test_the_truth_is_not_looked_at(detector, small_train, saved, tmp_path):
    with_truth = small_train.assign(Class=np.arange(len(small_train)) % 2, Time="noon")
    Detector.fit(with_truth).save(tmp_path / "other.zip")
    assert (tmp_path / "other.zip").read_bytes() == saved.read_bytes()
    np.testing.assert_array_equal(detector.score(with_truth), detector.score(small_train))


BAD_TRAINING = {
    "too few": (lambda e: e[:900], "needs 1,000 training events or more"),
    "all identical": (lambda e: e.assign(**e.iloc[0]), "Every column has one value"),
    "a gap": (lambda e: e.assign(V1=e["V1"].where(e.index != 77)), "Event 77 has nan in V1"),
    "nothing suspicious": (
        lambda e: pd.DataFrame(np.random.default_rng(0).uniform(1, 2, e.shape), columns=COLUMNS),
        "examples of both suspicious and normal events",
    ),
}


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("kind", BAD_TRAINING)
def test_events_that_teach_nothing_end_in_one_sentence(small_train, kind):
    change, sentence = BAD_TRAINING[kind]
    with pytest.raises(ValueError, match=sentence) as caught:
        Detector.fit(change(small_train))
    assert str(caught.value).endswith(".") and "\n" not in str(caught.value)


@pytest.mark.parametrize(("column", "value"), [("V4", np.nan), ("V1", np.inf), ("Amount", -np.inf)])
def test_an_event_with_a_gap_gets_no_score(detector, events, column, value):
    bad = events[:3].copy()
    bad.loc[bad.index[1], column] = value
    for use in (detector.score, detector.reasons):
        with pytest.raises(ValueError, match=f"Event 3001 has .* in {column}"):
            use(bad)


# --- a rule book of one's own --------------------------------------------------------------------


def everybody(signals: pd.DataFrame, thresholds: dict[str, float]) -> pd.Series:
    return signals["amount"] > -1


BOOK = (*RULES[1:], Rule("everybody", "Nobody is safe.", "-", "-", SUSPICIOUS, everybody))


@pytest.fixture(scope="module")
def with_own_book(small_train) -> Detector:
    book = tuple(rule for rule in RULES if rule.name not in ("burst", "high_amount"))
    return Detector.fit(small_train, rules=book)


def test_a_book_of_ones_own_is_used_wherever_rules_are(with_own_book, detector, events, tmp_path):
    own = replace(detector, rules=BOOK)
    told = own.reasons(events)["rules"]
    assert told.str.contains("everybody").all() and not told.str.contains("high_amount").any()
    own.save(tmp_path / "own.zip")
    again = Detector.load(tmp_path / "own.zip", [*RULES, *BOOK[-1:]])
    assert again.rules == BOOK
    pd.testing.assert_frame_equal(again.reasons(events), own.reasons(events), check_exact=True)
    np.testing.assert_array_equal(again.score(events), detector.score(events))
    assert set(with_own_book.thresholds) == set(detector.thresholds)
    assert with_own_book.thresholds["suspicion"] < detector.thresholds["suspicion"]
    with_own_book.save(tmp_path / "part.zip")
    assert Detector.load(tmp_path / "part.zip").rules == with_own_book.rules


def test_a_rule_that_is_not_at_hand_is_one_sentence(detector, tmp_path):
    replace(detector, rules=BOOK).save(tmp_path / "own.zip")
    with pytest.raises(
        CourseError, match=r"^The rule 'everybody' .* is not among the rules at hand"
    ) as caught:
        Detector.load(tmp_path / "own.zip")
    assert_one_sentence(str(caught.value))


def test_a_book_without_a_word_on_what_is_ordinary_is_one_sentence(small_train):
    with pytest.raises(ValueError, match="nothing could be presumed normal"):
        Detector.fit(small_train, rules=RULES[:-1])


def test_a_learner_keeps_its_book(detector, small_train, events, tmp_path):
    learner = Learner.start(replace(detector, rules=BOOK), small_train)
    learner.save(tmp_path / "learner.zip")
    again = Learner.load(tmp_path / "learner.zip", [*RULES, *BOOK[-1:]])
    assert again.reasons(events)["rules"].str.contains("everybody").all()
    with pytest.raises(CourseError, match="'everybody'"):
        Learner.load(tmp_path / "learner.zip")


# --- kept and read again -------------------------------------------------------------------------


def test_a_saved_detector_scores_the_same(saved, detector, small, events, reasons):
    again = Detector.load(saved)
    np.testing.assert_array_equal(again.score(small), detector.score(small))
    pd.testing.assert_frame_equal(again.reasons(events), reasons, check_exact=True)
    for name in ("thresholds", "error_threshold", "alert_threshold"):
        assert getattr(again, name) == getattr(detector, name)


def test_two_saves_have_the_same_bytes_and_a_loaded_one_too(saved, detector, tmp_path):
    detector.save(tmp_path / "a.zip")
    Detector.load(saved).save(tmp_path / "b.zip")
    assert saved.read_bytes() == (tmp_path / "a.zip").read_bytes() == (tmp_path / "b.zip").read_bytes()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.zip", "b.zip"]


@pytest.mark.parametrize(
    ("schema", "others"),
    [
        (Schema(amounts=["Amount"], axes=["V1"]), "V2, V3, V4, V5, V6"),
        (Schema(counts=["Amount"], axes=AXES), "Amount"),
        (Schema(amounts=["Amount"], axes=AXES, key="card"), "key"),
    ],
)
def test_another_schema_is_one_sentence(saved, schema, others):
    with pytest.raises(CourseError, match=rf"was fitted on another schema: {others} is not there") as caught:
        Detector.load(saved, schema=schema)
    assert_one_sentence(str(caught.value))
    assert Detector.load(saved, schema=CARDS).schema == CARDS


def test_a_detector_of_the_first_version_is_one_sentence(saved, tmp_path):
    parts = dict(zip(PARTS, unpack(BUNDLE, saved.read_bytes(), PARTS), strict=True))
    (tmp_path / "first.zip").write_bytes(pack(BUNDLE.replace("version 2", "version 1"), parts))
    with pytest.raises(ValueError, match="fit one and save it again") as caught:
        Detector.load(tmp_path / "first.zip")
    assert_one_sentence(str(caught.value))


def test_no_pickle_is_written_or_read(saved, detector, events, scores, tmp_path, monkeypatch):
    def forbidden(*_, **__):
        raise AssertionError("pickle was used")

    for name in ("dump", "dumps", "load", "loads", "Pickler", "Unpickler"):
        monkeypatch.setattr(pickle, name, forbidden)
    detector.save(tmp_path / "a.zip")
    np.testing.assert_array_equal(Detector.load(tmp_path / "a.zip").score(events), scores)
    with zipfile.ZipFile(saved) as bundle:
        assert bundle.namelist() == PARTS
        contents = [bundle.read(name) for name in PARTS]
    assert bundle.comment.startswith(b"domain-driven detector")
    assert not any(content.startswith(b"\x80") for content in contents)


def test_a_failing_save_leaves_the_old_file_and_nothing_else(saved, detector, tmp_path, monkeypatch):
    path = tmp_path / "detector.zip"
    path.write_bytes(b"old")
    monkeypatch.setattr(zipfile.ZipFile, "writestr", lambda *_: (_ for _ in ()).throw(OSError("full")))
    with pytest.raises(OSError, match="full"):
        detector.save(path)
    assert path.read_bytes() == b"old" and list(tmp_path.iterdir()) == [path]


KILLED = """
import os, signal, sys
from helpers.detector import Detector

old, new, path = sys.argv[1:]
detector, before, after = Detector.load(new), open(old, "rb").read(), open(new, "rb").read()
calls = 0

def count(frame, event, argument):
    global calls
    calls += 1
    if calls == moment:
        os.kill(os.getpid(), signal.SIGKILL)

def save():
    sys.setprofile(count)
    detector.save(path)
    sys.setprofile(None)

moment = -1
save()  # what happens once in a process
calls = 0
save()
total, seen = calls, []
for moment in [*range(1, total, total // 40), *range(total - 40, total + 40)]:
    open(path, "wb").write(before)
    child, calls = os.fork(), 0
    if child == 0:
        save()
        os._exit(0)
    seen.append((os.waitpid(child, 0)[1], open(path, "rb").read()))
assert all(content in (before, after) for _, content in seen), "a half-written file"
print(sum(status == signal.SIGKILL for status, _ in seen), len({content for _, content in seen}))
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="kill -9 needs a POSIX system")
def test_killed_while_saving_the_old_file_or_the_new_one_is_there(saved, small_train, tmp_path):
    old = tmp_path / "old.zip"
    Detector.fit(small_train[:2_400]).save(old)
    command = [sys.executable, "-c", KILLED, old, saved, tmp_path / "detector.zip"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr
    killed, contents = map(int, done.stdout.split())
    assert killed >= 40 and contents == 2


# --- what is no saved detector -------------------------------------------------------------------


def assert_refused(path: Path) -> None:
    with pytest.raises(ValueError, match=rf"^{path.name} is not a detector that this version") as caught:
        Detector.load(path)
    assert str(caught.value).endswith("fit one and save it again.") and "\n" not in str(caught.value)


@pytest.mark.parametrize("share", [0, 0.001, 0.3, 0.999, 0.99999])
def test_a_truncated_file_is_refused(saved, tmp_path, share):
    path, content = tmp_path / "cut.zip", saved.read_bytes()
    path.write_bytes(content[: int(share * len(content))])
    assert_refused(path)


@pytest.mark.parametrize("part", PARTS)
def test_a_changed_byte_in_any_part_is_noticed(saved, tmp_path, part):
    content = bytearray(saved.read_bytes())
    with zipfile.ZipFile(saved) as bundle:
        inside = content.find(bundle.read(part))
    content[inside + 200] ^= 1
    path = tmp_path / "changed.zip"
    path.write_bytes(content)
    assert_refused(path)


def text_file(path, _):
    path.write_text("not a detector")


def another_archive(path, _):
    with zipfile.ZipFile(path, "w") as bundle:
        bundle.writestr("../outside.txt", "x")


def another_version(path, contents):
    rewritten(
        path, contents | {"settings.json": contents["settings.json"].replace(b"version 1", b"version 9")}
    )


def a_list_as_settings(path, contents):
    rewritten(path, contents | {"settings.json": b"[]"})


def no_thresholds(path, contents):
    values = json.loads(contents["settings.json"])
    del values["thresholds"]
    rewritten(path, contents | {"settings.json": json.dumps(values).encode()})


def another_judge(path, contents):
    rewritten(path, contents | {"judge.ubj": b"some other model"})


def an_empty_judge(path, contents):
    rewritten(path, contents | {"judge.ubj": b""})


def half_a_network(path, contents):
    network = contents["autoencoder.safetensors"]
    rewritten(path, contents | {"autoencoder.safetensors": network[: len(network) // 2]})


def rewritten(path, contents):
    with zipfile.ZipFile(path, "w") as bundle:
        for name, content in contents.items():
            bundle.writestr(name, content)


FOREIGN = (text_file, another_archive, another_version, a_list_as_settings, no_thresholds)


@pytest.mark.parametrize(
    "make", [*FOREIGN, another_judge, an_empty_judge, half_a_network], ids=lambda make: make.__name__
)
def test_a_foreign_file_is_refused(saved, tmp_path, make):
    with zipfile.ZipFile(saved) as bundle:
        contents = {name: bundle.read(name) for name in PARTS}
    make(tmp_path / "foreign.zip", contents)
    assert_refused(tmp_path / "foreign.zip")
    assert [path.name for path in tmp_path.iterdir()] == ["foreign.zip"]


def test_a_missing_file_is_no_damaged_one(tmp_path):
    with pytest.raises(FileNotFoundError):
        Detector.load(tmp_path / "nothing.zip")
