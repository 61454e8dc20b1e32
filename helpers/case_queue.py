"""The case queue: alerts that a person reviews, and reviews that come back."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from helpers.files import CourseError, replace
from helpers.readers import read_reviews
from helpers.rules import Rule
from helpers.schema import Schema
from helpers.settings import BLOCK, WINDOW
from helpers.stream import CLOSED, UNKNOWN, Learner


def check_same(
    learner: Learner, events: pd.DataFrame, schema: Schema, alerts: float, rules: Sequence[Rule] | None = None
) -> None:
    """Raise a CourseError unless schema and budget are the learner's, it knows the rules that are given, and
    the table holds, under the same numbers, what it has seen last."""
    own, seen = learner.detector.schema, learner.memory[-WINDOW:]
    own.check_same(schema, "The learner")
    if alerts != learner.alerts:
        raise CourseError(
            f"The learner's budget is {learner.alerts:g} of {BLOCK:,} events, not {alerts:g}: "
            "give the same one, or begin afresh."
        )
    names = {rule.name for rule in learner.detector.rules}
    if rules is not None and (new := [rule.name for rule in rules if rule.name not in names]):
        raise CourseError(f"The learner was fitted without {', '.join(new)}: refit it, or begin afresh.")
    there = seen.index.isin(events.index)
    if there.all():
        now = own.table(events.loc[seen.index], own.carried)
        now = own.encoder.filled(now) if own.encoder else now
        both = (part.astype(object).where(part.notna(), "") for part in (now, seen[own.carried]))
        there = np.equal(*both).all(axis=1).to_numpy()
    if not there.all():
        raise CourseError(
            f"Event {seen.index[there.argmin()]} is not what it was when the learner saw it: give the old "
            "table, grown at its end, or begin afresh."
        )


def write_alerts(learner: Learner, path: Path | str) -> pd.DataFrame:
    """Write the alerts that nobody has reviewed as a file that any spreadsheet opens, whole or not at all.
    Gives what was written, the riskiest first: `review`, for a person to fill in with 1 or 0, yes or no, or
    closed; risk, one_in, why (see `Detector.reasons`), then the event's own columns."""
    memory, schema, pending = learner.memory, learner.detector.schema, learner.pending
    new = pending[memory.loc[pending, "why"] == ""]
    if len(new):
        first = memory.index.get_loc(new[0])
        reasons = learner.reasons(memory[first:], schema.recent(memory[:first])).loc[new]
        alike = reasons["resembles"].astype(object).map(" It looks like event {}, a fraud.".format, "ignore")
        memory.loc[new, "why"] = reasons["why"] + alike.fillna("")
    waiting, detector = memory.loc[pending], learner.detector
    table = waiting[["risk"]].assign(one_in=detector.one_in(detector.risk(detector.seen(waiting))))
    table = table.assign(why=waiting["why"]).join(waiting[schema.carried])
    table.insert(0, "review", "")
    table = table.sort_values("risk", ascending=False, kind="stable")
    _write(learner, table.assign(risk=table["risk"].map("{:.6g}".format)), path)
    return table


def write_audit(learner: Learner, path: Path | str, events: int = 5, seed: int = 0) -> pd.DataFrame:
    """Write so many of the latest scored events that nobody was alerted to, drawn at random, for people to
    review as well; gives what was written."""
    scored = learner.memory[(learner.memory["place"] >= learner.begun) & (learner.memory["alert"] == 0)]
    drawn = scored.sample(min(events, len(scored)), random_state=seed).sort_index()
    table = drawn[learner.detector.schema.carried]
    table.insert(0, "review", "")
    _write(learner, table, path)
    return table


def _write(learner: Learner, table: pd.DataFrame, path: Path | str) -> None:
    """Remembered events as a file, with their own columns as they came."""
    remembered = learner.memory.loc[table.index]
    for name in table.columns[[f"{name}_missing" in remembered for name in table]]:
        table = table.assign(**{name: table[name].where(remembered[f"{name}_missing"] == 0)})
    replace(Path(path), "\ufeff" + table.apply(_as_people_write).to_csv(index_label="event"))


def _as_people_write(column: pd.Series) -> pd.Series:
    """Whole numbers without a point; a text that a spreadsheet would take for a formula, marked as text."""
    if pd.api.types.is_float_dtype(column):
        whole = (column.dropna() % 1 == 0).all() and column.abs().max() < 2**53
        return column.astype("Int64") if whole else column
    if pd.api.types.is_numeric_dtype(column) or pd.api.types.is_datetime64_any_dtype(column):
        return column
    return column.map(lambda value: f"'{value}" if str(value).startswith(tuple("=+-@\t\r")) else value)


def reviewed(learner: Learner, path: Path | str) -> pd.Series:
    """The reviews of a file that the learner does not know yet; event -> 1, 0, or -1 for an alert that is
    closed without an answer, for `learner.learn`. It may review events that were never alerted, as a
    customer's report does. A review of an event that was told otherwise before is a correction and counts.
    Reviews of events that the learner has forgotten are left out and counted in a line."""
    try:
        reviews = read_reviews(Path(path))
    except ValueError as error:
        raise CourseError(f"{str(error).rstrip('.')}; nothing was learned.") from None
    memory = learner.memory
    strange = (reviews.index < 0) | (reviews.index >= learner.now)
    if strange.any():
        raise CourseError(
            f"{Path(path).name} reviews event {reviews.index[strange][0]}, which has not come yet; "
            "nothing was learned."
        )
    old = ~reviews.index.isin(memory.index)
    if old.any():
        print(f"{old.sum():,} of {len(old):,} reviews are of events too long ago to learn from.")
    reviews = reviews[~old]
    truth, alert = (memory.loc[reviews.index, name] for name in ("truth", "alert"))
    return reviews[np.where(reviews == CLOSED, (alert == 1) & (truth == UNKNOWN), truth != reviews)]
