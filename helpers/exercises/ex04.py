"""Checkers of notebook 4: rebuild ordinary events."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pandas as pd

from helpers import rules
from helpers.autoencoder import Autoencoder
from helpers.exercises.checker import Off, as_column, ask, checker, close, compare, still_right

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
    compare(as_column(answer, len(x)), squared.mean(axis=1), {}, tol=1e-4)
    others = as_column(ask(attempt, x[::-1], 0 * rebuilt), len(x))
    still_right(others, (x[::-1] ** 2).mean(axis=1), tol=1e-4)
    return "right. This is what the network was trained to make small, event by event."


@checker
def check_4b(attempt: Callable, x: np.ndarray, autoencoder: Autoencoder, names: Sequence[str]) -> str:
    """The name of the worst rebuilt input of each row."""
    both = np.vstack([np.eye(len(names)), -np.eye(len(names))])  # every input is the worst, too high or low
    order = np.array(names)
    for rows, rebuilt, named in ((x, autoencoder.reconstruct(x), order), (both, 0 * both, order[::-1])):
        answer = _names(ask(attempt, rows, rebuilt, named.tolist()), len(rows), named)
        away = rows - rebuilt
        right = named[np.abs(away).argmax(axis=1)]
        wrong = np.flatnonzero(answer != right)
        slips = {
            "Too low is as bad as too high: take the sign away before you look for the largest.": named[
                away.argmax(axis=1)
            ],
            "Too high is as bad as too low: take the sign away before you look for the largest.": named[
                away.argmin(axis=1)
            ],
            "These are the inputs that were rebuilt best.": named[np.abs(away).argmin(axis=1)],
            "These are the largest inputs; the question is which one was rebuilt worst.": named[
                np.abs(rows).argmax(axis=1)
            ],
            "With the columns in another order its names are off: take them from `names`.": order[
                np.abs(away).argmax(axis=1)
            ],
        }
        for sentence, slip in slips.items():
            if len(wrong) and (answer == slip).all():
                raise Off(sentence)
        if len(wrong):
            raise Off(f"For row {wrong[0]} it says {answer[wrong[0]]}, but another input was rebuilt worse.")
    return "right. A reason for every alert, without another model."


def _names(answer: Any, n: int, names: np.ndarray) -> np.ndarray:
    """An answer that names one input a row."""
    found = np.asarray(answer)
    if found.shape != (n,):
        gives = {0: "one for all", 1: f"{found.size}"}.get(found.ndim, f"a table of shape {found.shape}")
        raise Off(
            f"It should give one name an event, {n} here, but gives {gives}. Does it work with what it is "
            "given?"
        )
    if found.dtype.kind in "iu":
        raise Off("These are positions; an analyst reads names.")
    if unknown := [name for name in found if name not in names]:
        raise Off(f"There is no input called {unknown[0]}; take the names from `names`.")
    return found


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
