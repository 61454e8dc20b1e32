"""helpers/stream.py: what comes in, what the learner may know, and that it goes on after a restart."""

import datetime as dt
import math
from dataclasses import replace
from decimal import Decimal
from itertools import pairwise

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sandbox import refused
from sklearn.linear_model import LogisticRegression

from helpers import data, evaluation, features, stream
from helpers.classifier import Classifier
from helpers.detector import Detector
from helpers.files import to_bytes
from helpers.rules import RULES
from helpers.schema import Schema
from helpers.settings import COLUMNS, RADIUS
from helpers.stream import Learner, admit, drift, full_feedback, replay, review

BEGIN, FIRST, END = 3_800, 5_800, 8_900  # warm-up, live events, end in mid-block; some frauds are confirmed


once = pytest.fixture(scope="module")
truth = once(lambda: data.seal(data.load_events("snapshot", rows=12_000))[1])
warm_up = once(lambda window: window[BEGIN:FIRST])
live = once(lambda window: window[FIRST:END])
fitted = once(lambda warm_up: Detector.fit(warm_up))
cold = pytest.fixture(lambda fitted, warm_up: Learner.start(fitted, warm_up))


def played(learner: Learner, live, truth, **options) -> Learner:
    for _ in replay(learner, live, truth, **options):
        pass
    return learner


def alike(learner: Learner, events: pd.DataFrame, others: pd.DataFrame) -> np.ndarray:
    z, known = (learner.detector.profile.axes(part) for part in (events, others))
    return np.linalg.norm(z[:, None] - known, axis=2) <= RADIUS * np.linalg.norm(z, axis=1)[:, None]


learner = once(lambda fitted, warm_up, live, truth: played(Learner.start(fitted, warm_up), live, truth))


def test_labels_of_alerted_events_alone_have_influence(fitted, warm_up, live, truth, learner):
    alerted = learner.memory["alert"].reindex(truth.index) == 1
    assert truth[alerted].any() and truth[~alerted][BEGIN:END].any()
    unseen, seen = (truth.where(kept, 1 - truth) for kept in (alerted, ~alerted))
    again, other = (played(Learner.start(fitted, warm_up), live, told) for told in (unseen, seen))
    pd.testing.assert_frame_equal(again.memory, learner.memory)
    assert not other.memory["risk"].equals(learner.memory["risk"])
    known = learner.memory.query("truth != -1")
    assert (known["alert"] == 1).all() and (known.index + stream.DELAY <= learner.now).all()
    assert len(known) and (known["truth"] == truth[known.index]).all()


def test_reviews_come_after_the_delay_and_a_share_may_be_wrong():
    told = review(pd.Series([1, 0, 1, 1], [10, 11, 12, 13]), pd.Index([10, 12, 13]), now=22, delay=10)
    assert told.to_dict() == {10: 1, 12: 1}
    truth = pd.Series(np.arange(1_500) % 2)
    assert (review(truth, truth.index, 3_000) == truth).all()
    slips = review(truth, truth.index, 3_000, wrong=0.1) != truth
    assert 0.07 < slips.mean() < 0.13
    for kind, share in enumerate(((0.1, 0), (0, 0.1))):  # on one kind of events alone, and there the same
        some = review(truth, truth.index, 3_000, wrong=share) != truth
        assert (some == (slips & (truth == kind))).all()
    part = review(truth, truth.index[100:300], 3_000, wrong=0.1)  # the same ones, however they are asked
    assert ((part != truth[100:300]) == slips[100:300]).all()
    assert not (review(truth, truth.index, 3_000, wrong=0.1, seed=1) != truth).equals(slips)


def test_customers_complain_of_frauds_after_their_delay_and_of_nothing_else(cold, live, truth):
    told = stream.reports(pd.Series([1, 0, 1, 1]), pd.RangeIndex(4), now=12, delay=10)
    assert told.to_dict() == {0: 1, 2: 1}
    with pd.option_context("mode.copy_on_write", True):  # pandas 3 gives arrays that cannot be written into
        played(cold, live, truth, reported=1_500)
    late = truth[BEGIN : 8_000 - 1_500]  # heard at the end of the last block that is over
    confirmed, legitimate = (cold.memory.query(f"truth == {told}") for told in (1, 0))
    assert set(late[late == 1].index) <= set(confirmed.index) and (confirmed.index < FIRST).any()
    assert (confirmed.index[confirmed["alert"] == 0] < 8_000 - 1_500 + 1).all()
    assert (legitimate["alert"] == 1).all()


def test_any_micro_batches_and_a_restart_give_the_same_stream(cold, live, truth, learner, tmp_path):
    clock = replay(cold, live, truth, batch=70)
    for _ in range(20):
        next(clock)
    cold.save(tmp_path / "learner.zip")
    again = Learner.load(tmp_path / "learner.zip")
    played(again, live[live.index >= again.now], truth, batch=400)
    pd.testing.assert_frame_equal(again.memory, learner.memory)
    assert [path.name for path in tmp_path.iterdir()] == ["learner.zip"]
    chosen = {"explore": 40, "seed": 3, "alerts": 7, "keep": 5_000}
    replace(cold, **chosen).save(tmp_path / "learner.zip")
    assert chosen.items() <= vars(Learner.load(tmp_path / "learner.zip")).items()


def test_risk_is_three_log_odds_and_what_look_alikes_were_with_the_same_bits_for_any_cut(learner, live):
    edges = [0, 50, 57, *range(200, 210), 500]  # some come one by one
    parts = [learner.score(live[a:b]) for a, b in pairwise(edges)]
    np.testing.assert_array_equal(np.concatenate(parts), learner.score(live[:500]))
    seen = learner.detector.seen(live[:2_000])
    line = seen[:, :-2] @ learner.weights[:-1] + learner.weights[-1]
    unlearned, risk = learner.detector.score(live[:2_000]).clip(1e-9), learner.score(live[:2_000])
    by_hand = (line + learner.classifier.log_odds(seen) + np.log(unlearned / (1 - unlearned))) / 3
    like = [
        alike(learner, live[:2_000], learner.memory.query(f"truth == {told}")).sum(axis=1) for told in (1, 0)
    ]
    assert max(like[0]) > 0 < max(like[1])
    by_hand += np.log((like[0] + 1) / (like[1] + 1))
    np.testing.assert_allclose(np.log(risk / (1 - risk)), by_hand, rtol=1e-6)


def test_what_cannot_be_a_learner_or_a_replay_is_one_sentence(cold, live, truth, tmp_path):
    for stamp in ("detector, version 6", "learner, version 3"):
        (bad := tmp_path / "bad.zip").write_bytes(to_bytes(f"domain-driven {stamp}", cold))
        said = f"^bad.zip is not a learner .*'domain-driven {stamp}', not .* version 7'.*: replay the stream"
        with refused(said):
            Learner.load(bad)
    for rate in (0, 1_001, np.nan, "5"):
        with refused("The alert budget is a number above 0 of 1,000, not"):
            replace(cold, alerts=rate)
    short = replace(cold, keep=3_000)
    for late in ({"delay": 3_001}, {"reported": 3_001}):
        with refused("may come 3,001 events late, and the learner remembers 3,000"):
            next(replay(short, live, truth, **late))
    next(replay(short, live, truth, delay=3_000))


def test_the_learner_gets_as_many_alerts_as_every_other_detector(learner):
    memory = learner.memory.loc[FIRST:]
    assert (memory["alert"][-900:] == stream.UNKNOWN).all() and (memory["alert"][:-900] >= 0).all()
    closed = replace(learner, memory=learner.memory.copy())
    assert closed.close().index.tolist() == memory.index[-900:].tolist()
    for alerts in (closed.memory.loc[FIRST:, "alert"], evaluation.choose_alerts(memory["risk"], start=FIRST)):
        each = pd.Series(np.asarray(alerts)).groupby(memory.index // 1_000)
        assert each.sum().tolist() == [1, 5, 5, 4]


def test_a_block_is_over_after_so_many_events_whatever_numbers_were_refused(cold, fitted, warm_up, live):
    assert Learner.start(fitted, warm_up.reset_index(drop=True)).now == len(warm_up)  # begins with event 0
    assert not len(cold.watch(live[:0])) and cold.now == FIRST
    assert not len(cold.watch(pd.concat([live[:150], live[210:259]])))
    decided = cold.watch(live[260:261])
    assert len(decided) == 200 and decided["alert"].sum() == 1 and cold.place == 1_000 + FIRST - BEGIN
    assert cold.now == FIRST + 261
    cold.watch(live[261:1_061])
    cold.close()  # a block that was closed early keeps its budget
    cold.watch(live[1_061:1_261])
    assert cold.memory["alert"][-1_000:].sum() == 5 and (cold.memory["alert"] >= 0).all()


def test_exploration_widens_until_a_fraud_is_confirmed_and_looks_where_nobody_has_reviewed(learner, live):
    block = live[:1_000].assign(risk=learner.score(live[:1_000]))
    same = learner._chosen(block.assign(risk=np.arange(1_000) % 2 / 2), 5)
    assert np.flatnonzero(same).tolist() == [1, 3, 5, 7, 9]  # of equal risks the earlier ones
    memory = learner.memory.assign(truth=learner.memory["truth"].replace(1, 0))
    blind, reviewed = replace(learner, memory=memory), memory[memory["truth"] == 0]
    free = ~alike(learner, block, reviewed).any(axis=1)
    n = len(reviewed)
    for explore, explored in ((0, 0), (n + 1, 0), (n, 1), (n // 2, 2), (1, 4)):
        chosen = replace(blind, explore=explore)._chosen(block, 5)
        riskiest = np.argsort(-block["risk"].to_numpy(), kind="stable")[: 5 - explored]
        others = np.setdiff1d(np.flatnonzero(free), riskiest)
        expected = others[np.argsort(-block["risk"].to_numpy()[others], kind="stable")[:explored]]
        assert sorted([*riskiest, *expected]) == np.flatnonzero(chosen).tolist()
    assert not free.all()


def test_a_fraud_lifts_what_looks_similar_and_a_false_alarm_beside_it_does_not(cold, warm_up):
    """The event farthest from the centre, and the same one 2 % and 15 % longer."""
    fitted, axes = cold.detector, COLUMNS[1:]
    z, centre = fitted.profile.axes(warm_up), fitted.profile.centre[1:]
    far = warm_up.iloc[[int((z**2).sum(axis=1).argmax())]].reset_index(drop=True)
    longer = [far.assign(**dict((far[axes] * k + centre * (1 - k)).iloc[0])) for k in (1, 1.02, 1.15)]
    strange = pd.concat(longer).set_axis([FIRST, FIRST + 1, FIRST + 2])
    cold.watch(strange)
    unlearned = fitted.score(strange)
    np.testing.assert_array_equal(cold.score(strange), unlearned)
    cold.learn(pd.Series([0], strange.index[1:2]))  # without a fraud there is nothing to learn from yet
    np.testing.assert_array_equal(cold.score(strange), unlearned)
    cold.learn(pd.Series([1], strange.index[:1]))
    labels, weights = cold.labels()
    assert labels[-3:].tolist() == [1, 0, 0]
    assert weights[-3:].tolist() == [1 / 3, 1, 0.1]  # the second speaks against the first
    lifted = cold.score(strange)
    cold.learn(pd.Series([1], strange.index[1:2]))
    labels, weights = cold.labels()
    assert labels[-3:].tolist() == [1, 1, 0] and weights[-3:].tolist() == [2 / 3, 2 / 3, 0.1]
    assert (cold.score(strange) > lifted).all()
    unusual = features.is_unusual(fitted.profile.axes(cold.memory), fitted.profile.beyond)
    np.testing.assert_array_equal(weights == 0.1, unusual & (labels == 0))
    assert set(weights[:-3]) == {0.1, 1}
    line = LogisticRegression(solver="newton-cholesky")
    line.fit(fitted.scaling.transform(cold.memory), labels, weights)
    np.testing.assert_allclose(cold.weights, [*line.coef_[0], *line.intercept_])
    assert cold.score(strange).min() > np.quantile(cold.score(warm_up), 0.999)
    cold.learn(pd.Series([0, 0], strange.index[:2]))  # both are taken back
    np.testing.assert_array_equal(cold.score(strange), unlearned)


def test_old_events_but_the_reviewed_are_forgotten(fitted, warm_up, live, truth, learner, monkeypatch):
    short = played(Learner.start(fitted, warm_up, keep=1_000), live, truth)
    reviewed = short.memory["truth"] != stream.UNKNOWN
    assert len(short.memory) == 1_900 + reviewed[:-1_900].sum() and reviewed[:-1_900].all()
    assert reviewed.sum() == 6 and short.place == learner.place == END - BEGIN + 800
    assert short.memory["alert"][-1_900:-900].sum() == 5
    monkeypatch.setattr(stream, "REVIEWED", 4)
    short.learn(pd.Series(dtype=int))
    waiting = short.pending[short.pending < short.now - 1_000]
    latest = reviewed[reviewed].index[-4:]
    assert set(short.memory.index[:-1_000]) == {*latest, *waiting} and len(waiting) == 5
    short.learn(pd.Series(stream.CLOSED, waiting))  # without an answer
    assert short.memory.index[:-1_000].tolist() == latest.tolist()


@pytest.mark.parametrize("rate", [0.2, 0.5, 2.5, 5, 12.34, 300])
@pytest.mark.parametrize("cut", [50, 333, 2_700])
def test_any_rate_is_spent_to_the_last_alert_whatever_the_cut_into_rounds(cold, live, rate, cut, monkeypatch):
    monkeypatch.setattr(Detector, "seen", lambda self, events: np.zeros((len(events), 9)))
    monkeypatch.setattr(Learner, "_risk", lambda self, events, seen: np.linspace(0, 0.9, len(seen)))
    learner = replace(cold, alerts=rate)
    for begin in range(0, len(live), cut):
        learner.watch(live[begin : begin + cut])
        learner.close()
        scored = min(begin + cut, len(live))
        assert (learner.memory["alert"][-scored:] == 1).sum() == math.floor(round(rate * scored / 1_000, 9))


def test_a_refit_keeps_reviews_open_alerts_and_the_budget(learner, live):
    learner = played(replace(learner), live[:0], None)
    new = learner.refit(live[-2_000:])
    shared = new.memory.index.intersection(learner.memory.index)
    kept = ["risk", "alert", "truth", "place"]
    pd.testing.assert_frame_equal(new.memory.loc[shared, kept], learner.memory.loc[shared, kept])
    assert (new.now, new.place, new.begun, new.alerts) == (learner.now, learner.place, learner.begun, 5)
    assert set(new.pending) == set(learner.pending) and new.detector.profile.events == 2_000
    old = learner.pending[0]
    short = learner.refit(live[-1_500:][live[-1_500:].index > old], RULES[:2] + RULES[5:])
    assert {*learner.memory.index[learner.memory["truth"] >= 0]} <= {*short.memory.index}
    assert old in short.pending and short.memory["reconstruction_error"].notna().all()
    assert set(short.pending) == set(learner.pending) and len(short.detector.rules) == len(RULES) - 3
    with refused("A refit needs the latest events"):
        learner.refit(live[:2_000])


def test_what_is_decided_is_handed_over_once_and_what_the_next_event_needs_is_kept(cold, live, truth):
    learner = replace(cold, keep=10)
    decided = list(replay(learner, live[:2_200], truth, batch=300, delay=10))
    block, history = live[2_200:2_400], live[1_200:2_200]
    kept = learner.detector.schema.recent(learner.memory)[COLUMNS]
    pd.testing.assert_frame_equal(kept, history[COLUMNS])
    reasons = [learner.reasons(block, before) for before in (learner.memory, history)]
    pd.testing.assert_frame_equal(*reasons, check_exact=True)
    log = pd.concat([*decided, learner.close()])
    assert log.index.tolist() == live.index[:2_200].tolist()  # nothing lacks, nothing comes twice
    assert log["alert"].groupby(log.index // 1_000).sum().tolist() == [1, 5, 5]


def test_reasons_name_the_latest_confirmed_fraud_that_an_event_resembles_in_time(learner, live):
    frauds = learner.memory[learner.memory["truth"] == 1]
    table = learner.reasons(live, history=live[:0])
    np.testing.assert_array_equal(table["risk"], learner.score(live))
    by_hand = [max(frauds.index[row], default=-1) for row in alike(learner, live, frauds)]
    assert table["resembles"].fillna(-1).tolist() == by_hand
    assert table["resembles"].isna().any() and table["resembles"].nunique() > 1


def clean(numbers, value=1.0) -> pd.DataFrame:
    return pd.DataFrame(value, index=pd.Index(numbers, name="event"), columns=COLUMNS)


def whys(batch: pd.DataFrame, **options) -> list[str]:
    return admit(batch, **options)[1]["why"].tolist()


def test_clean_events_are_admitted_and_numbers_that_come_again_or_late_are_not():
    batch = clean([5, 6, 9])  # with equal values and gaps
    pd.testing.assert_frame_equal(admit(batch, last_event=4)[0], batch)
    admitted, refused = admit(clean([7, 8, 8, 6, 9, 7, 4]), last_event=7)
    assert admitted.index.tolist() == [8, 9] and refused.index.tolist() == [7, 8, 6, 7, 4]
    assert refused["why"].to_list() == ["duplicate", "duplicate", "late", "duplicate", "late"]
    assert whys(clean([1, 2, 3, 4, 5]).set_axis([1, "2", np.nan, 3.5, 1e300])) == ["malformed"] * 4
    admitted, refused = admit(clean([]), last_event=3)
    assert admitted.empty and refused.empty and list(admitted.columns) == COLUMNS


def test_what_is_no_finite_number_is_malformed_and_does_not_move_the_clock():
    no_numbers = [np.nan, np.inf, -np.inf, "1.0", "", None, True, np.bool_(1), b"1", [1], pd.NaT]
    no_numbers += [pd.Timestamp(0), 1e30, 10**400, np.float32(np.inf), np.timedelta64(1), Decimal("sNaN")]
    for value in no_numbers:
        batch = clean([1, 900, 3]).astype(object)
        batch.at[900, "V3"] = value
        admitted, refused = admit(batch)
        assert refused["why"].to_dict() == {900: "malformed"}, value
        assert admitted.index.tolist() == [1, 3] and (admitted.dtypes == np.float64).all()
    good = clean([1, 2])  # a column of text or of truth values, a missing one, a double one
    bad = [good.astype({"V1": str}), good.astype({"V1": bool}), good.drop(columns="V4")]
    for batch in (*bad, pd.concat([good, good[["V4"]]], axis=1)):
        assert whys(batch) == ["malformed"] * 2
    assert whys(good.assign(Amount=[-30.0, 5.0], more="text")) == []  # a refund


@pytest.mark.parametrize("time", [pd.to_datetime, list, lambda days: np.array([1.0, 2, 3, 2, 4, np.nan])])
def test_key_and_time_are_needed_and_time_does_not_fall(time):
    """Dates as dates and as text, and numbers; counts and shares are 0 or more."""
    days = ["2026-01-01", "2026-01-02", "2026-01-03", "2026-01-02", "2026-01-04", None]
    schema = Schema(counts=("n",), shares=("part",), key="who", time="when")
    batch = pd.DataFrame({"n": 1, "part": 0.0, "who": "a", "when": time(days)})
    admitted, refused = admit(batch, schema=schema)
    assert admitted.index.tolist() == [0, 1, 2, 4] and list(admitted) == ["n", "part", "who", "when"]
    assert refused["why"].to_dict() == {3: "late", 5: "malformed"}
    last = admitted["when"].iloc[1]
    assert whys(batch[:2], schema=schema, last_time=last) == ["late"]
    for name, values in {"n": [-1], "part": [-0.1], "who": [None, " Null", {}]}.items():
        for value in values:
            assert whys(batch[:1].assign(**{name: value}), schema=schema) == ["malformed"]


ZONE = dt.timezone(dt.timedelta(hours=2))
NUMBERS = [1, np.float32(2), Decimal(3)]
LOCAL = ["2026-01-01", "2026-01-01T00:00:00.5", dt.date(2026, 1, 2), dt.datetime(2026, 1, 3)]
LOCAL += [pd.Timestamp("2026-01-04"), np.datetime64("2026-01-05"), "2026-01-06 01:00"]
ZONED = ["2026-10-25T02:59:50+02:00", "2026-10-25 02:00:00+01:00", dt.datetime(2026, 10, 26, tzinfo=ZONE)]
ODD = [None, pd.NaT, "", "now", "today", "2026", "5", "01.02.2026", "13/01/2026", "2026-02-30", "9999-12-31"]
ODD += [dt.datetime.min, dt.date.max, np.datetime64("9999-12-31"), np.datetime64("NaT"), True, b"2026-01-01"]
ODD += [[1], 10**5000, np.inf, Decimal("NaN"), dt.time(1), pd.Timedelta(1), np.timedelta64(1), {}, object()]


@pytest.mark.parametrize(
    ("kind", "dtype"),
    [(NUMBERS, "float64"), (LOCAL, "datetime64[ns]"), (ZONED, "datetime64[ns, UTC]")],
)
def test_times_are_of_the_kind_of_the_last_one_or_the_first_and_the_rest_is_malformed(kind, dtype):
    schema = Schema(counts=("n",), time="when")
    others = [time for other in (NUMBERS, LOCAL, ZONED) if other is not kind for time in other]
    times = [*ODD, *kind, *others, *ODD]
    batch = pd.DataFrame({"n": 1, "when": pd.Series(times, dtype=object)})
    admitted, refused = admit(batch, schema=schema)
    assert admitted.index.tolist() == [*range(len(ODD), len(ODD) + len(kind))]
    assert set(refused["why"]) == {"malformed"} and admitted["when"].is_monotonic_increasing
    assert admitted["when"].dtype == dtype
    turned = batch[::-1].set_axis(batch.index)  # others come first, but the last time tells
    assert "late" in whys(turned, schema=schema, last_time=kind[-1])
    assert len(admit(turned, schema=schema, last_time=kind[0])[0])
    assert whys(turned[: len(ODD)], schema=schema, last_time=kind[0]) == ["malformed"] * len(ODD)


@pytest.mark.parametrize("missing", ["refuse", "flag"])
def test_a_missing_number_or_category_is_malformed_or_flagged(missing):
    schema = Schema(counts=("n",), categories=("shop",), key="who", missing=missing)
    good = pd.DataFrame({"n": 1.0, "shop": ["007", 7.0], "who": "a"}).astype(object)
    assert admit(good, schema=schema)[0]["shop"].tolist() == ["007", "7"]
    for name, blank in ((n, b) for n in good for b in (None, np.nan, pd.NaT, "", "NULL", " n/a", "NaN", "-")):
        batch = good.copy()
        batch[name].array[1] = blank
        batch = batch.set_axis([1, 2])
        admitted, refused = admit(batch, schema=schema)
        flagged = missing == "flag" and name != "who"
        assert refused["why"].tolist() == ([] if flagged else ["malformed"])
        assert not flagged or admitted.isna().sum().to_dict() == {"n": 0, "shop": 0, "who": 0} | {name: 1}
    for name, values in {"n": ["x", Decimal("sNaN"), np.inf, -1], "shop": [[1], 1.5]}.items():
        for bad in values:
            assert whys(good.assign(**{name: [bad] * 2}), schema=schema) == ["malformed"] * 2
    assert whys(good.drop(columns="n"), schema=schema) == ["malformed"] * 2


@settings(max_examples=10, deadline=None)
@given(st.lists(st.integers(0, 20), max_size=12), st.sets(st.integers(0, 11)), st.integers(0, 12))
def test_door_is_the_same_for_any_cut_and_loses_no_event(numbers, broken, cut):
    batch = clean(numbers)
    batch.iloc[[row for row in broken if row < len(batch)], 2] = np.nan
    whole, refused = admit(batch, last_event=5)
    first, _ = admit(batch[:cut], last_event=5)
    second, _ = admit(batch[cut:], last_event=int(first.index.max()) if len(first) else 5)
    assert [*first.index, *second.index] == whole.index.tolist() == sorted(set(whole.index))
    assert len(whole) + len(refused) == len(batch)


def test_the_oracle_knows_labels_older_than_the_delay_and_its_blocks_follow_the_clock():
    generator = np.random.default_rng(0)
    inputs, labels = generator.normal(size=(2_000, 9)), (np.arange(2_000) % 50 == 0).astype(int)
    late = full_feedback(inputs, labels, warm_up=300, delay=100, start=400)
    for begin, end, known in ((300, 600, 200), (600, 1_600, 500), (1_600, 2_000, 1_500)):
        by_hand = Classifier().fit(inputs[:known], labels[:known]).probability(inputs[begin:end])
        np.testing.assert_array_equal(late[begin - 300 : end - 300], by_hand)
    np.testing.assert_array_equal(full_feedback(inputs[:900], labels[:900], 30, 100), 0)


def test_drift_by_hand():
    reference, batch = pd.DataFrame({"x": range(1_000)}), pd.DataFrame({"x": [50] * 300 + [950] * 700})
    shares, base = np.array([301, *[1] * 8, 701]) / 1_010, np.full(10, 101 / 1_010)
    by_hand = ((shares - base) * np.log(shares / base)).sum()
    moved = drift(reference, batch).loc["x"]
    assert moved["psi"] == pytest.approx(by_hand) and moved["ks"] == pytest.approx(0.65) and moved["p"] < 0.01
    assert drift(reference, reference).loc["x"].tolist() == [0, 0, 1]
