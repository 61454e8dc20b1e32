"""Checkers of notebook 4: rebuild ordinary events."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import pandas as pd

from helpers import rules
from helpers.autoencoder import Autoencoder
from helpers.exercises.checker import Off, as_column, ask, checker, close, compare

LABELS = {rules.SUSPICIOUS: "suspicious", rules.NORMAL: "presumed normal", rules.UNDECIDED: "undecided"}


@checker
def check_4a(attempt: Callable, x: np.ndarray, autoencoder: Autoencoder) -> str:
    """The reconstruction error of each row."""
    rebuilt = autoencoder.reconstruct(x)
    squared = (x - rebuilt) ** 2
    slips = {
        "This is one number for all events; an analyst needs one for each.": squared.mean(),
        "This is one number an input; average over the inputs, along the rows (axis=1).": squared.mean(
            axis=0
        ),
        "This adds the inputs up; the mean can be compared between detectors with more or fewer inputs.": (
            squared.sum(axis=1)
        ),
        "This averages the differences themselves; too high and too low cancel out, so square them.": (
            x - rebuilt
        ).mean(axis=1),
        "This averages absolute differences; squared ones punish one large miss more.": np.abs(
            x - rebuilt
        ).mean(axis=1),
        "This is the root of the error.": np.sqrt(squared.mean(axis=1)),
    }
    answer = ask(attempt, x, rebuilt)
    for sentence, slip in slips.items():
        if close(answer, slip, 1e-6):
            raise Off(sentence)
    compare(as_column(answer, len(x)), squared.mean(axis=1), {})
    return "right. This is what the network was trained to make small, event by event."


@checker
def check_4b(attempt: Callable, x: np.ndarray, autoencoder: Autoencoder, names: Sequence[str]) -> str:
    """The name of the worst rebuilt input of each row."""
    rebuilt = autoencoder.reconstruct(x)
    answer = np.asarray(ask(attempt, x, rebuilt, list(names)))
    if answer.shape != (len(x),):
        raise Off(f"It should give one name an event, {len(x)} here, but gives the shape {answer.shape}.")
    if answer.dtype.kind in "iu":
        raise Off("These are positions; an analyst reads names.")
    named = np.array(names)
    if (answer == named[np.abs(x - rebuilt).argmax(axis=1)]).all():
        return "right. A reason for every alert, without another model."
    for sentence, slip in {
        "Too low is as bad as too high: take the sign away before you look for the largest.": x - rebuilt,
        "Too high is as bad as too low: take the sign away before you look for the largest.": rebuilt - x,
        "These are the inputs that were rebuilt best.": -np.abs(x - rebuilt),
        "These are the largest inputs; the question is which one was rebuilt worst.": np.abs(x),
    }.items():
        if (answer == named[slip.argmax(axis=1)]).all():
            raise Off(sentence)
    wrong = int(np.argmax(answer != named[np.abs(x - rebuilt).argmax(axis=1)]))
    raise Off(f"For row {wrong} it says {answer[wrong]}, but another input was rebuilt worse.")


@checker
def check_4c(attempt: Callable) -> str:
    """How rules and network correct each other, one event at a time."""
    table = pd.DataFrame(
        [(label, bad, accused) for label in LABELS for bad in (True, False) for accused in (True, False)]
    )
    accusation = np.where(table[[2]], rules.SUSPICIOUS, rules.ABSTAIN)
    expected = rules.refine_labels(
        table[0].to_numpy(), pd.DataFrame(accusation), table[1].to_numpy().astype(float), 0.5
    )
    for (label, bad, accused), right in zip(table.itertuples(index=False), expected, strict=True):
        answer = ask(attempt, label, bad, accused)
        if isinstance(answer, bool) or answer not in LABELS:
            raise Off(f"It should give 1, 0 or -1, but gives {answer!r}.")
        if answer != right:
            raise Off(
                f"An event that is {LABELS[label]}, {'badly' if bad else 'well'} rebuilt and "
                f"{'accused by a rule' if accused else 'accused by no rule'} should not become "
                f"{LABELS[int(answer)]}; read the three sentences above again."
            )
    return "right. All twelve cases."
