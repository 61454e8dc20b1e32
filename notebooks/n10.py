"""Notebook 10, your own stream: its figures and its checkers."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from checker import as_number, ask, checker, compare
from helpers import plots
from helpers.rules import SUSPICIOUS
from helpers.settings import BLOCK
from n02 import accused, this_is_a_rule


def queue(risk: pd.Series, alerted: pd.Series) -> Figure:
    """How rare every event of a round is, and which of them are on the desk."""
    rare = (1 - risk).clip(lower=1e-6)
    least = rare[alerted].max() if alerted.any() else np.nan
    desk = f"{alerted.sum()} of {len(risk):,} events are on the desk"
    title = f"{desk}: of the training events at most {least:.2%} are as odd"
    y = "1 - risk (log scale):\nso many are as odd"
    figure, axes = plots.single(title, plots.CLOCK, y, height=3.4, yscale="log")
    parts = ((~alerted, plots.GREY, 6, "left alone"), (alerted, plots.RED, 36, "alert"))
    for mask, colour, size, label in parts:
        axes.scatter(rare.index[mask], rare[mask], s=size, color=colour, label=label, lw=0)
    axes.invert_yaxis()
    axes.yaxis.set_major_formatter(lambda share, _: f"{100 * share:g}%")
    axes.legend(**plots.BESIDE)
    return figure


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
            "This is alerts an hour; multiply by the minutes of each.": alerts / 60,
            "This is the work on every event; only the alerts are looked at.": events * minutes / 60,
            "These are working days of 8 hours; the question is how many hours.": hours / 8,
        }
        found = as_number(ask(attempt, per, events, minutes))
        compare(found, hours, slips, f"At {per} of 1,000, {events:,} events a day, {minutes} minutes:")
    return "right. Who cannot pay for these hours has another budget."


@checker
def check_10b(attempt: Callable, facts: pd.DataFrame, thresholds: dict, votes: pd.DataFrame) -> str:
    """A rule of the learner's own, on the learner's own table."""
    fires, said = accused(attempt, facts, thresholds), votes == SUSPICIOUS
    return f"{this_is_a_rule(fires, said)} Add it to `book` above and run the notebook again."
