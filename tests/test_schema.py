"""helpers/schema.py: any table's columns by role, and that everything follows them."""

from __future__ import annotations

import json
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pandas as pd
import pytest
from sandbox import assert_one_sentence

from helpers.detector import Detector
from helpers.features import Profile, behaviour
from helpers.files import CourseError
from helpers.rules import RULES, SUSPICIOUS, Rule, usual_book
from helpers.schema import CARDS, Schema
from helpers.settings import AXES, COLUMNS
from helpers.stream import Learner, admit, replay

ROWS = 6_000
COUNTS = tuple(f"count_{i}_cnt" for i in range(14))
SHARES = tuple(f"share_{i}_pct" for i in range(9))
SESSIONS = Schema(counts=COUNTS, shares=SHARES, key="account", time="day", window=7)
WIDE = Schema(amounts=("Amount [EUR]",), axes=tuple(f"V{i}" for i in range(1, 29)))
SMALL = Schema(amounts=("paid",), counts=("tries",), shares=("failed",))


def episodes(rows: int, generator: np.random.Generator, share: float = 0.5) -> np.ndarray:
    """(rows,) the number of the short episode that an event belongs to; -1 for most, which are ordinary."""
    starts = generator.choice(rows - 60, 8, replace=False)
    within = np.full(rows, -1)
    for number, start in enumerate(starts):
        within[start : start + 12] = np.where(generator.random(12) < share, number, -1)
    return within


def sessions(rows: int = ROWS, seed: int = 0) -> pd.DataFrame:
    """Account-days of 200 accounts: small counts, shares that add up, and wild episodes."""
    generator = np.random.default_rng(seed)
    wild = episodes(rows, generator, share=0.8)
    usual = np.linspace(0.02, 3, 14)
    rates = np.where(wild[:, None] < 0, usual, usual * generator.choice([1, 30], (8, 14))[wild] + 2)
    table = pd.DataFrame(
        np.column_stack([generator.poisson(rates), generator.dirichlet(np.full(9, 20.0), rows)]),
        columns=[*COUNTS, *SHARES],
    )
    account = np.where(wild < 0, np.arange(rows) % 200, wild)
    return table.astype(dict.fromkeys(COUNTS, int)).assign(
        account=[f"a{i}" for i in account], day=np.arange(rows) // 200
    )


def wide(rows: int = ROWS, seed: int = 0) -> pd.DataFrame:
    """28 axes with heavy tails, and an amount that may be a refund."""
    generator = np.random.default_rng(seed)
    values = generator.standard_t(4, (rows, 29))
    values[:, 0] = np.exp(generator.normal(3, 1, rows)) * np.where(generator.random(rows) < 0.02, -1, 1)
    odd = episodes(rows, generator)
    values[:, 1:] += np.where(odd[:, None] < 0, 0, generator.normal(0, 9, (8, 28))[odd])
    return pd.DataFrame(values, columns=WIDE.columns)


def small(rows: int = ROWS, seed: int = 0) -> pd.DataFrame:
    generator = np.random.default_rng(seed)
    odd = episodes(rows, generator) >= 0
    return pd.DataFrame(
        {
            "paid": np.exp(generator.normal(3, 1, rows)),
            "tries": generator.poisson(np.where(odd, 60, 0.8)),
            "failed": np.where(odd, 1, generator.beta(5, 45, rows)),
        }
    )


TABLES = {"sessions": (SESSIONS, sessions), "wide": (WIDE, wide), "small": (SMALL, small)}
TABLES_BY_SCHEMA = dict(TABLES.values())


@pytest.fixture(scope="module", params=TABLES)
def fitted(request) -> tuple[Schema, pd.DataFrame, Detector]:
    schema, make = TABLES[request.param]
    return schema, make(seed=1), Detector.fit(make(), schema=schema)


def test_one_call_fits_any_table_and_its_file_serves_it(fitted, tmp_path):
    schema, events, detector = fitted
    detector.save(tmp_path / "detector.zip")
    again = Detector.load(tmp_path / "detector.zip", schema=schema)
    assert again.schema == schema
    scores = detector.score(events)
    np.testing.assert_array_equal(again.score(events), scores)
    parts = [again.score(events[i : i + 701]) for i in range(0, ROWS, 701)]
    np.testing.assert_array_equal(np.concatenate(parts), scores)
    np.testing.assert_array_equal([again.score(events[i : i + 1])[0] for i in range(50)], scores[:50])
    assert len(np.unique(scores)) > 20


def test_reasons_are_in_the_tables_own_words(fitted):
    schema, events, detector = fitted
    reasons = detector.reasons(events)
    assert set(reasons["worst_input"]) <= set(schema.columns)
    assert set(reasons["pushed_by"]) <= set(schema.inputs_of_judge)
    assert reasons["rules"].str.len().gt(0).any()


def test_signals_see_the_past_only_in_any_batches(fitted):
    schema, events, detector = fitted
    whole = behaviour(events, detector.profile)
    changed = events.copy()
    changed.loc[4_000:, list(schema.columns)] = events.loc[4_000:, list(schema.columns)].to_numpy()[::-1]
    pd.testing.assert_frame_equal(behaviour(changed, detector.profile)[:4_000], whole[:4_000])
    cuts = [0, 1, 500, 1_700, 1_701, 4_300, ROWS]
    parts = [behaviour(events[a:b], detector.profile, history=events[:a]) for a, b in pairwise(cuts)]
    pd.testing.assert_frame_equal(pd.concat(parts), whole, check_exact=True)
    kept = behaviour(events[4_300:], detector.profile, history=schema.recent(events[:4_300]))
    pd.testing.assert_frame_equal(kept, whole[4_300:], check_exact=True)


# --- key, time, window ---------------------------------------------------------------------------


def quiet(rows: int) -> pd.DataFrame:
    """The small table without anything odd."""
    generator = np.random.default_rng(3)
    paid = 20.0 + np.arange(rows) % 7
    tries, failed = generator.poisson(0.8, rows), generator.uniform(0.05, 0.15, rows)
    return pd.DataFrame({"paid": paid, "tries": tries, "failed": failed})


def test_bursts_are_counted_among_the_events_of_one_key():
    rows = 2_000
    events = quiet(rows)
    odd = events.index.isin(range(1_000, 1_040, 2))
    events.loc[odd, ["tries", "failed"]] = (60, 1.0)
    keyed = replace(SMALL, key="card")
    cards = events.assign(card=np.where(events.index % 4 == 0, "one", "other"))
    burst = behaviour(cards, Profile.fit(cards, keyed))["burst"][odd].tolist()
    alone = behaviour(events, Profile.fit(events, SMALL))["burst"][odd].tolist()
    assert alone == list(range(20))
    assert burst == [i // 2 for i in range(20)]


@pytest.mark.parametrize("window", [3, "3 days"])
def test_a_window_of_time_forgets_what_is_older(window):
    rows = 1_500
    day = np.arange(rows) // 100
    events = quiet(rows)
    events["day"] = day if window == 3 else pd.Timestamp("2026-01-01") + pd.to_timedelta(day, unit="D")
    odd = events.index % 100 == 50
    events.loc[odd, ["tries", "failed"]] = (60, 1.0)
    schema = replace(SMALL, time="day", window=window)
    burst = behaviour(events, Profile.fit(events, schema))["burst"][odd].tolist()
    assert burst[:6] == [0, 1, 2, 3, 3, 3]


def test_time_that_falls_and_keys_that_lack_are_one_sentence():
    events = sessions(2_000)
    profile = Profile.fit(events, SESSIONS)
    for bad, sentence in (
        (events[::-1], "day of event .* is before .* sort the events by day"),
        (events.assign(account=events["account"].where(events.index != 70)), "Event 70 has no account"),
        (events.drop(columns="day"), "no column day"),
        (events.drop(columns="count_3_cnt"), "no column count_3_cnt"),
        (events.assign(count_3_cnt=-1), "-1 in count_3_cnt, where a number of 0 or more"),
        (events.assign(share_3_pct="x"), "share_3_pct holds something that is no number"),
    ):
        with pytest.raises(ValueError, match=sentence) as caught:
            behaviour(bad, profile)
        assert_one_sentence(str(caught.value))


# --- what tells nothing, and a book of one's own -------------------------------------------------


def test_a_constant_column_is_left_out_with_a_sentence():
    with pytest.warns(UserWarning, match="one value in it: V3, V7"):
        detector = Detector.fit(wide().assign(V7=0.5, V3=0), schema=WIDE)
    assert detector.schema == replace(WIDE, axes=tuple(n for n in WIDE.axes if n not in ("V3", "V7")))
    detector.score(wide(seed=1))


def many_tries(facts, thresholds):
    return facts["tries"] > thresholds["tries"]


TRIES = Rule("many_tries", "Nobody tries that often.", "", "the budget", SUSPICIOUS, many_tries)


def test_a_rule_names_what_the_table_names(tmp_path):
    book = (*usual_book(SMALL), TRIES)
    detector = Detector.fit(small(), schema=SMALL, rules=book)
    assert detector.reasons(small(seed=1))["rules"].str.contains("many_tries").any()
    detector.save(tmp_path / "detector.zip")
    again = Detector.load(tmp_path / "detector.zip", rules=book)
    pd.testing.assert_frame_equal(again.reasons(small(seed=1)), detector.reasons(small(seed=1)))


def test_a_book_that_needs_what_the_table_lacks_is_one_sentence():
    with pytest.raises(ValueError, match="rule many_tries needs tries, which these events lack") as caught:
        Detector.fit(wide(), schema=WIDE, rules=(*usual_book(WIDE), TRIES))
    assert_one_sentence(str(caught.value))
    with pytest.raises(ValueError, match="rule high_amount needs amount_z") as caught:
        Detector.fit(sessions(), schema=SESSIONS, rules=RULES)
    assert_one_sentence(str(caught.value))


# --- in service ----------------------------------------------------------------------------------


def test_a_stream_of_any_table_is_admitted_scored_reviewed_and_explained(fitted, tmp_path):
    schema, events, detector = fitted
    numbers = 10**9 + 7 * np.arange(ROWS)  # a clock that rises and leaves gaps
    warm_up = TABLES_BY_SCHEMA[schema]().set_axis(numbers)
    events = events.set_axis(numbers + 7 * ROWS)
    if schema.time:
        events[schema.time] += warm_up[schema.time].iloc[-1] + 1
    admitted, refused = admit(events, int(numbers[-1]), schema)
    pd.testing.assert_frame_equal(
        admitted, events[schema.carried].rename_axis("event"), check_dtype=False, check_exact=True
    )
    assert refused.empty
    truth = pd.Series(np.arange(ROWS) % 2, events.index)
    learner = Learner.start(detector, warm_up)
    for _ in replay(learner, admitted[:3_000], truth, batch=300, delay=7_000):
        pass
    alerts = learner.memory["alert"][ROWS:].to_numpy()
    assert [alerts[i : i + 1_000].sum() for i in range(0, 3_000, 1_000)] == [5, 5, 5]
    assert (learner.memory["truth"] >= 0).sum() == 10  # those of the third block are not reviewed yet
    learner.save(tmp_path / "learner.zip")
    again = Learner.load(tmp_path / "learner.zip")
    rest = admitted[3_000:3_100]
    np.testing.assert_array_equal(again.score(rest), learner.score(rest))
    reasons = again.reasons(rest, history=again.memory)
    assert set(reasons["pushed_by"]) <= set(schema.inputs_of_judge)


def test_what_is_no_event_of_the_schema_is_refused():
    events = sessions(100)[:6].set_axis(range(1, 7)).astype({"count_3_cnt": object, "account": object})
    events.loc[2, "count_3_cnt"] = -1
    events.loc[3, "account"] = None
    events["day"] = [4, 4, 4, 3, np.inf, 5]
    admitted, refused = admit(events, 0, SESSIONS, last_time=4)
    assert admitted.index.tolist() == [1, 6]
    assert refused["why"].to_dict() == {2: "malformed", 3: "malformed", 4: "late", 5: "malformed"}
    dated = events.assign(day=["2026-01-02", "2026-01-02", "", "2026-01-01", "soon", "2026-01-03"])
    assert admit(dated, 0, SESSIONS)[1]["why"].to_dict() == refused["why"].to_dict()


def test_a_learner_refuses_without_damage_what_cannot_be(fitted):
    schema, events, detector = fitted
    learner = Learner.start(detector, TABLES_BY_SCHEMA[schema]())
    learner.watch(events[:1_500].set_axis(range(ROWS, ROWS + 1_500)).assign(**later(schema, 1_500)))
    before, some = learner.memory.copy(), events[:3].assign(**later(schema, 3, 10_000))
    for numbers in ([0, 1, 2], [ROWS + 1_499, 9_000, 9_001], [9_002, 9_001, 9_000], [9_000, 9_000, 9_001]):
        with pytest.raises(CourseError) as caught:
            learner.watch(some.set_axis(numbers))
        assert_one_sentence(str(caught.value))
    with pytest.raises(CourseError, match="whole event numbers"):
        learner.watch(some.set_axis([9_000.0, 9_000.5, 9_001.0]))
    with pytest.raises(ValueError, match="no column"):
        learner.watch(some.set_axis([9_000, 9_001, 9_002]).drop(columns=schema.columns[0]))
    for reviews, sentence in (
        (pd.Series([1], [10**6]), "has not seen"),
        (pd.Series([1, 0], [7, 7]), "more than once"),
        (pd.Series([1, 2], [7, 8]), "neither 1 nor 0"),
        (pd.Series(["fraud"], [7]), "neither 1 nor 0"),
        (pd.Series([np.nan], [7]), "neither 1 nor 0"),
    ):
        with pytest.raises(CourseError, match=sentence) as caught:
            learner.learn(reviews)
        assert_one_sentence(str(caught.value))
    pd.testing.assert_frame_equal(learner.memory, before)


def later(schema: Schema, rows: int, days: int = 1_000) -> dict:
    return {schema.time: np.arange(rows) // 200 + days} if schema.time else {}


# --- the dataclass -------------------------------------------------------------------------------


def test_cards_are_what_they_were():
    assert list(CARDS.columns) == COLUMNS and usual_book(CARDS) == RULES
    assert Schema.from_dict(json.loads(json.dumps(CARDS.to_dict()))) == CARDS


BAD = {
    "nothing": ({"label": "fraud"}, "at least one column"),
    "a text": ({"axes": "V1"}, "axes of a schema is a list"),
    "two roles": ({"axes": ["a", "b"], "counts": ["a"]}, "but a has more"),
    "label too": ({"axes": ["a", "b"], "label": "a"}, "but a has more"),
    "taken": ({"axes": ["distance"]}, "distance is a name that the course gives"),
    "an unknown part": ({"columns": ["a"]}, "no columns; it has amounts, counts"),
    "a window of nothing": ({"axes": ["a"], "window": 0}, "positive number"),
    "a span without time": ({"axes": ["a"], "window": "7 days"}, "beside a time"),
}


@pytest.mark.parametrize("kind", BAD)
def test_a_schema_that_cannot_be_is_one_sentence(kind):
    values, sentence = BAD[kind]
    with pytest.raises(CourseError, match=sentence) as caught:
        Schema.from_dict(values)
    assert_one_sentence(str(caught.value))


def test_a_schema_is_read_from_toml(tmp_path):
    path = tmp_path / "mine.toml"
    path.write_text('amounts = ["paid"]\ncounts = ["tries"]\nshares = ["failed"]\n', encoding="utf-8-sig")
    assert Schema.from_toml(path) == SMALL
    for content, sentence in (
        (b"amounts = [", "is not TOML"),
        (b"\xff", "is not TOML"),
        (b"axes = 3", "list"),
    ):
        path.write_bytes(content)
        with pytest.raises(CourseError, match=sentence) as caught:
            Schema.from_toml(path)
        assert_one_sentence(str(caught.value))
    with pytest.raises(CourseError, match="cannot be read: No such file"):
        Schema.from_toml(tmp_path / "none.toml")


def test_axes_alone_are_axes():
    assert Schema(axes=AXES).behaviour == slice(0, None)
    assert Schema(amounts=["a", "b"], axes=["c"]).behaviour == slice(0, None)
    assert Schema(amounts=["a"], axes=["c", "d"]).behaviour == slice(1, None)
