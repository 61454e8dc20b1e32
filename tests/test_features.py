"""helpers/features.py: the profile, the signals, the scaled inputs; the past only, in any batches."""

from __future__ import annotations

import json
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from helpers import features
from helpers.crowds import Crowds
from helpers.features import Profile, Scaling, behaviour, burst_count, is_unusual
from helpers.schema import Schema
from helpers.settings import AXES, BUDGET, COLUMNS

N = 1_500  # events of the property tests: longer than the window that counts look back on


def made(rows: int = 3_000, seed: int = 0) -> pd.DataFrame:
    """Ordinary events that nobody measured."""
    generator = np.random.default_rng(seed)
    amount = np.exp(generator.normal(3, 1, rows))
    return pd.DataFrame(np.column_stack([amount, generator.normal(size=(rows, 6))]), columns=COLUMNS)


def crowded(rows: int = N) -> pd.DataFrame:
    """Events of which half are unusual, from few places: many bursts and repeats."""
    generator = np.random.default_rng(1)
    places = generator.normal(0, 8, size=(6, 7))
    events = made(rows, seed=2)
    strange = generator.random(rows) < 0.5
    chosen = places[generator.integers(0, len(places), strange.sum())]
    near = chosen + generator.normal(0, 0.3, chosen.shape) * (generator.random(len(chosen)) < 0.7)[:, None]
    near[:, 0] = np.exp(chosen[:, 0] / 8)
    events.loc[strange] = near
    return events


@pytest.fixture(scope="module")
def profile() -> Profile:
    return Profile.fit(pd.concat([made(), crowded()]))


@pytest.fixture(scope="module")
def stream() -> pd.DataFrame:
    return crowded()


@pytest.fixture(scope="module")
def signals(stream, profile) -> pd.DataFrame:
    return behaviour(stream, profile)


def assert_same_bits(one: pd.DataFrame, other: pd.DataFrame) -> None:
    pd.testing.assert_frame_equal(one, other, check_exact=True)


# --- the past only, in any batches ---------------------------------------------------------------


def test_the_property_tests_see_every_signal(signals):
    assert (signals.nunique() > 1).all() and signals["burst"].max() > 50 and signals["repeats"].max() > 20


values = st.one_of(st.floats(-0.5, 1e6), st.floats(-1e6, 1e6).map(abs), st.sampled_from([0.0, 1e-300]))


@settings(max_examples=25, deadline=None)
@given(change=st.integers(1, N - 1), row=st.lists(values, min_size=7, max_size=7), data=st.data())
def test_the_future_changes_nothing_before_it(stream, profile, signals, change, row, data):
    kind = data.draw(st.sampled_from(["one row", "reversed", "scaled", "repeated past", "shorter"]))
    other = stream.copy()
    if kind == "one row":
        other.iloc[change:] = row
    elif kind == "reversed":
        other.iloc[change:] = stream.iloc[change:].to_numpy()[::-1]
    elif kind == "scaled":
        other.iloc[change:] *= data.draw(st.floats(0, 1e6))
    elif kind == "repeated past":
        other.iloc[change:] = stream.iloc[change - 1].to_numpy()
    else:
        other = other.iloc[:change]
    assert_same_bits(behaviour(other, profile).iloc[:change], signals.iloc[:change])


@settings(max_examples=25, deadline=None)
@given(cuts=st.lists(st.integers(0, N), max_size=12), longer=st.integers(0, 400))
def test_any_cut_into_batches_gives_the_same_bits(stream, profile, signals, cuts, longer):
    borders = [0, *sorted(cuts), N]
    parts = [
        behaviour(stream.iloc[a:b], profile, stream.iloc[max(a - features.WINDOW - longer, 0) : a])
        for a, b in pairwise(borders)
        if a < b
    ]
    assert_same_bits(pd.concat(parts), signals)


def test_one_event_at_a_time_gives_the_same_bits(window, small_train):
    profile, events = Profile.fit(small_train), window[3_000:4_400]
    whole = behaviour(events, profile)
    assert whole["burst"].max() > 3
    parts = [
        behaviour(events.iloc[i : i + 1], profile, events.iloc[max(i - features.WINDOW, 0) : i])
        for i in range(len(events))
    ]
    assert_same_bits(pd.concat(parts), whole)


@settings(max_examples=15, deadline=None)
@given(cuts=st.lists(st.integers(1, N - 1), max_size=8, unique=True))
def test_scaled_inputs_are_the_same_for_any_cut(stream, cuts):
    scaling = Scaling.fit(stream)
    parts = np.split(np.arange(N), sorted(cuts))
    cut = np.concatenate([scaling.transform(stream.iloc[part]) for part in parts])
    np.testing.assert_array_equal(cut, scaling.transform(stream))


# --- each signal, by hand ------------------------------------------------------------------------


def test_the_profile_is_made_of_robust_statistics(small_train):
    profile = Profile.fit(small_train)
    amount = np.log1p(small_train["Amount"])
    assert profile.centre[0] == amount.median()
    assert profile.scale[0] == pytest.approx(1.4826 * (amount - amount.median()).abs().median(), rel=1e-12)
    z = profile.z_scores(small_train)
    np.testing.assert_allclose(np.median(z, axis=0), 0, atol=1e-12)
    np.testing.assert_allclose(np.median(np.abs(z), axis=0), 1 / 1.4826)
    unusual = (np.abs(z[:, 1:]) > 3).sum(axis=1) >= 2
    np.testing.assert_array_equal(profile.oddities, z[unusual, 1:])
    assert profile.events == len(small_train)


def test_distance_is_that_from_the_crowds_of_all_inputs(small_train):
    profile = Profile.fit(small_train, seed=2)
    z = profile.z_scores(small_train)
    np.testing.assert_array_equal(profile.distance(z), Crowds.fit(z, seed=2).distance(z))
    np.testing.assert_array_equal(behaviour(small_train, profile)["distance"], profile.distance(z))


def test_unusual_is_two_axes_beyond_three_on_either_side():
    z = np.array([[3.0, -3.0, 3, 3, 3, 3], [3.1, 0, 0, 0, 0, 0], [3.1, -3.1, 0, 0, 0, 0]])
    assert features.count_axes_beyond(z).tolist() == [0, 1, 2]
    assert features.is_unusual(z).tolist() == [False, False, True]


def plain_burst(unusual, axes, window, radius):
    """The definition, event by event."""
    counts = np.zeros(len(unusual), dtype=int)
    for i in np.flatnonzero(unusual):
        for j in np.flatnonzero(unusual[:i]):
            near = ((axes[i] - axes[j]) ** 2).sum() <= radius * radius * (axes[i] ** 2).sum()
            counts[i] += i - j <= window and near
    return counts


@settings(max_examples=60, deadline=None)
@given(
    unusual=st.lists(st.booleans(), min_size=1, max_size=60),
    window=st.integers(1, 70),
    radius=st.sampled_from([0.0, 0.25, 0.5, 2.0]),
    seed=st.integers(0, 1_000),
)
def test_burst_count_equals_a_plain_loop(unusual, window, radius, seed):
    axes = np.random.default_rng(seed).integers(-3, 4, size=(len(unusual), 2)).astype(float)
    unusual = np.array(unusual)
    expected = plain_burst(unusual, axes, window, radius)
    np.testing.assert_array_equal(burst_count(unusual, axes, window, radius), expected)


def test_the_burst_window_ends_after_its_last_event():
    unusual = np.zeros(1_002, dtype=bool)
    unusual[[0, 1_000]] = True
    assert burst_count(unusual, np.ones((1_002, 6)))[1_000] == 1
    unusual[[1_000, 1_001]] = False, True
    assert burst_count(unusual, np.ones((1_002, 6))).sum() == 0


def test_identical_unusual_events_count_up_to_the_window():
    counts = burst_count(np.ones(1_300, dtype=bool), np.full((1_300, 6), 5.0))
    np.testing.assert_array_equal(counts, np.minimum(np.arange(1_300), 1_000))


def test_usual_rate_equals_a_plain_loop(profile, stream):
    z = profile.z_scores(stream)[:300, 1:]
    gaps = np.linalg.norm(z[:, None] - profile.oddities, axis=2)
    near = (gaps <= features.RADIUS * np.linalg.norm(z, axis=1)[:, None]).sum(axis=1)
    np.testing.assert_allclose(profile.usual_rate(z), 1_000 * near / profile.events)


def test_repeats_need_the_same_amount_and_bursts_do_not(profile):
    events = pd.DataFrame([[5.0, 9, 9, 9, 9, 9, 9]] * 3, columns=COLUMNS)
    events.loc[2, "Amount"] = 5_000.0
    signals = behaviour(events, profile)
    assert signals["burst"].tolist() == [0, 1, 2] and signals["repeats"].tolist() == [0, 1, 0]
    assert signals["amount"].tolist() == [5, 5, 5_000]


def test_repeats_need_a_nearer_neighbour_than_bursts(profile):
    centre, scale = profile.centre[1:], profile.scale[1:]
    rows = [centre + scale * length for length in (20.0, 20.8, 23.0)]  # 4 % and 10 % of the length apart
    events = pd.DataFrame([[20.0, *row] for row in rows], columns=COLUMNS)
    signals = behaviour(events, profile)
    assert signals["burst"].tolist() == [0, 1, 2] and signals["repeats"].tolist() == [0, 1, 0]


def test_counts_of_ordinary_events_are_zero(stream, signals):
    ordinary = signals["axes_beyond"] < 2
    assert ordinary.any() and (signals.loc[ordinary, ["usual", "burst", "repeats"]] == 0).all(axis=None)


def test_history_may_be_short_long_or_absent(stream, profile, signals):
    last = stream.iloc[-3:]
    exact = behaviour(last, profile, stream.iloc[-1_003:-3])
    assert_same_bits(behaviour(last, profile, stream.iloc[:-3]), exact)
    assert_same_bits(exact, signals.iloc[-3:])
    assert_same_bits(behaviour(last, profile, stream.iloc[:0]), behaviour(last, profile))
    assert behaviour(last, profile, stream.iloc[-13:-3])["burst"].max() <= 12


def test_one_event_and_no_event(stream, profile):
    assert behaviour(stream.iloc[:1], profile)[["burst", "repeats"]].to_numpy().tolist() == [[0, 0]]
    assert behaviour(stream.iloc[:0], profile).shape == (0, 7)


def test_column_order_and_further_columns_do_not_matter(stream, profile, signals):
    mixed = stream[COLUMNS[::-1]].assign(Class=1)
    assert_same_bits(behaviour(mixed, profile), signals)


def test_nothing_unusual_at_all():
    generator = np.random.default_rng(0)
    flat = pd.DataFrame(generator.uniform(1, 2, size=(2_000, 7)), columns=COLUMNS)
    profile = replace(Profile.fit(flat), oddities=np.empty((0, 6)), beyond=3.0)
    again = Profile.from_dict(json.loads(json.dumps(profile.to_dict())))
    assert again.oddities.shape == (0, 6)
    for signals in (behaviour(flat, profile), behaviour(flat, again)):
        assert (signals[["axes_beyond", "usual", "burst", "repeats"]] == 0).all(axis=None)


# --- kept and read again -------------------------------------------------------------------------


def test_profile_and_scaling_survive_json(stream, profile, signals):
    again = Profile.from_dict(json.loads(json.dumps(profile.to_dict())))
    assert_same_bits(behaviour(stream, again), signals)
    scaling = Scaling.fit(stream)
    kept = Scaling.from_dict(json.loads(json.dumps(scaling.to_dict())))
    np.testing.assert_array_equal(kept.transform(stream), scaling.transform(stream))


def test_scaling_has_mean_zero_and_unit_spread_and_bears_a_constant_column(stream):
    scaled = Scaling.fit(stream).transform(stream)
    np.testing.assert_allclose(scaled.mean(axis=0), 0, atol=1e-9)
    np.testing.assert_allclose(scaled.std(axis=0), 1)
    constant = stream.assign(V4=2.5)
    assert (Scaling.fit(constant).transform(constant)[:, 4] == 0).all()


# --- bad events ----------------------------------------------------------------------------------


def constant_column(events):
    return events.assign(V3=1.0)


def identical(events):
    return events.assign(**events.iloc[0])


def nearly_all_alike(events):
    rare = pd.DataFrame(0.0, events.index, COLUMNS)
    rare.iloc[np.arange(0, len(events), 200)] = 50.0
    return rare.assign(Amount=events["Amount"])


BAD_TRAINING = {
    "too few": (lambda e: e[:999], "needs 1,000 training events or more, not 999"),
    "none": (lambda e: e[:0], "not 0: ask for more rows"),
    "constant column": (constant_column, "Column V3 has one value in all training events"),
    "all identical": (identical, "Column Amount has one value"),
    "one value dwarfs all": (lambda e: e.assign(V6=e["V6"].where(e.index != 7, 1e60)), "dwarfs all others"),
}


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("kind", BAD_TRAINING)
def test_a_profile_that_cannot_be_learned_is_one_sentence(kind):
    change, sentence = BAD_TRAINING[kind]
    with pytest.raises(ValueError, match=sentence) as caught:
        Profile.fit(change(made()))
    assert str(caught.value).endswith(".") and "\n" not in str(caught.value)


@pytest.mark.filterwarnings("error")
def test_where_nearly_all_are_alike_there_is_a_distance_all_the_same():
    events = nearly_all_alike(made())
    profile = Profile.fit(events)
    distance = profile.distance(profile.z_scores(events))
    odd = (events["V1"] > 0).to_numpy()
    assert np.isfinite(distance).all() and np.median(distance[odd]) > np.quantile(distance[~odd], 0.99)


def test_a_column_that_mostly_has_one_value_has_a_scale_all_the_same():
    events = made()
    rare = events["V5"].where(np.arange(len(events)) % 3 == 0, 0.0)
    profile = Profile.fit(events.assign(V5=rare))
    assert profile.scale[5] == rare.std(ddof=0) and profile.scale[4] != events["V4"].std(ddof=0)


def test_no_more_than_a_tenth_is_unusual_however_odd_the_training_part():
    odd = made()
    for place, name in enumerate(AXES):
        odd.loc[odd.index % 3 == place % 3, name] *= 40
    profile = Profile.fit(odd)
    assert profile.beyond > 3 and is_unusual(profile.axes(odd), profile.beyond).mean() <= 0.1
    assert Profile.from_dict(profile.to_dict()).beyond == profile.beyond
    signals = behaviour(odd, profile)
    assert (signals["axes_beyond"] >= 2).mean() <= 0.1
    calm = made()
    calm.loc[::50, AXES] *= 40  # a fiftieth: more than the alert budget's share, less than a tenth
    assert Profile.fit(calm).beyond == 3


def test_where_there_are_few_axes_no_fewer_are_unusual_than_analysts_look_at():
    few = Schema(axes=("x", "y", "z"))
    values = np.random.default_rng(0).normal(size=(20_000, 3))  # two of three beyond 3: one in 100,000
    calm = pd.DataFrame(values, columns=few.columns)
    profile = Profile.fit(calm, few)
    assert 2 < profile.beyond < 3
    assert is_unusual(profile.axes(calm), profile.beyond).mean() == pytest.approx(BUDGET, rel=0.02)


@pytest.mark.parametrize("copy", [lambda e: -2 * e["V1"], lambda e: e[AXES[:5]].sum(axis=1)])
def test_a_copied_axis_and_a_sum_of_axes_are_no_trouble(copy):
    events = made().assign(V6=0.0)
    profile = Profile.fit(events.assign(V6=copy(events)))
    some = made(50, seed=4)
    kept, broken = some.assign(V6=copy(some)), some.assign(V6=copy(some) + 3)
    calm, odd = (profile.distance(profile.z_scores(e)) for e in (kept, broken))
    assert np.isfinite(calm).all() and (odd > calm).mean() > 0.95  # what always holds is broken


def test_a_refund_lies_on_the_other_side_of_zero(stream, profile):
    refund = profile.z_scores(stream[:2].assign(Amount=[30.0, -30.0]))[:, 0]
    np.testing.assert_allclose(
        refund * profile.scale[0] + profile.centre[0], [np.log(31), -np.log(31)], rtol=1e-12
    )


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize(
    ("column", "value"),
    [("V2", np.nan), ("V6", np.inf), ("V1", -np.inf), ("Amount", np.nan), ("Amount", np.inf)],
)
def test_gaps_and_impossible_values_are_named(profile, stream, column, value):
    bad = stream.set_axis(range(100, 100 + N))
    bad.loc[107, column] = value
    for use in (Profile.fit, Scaling.fit, Scaling.fit(stream).transform, lambda e: behaviour(e, profile)):
        with pytest.raises(ValueError, match=rf"^Event 107 has {value:.1f} in {column}, where a finite"):
            use(bad)


def test_burst_count_refuses_gaps_and_other_lengths():
    for unusual, axes in ((np.ones(3, bool), np.ones((2, 6))), (np.ones(2, bool), np.full((2, 6), np.nan))):
        with pytest.raises(ValueError, match="one finite row of axes for every event"):
            burst_count(unusual, axes)
