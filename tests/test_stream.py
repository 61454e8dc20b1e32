"""helpers/stream.py: what comes in, what the learner may know, and that it goes on after a restart."""

from __future__ import annotations

import os
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sandbox import small_files_only

from helpers import data, evaluation, stream
from helpers.files import CourseError
from helpers.judge import Judge
from helpers.settings import COLUMNS
from helpers.stream import Learner, admit, drift, oracle_prequential, replay, review

END = 12_000  # by then some frauds are confirmed


@pytest.fixture(scope="module")
def truth() -> pd.Series:
    return data.seal(data.load_events("snapshot", rows=END))[1]


@pytest.fixture(scope="module")
def live(window, small_train) -> pd.DataFrame:
    return window[len(small_train) : END]


def played(detector, warm_up, live, truth, batch=1_000, **options) -> Learner:
    learner = Learner.start(detector, warm_up, **options)
    for _ in replay(learner, live, truth, batch):
        pass
    return learner


@pytest.fixture(scope="module")
def learner(detector, small_train, live, truth) -> Learner:
    """After 7,200 events; it has found frauds and learned from them. Nobody may change it."""
    return played(detector, small_train, live, truth)


# --- the truth -----------------------------------------------------------------------------------


def test_labels_of_events_never_alerted_influence_nothing(detector, small_train, live, truth, learner):
    alerted = learner.memory["alert"] == 1
    assert truth[alerted].any() and truth[~alerted].any()
    flipped = truth.where(alerted, 1 - truth)
    again = played(detector, small_train, live, flipped)
    pd.testing.assert_frame_equal(again.memory, learner.memory)


def test_labels_of_alerted_events_do_influence_scores(detector, small_train, live, truth, learner):
    alerted = learner.memory["alert"] == 1
    again = played(detector, small_train, live, truth.where(~alerted, 1 - truth))
    assert not again.memory["risk"].equals(learner.memory["risk"])


def test_review_comes_after_the_delay_and_tells_alerted_events_only():
    truth = pd.Series([1, 0, 1, 1], [10, 11, 12, 13])
    told = review(truth, pd.Index([10, 12, 13]), now=22, delay=10)
    assert told.to_dict() == {10: 1, 12: 1}


def test_a_share_of_the_reviews_may_be_wrong():
    truth = pd.Series(np.arange(4_000) % 2)
    told = review(truth, truth.index, now=9_000, wrong=0.1)
    assert 0.08 < (told != truth).mean() < 0.12
    pd.testing.assert_series_equal(told, review(truth, truth.index, now=9_000, wrong=0.1))
    for kind, share in enumerate(((0.1, 0), (0, 0.1))):  # on one kind of events alone, and there the same
        slipped = review(truth, truth.index, now=9_000, wrong=share) != truth
        assert (slipped == ((told != truth) & (truth == kind))).all()
    some = review(truth, truth.index[100:300], now=9_000, wrong=0.1)  # the same ones, however they are asked
    assert (some == told[100:300]).all() and some.index.tolist() == list(range(100, 300))
    assert (review(truth, truth.index, 9_000) == truth).all()


def test_customers_complain_of_frauds_after_their_delay_and_of_nothing_else(
    detector, small_train, live, truth
):
    told = stream.complaints(pd.Series([1, 0, 1, 1]), pd.RangeIndex(4), now=12, delay=10)
    assert told.to_dict() == {0: 1, 2: 1}
    learner = Learner.start(detector, small_train)
    for _ in replay(learner, live, truth, complained=3_000):
        now = learner.now
        late = truth[: now - 3_000]
        if learner.blocks * 1_000 == now:
            assert set(late[late == 1].index) <= set(learner.memory.query("truth == 1").index)
    assert (learner.memory.query("truth == 1").index < 4_800).any()  # those of the warm-up, too
    honest = learner.memory.query("truth == 0")
    assert (honest["alert"] == 1).all()


def test_learner_never_knows_more_than_reviews_told(learner, truth):
    known = learner.memory.query("truth != -1")
    assert len(known) and (known["alert"] == 1).all() and (known.index + stream.DELAY <= learner.now).all()
    assert (known["truth"] == truth[known.index]).all()


# --- the same scores -----------------------------------------------------------------------------


@pytest.mark.parametrize("batch", [70, 500])
def test_micro_batches_of_any_size_give_the_same_stream(detector, small_train, live, truth, learner, batch):
    again = played(detector, small_train, live, truth, batch)
    pd.testing.assert_frame_equal(again.memory, learner.memory)


@settings(max_examples=10, deadline=None)
@given(cuts=st.lists(st.integers(0, 1_500), max_size=6))
def test_scores_have_the_same_bits_for_any_cut(learner, live, cuts):
    events = live[:1_500]
    parts = [learner.score(events[a:b]) for a, b in pairwise([0, *sorted(cuts), 1_500])]
    np.testing.assert_array_equal(np.concatenate(parts), learner.score(events))


def test_one_event_at_a_time_scores_the_same(learner, live):
    singles = [learner.score(live[row : row + 1])[0] for row in range(100)]
    np.testing.assert_array_equal(singles, learner.score(live[:100]))


def test_before_a_fraud_is_confirmed_the_detectors_risk_counts(detector, small_train, live):
    cold = Learner.start(detector, small_train)
    np.testing.assert_array_equal(cold.score(live), detector.score(live))
    cold.watch(live[:1_000])
    cold.learn(pd.Series(0, cold.pending))  # nothing but false alarms: there is nothing to learn from yet
    assert len(cold._reviewed) and not len(cold.pending)
    np.testing.assert_array_equal(cold.score(live), detector.score(live))


def test_risk_is_the_average_of_three_log_odds(learner, live):
    seen = learner.detector.seen(live[:50])
    line = seen[:, :-2] @ learner.weights[:-1] + learner.weights[-1]
    unlearned = learner.detector.score(live[:50])
    by_hand = (line + learner.judge.log_odds(seen) + np.log(unlearned / (1 - unlearned))) / 3
    risk = learner.score(live[:50])
    np.testing.assert_allclose(np.log(risk / (1 - risk)), by_hand, rtol=1e-6)
    np.testing.assert_allclose(
        1 / (1 + np.exp(-learner.judge.log_odds(seen))), learner.judge.risk(seen), rtol=1e-4
    )


# --- restart -------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def saved(learner, tmp_path_factory):
    path = tmp_path_factory.mktemp("saved") / "learner.zip"
    learner.save(path)
    return path


@pytest.mark.parametrize("batches", [3, 19])
def test_restart_in_mid_stream_goes_on_with_identical_scores(
    detector, small_train, live, truth, learner, tmp_path, batches
):
    first = Learner.start(detector, small_train)
    clock = replay(first, live, truth, batch=200)
    for _ in range(batches):
        next(clock)
    first.save(tmp_path / "learner.zip")
    second = Learner.load(tmp_path / "learner.zip")
    for _ in replay(second, live[live.index >= second.now], truth, batch=200):
        pass
    pd.testing.assert_frame_equal(second.memory, learner.memory)
    assert os.listdir(tmp_path) == ["learner.zip"]


def test_settings_survive_the_restart(detector, small_train, tmp_path):
    chosen = {"explore": 0.4, "seed": 3, "alerts": 7, "keep": 5_000}
    Learner.start(detector, small_train, **chosen).save(tmp_path / "learner.zip")
    again = Learner.load(tmp_path / "learner.zip")
    assert {name: getattr(again, name) for name in chosen} == chosen


@pytest.mark.parametrize("damage", ["cut", "flipped", "detector", "text"])
def test_damaged_or_foreign_bundle_is_refused_in_one_sentence(saved, detector, tmp_path, damage):
    path, content = tmp_path / "bad.zip", bytearray(saved.read_bytes())
    if damage == "cut":
        path.write_bytes(content[: len(content) // 2])
    elif damage == "flipped":
        content[len(content) // 2] ^= 1
        path.write_bytes(content)
    elif damage == "detector":
        detector.save(path)
    else:
        path.write_text("hello")
    with pytest.raises(ValueError, match=r"^bad.zip is not a learner .*: replay the stream") as caught:
        Learner.load(path)
    assert "\n" not in str(caught.value)


def test_failure_while_saving_leaves_the_old_bundle(saved, learner):
    before = saved.read_bytes()
    with small_files_only(10_000), pytest.raises(CourseError, match="Cannot write into"):
        learner.save(saved)
    assert saved.read_bytes() == before and os.listdir(saved.parent) == [saved.name]


# --- alerts --------------------------------------------------------------------------------------


def test_the_budget_of_a_block_is_spent_when_it_is_over_and_of_a_part_in_proportion(learner, small_train):
    scored = learner.memory[len(small_train) :]
    alerts = scored["alert"].groupby(scored.index // 1_000).sum()
    assert len(small_train) == 4_800 and alerts.tolist() == [1, *[5] * 7]  # the warm-up ends in block 4
    assert learner.now == END and (scored["alert"] >= 0).all()


def test_the_learner_gets_as_many_alerts_as_every_other_detector(detector, window, truth):
    """From a start that is no multiple of 1,000, and with an end that is none."""
    begin, warm_up, end = 300, 4_800, 7_950
    events = window[begin:end]
    cold = Learner.start(detector, events[: warm_up - begin])
    for _ in replay(cold, events[warm_up - begin :], truth[begin:end]):
        pass
    assert (cold.memory["alert"][-950:] == stream.UNKNOWN).all()
    cold.close()
    live = cold.memory[warm_up - begin :]
    others = evaluation.choose_alerts(live["risk"], start=warm_up)
    blocks = live.index // 1_000
    assert live["alert"].groupby(blocks).sum().tolist() == [1, 5, 5, 4]
    assert pd.Series(others, live.index).groupby(blocks).sum().tolist() == [1, 5, 5, 4]


def test_a_block_that_was_closed_early_keeps_its_budget(detector, window, small_train):
    cold = Learner.start(detector, small_train)
    cold.watch(window[4_800:5_400])
    cold.close()
    cold.watch(window[5_400:6_000])
    assert cold.memory["alert"][5_000:].sum() == 5 and (cold.memory["alert"] >= 0).all()


def test_the_oracles_blocks_follow_the_clock():
    generator = np.random.default_rng(0)
    inputs, labels = generator.normal(size=(3_000, 9)), (np.arange(3_000) % 50 == 0).astype(int)
    late = stream.oracle_prequential(inputs, labels, warm_up=1_100, delay=100, start=400)
    by_hand = [
        Judge().fit(inputs[:known], labels[:known]).risk(inputs[begin:end])
        for begin, end, known in ((1_100, 1_600, 1_000), (1_600, 2_600, 1_500), (2_600, 3_000, 2_500))
    ]
    np.testing.assert_array_equal(late, np.concatenate(by_hand))


def test_a_block_waits_until_it_is_over(detector, small_train, live):
    cold = Learner.start(detector, small_train)
    cold.watch(live[:199])
    assert (cold.memory["alert"][-199:] == stream.UNKNOWN).all()
    cold.watch(live[199:200])
    assert (cold.memory["alert"][-200:] >= 0).all()


def test_a_block_is_so_many_events_whatever_numbers_were_refused(detector, small_train, live):
    cold = Learner.start(detector, small_train)
    cold.watch(pd.concat([live[:150], live[210:220]]))
    assert (cold.memory["alert"][-160:] == stream.UNKNOWN).all()
    cold.watch(live[220:260])
    assert cold.memory["alert"].eq(1).sum() == 1 and (cold.memory["alert"] >= 0).all()


def test_among_equal_risks_the_earlier_event_is_chosen(detector, small_train):
    cold = Learner.start(detector, small_train, explore=0.0)
    block = small_train[:100].assign(risk=0.5)
    assert np.flatnonzero(cold._chosen(block, 5)).tolist() == [0, 1, 2, 3, 4]


def test_explored_share_goes_to_events_unlike_any_reviewed(learner, live):
    block = live[:1_000].assign(risk=learner.score(live[:1_000]))
    plain = replace(learner, explore=0.0)._chosen(block, 5)
    explorer = replace(learner, explore=0.4, alerts=1_000)
    chosen = explorer._chosen(block, 5)
    new = chosen & ~plain
    assert plain.sum() == chosen.sum() == 5 and new.sum() == 2
    assert not (learner._unlikeness(block[new]) <= stream.RADIUS).any()


def test_exploration_ends_when_as_many_frauds_are_confirmed_as_a_block_has_alerts(learner, live):
    frauds = learner._fraud.sum()
    block = live[:1_000].assign(risk=learner.score(live[:1_000]))
    plain = replace(learner, explore=0.0)._chosen(block, 5)
    sure, unsure = (replace(learner, explore=0.4, alerts=alerts) for alerts in (frauds, frauds + 1))
    assert (sure._chosen(block, 5) == plain).all() and (unsure._chosen(block, 5) != plain).any()


def test_empty_batch_changes_nothing(learner, live):
    before = learner.memory
    learner.watch(live[:0])
    assert learner.memory is before


# --- learning ------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def strange(small, detector) -> pd.DataFrame:
    """The event farthest from the centre, and the same one 2 % and 15 % longer."""
    z = detector.profile.axes(small)
    far = small.iloc[[int((z**2).sum(axis=1).argmax())]].reset_index(drop=True)
    centre, axes = detector.profile.centre[1:], COLUMNS[1:]
    stretched = [far.assign(**dict((far[axes] * k + centre * (1 - k)).iloc[0])) for k in (1, 1.02, 1.15)]
    return pd.concat(stretched, ignore_index=True).set_axis([20_000, 20_001, 20_002])


def taught(detector, small_train, strange, truths) -> Learner:
    """A learner that has seen the strange events and been told the truth of the first ones."""
    learner = Learner.start(detector, small_train)
    learner.watch(strange)
    learner.memory["alert"] = 0
    learner.learn(pd.Series(truths, strange.index[: len(truths)]))
    return learner


def test_the_first_confirmed_fraud_lifts_what_looks_similar(detector, small_train, strange):
    fraud = taught(detector, small_train, strange, [1])
    assert fraud.labels()[-3:].tolist() == [1, 1, 1]
    risk = fraud.score(small_train)
    assert fraud.score(strange).min() > np.quantile(risk, 0.999)


def test_a_fraud_that_is_taken_back_leaves_the_detector_as_it_was(detector, small_train, strange):
    learner = taught(detector, small_train, strange, [1])
    assert not np.array_equal(learner.score(strange), detector.score(strange))
    learner.learn(pd.Series([0], strange.index[:1]))
    np.testing.assert_array_equal(learner.score(strange), detector.score(strange))


def test_one_fraud_against_one_false_alarm_is_no_majority(detector, small_train, strange):
    torn = taught(detector, small_train, strange, [1, 0])
    assert torn.labels()[-3:].tolist() == [1, 0, 0]


def test_old_events_are_forgotten_and_reviewed_ones_are_not(detector, small_train, live, truth):
    learner = played(detector, small_train, live, truth, keep=2_000)
    memory = learner.memory
    reviewed = memory["truth"] != stream.UNKNOWN
    assert len(memory) == 2_000 + reviewed[:-2_000].sum() and reviewed[:-2_000].all()
    whole = played(detector, small_train, live, truth)
    told = whole.memory.index[whole.memory["truth"] != stream.UNKNOWN]
    assert reviewed.sum() > 20 and len(told) > 20
    assert learner.place == whole.place == END and learner.blocks == END // 1_000
    alerts = memory["alert"][-2_000:].groupby(memory.index[-2_000:] // 1_000).sum()
    assert alerts.tolist() == [5, 5]


@pytest.mark.parametrize("late", [{"delay": 3_001}, {"complained": 3_001}])
def test_a_truth_that_comes_after_the_learner_has_forgotten_is_refused(
    detector, small_train, live, truth, late
):
    short = Learner.start(detector, small_train, keep=3_000)
    with pytest.raises(CourseError, match="may come 3,001 events late, and the learner remembers 3,000"):
        next(replay(short, live, truth, **late))
    assert short.now == small_train.index[-1] + 1


def test_what_is_decided_is_handed_over_once_whatever_is_forgotten(detector, small_train, live, truth):
    short = Learner.start(detector, small_train, keep=1_000)
    decided = [*replay(short, live[:3_300], truth, batch=300), short.close()]
    log, memory = pd.concat(decided), short.memory
    assert log.index.tolist() == live.index[:3_300].tolist()  # nothing lacks, nothing comes twice
    assert log["alert"].groupby(log.index // 1_000).sum().tolist() == [1, 5, 5, 5, 0]
    pd.testing.assert_frame_equal(log.loc[memory.index[-300:]], memory[["risk", "alert"]][-300:])


def test_what_the_next_event_needs_is_not_forgotten(detector, small_train, live, truth):
    learner = Learner.start(detector, small_train, keep=10)
    for _ in replay(learner, live[:3_200], truth, delay=10):
        pass
    block, history = live[3_200:3_400], live[2_200:3_200]
    kept = learner.detector.schema.recent(learner.memory)[COLUMNS]
    pd.testing.assert_frame_equal(kept, history[COLUMNS])
    pd.testing.assert_frame_equal(
        learner.reasons(block, learner.memory), learner.reasons(block, history), check_exact=True
    )


def test_reasons_name_the_confirmed_fraud_that_an_event_resembles(learner, live):
    block = live.loc[10_000:10_999]
    table = learner.reasons(block, history=live.loc[9_000:9_999])
    frauds = learner.memory.index[learner.memory["truth"] == 1]
    named = table["resembles"].dropna()
    assert len(named) and named.isin(frauds).all() and len(table) == len(block)
    np.testing.assert_array_equal(table["risk"], learner.score(block))


# --- unclean events ------------------------------------------------------------------------------


def clean(numbers, value=1.0) -> pd.DataFrame:
    return pd.DataFrame(value, index=pd.Index(numbers, name="event"), columns=COLUMNS)


def whys(batch, last_event=-1) -> list[str]:
    return admit(batch, last_event)[1]["why"].tolist()


def test_clean_events_are_admitted_with_equal_values_and_gaps():
    batch = clean([5, 6, 9])
    admitted, refused = admit(batch, last_event=4)
    pd.testing.assert_frame_equal(admitted, batch)
    assert refused.empty


def test_repeated_numbers_are_duplicates_and_smaller_ones_late():
    admitted, refused = admit(clean([7, 8, 8, 6, 9, 7, 4]), last_event=7)
    assert admitted.index.tolist() == [8, 9]
    assert refused["why"].to_list() == ["duplicate", "duplicate", "late", "duplicate", "late"]
    assert refused.index.tolist() == [7, 8, 6, 7, 4]


@pytest.mark.parametrize(
    "value", [np.nan, np.inf, -np.inf, "1.0", "", None, True, b"1", [1], pd.NaT, pd.Timestamp(0)]
)
def test_what_is_no_finite_number_is_malformed(value):
    batch = clean([1, 2, 3]).astype(object)
    batch.at[2, "V3"] = value
    admitted, refused = admit(batch)
    assert admitted.index.tolist() == [1, 3] and refused["why"].to_dict() == {2: "malformed"}
    assert (admitted.dtypes == np.float64).all()


def test_a_column_of_text_or_of_truth_values_or_missing_or_double_is_malformed():
    good = clean([1, 2])
    assert whys(good.astype({"V1": str})) == ["malformed"] * 2
    assert whys(good.astype({"V1": bool})) == ["malformed"] * 2
    assert whys(good.drop(columns="V4")) == ["malformed"] * 2
    assert whys(pd.concat([good, good[["V4"]]], axis=1)) == ["malformed"] * 2
    assert whys(good.assign(Amount=[-30.0, 5.0])) == []  # a refund
    assert whys(good.assign(more="text")) == []


def test_a_number_that_is_no_whole_number_is_malformed():
    batch = clean([1, 2, 3, 4, 5]).set_axis([1, "2", np.nan, 3.5, 1e300])
    assert whys(batch) == ["malformed"] * 4


def test_a_malformed_event_does_not_move_the_clock():
    batch = clean([1, 900, 2])
    batch.loc[900, "V1"] = np.nan
    assert admit(batch)[0].index.tolist() == [1, 2]


def test_an_empty_batch_is_no_error():
    admitted, refused = admit(clean([]), last_event=3)
    assert admitted.empty and refused.empty and list(admitted.columns) == COLUMNS


@settings(max_examples=50, deadline=None)
@given(
    numbers=st.lists(st.integers(0, 20), max_size=12),
    broken=st.sets(st.integers(0, 11)),
    cut=st.integers(0, 12),
)
def test_door_is_the_same_for_any_cut_and_loses_no_event(numbers, broken, cut):
    batch = clean(numbers)
    batch.iloc[[row for row in broken if row < len(batch)], 2] = np.nan
    whole, refused = admit(batch, last_event=5)
    first, _ = admit(batch[:cut], last_event=5)
    second, _ = admit(batch[cut:], last_event=int(first.index.max()) if len(first) else 5)
    assert [*first.index, *second.index] == whole.index.tolist() == sorted(set(whole.index))
    assert len(whole) + len(refused) == len(batch)


# --- references, drift, serving ------------------------------------------------------------------


def test_prequential_oracle_knows_only_labels_older_than_the_delay(detector, small, truth):
    seen = detector.seen(small)
    labels = truth.to_numpy()[: len(small)]
    risk = oracle_prequential(seen, labels, 5_000)
    changed = labels.copy()
    changed[5_500:] = 1 - changed[5_500:]
    again = oracle_prequential(seen, changed, 5_000)
    np.testing.assert_array_equal(again[:1_000], risk[:1_000])
    assert not np.array_equal(again[2_000:], risk[2_000:])
    np.testing.assert_array_equal(oracle_prequential(seen, np.zeros_like(labels), 5_000), 0)


def test_drift_is_small_for_the_same_and_large_for_a_shifted_distribution():
    draws = np.random.default_rng(0)
    reference = pd.DataFrame(draws.normal(size=(5_000, 2)), columns=["same", "moved"])
    batch = pd.DataFrame(draws.normal([0, 1], size=(1_000, 2)), columns=["same", "moved"])
    table = drift(reference, batch)
    assert table.loc["same", "psi"] < 0.05 < 0.25 < table.loc["moved", "psi"]
    assert table.loc["same", "p"] > 0.01 > table.loc["moved", "p"]
    assert table.loc["moved", "ks"] == pytest.approx(0.38, abs=0.04)


def test_the_alarm_of_notebook_7_is_false_for_one_block_in_eleven(window):
    """On streams in which nothing can drift, because they are shuffled."""

    def largest(part, rest):
        return drift(rest, part)["psi"].max()

    alarms = []
    for seed in range(8):
        calm = window.sample(12_000, random_state=seed).reset_index(drop=True)
        blocks = [block for _, block in calm.groupby(calm.index // 1_000)]
        still, fresh = blocks[:10], blocks[10:]
        limit = max(largest(own, pd.concat(still).drop(own.index)) for own in still)
        alarms += [largest(block, pd.concat(still)) > limit for block in fresh]
    assert len(alarms) == 16 and sum(alarms) <= 4  # 1 in 11; five or more in one such test of a hundred


def test_drift_by_hand():
    reference = pd.DataFrame({"x": np.arange(1_000)})
    batch = pd.DataFrame({"x": np.repeat([50, 950], [300, 700])})
    shares, base = (np.array([301, *[1] * 8, 701]) / 1_010, np.full(10, 101 / 1_010))
    by_hand = ((shares - base) * np.log(shares / base)).sum()
    assert drift(reference, batch).loc["x", "psi"] == pytest.approx(by_hand)


def test_latencies_are_measured(learner, live):
    timed = stream.latencies(learner, live[:50])
    assert 0 < timed["one_event_median_ms"] <= timed["one_event_p99_ms"] < 1_000 * timed["batch_ms"]
    assert timed["events_per_s"] == pytest.approx(50_000 / timed["batch_ms"])
