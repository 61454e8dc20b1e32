"""helpers/schema.py: any table's columns by role, and that everything follows them."""

import json
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pandas as pd
import pytest
from sandbox import refused

from helpers.detector import Detector
from helpers.features import Profile, behaviour
from helpers.rules import RULES, SUSPICIOUS, Rule, rules_for
from helpers.schema import CARDS, TAKEN, Schema
from helpers.settings import AXES, COLUMNS
from helpers.stream import Learner, admit, replay

ROWS = 2_000  # that a detector is fitted on here
COUNTS = tuple(f"count_{i}_cnt" for i in range(14))
SHARES = tuple(f"share_{i}_pct" for i in range(9))
SESSIONS = Schema(counts=COUNTS, shares=SHARES, key="account", time="day", window=7)
SMALL = Schema(amounts=("paid [EUR]",), counts=("tries",), shares=("failed",), axes=("x",))


def campaigns(rows: int, generator: np.random.Generator, share: float = 0.5) -> np.ndarray:
    """(rows,) the number of the short campaign that an event belongs to; -1 for most, which are ordinary."""
    starts = generator.choice(rows - 60, 8, replace=False)
    within = np.full(rows, -1)
    for number, start in enumerate(starts):
        within[start : start + 12] = np.where(generator.random(12) < share, number, -1)
    return within


def sessions(rows: int = 6_000, seed: int = 0) -> pd.DataFrame:
    """Account-days of 200 accounts: small counts, shares that add up, and wild campaigns."""
    generator = np.random.default_rng(seed)
    wild = campaigns(rows, generator, share=0.8)
    usual = np.linspace(0.02, 3, 14)
    rates = np.where(wild[:, None] < 0, usual, usual * generator.choice([1, 30], (8, 14))[wild] + 2)
    table = pd.DataFrame(np.c_[generator.poisson(rates), generator.dirichlet(np.full(9, 20.0), rows)])
    table = table.set_axis([*COUNTS, *SHARES], axis=1).astype(dict.fromkeys(COUNTS, int))
    account = [f"a{i}" for i in np.where(wild < 0, np.arange(rows) % 200, wild)]
    return table.assign(account=account, day=np.arange(rows) // 200)


def quiet(rows: int, seed: int = 3) -> pd.DataFrame:
    """Amounts, some of them refunds, counts, shares and an axis, without anything odd."""
    generator = np.random.default_rng(seed)
    paid = (20.0 + np.arange(rows) % 7) * np.where(generator.random(rows) < 0.02, -1, 1)
    others = [generator.poisson(0.8, rows), generator.uniform(0.05, 0.15, rows), generator.normal(size=rows)]
    return pd.DataFrame(dict(zip(SMALL.columns, [paid, *others], strict=True)))


def small(rows: int = ROWS, seed: int = 0) -> pd.DataFrame:
    events, generator = quiet(rows, seed), np.random.default_rng(seed)
    odd = campaigns(rows, generator) >= 0
    events.loc[odd, ["tries", "failed"]] = np.c_[generator.poisson(60, odd.sum()), np.ones(odd.sum())]
    return events


def many_tries(facts, thresholds):
    return facts["tries"] > thresholds["tries"]


TRIES = Rule("many_tries", "Nobody tries that often.", SUSPICIOUS, many_tries)
TABLES = {
    "sessions": (SESSIONS, sessions, rules_for(SESSIONS)),
    "small": (SMALL, small, (*rules_for(SMALL), TRIES)),  # a rule may name what the table names
}


@pytest.fixture(scope="module", params=TABLES)
def fitted(request) -> tuple[Schema, pd.DataFrame, Detector]:
    schema, make, book = TABLES[request.param]
    return schema, make(ROWS, seed=1), Detector.fit(make(ROWS), schema=schema, rules=book)


def test_one_call_fits_any_table_and_its_file_serves_it(fitted, tmp_path):
    schema, events, detector = fitted
    detector.save(tmp_path / "detector.zip")
    again, scores = Detector.load(tmp_path / "detector.zip", detector.rules), detector.score(events)
    assert again.schema == schema and len(np.unique(scores)) > 20
    edges = pairwise([*range(20), *range(20, 300, 7), ROWS])
    parts = [again.score(events[a:b], events[:a]) for a, b in edges]
    np.testing.assert_allclose(np.concatenate(parts), scores, rtol=0, atol=1e-9)
    reasons = detector.reasons(events)
    assert reasons["rules"].str.contains("burst").any()
    assert reasons["rules"].str.contains("many_tries").any() == ("tries" in schema.columns)


def test_signals_see_the_past_only_in_any_batches(fitted):
    schema, events, detector = fitted
    whole, columns = behaviour(events, detector.profile), list(schema.numbers)
    assert {*whole, *detector.reasons(events[:9])} <= TAKEN
    changed = events.copy()
    changed.loc[1_400:, columns] = events.loc[1_400:, columns].to_numpy()[::-1]
    pd.testing.assert_frame_equal(behaviour(changed, detector.profile)[:1_400], whole[:1_400])
    for history in (lambda a: events[:a], lambda a: schema.recent(events[:a])):
        cuts = pairwise([0, 1, 200, 700, 701, 1_500, ROWS])
        parts = [behaviour(events[a:b], detector.profile, history(a)) for a, b in cuts]
        pd.testing.assert_frame_equal(pd.concat(parts), whole, rtol=1e-9)


def test_bursts_are_counted_within_the_window_and_among_the_events_of_one_key():
    events, hundred, odd = quiet(1_500), np.arange(1_500) // 100, np.arange(1_500) % 100 == 50
    profile = Profile.fit(events, SMALL)
    events.loc[odd, ["tries", "failed"]] = (60, 1.0)
    date = pd.Timestamp("2026-01-01") + pd.to_timedelta(hundred, unit="D")
    events = events.assign(card=hundred % 2, date=date)
    for given, expected in (
        ({"key": "card", "window": 150}, [min(i // 2, 1) for i in range(15)]),
        ({"time": "date", "window": "3 days"}, [min(i, 3) for i in range(15)]),
    ):
        found = behaviour(events, replace(profile, schema=replace(SMALL, **given)))
        assert found["burst"][odd].tolist() == expected


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
    with refused(r"day needs dates and a window such as .*; the window is 7"):
        replace(schema, window=7).clock(dated)
    with refused("day needs numbers and a window that is a number; the window is '3"):
        schema.clock(PLAIN)


@pytest.mark.parametrize(
    ("more", "sentence"),
    [
        ({"day": [1, 1, 0, 5, 5]}, "day of event 12 is before .* sort the events by day"),
        ({"day": [1, 1, 2, 5, np.nan]}, "day of event 14 .* is missing"),
        ({"card": ["a", None, "a", None, "b"]}, "Event 11 has no card"),
        ({"card": ["a", "b", " ", "a", "b"]}, "Event 12 has no card"),
        ({"day": None}, "no column day, which"),
        ({"paid": None, "day": None}, "no column paid, day, which"),
    ],
)
def test_an_event_without_a_moment_or_a_key_is_one_sentence(more, sentence):
    events = PLAIN.assign(**more).drop(columns=[name for name, values in more.items() if values is None])
    with refused(sentence):
        Schema(amounts=["paid"], key="card", time="day").clock(events)


def test_amounts_and_counts_are_logarithms_and_the_rest_is_as_it_is():
    schema = Schema(amounts=["paid"], counts=["tries"], shares=["failed"], axes=["x"])
    events = pd.DataFrame({"x": [-3.0, 0], "failed": [0.5, 0], "tries": [7, 0], "paid": [-1.0, 1]})
    expected = [[-np.log(2), np.log(8), 0.5, -3], [np.log(2), 0, 0, 0]]
    before = events.copy()
    np.testing.assert_array_equal(schema.inputs(events), expected)
    assert schema.inputs(schema.inputs(events)).tolist() == expected and events.equals(before)
    for name, value, need in (
        *((name, value, "a finite number") for name in ("paid", "x") for value in (np.inf, np.nan, "y")),
        *((name, value, "a number of 0 or more") for name in ("tries", "failed") for value in (-0.5, np.inf)),
    ):
        with refused(f"^Event 1 has {value} in {name}, where {need} is needed: repair or drop it[.]$"):
            schema.inputs(events.assign(**{name: [1, value]}))


def test_a_constant_column_is_left_out_with_a_sentence():
    events = quiet(100)
    with pytest.warns(UserWarning, match="one value in it: tries, x"):
        kept = SMALL.varying(events.assign(x=np.nan, tries=3))
    assert kept == replace(SMALL, axes=(), counts=())
    assert SMALL.varying(events) is SMALL and SMALL.constant(events[:1]) == list(SMALL.columns)
    with refused("Every column has one value in all training events"):
        SMALL.varying(events[:1])


def test_a_saved_schema_is_compared_by_role():
    keyed = replace(SMALL, key="card", time="day")
    for other, named in (
        (Schema(amounts=["paid [EUR]", "tries"], shares=["failed"], axes=["x"]), "key, time, tries"),
        (replace(keyed, counts=[]), "tries"),
        (replace(keyed, time="when", axes=["x", "y"], window=3), "time, window"),
    ):
        with refused(f"^a.zip was .* another schema: {named} is not there or has"):
            keyed.check_same(other, "a.zip")
    keyed.check_same(replace(keyed, label="fraud"), "a.zip")


def test_a_stream_of_any_table_is_admitted_scored_reviewed_and_explained(fitted, tmp_path):
    schema, events, detector = fitted
    stream = pd.concat([events, events]).set_axis(10**9 + 7 * np.arange(2 * ROWS))  # a clock with gaps
    stream["day"] = np.arange(2 * ROWS) // 200
    admitted, refused = admit(stream[ROWS:], int(stream.index[ROWS - 1]), schema)
    expected = stream[ROWS:][schema.carried].rename_axis("event")
    pd.testing.assert_frame_equal(admitted, expected, check_dtype=False, check_exact=True)
    learner = Learner.start(detector, stream[:ROWS])
    list(replay(learner, admitted[:1_900], pd.Series(np.arange(2 * ROWS) % 2, stream.index), batch=300))
    alerts = learner.memory["alert"][ROWS:].to_numpy()
    assert refused.empty and alerts[:1_000].sum() == 5 and (alerts[1_000:] == -1).all()
    few = replace(learner, keep=500)
    few.learn(pd.Series(dtype=int))  # the window of the next event, and what was reviewed, of all keys
    reviewed, waiting = (learner.memory["truth"] != -1).sum(), len(learner.pending)
    assert len(few.memory) <= 1_000 + reviewed + waiting < len(learner.memory)
    learner.save(tmp_path / "learner.zip")
    again, rest = Learner.load(tmp_path / "learner.zip", detector.rules), admitted[1_900:]
    np.testing.assert_array_equal(again.score(rest), learner.score(rest))
    assert again.reasons(rest, history=again.memory)["why"].str.len().min() > 20


def test_a_learner_refuses_without_damage_what_cannot_be(fitted):
    schema, events, detector = fitted
    learner, some = Learner.start(detector, events[:1_500]), events[1_500:1_503]
    before = learner.memory.copy()
    for clock in ([1_499, 9_000, 9_001], [9_001, 9_000, 9_002], [9_000] * 3, [9e3, 9e4, 9.5]):
        with refused(r"let `admit` refuse .*\.$"):
            learner.watch(some.set_axis(clock))
    with refused("no column"):
        learner.watch(some.drop(columns=schema.columns[0]))
    for told, sentence in (
        (pd.Series([1], [10**6]), "of event 1000000 is of an event that the learner has not seen"),
        (pd.Series([1, 0], [7, 7]), "comes more than once"),
        *((pd.Series([1, odd], [7, 8]), "of event 8 is neither 1 nor 0") for odd in (2, "fraud", np.nan)),
    ):
        with refused(sentence + r".*\.$"):
            learner.learn(told)
    pd.testing.assert_frame_equal(learner.memory, before)


def test_cards_are_what_they_were():
    assert list(CARDS.columns) == COLUMNS and rules_for(CARDS) == RULES
    assert Schema.from_dict(json.loads(json.dumps(CARDS.to_dict()))) == CARDS
    assert CARDS.to_dict() == {"amounts": ["Amount"], "axes": AXES, "label": "Class"}
    assert SESSIONS.carried == [*SESSIONS.columns, "account", "day"] and CARDS.behaviour_axes == AXES
    assert CARDS.classifier_inputs == [*COLUMNS, "reconstruction_error", "distance"]
    assert Schema(amounts=["a", "b"], axes=["c"]).behaviour == slice(0, None)  # two others must be there
    assert Schema(amounts=["a"], axes=["c", "d"]).behaviour == slice(1, None)
    assert Schema(amounts=["amount", "tip"]).columns == ("amount", "tip")
    assert Schema(axes=["x"], window=0.5).window == 0.5
    assert Schema(axes=["x"], time="t", window="1 ms").window == "1 ms"


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ({"label": "fraud"}, "at least one column"),
        ({"axes": "V1"}, "axes of a schema is a list"),
        ({"axes": [1]}, "axes of a schema is a list"),
        ({"axes": ["a", "b"], "counts": ["a"]}, "but a has more"),
        ({"axes": ["a", "b"], "label": "a"}, "but a has more"),
        *(({"axes": ["a"], "key": name}, "key of a schema is the name of one column") for name in (7, "")),
        ({"axes": ["x"], "key": "burst"}, "burst is a name that the course gives"),
        ({"amounts": ["paid", "amount"]}, "amount is a name that the course gives"),
        ({"axes": ["amount"]}, "amount is a name that the course gives"),
        ({"columns": ["a"]}, "no columns; it has amounts, counts"),
        *(({"axes": ["a"], "window": window}, "positive number") for window in (0, np.inf, "7 days")),
        *(({"axes": ["a"], "time": "t", "window": w}, "a text") for w in ("soon", "7", "9000000", "-7 days")),
    ],
)
def test_a_schema_that_cannot_be_is_one_sentence(values, sentence):
    with refused(sentence):
        Schema.from_dict(values)


def test_a_schema_is_read_from_toml(tmp_path):
    path, lines = tmp_path / "mine.toml", [f"{role} = {names}" for role, names in SMALL.to_dict().items()]
    path.write_text("\n".join(lines), encoding="utf-8-sig")
    assert Schema.from_toml(path) == SMALL
    for content in (b"amounts = [", b"\xff", None):
        path.write_bytes(content) if content else path.unlink()
        with refused("The schema .*mine.toml cannot be read: [A-Z'].*[.]$"):
            Schema.from_toml(path)
