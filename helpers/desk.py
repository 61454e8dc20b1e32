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
    table = events[list(schema.columns)]
    roles = {role: len(getattr(schema, role)) for role in ROLES if getattr(schema, role)}
    rows = [
        ("events", f"{len(events):,}, of which {n_train:,} train", _enough(n_train)),
        (
            "columns",
            ", ".join(f"{count} {role}" for role, count in roles.items()),
            "all of them are looked at",
        ),
    ]
    if schema.time:
        span = pd.Series(events[schema.time].to_numpy()).diff(BLOCK).median()
        rows.append(("order", f"{schema.time} never falls", f"{BLOCK:,} events take {span} of it"))
    else:
        rows.append(("order", "no time is named", "the rows are taken as they come; is that their order?"))
    if schema.key:
        each = events.groupby(schema.key, observed=True).size()
        alone = (each == 1).mean()
        so = "bursts and repeats are counted a key" if alone < 0.5 else "too few return to count bursts a key"
        rows.append(
            ("key", f"{len(each):,} of {schema.key}, half with {each.median():.0f} events or fewer", so)
        )
    else:
        rows.append(("key", "none", f"bursts are counted among {WINDOW:,} events, whoever they are of"))
    constant = schema.constant(events[:n_train])
    rows.append(("constant", _listed(constant), "left out" if constant else "nothing to leave out"))
    most = {name: table[name].value_counts(normalize=True).iloc[0] for name in table}
    heavy = [name for name, share in most.items() if share >= 0.5 and name not in constant]
    so = "measured by their standard deviation" if heavy else "measured by robust deviations"
    rows.append(("mostly one value", _listed(heavy), so))
    varying = table.drop(columns=constant)
    copies = list(varying.columns[np.triu(varying.corr().abs() > 0.999, 1).any(axis=0)])
    rows.append(("copies", _listed(copies), "count once in the distance" if copies else "none counts twice"))
    twice = events[schema.carried].duplicated().mean()
    rows.append(("repeated rows", f"{twice:.1%}", "kept: a repeat is behaviour" if twice else "none"))
    psi = drift(varying[:n_train], varying[n_train:]).get("psi", pd.Series(dtype=float))
    moved = psi[psi > MOVED].sort_values(ascending=False)
    so = "the profile will age; review early" if len(moved) else "the training part fits the rest"
    rows.append(("drift", _listed([f"{name} ({value:.1f})" for name, value in moved.items()]), so))
    if schema.label in events:
        frauds = int(events[schema.label][:n_train].sum()), int(events[schema.label][n_train:].sum())
        so = "enough to evaluate" if frauds[1] >= FEW else "too few to evaluate; trust no figure of these"
        rows.append(("truth", f"{frauds[0]} in the training part, {frauds[1]} later", so))
    else:
        rows.append(("truth", "no label is named", "no figure of merit; reviews will tell"))
    return pd.DataFrame(rows, columns=["question", "found", "so"]).set_index("question")


def _enough(n_train: int) -> str:
    if n_train < WINDOW:
        return f"too few: a profile needs {WINDOW:,} that train"
    return "enough" if n_train >= 5 * WINDOW else "few: expect thresholds and risks to be rough"


def _listed(names: list[str]) -> str:
    more = f" and {len(names) - 4} more" if names[4:] else ""
    return ", ".join(names[:4]) + more or "none"


def alerts(learner: Learner) -> pd.DataFrame:
    """The alerts that nobody has reviewed, the riskiest first: reasons, the event's own columns, `review`.

    `review` is empty: it is for a person to fill in, with 1 or 0, yes or no.
    """
    memory, schema, pending = learner.memory, learner.detector.schema, learner.pending
    if not len(pending):
        return pd.DataFrame(columns=["review", "risk", "rules", *schema.carried], index=memory.index[:0])
    first = memory.index.get_loc(pending[0])
    reasons = learner.reasons(memory.iloc[first:], schema.recent(memory.iloc[:first])).loc[pending]
    table = reasons.join(memory.loc[pending, schema.carried])
    table.insert(0, "review", "")
    return table.sort_values("risk", ascending=False, kind="stable")


def write_alerts(learner: Learner, path: Path | str) -> pd.DataFrame:
    """Write `alerts` as a file that any spreadsheet opens, whole or not at all; gives what was written.

    Raises:
        CourseError: if the file cannot be written.
    """
    table = alerts(learner)
    replace(Path(path), "\ufeff" + table.to_csv(float_format="%.6g"))
    return table


def reviewed(learner: Learner, path: Path | str) -> pd.Series:
    """The reviews of a file that the learner does not know yet; event -> 1 or 0, for `learner.learn`.

    A review of an event that was told otherwise before is a correction and counts.

    Raises:
        FileNotFoundError: no such file.
        CourseError: if a review is of an event that was never alerted, or the file cannot be read as reviews.
    """
    path = Path(path)
    try:
        reviews = read_reviews(path)
    except ValueError as error:
        raise CourseError(f"{str(error).rstrip('.')}; nothing was learned.") from None
    alerted = learner.memory.index[learner.memory["alert"] == 1]
    strangers = reviews.index.difference(alerted)
    if len(strangers):
        raise CourseError(
            f"{path.name} reviews event {strangers[0]}, which was never alerted or is long past; nothing was "
            "learned."
        )
    known = learner.memory.loc[reviews.index, "truth"]
    return reviews[known != reviews]
