"""The exercises: each solution passes its checker, wrong answers are told off in words, nothing raises.

Stubs, checker calls and solutions are taken from the notebooks, so that they cannot drift apart. A new
notebook needs its variables in `known` and its wrong answers in `WRONG`.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Callable
from pathlib import Path

import nbformat
import numpy as np
import pandas as pd
import pytest

from helpers import data, evaluation, features, rules, runs, worlds
from helpers.exercises import ex01, ex02, ex03, ex04, ex05, ex06, ex07, ex08, ex09, ex10
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
        "3": seal | described | {"z": profile.z_scores(window)},
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
    praise = {
        "2c": "this is a rule. ",
        "9c": "this is a rule. ",
        "10b": "this is a rule. ",
        "6d": "measured. ",
    }
    assert ask(world[f"solution_{number}"]).startswith(praise.get(number, "right. "))


# --- wrong answers -------------------------------------------------------------------------------


def by_fold(fit, inputs, labels, parts, train_on=None):
    """Out-of-fold scores over these parts; `train_on` picks other rows to learn from."""
    scores = np.zeros(len(inputs))
    for part in parts:
        others = np.setdiff1d(np.arange(len(inputs)), part) if train_on is None else train_on
        scores[part] = fit(inputs[others], labels[others])(inputs[part])
    return scores


def shuffled(n: int) -> list[np.ndarray]:
    return np.array_split(np.random.default_rng(0).permutation(n), 5)


WRONG = {
    "1a": [
        ("(train['Amount'] > 200).mean() * 100", "percentage"),
        ("(train['Amount'] > 200).sum()", "divide by the number of events"),
        ("(events['Amount'] > 200).mean()", "the question is about the training part"),
        ("(train['Amount'] <= 200).mean()", "the share of the others"),
        ("0.5", "0.5 is too large"),
        ("'many'", "should be one number"),
    ],
    "1b": [
        ("lambda v: (v - v.mean()) / v.std()", "use medians"),
        ("lambda v: (v - v.median()) / (v - v.median()).abs().median()", "1.4826 is missing"),
        ("lambda v: v / (1.4826 * (v - v.median()).abs().median())", "Subtract the median first"),
        ("lambda v: v.median()", "gives a single number"),
        ("lambda v: (v - v.median()) / v.std()", "values are off"),
    ],
    "1c": [
        ("lambda train, test: 0", "Look at the clock"),
        ("lambda train, test: len(train)", "0 training events come late"),
        ("lambda train, test: (train.index > test.index.max()).sum()", "one test event in the past"),
        ("lambda train, test: (train.index > test.index.min()).any()", "the question is how many"),
        ("lambda train, test: (test.index < train.index.max()).sum()", "It counts test events"),
    ],
    "2a": [
        ("lambda vote: (vote == 1).mean()", "0 is a vote"),
        ("lambda vote: (vote != -1).sum()", "coverage is a share"),
        ("lambda vote: vote.mean()", "mean of the codes"),
    ],
    "2b": [
        ("lambda values: values.quantile(0.005)", "the other end"),
        ("lambda values: values.quantile(0.95)", "5 of 1,000 is 0.5 %, not 5 %"),
        ("lambda values: values.max()", "Nobody would ever be accused"),
        ("lambda values: 3.0", "the budget is 5"),
    ],
    "2c": [
        ("lambda s, t: s['distance']", "True or False"),
        ("lambda s, t: s['amount'] > 20", "Analysts can look at 5"),
        ("lambda s, t: s['burst'] > 1e6", "accuses nobody"),
        ("lambda s, t: s['burst'] > t['burst']", "exactly what `burst` says"),
        ("lambda s, t: s['amount'] >= s['amount'].nlargest(40).min()", "events that come later"),
        ("lambda s, t: s['burst'][:10] > 3", "one value an event"),
        ("lambda s, t: s['burts'] > 3", "Your code stops with KeyError: 'burts'"),
    ],
    "3a": [
        ("{'rank', 'smoothed', 'share_of_largest', 'change'}", "`change` is the same"),
        ("{'smoothed'}", "2 more see the future"),
        ("'rank'", "Give the names in a set"),
        ("{'ranks'}", "no candidate called ranks"),
    ],
    "3b": [
        ("lambda f, w: pd.Series(f).rolling(w, min_periods=1).sum()", "counts itself"),
        ("lambda f, w: pd.Series(f).rolling(w, center=True, min_periods=1).sum()", "sees the future"),
        ("lambda f, w: pd.Series(f).shift(1).rolling(w).sum()", "The first events have fewer"),
        ("lambda f, w: np.cumsum(f) - f", "since the beginning"),
        ("lambda f, w: sum(f[-w:])", "gives a single number"),
    ],
    "3c": [
        ("lambda z, m, c: np.linalg.norm(z - m, axis=1)", "the straight distance"),
        ("lambda z, m, c: ((z - m) @ np.linalg.inv(c) * (z - m)).sum(axis=1)", "the root is missing"),
        ("lambda z, m, c: np.sqrt(((z - m) @ c * (z - m)).sum(axis=1))", "must be inverted"),
        ("lambda z, m, c: np.sqrt(((z - m) ** 2 / np.diag(c)).sum(axis=1))", "how the inputs move together"),
    ],
    "4a": [
        ("lambda x, rebuilt: ((x - rebuilt) ** 2).mean()", "one number for all events"),
        ("lambda x, rebuilt: ((x - rebuilt) ** 2).mean(axis=0)", "axis=1"),
        ("lambda x, rebuilt: (x - rebuilt).mean(axis=1)", "cancel out"),
        ("lambda x, rebuilt: ((x - rebuilt) ** 2).sum(axis=1)", "adds the inputs up"),
        ("lambda x, rebuilt: x - rebuilt", "a table of shape"),
    ],
    "4b": [
        ("lambda x, r, names: np.array(names)[(x - r).argmax(axis=1)]", "Too low is as bad as too high"),
        ("lambda x, r, names: np.abs(x - r).argmax(axis=1)", "an analyst reads names"),
        ("lambda x, r, names: np.array(names)[np.abs(x - r).argmin(axis=1)]", "rebuilt best"),
        ("lambda x, r, names: ['Amount'] * len(x)", "another input was rebuilt worse"),
        ("lambda x, r, names: 'V3'", "one name an event"),
    ],
    "4c": [
        ("lambda label, bad, accused: 0 if label == 1 and not bad else label", "suspicious, well rebuilt"),
        ("lambda label, bad, accused: 1 if bad else 0", "should not become presumed normal"),
        ("lambda label, bad, accused: label if bad == (label == 1) else -1", "undecided, well rebuilt"),
        ("lambda label, bad, accused: 'undecided'", "It should give 1, 0 or -1"),
    ],
    "5a": [
        ("lambda c: c.sum()", "These are log-odds"),
        ("lambda c: 1 / (1 + np.exp(-c.drop('bias').sum()))", "The bias is missing"),
        ("lambda c: np.exp(c.sum())", "These are odds"),
    ],
    "5b": [
        ("lambda events: events.index % 7 == 0", "It cannot copy what it cannot see"),
        ("lambda events: events['V2'] > 50", "stay between 1 % and 50 %"),
        ("lambda events: events['Amount'] > 200", "nearly the naive rule"),
        ("lambda events: events['V2']", "True or False"),
    ],
    "5c": [
        ("lambda fit, x, y: fit(x, y)(x)", "One model scores all events"),
        ("lambda fit, x, y: by_fold(fit, x, y, shuffled(100))", "Neighbouring events are alike"),
        ("lambda fit, x, y: by_fold(fit, x, y, np.split(np.arange(100), 10))", "10 models were fitted"),
        (
            "lambda fit, x, y: by_fold(fit, x, y, np.split(np.arange(100), 5), np.arange(100))",
            "that it has learned from",
        ),
        (
            "lambda fit, x, y: by_fold(fit, x, y, np.split(np.arange(100), 5))[::-1]",
            "put each part in its place",
        ),
    ],
    "6a": [
        ("lambda m: (m[1, 1] / m[1].sum(), m[1, 1] / m[:, 1].sum())", "swapped"),
        ("lambda m: (np.trace(m) / m.sum(), m[1, 1] / m[1].sum())", "accuracy"),
        ("lambda m: (m[0, 0] / m[:, 0].sum(), m[0, 0] / m[0].sum())", "about the honest events"),
        ("lambda m: m[1, 1] / m[:, 1].sum()", "two numbers"),
    ],
    "6b": [
        ("lambda t, s: (t.cumsum() / np.arange(1, len(t) + 1))[t == 1].mean()", "sort by score first"),
        ("lambda t, s: (t[np.argsort(-s)].cumsum() / np.arange(1, len(t) + 1)).mean()", "only the places"),
        ("lambda t, s: t.mean()", "what chance reaches"),
        (
            "lambda t, s: 0.9 * __import__('sklearn.metrics').metrics.average_precision_score(t, s)",
            "too small",
        ),
    ],
    "6c": [
        ("lambda e, g: g.multinomial(len(e), np.ones(len(e)) / len(e))", "torn apart"),
        ("lambda e, g: np.ones(len(e), int)", "Every draw is the same"),
        ("lambda e, g: (g.random(e.max() + 1) < 0.5)[e]", "with replacement"),
        (
            "lambda e, g: np.bincount(g.integers(0, 4, len(e)), minlength=e.max() + 1)[e]",
            "as many episodes as",
        ),
        ("lambda e, g: np.bincount(np.minimum(g.integers(0, 6, 4), 3), minlength=4)[e]", "as likely"),
        ("lambda e, g: g.integers(0, e.max() + 1, e.max() + 1)", "how often each is drawn"),
    ],
    "6d": [
        ("lambda s, t: s['burst'] > 1e6", "accuses nobody"),
        ("lambda s, t: s['distance']", "True or False"),
    ],
    "7a": [
        ("lambda alerted, now, delay: alerted <= now", "takes `delay` events more"),
        ("lambda alerted, now, delay: alerted + delay < now", "when it is due at `now`"),
        ("lambda alerted, now, delay: alerted + delay > now", "still to come"),
        ("lambda alerted, now, delay: alerted[alerted + delay <= now]", "one value an event"),
    ],
    "7b": [
        ("lambda one, other: (one + other) / 2", "average their log-odds"),
        ("lambda one, other: np.sqrt(one / (1 - one) * other / (1 - other))", "divide by 1 + odds"),
        ("lambda one, other: np.sqrt(one * other)", "values are off"),
        ("lambda one, other: 1 / (1 + (1 - one) / one * (1 - other) / other)", "half of the sum"),
    ],
    "7c": [
        ("lambda before, now: (now * np.log(now / before)).sum()", "relative entropy"),
        ("lambda before, now: ((now - before) * np.log10(now / before)).sum()", "natural logarithm"),
        ("lambda before, now: ((now - before) * np.log(now / before)).mean()", "take the sum"),
        ("lambda before, now: (now - before) * np.log(now / before)", "should be one number"),
    ],
    "8a": [
        ("lambda start, slow, fast: start * slow", "still has all of them to do"),
        ("lambda start, slow, fast: start / (1 - slow / fast)", "This is a time"),
        ("lambda start, slow, fast: start * (fast - slow)", "the seconds for one event"),
        ("lambda start, slow, fast: start / (1 / slow - 1 / fast)", "it never catches up"),
    ],
    "8b": [
        ("lambda share, cores: cores", "as if all of the work"),
        ("lambda share, cores: 1 - share + share / cores", "one divided by it"),
        ("lambda share, cores: share * cores", "too small"),
    ],
    "9a": [
        ("lambda r, a: ((r == a).mean(), 1 - (r == a).mean())", "all three of a row"),
        ("lambda r, a: ((r == a).all(axis=1).mean(), (r == a).mean())", "the loss counts the wrong ones"),
        ("lambda r, a: (1 - (r == a).mean(), (r == a).all(axis=1).mean())", "exact match first"),
        ("lambda r, a: (r == a).all(axis=1)", "2"),
    ],
    "9b": [
        ("lambda rows, near, share: share[:, None] * (near - rows)", "add it to the row"),
        ("lambda rows, near, share: near - share[:, None] * (near - rows)", "begin at the row"),
        ("lambda rows, near, share: rows - share[:, None] * (near - rows)", "goes away"),
        ("lambda rows, near, share: rows[0]", "not an array of shape (3,)"),
    ],
    "9c": [
        ("lambda f, t: f['license_cnt'] > 0", "Analysts can look at 5"),
        ("lambda f, t: f['license_cnt'] > 1e6", "accuses nobody"),
        ("lambda f, t: f['license_cnt']", "True or False"),
        ("lambda f, t: f['licence_cnt'] > 9", "KeyError: 'licence_cnt'"),
    ],
    "10a": [
        ("lambda per, events, minutes: per * events / 1_000 * minutes", "60 make an hour"),
        ("lambda per, events, minutes: per * events / 1_000", "the minutes that each takes"),
        ("lambda per, events, minutes: per * events * minutes / 60", "of every thousand"),
    ],
    "10b": [
        ("lambda f, t: f['distance'] > t['distance']", "exactly what `abnormal_combination` says"),
        ("lambda f, t: f['license_cnt'] > 0", "Analysts can look at 5"),
    ],
}


@pytest.mark.parametrize(
    ("number", "answer", "words"), [(number, *wrong) for number in WRONG for wrong in WRONG[number]]
)
def test_a_wrong_answer_is_told_off_in_words(number, answer, words, world, ask):
    verdict = ask(eval(answer, world | {"by_fold": by_fold, "shuffled": shuffled}))
    assert verdict.startswith("not quite. ") and words in verdict and verdict.endswith((".", "(% n)."))


def test_every_exercise_has_two_wrong_answers_or_more():
    assert set(WRONG) == set(FOUND) and min(map(len, WRONG.values())) >= 2


# --- whatever a learner writes -------------------------------------------------------------------


def broken(*_):
    raise RuntimeError("out of coffee\nand of patience")


def forgotten(*values):
    len(values)


FUNCTIONS = [number for number in FOUND if number not in ("1a", "3a")]


@pytest.mark.parametrize("number", FUNCTIONS)
def test_an_exception_and_a_missing_return_are_named(number, ask):
    assert ask(broken) == "not quite. Your code stops with RuntimeError: out of coffee."
    assert ask(forgotten) == "not quite. Your function gives None; is a `return` missing?"
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
