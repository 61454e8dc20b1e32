"""Notebook 10, your own stream: what a table can support, its figure and its checkers."""

from collections.abc import Callable
from html import escape
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from checker import as_number, ask, checker, compare
from helpers.files import CourseError, replace
from helpers.readers import read_reviews, times
from helpers.rules import SUSPICIOUS
from helpers.schema import ROLES, Schema
from helpers.settings import BLOCK, WINDOW
from helpers.stream import CLOSED, Learner, drift
from n02 import flagged, this_is_a_rule

FEW = 10  # frauds below which a test set shows nothing
MOVED = 0.25  # population stability index from which one usually speaks of drift


def look(events: pd.DataFrame, n_train: int, schema: Schema) -> pd.DataFrame:
    """What a table of (n, ...) events, of which the first `n_train` train, can and cannot support.

    One row per question: what was `found`, and `so`, what follows from it. The truth is one of the questions
    where the events have the schema's label.
    """
    rows = {"events": (f"{len(events):,}, of which {n_train:,} train", _enough(n_train))}
    roles = [f"{len(getattr(schema, role))} {role}" for role in ROLES if getattr(schema, role)]
    rows["columns"] = ", ".join(roles), "the detector uses these and no others"
    rows["order"] = "no time is named", "the rows are taken as they come; is that their order?"
    if schema.time:
        span = pd.Series(events[schema.time].to_numpy()).diff(BLOCK).median()
        rows["order"] = f"{schema.time} never falls", f"{BLOCK:,} events span {span} in {schema.time}"
    rows["key"] = "none", f"bursts are counted among {WINDOW:,} events of anybody"
    if schema.key:
        each = events.groupby(schema.key, observed=True).size()
        several = (each == 1).mean() < 0.5
        rows["key"] = (
            f"{len(each):,} of {schema.key}, half with {each.median():.0f} events or fewer",
            "bursts and repeats are counted per key" if several else "too few return to count bursts per key",
        )
    constant = schema.constant(events[:n_train])
    rows["constant"] = _listed(constant), "left out" if constant else "nothing to leave out"
    varying = events[[name for name in schema.numbers if name not in constant]]
    gaps = events[list({*schema.carried} - {schema.key, schema.time})].isna().sum()
    counted = [f"{name} ({many:,})" for name, many in gaps[gaps > 0].sort_values(ascending=False).items()]
    rows["gaps"] = _listed(counted), "a number gets the training median" if counted else "nothing to fill"
    heavy = [name for name in varying if varying[name].value_counts(normalize=True).iloc[0] >= 0.5]
    scale = "the standard deviation, as the robust one is 0" if heavy else "the robust standard deviation"
    rows["mostly one value"] = _listed(heavy), f"scaled by {scale}"
    copies = list(varying.columns[np.triu(varying.corr().abs() > 0.999, 1).any(axis=0)])
    rows["copies"] = _listed(copies), "count once in the distance" if copies else "none counts twice"
    twice = events[schema.carried].duplicated().mean()
    rows["repeated rows"] = f"{twice:.1%}", "kept, because a repeat is behaviour" if twice else "none"
    psi = drift(varying[:n_train], varying[n_train:]).get("psi", pd.Series(dtype=float))
    moved = [f"{name} ({one:.1f})" for name, one in psi.sort_values(ascending=False).items() if one > MOVED]
    still = "no input has moved; whether abuse changes is not tested"
    so = "the profile will age; review early" if moved else still
    rows["drift"] = _listed(moved), so
    rows["truth"] = "no label is named", "nothing can be measured; reviews will tell"
    if schema.label in events:
        label = events[schema.label].astype(int)
        early, late = label[:n_train].sum(), label[n_train:].sum()
        so = "enough to evaluate" if late >= FEW else "too few to evaluate, so trust no number"
        rows["truth"] = f"{early} in the training set, {late} later", so
    return pd.DataFrame.from_dict(rows, "index", columns=["found", "so"]).rename_axis("question")


def _enough(n_train: int) -> str:
    if n_train < WINDOW:
        return f"too few: a profile needs {WINDOW:,} that train"
    return "enough" if n_train >= 5 * WINDOW else "few: expect thresholds and risks to be rough"


def _listed(names: list[str]) -> str:
    more = f" and {len(names) - 4} more" if names[4:] else ""
    return ", ".join(names[:4]) + more or "none"


def per_thousand(alerts: float, events: pd.DataFrame, schema: Schema, day: float = 1) -> float:
    """So many alerts per day as an alert budget of 1,000 events, at the pace of these events. `day` is the
    length of a day in the unit of the time, where this is a number."""
    time = events[schema.time]
    unit = day if pd.api.types.is_numeric_dtype(time) else pd.Timedelta(days=1)
    days = max((time.iloc[-1] - time.iloc[0]) / unit, 1.0)
    if alerts * days > len(events):
        raise CourseError(
            f"{alerts:g} alerts a day are more than its {len(events) / days:.3g} events: lower them, or set "
            f"DAY to the length of a day in the unit of {schema.time}."
        )
    return float(f"{alerts * days * BLOCK / len(events):.4g}")


def training_rows(events: pd.DataFrame, schema: Schema, train: float | str) -> int:
    """How many events train: a share of them, a number of rows, or all before a date."""
    if not isinstance(train, str):
        rows = int(train * len(events)) if 0 < train < 1 else train
    elif schema.time and not pd.api.types.is_numeric_dtype(events[schema.time]):
        border = pd.Timestamp(times(pd.Series([train]), np.array([np.nan]))[0].iloc[0])  # NaT: no date
        zone = getattr(events[schema.time].dtype, "tz", None)
        zoned = zone and not border.tz
        rows = int((events[schema.time] < (border.tz_localize(zone) if zoned else border)).sum())
    else:
        rows = 0
    if not 0 < rows < len(events) or rows != int(rows):
        kinds = "a share, a number of rows or, beside dates, one such as 2026-12-31"
        raise CourseError(
            f"TRAIN is {train!r}; give {kinds}, and of {len(events):,} events leave some to score."
        )
    return int(rows)


def put_aside(folder: Path) -> Path | None:
    """Rename a folder, if there is one, to the next free name, and return this name."""
    if not folder.exists():
        return None
    numbers = (number for number in count(1) if not folder.with_name(f"{folder.name}-{number}").exists())
    return folder.rename(folder.with_name(f"{folder.name}-{next(numbers)}"))


def review_queue(learner: Learner, path: Path | str, show: int = 5) -> Any:
    """A widget that shows one alert after the other, with its reason and the `show` latest events of its key,
    and writes each answer to `path` at once. Alerts that `path` answers already are left out."""
    import ipywidgets as widgets
    from IPython.display import display

    path, schema, memory = Path(path), learner.detector.schema, learner.memory
    answers = read_reviews(path).to_dict() if path.exists() else {}
    riskiest = memory.loc[learner.pending].sort_values("risk", ascending=False, kind="stable").index
    queue = [event for event in riskiest if event not in answers]
    spelt = {1: "1", 0: "0", CLOSED: "closed"}
    said, recent = widgets.HTML(), widgets.Output()
    buttons = {name: widgets.Button(description=name) for name in ("fraud", "legitimate", "later")}

    def turn() -> None:
        recent.clear_output()
        for button in buttons.values():
            button.disabled = not queue
        said.value = f"{len(answers)} reviewed, nothing is left; the answers are in {path.name}."
        if queue:
            event = memory.loc[queue[0]]
            said.value = f"<b>Event {queue[0]}</b>, {len(queue)} to go: {escape(event['why'])}"
            past = memory.loc[: queue[0], schema.carried]
            past = past[past[schema.key] == event[schema.key]] if schema.key else past
            with recent:
                display(past.tail(show))

    def answer(button: widgets.Button) -> None:
        event = queue.pop(0)
        if button.description == "later":
            queue.append(event)
        else:
            answers[event] = int(button.description == "fraud")
            table = pd.Series(answers, name="review").map(spelt).rename_axis("event")
            replace(path, table.to_csv())
        turn()

    for button in buttons.values():
        button.on_click(answer)
    turn()
    return widgets.VBox([said, widgets.HBox(list(buttons.values())), recent])


@checker
def check_10a(attempt: Callable) -> str:
    """Hours of work that an alert budget asks for."""
    for per, events, minutes in ((5, 40_000, 6), (2, 250_000, 10)):
        alerts = per * events / BLOCK
        hours = alerts * minutes / 60
        slips = {
            "These are minutes; 60 make an hour.": hours * 60,
            "These are alerts a day; multiply by the minutes that each takes.": alerts,
            "The budget is of every thousand events.": hours * BLOCK,
            "This is the work on every event; only the alerts are looked at.": events * minutes / 60,
        }
        found = as_number(ask(attempt, per, events, minutes))
        compare(found, hours, slips, f"At {per} of 1,000, {events:,} events a day, {minutes} minutes:")
    return "right. If you cannot pay for these hours, lower the budget."


@checker
def check_10b(attempt: Callable, facts: pd.DataFrame, thresholds: dict, votes: pd.DataFrame) -> str:
    """A rule of the learner's own, on the learner's own table."""
    fires, said = flagged(attempt, facts, thresholds), votes == SUSPICIOUS
    return f"{this_is_a_rule(fires, said)} Add it to `book` above and run the notebook again."
