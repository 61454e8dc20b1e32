"""helpers/encoder.py and helpers/reasons.py: categories, gaps, what a key did before, and words for it."""

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pandas as pd
import pytest
from sandbox import refused

from helpers import encoder
from helpers.detector import Detector, score_file
from helpers.features import Profile, behaviour
from helpers.schema import Schema
from helpers.stream import Learner

CARD = {"key": "card", "time": "day", "missing": "flag"}
SHOPS = Schema(amounts=("paid",), counts=("tries",), categories=("land",), **CARD)
TRAIN, ROWS = 2_000, 3_200


@pytest.fixture(scope="module")
def table() -> pd.DataFrame:
    """60 cards at home in a country, with gaps; the last 30 events of card 7 are of somebody else."""
    draw = np.random.default_rng(5)
    card = draw.integers(60, size=ROWS)
    paid = np.exp(draw.normal(2 + card / 20, 0.3))
    events = pd.DataFrame({"paid": paid, "tries": draw.poisson(1, ROWS).astype(float), "card": card})
    events = events.assign(land=np.array(["DE", "fr", "US"], object)[card % 3], day=np.arange(ROWS) // 100)
    events.loc[draw.random(ROWS) < 0.05, "tries"] = np.nan
    events.loc[draw.random(ROWS) < 0.05, "land"] = None
    events.loc[ROWS - 30 :, ["paid", "tries", "card", "land"]] = [900.0, 9.0, 7, "KP"]
    return events


once = pytest.fixture(scope="module")
schema = once(lambda table: SHOPS.varying(table[:TRAIN]))
detector = once(lambda table: Detector.fit(table[:TRAIN], schema=SHOPS))


def test_each_event_is_compared_with_the_earlier_ones_of_its_key_by_hand(table, schema):
    made = schema.encoded(table)[0]
    logs = np.log1p(table["paid"])
    scaled = ((logs - logs[:TRAIN].mean()) / logs[:TRAIN].std(ddof=0)).clip(-5, 5)
    befores = [np.flatnonzero(table["card"][:event] == card) for event, card in enumerate(table["card"])]
    own = scaled - [scaled[before].sum() / (len(before) + 5) for before in befores]
    assert np.allclose(made["paid_own"], own / own[:TRAIN].std(ddof=0))
    first = made[made["land"] == "KP"].index[0]
    count = (table["card"][:first] == 7).sum()
    assert np.isclose(made["land_new"][first], count / (count + 5))
    assert made["land_new"][first + 1 :].sum() == 0
    assert made["land_rarity"][first] == made["land_rarity"].max() == np.log((TRAIN + 1) / 0.5)
    assert (made["earlier"] == table.groupby("card").cumcount()).all()
    assert (made["tries_missing"] == table["tries"].isna()).all()
    assert made["tries"][table["tries"].isna()].unique() == [table["tries"][:TRAIN].median()]


def test_the_past_alone_counts_in_any_cut_and_after_a_restart(table, schema, detector, tmp_path):
    derived, whole = schema.encoder.derived, schema.encoded(table)[0]
    going, parts = schema.encoder, [schema.encoder.encode(table[:TRAIN])]
    for a, b in pairwise([TRAIN, TRAIN + 1, TRAIN + 2, 2_500, ROWS]):
        part, going = going.step(table[a:b])
        parts.append(part)
    pd.testing.assert_frame_equal(pd.concat(parts)[derived], whole[derived], rtol=1e-9)
    for history in (table[:2_500], table[1_900:2_500]):  # what trained is not counted twice
        after = schema.encoded(table[2_500:], history)[0]
        pd.testing.assert_frame_equal(after[derived], whole[derived][2_500:], rtol=1e-9)
    other = table.copy()
    other.loc[2_500:, ["paid", "card"]] = table.loc[2_500:, ["paid", "card"]].to_numpy()[::-1]
    pd.testing.assert_frame_equal(schema.encoded(other)[0][:2_500], whole[:2_500])

    learner = Learner.start(detector, table[:TRAIN])
    for a, b in pairwise([TRAIN, TRAIN + 1, 2_100, 2_900]):
        learner.watch(table[a:b])
        learner.save(tmp_path / "learner.zip")
        learner = Learner.load(tmp_path / "learner.zip")
    learner.watch(table[2_900:])
    scores = detector.score(table[TRAIN:])
    np.testing.assert_allclose(learner.memory["risk"][TRAIN:], scores, atol=1e-9)
    table.assign(key=0, event=table.index).to_parquet(tmp_path / "all.parquet", row_group_size=TRAIN)
    score_file(detector, tmp_path / "all.parquet", tmp_path / "risks.parquet")
    risks = pd.read_parquet(tmp_path / "risks.parquet")["risk"]
    np.testing.assert_allclose(risks[TRAIN:], scores, atol=1e-9)


def test_one_value_whatever_its_spelling_and_a_state_that_is_bounded(table, schema, monkeypatch):
    spelt = table.assign(land=table["land"].map(lambda land: f" {land.title()}", "ignore"))
    both = SHOPS.varying(spelt[:TRAIN]).encoded(spelt)[0], schema.encoded(table)[0]
    pd.testing.assert_frame_equal(*(one[schema.encoder.derived] for one in both))
    assert encoder.spelt(pd.Series([7.0, 7, "7", " É", None])).tolist() == ["7", "7", "7", "é", ""]
    monkeypatch.setattr(encoder, "MANY", 4)
    shops = table[:TRAIN].assign(land=[f"s{i}" for i in np.arange(TRAIN) // 2], card=1)
    known = SHOPS.varying(shops).encoder
    assert len(known.had) == 4 and (known.encode(shops)["land_new"] > 0).sum() == 3


def test_what_no_encoder_can_learn_from_is_refused_or_left_out_by_name(table):
    with refused("Category land has another value in every event"):
        SHOPS.varying(table.assign(land=[f"s{i}" for i in range(ROWS)]))
    lacks = table.fillna({"tries": 0}).assign(land=table["land"].fillna("DE").mask(table.index == 3))
    with refused("Event 3 has no land: repair it, or use missing='flag'"):
        replace(SHOPS, missing="refuse").varying(lacks)
    with pytest.warns(UserWarning, match="one value in it: tries"):
        kept = SHOPS.varying(table.assign(tries=table["tries"].where(table.index % 200 == 0)))
    assert kept.numbers == ("paid",) and not kept.encoder.gaps


def test_what_nobody_has_done_in_the_training_set_is_odd_when_it_comes_and_a_first_gap_is_filled(table):
    calm = table.assign(tries=1.0 + table.index % 3, land=np.array(["DE", "FR"])[table["card"] % 2])
    detector = Detector.fit(calm[:TRAIN], schema=SHOPS)
    assert not detector.schema.encoded(calm[:TRAIN])[0]["land_new"].any() and not detector.schema.encoder.gaps
    card = calm["card"][TRAIN + 9]
    land = calm["land"].mask(calm.index == TRAIN + 9, "FR" if card % 2 == 0 else "DE")
    moved = calm.assign(land=land, tries=calm["tries"].mask(calm.index == TRAIN + 20))
    scores = detector.score(moved[TRAIN:])
    assert scores[9] > np.quantile(scores, 0.95) and np.isfinite(scores).all()  # 30 are of somebody else
    assert detector.schema.encoded(moved[TRAIN:])[0]["tries_missing"].to_numpy().nonzero()[0].tolist() == [20]
    named = calm.set_axis([f"e{i}" for i in calm.index])  # events that nobody has numbered
    same = SHOPS.varying(named[:TRAIN]).inputs(named[:TRAIN])
    assert np.array_equal(same, detector.schema.inputs(calm[:TRAIN]))
    lone = replace(SHOPS, categories=(), key=None, time=None)
    filled = lone.varying(calm[:TRAIN]).inputs(moved[TRAIN:])
    assert filled[20, 1] == np.log1p(2)
    names = replace(SHOPS, amounts=(), counts=(), time=None).varying(table[:TRAIN])  # no number to compare
    profile = Profile.fit(names.encoded(table[:TRAIN])[0], names, clusters=1)
    assert (behaviour(table[TRAIN:], profile)["unlike_itself"] == 0).all()


def test_who_is_unlike_himself_is_alerted_and_told_in_words(table, detector):
    reasons = detector.reasons(table[TRAIN:])
    strange = reasons[ROWS - 30 - TRAIN :]
    assert strange["risk"][:10].min() > reasons["risk"][: ROWS - 30 - TRAIN].quantile(0.98)
    signals = behaviour(detector.schema.encoded(table[TRAIN:])[0], detector.profile)
    assert signals["new_for_it"].max() == signals["new_for_it"][ROWS - 30] > 0.5
    assert "unlike_itself" in strange["rules"].iloc[0]
    assert "land KP is new for this card." in strange["why"].iloc[0]
    paid = Detector.reasons(detector, table[TRAIN : TRAIN + 1].assign(paid=5_000.5))["why"].item()
    earlier = np.log1p(table["paid"][:TRAIN][table["card"] == table["card"][TRAIN]])
    assert f"paid is 5,000; this card usually has about {np.expm1(earlier.mean()):.3g}, and 99.9 %" in paid
    assert "This card has never done that." in paid and paid.count("paid is") == 1
    common = reasons["why"].str.extract(r"land (\w+) is rare: (\d+) of").dropna()
    assert set(common[0]) == {"KP"} and set(common[1]) == {"0"}
    other = Detector.fit(table[:TRAIN], 1, schema=SHOPS).reasons(table[TRAIN:])
    assert other["why"].equals(reasons["why"]) and not other["risk"].equals(reasons["risk"])
    rare = (1 / (1 - reasons["risk"])).clip(upper=TRAIN).round()
    assert (reasons["one_in"] == rare).all()
