"""What notebook 8: past one machine alone needs: its figures and its checkers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from checker import Off, as_number, ask, checker, compare
from helpers import plots
from helpers.files import CourseError, load_json
from helpers.settings import RESULTS

TABLE = RESULTS / "scaling.json"
ONE = "one process"


# What the measurements say


def read() -> dict[str, Any]:
    """What `make scale` measured last.

    Raises:
        CourseError: if there is no measurement yet.
    """
    if not TABLE.is_file():
        raise CourseError("results/scaling.json is missing: run `make scale`.")
    return load_json(TABLE)


def table(result: dict[str, Any]) -> pd.DataFrame:
    """The measurements, one row each, with events_per_s and total_s, start-up included."""
    measured = pd.DataFrame(result["measured"])
    return measured.assign(
        events_per_s=measured["events"] / measured["work_s"],
        total_s=measured["start_s"] + measured["work_s"],
    )


def findings(result: dict[str, Any]) -> dict[str, float | None]:
    """What the largest size says.

    Returns:
        peak_mb of one process; speed_kept, its events a second against those of the size before;
        of_xgboost, its events a second against XGBoost's own; spark_against_one, the seconds of Spark's
        work on 2 cores against those of one process; crossover, the number of events from which Spark on 2
        cores is done first, on straight lines through the work of both sizes, raised by each path's median
        start-up (None: never).
    """
    rows = table(result).set_index(["path", "events"]).sort_index()
    one, two = (rows.loc[path] for path in (ONE, "Spark, 2 cores"))
    before, largest = one.index[-2:]
    lines = [_line(path["work_s"], path["start_s"].median(), before, largest) for path in (one, two)]
    (start_one, slope_one), (start_two, slope_two) = lines
    crossing = (start_two - start_one) / (slope_one - slope_two) if slope_one > slope_two else None
    found = {
        "peak_mb": one["peak_mb"][largest],
        "speed_kept": one["events_per_s"][largest] / one["events_per_s"][before],
        "of_xgboost": one["events_per_s"][largest] / one["xgboost_per_s"][largest],
        "spark_against_one": two["work_s"][largest] / one["work_s"][largest],
        "crossover": crossing,
    }
    return {name: None if value is None else float(value) for name, value in found.items()}


def _line(work: pd.Series, start: float, before: int, largest: int) -> tuple[float, float]:
    """Height at no event, in seconds, and seconds an event."""
    slope = (work[largest] - work[before]) / (largest - before)
    return start + work[largest] - slope * largest, slope


def cluster(result: dict[str, Any], events: int, cores: Sequence[int]) -> pd.DataFrame:
    """Hours for many events by arithmetic, from the largest size measured.

    Assumes that the cluster's cores are like this machine's, that storage feeds them all, that start-up
    takes what it took here, and that the share of the work which more cores do not help is what 1 and 2
    cores showed (Amdahl's law).

    Returns:
        Index: "one process" and "Spark, N cores"; columns hours, hours_if_all_spread (every core helps as
        much as the first) and share_waiting, the share of the paid core-hours that does nothing.
    """
    rows = table(result)
    last = rows[rows["events"] == rows["events"].max()].set_index("path")
    size = last["events"].iloc[0]
    one, two = (last["work_s"][path] / size * events for path in ("Spark, 1 core", "Spark, 2 cores"))
    serial = min(max(2 * two / one - 1, 0.0), 1.0)
    start = last["start_s"]["Spark, 2 cores"]
    hours = {ONE: last["work_s"][ONE] / size * events / 3_600}
    spread, waiting = dict(hours), {ONE: 0.0}
    for count in cores:
        name = f"Spark, {count} cores"
        seconds = start + one * (serial + (1 - serial) / count)
        hours[name], waiting[name] = seconds / 3_600, 1 - one / (seconds * count)
        spread[name] = (start + one / count) / 3_600
    return pd.DataFrame({"hours": hours, "hours_if_all_spread": spread, "share_waiting": waiting})


# --- figures


def growth(measured: pd.DataFrame, crossover: float | None) -> Figure:
    """Seconds and peak memory of each path against the number of events, on log axes.

    Args:
        measured: one row a size and path, with events, path, work_s, total_s and peak_mb.
        crossover: the number of events from which Spark on 2 cores is done first; None for never.
    """
    figure, (time, memory) = plt.subplots(2, 1, figsize=(7.5, 6.4), sharex=True)
    largest = measured["events"].max()
    ahead = f"not ahead of one process up to {largest:,} events"
    if crossover is not None and crossover <= largest:
        ahead = f"ahead from {float(f'{crossover:.1g}'):,.0f} events"
    title = plots.wrapped(f"Spark on 2 cores, start-up included: {ahead}")
    time.set(title=title, ylabel="seconds (log scale)", yscale="log")
    memory.set(title="Memory at its peak", ylabel="MB")
    for (path, rows), colour in zip(
        measured.groupby("path", sort=False), (plots.BLUE, plots.ORANGE, plots.GREEN), strict=True
    ):
        time.plot(rows["events"], rows["work_s"], "o-", color=colour, label=path)
        time.plot(rows["events"], rows["total_s"], "x:", color=colour)
        memory.plot(rows["events"], rows["peak_mb"].astype(float), "o-", color=colour)
    time.plot([], [], "x:", color="black", label="start-up included")
    memory.set(xscale="log", xlabel="events (log scale)", ylim=0)
    figure.legend(loc="outside lower center", ncols=2)
    return figure


def forgotten(remembered: pd.Series, alone: pd.Series, batch: int) -> Figure:
    """Which share of the alerts' burst counts a worker that starts afresh forgets, along its micro-batch.

    Args:
        remembered, alone: burst counts of the same alerts, indexed by the event's turn within its key.
        batch: events of a key in a micro-batch.
    """
    place = remembered.index % batch // (batch // 10) * (batch // 10)
    kept = alone.groupby(place).sum() / remembered.groupby(place).sum()
    lost = (alone < remembered).mean()
    figure, axes = plots.single(
        f"Without memory {lost:.0%} of the alerts lose a part of their burst; early in a micro-batch "
        f"{1 - kept.iloc[0]:.0%} of all is forgotten, late {1 - kept.iloc[-1]:.0%}",
        "position in the micro-batch, in events of the key",
        "share of the burst count\nthat is forgotten",
        figsize=(7.5, 3.4),
    )
    axes.bar(kept.index, 1 - kept, width=0.9 * (batch // 10), align="edge", color=plots.BLUE)
    axes.set_ylim(0, 1)
    axes.yaxis.set_major_formatter(PercentFormatter(1))
    return figure


# --- checkers


@checker
def check_8a(attempt: Callable) -> str:
    """From how many events on the faster starter is overtaken."""
    for start, slow, fast in ((10.0, 100_000, 250_000), (30.0, 50_000, 80_000)):
        slips = {
            "This is a time; multiply by a speed to get events.": start / (1 - slow / fast),
            "By then one process has done so many; Spark still has all of them to do.": start * slow,
            "This is as if one process handled nothing while Spark starts.": start * fast,
            "Compare the seconds for one event, not the events in one second.": start * (fast - slow),
        }
        where = f"For {start:g} s, {slow:,} and {fast:,} events a second:"
        compare(as_number(ask(attempt, start, slow, fast)), start / (1 / slow - 1 / fast), slips, where)
    for fast in (100_000, 200_000):
        answer = ask(attempt, 10.0, 200_000, fast)
        if np.ndim(answer) or answer != np.inf:
            raise Off(
                "If Spark is not faster it never catches up, not even where both are as fast: give np.inf."
            )
    return "right. Below that number the start-up is all that one notices."


@checker
def check_8b(attempt: Callable) -> str:
    """Amdahl's law."""
    for share, cores in ((0.9, 2), (0.9, 64), (0.5, 1_000), (1.0, 8)):
        slips = {
            "This is as if all of the work could be spread.": float(cores),
            "This is the share of the time that is left; one divided by it is the speed-up.": 1
            - share
            + share / cores,
            "The two are swapped: `share` can be spread, 1 - share cannot.": 1
            / (share + (1 - share) / cores),
            "This is how much more work gets done in the same time; the work here stays the same.": (
                1 - share + share * cores
            ),
            "This is Amdahl's limit, of any number of cores.": 1 / (1 - share) if share < 1 else np.inf,
            "The work that is spread over the cores is divided by them.": share * cores,
            "The part that cannot be spread still takes its time: 1 - share.": cores / share,
        }
        where = f"With a share of {share:g} and {cores:,} cores:"
        compare(as_number(ask(attempt, share, cores)), 1 / (1 - share + share / cores), slips, where)
    return "right. With a share of 0.9, no number of cores is ten times as fast."
