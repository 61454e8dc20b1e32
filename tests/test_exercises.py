"""The exercises: each solution passes its checker, wrong answers are told off in words, nothing raises.

Stubs, checker calls and solutions are taken from the notebooks, so that they cannot drift apart. A new
notebook needs its variables in `known` and its wrong answers in `WRONG`.
"""

from __future__ import annotations

import ast
import math
import re
from collections.abc import Callable
from functools import partial
from pathlib import Path

import nbformat
import numpy as np
import pandas as pd
import pytest
from helpers.exercises import ex01, ex02, ex03, ex04, ex05, ex06, ex07, ex08, ex09, ex10
from helpers.exercises.quiz import ask as ask_in_a_quiz
from scipy import special, stats
from scipy.spatial import distance
from sklearn import metrics
from sklearn.model_selection import KFold

from helpers import data, evaluation, features, rules, runs, worlds
from helpers.judge import Judge
from helpers.schema import SESSIONS
from helpers.settings import COLUMNS

NOTEBOOKS = [runs.ROOT / "notebooks" / f"{stage}.ipynb" for stage in runs.STAGES]
NOTEBOOKS = [path for path in NOTEBOOKS if path.is_file()]
CHECKERS = {
    name.removeprefix("check_"): check
    for module in (ex01, ex02, ex03, ex04, ex05, ex06, ex07, ex08, ex09, ex10)
    for name, check in vars(module).items()
    if name.startswith("check_")
}
ROWS = 20_000
TITLE = re.compile(r"# @title Solution (\d+[a-z])\n")


def code_cells(path: Path) -> list[nbformat.NotebookNode]:
    return [cell for cell in nbformat.read(path, 4).cells if cell.cell_type == "code"]


def found() -> dict[str, tuple[nbformat.NotebookNode, nbformat.NotebookNode | None]]:
    """Exercise -> its cell and the cell below."""
    pairs = {}
    for path in NOTEBOOKS:
        cells = nbformat.read(path, 4).cells
        for cell, below in zip(cells, [*cells[1:], None], strict=True):
            if cell.cell_type == "code" and (name := re.search(r"ex\d\d\.check_(\w+)\(", cell.source)):
                pairs[name[1]] = (cell, below)
    return pairs


FOUND = found()
each = pytest.mark.parametrize("number", FOUND)


# --- as committed --------------------------------------------------------------------------------


def test_every_notebook_has_two_to_four_exercises_and_every_checker_is_used_once():
    assert sorted(FOUND) == sorted(CHECKERS)
    text = "\n".join(cell.source for path in NOTEBOOKS for cell in code_cells(path))
    assert len(re.findall(r"ex\d\d\.check_", text)) == len(CHECKERS)
    for path in NOTEBOOKS:
        letters = [number[-1] for number in FOUND if number[:-1] == str(int(path.stem[:2]))]
        assert letters == list("abcd"[: len(letters)]) and 2 <= len(letters) <= 4, path.stem


@each
def test_the_solution_is_folded_away_below_the_exercise(number):
    cell, below = FOUND[number]
    assert below.cell_type == "code" and TITLE.match(below.source)[1] == number
    assert below.metadata["cellView"] == "form" and below.metadata["jupyter"] == {"source_hidden": True}
    assert "source_hidden" not in str(cell.metadata)
    names = {node.id for node in ast.walk(ast.parse(below.source)) if isinstance(node, ast.Name)}
    assert f"solution_{number}" in below.source and "exercises" not in names and not below.outputs


@each
def test_the_exercise_ends_with_its_checker_and_was_not_attempted(number):
    cell, _ = FOUND[number]
    last = ast.parse(cell.source).body[-1]
    assert ast.unparse(last).startswith(f"ex{int(number[:-1]):02}.check_{number}(")
    assert {output.text for output in cell.outputs} <= {f"Exercise {number}: not attempted yet.\n"}


# --- what the notebooks know ---------------------------------------------------------------------


@pytest.fixture(scope="session")
def known(window, detector, small) -> dict[str, dict]:
    """The variables that the exercise cells of each notebook use, made as there, from fewer events."""
    window = window[:ROWS]
    train, test = data.split(window)
    n_train = len(train)
    profile = features.Profile.fit(train)
    signals = features.behaviour(window, profile)
    thresholds = rules.fit_thresholds(signals[:n_train])
    votes = rules.apply_rules(signals, thresholds)
    seal = {"events": window, "train": train, "test": test}
    described = {"signals": signals, "thresholds": thresholds, "votes": votes, "profile": profile}

    n_small = int(len(small) * data.TRAIN_SHARE)
    inputs = detector.scaling.transform(small)
    seen = detector.seen(small)
    worst = np.argsort(-seen[:n_small, -2], kind="stable")[:15]
    network = {"x_train": inputs[:n_small], "autoencoder": detector.autoencoder, "worst": worst}
    judge = Judge(names=detector.judge.names).fit(seen, rules.naive_rule(small).astype(np.int8))
    top = int(judge.risk(seen).argmax())
    judged = {"events": small, "inputs": inputs, "n_train": n_small, "judge": judge}

    truth = data.seal(data.load_events("snapshot", ROWS))[1].to_numpy()[n_train:]
    suspicion = rules.suspicion(signals)[n_train:]
    alerts = {"rules": evaluation.choose_alerts(suspicion, start=n_train)}
    alerts["seed_rules"] = rules.naive_rule(test)
    episode = evaluation.episodes(truth, profile.axes(test), radius=0.25)
    opened = {
        "episode": episode,
        "test": truth,
        "test_scores": {"rules": suspicion},
        "alerts": alerts,
        "n_train": n_train,
    }
    days, abuse = worlds.simulate(1_000, 10)
    known = features.behaviour(days, features.Profile.fit(days, SESSIONS))
    facts = features.facts(known, days, SESSIONS)
    sessions = {"facts": facts, "thresholds": rules.fit_thresholds(facts), "n_train": len(days)}
    sessions["said"] = abuse.assign(any=abuse.any(axis=1).astype(int))
    return {
        "1": seal,
        "2": seal | described,
        "3": seal | described | {"z": pd.DataFrame(profile.z_scores(window))},
        "4": network | {"inputs": pd.DataFrame(columns=COLUMNS)},
        "5": judged | {"seen": seen, "top": top},
        "6": opened | described,
        "7": {},
        "8": {},
        "9": sessions,
        "10": sessions
        | {"votes": rules.apply_rules(facts, sessions["thresholds"], rules.usual_book(SESSIONS))}
        | {"second": "dist_title_cnt"},
    }


@pytest.fixture
def world(known, number, capsys) -> dict:
    """What a learner has at hand in the exercise's cell: the notebook's imports and variables."""
    path = next(path for path in NOTEBOOKS if int(path.stem[:2]) == int(number[:-1]))
    sources = [cell.source for cell in code_cells(path)]
    imports = next(source for source in sources if "from helpers.exercises import" in source)
    namespace: dict = {}
    exec(imports, namespace)
    return namespace | known[number[:-1]]


@pytest.fixture
def ask(world, number, capsys) -> Callable[[object], str]:
    """Run the exercise's cell, then its last line again with another answer; gives what it prints."""
    source = FOUND[number][0].source
    exec(source, world)
    assert capsys.readouterr().out == f"Exercise {number}: not attempted yet.\n"
    call = ast.parse(source).body[-1].value
    learners_name = call.args[0].id

    def ask(attempt: object) -> str:
        world[learners_name] = attempt
        assert eval(ast.unparse(call), world) is None
        said = capsys.readouterr().out
        assert said.startswith(f"Exercise {number}: ") and said.count("\n") == 1 and len(said) > 25
        return said.removeprefix(f"Exercise {number}: ").strip()

    return ask


@each
def test_the_solution_passes(number, world, ask):
    exec(FOUND[number][1].source, world)
    assert ask(world[f"solution_{number}"]).startswith(PRAISE.get(number, "right. "))


# --- wrong answers -------------------------------------------------------------------------------


def by_fold(fit, inputs, labels, parts, train_on=None):
    """Out-of-fold scores over these parts; `train_on` picks other rows to learn from."""
    scores = np.zeros(len(inputs))
    for part in parts:
        others = np.setdiff1d(np.arange(len(inputs)), part) if train_on is None else train_on
        scores[part] = fit(inputs[others], labels[others])(inputs[part])
    return scores


def five(n: int = 103) -> list[np.ndarray]:
    return np.array_split(np.arange(n), 5)


def shuffled(n: int) -> list[np.ndarray]:
    return np.array_split(np.random.default_rng(0).permutation(n), 5)


def swapped_folds(fit, inputs, labels):
    """Learns from one part and scores the others."""
    scores = np.zeros(len(inputs))
    for part in five():
        others = np.setdiff1d(np.arange(len(inputs)), part)
        scores[others] = fit(inputs[part], labels[part])(inputs[others])
    return scores


def folds_of_pandas(fit, inputs, labels):
    table, labels = pd.DataFrame(inputs), pd.Series(labels)
    scores = pd.Series(0.0, table.index)
    for part in five():
        scores[part] = fit(table.drop(part), labels.drop(part))(table.loc[part])
    return scores


def folds_of_sklearn(fit, inputs, labels):
    scores = [0] * len(inputs)
    for others, part in KFold(5).split(inputs):
        for row, score in zip(part, fit(inputs[others], labels[others])(inputs[part]), strict=True):
            scores[row] = score
    return scores


def walk_down(truth, score, first=1, before=0):
    found, notes = 0, []
    for place, event in enumerate(sorted(range(len(score)), key=lambda event: -score[event]), first):
        if truth[event]:
            found += 1
            notes.append((found - before) / place)
    return sum(notes) / len(notes)


def three_sentences(label, bad, accused):
    """The correction without a word on all other events."""
    if label == 1 and not bad:
        return -1
    if label == 0 and bad:
        return -1
    if label == -1 and not bad and not accused:
        return 0


def drawn(times: Callable) -> Callable:
    """A resampling in which `times` gives how often each of n episodes is drawn."""
    return lambda episode, generator: times(generator, episode.max() + 1)[episode]


def count(numbers, n: int) -> np.ndarray:
    return np.bincount(numbers, minlength=n)


AP = "average_precision_score"
LIBRARIES = {"distance": distance, "math": math, "metrics": metrics, "special": special, "stats": stats}
WRONG = {
    "1a": [
        ("0", "0 is too low"),
        ("(train['Amount'] >= 200).mean()", "counts 200 euro itself"),
        ("round((train['Amount'] > 200).mean() * 100, 2)", "percentage"),
        ("(train['Amount'] > 200).sum()", "divide by the number of events"),
        ("(events['Amount'] > 200).mean()", "the question is about the training part"),
        ("(train['Amount'] <= 200).mean()", "the share of the others"),
        ("round((train['Amount'] > 200).mean(), 4)", "right, but rounded"),
        ("train['Amount'] > 200", "should be one number, but gives 12,000 values"),
        ("0.5", "0.5 is too high"),
        ("'many'", "should be one number"),
    ],
    "1b": [
        ("lambda v: (v - v.median()) * 1.4826 / (v - v.median()).abs().median()", "belongs to the deviation"),
        ("lambda v: (v - v.median()) * 1.4826 * (v - v.median()).abs().median()", "here it multiplies"),
        ("lambda v: (v - v.median()) / (v - v.mean()).abs().median() / 1.4826", "counted from the median"),
        ("lambda v: solution_1b(v).abs()", "The sign is lost"),
        ("lambda v: v - v.median()", "not yet in units"),
        ("lambda v: (v - v.mean()) / v.std()", "use medians"),
        ("lambda v: (v - v.median()) / (v - v.median()).abs().median()", "1.4826 is missing"),
        ("lambda v: v / (1.4826 * (v - v.median()).abs().median())", "Subtract the median first"),
        ("lambda v: v.median()", "gives a single number"),
        ("lambda v: (v - v.median()) / v.std()", "divides by the ordinary standard deviation"),
        ("lambda v: (v - v.mean()) / (v - v.median()).abs().median() / 1.4826", "Above the line"),
        ("lambda v: (v - v.mean()) / (v - v.mean()).abs().median() / 1.4826", "above the line and below"),
        ("lambda v: (v - v.median()) / (v - v.median()).abs().mean() / 1.4826", "not their mean"),
        ("lambda v: (v.median() - v) / (v - v.median()).abs().median() / 1.4826", "sign is turned"),
        ("lambda v: solution_1b(v).round(2)", "right, but rounded"),
        ("lambda v: solution_1b(train['V5'])", "not for another one"),
        ("lambda v: solution_1b(events['V5'])", "a table from outside"),
    ],
    "1c": [
        ("lambda train, test: 0", "Look at the clock"),
        ("lambda train, test: len(train)", "0 training events come late"),
        ("lambda train, test: (train.index > test.index.max()).sum()", "one test event in the past"),
        ("lambda train, test: (train.index > test.index.min()).any()", "the question is how many"),
        ("lambda train, test: (train.index > test.index.min()).mean()", "or a share"),
        ("lambda train, test: (test.index < train.index.max()).sum()", "It counts test events"),
        ("lambda train, test: train.index > test.index.min()", "should be one number"),
    ],
    "2a": [
        ("lambda vote: (vote == 1).mean()", "0 is a vote"),
        ("lambda vote: (vote != -1).sum()", "coverage is a share"),
        ("lambda vote: vote.mean()", "mean of the codes"),
        ("lambda vote: (vote != -1).mean() * 100", "percentage"),
        ("lambda vote: (vote == -1).mean()", "share of the abstentions"),
        ("lambda vote: (vote != 0).mean()", "counts the abstentions"),
        ("lambda vote: (vote != -1).sum() / 12_000", "not for another one"),
        ("lambda vote: (votes['burst'] != -1).mean()", "is too"),
        ("lambda vote: vote != -1", "should be one number"),
    ],
    "2b": [
        ("lambda values: values.quantile(0.005)", "the other end"),
        ("lambda values: values.quantile(0.95)", "5 of 1,000 is 0.5 %, not 5 %"),
        ("lambda values: values.max()", "Nobody would ever be accused"),
        ("lambda values: 3.0", "the budget is 5"),
        ("lambda values: (values > values.quantile(1 - BUDGET)).mean()", "This is the share itself"),
        ("lambda values: BUDGET", "This is the share itself"),
        ("lambda values: signals.loc[train.index, 'distance'].quantile(1 - BUDGET)", "not for another one"),
        ("lambda values: values > values.quantile(1 - BUDGET)", "should be one number"),
    ],
    "2c": [
        ("lambda s, t: s['burst'].shift(-1).between(9, 99) & (s['burst'] < 1)", "events that come later"),
        ("lambda s, t: (s['burst'] > 9) & ~(s['burst'].shift(-1) > 9)", "events that come later"),
        (
            "lambda s, t: (s['burst'] > 9) & (s['distance'].max() < 100)",
            "With extreme events after these",
        ),
        ("lambda s, t: s['distance']", "True or False"),
        ("lambda s, t: s['amount'] > 20", "Analysts can look at 5"),
        ("lambda s, t: s['burst'] > 1e6", "accuses nobody"),
        ("lambda s, t: s['burst'] > t['burst']", "exactly what `burst` says"),
        ("lambda s, t: s['amount'] >= s['amount'].nlargest(40).min()", "events that come later"),
        ("lambda s, t: s['burst'][:10] > 3", "one value an event"),
        ("lambda s, t: s['burst'].shift(-1) > 8", "events that come later"),
        ("lambda s, t: s['distance'].rolling(5, center=True, min_periods=1).mean() > 6", "that come later"),
        ("lambda s, t: s['burst'][::-1].rolling(50, min_periods=1).max()[::-1] > 20", "that come later"),
        ("lambda s, t: s['burst'].where(s['burst'] > 12).bfill(limit=3).notna()", "that come later"),
        ("lambda s, t: s['distance'] > s['distance'].max() * 0.7", "that come later"),
        ("lambda s, t: s['repeats'] > s['repeats'].quantile(0.99)", "that come later"),
        ("lambda s, t: s['repeats'] > max(s['repeats'].quantile(0.9), 4)", "With extreme events after these"),
        ("lambda s, t: np.random.random(len(s)) < 0.01", "must not depend on chance"),
        ("lambda s, t: signals['distance'] > 8", "a table from outside"),
        ("lambda s, t: signals.loc[train.index, 'distance'] > 8", "a table from outside"),
        ("lambda s, t: s['distance'] > signals['distance'].quantile(0.999)", "reads `signals`, a table"),
        ("lambda s, t: (s['distance'] > 7) & (s['burst'].shift(-1, fill_value=0) < 1)", "that come later"),
        ("lambda s, t: (s['distance'] > 7) & ~(s['burst'].shift(-1) > 0)", "that come later"),
        ("lambda s, t: (s['distance'] > 7) & (s['distance'].shift(-1) < 5)", "that come later"),
        ("lambda s, t: (s['distance'] > 7) & (s['distance'] >= s['distance'].shift(-1))", "come later"),
        ("lambda s, t: (s['distance'] > 7) & (s['burst'][::-1].rolling(50).max()[::-1] < 3)", "come later"),
        ("lambda s, t: np.where(s['burst'] > 9, 'suspicious', 'normal')", "gives text"),
        ("lambda s, t: s['burts'] > 3", "Your code stops with KeyError: 'burts'. `s` has amount, "),
        ("lambda s, t: s['burst'] > t['amounts']", "burst, repeats. `t` has amount, "),
    ],
    "3a": [
        ("{'rank', 'smoothed', 'share_of_largest', 'change'}", "`change` is the same"),
        ("{'rank', 'smoothed', 'share_of_largest', 'running_mean'}", "`running_mean` is the same"),
        ("{'smoothed'}", "2 more see the future"),
        ("['smoothed', 'rank']", "1 more sees the future"),
        ("'rank'", "Give the names in a set"),
        ("{'rank': True, 'change': False}", "Give the names in a set"),
        ("3", "Give the names in a set"),
        ("{'ranks'}", "no candidate called ranks"),
    ],
    "3b": [
        ("lambda f, w: pd.Series(f).rolling(w + 1, min_periods=1).sum()", "besides the `window` events"),
        ("lambda f, w: solution_3b(f, w - 1)", "one event too little"),
        ("lambda f, w: pd.Series(f).rolling(w, min_periods=1).sum()", "counts itself"),
        ("lambda f, w: pd.Series(f).rolling(w, center=True, min_periods=1).sum()", "sees the future"),
        ("lambda f, w: pd.Series(f).shift(1).rolling(w).sum()", "The first events have fewer"),
        ("lambda f, w: pd.Series(f).rolling(w, center=True).sum()", "sees the future"),
        ("lambda f, w: pd.Series(f).shift(-1).rolling(w).sum()", "sees the future"),
        ("lambda f, w: pd.Series(f).shift(1).rolling(w).mean()", "This is the share"),
        ("lambda f, w: pd.Series(f).rolling(w).sum()", "counts itself"),
        ("lambda f, w: np.cumsum(f) - f", "since the beginning"),
        ("lambda f, w: solution_3b(f, w + 1)", "one event too far"),
        ("lambda f, w: solution_3b(f, 7)", "not for another one"),
        ("lambda f, w: solution_3b(f, w) > 0", "yes or no"),
        ("lambda f, w: f.shift(1).rolling(w, min_periods=1).sum()", "is a NumPy array"),
        ("lambda f, w: sum(f[-w:])", "gives a single number"),
    ],
    "3c": [
        ("lambda z, m, c: np.linalg.norm(z - m, axis=1)", "the straight distance"),
        ("lambda z, m, c: ((z - m) @ np.linalg.inv(c) * (z - m)).sum(axis=1)", "the root is missing"),
        ("lambda z, m, c: np.sqrt(((z - m) @ c * (z - m)).sum(axis=1))", "must be inverted"),
        ("lambda z, m, c: np.sqrt(((z - m) ** 2 / np.diag(c)).sum(axis=1))", "how the inputs move together"),
        ("lambda z, m, c: np.sqrt(np.abs((z - m) @ np.linalg.inv(c) @ (z - m).T))", "diagonal"),
        ("lambda z, m, c: solution_3c(z, 0, c)", "Subtract the mean first"),
        ("lambda z, m, c: solution_3c(z, z.mean(axis=0), c)", "the mean that is given"),
        ("lambda z, m, c: solution_3c(z, m, np.cov(z.T))", "the covariance that is given"),
        ("lambda z, m, c: solution_3c(z, m, c).sum()", "gives a single number"),
    ],
    "4a": [
        ("lambda x, rebuilt: ((x - rebuilt) ** 2).max(axis=1)", "values are off"),
        ("lambda x, rebuilt: ((x - rebuilt) ** 2).mean()", "one number for all events"),
        ("lambda x, rebuilt: ((x - rebuilt) ** 2).mean(axis=0)", "axis=1"),
        ("lambda x, rebuilt: (x - rebuilt).mean(axis=1)", "cancel out"),
        ("lambda x, rebuilt: ((x - rebuilt) ** 2).sum(axis=1)", "adds the inputs up"),
        ("lambda x, rebuilt: x - rebuilt", "a table of shape"),
        ("lambda x, rebuilt: np.abs(x - rebuilt).mean(axis=1)", "absolute differences"),
        ("lambda x, rebuilt: np.sqrt(solution_4a(x, rebuilt))", "the root of the error"),
        (
            "lambda x, rebuilt: solution_4a(x_train[:1_000], autoencoder.reconstruct(x_train[:1_000]))",
            "not for another one",
        ),
        ("lambda x, rebuilt: solution_4a(x, autoencoder.reconstruct(x))", "not for another one"),
    ],
    "4b": [
        (
            "lambda x, r, names: solution_4b(x, r, names) if r.any() else np.array(names)[x.argmax(axis=1)]",
            "Too low is as bad",
        ),
        ("lambda x, r, names: np.array(names)[np.abs(x).argmax(axis=1)]", "the largest inputs"),
        ("lambda x, r, names: np.array(names)[(x - r).argmax(axis=1)]", "Too low is as bad as too high"),
        ("lambda x, r, names: np.array(names)[(r - x).argmax(axis=1)]", "Too high is as bad as too low"),
        ("lambda x, r, names: np.abs(x - r).argmax(axis=1)", "an analyst reads names"),
        ("lambda x, r, names: np.array(names)[np.abs(x - r).argmin(axis=1)]", "rebuilt best"),
        ("lambda x, r, names: ['Amount'] * len(x)", "another input was rebuilt worse"),
        ("lambda x, r, names: 'V3'", "one name an event, 15 here, but gives one for all"),
        ("lambda x, r, names: [name.lower() for name in solution_4b(x, r, names)]", "no input called v"),
        ("lambda x, r, names: solution_4b(x, r, COLUMNS)", "take them from `names`"),
        ("lambda x, r, names: solution_4b(x, r, ['V0'] + names[1:])", "take the"),
    ],
    "4c": [
        ("lambda label, bad, accused: 0 if label == 1 and not bad else label", "suspicious, well rebuilt"),
        ("lambda label, bad, accused: 1 if bad else 0", "should not become presumed normal"),
        ("lambda label, bad, accused: label if bad == (label == 1) else -1", "undecided, well rebuilt"),
        ("lambda label, bad, accused: 'undecided'", "It should give 1, 0 or -1"),
        ("lambda label, bad, accused: bad", "It should give 1, 0 or -1"),
        ("lambda label, bad, accused: label", "suspicious, well rebuilt"),
        ("three_sentences", "gives None for 1, True, True; is a `return` missing?"),
    ],
    "5a": [
        ("lambda c: solution_5a(c / len(c))", "they add up"),
        ("lambda c: np.clip(solution_5a(c), 0.01, 0.99)", "not for another one"),
        ("lambda c: c.sum()", "These are log-odds"),
        ("lambda c: 1 / (1 + np.exp(-c.drop('bias').sum()))", "The bias is missing"),
        ("lambda c: 1 / (1 + np.exp(-c[1:].sum()))", "The first contribution is missing"),
        ("lambda c: np.exp(c.sum())", "These are odds"),
        ("lambda c: 1 / (1 + 10 ** -c.sum())", "its base is e, not 10"),
        ("lambda c: 100 * solution_5a(c)", "percentage"),
        ("lambda c: round(solution_5a(c), 3)", "right, but rounded"),
        ("lambda c: solution_5a(-c)", "mind the sign"),
        ("lambda c: solution_5a(c.drop('V3'))", "As a risk"),
        ("lambda c: 1 / (1 + np.exp(-c))", "should be one number"),
    ],
    "5b": [
        ("lambda events: events.index % 7 == 0", "It cannot copy what it cannot see"),
        ("lambda events: events.index < 1_000", "It cannot copy what it cannot see"),
        ("lambda events: np.random.default_rng(0).random(len(events)) < 0.2", "no order or chance"),
        ("lambda events: events['V2'] > 50", "stay between 1 % and 50 %"),
        ("lambda events: events['Amount'] > 200", "nearly the naive rule"),
        ("lambda events: events['V2']", "True or False"),
        ("lambda events: np.where(events['V2'] > 1, 'yes', 'no')", "gives text"),
        ("lambda events: events['V9'] > 1", "`events` has Amount, V1, "),
    ],
    "5c": [
        (
            "lambda fit, x, y: by_fold(lambda x, y: fit(x[:60], y[:60]), x, y, five())",
            "learns from less than it could",
        ),
        ("lambda fit, x, y: fit(x, y)(x)", "One model scores all events"),
        ("lambda fit, x, y: by_fold(fit, x, y, shuffled(103))", "Neighbouring events are alike"),
        ("lambda fit, x, y: by_fold(fit, x, y, np.array_split(np.arange(103), 10))", "10 models were fitted"),
        ("lambda fit, x, y: by_fold(fit, x, y, five(), np.arange(103))", "that it has learned from"),
        ("lambda fit, x, y: by_fold(fit, x, y, five())[::-1]", "put each part in its place"),
        ("lambda fit, x, y: by_fold(fit, x, y, five(100))", "3 of 103 rows are in no part"),
        ("lambda fit, x, y: by_fold(fit, x, y[::-1], five())", "labels of other rows"),
        ("swapped_folds", "the other way round"),
    ],
    "6a": [
        ("lambda m: solution_6a(m) if m.sum() > 1_000 else (0.3, 0.3)", "For a made-up matrix"),
        ("lambda m: (m[1, 1] / m[1].sum(), m[1, 1] / m[:, 1].sum())", "swapped"),
        ("lambda m: (np.trace(m) / m.sum(), m[1, 1] / m[1].sum())", "accuracy"),
        ("lambda m: (m[0, 0] / m[:, 0].sum(), m[0, 0] / m[0].sum())", "about the honest events"),
        ("lambda m: m[1, 1] / m[:, 1].sum()", "two numbers"),
        ("lambda m: np.round(solution_6a(m), 3)", "right, but rounded"),
        ("lambda m: np.multiply(100, solution_6a(m))", "percentage"),
        ("lambda m: solution_6a(matrices['rules'])", "For "),
    ],
    "6b": [
        ("lambda t, s: walk_down(t, s, before=1)", "count that fraud, too"),
        ("lambda t, s: (t.cumsum() / (np.argsort(-s) + 1))[t == 1].mean()", "not which place an event has"),
        ("lambda t, s: walk_down(t, s, first=0)", "places from 0"),
        ("lambda t, s: (t.cumsum() / np.arange(1, len(t) + 1))[t == 1].mean()", "sort by score first"),
        ("lambda t, s: solution_6b(t, -s)", "begins at the lowest score"),
        ("lambda t, s: (t[np.argsort(-s)].cumsum() / np.arange(1, len(t) + 1)).mean()", "only the places"),
        ("lambda t, s: t.mean()", "what chance reaches"),
        ("lambda t, s: solution_6b(t, s) * t.sum()", "adds the notes up"),
        ("lambda t, s: solution_6b(t, s) * t.mean()", "divides by the number of events"),
        ("lambda t, s: metrics.roc_auc_score(t, s)", "under the ROC curve"),
        ("lambda t, s: metrics.auc(*metrics.precision_recall_curve(t, s)[1::-1])", "straight lines"),
        (f"lambda t, s: 0.9 * metrics.{AP}(t, s)", "too low"),
        (f"lambda t, s: metrics.{AP}(t, s) if len(t) < 50 else 0.5", "not for another one"),
    ],
    "6c": [
        ("lambda e, g: g.multinomial(len(e), np.ones(len(e)) / len(e))", "torn apart"),
        ("lambda e, g: np.ones(len(e), int)", "Every draw is the same"),
        ("drawn(lambda g, n: g.random(n) < 0.5)", "with replacement"),
        ("lambda e, g: count(g.integers(0, 4, len(e)), e.max() + 1)[e]", "as many episodes as"),
        ("drawn(lambda g, n: count(np.minimum(g.integers(0, 6, 4), 3), n))", "as likely"),
        ("drawn(lambda g, n: count(g.integers(0, n - 1, n), n))", "never drawn"),
        ("drawn(lambda g, n: count(g.integers(n // 2, n, n), n))", "never drawn"),
        ("drawn(lambda g, n: count(np.repeat(g.integers(0, n), n), n))", "hang together"),
        ("drawn(lambda g, n: count(np.tile(g.integers(0, n, n // 2), 2), n))", "hang together"),
        (
            "drawn(lambda g, n: count((g.integers(0, n, n // 2)[:, None] + [0, 1]).ravel() % n, n))",
            "together",
        ),
        ("drawn(lambda g, n: count(g.integers(0, 4, 4), n))", "right for 4 episodes, but not for the"),
        ("drawn(lambda g, n: count(np.random.randint(0, n, n), n))", "let `generator` draw"),
        ("lambda e, g: g.integers(0, e.max() + 1, e.max() + 1)", "how often each is drawn"),
    ],
    "6d": [
        ("lambda s, t: s['burst'] > 1e6", "accuses nobody"),
        ("lambda s, t: s['burst'] >= 0", "ask for something rarer"),
        ("lambda s, t: s['distance']", "True or False"),
        ("lambda s, t: s['burst'].shift(-1) > 8", "events that come later"),
        ("lambda s, t: signals['distance'] > 8", "a table from outside"),
        ("lambda s, t: np.random.random(len(s)) < 0.01", "must not depend on chance"),
        ("lambda s, t: s['distance'] > s['distance'].quantile(0.99)", "events that come later"),
    ],
    "7a": [
        ("lambda alerted, now, delay: alerted <= now", "takes `delay` events more"),
        ("lambda alerted, now, delay: alerted + delay < now", "when it is due at `now`"),
        ("lambda alerted, now, delay: alerted + delay > now", "still to come"),
        ("lambda alerted, now, delay: (alerted // 1_000 + 1) * 1_000 + delay <= now", "from the end of"),
        ("lambda alerted, now, delay: alerted + delay == now", "comes once"),
        ("lambda alerted, now, delay: np.sort(alerted) + delay <= now", "not sorted"),
        ("lambda alerted, now, delay: now - alerted", "True or False"),
        ("lambda alerted, now, delay: alerted[alerted + delay <= now]", "one value an event"),
    ],
    "7b": [
        ("lambda one, other: 1 - 2 / (2 + one / (1 - one) + other / (1 - other))", "averages the odds"),
        ("lambda one, other: (one + other) / 2", "average their log-odds"),
        ("lambda one, other: np.sqrt(one / (1 - one) * other / (1 - other))", "divide by 1 + odds"),
        ("lambda one, other: np.sqrt(one * other)", "geometric mean"),
        ("lambda one, other: one * other", "the product"),
        ("lambda one, other: np.maximum(one, other)", "values are off"),
        ("lambda one, other: 1 / (1 + (1 - one) / one * (1 - other) / other)", "half of the sum"),
        ("lambda one, other: np.log(np.sqrt(one / (1 - one) * other / (1 - other)))", "These are log-odds"),
        ("lambda one, other: solution_7b(one, other).round(3)", "right, but rounded"),
    ],
    "7c": [
        ("lambda before, now: ((now - before) * (now / before)).sum()", "The logarithm is missing"),
        ("lambda before, now: (now * np.log(now / before)).sum()", "relative entropy"),
        ("lambda before, now: (before * np.log(before / now)).sum()", "relative entropy, from `before`"),
        ("lambda before, now: ((now - before) * np.log10(now / before)).sum()", "not that to base 10"),
        ("lambda before, now: ((now - before) * np.log2(now / before)).sum()", "not that to base 2"),
        ("lambda before, now: ((now - before) * np.log(now / before)).mean()", "take the sum"),
        ("lambda before, now: ((before - now) * np.log(now / before)).sum()", "never negative"),
        ("lambda before, now: (now - before) * np.log(now / before)", "should be one number"),
        ("lambda before, now: (now - before).sum()", "cancel out"),
    ],
    "8a": [
        ("lambda start, slow, fast: start * slow", "still has all of them to do"),
        ("lambda start, slow, fast: start * fast", "handled nothing"),
        ("lambda start, slow, fast: start / (1 - slow / fast)", "This is a time"),
        ("lambda start, slow, fast: start * (fast - slow)", "the seconds for one event"),
        ("lambda start, slow, fast: start / (1 / slow - 1 / fast)", "it never catches up"),
        ("lambda start, slow, fast: solution_8a(start, slow, fast) if fast > slow else np.nan", "never"),
        ("lambda start, slow, fast: solution_8a(start, slow, fast) if fast > slow else -np.inf", "never"),
        (
            "lambda start, slow, fast: np.inf if fast < slow else start / (1 / slow - 1 / fast)",
            "stops for 10.0, 200000, 200000 with ZeroDivisionError",
        ),
        (
            "lambda start, slow, fast: solution_8a(start, slow, fast) if fast > slow else None",
            "gives None for 10.0, 200000, 100000; is a `return` missing?",
        ),
    ],
    "8b": [
        ("lambda share, cores: cores", "as if all of the work"),
        ("lambda share, cores: 1 - share + share / cores", "one divided by it"),
        ("lambda share, cores: share * cores", "divided by them"),
        ("lambda share, cores: 1 / (share / cores)", "still takes its time"),
        ("lambda share, cores: 1 / (share + (1 - share) / cores)", "swapped"),
        ("lambda share, cores: 1 - share + share * cores", "more work"),
        ("lambda share, cores: 1 / (1 - share)", "limit"),
    ],
    "9a": [
        ("lambda r, a: ((r == a).any(axis=1).mean(), (r != a).mean())", "one right answer of three"),
        ("lambda r, a: ((r == a).mean(), 1 - (r == a).mean())", "all three of a row"),
        ("lambda r, a: ((r == a).all(axis=1).mean(), (r == a).mean())", "the loss counts the wrong ones"),
        ("lambda r, a: (1 - (r == a).mean(), (r == a).all(axis=1).mean())", "exact match first"),
        ("lambda r, a: ((r == a).all(axis=1).sum(), (r != a).sum())", "These are counts"),
        ("lambda r, a: ((r == a).all(axis=1).mean(), (r != a).any(axis=1).mean())", "single answers"),
        ("lambda r, a: ((r == a).all(axis=1).mean(), (r != a).sum(axis=1).mean())", "categories, too"),
        ("lambda r, a: (r == a).all(axis=1)", "two numbers"),
    ],
    "9b": [
        (
            "lambda rows, near, share: near + share[:, None] * (near - rows)",
            "begins at the neighbour and goes away",
        ),
        ("lambda rows, near, share: share[:, None] * (near - rows)", "add it to the row"),
        ("lambda rows, near, share: near - share[:, None] * (near - rows)", "begin at the row"),
        ("lambda rows, near, share: rows - share[:, None] * (near - rows)", "goes away"),
        ("lambda rows, near, share: (rows + near) / 2", "half way every time"),
        ("lambda rows, near, share: rows + share[:, None] * near", "the difference to the neighbour"),
        ("lambda rows, near, share: rows + share * (near - rows)", "operands could not be broadcast"),
        ("lambda rows, near, share: rows[0]", "not an array of shape (3,)"),
    ],
    "9c": [
        (
            "(lambda s: lambda f, t: s.iloc[:, 0].reindex(f.index, fill_value=0))(said)",
            "exactly what the heuristic of",
        ),
        ("lambda f, t: f['license_cnt'] > 0", "Analysts can look at 5"),
        ("lambda f, t: f['license_cnt'] > 1e6", "accuses nobody"),
        ("lambda f, t: f['license_cnt']", "True or False"),
        ("lambda f, t: f['licence_cnt'] > 9", "KeyError: 'licence_cnt'"),
        ("lambda f, t: f['license_cnt'].shift(-1) > t['license_cnt']", "events that come later"),
        ("lambda f, t: f['license_cnt'] > f['license_cnt'].quantile(0.99)", "events that come later"),
        ("lambda f, t: np.random.random(len(f)) < 0.01", "must not depend on chance"),
    ],
    "10a": [
        ("lambda per, events, minutes: per * events / 1_000 * minutes", "60 make an hour"),
        ("lambda per, events, minutes: per * events / 1_000", "the minutes that each takes"),
        ("lambda per, events, minutes: per * events * minutes / 60", "of every thousand"),
        ("lambda per, events, minutes: per * events / 1_000 / 60", "alerts an hour"),
        ("lambda per, events, minutes: events * minutes / 60", "only the alerts"),
        ("lambda per, events, minutes: per * events / 1_000 * minutes / 480", "working days"),
        ("lambda per, events, minutes: per * events * minutes // 60_000", "right, but rounded"),
    ],
    "10b": [
        ("lambda f, t: f['distance'] > t['distance']", "exactly what `abnormal_combination` says"),
        ("lambda f, t: f['license_cnt'] > 0", "Analysts can look at 5"),
        ("lambda f, t: f['license_cnt'] > 1e6", "accuses nobody"),
        ("lambda f, t: f['distance'].shift(-1) > t['distance']", "events that come later"),
        ("lambda f, t: facts['distance'][:500] > t['distance']", "a table from outside"),
        ("lambda f, t: f['distances'] > 3", "`f` has axes_beyond, distance, "),
        ("lambda f, t: np.where(f['burst'] > 3, 'yes', 'no')", "gives text"),
    ],
}
RIGHT = {
    "1a": [
        "float(np.mean(train['Amount'].to_numpy() > 200))",
        "sum(amount > 200 for amount in train['Amount']) / len(train)",
        "len(train.query('Amount > 200')) / len(train)",
        "(train[['Amount']] > 200).mean()",
    ],
    "1b": [
        "lambda v: (v - v.median()) / stats.median_abs_deviation(v, scale='normal')",
        "lambda v: list((v - np.median(v)) / np.median(abs(v - np.median(v))) / 1.4826)",
        "lambda v: 0.6745 * (v - v.median()) / (v - v.median()).abs().median()",
    ],
    "1c": [
        "lambda train, test: sum(event > first for first in [min(test.index)] for event in train.index)",
        "lambda train, test: len(train[train.index > test.index.min()])",
        "lambda train, test: np.count_nonzero(train.index.to_numpy() > test.index.to_numpy().min())",
    ],
    "2a": [
        "lambda vote: 1 - (vote == -1).mean()",
        "lambda vote: sum(v in (0, 1) for v in vote) / len(vote)",
        "lambda vote: vote.isin([0, 1]).mean()",
        "lambda vote: np.count_nonzero(vote.to_numpy() != -1) / vote.size",
    ],
    "2b": [
        "lambda values: np.quantile(values, 1 - BUDGET)",
        "lambda values: np.sort(values)[-int(len(values) * BUDGET) - 1]",
        "lambda values: values.nlargest(int(len(values) * BUDGET) + 1).iloc[-1]",
        "lambda values: values.quantile([1 - BUDGET])",
    ],
    "2c": [
        "lambda s, t: (s['burst'] >= 3) & (s['amount'] < 5) & (s['axes_beyond'] > 1)",
        "lambda s, t: [bool(value > 9) for value in s['distance']]",
        "lambda s, t: (s['distance'] > 9).to_numpy().astype(int)",
        "lambda s, t: s['distance'].rolling(5, min_periods=1).mean() > 6",
        "lambda s, t: s['distance'].shift(1) > t['distance']",
        "lambda s, t: s.apply(lambda row: row['burst'] > 4 and row['distance'] > 5, axis=1)",
        "lambda s, t: (s.index == s.index[0]) | (s['distance'] > 9)",
    ],
    "3a": [
        "['smoothed', 'rank', 'share_of_largest']",
        "('smoothed', 'rank', 'share_of_largest')",
        "pd.Index(['smoothed', 'rank', 'share_of_largest'])",
    ],
    "3b": [
        "lambda f, w: [sum(f[max(0, i - w) : i]) for i in range(len(f))]",
        "lambda f, w: np.convolve(f, [0] + [1] * w)[: len(f)]",
        "lambda f, w: pd.Series(f).shift(1).rolling(w, min_periods=1).sum().fillna(0)",
    ],
    "3c": [
        "lambda z, m, c: [distance.mahalanobis(row, m, np.linalg.inv(c)) for row in z]",
        "lambda z, m, c: np.sqrt(np.diag((z - m) @ np.linalg.inv(c) @ (z - m).T))",
        "lambda z, m, c: np.linalg.norm(np.linalg.solve(np.linalg.cholesky(c), (z - m).T), axis=0)",
    ],
    "4a": [
        "lambda x, rebuilt: pd.DataFrame(x - rebuilt).pow(2).mean(axis=1)",
        "lambda x, rebuilt: [sum((a - b) ** 2) / len(a) for a, b in zip(x, rebuilt)]",
        "lambda x, rebuilt: np.linalg.norm(x - rebuilt, axis=1) ** 2 / x.shape[1]",
    ],
    "4b": [
        "lambda x, r, names: pd.DataFrame(x - r, columns=names).abs().idxmax(axis=1)",
        "lambda x, r, names: [names[row.argmax()] for row in (x - r) ** 2]",
        "lambda x, r, names: np.take(names, np.argsort(np.abs(x - r), axis=1)[:, -1])",
    ],
    "4c": [
        "lambda label, bad, accused: (1 if label == 1 else -1) if bad else"
        " -1 if label == 1 or (label == -1 and accused) else 0",
        "lambda label, bad, accused: np.int64(solution_4c(label, bad, accused))",
        "lambda label, bad, accused: {(1, True): 1, (1, False): -1, (0, False): 0}.get("
        "(label, bad), -1 if bad or accused else 0)",
    ],
    "5a": [
        "lambda c: special.expit(c.sum())",
        "lambda c: np.exp(sum(c)) / (1 + np.exp(sum(c)))",
        "lambda c: float(1 - 1 / (1 + np.e ** c.to_numpy().sum()))",
    ],
    "5b": [
        "lambda events: (events['V2'] > 1).tolist()",
        "lambda events: np.where(events['V2'] > 1, 1, 0)",
        "lambda events: events['V2'].apply(lambda value: value > 1)",
    ],
    "5c": [
        "folds_of_pandas",
        "folds_of_sklearn",
        "lambda fit, x, y: np.concatenate("
        "[fit(np.delete(x, part, 0), np.delete(y, part))(x[part]) for part in five()])",
    ],
    "6a": [
        "lambda m: [m[1, 1] / m[:, 1].sum(), m[1, 1] / m[1].sum()]",
        "lambda m: np.array([m[1][1] / (m[0][1] + m[1][1]), m[1][1] / (m[1][0] + m[1][1])])",
        "lambda m: pd.Series({'precision': m[1, 1] / m[:, 1].sum(), 'recall': m[1, 1] / m[1].sum()})",
    ],
    "6b": [
        "walk_down",
        f"lambda t, s: metrics.{AP}(t, s)",
        "lambda t, s: solution_6b(pd.Series(t).to_numpy(), pd.Series(s).to_numpy())",
    ],
    "6c": [
        "drawn(lambda g, n: count(g.choice(n, n), n))",
        "lambda e, g: [times for n in [max(e) + 1] for times in count(g.integers(0, n, n), n)[e].tolist()]",
        "drawn(lambda g, n: g.multinomial(n, np.ones(n) / n))",
        "lambda e, g: pd.Series(g.choice(np.unique(e), e.max() + 1)).value_counts().reindex(e, fill_value=0)",
    ],
    "6d": [
        "lambda s, t: (s['distance'] > 9).to_numpy()",
        "lambda s, t: [bool(value > 9) for value in s['distance']]",
        "lambda s, t: s['distance'] > t['distance']",
    ],
    "7a": [
        "lambda alerted, now, delay: [bool(event + delay <= now) for event in alerted]",
        "lambda alerted, now, delay: now - alerted >= delay",
        "lambda alerted, now, delay: pd.Series(alerted).add(delay).le(now)",
    ],
    "7b": [
        "lambda one, other: special.expit((special.logit(one) + special.logit(other)) / 2)",
        "lambda one, other: 1 / (1 + np.sqrt((1 / one - 1) * (1 / other - 1)))",
        "lambda one, other: [solution_7b(a, b) for a, b in zip(one, other)]",
    ],
    "7c": [
        "lambda before, now: sum((n - b) * np.log(n / b) for n, b in zip(now, before))",
        "lambda before, now: stats.entropy(now, before) + stats.entropy(before, now)",
        "lambda before, now: (now - before) @ (np.log(now) - np.log(before))",
    ],
    "8a": [
        "lambda start, slow, fast: float('inf') if fast <= slow else start * slow * fast / (fast - slow)",
        "lambda start, slow, fast: np.float64(start * slow / (1 - slow / fast)) if fast > slow else np.inf",
        "lambda start, slow, fast: start * fast / max(fast / slow - 1, 0) if slow < fast else math.inf",
    ],
    "8b": [
        "lambda share, cores: cores / (cores * (1 - share) + share)",
        "lambda share, cores: ((1 - share) + share / cores) ** -1",
        "lambda share, cores: np.array([1 / (1 - share + share / cores)])",
    ],
    "9a": [
        "lambda r, a: [metrics.accuracy_score(r, a), metrics.hamming_loss(r, a)]",
        "lambda r, a: ((r == a).all(axis=1).mean(), np.abs(r - a).mean())",
        "lambda r, a: np.array([np.mean([list(x) == list(y) for x, y in zip(r, a)]), (r != a).mean()])",
    ],
    "9b": [
        "lambda rows, near, share: [r + s * (n - r) for r, n, s in zip(rows, near, share)]",
        "lambda rows, near, share: (1 - share[:, None]) * rows + share[:, None] * near",
        "lambda rows, near, share: pd.DataFrame(near - rows).mul(share, axis=0) + rows",
    ],
    "9c": [
        "lambda f, t: ((f['dist_country_cnt'] > 1) & (f['dist_dev_id_cnt'] > 2)).to_numpy()",
        "lambda f, t: (f['distance'] > 1.1 * t['distance']).tolist()",
        "lambda f, t: f['distance'].gt(1.1 * t['distance']).astype(int)",
    ],
    "10a": [
        "lambda per, events, minutes: events * (per / 1_000) * (minutes / 60)",
        "lambda per, events, minutes: events // 1_000 * per * minutes / 60",
        "lambda per, events, minutes: pd.Timedelta(minutes=per * events * minutes).total_seconds() / 3.6e6",
    ],
    "10b": [
        "lambda f, t: (f['distance'] > 1.1 * t['distance']).tolist()",
        "lambda f, t: f['distance'].gt(1.1 * t['distance']).to_numpy()",
        "lambda f, t: f['distance'].shift(1) > t['distance']",
    ],
}
PRAISE = {"2c": "this is a rule. ", "9c": "this is a rule. ", "10b": "this is a rule. ", "6d": "measured. "}


@pytest.fixture
def read(world, number) -> Callable[[str], object]:
    """What an answer of the tables above is, where it may use the solution and the functions above."""
    exec(FOUND[number][1].source, world)
    return lambda answer: eval(answer, world | globals() | LIBRARIES)


@pytest.mark.parametrize(
    ("number", "answer", "words"), [(number, *wrong) for number in WRONG for wrong in WRONG[number]]
)
def test_a_wrong_answer_is_told_off_in_words(number, answer, words, ask, read):
    verdict = ask(read(answer))
    assert verdict.startswith("not quite. ") and words in verdict and verdict.endswith((".", "?"))


@pytest.mark.parametrize(
    ("number", "answer"), [(number, right) for number in RIGHT for right in RIGHT[number]]
)
def test_a_right_answer_in_another_style_is_accepted(number, answer, ask, read):
    assert ask(read(answer)).startswith(PRAISE.get(number, "right. "))


def test_every_exercise_has_six_wrong_answers_and_three_right_ones_or_more():
    assert set(WRONG) == set(RIGHT) == set(FOUND)
    assert min(map(len, WRONG.values())) >= 6 and min(map(len, RIGHT.values())) >= 3


# --- whatever a learner writes -------------------------------------------------------------------


def broken(*_):
    raise RuntimeError("out of coffee\nand of patience")


def forgotten(*values):
    values == 0  # noqa: B015


FUNCTIONS = [number for number in FOUND if number not in ("1a", "3a")]


@pytest.mark.parametrize("number", FUNCTIONS)
def test_an_exception_and_a_missing_return_are_named(number, ask):
    stops, silent = "not quite. Your code stops", "not quite. Your function gives None"
    assert re.fullmatch(rf"{stops}( for .*)? with RuntimeError: out of coffee\.", ask(broken))
    for function in (forgotten, partial(forgotten)):
        assert re.fullmatch(rf"{silent}( for .*)?; is a `return` missing\?", ask(function))
    assert ask(lambda *_: None) == "not attempted yet."
    assert ask(7) == (
        "not quite. The answer should be a function; leave the line that begins with `def` as it is."
    )


@each
def test_no_answer_makes_a_checker_raise(number, ask):
    for answer in ("text", object(), [1, 2], np.full(3, np.nan), pd.DataFrame({"a": [1]}), {}, 1 + 2j):
        verdict = ask(answer if number in ("1a", "3a") else lambda *_, answer=answer: answer)
        assert verdict.startswith("not quite. "), (answer, verdict)


@pytest.mark.parametrize("number", ["1b"])
def test_a_learner_who_changes_the_arguments_does_not_change_the_notebook(number, world, ask):
    before = world["train"]["V1"].copy()

    def greedy(values):
        values -= values.median()
        return values

    assert "not yet in units" in ask(greedy)
    pd.testing.assert_series_equal(world["train"]["V1"], before)


@pytest.mark.parametrize("number", ["6d"])
def test_the_rule_of_02_is_measured_in_06_as_a_plain_count_finds_it(number, world, ask):
    exec(FOUND["2c"][1].source, world)
    exec(FOUND["6d"][1].source, world)
    signals, truth = world["signals"][world["n_train"] :], world["test"]
    one, other = (world[name](signals, world["thresholds"]) for name in ("solution_2c", "solution_6d"))
    assert one.equals(other) and one.any()
    frauds = int(truth[one].sum())
    assert f"Of {one.sum()} accused events {frauds} are frauds" in ask(world["solution_2c"])


def test_a_question_about_a_run_folds_its_answer(monkeypatch):
    shown: list = []
    monkeypatch.setattr("IPython.display.display", shown.append)
    ask_in_a_quiz("How many <b>?", "5 & more")
    folded = "<details><summary>How many &lt;b&gt;?</summary><p>5 &amp; more</p></details>"
    assert [page.data for page in shown] == [folded]
