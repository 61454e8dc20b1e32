"""Checkers of the exercises: each compares an answer with what the notebook knows and says what is off.

A checker prints one line and never raises: an answer of None is "not attempted yet", an exception of the
learner's code is named, and a wrong answer is described by its likely cause, not by the right one.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from functools import wraps
from typing import Any

import numpy as np
import pandas as pd

from helpers import evaluation, features, rules
from helpers.autoencoder import Autoencoder
from helpers.judge import JUDGE_INPUTS, Judge

TOO_MANY = 10 * rules.BUDGET  # share of events beyond which a rule does not accuse, it complains
LABELS = {rules.SUSPICIOUS: "suspicious", rules.NORMAL: "presumed normal", rules.UNDECIDED: "undecided"}


class _NotYet(Exception):
    """The answer is still the stub."""


class _Off(Exception):
    """What is off with an answer, in words."""


def _checker(check: Callable[..., str]) -> Callable[..., None]:
    """Turn a check, which gives praise or raises `_Off`, into one that prints a verdict and never raises."""
    exercise = check.__name__.removeprefix("check_")

    @wraps(check)
    def say(attempt: Any, *known: Any) -> None:
        try:
            if attempt is None:
                raise _NotYet
            verdict = check(attempt, *known)
        except _NotYet:
            verdict = "not attempted yet."
        except _Off as off:
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


def _ask(function: Any, *arguments: Any) -> Any:
    """What the learner's function gives for copies of these arguments."""
    if not callable(function):
        raise _Off("The answer should be a function; leave the line that begins with `def` as it is.")
    try:
        answer = function(*copy.deepcopy(arguments))
    except Exception as error:
        raise _Off(f"Your code stops with {_named(error)}.") from None
    if answer is None:
        if _is_stub(function):
            raise _NotYet
        raise _Off("Your function gives None; is a `return` missing?")
    return answer


def _number(answer: Any) -> float:
    try:
        number = float(answer)
    except (TypeError, ValueError):
        raise _Off(f"The answer should be one number, but is of type {type(answer).__name__}.") from None
    if not np.isfinite(number):
        raise _Off(f"The answer is {number}, which is no number to work with.")
    return number


def _column(answer: Any, n: int) -> np.ndarray:
    try:
        column = np.asarray(answer, dtype=float)
    except (TypeError, ValueError):
        raise _Off(f"It should give numbers, but gives {type(answer).__name__}.") from None
    if column.shape != (n,):
        shapes = {0: "a single number", 1: f"{column.size:,} values"}
        shape = shapes.get(column.ndim, f"a table of shape {column.shape}")
        raise _Off(f"It should give one value an event, {n:,} here, but gives {shape}.")
    if not np.isfinite(column).all():
        bad = int(np.argmin(np.isfinite(column)))
        raise _Off(f"The value at position {bad:,} is {column[bad]}; every event needs a number.")
    return column


def _flags(answer: Any, n: int) -> np.ndarray:
    column = _column(answer, n)
    if not np.isin(column, (0, 1)).all():
        raise _Off("A rule says yes or no: it should give True or False for every event.")
    return column.astype(bool)


def _close(one: Any, other: Any, tolerance: float) -> bool:
    return np.shape(one) == np.shape(other) and np.allclose(one, other, rtol=tolerance, atol=tolerance)


def _compare(found: Any, expected: Any, slips: Mapping[str, Any], where: str = "", tol: float = 1e-6) -> None:
    """Raise `_Off` unless equal: by the sentence of the slip that gives the same, or the first value off."""
    if _close(found, expected, tol):
        return
    for sentence, slip in slips.items():
        if _close(found, slip, tol):
            raise _Off(sentence)
    off = ~np.isclose(found, expected, rtol=tol, atol=tol)
    first = int(np.argmax(off))
    value, right = float(np.ravel(found)[first]), float(np.ravel(expected)[first])
    place = f"at position {first:,}" if np.ndim(found) else ""
    size = "too large" if value > right else "too small"
    many = f"; {off.sum():,} of {off.size:,} values are off" if np.ndim(found) else ""
    words = " ".join(filter(None, [where, place, f"{value:.6g} is {size}{many}."]))
    raise _Off(words[0].upper() + words[1:])


# 1: load the stream


@_checker
def check_1a(attempt: float, events: pd.DataFrame, train: pd.DataFrame) -> str:
    """The share of the training part that costs more than 200 euro."""
    large = train["Amount"] > 200
    slips = {
        "This is a percentage; a share lies between 0 and 1.": large.mean() * 100,
        "This is how many they are; divide by the number of events.": large.sum(),
        "This is the share of the others, those that cost 200 euro or less.": 1 - large.mean(),
        "This is the share in the whole window; the question is about the training part.": (
            events["Amount"] > 200
        ).mean(),
    }
    _compare(_number(attempt), large.mean(), slips)
    return (
        f"right. {large.mean():.1%} of the events, while the publication counts 0.17 % frauds: "
        "nearly everybody above 200 euro is honest."
    )


@_checker
def check_1b(attempt: Callable, values: pd.Series) -> str:
    """Robust z-scores of a column."""
    v = values.to_numpy()
    centred = v - np.median(v)
    mad = np.median(np.abs(centred))
    slips = {
        "These are ordinary z-scores: use medians, which a few extreme values cannot move.": (v - v.mean())
        / v.std(),
        "These are ordinary z-scores; use medians, which a few extreme values cannot move.": (v - v.mean())
        / v.std(ddof=1),
        "The factor 1.4826 is missing, which makes the median deviation a standard deviation.": centred / mad,
        "The factor 1.4826 belongs to the deviation, below the line.": centred * 1.4826 / mad,
        "Divide by the robust standard deviation; here it multiplies.": centred * (1.4826 * mad),
        "Subtract the median first: 0 should be the middle.": v / (1.4826 * mad),
        "The sign is lost: below the middle means negative.": np.abs(centred) / (1.4826 * mad),
        "This is centred, but not yet in units of the robust standard deviation.": centred,
    }
    _compare(_column(_ask(attempt, values), len(v)), centred / (1.4826 * mad), slips)
    far = (np.abs(centred / (1.4826 * mad)) > features.UNUSUAL_SD).mean()
    return f"right. {far:.1%} of these events lie beyond 3 robust standard deviations."


@_checker
def check_1c(attempt: Callable, train: pd.DataFrame, test: pd.DataFrame) -> str:
    """How many training events come after the first test event."""
    events = pd.concat([train, test])
    order = np.random.default_rng(0).permutation(len(events))
    shuffled = events.iloc[order[: len(train)]], events.iloc[order[len(train) :]]
    late = int((shuffled[0].index > shuffled[1].index.min()).sum())
    in_time, mixed = (_number(_ask(attempt, *parts)) for parts in ((train, test), shuffled))
    if in_time:
        raise _Off(f"Our split follows time, so 0 training events come late; your function says {in_time:g}.")
    slips = {
        "For a shuffled split it says 0, too. Look at the clock, which is the index, not at row numbers.": 0,
        "It compares with the last test event; one test event in the past is enough to peek.": (
            shuffled[0].index > shuffled[1].index.max()
        ).sum(),
        "It counts test events; the question is how many training events come late.": (
            shuffled[1].index < shuffled[0].index.max()
        ).sum(),
        "This is yes or no; the question is how many.": 1,
        "This is a share; the question is how many.": late / len(train),
    }
    _compare(mixed, late, slips, "For a shuffled split")
    return f"right. Shuffled, {late:,} of {len(train):,} training events are later than the first test event."


# 2: label by expert rules


@_checker
def check_2a(attempt: Callable, votes: pd.DataFrame) -> str:
    """A rule's coverage: the share of events on which it does not abstain."""
    for name, vote in votes.items():
        slips = {
            "leaves out the votes for the defence: 0 is a vote, only -1 abstains.": (
                vote == rules.SUSPICIOUS
            ).mean(),
            "counts the abstentions: -1 is no vote, and 0 is one.": (vote != 0).mean(),
            "is how many events; coverage is a share of all.": (vote != rules.ABSTAIN).sum(),
            "is the share of the abstentions.": (vote == rules.ABSTAIN).mean(),
            "is the mean of the codes 1, 0 and -1, which says nothing.": vote.mean(),
        }
        slips = {f"For `{name}` your number {sentence}": value for sentence, value in slips.items()}
        expected = (vote != rules.ABSTAIN).mean()
        _compare(_number(_ask(attempt, vote)), expected, slips, f"For `{name}`")
    return "right. The same as the column Coverage above."


@_checker
def check_2b(attempt: Callable, values: pd.Series) -> str:
    """The value that the alert budget's share exceeds."""
    threshold = _number(_ask(attempt, values))
    share = float((values > threshold).mean())
    if abs(share - rules.BUDGET) * len(values) > 1:
        hint = (
            " You are at the other end of the list."
            if share > 0.9
            else " 5 of 1,000 is half a percent, not five."
            if abs(share - 10 * rules.BUDGET) < rules.BUDGET
            else " Nobody would ever be accused."
            if share == 0
            else ""
        )
        raise _Off(f"{share * 1_000:.1f} of 1,000 events exceed {threshold:.4g}; the budget is 5.{hint}")
    return f"right. 5 of 1,000 events of the training part are farther from the profile than {threshold:.1f}."


def _accused(
    rule: Callable, signals: pd.DataFrame, thresholds: dict[str, float], most: float = 1
) -> np.ndarray:
    """Where a learner's rule fires, after the checks that every rule must pass; `most` is a share."""
    fires = _flags(_ask(rule, signals, thresholds), len(signals))
    share = fires.mean() * 1_000
    if not fires.any():
        raise _Off("Your rule accuses nobody. Lower what it asks for.")
    if fires.mean() > most:
        raise _Off(
            f"Your rule accuses {share:.0f} of 1,000 events. Analysts can look at 5; ask for something "
            f"rarer, {most * 1_000:.0f} at most."
        )
    half = len(signals) // 2
    if (_flags(_ask(rule, signals.iloc[:half], thresholds), half) != fires[:half]).any():
        raise _Off(
            "Asked about the first half of the stream alone, your rule says something else: it uses events "
            "that come later. Take numbers from `thresholds`, or write them down."
        )
    return fires


@_checker
def check_2c(attempt: Callable, signals: pd.DataFrame, thresholds: dict[str, float]) -> str:
    """A rule of the learner's own; any that accuses few, looks back only and is new."""
    fires = _accused(attempt, signals, thresholds, TOO_MANY)
    votes = rules.apply_rules(signals, thresholds) == rules.SUSPICIOUS
    for name in votes:
        if (votes[name] == fires).all():
            raise _Off(f"Your rule says exactly what `{name}` says; a vote cast twice is no second opinion.")
    alone = fires[~votes.any(axis=1)].sum() / fires.sum()
    return (
        f"this is a rule. It accuses {fires.mean() * 1_000:.1f} of 1,000 events; no other rule accuses "
        f"{alone:.0%} of these. Notebook 6 measures it."
    )


# 3: describe behaviour


@_checker
def check_3a(attempt: Sequence[str], candidates: Mapping[str, Callable], events: pd.DataFrame) -> str:
    """Which candidate features see the future."""
    if isinstance(attempt, str) or not all(isinstance(name, str) for name in attempt):
        raise _Off('Give the names in a set, such as {"change", "rank"}.')
    if unknown := set(attempt) - set(candidates):
        raise _Off(f"There is no candidate called {sorted(unknown)[0]}.")
    half = len(events) // 2
    past = {name: feature(events)[:half] for name, feature in candidates.items()}
    leaking = {name for name, values in past.items() if not values.equals(candidates[name](events[:half]))}
    if innocent := sorted(set(attempt) - leaking):
        raise _Off(f"`{innocent[0]}` is the same without the later events: it looks back only.")
    if missed := len(leaking - set(attempt)):
        raise _Off(
            f"{missed} more {'sees' if missed == 1 else 'see'} the future. Compare each candidate on all "
            "events with the same candidate on the first half alone."
        )
    shuffled = pd.concat([events[:half], events[half:].sample(frac=1, random_state=0)])
    hidden = sum(past[name].equals(candidates[name](shuffled)[:half]) for name in leaking)
    return (
        f"right. Shuffling the later events would have missed {hidden} of these {len(leaking)}: it moves "
        "the largest value, but keeps it."
    )


@_checker
def check_3b(attempt: Callable) -> str:
    """How many of the `window` events before each one are flagged."""
    flags, window = np.random.default_rng(0).random(200) < 0.3, 7
    other = flags.copy()
    other[100:] = ~other[100:]
    series = pd.Series(flags.astype(float))
    before = series.shift(1, fill_value=0)
    found = _ask(attempt, flags, window)
    if np.isnan(np.ravel(np.asarray(found, dtype=float))[: window + 1]).any():
        raise _Off("The first events have fewer than `window` events before them: count those that exist.")
    slips = {
        "Each event counts itself; only events before it are known and others.": series.rolling(
            window, min_periods=1
        ).sum(),
        "It counts everything since the beginning; only the last `window` events are recent.": (
            before.cumsum()
        ),
        "It reaches back one event too far.": before.rolling(window + 1, min_periods=1).sum(),
        "It reaches back one event too little.": before.rolling(window - 1, min_periods=1).sum(),
    }
    found = _column(found, len(flags))
    if not np.array_equal(found[:100], _column(_ask(attempt, other, window), len(flags))[:100]):
        raise _Off("When later events change, the counts before them change: it sees the future.")
    _compare(found, before.rolling(window, min_periods=1).sum(), slips)
    return (
        "right. It looks back only, and event by event it is what `burst` counts before asking for likeness."
    )


@_checker
def check_3c(attempt: Callable, z: np.ndarray, profile: features.Profile) -> str:
    """The Mahalanobis distance of rows from a mean, under a covariance."""
    z = z[:500]
    mean, covariance = profile.ordinary_mean, np.linalg.inv(profile.whitening @ profile.whitening.T)
    away = z - mean
    slips = {
        "This is the distance squared; the root is missing.": profile.distance(z) ** 2,
        "This is the straight distance, as if the axes had nothing to do with one another.": (
            np.linalg.norm(away, axis=1)
        ),
        "This divides each axis by its own spread, but leaves out how the axes move together.": (
            np.linalg.norm(away / np.sqrt(np.diag(covariance)), axis=1)
        ),
        "The covariance must be inverted: directions in which events vary much count little.": np.sqrt(
            np.einsum("ni,ij,nj->n", away, covariance, away)
        ),
        "Subtract the mean first.": profile.distance(z + mean),
    }
    found = _column(_ask(attempt, z, mean, covariance), len(z))
    _compare(found, profile.distance(z), slips)
    return "right. The same as the signal `distance`."


# 4: rebuild ordinary events


@_checker
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
    answer = _ask(attempt, x, rebuilt)
    for sentence, slip in slips.items():
        if _close(answer, slip, 1e-6):
            raise _Off(sentence)
    _compare(_column(answer, len(x)), squared.mean(axis=1), {})
    return "right. This is what the network was trained to make small, event by event."


@_checker
def check_4b(attempt: Callable, x: np.ndarray, autoencoder: Autoencoder, names: Sequence[str]) -> str:
    """The name of the worst rebuilt input of each row."""
    rebuilt = autoencoder.reconstruct(x)
    answer = np.asarray(_ask(attempt, x, rebuilt, list(names)))
    if answer.shape != (len(x),):
        raise _Off(f"It should give one name an event, {len(x)} here, but gives the shape {answer.shape}.")
    if answer.dtype.kind in "iu":
        raise _Off("These are positions; an analyst reads names.")
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
            raise _Off(sentence)
    wrong = int(np.argmax(answer != named[np.abs(x - rebuilt).argmax(axis=1)]))
    raise _Off(f"For row {wrong} it says {answer[wrong]}, but another input was rebuilt worse.")


@_checker
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
        answer = _ask(attempt, label, bad, accused)
        if isinstance(answer, bool) or answer not in LABELS:
            raise _Off(f"It should give 1, 0 or -1, but gives {answer!r}.")
        if answer != right:
            raise _Off(
                f"An event that is {LABELS[label]}, {'badly' if bad else 'well'} rebuilt and "
                f"{'accused by a rule' if accused else 'accused by no rule'} should not become "
                f"{LABELS[int(answer)]}; read the three sentences above again."
            )
    return "right. All twelve cases."


# 5: train a judge


@_checker
def check_5a(attempt: Callable, judge: Judge, seen: np.ndarray) -> str:
    """From SHAP contributions to the risk."""
    reasons = judge.reasons(seen).astype(float)
    for (_, row), risk in zip(reasons.iterrows(), judge.risk(seen), strict=True):
        total = row.sum()
        slips = {
            "These are log-odds; one step is missing on the way to a risk between 0 and 1.": total,
            "The bias is missing, the answer before any input was seen.": _sigmoid(total - row["bias"]),
            "These are odds; a risk is odds / (1 + odds).": np.exp(total),
            "This is the chance of the opposite; mind the sign.": _sigmoid(-total),
            "This averages the contributions; they add up.": _sigmoid(row.mean()),
        }
        _compare(_number(_ask(attempt, row)), risk, slips, "As a risk,", tol=1e-4)
    return "right. The contributions explain the judge completely: nothing is left over."


def _sigmoid(log_odds: float) -> float:
    return 1 / (1 + np.exp(-log_odds))


@_checker
def check_5b(attempt: Callable, events: pd.DataFrame, inputs: np.ndarray, n_train: int) -> str:
    """A senseless rule that a judge copies nearly perfectly."""
    from sklearn.metrics import f1_score

    flagged = _flags(_ask(attempt, events), len(events))
    if not 0.01 <= flagged[:n_train].mean() <= 0.5:
        raise _Off(
            f"Your rule flags {flagged[:n_train].mean():.1%} of the events; stay between 1 % and 50 %."
        )
    naive = rules.naive_rule(events)
    if (flagged & naive).sum() > 0.5 * (flagged | naive).sum():
        raise _Off("This is nearly the naive rule again; invent something that has no sense at all.")
    judge = Judge(names=JUDGE_INPUTS[:-1]).fit(inputs[:n_train], flagged[:n_train].astype(np.int8))
    f1 = f1_score(flagged[n_train:], judge.risk(inputs[n_train:]) > 0.5)
    if f1 < 0.9:
        raise _Off(
            f"The judge reaches an F1 of {f1:.2f} only. It cannot copy what it cannot see: use nothing but "
            "the columns of the event, and no order or chance."
        )
    return f"right. The judge copies it with an F1 of {f1:.2f}, and it means nothing."


@_checker
def check_5c(attempt: Callable) -> str:
    """Scores of each event by a model that had not seen it."""
    spy = _Spy()
    found = _column(_ask(attempt, spy.fit, spy.rows, spy.labels), len(spy.rows))
    if (found == found[0]).all():
        raise _Off("One model scores all events, also those that it learned from.")
    for number, (learned, scored) in enumerate(zip(spy.learned, spy.scored, strict=True)):
        if learned & scored:
            raise _Off(f"Model {number + 1} scores {len(learned & scored)} events that it has learned from.")
        if scored and max(scored) - min(scored) >= len(scored):
            raise _Off("The parts are mixed. Neighbouring events are alike, so leave out consecutive ones.")
        if scored and len(learned) + len(scored) < len(spy.rows):
            raise _Off("A model learns from less than it could: all events but those that it scores.")
    if len(spy.learned) != 5:
        raise _Off(f"{len(spy.learned)} models were fitted; five parts need five.")
    owner = {row: number for number, scored in enumerate(spy.scored) for row in scored}
    wrong = [row for row in range(len(spy.rows)) if owner.get(row) != found[row]]
    if wrong:
        raise _Off(f"The score of event {wrong[0]} is not what its model said; put each part in its place.")
    return "right. `Judge.out_of_fold` does the same."


class _Spy:
    """Stands in for a model: remembers which rows each fit saw and scored; a score is the fit's number."""

    def __init__(self) -> None:
        self.rows = np.arange(100.0)[:, None]
        self.labels = np.arange(100) % 2
        self.learned: list[set[int]] = []
        self.scored: list[set[int]] = []

    def __deepcopy__(self, _: dict) -> _Spy:
        return self

    def fit(self, inputs: np.ndarray, labels: np.ndarray) -> Callable[[np.ndarray], np.ndarray]:
        if len(inputs) != len(labels):
            raise ValueError(f"{len(inputs)} rows, but {len(labels)} labels")
        number = len(self.learned)
        self.learned.append({int(row) for row in inputs[:, 0]})
        self.scored.append(set())

        def score(rows: np.ndarray) -> np.ndarray:
            self.scored[number] |= {int(row) for row in rows[:, 0]}
            return np.full(len(rows), float(number))

        return score


# 6: open the seal


@_checker
def check_6a(attempt: Callable, matrices: Mapping[str, np.ndarray]) -> str:
    """Precision and recall from a confusion matrix."""
    for name, matrix in matrices.items():
        (quiet_honest, false), (missed, found) = np.asarray(matrix, dtype=float)
        answer = _ask(attempt, matrix)
        if np.shape(answer) != (2,):
            raise _Off("It should give two numbers: return precision, recall.")
        pair = [_number(value) for value in answer]
        precision, recall = found / (found + false), found / (found + missed)
        slips = {
            "The two are swapped: precision is about the alerts, recall about the frauds.": (
                recall,
                precision,
            ),
            "These are about the honest events; frauds are the second row, alerts the second column.": (
                quiet_honest / (quiet_honest + missed),
                quiet_honest / (quiet_honest + false),
            ),
            "The first is accuracy, the share of right answers, which is high for everybody here.": (
                (quiet_honest + found) / np.sum(matrix),
                recall,
            ),
        }
        _compare(pair, (precision, recall), slips, f"For {name}, precision and recall:", tol=1e-6)
    return "right. Both ask about the same frauds found, out of the alerts or out of all frauds."


@_checker
def check_6b(attempt: Callable, truth: np.ndarray, score: np.ndarray) -> str:
    """Average precision, walked down the ranking."""
    generator = np.random.default_rng(0)
    toy, ranked = (generator.random(40) < 0.3).astype(int), generator.permutation(40).astype(float)
    order = np.argsort(-ranked)
    hits = toy[order]
    precision = hits.cumsum() / np.arange(1, len(hits) + 1)
    unsorted = toy.cumsum() / np.arange(1, len(toy) + 1)
    upside_down = toy[order[::-1]].cumsum() / np.arange(1, len(toy) + 1)
    slips = {
        "It walks through time, not down the ranking: sort by score first.": unsorted[toy == 1].mean(),
        "It begins at the lowest score; the riskiest event comes first.": upside_down[
            toy[order[::-1]] == 1
        ].mean(),
        "It averages over all events; only the places where a fraud is found count.": precision.mean(),
        "It divides by the number of events; divide by the number of frauds.": precision[hits == 1].sum()
        / len(toy),
        "This is the share of frauds, which is what chance reaches.": toy.mean(),
        "This is the precision at the end of the list.": precision[-1],
    }
    _compare(
        _number(_ask(attempt, toy, ranked)), precision[hits == 1].mean(), slips, "On forty made-up events"
    )
    mine, ours = _number(_ask(attempt, truth, score)), evaluation.average_precision(truth, score)
    _compare(mine, ours, {}, "For the rule book", tol=0.005)
    return (
        f"right. For the rule book it gives {mine:.2f}, as in the table. Where many scores are equal, as "
        "the judge's are, scikit-learn takes equal ones together."
    )


@_checker
def check_6c(attempt: Callable, truth: np.ndarray) -> str:
    """One draw of a circular block bootstrap."""
    n, block = 1_050, 100
    draws = _draws(attempt, n, block, 50)
    if draws.dtype.kind not in "iu" or draws.min() < 0 or draws.max() >= n:
        raise _Off(
            f"Positions are whole numbers from 0 to {n - 1:,}; a block that runs over the end goes on at the "
            "beginning (% n)."
        )
    if (draws == draws[0]).all():
        raise _Off("Every draw is the same; let the generator choose.")
    torn = ((np.diff(draws, axis=1) % n) != 1).mean() * block
    if torn > 2:
        raise _Off("Neighbours are torn apart: draw where blocks begin, and take whole blocks.")
    starts = draws[:, ::block]
    if all(len(set(row)) == n for row in draws.tolist()):
        raise _Off("Each event comes exactly once, so nothing varies: draw blocks with replacement.")
    if (starts % block == 0).all():
        raise _Off("Blocks begin at multiples of the block's length only; let them begin anywhere.")
    if starts.max() <= n - block:
        raise _Off("No block runs over the end of the stream, so the last events are drawn too rarely.")
    low, high = np.quantile(truth[_draws(attempt, len(truth), 1_000, 200)].sum(axis=1), [0.025, 0.975])
    return f"right. The test part has {truth.sum()} frauds; such draws hold {low:.0f} to {high:.0f} of them."


def _draws(attempt: Callable, n: int, block: int, count: int) -> np.ndarray:
    """(count, n) positions from so many calls, each with a generator of its own."""
    draws = [np.asarray(_ask(attempt, n, block, np.random.default_rng(draw))) for draw in range(count)]
    for draw in draws:
        if draw.shape != (n,):
            raise _Off(f"For {n:,} events it should give {n:,} positions, but gives the shape {draw.shape}.")
    return np.array(draws)


@_checker
def check_6d(
    attempt: Callable, signals: pd.DataFrame, thresholds: dict[str, float], truth: np.ndarray
) -> str:
    """The learner's own rule, measured on the test part."""
    fires = _accused(attempt, signals, thresholds)
    start = int(signals.index[0])
    found = evaluation.accusations(truth, fires, rules.suspicion(signals), start)
    book = evaluation.budget_report(truth, rules.suspicion(signals), start)
    return (
        f"measured. Of {found['accused']} accused events {found['frauds']} are frauds: a precision of "
        f"{found['precision']:.0%} and a recall of {found['recall']:.0%}. Within the budget it finds "
        f"{found['within_budget']} frauds, the whole rule book {book['true_positives']}."
    )


# 7: replay the stream


@_checker
def check_7a(attempt: Callable) -> str:
    """Which reviews have come back."""
    alerted = np.array([1_005, 13, 980, 1_000, 2_000])
    for now, delay in ((2_000, 1_000), (1_013, 1_000), (1_000, 20)):
        found = _flags(_ask(attempt, alerted, now, delay), len(alerted)).astype(int)
        slips = {
            "This is when the event was alerted; its review takes `delay` events more.": alerted <= now,
            "Almost: a review is there *at* `now` when it is due at `now`.": alerted + delay < now,
            "This is the wrong way round: these reviews are still to come.": alerted + delay > now,
        }
        _compare(found, (alerted + delay <= now).astype(int), slips, f"At event {now:,}, delay {delay:,}:")
    return "right. This is the one line in `stream.review` that keeps the future out."


@_checker
def check_7b(attempt: Callable) -> str:
    """The average of two judges' log-odds, as a risk."""
    one, other = np.array([0.5, 0.5, 0.9, 0.02]), np.array([0.999, 0.5, 0.2, 0.01])
    pair = np.array([one / (1 - one), other / (1 - other)])
    odds = np.sqrt(pair.prod(axis=0))
    slips = {
        "This averages the risks; average their log-odds.": (one + other) / 2,
        "This adds the log-odds; take half of the sum.": odds**2 / (1 + odds**2),
        "These are log-odds; turn them into a risk.": np.log(odds),
        "These are odds; divide by 1 + odds.": odds,
        "This averages the odds; average their logarithms.": 1
        - 2 / (2 + one / (1 - one) + other / (1 - other)),
    }
    found = _column(_ask(attempt, one, other), len(one))
    _compare(found, odds / (1 + odds), slips)
    return "right. A judge that is sure outweighs one that shrugs."


@_checker
def check_7c(attempt: Callable) -> str:
    """The population stability index of two sets of shares."""
    before, now = np.full(10, 0.1), np.array([0.3, 0.2, 0.1, 0.1, 0.1, 0.05, 0.05, 0.04, 0.03, 0.03])
    terms = (now - before) * np.log(now / before)
    slips = {
        "This is the mean over the bins; take the sum.": terms.mean(),
        "Take the natural logarithm.": terms.sum() / np.log(10),
        "This is a relative entropy; the factor is the difference of the shares.": (
            now * np.log(now / before)
        ).sum(),
        "Its sign is wrong: the index is never negative.": -terms.sum(),
    }
    _compare(_number(_ask(attempt, before, now)), float(terms.sum()), slips)
    return "right. Above 0.25 one usually speaks of drift; here the warm-up says what is usual."


# 8: past one machine


@_checker
def check_8a(attempt: Callable) -> str:
    """From how many events on the faster starter is overtaken."""
    for start, slow, fast in ((10.0, 100_000, 250_000), (30.0, 50_000, 80_000)):
        slips = {
            "This is a time; multiply by a speed to get events.": start / (1 - slow / fast),
            "By then one process has done so many; Spark still has all of them to do.": start * slow,
            "Compare the seconds for one event, not the events in one second.": start * (fast - slow),
        }
        where = f"For {start:g} s, {slow:,} and {fast:,} events a second:"
        _compare(_number(_ask(attempt, start, slow, fast)), start / (1 / slow - 1 / fast), slips, where)
    if np.isfinite(answer := float(_ask(attempt, 10.0, 200_000, 100_000))):
        raise _Off(
            f"If Spark is slower it never catches up, so not at {answer:,.0f}; give infinity (np.inf)."
        )
    return "right. Below that number the start-up is all that one notices."


@_checker
def check_8b(attempt: Callable) -> str:
    """Amdahl's law."""
    for share, cores in ((0.9, 2), (0.9, 64), (0.5, 1_000), (1.0, 8)):
        slips = {
            "This is as if all of the work could be spread.": float(cores),
            "This is the share of the time that is left; one divided by it is the speed-up.": 1
            - share
            + share / cores,
            "The part that cannot be spread still takes its time: 1 - share.": cores / share,
        }
        where = f"With a share of {share:g} and {cores:,} cores:"
        _compare(_number(_ask(attempt, share, cores)), 1 / (1 - share + share / cores), slips, where)
    return "right. With a share of 0.9, no number of cores is ten times as fast."
