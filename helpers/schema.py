"""What the columns of a table are. Profile, rules, scaling, networks and reasons follow from it."""

import tomllib
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any, Self

import numpy as np
import pandas as pd

from helpers.encoder import Encoder
from helpers.files import CourseError, plain
from helpers.settings import AXES, UNUSUAL_AXES, WINDOW

ROLES = ("amounts", "counts", "shares", "axes", "categories")
GONE = 0.99  # share of gaps from which a column says nothing
DERIVED = ("_rarity", "_missing", "_own", "_new")  # how the columns end that an encoder makes
TAKEN = {  # what the course itself calls what it finds out about an event
    *("amount", "amount_z", "axes_beyond", "distance", "background_rate", "burst", "repeats"),
    *("unlike_itself", "new_for_it", "reconstruction_error", "label", "event", "risk", "one_in", "place"),
    *("alert", "truth", "why", "review", "rules", "resembles", "rule_score", "earlier"),
}


@dataclass(frozen=True)
class Schema:
    """The columns of a table of events, by role; a column without a role is not looked at.

    Attributes:
        amounts: money and other sizes, of any unit: log(1 + size) with the size's sign, so that a refund,
            an amount below zero, lies on the other side of zero.
        counts: how often something happened, 0 or more: log(1 + count).
        shares, axes: parts of a whole, 0 or more, and any other number: as they are.
        categories: text or codes, such as a country: how rare each value is, whatever its case and padding.
        missing: "refuse" an event with a gap in one of these, or "flag" it: the training median replaces a
            missing number, an input says so if the column has gaps in training, and alerts show the gap.
        key: whose behaviour it is, such as the account: bursts and repeats are counted among the events of
            one key, and each event is compared with the earlier ones of its key.
        time: a number or a date that never falls from one event to the next.
        window: how far back "recent" reaches: 1,000 events (of the same key) unless given; with `time`, in
            its unit, or as text ("7 days") where it is a date.
        label: the truth, 1 or 0, which is sealed until somebody evaluates.
        encoder: what `varying` learned of categories, gaps and keys; nobody gives it by hand.
    """

    amounts: tuple[str, ...] = ()
    counts: tuple[str, ...] = ()
    shares: tuple[str, ...] = ()
    axes: tuple[str, ...] = ()
    categories: tuple[str, ...] = ()
    missing: str = "refuse"
    key: str | None = None
    time: str | None = None
    window: int | float | str | None = None
    label: str | None = None
    encoder: Encoder | None = field(default=None, repr=False, compare=False)

    def __post_init__(self) -> None:
        for role in ROLES:
            names = getattr(self, role)
            if not isinstance(names, list | tuple) or not all(isinstance(name, str) for name in names):
                raise CourseError(f"{role} of a schema is a list of names of columns, not {names!r}.")
            object.__setattr__(self, role, tuple(names))
        for role in ("key", "time", "label"):
            name = getattr(self, role)
            if not isinstance(name, str | None) or name == "":
                raise CourseError(f"{role} of a schema is the name of one column, not {name!r}.")
        named = [*self.carried, *filter(None, [self.label])]
        twice = sorted({name for name in named if named.count(name) > 1})
        made = {f"{name}{end}" for name in self.carried for end in DERIVED}
        taken = [name for name in self.carried[self.amounts[:1] == ("amount",) :] if name in TAKEN | made]
        number = type(self.window) in (int, float) and 0 < self.window < np.inf
        length = pd.to_timedelta(str(self.window), errors="coerce").total_seconds()
        unit = pd.isna(pd.to_numeric(str(self.window), errors="coerce"))  # "7" would be 7 nanoseconds
        span = self.window is None or (self.time and isinstance(self.window, str) and unit and length > 0)
        found_out = "a name that the course gives to what it finds out about an event: rename that column"
        allowed = "a positive number or, beside a time, a text such as '7 days'"
        for wrong, said in (
            (not self.columns, f"A schema needs at least one column among {', '.join(ROLES)}"),
            (self.missing not in ("refuse", "flag"), f"missing is 'refuse' or 'flag', not {self.missing!r}"),
            (twice, f"A schema gives a column one role, but {', '.join(twice)} has more"),
            (taken, f"{', '.join(taken)} is {found_out}"),
            (not (number or span), f"The window of a schema is {allowed}, not {self.window!r}"),
        ):
            if wrong:
                raise CourseError(f"{said}.")

    @property
    def numbers(self) -> tuple[str, ...]:
        """The columns of numbers."""
        return (*self.amounts, *self.counts, *self.shares, *self.axes)

    @property
    def columns(self) -> tuple[str, ...]:
        """The inputs, in the order of every matrix: the numbers, or what an encoder makes of the columns."""
        return self.encoder.columns if self.encoder else (*self.numbers, *self.categories)

    @property
    def carried(self) -> list[str]:
        """The columns that an event must bring: those that are looked at, its key and its time."""
        return [*self.numbers, *self.categories, *filter(None, (self.key, self.time))]

    @property
    def remembered(self) -> list[str]:
        """The columns of an encoded event: those that it brings, then those that the encoder makes."""
        return [*self.carried, *(self.encoder.made if self.encoder else ())]

    @property
    def behaviour(self) -> slice:
        """The axes, by which events are unusual or alike: all but the amounts, where two others are."""
        amounts = len(self.amounts)
        return slice(amounts if len(self.columns) - amounts >= UNUSUAL_AXES else 0, None)

    @property
    def behaviour_axes(self) -> list[str]:
        """The names of the columns that `behaviour` picks."""
        return list(self.columns[self.behaviour])

    @property
    def classifier_inputs(self) -> list[str]:
        """The names of what the classifier sees."""
        return [*self.columns, "reconstruction_error", "distance"]

    def inputs(self, events: pd.DataFrame | np.ndarray) -> np.ndarray:
        """The inputs before scaling, (n, k) float64: amounts and counts as logarithms, the rest as it is."""
        if isinstance(events, np.ndarray):
            return events  # which have become inputs already
        if self.encoder:
            table = self.encoder.encode(events)
            derived = table[self.encoder.derived].to_numpy(np.float64)
            own = self.encoder.schema.inputs(table)[:, : len(self.columns) - derived.shape[1]]
            return np.column_stack([own, derived])
        table = self.table(events)
        try:
            values = table.to_numpy(np.float64, copy=True)
        except (TypeError, ValueError):
            values = table.apply(pd.to_numeric, errors="coerce").to_numpy(np.float64, na_value=np.nan)
        least = np.array([0 if name in (*self.counts, *self.shares) else -np.inf for name in table])
        if (bad := ~(np.isfinite(values) & (values >= least))).any():
            row, column = np.argwhere(bad)[0]
            need = "a number of 0 or more" if least[column] == 0 else "a finite number"
            raise ValueError(
                f"Event {events.index[row]} has {table.iat[row, column]} in {self.numbers[column]}, where "
                f"{need} is needed: repair or drop it."
            )
        for column in range(len(self.amounts) + len(self.counts)):
            values[:, column] = np.copysign(np.log1p(np.abs(values[:, column])), values[:, column])
        return values

    def table(self, events: pd.DataFrame, names: Sequence[str] | None = None) -> pd.DataFrame:
        """The columns of numbers, or those named."""
        names = list(names or self.numbers)
        if missing := [name for name in names if name not in events]:
            raise ValueError(f"These events have no column {', '.join(missing)}, which the schema names.")
        return events[names]

    def constant(self, events: pd.DataFrame) -> list[str]:
        """The columns that hold one value, or hardly any value, in all these events."""
        table = self.table(events, [*self.numbers, *self.categories])
        gone = table.isna().mean() >= GONE
        return [name for name in table if gone[name] or table[name].nunique(dropna=False) < 2]

    def varying(self, events: pd.DataFrame) -> Self:
        """This schema without the columns that hold one value in all these events; with an encoder that has
        learned from them, where there is a key, a category or a gap that is flagged."""
        if self.encoder:
            return self
        schema = self
        if constant := self.constant(events):
            if len(constant) == len(self.columns):
                raise ValueError(
                    "Every column has one value in all training events: there is nothing to learn."
                )
            said = f"Left out, because all events have one value in it: {', '.join(sorted(constant))}."
            warnings.warn(said, stacklevel=3)
            kept = {role: tuple(n for n in getattr(self, role) if n not in constant) for role in ROLES}
            schema = replace(self, **kept)
        if schema.key or schema.categories or schema.missing == "flag":
            schema = replace(schema, encoder=Encoder.fit(events, schema))
        return schema

    def encoded(
        self, events: pd.DataFrame, history: pd.DataFrame | None = None
    ) -> tuple[pd.DataFrame, pd.DataFrame | None]:
        """Events as an encoder describes them after their history, and this as well, where there is one."""
        if not self.encoder:
            return events, history
        if history is None or history.empty:
            return self.encoder.encode(events), history
        return self.encoder.after(history).encode(events), self.encoder.encode(history)

    def check_same(self, other: Self, what: str) -> None:
        """Hold what something saved was fitted on against the schema of the events to come."""
        others = [name for role in ROLES for name in set(getattr(self, role)) - set(getattr(other, role))]
        others += [role for role in ("key", "time", "window") if getattr(self, role) != getattr(other, role)]
        if others:
            told = f"{', '.join(sorted(others))} is not there or has another role"
            raise CourseError(f"{what} was fitted on another schema: {told}.")

    def clock(self, events: pd.DataFrame) -> tuple[np.ndarray, np.ndarray, float]:
        """How the window counts: (n,) the key of each event as a number, (n,) its moment, how far back it
        reaches. The moment is the place among the events of the key or, in a window of time, the time."""
        self.table(events, self.carried)
        keys = np.zeros(len(events), dtype=np.int64)
        if self.key:
            keys, names = pd.factorize(events[self.key])
            blank = np.array([*(str(name).strip() == "" for name in names), True])[keys]
            if blank.any():
                row = events.index[blank.argmax()]
                raise ValueError(f"Event {row} has no {self.key}: repair or drop it.")
        if self.time:
            moments, reach = self._moments(events[self.time])
            good = np.isfinite(moments)
            good[1:] &= moments[1:] >= moments[:-1]
            if not good.all():
                raise ValueError(
                    f"{self.time} of event {events.index[good.argmin()]} is before that of the event above "
                    f"it, or is missing: sort the events by {self.time} first."
                )
            if self.window is not None:
                return keys, moments, reach
        places = pd.Series(keys).groupby(keys).cumcount().to_numpy() if self.key else np.arange(len(events))
        return keys, places, float(self.window or WINDOW)

    def _moments(self, time: pd.Series) -> tuple[np.ndarray, float]:
        """Time as numbers, and how far back the window reaches in their unit."""
        dates = not pd.api.types.is_numeric_dtype(time)
        try:
            if dates:
                if not isinstance(self.window, str | None):
                    raise TypeError
                moments = pd.to_datetime(time).to_numpy("datetime64[ns]")
                seconds = np.where(np.isnat(moments), np.nan, moments.astype(np.int64) / 1e9)
                return seconds, pd.Timedelta(self.window or 0).total_seconds()
            return time.to_numpy(np.float64), float(self.window or 0)
        except (TypeError, ValueError):
            kind = "dates and a window such as '7 days'" if dates else "numbers and a window that is a number"
            raise ValueError(f"{self.time} needs {kind}; the window is {self.window!r}.") from None

    def recent(self, events: pd.DataFrame) -> pd.DataFrame:
        """The last of these events, as many as the window of an event after them can reach."""
        if self.time and self.window:
            _, moments, reach = self.clock(events)
            return events[moments >= moments[-1] - reach] if len(events) else events
        window = int(np.ceil(self.window or WINDOW))
        return events.groupby(self.key, observed=True).tail(window) if self.key else events[-window:]

    def to_dict(self) -> dict[str, Any]:
        """Plain lists and texts, ready for JSON; what is not given is left out."""
        values = {one.name: getattr(self, one.name) for one in fields(self) if one.compare}
        given = {name: value for name, value in values.items() if value not in ((), None, "refuse")}
        return {name: list(value) if isinstance(value, tuple) else value for name, value in given.items()}

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Self:
        """The schema that `to_dict` described, or that a reader wrote."""
        known = [one.name for one in fields(cls) if one.compare]
        if unknown := sorted(values.keys() - known):
            raise CourseError(f"A schema has no {', '.join(unknown)}; it has {', '.join(known)}.")
        return cls(**values)

    @classmethod
    def from_toml(cls, path: Path | str) -> Self:
        """Read a schema from a file such as `amounts = ["Amount"]`, one line per role."""
        try:
            return cls.from_dict(tomllib.loads(Path(path).expanduser().read_text(encoding="utf-8-sig")))
        except (OSError, tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            raise CourseError(f"The schema {path} cannot be read: {plain(error)}.") from None


CARDS = Schema(amounts=("Amount",), axes=tuple(AXES), label="Class")
