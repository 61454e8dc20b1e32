"""The analysts' desk: what a table can support, alerts that a person reviews, and reviews that come back."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from helpers.files import CourseError, replace
from helpers.readers import read_reviews
from helpers.schema import ROLES, Schema
from helpers.settings import BLOCK, WINDOW
from helpers.stream import Learner, drift

FEW = 10  # frauds below which a test part says nothing
MOVED = 0.25  # population stability index from which one usually speaks of drift


def look(events: pd.DataFrame, n_train: int, schema: Schema) -> pd.DataFrame:
    """What a table holds, and what it can and cannot support.

    Args:
        events: (n, ...) with the schema's columns and, where there is one, its label.
        n_train: how many of them train.

    Returns:
        One row a question: `found`, and `so`, what follows from it.
    """
    rows = {"events": (f"{len(events):,}, of which {n_train:,} train", _enough(n_train))}
    roles = [f"{len(getattr(schema, role))} {role}" for role in ROLES if getattr(schema, role)]
    rows["columns"] = ", ".join(roles), "all of them are looked at"
    rows["order"] = "no time is named", "the rows are taken as they come; is that their order?"
    if schema.time:
        span = pd.Series(events[schema.time].to_numpy()).diff(BLOCK).median()
        rows["order"] = f"{schema.time} never falls", f"{BLOCK:,} events take {span} of it"
    rows["key"] = "none", f"bursts are counted among {WINDOW:,} events, whoever they are of"
    if schema.key:
        each = events.groupby(schema.key, observed=True).size()
        several = (each == 1).mean() < 0.5
        rows["key"] = (
            f"{len(each):,} of {schema.key}, half with {each.median():.0f} events or fewer",
            "bursts and repeats are counted a key" if several else "too few return to count bursts a key",
        )
    constant = schema.constant(events[:n_train])
    rows["constant"] = _listed(constant), "left out" if constant else "nothing to leave out"
    varying = events[[name for name in schema.columns if name not in constant]]
    heavy = [name for name in varying if varying[name].value_counts(normalize=True).iloc[0] >= 0.5]
    measure = "their standard deviation" if heavy else "robust deviations"
    rows["mostly one value"] = _listed(heavy), f"measured by {measure}"
    copies = list(varying.columns[np.triu(varying.corr().abs() > 0.999, 1).any(axis=0)])
    rows["copies"] = _listed(copies), "count once in the distance" if copies else "none counts twice"
    twice = events[schema.carried].duplicated().mean()
    rows["repeated rows"] = f"{twice:.1%}", "kept: a repeat is behaviour" if twice else "none"
    psi = drift(varying[:n_train], varying[n_train:]).get("psi", pd.Series(dtype=float))
    moved = [f"{name} ({one:.1f})" for name, one in psi.sort_values(ascending=False).items() if one > MOVED]
    still = "the inputs stand still; whether abuse changes is not tested"
    so = "the profile will age; review early" if moved else still
    rows["drift"] = _listed(moved), so
    rows["truth"] = "no label is named", "no figure of merit; reviews will tell"
    if schema.label in events:
        label = events[schema.label].astype(int)
        early, late = label[:n_train].sum(), label[n_train:].sum()
        so = "enough to evaluate" if late >= FEW else "too few to evaluate; trust no figure of these"
        rows["truth"] = f"{early} in the training part, {late} later", so
    return pd.DataFrame.from_dict(rows, "index", columns=["found", "so"]).rename_axis("question")


def _enough(n_train: int) -> str:
    if n_train < WINDOW:
        return f"too few: a profile needs {WINDOW:,} that train"
    return "enough" if n_train >= 5 * WINDOW else "few: expect thresholds and risks to be rough"


def _listed(names: list[str]) -> str:
    more = f" and {len(names) - 4} more" if names[4:] else ""
    return ", ".join(names[:4]) + more or "none"


def write_alerts(learner: Learner, path: Path | str) -> pd.DataFrame:
    """Write the alerts that nobody has reviewed as a file that any spreadsheet opens, whole or not at all.

    Returns:
        What was written, the riskiest first: `review`, which is empty for a person to fill in with 1 or 0,
        yes or no, then the reasons and the event's own columns.
    """
    memory, schema, pending = learner.memory, learner.detector.schema, learner.pending
    first = memory.index.get_loc(pending[0]) if len(pending) else len(memory)
    reasons = learner.reasons(memory[first:], schema.recent(memory[:first])).loc[pending]
    table = reasons.join(memory.loc[pending, schema.carried])
    table.insert(0, "review", "")
    table = table.sort_values("risk", ascending=False, kind="stable")
    replace(Path(path), "\ufeff" + table.to_csv(float_format="%.6g"))
    return table


def reviewed(learner: Learner, path: Path | str) -> pd.Series:
    """The reviews of a file that the learner does not know yet; event -> 1 or 0, for `learner.learn`.

    A review of an event that was told otherwise before is a correction and counts.
    """
    try:
        reviews = read_reviews(Path(path))
    except ValueError as error:
        raise CourseError(f"{str(error).rstrip('.')}; nothing was learned.") from None
    told = learner.memory["truth"][learner.memory["alert"] == 1]
    strangers = reviews.index.difference(told.index)
    if len(strangers):
        raise CourseError(
            f"{Path(path).name} reviews event {strangers[0]}, which was never alerted or is long past; "
            "nothing was learned."
        )
    return reviews[told[reviews.index] != reviews]
