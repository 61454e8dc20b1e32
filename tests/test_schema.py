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
from helpers.schema import CARDS, TAKEN, Schema
from helpers.settings import AXES, COLUMNS
from helpers.stream import Learner, admit, replay

ROWS = 2_000  # that a detector is fitted on here
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


def sessions(rows: int = 6_000, seed: int = 0) -> pd.DataFrame:
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


def many_tries(facts, thresholds):
    return facts["tries"] > thresholds["tries"]


TRIES = Rule("many_tries", "Nobody tries that often.", "", "the budget", SUSPICIOUS, many_tries)
TABLES = {
    "sessions": (SESSIONS, sessions, usual_book(SESSIONS)),
    "wide": (WIDE, wide, usual_book(WIDE)),
    "small": (SMALL, small, (*usual_book(SMALL), TRIES)),  # a rule may name what the table names
}


@pytest.fixture(scope="module", params=TABLES)
def fitted(request) -> tuple[Schema, pd.DataFrame, Detector]:
    schema, make, book = TABLES[request.param]
    return schema, make(ROWS, seed=1), Detector.fit(make(ROWS), schema=schema, rules=book)


def test_one_call_fits_any_table_and_its_file_serves_it(fitted, tmp_path):
    schema, events, detector = fitted
    detector.save(tmp_path / "detector.zip")
    again = Detector.load(tmp_path / "detector.zip", detector.rules, schema)
    assert again.schema == schema
    scores = detector.score(events)
    np.testing.assert_array_equal(again.score(events), scores)
    for size, until in ((1, 70), (7, 700)):
        parts = [again.score(events[i : i + size]) for i in range(0, until, size)]
        np.testing.assert_array_equal(np.concatenate(parts), scores[:until])
    assert len(np.unique(scores)) > 20
    reasons = detector.reasons(events)
    assert set(reasons["worst_input"]) <= set(schema.columns)
    assert set(reasons["pushed_by"]) <= {*schema.columns, "reconstruction_error", "distance"}
    assert reasons["rules"].str.contains("burst").any()
    assert reasons["rules"].str.contains("many_tries").any() == ("tries" in schema.columns)


def test_signals_see_the_past_only_in_any_batches(fitted):
    schema, events, detector = fitted
    whole = behaviour(events, detector.profile)
    changed = events.copy()
    changed.loc[1_400:, list(schema.columns)] = events.loc[1_400:, list(schema.columns)].to_numpy()[::-1]
    pd.testing.assert_frame_equal(behaviour(changed, detector.profile)[:1_400], whole[:1_400])
    cuts = [0, 1, 200, 700, 701, 1_500, ROWS]
    for history in (lambda a: events[:a], lambda a: schema.recent(events[:a])):
        parts = [behaviour(events[a:b], detector.profile, history(a)) for a, b in pairwise(cuts)]
        pd.testing.assert_frame_equal(pd.concat(parts), whole, check_exact=True)


# --- key, time, window ---------------------------------------------------------------------------


@pytest.fixture(scope="module")
def profile() -> Profile:
    return Profile.fit(quiet(1_500), SMALL)


def quiet(rows: int) -> pd.DataFrame:
    """The small table without anything odd."""
    generator = np.random.default_rng(3)
    paid = 20.0 + np.arange(rows) % 7
    tries, failed = generator.poisson(0.8, rows), generator.uniform(0.05, 0.15, rows)
    return pd.DataFrame({"paid": paid, "tries": tries, "failed": failed})


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({"key": "card", "window": 150}, lambda i: min(i // 2, 1)),
        ({"time": "date", "window": "3 days"}, lambda i: min(i, 3)),
    ],
)
def test_bursts_are_counted_within_the_window_and_among_the_events_of_one_key(given, expected, profile):
    events, hundred = quiet(1_500), np.arange(1_500) // 100
    odd = events.index % 100 == 50
    events.loc[odd, ["tries", "failed"]] = (60, 1.0)
    date = pd.Timestamp("2026-01-01") + pd.to_timedelta(hundred, unit="D")
    events = events.assign(card=hundred % 2, date=date)
    found = behaviour(events, replace(profile, schema=replace(SMALL, **given)))
    assert found["burst"][odd].tolist() == [expected(i) for i in range(15)]


PLAIN = pd.DataFrame({"paid": 1.0, "card": list("aabab"), "day": [1, 1, 2, 5, 5]}, index=range(10, 15))


@pytest.mark.parametrize(
    ("given", "moments", "reach", "recent"),
    [
        ({}, [0, 1, 2, 3, 4], 1_000, [10, 11, 12, 13, 14]),
        ({"window": 2}, [0, 1, 2, 3, 4], 2, [13, 14]),
        ({"time": "day"}, [0, 1, 2, 3, 4], 1_000, [10, 11, 12, 13, 14]),
        ({"key": "card", "window": 2}, [0, 1, 0, 2, 1], 2, [11, 12, 13, 14]),
        ({"time": "day", "window": 3}, [1, 1, 2, 5, 5], 3, [12, 13, 14]),
        ({"key": "card", "time": "day", "window": 3}, [1, 1, 2, 5, 5], 3, [12, 13, 14]),
    ],
)
def test_how_the_window_counts_and_what_has_to_be_kept_for_it(given, moments, reach, recent):
    schema = Schema(amounts=["paid"], **given)
    keys, found, far = schema.clock(PLAIN)
    assert found.tolist() == moments and far == reach
    assert keys.tolist() == ([0, 0, 1, 0, 1] if schema.key else [0] * 5)
    assert schema.recent(PLAIN).index.tolist() == recent and schema.recent(PLAIN[:0]).empty


def test_dates_count_in_seconds():
    dated = PLAIN.assign(day=[f"2026-01-0{day} 00:00:00.5" for day in PLAIN["day"]])
    schema = Schema(axes=["paid"], time="day", window="36 hours")
    _, moments, reach = schema.clock(dated)
    assert np.diff(moments).tolist() == [0, 86_400, 3 * 86_400, 0] and reach == 129_600
    with pytest.raises(ValueError, match=r"day needs dates and a window such as .*; the window is 'soon'"):
        replace(schema, window="soon").clock(dated)
    with pytest.raises(ValueError, match="day needs numbers and a window that is a number; the window is '3"):
        schema.clock(PLAIN)


BAD_EVENTS = {
    "time falls": (lambda e: e[::-1], "day of event 1799 is before .* sort the events by day"),
    "one falls": (lambda e: e.assign(day=e["day"].where(e.index != 70, -1)), "day of event 70 is before"),
    "no time": (lambda e: e.assign(day=e["day"].where(e.index != 1_980)), "day of event 1980 .* is missing"),
    "no key": (lambda e: e.assign(account=e["account"].where(e.index != 70)), "Event 70 has no account"),
    "no day": (lambda e: e.drop(columns="day"), "no column day, which"),
    "no count": (lambda e: e.drop(columns=["count_3_cnt", "day"]), "no column count_3_cnt, day"),
    "below 0": (lambda e: e.assign(count_3_cnt=-1), "Event 0 has -1 in count_3_cnt, .* number of 0 or more"),
    "a share below 0": (lambda e: e.assign(share_8_pct=-0.5), "-0.5 in share_8_pct, .* of 0 or more"),
    "a text": (lambda e: e.assign(share_3_pct="x"), "share_3_pct holds something that is no number"),
}


@pytest.mark.parametrize("kind", BAD_EVENTS)
def test_what_cannot_be_is_one_sentence(kind):
    change, sentence = BAD_EVENTS[kind]
    bad = change(sessions(2_000))
    with pytest.raises(ValueError, match=sentence) as caught:
        SESSIONS.inputs(bad) if "below" in kind or "text" in kind else SESSIONS.clock(bad)
    assert_one_sentence(str(caught.value))


# --- inputs, and what tells nothing --------------------------------------------------------------


def test_amounts_and_counts_are_logarithms_and_the_rest_is_as_it_is():
    schema = Schema(amounts=["paid"], counts=["tries"], shares=["failed"], axes=["x"])
    events = pd.DataFrame({"x": [-3.0, 0], "failed": [0.5, 0], "tries": [7, 0], "paid": [-1.0, 1]})
    expected = [[-np.log(2), np.log(8), 0.5, -3], [np.log(2), 0, 0, 0]]
    before = events.copy()
    np.testing.assert_array_equal(schema.inputs(events), expected)
    assert schema.inputs(schema.inputs(events)).tolist() == expected and events.equals(before)
    for name in ("x", "paid"):
        with pytest.raises(ValueError, match=f"Event 1 has inf in {name}, where a finite number is needed"):
            schema.inputs(events.assign(**{name: [1, np.inf]}))
    inf = np.inf
    with pytest.raises(ValueError, match="Event 0 has -inf in tries, where a number of 0 or more is needed"):
        schema.inputs(events.assign(tries=[-inf, 1]))


def test_a_constant_column_is_left_out_with_a_sentence():
    with pytest.warns(UserWarning, match="one value in it: V3, V7"):
        kept = WIDE.varying(wide(100).assign(V7=0.5, V3=np.nan))
    assert kept == replace(WIDE, axes=tuple(n for n in WIDE.axes if n not in ("V3", "V7")))
    assert WIDE.varying(wide(100)) is WIDE and WIDE.constant(wide(100)[:1]) == list(WIDE.columns)
    with pytest.raises(ValueError, match="Every column has one value in all training events"):
        WIDE.varying(wide(100)[:1])


def test_a_saved_schema_is_compared_by_role():
    keyed = replace(SMALL, key="card", time="day")
    for other, named in (
        (Schema(amounts=["paid", "tries"], shares=["failed"]), "card|key, time, tries"),
        (replace(keyed, counts=[]), "tries"),
        (replace(keyed, time="when", axes=["x"]), "time"),
    ):
        with pytest.raises(
            CourseError, match=rf"^a.zip was .* another schema: ({named}) is not there or has"
        ):
            keyed.check_same(other, "a.zip")
    keyed.check_same(replace(keyed, window=3, label="fraud"), "a.zip")


# --- in service ----------------------------------------------------------------------------------


def test_a_stream_of_any_table_is_admitted_scored_reviewed_and_explained(fitted, tmp_path):
    schema, events, detector = fitted
    numbers = 10**9 + 7 * np.arange(2 * ROWS)  # a clock that rises and leaves gaps
    stream = pd.concat([events, events]).set_axis(numbers)
    if schema.time:
        stream[schema.time] = np.arange(2 * ROWS) // 200
    warm_up, stream = stream[:ROWS], stream[ROWS:]
    admitted, refused = admit(stream, int(warm_up.index[-1]), schema)
    expected = stream[schema.carried].rename_axis("event")
    pd.testing.assert_frame_equal(admitted, expected, check_dtype=False, check_exact=True)
    assert refused.empty
    learner = Learner.start(detector, warm_up)
    for _ in replay(learner, admitted[:1_900], pd.Series(np.arange(ROWS) % 2, stream.index), batch=300):
        pass
    alerts = learner.memory["alert"][ROWS:].to_numpy()
    assert alerts[:1_000].sum() == 5 and (alerts[1_000:] == -1).all()
    learner.save(tmp_path / "learner.zip")
    again, rest = Learner.load(tmp_path / "learner.zip", detector.rules), admitted[1_900:]
    np.testing.assert_array_equal(again.score(rest), learner.score(rest))
    reasons = again.reasons(rest, history=again.memory)
    assert set(reasons["pushed_by"]) <= set(detector.judge.names)


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
    learner, some = Learner.start(detector, events[:1_500]), events[1_500:1_503]
    before = learner.memory.copy()
    for numbers in (
        [0, 1, 2],
        [1_499, 9_000, 9_001],
        [9_001, 9_000, 9_002],
        [9_000, 9_000, 9_001],
        [9e3, 9e4, 9.5],
    ):
        with pytest.raises(CourseError, match=r"let `admit` refuse .*\.$"):
            learner.watch(some.set_axis(numbers))
    with pytest.raises(ValueError, match="no column"):
        learner.watch(some.drop(columns=schema.columns[0]))
    for told, numbers, sentence in (
        ([1], [10**6], "has not seen"),
        ([1, 0], [7, 7], "more than once"),
        ([1, 2], [7, 8], "neither 1 nor 0"),
        (["fraud"], [7], "neither 1 nor 0"),
        ([np.nan], [7], "neither 1 nor 0"),
    ):
        with pytest.raises(CourseError, match=sentence + r".*\.$"):
            learner.learn(pd.Series(told, numbers))
    pd.testing.assert_frame_equal(learner.memory, before)


# --- the dataclass -------------------------------------------------------------------------------


def test_cards_are_what_they_were():
    assert list(CARDS.columns) == COLUMNS and usual_book(CARDS) == RULES
    assert Schema.from_dict(json.loads(json.dumps(CARDS.to_dict()))) == CARDS
    assert CARDS.to_dict() == {"amounts": ["Amount"], "axes": AXES, "label": "Class"}
    assert SESSIONS.carried == [*SESSIONS.columns, "account", "day"] and CARDS.behaviour_axes == AXES
    assert CARDS.inputs_of_judge == [*COLUMNS, "reconstruction_error", "distance"]


BAD = {
    "nothing": ({"label": "fraud"}, "at least one column"),
    "a text": ({"axes": "V1"}, "axes of a schema is a list"),
    "a number": ({"axes": [1]}, "axes of a schema is a list"),
    "two roles": ({"axes": ["a", "b"], "counts": ["a"]}, "but a has more"),
    "label too": ({"axes": ["a", "b"], "label": "a"}, "but a has more"),
    "taken": ({"axes": ["distance"]}, "distance is a name that the course gives"),
    "a taken key": ({"axes": ["x"], "key": "burst"}, "burst is a name that the course gives"),
    "a taken amount": ({"amounts": ["risk"]}, "risk is a name that the course gives"),
    "a second amount": ({"amounts": ["paid", "amount"]}, "amount is a name that the course gives"),
    "an amount that is none": ({"axes": ["amount"]}, "amount is a name that the course gives"),
    "an unknown part": ({"columns": ["a"]}, "no columns; it has amounts, counts"),
    "a window of nothing": ({"axes": ["a"], "window": 0}, "positive number"),
    "a window without end": ({"axes": ["a"], "window": np.inf}, "positive number"),
    "a span without time": ({"axes": ["a"], "window": "7 days"}, "beside a time"),
}


@pytest.mark.parametrize("kind", BAD)
def test_a_schema_that_cannot_be_is_one_sentence(kind):
    values, sentence = BAD[kind]
    with pytest.raises(CourseError, match=sentence) as caught:
        Schema.from_dict(values)
    assert_one_sentence(str(caught.value))


def test_the_first_amount_may_be_called_amount_and_what_is_found_out_is_taken():
    assert Schema(amounts=["amount", "tip"]).columns == ("amount", "tip")
    events = quiet(1_000).assign(day=range(1_000))
    found = behaviour(events, Profile.fit(events, SMALL))
    assert {*found, "reconstruction_error", "label", "risk", "place", "alert", "truth", "why"} == TAKEN


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


def test_the_amounts_are_no_axes_where_two_others_are():
    assert Schema(axes=AXES).behaviour == slice(0, None)
    assert Schema(amounts=["a", "b"], axes=["c"]).behaviour == slice(0, None)
    assert Schema(amounts=["a"], axes=["c", "d"]).behaviour == slice(1, None)
