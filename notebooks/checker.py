"""What checkers share: each compares an answer with what the notebook knows and says what is off.

A checker prints one line and never raises: an answer of None is "not attempted yet", an exception of the
learner's code is named, and a wrong answer is described by its likely cause, not by the right one.
"""

import copy
import dis
import inspect
from collections.abc import Callable, Mapping, Sequence
from functools import wraps
from typing import Any

import numpy as np
import pandas as pd


class NotYet(Exception):
    """The answer is still the stub."""


class Off(Exception):
    """What is off with an answer, in words."""


def off_if(wrong: Any, sentence: str) -> None:
    if wrong:
        raise Off(sentence)


def checker(check: Callable[..., str]) -> Callable[..., None]:
    """Turn a check, which gives praise or raises `Off`, into one that prints a verdict and never raises."""

    @wraps(check)
    def say(attempt: Any, *known: Any) -> None:
        try:
            verdict = "not attempted yet." if attempt is None else check(attempt, *known)
        except NotYet:
            verdict = "not attempted yet."
        except Off as off:
            verdict = f"not quite. {off}"
        except Exception as error:
            verdict = f"not quite. The answer cannot be compared ({_named(error)})."
        print(f"Exercise {check.__name__.removeprefix('check_')}: {verdict}")

    return say


def _named(error: Exception) -> str:
    return f"{type(error).__name__}: {error}".split("\n")[0].strip().rstrip(".")


def tables_outside(function: Any) -> list[str]:
    """The tables of the notebook that a function reads although they were not given to it."""
    steps = dis.get_instructions(function) if inspect.isfunction(function) else ()
    names = {step.argval for step in steps if step.opname == "LOAD_GLOBAL"}
    tables = pd.DataFrame | pd.Series
    return sorted(name for name in names if isinstance(function.__globals__.get(name), tables))


def _hint(error: Exception, function: Callable, arguments: Sequence[Any]) -> str:
    """What helps with the errors that beginners meet most."""
    if "numpy.ndarray" in str(error):
        return " What your function is given is a NumPy array; `pd.Series(...)` makes a pandas column of it."
    if not isinstance(error, KeyError):
        return ""
    given = zip(inspect.signature(function).parameters, arguments, strict=False)
    tables = [(name, table) for name, table in given if isinstance(table, pd.DataFrame | Mapping)]
    return "".join(f" `{name}` has {', '.join(map(str, table))}." for name, table in tables)


_STUB = (lambda: None).__code__  # does nothing but return None


def ask(function: Any, *arguments: Any) -> Any:
    """What the learner's function gives for copies of these arguments."""
    stub = "The answer should be a function; leave the line that begins with `def` as it is."
    off_if(not callable(function), stub)
    numbers = all(isinstance(argument, int | float) for argument in arguments)
    given = f" for {', '.join(map(str, arguments))}" if numbers else ""
    try:
        answer = function(*copy.deepcopy(arguments))
    except Exception as error:
        hint = _hint(error, function, arguments)
        raise Off(f"Your code stops{given} with {_named(error)}.{hint}") from None
    if answer is None:
        code = getattr(function, "__code__", None)
        if code and code.co_code == _STUB.co_code:  # with a forgotten `return` it would do more
            raise NotYet
        raise Off(f"Your function gives None{given}; is a `return` missing?")
    return answer


def as_number(answer: Any) -> float:
    try:
        number = float(np.asarray(answer, dtype=object).item())
    except (TypeError, ValueError):
        raise Off(f"The answer should be one number, but is of type {type(answer).__name__}.") from None
    off_if(not np.isfinite(number), f"The answer is {number}, which is no number to work with.")
    return number


def as_pair(answer: Any, names: str) -> list[float]:
    off_if(np.shape(answer) != (2,), f"It should give two numbers: return {names}.")
    return [as_number(value) for value in answer]


def as_column(answer: Any, n: int) -> np.ndarray:
    try:
        column = np.asarray(answer, dtype=float)
    except (TypeError, ValueError):
        raise Off("It should give one number per event; these are no numbers.") from None
    gives = f"an array of shape {column.shape}" if column.ndim else "a single number"
    wrong = f"It should give one value per event, {n:,} here, but gives {gives}."
    off_if(column.shape != (n,), f"{wrong} Does it work with what it is given?")
    none = (~np.isfinite(column)).sum()
    off_if(none, f"For {none:,} of {n:,} events it gives no number to work with.")
    return column


def as_flags(answer: Any, n: int) -> np.ndarray:
    column = as_column(answer, n)
    yes_or_no = np.isin(column, (0, 1)).all()
    off_if(not yes_or_no, "A rule says yes or no: it should give True or False for every event.")
    return column.astype(bool)


def close(one: Any, other: Any, tolerance: float) -> bool:
    return np.shape(one) == np.shape(other) and np.allclose(one, other, rtol=tolerance, atol=tolerance)


def still_right(found: Any, expected: Any, tol: float = 1e-6) -> None:
    """Raise `Off` unless what is right for the notebook's input is right for another one, too."""
    work = "work with what your function is given, not with a table from outside or a number written down."
    wrong = not close(found, expected, tol)
    off_if(wrong, f"It is right for this input, but not for another one: {work}")


def only_if_no_slip(found: Any, slips: Mapping[str, Any], tol: float = 1e-6) -> None:
    """Raise `Off` with the sentence of the first slip that gives the same."""
    for sentence, slip in slips.items():
        off_if(close(found, slip, tol), sentence)


def compare(found: Any, expected: Any, slips: Mapping[str, Any], where: str = "", tol: float = 1e-6) -> None:
    """Raise `Off` unless equal: by the sentence of the slip that gives the same, or the first value off."""
    if close(found, expected, tol):
        return
    only_if_no_slip(found, slips, tol)
    off_if(close(found, np.negative(expected), tol), "The sign is turned.")
    percent = np.allclose(found, np.multiply(100, expected), rtol=0.01)
    off_if(percent, "This is a hundred times as much: is it a percentage?")
    rounded = any(close(found, np.round(expected, digits), 1e-9) for digits in range(7))
    off_if(rounded and np.any(found), "This is right, but rounded; give all digits.")
    off = ~np.isclose(found, expected, rtol=tol, atol=tol)
    first = int(np.argmax(off))
    value, right = float(np.ravel(found)[first]), float(np.ravel(expected)[first])
    place = f"at position {first:,}" if np.ndim(found) else ""
    size = "too high" if value > right else "too low"
    many = f"; {off.sum():,} of {off.size:,} values are off" if np.ndim(found) else ""
    words = " ".join(filter(None, [where, place, f"{value:.6g} is {size}{many}."]))
    raise Off(words[0].upper() + words[1:])
