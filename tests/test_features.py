"""helpers/features.py: the profile, the signals, the scaled inputs; the past only, in any batches."""

from dataclasses import replace
from functools import partial
from itertools import pairwise

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sandbox import refused

from helpers import features
from helpers.clusters import Clusters
from helpers.features import Profile, Scaling, behaviour, burst_count, is_unusual
from helpers.schema import Schema
from helpers.settings import AXES, BUDGET, COLUMNS

assert_same = partial(pd.testing.assert_frame_equal, check_exact=True)
N, SHORT = 400, Schema(amounts=("Amount",), axes=tuple(AXES), window=100)  # longer than counts look back


def made(rows: int = 1_000, seed: int = 0) -> pd.DataFrame:
    """Ordinary events that nobody measured."""
    generator = np.random.default_rng(seed)
    amount = np.exp(generator.normal(3, 1, rows))
    return pd.DataFrame(np.column_stack([amount, generator.normal(size=(rows, 6))]), columns=COLUMNS)


def clustered(rows: int) -> pd.DataFrame:
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


once = pytest.fixture(scope="module")
profile = once(lambda: Profile.fit(pd.concat([made(), clustered(N)]), SHORT, clusters=2))
stream = once(lambda: clustered(N))


@pytest.fixture(scope="module")
def signals(stream, profile) -> pd.DataFrame:
    told = behaviour(stream, profile)
    assert (told.nunique() > 1).all() and told["burst"].max() > 8 and told["repeats"].max() > 3
    return told


@settings(max_examples=10, deadline=None)
@given(change=st.integers(1, N - 1), factor=st.sampled_from([0.0, 1e-300, 1.0, 50.0, 1e6]))
def test_the_future_changes_nothing_before_it(stream, profile, signals, change, factor):
    other = stream.copy()
    other.iloc[change:] = stream.iloc[change:].to_numpy()[::-1] * factor
    assert_same(behaviour(other, profile).iloc[:change], signals.iloc[:change])


@settings(max_examples=3, deadline=None)
@given(cuts=st.lists(st.integers(0, N), max_size=8), longer=st.integers(0, 200))
def test_any_cut_into_batches_gives_the_same(stream, profile, signals, cuts, longer):
    back, edges = SHORT.window + longer, pairwise([0, *sorted([*cuts, *range(N - 10, N)]), N])
    parts = [behaviour(stream[a:b], profile, stream[max(a - back, 0) : a]) for a, b in edges]  # some alone
    assert_same(pd.concat(parts), signals)


def test_no_event_and_no_history_are_no_trouble(stream, profile, signals):
    mixed = stream[COLUMNS[::-1]].assign(Class=1)  # nor are other columns
    assert_same(features.facts(behaviour(mixed, profile), mixed), signals.join(stream))
    assert behaviour(stream[:0], profile).shape == (0, 7)
    assert_same(behaviour(stream[-3:], profile, stream[:0]), behaviour(stream[-3:], profile))
    assert behaviour(stream[-3:], profile, stream[-13:-3])["burst"].max() <= 12


def test_the_profile_is_made_of_robust_statistics():
    train = made()
    train.loc[::9, ["V1", "V2"]] *= 9
    train.loc[5, "V3"] = 5_000  # far out, and yet it dwarfs nobody
    profile = Profile.fit(train, seed=2, clusters=2)
    z = profile.z_scores(train)
    assert profile.centre[0] == np.log1p(train["Amount"]).median()
    np.testing.assert_allclose(np.median(np.abs(z), axis=0), 1 / 1.4826)
    unusual = (np.abs(z[:, 1:]) > 3).sum(axis=1) >= 2
    assert unusual.sum() > 5 and profile.beyond == 3 and profile.events == 1_000
    np.testing.assert_array_equal(profile.oddities, z[unusual, 1:])
    distance = Clusters.fit(z, seed=2, clusters=2).distance(z)
    np.testing.assert_array_equal(behaviour(train, profile)["distance"], distance)


@settings(max_examples=30, deadline=None)
@given(
    unusual=st.lists(st.booleans(), min_size=1, max_size=60),
    window=st.integers(1, 70),
    radius=st.sampled_from([0.0, 0.25, 0.5, 2.0]),
    keyed=st.booleans(),
    seed=st.integers(0, 1_000),
)
def test_burst_count_equals_a_plain_loop(unusual, window, radius, keyed, seed):
    generator, n = np.random.default_rng(seed), len(unusual)
    axes = generator.integers(-3, 4, size=(n, 2)).astype(float)
    keys, moments = generator.integers(0, 3, n), np.cumsum(generator.integers(0, 3, n))
    if not keyed:
        keys, moments = np.zeros(n), np.arange(n)
    expected = np.zeros(n, dtype=int)
    for i in np.flatnonzero(unusual):
        for j in np.flatnonzero(unusual[:i]):
            near = ((axes[i] - axes[j]) ** 2).sum() <= radius * radius * (axes[i] ** 2).sum()
            expected[i] += keys[i] == keys[j] and moments[i] - moments[j] <= window and near
    counts = burst_count(np.array(unusual), axes, keys, moments, window, radius)
    np.testing.assert_array_equal(counts, expected)


def test_unusual_is_two_axes_beyond_three_and_alike_ones_count_whoever_comes_between():
    z = np.array([[3.0, -3.0, 3, 3, 3, 3], [3.1, 0, 0, 0, 0, 0], [3.1, -3.1, 0, 0, 0, 0]])
    assert features.count_axes_beyond(z).tolist() == [0, 1, 2]
    assert is_unusual(z).tolist() == [False, False, True]
    assert is_unusual(z[:, :1]).tolist() == [False, True, True]  # where there is one axis, it is enough
    counts = burst_count(np.ones(4, dtype=bool), np.ones((4, 2)), np.array([0, 1, 0, 1]), np.arange(4), 3)
    assert counts.tolist() == [0, 0, 1, 1]  # though no two in a row are of one key


def test_usual_rate_equals_a_plain_loop(profile, stream, signals):
    z = profile.axes(stream)
    gaps = np.linalg.norm(z[:, None] - profile.oddities, axis=2)
    near = (gaps <= features.RADIUS * np.linalg.norm(z, axis=1)[:, None]).sum(axis=1)
    np.testing.assert_allclose(profile.background_rate(z), 1_000 * near / profile.events)
    odd = signals["axes_beyond"] >= 2
    np.testing.assert_array_equal(signals["background_rate"], odd * profile.background_rate(z))
    assert (signals.loc[~odd, ["burst", "repeats"]] == 0).all(axis=None) and not odd.all()
    assert (replace(profile, oddities=np.empty((0, 6))).background_rate(z) == 0).all()  # nothing was unusual


def test_repeats_need_the_same_amount_and_a_nearer_neighbour_than_bursts(profile):
    centre, scale = profile.centre[1:], profile.scale[1:]
    lengths = (20.0, 20.8, 23.0, 23.0)  # 4 % and 10 % of the length apart
    events = pd.DataFrame([[20.0, *(centre + scale * one)] for one in lengths], columns=COLUMNS)
    events.loc[3, "Amount"] = 5_000.0
    signals = behaviour(events, profile)
    assert signals["burst"].tolist() == [0, 1, 2, 3] and signals["repeats"].tolist() == [0, 1, 0, 0]
    assert signals["amount"].tolist() == [20, 20, 20, 5_000]
    np.testing.assert_allclose(signals["amount_z"], profile.z_scores(events)[:, 0])


def test_scaling_has_mean_zero_and_unit_spread_and_bears_a_constant_column(stream):
    scaled = Scaling.fit(stream.assign(V6=2.5)).transform(stream.assign(V6=2.5))
    np.testing.assert_allclose(scaled.mean(axis=0), 0, atol=1e-9)
    np.testing.assert_allclose(scaled.std(axis=0), [1] * 6 + [0])


@pytest.mark.filterwarnings("error")
def test_a_profile_that_cannot_be_learned_is_one_sentence():
    events = made()
    for bad, sentence in (
        (events[:999], "needs 1,000 training events or more, not 999: ask for more rows"),
        (events.assign(V3=1.0), "Column V3 has one value in all training events"),
        (events.assign(V6=events["V6"].where(events.index != 7, 1e60)), "dwarfs all others"),
    ):
        with refused(sentence):
            Profile.fit(bad)


@pytest.mark.filterwarnings("error")
def test_where_nearly_all_are_alike_there_is_a_scale_and_a_distance_all_the_same():
    events = made().assign(**dict.fromkeys(AXES, 0.0))
    events.loc[::100, AXES] = 50.0
    profile = Profile.fit(events, clusters=2)
    distance = profile.distance(profile.z_scores(events))
    assert profile.scale[5] == events["V5"].std(ddof=0) and np.isfinite(distance).all()
    assert np.median(distance[::100]) > np.quantile(distance, 0.98)


def test_no_more_than_a_tenth_is_unusual_however_odd_the_training_part():
    odd = made()
    for place, name in enumerate(AXES):
        odd.loc[odd.index % 3 == place % 3, name] *= 40
    profile = Profile.fit(odd, clusters=1)
    assert profile.beyond > 3 and is_unusual(profile.axes(odd), profile.beyond).mean() <= 0.1
    assert 0 < (behaviour(odd, profile)["axes_beyond"] >= 2).mean() <= 0.1
    values = np.random.default_rng(0).normal(size=(4_000, 3))  # two of three beyond 3: one in 100,000
    calm = pd.DataFrame(values, columns=list("xyz"))  # no fewer are unusual than analysts look at
    profile = Profile.fit(calm, Schema(axes=("x", "y", "z")), clusters=1)
    assert 1.5 < profile.beyond < 3
    assert is_unusual(profile.axes(calm), profile.beyond).mean() == pytest.approx(BUDGET, rel=0.05)
