"""Columns as people have them become numbers: categories, gaps, and what each key has done before."""

import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Any, Self

import numpy as np
import pandas as pd

from helpers.files import CourseError

PRIOR = 5.0  # events that the mean of all keys counts for in the mean of one
FAR = 5.0  # standard deviations: no event moves the mean of its key as if it were farther off
MANY = 100  # values of a category that are remembered of a key; after them nothing is new for it
_BETWEEN = "\x1f"  # no text of a table holds this sign, which ASCII made to separate


def spelt(column: pd.Series) -> pd.Series:
    """Values as text, one spelling each: lower case, without padding; a gap is ''."""
    codes, values = pd.factorize(column)
    texts = np.array([*map(_spelling, values), ""], dtype=object)  # the last is for the code of a gap, -1
    return pd.Series(texts[codes], column.index, dtype=object)


def _spelling(value: Any) -> str:
    whole = isinstance(value, float) and value.is_integer()
    return unicodedata.normalize("NFC", str(int(value) if whole else value)).strip().casefold()


@dataclass(frozen=True)
class Encoder:
    """Turns a table into inputs, as the training set has taught. It looks at the past only.

    A category gives `_rarity`, minus the logarithm of the share of training events with this value; a column
    with gaps gives `_missing`, 1 where one is. With a key, each number gives `_own`: how far it is from the
    mean of the key's earlier events, in standard deviations. This mean starts at the mean of all keys, which
    counts for five events. Each category then gives `_new`, up to 1 where the key never had this value.

    Attributes:
        schema: the columns as they come, a `Schema`, whose module imports this one.
        fill, gaps: column -> its training median, which fills a gap; the columns with gaps in training.
        common: category -> value -> training events with this value.
        scaling: (3, k) mean and standard deviation of the k numbers, standard deviation of what is `_own`.
        past: one row per key: its events so far, the sum of each scaled number, the values of each category.
        had: every category, key and value that came together so far, each as one text.
        events, first, known: size n of the training set, the number of its first event, if it has one, and
            (n,) what tells its events from others.
    """

    schema: Any
    fill: dict[str, float]
    gaps: list[str]
    common: dict[str, dict[str, int]]
    scaling: np.ndarray = field(default_factory=lambda: np.zeros((3, 0)))
    past: pd.DataFrame = field(default_factory=pd.DataFrame)
    had: frozenset[str] = frozenset()
    events: int = 0
    first: int | None = None
    known: np.ndarray = field(default_factory=lambda: np.zeros(0, np.uint64))

    def __post_init__(self) -> None:
        object.__setattr__(self, "had", frozenset(self.had))  # from a file comes a list

    def kept(self) -> dict[str, Any]:
        """What a file holds of it."""
        return vars(self) | {"had": sorted(self.had)}

    @classmethod
    def fit(cls, events: pd.DataFrame, schema: Any) -> Self:
        """Learn from the training set, (n, ...) with the schema's columns; each key's past ends there."""
        numbers = schema.table(events, schema.numbers).apply(pd.to_numeric, errors="coerce").astype(float)
        gaps = [name for name in numbers if events[name].isna().any()]
        common = {name: spelt(events[name]).value_counts().to_dict() for name in schema.categories}
        for name, counts in common.items():
            if len(counts) == len(events):
                raise CourseError(
                    f"Category {name} has another value in every event, so none can be common: leave it out, "
                    "or name it as the key."
                )
        first = int(events.index[0]) if pd.api.types.is_integer_dtype(events.index) else None
        fill = numbers.median().to_dict()
        encoder = cls(schema, fill, gaps, common, events=len(events), first=first)
        if schema.key:
            table = encoder.filled(events)
            inputs = schema.inputs(table)
            spread = np.where(inputs.std(axis=0) > 0, inputs.std(axis=0), 1)
            nothing = pd.DataFrame(0.0, pd.Index([], dtype=object), ["events", *numbers, *schema.categories])
            scaling = np.array([inputs.mean(axis=0), spread, np.ones(len(spread))])
            encoder = replace(encoder, scaling=scaling, past=nothing)
            own, after = encoder._own(table)
            scaling[2] = own[encoder.own].std(ddof=0).replace(0, 1)
            encoder = replace(after, known=encoder._told_apart(table))
        return encoder

    @property
    def own(self) -> list[str]:
        """What compares a key with its past."""
        return [f"{name}_own" for name in self.schema.numbers] if self.schema.key else []

    @property
    def new(self) -> list[str]:
        """What says that a key has never had this value."""
        return [f"{name}_new" for name in self.schema.categories] if self.schema.key else []

    @property
    def derived(self) -> list[str]:
        """The columns that come out of it, beside those that went in."""
        rarity = [f"{name}_rarity" for name in self.schema.categories]
        return [*rarity, *(f"{name}_missing" for name in self.gaps), *self.own, *self.new]

    @property
    def made(self) -> list[str]:
        """What it adds to a table: `derived`, other flags of gaps and, with a key, what came `earlier`."""
        filled = [f"{name}_missing" for name in self._may_lack() if name not in self.gaps]
        return [*self.derived, *filled, *(["earlier"] if self.schema.key else [])]

    def _may_lack(self) -> Iterable[str]:
        return self.fill if self.schema.missing == "flag" else ()

    @property
    def columns(self) -> tuple[str, ...]:
        """The inputs: amounts first, then with a key what is derived alone, because it says what is new."""
        return (*(self.schema.amounts if self.schema.key else self.schema.numbers), *self.derived)

    def count(self, name: str, value: Any) -> int:
        """Training events that have this value of a category."""
        return self.common[name].get(_spelling(value), 0)

    def usual(self, events: pd.DataFrame) -> pd.DataFrame:
        """Mean of the key's earlier events, (n, k), in the units of the k numbers, and how many there were
        (`earlier`)."""
        mean, spread, typical = self.scaling
        scaled, count = (self.schema.inputs(events) - mean) / spread, events["earlier"].to_numpy()[:, None]
        sums = (scaled - events[self.own].to_numpy() * typical) * (count + PRIOR)
        means = mean + spread * sums / np.maximum(count, 1)
        logs = len(self.schema.amounts) + len(self.schema.counts)
        means[:, :logs] = np.copysign(np.expm1(np.abs(means[:, :logs])), means[:, :logs])
        table = pd.DataFrame(means.round(9), events.index, list(self.schema.numbers))
        return table.assign(earlier=events["earlier"])

    def encode(self, events: pd.DataFrame) -> pd.DataFrame:
        """(n, ...) events and, beside their own columns, the `derived` ones; as they are if they have these.
        They are the training set, if its first event is their first; otherwise they follow on the past."""
        return self.step(events)[0]

    def step(self, events: pd.DataFrame) -> tuple[pd.DataFrame, Self]:
        """What `encode` gives, and the encoder of the events after them."""
        if self.made and set(self.made) <= set(events.columns):
            return events, self
        table = self.filled(events)
        made = {}
        for name in self.schema.categories:
            count = spelt(table[name]).map(self.common[name]).fillna(0).to_numpy(np.float64)
            made[f"{name}_rarity"] = np.log((self.events + 1) / (count + 0.5))
        for name in self._may_lack():
            made[f"{name}_missing"] = events[name].isna().to_numpy(np.float64)
        table, encoder = table.assign(**made), self
        if self.schema.key:
            own, encoder = self._before(table)._own(table)
            table = table.join(own)
        return table, encoder

    def filled(self, events: pd.DataFrame) -> pd.DataFrame:
        """The columns that the schema names, with the training median in every gap."""
        table = self.schema.table(events, self.schema.carried)
        if self.schema.missing == "flag":
            return table.fillna(self.fill)
        for name in self.schema.categories:
            if (gap := table[name].isna()).any():
                raise ValueError(f"Event {gap.idxmax()} has no {name}: repair it, or use missing='flag'.")
        return table.copy()

    def after(self, history: pd.DataFrame) -> Self:
        """The encoder of the events after these; what the training set holds of them is not counted again."""
        filled = self.filled(history)
        if self.schema.key and self._before(filled) is self:
            history = history[~np.isin(self._told_apart(filled), self.known)]
        return self.step(history)[1]

    def only(self, events: pd.DataFrame, more: Iterable[str]) -> tuple[pd.DataFrame, pd.DataFrame]:
        """What a process that serves some keys keeps of it: the past of these events' keys and of `more`, and
        the categories that these had, in a column `text`."""
        keys = {*spelt(events[self.schema.key]), *more} if self.schema.key else set()
        had = sorted(text for text in self.had if text.split(_BETWEEN)[1] in keys)
        return self.past[self.past.index.isin(keys)], pd.DataFrame({"text": had}, dtype=object)

    def going_on(self, past: pd.DataFrame, had: Iterable[str]) -> Self:
        """This encoder with what `only` kept in place of what it knew of the same keys."""
        others = self.past.drop(past.index, errors="ignore")
        return replace(self, past=pd.concat([past, others]), had=self.had.union(had))

    def _before(self, table: pd.DataFrame) -> Self:
        """This encoder; without any past, if the table begins with the first event of the training set."""
        first = len(table) and self.first in (None, table.index[0])
        if first and self._told_apart(table[:1])[0] == self.known[0]:
            return replace(self, past=self.past[:0], had=frozenset())
        return self

    def _told_apart(self, table: pd.DataFrame) -> np.ndarray:
        """One hash per event, of its number, key and values."""
        values = pd.DataFrame(self.schema.inputs(table), table.index)
        return pd.util.hash_pandas_object(values.assign(key=spelt(table[self.schema.key]))).to_numpy()

    def _own(self, table: pd.DataFrame) -> tuple[pd.DataFrame, Self]:
        """Compare every event with the earlier ones of its key; and the encoder of the events after them."""
        mean, spread, typical = self.scaling
        scaled, keys = (self.schema.inputs(table) - mean) / spread, spelt(table[self.schema.key])
        codes, names = pd.factorize(keys)
        known = self.past.index.get_indexer(names)
        before = self.past.reindex(names, fill_value=0.0).to_numpy()

        capped = scaled.clip(-FAR, FAR)
        each = pd.DataFrame(capped).groupby(codes)
        count = before[codes, 0] + each.cumcount().to_numpy()
        k = scaled.shape[1]
        sums = before[codes, 1 : k + 1] + each.cumsum().to_numpy() - capped
        trust = 1 / (count + PRIOR)
        made = dict(zip(self.own, ((scaled - sums * trust[:, None]) / typical).T, strict=True))
        made["earlier"] = count

        after, met = before.copy(), []
        np.add.at(after, (codes, 0), 1)
        np.add.at(after[:, 1 : k + 1], codes, capped)
        for place, name in enumerate(self.schema.categories, k + 1):
            values = spelt(table[name])
            texts = np.array(
                [_BETWEEN.join((name, *pair)) for pair in zip(keys, values, strict=True)], object
            )
            first = (values != "").to_numpy() & ~pd.Series(texts).duplicated().to_numpy()
            first &= [text not in self.had for text in texts]
            new = first & (before[codes, place] + pd.Series(first).groupby(codes).cumsum() <= MANY).to_numpy()
            made[f"{name}_new"] = new * count * trust
            np.add.at(after, (codes, place), new)
            met.extend(texts[new])
        past = self.past.copy()
        past.iloc[known[known >= 0]] = after[known >= 0]
        fresh = pd.DataFrame(after[known < 0], names[known < 0], past.columns)
        past = pd.concat([past, fresh]) if len(fresh) else past
        had = self.had.union(met) if met else self.had
        return pd.DataFrame(made, table.index), replace(self, past=past, had=had)
