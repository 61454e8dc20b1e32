"""Why an event is risky: a few sentences in the table's own words and units, the same for every seed."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from helpers.schema import Schema

RARE = 0.05  # share of the training events up to which a value is called rare
TOLD = 2  # rules and columns that a reason names at most, of each


def reasons(
    events: pd.DataFrame, scaled: np.ndarray, says: Sequence[list[str]], known: pd.DataFrame, schema: Schema
) -> list[str]:
    """One sentence or some for each of n encoded events.

    Args:
        events: (n, ...) with the schema's columns and, where it has an encoder, what this adds.
        scaled: (n, k) scaled inputs; the largest ones are named.
        says: what the experts say whose rules flag the event.
        known: `Profile.usual`.
    """
    encoder, key = schema.encoder, schema.key
    derived = {name: name.rpartition("_")[::2] for name in (encoder.derived if encoder else ())}
    means = encoder.usual(events).to_dict("records") if key and encoder else [{}] * len(events)
    away = np.abs(scaled)
    for place, name in enumerate(schema.columns):
        kind = derived.get(name, ("", "own"))[1]
        if kind != "own":  # what is common, known or there is no reason
            away[:, place] = np.where(
                events[name] > (-np.log(RARE) if kind == "rarity" else 0), away[:, place], -1
            )

    def said(column: str, row: dict[str, Any], mean: dict[str, float]) -> str:
        name, kind = derived.get(column, (column, ""))
        value = row[name]
        if kind == "new":
            return f"{name} {value} is new for this {key}."
        if kind == "missing" or row.get(f"{name}_missing") or pd.isna(value):
            return f"{name} is missing."
        if kind == "rarity":
            count = f"{encoder.count(name, value):,} of {encoder.events:,} training events have it"
            return f"{name} {value} is rare: {count}."
        low, half, high = known[name]
        mostly = f"usually it is about {plain(half)}"
        if kind and mean["earlier"]:
            mostly = f"this {key} usually has about {plain(mean[name])}"
        side = f"at most {plain(high)}" if value > high else f"at least {plain(low)}"
        rare = "" if low <= value <= high else f", and 99.9 % of the training events have {side}"
        return f"{name} is {plain(value)}; {mostly}{rare}."

    told = []
    order = np.argsort(-away, axis=1, kind="stable")
    for row, mean, words, places in zip(events.to_dict("records"), means, says, order, strict=True):
        columns = [schema.columns[place] for place in places]
        farthest = {derived.get(name, (name,))[0]: name for name in reversed(columns)}  # one of each column
        first = sorted(farthest.values(), key=columns.index)[:TOLD]
        sentences = [*words[:TOLD], *(said(name, row, mean) for name in first)]
        told.append(" ".join(sentences).replace("{key}", str(key)))
    return told


def plain(value: float) -> str:
    """A number as people write it, without exponent, in three digits or as many as its whole part has."""
    value = value or 0  # there is a -0.0
    return f"{value:,.0f}" if abs(value) >= 100 or value == int(value) else f"{value:.3g}"
