"""What checkers share: each compares an answer with what the notebook knows and says what is off.

A checker prints one line and never raises: an answer of None is "not attempted yet", an exception of the
learner's code is named, and a wrong answer is described by its likely cause, not by the right one.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from functools import wraps
from typing import Any

import numpy as np


class NotYet(Exception):
    """The answer is still the stub."""


class Off(Exception):
    """What is off with an answer, in words."""


def checker(check: Callable[..., str]) -> Callable[..., None]:
    """Turn a check, which gives praise or raises `Off`, into one that prints a verdict and never raises."""
    exercise = check.__name__.removeprefix("check_")

    @wraps(check)
    def say(attempt: Any, *known: Any) -> None:
        try:
            if attempt is None:
                raise NotYet
            verdict = check(attempt, *known)
        except NotYet:
            verdict = "not attempted yet."
        except Off as off:
            verdict = f"not quite. {off}"
        except Exception as error:
            verdict = f"not quite. The answer cannot be compared ({_named(error)})."
        print(f"Exercise {exercise}: {verdict}")

    return say


def _named(error: Exception) -> str:
    return f"{type(error).__name__}: {error}".split("\n")[0].strip().rstrip(".")


def _is_stub(function: Any) -> bool:
    """Whether a function does nothing: no name looked up, no variable of its own."""
    code = getattr(function, "__code__", None)
    return code is not None and not code.co_names and code.co_nlocals == code.co_argcount


def ask(function: Any, *arguments: Any) -> Any:
    """What the learner's function gives for copies of these arguments."""
    if not callable(function):
        raise Off("The answer should be a function; leave the line that begins with `def` as it is.")
    try:
        answer = function(*copy.deepcopy(arguments))
    except Exception as error:
        raise Off(f"Your code stops with {_named(error)}.") from None
    if answer is None:
        if _is_stub(function):
            raise NotYet
        raise Off("Your function gives None; is a `return` missing?")
    return answer


def as_number(answer: Any) -> float:
    try:
        number = float(answer)
    except (TypeError, ValueError):
        raise Off(f"The answer should be one number, but is of type {type(answer).__name__}.") from None
    if not np.isfinite(number):
        raise Off(f"The answer is {number}, which is no number to work with.")
    return number


def as_column(answer: Any, n: int) -> np.ndarray:
    try:
        column = np.asarray(answer, dtype=float)
    except (TypeError, ValueError):
        raise Off(f"It should give numbers, but gives {type(answer).__name__}.") from None
    if column.shape != (n,):
        shapes = {0: "a single number", 1: f"{column.size:,} values"}
        shape = shapes.get(column.ndim, f"a table of shape {column.shape}")
        raise Off(f"It should give one value an event, {n:,} here, but gives {shape}.")
    if not np.isfinite(column).all():
        bad = int(np.argmin(np.isfinite(column)))
        raise Off(f"The value at position {bad:,} is {column[bad]}; every event needs a number.")
    return column


def as_flags(answer: Any, n: int) -> np.ndarray:
    column = as_column(answer, n)
    if not np.isin(column, (0, 1)).all():
        raise Off("A rule says yes or no: it should give True or False for every event.")
    return column.astype(bool)


def close(one: Any, other: Any, tolerance: float) -> bool:
    return np.shape(one) == np.shape(other) and np.allclose(one, other, rtol=tolerance, atol=tolerance)


def compare(found: Any, expected: Any, slips: Mapping[str, Any], where: str = "", tol: float = 1e-6) -> None:
    """Raise `Off` unless equal: by the sentence of the slip that gives the same, or the first value off."""
    if close(found, expected, tol):
        return
    for sentence, slip in slips.items():
        if close(found, slip, tol):
            raise Off(sentence)
    off = ~np.isclose(found, expected, rtol=tol, atol=tol)
    first = int(np.argmax(off))
    value, right = float(np.ravel(found)[first]), float(np.ravel(expected)[first])
    place = f"at position {first:,}" if np.ndim(found) else ""
    size = "too large" if value > right else "too small"
    many = f"; {off.sum():,} of {off.size:,} values are off" if np.ndim(found) else ""
    words = " ".join(filter(None, [where, place, f"{value:.6g} is {size}{many}."]))
    raise Off(words[0].upper() + words[1:])
