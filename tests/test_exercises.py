"""The exercises: each solution passes its checker, wrong answers are told off in words, nothing raises.

A new one needs the variables of its cell in `known` and its answers in TABLE: of a learner's function the
parameters, right answers (+), and wrong ones (-) with words of the sentence that each must get.
"""

import ast
import math
import re
from collections.abc import Callable
from functools import partial
from importlib import import_module
from itertools import pairwise
from types import SimpleNamespace

import nbformat
import numpy as np
import pandas as pd
import pytest
from scipy import special
from scipy.spatial import distance

import n09
from helpers import data, evaluation, features, rules
from helpers.classifier import Classifier
from helpers.settings import COLUMNS, ROOT
from quiz import ask as ask_in_a_quiz

PATHS = sorted((ROOT / "notebooks").glob("*.ipynb"))
CELLS = {int(path.stem[:2]): nbformat.read(path, 4).cells for path in PATHS}
FOUND = {  # exercise -> its cell and the cell below
    name[1]: (cell, below)
    for cells in CELLS.values()
    for cell, below in pairwise(cells)
    if (name := re.search(r"^n\d\d\.check_(\w+)\(", cell.source, re.M))
}
PRAISE = dict.fromkeys(("2c", "9b", "10b"), "this is a rule. ")
each = pytest.mark.parametrize("number", FOUND)


def test_every_notebook_has_two_to_four_exercises_and_every_checker_is_used_once():
    text = "\n".join(cell.source for cells in CELLS.values() for cell in cells)
    used = re.findall(r"\bn\d\d\.check_(\w+)\(", text)
    beside = " ".join(name for notebook in CELLS for name in vars(import_module(f"n{notebook:02}")))
    assert sorted(used) == sorted(FOUND) == sorted(re.findall(r"\bcheck_(\w+)", beside)) == sorted(ANSWERS)
    for notebook in CELLS:
        letters = "".join(number[-1] for number in FOUND if number[:-1] == str(notebook))
        assert letters in ("ab", "abc", "abcd"), notebook


@each
def test_the_exercise_was_not_attempted_and_its_solution_is_folded_away_below(number):
    cell, below = FOUND[number]
    last = ast.unparse(ast.parse(cell.source).body[-1])
    assert last.startswith(f"n{int(number[:-1]):02}.check_{number}(")
    assert {output.text for output in cell.outputs} <= {f"Exercise {number}: not attempted yet.\n"}
    assert below.source.startswith(f"# @title Solution {number}\n") and f"solution_{number}" in below.source
    assert below.metadata["cellView"] == "form" and below.metadata["jupyter"] == {"source_hidden": True}
    assert "source_hidden" not in str(cell.metadata)
    assert not re.search(r"\bn\d\d\b", below.source) and not below.outputs


@pytest.fixture(scope="module")
def known(window, tmp_path_factory) -> dict[str, dict]:
    """The variables that the exercise cells of each notebook use, from fewer events and quickly fitted."""
    window, n_train = window[:20_000], 12_000
    train, test = window[:n_train], window[n_train:]
    profile = features.Profile.fit(train, clusters=2)
    signals = features.behaviour(window, profile)
    thresholds = rules.fit_thresholds(signals[:n_train])
    votes = rules.apply_rules(signals, thresholds)
    described = {"events": window, "train": train, "test": test, "signals": signals}
    described |= {"thresholds": thresholds, "votes": votes, "z": pd.DataFrame(profile.z_scores(window))}
    described["run"] = SimpleNamespace(folder=tmp_path_factory.mktemp("run"))

    few, inputs = window[:3_000], features.Scaling.fit(train).transform(window[:3_000])
    classifier = Classifier(names=COLUMNS).fit(inputs, rules.naive_rule(few).astype(np.int8))
    classified = {"classifier": classifier, "seen": inputs, "place": 7}
    network = SimpleNamespace(reconstruct=lambda x: np.roll(x, 1, axis=1) / 2)
    rebuilt = {"x_train": inputs, "autoencoder": network, "worst": range(15), "inputs": few}

    truth = data.seal(data.load_events("snapshot", len(window)))[1].to_numpy()[n_train:]
    rule_score = rules.rule_score(signals)[n_train:]
    opened = {"test": truth, "test_scores": {"rules": rule_score}, "n_train": n_train}
    opened["alerts"] = {"rules": evaluation.choose_alerts(rule_score, start=n_train)}

    days, abuse = n09.simulate(1_000, 10)
    known = features.behaviour(days, features.Profile.fit(days, n09.SESSIONS.varying(days), clusters=1))
    facts = features.facts(known, days, n09.SESSIONS)[:2_000]
    thresholds = rules.fit_thresholds(facts)
    votes = rules.apply_rules(facts, thresholds, rules.rules_for(n09.SESSIONS))
    said = abuse.assign(any=abuse.any(axis=1).astype(int))[:2_000]
    sessions = {"facts": facts.iloc[:, :16], "thresholds": thresholds, "said": said, "votes": votes}
    sessions["n_train"] = 2_000
    first = dict.fromkeys("123", described) | {"4": rebuilt, "5": classified, "6": described | opened}
    return first | dict.fromkeys(["9", "10"], sessions)


@pytest.fixture
def world(known, number) -> dict:
    """What a learner has at hand in the exercise's cell: the notebook's imports and variables."""
    sources = [cell.source for cell in CELLS[int(number[:-1])]]
    imports = next(source for source in sources if re.search(r"^import n\d\d$", source, re.M))
    namespace: dict = {}
    exec(re.sub(r"^.*\btorch\b.*$", "", imports, flags=re.M), namespace)  # slow, and no exercise needs it
    return namespace | known.get(number[:-1], {})


@pytest.fixture
def ask(world, number, capsys) -> Callable[[object], str]:
    """Run the exercise's cell, then its last line again with another answer; gives what it prints."""
    source, solution = (cell.source for cell in FOUND[number])
    exec(source, world)
    assert capsys.readouterr().out == f"Exercise {number}: not attempted yet.\n"
    exec(solution, world)
    call = ast.parse(source).body[-1].value
    learners_name, call = call.args[0].id, compile(ast.unparse(call), "call", "eval")

    def ask(attempt: object) -> str:
        world[learners_name] = attempt
        assert eval(call, world) is None
        said = capsys.readouterr().out
        assert said.startswith(f"Exercise {number}: ") and said.count("\n") == 1 and len(said) > 25
        return said.removeprefix(f"Exercise {number}: ").strip()

    return ask


def by_fold(fit, inputs, labels, parts, train_on=None):
    """Out-of-fold scores over these parts; `train_on` picks other rows to learn from."""
    scores = np.zeros(len(inputs))
    for part in parts:
        others = np.setdiff1d(np.arange(len(inputs)), part) if train_on is None else train_on
        scores[part] = fit(inputs[others], labels[others])(inputs[part])
    return scores


def five(n: int = 103, order: Callable = np.arange) -> list[np.ndarray]:
    return np.array_split(order(n), 5)


def shares(scores, training, counts=np.greater_equal):
    """Of each score the shares of training values that `counts` compares with those of the events; (2, 3)."""
    return np.array([counts(t[:, None], s).mean(axis=0) for s, t in zip(scores, training, strict=True)])


LIBRARIES = {"distance": distance, "math": math, "special": special}
TABLE = """
1a
+ (train[['Amount']] > 200).mean()
- 0 => 0 is too low
- 0.5 => 0.5 is too high
- (train['Amount'] >= 200).mean() => counts 200 euro itself
- (train['Amount'] > 200).sum() => divide by the number of events
- (events['Amount'] > 200).mean() => the question is about the training set
- (train['Amount'] <= 200).mean() => the share of the others
- round((train['Amount'] > 200).mean() * 100, 2) => percentage
- round((train['Amount'] > 200).mean(), 4) => right, but rounded
- train['Amount'] > 200 => should be one number, but is of type Series
1b v
+ 0.6745 * (v - v.median()) / (v - v.median()).abs().median()
- (v - v.mean()) / v.std() => use medians
- (v - v.median()) / (v - v.median()).abs().median() => 1.4826 is missing
- (v - v.median()) * 1.4826 / (v - v.median()).abs().median() => belongs to the deviation
- v / (1.4826 * (v - v.median()).abs().median()) => Subtract the median first
- (v - v.mean()) / (v - v.median()).abs().median() / 1.4826 => Above the line
- solution_1b(v).abs() => The sign is lost
- v - v.median() => not yet in units
- -solution_1b(v) => sign is turned
- solution_1b(train['V5']) => not for another one
- solution_1b(events['V5']) => what it is given
- v.median() => gives a single number
1c train, test
+ sum(event > first for first in [min(test.index)] for event in train.index)
- 0 => Look at the clock
- (test.index < train.index.max()).sum() => It counts test events
- (train.index > test.index.min()).any() => the question is how many
- len(train) => 0 training events come late
2a v, n
+ [(v[n] > -1).mean(), ((v[n] > -1) & ((v > -1).sum(axis=1) > 1)).mean(), solution_2a(v, n)[2]]
- solution_2a(v, n)[:2] => three numbers
- solution_2a(v, n)[::-1] => your coverage: 0 is too low
- ((v[n] == 1).mean(), *solution_2a(v, n)[1:]) => coverage leaves out the votes for an event: 0 is a
- ((v[n] != -1).sum(), *solution_2a(v, n)[1:]) => is how many events
- ((v[n] != 0).mean(), *solution_2a(v, n)[1:]) => counts the abstentions
- (solution_2a(v, n)[0], (v[n] > -1).mean(), 0) => overlaps counts the rule itself
- np.array(solution_2a(v, n)) / [1, (v[n] > -1).mean(), 1] => overlaps is a share of the rule's own
- np.take(solution_2a(v, n), [0, 2, 2]) => overlaps counts conflicts only
- np.array(solution_2a(v, n)) / [1, 1, (v[n] > -1).mean()] => conflicts is a share of the rule's own
- np.take(solution_2a(v, n), [0, 1, 1]) => conflicts counts all overlaps
- solution_2a(votes[:12_000], n) if len(v) > 8 else (0.75, 0.5, 0.25) => not for another one
2b values
+ np.sort(values)[-int(len(values) * BUDGET) - 1]
+ values.quantile([1 - BUDGET])
- values.quantile(0.005) => the other end
- values.quantile(0.95) => 5 of 1,000 is 0.5 %, not 5 %
- 3.0 => the budget is 5
- (values > values.quantile(1 - BUDGET)).mean() => This is the share itself
- signals.loc[train.index, 'distance'].quantile(1 - BUDGET) => not for another one
2c s, t
+ (s['distance'] > 9).to_numpy().astype(int)
+ s['distance'].rolling(5, min_periods=1).mean() > 6
- s['distance'] > 0.9 * t['distance'] => of 1,000 events. The budget is 5, so ask for something rarer
- (s['burst'] >= 3) & (s['amount'] < 5) => The budget is 5
- s['burst'] > 1e6 => flags nobody
- s['amount'] > 20 => Analysts can look at 5; ask for something rarer, 50 at most
- s['burst'] > t['burst'] => exactly what `burst` says
- np.random.random(len(s)) < 0.01 => must not depend on chance
- signals['distance'] > 8 => a table from outside
- s['distance'] => True or False
- s['burst'][:10] > 3 => one value per event
- s['burts'] > 3 => Your code stops with KeyError: 'burts'. `s` has amount,
- s['burst'] > t['amounts'] => burst, repeats. `t` has amount,
- s['burst'].shift(-1).between(9, 99) & (s['burst'] < 1) => events that come later
- s['distance'] > s['distance'].max() * 0.7 => events that come later
- (s['distance'] > 7) & ~(s['burst'].shift(-1) > 0) => events that come later
- (s['burst'] > 9) & (s['distance'].max() < 100) => With extreme events after these
3a
+ ('smoothed', 'rank', 'share_of_largest')
- {'rank', 'smoothed', 'share_of_largest', 'change'} => `change` is the same
- {'smoothed'} => 2 more see the future
- ['smoothed', 'rank'] => 1 more sees the future
- 'rank' => Give the names in a set
- {'rank': True, 'change': False} => Give the names in a set
- {'ranks'} => no candidate called ranks
3b z, m, c
+ [distance.mahalanobis(row, m, np.linalg.inv(c)) for row in z]
- solution_3b(z, m, c) ** 2 => the root is missing
- np.linalg.norm(z - m, axis=1) => the straight distance
- np.sqrt(((z - m) ** 2 / np.diag(c)).sum(axis=1)) => how the inputs move together
- np.sqrt(((z - m) @ c * (z - m)).sum(axis=1)) => must be inverted
- solution_3b(z, 0, c) => Subtract the mean first
- np.sqrt(np.abs((z - m) @ np.linalg.inv(c) @ (z - m).T)) => diagonal
3c rows, other, sizes
+ min(sizes, key=lambda size: GaussianMixture(size, random_state=1).fit(rows).bic(rows))
- max(sizes, key=lambda size: GaussianMixture(size, random_state=0).fit(rows).score(rows)) => It always
- min(sizes, key=lambda size: GaussianMixture(size, random_state=0).fit(rows).score(other)) => the worst
- 5 => In 2 clusters that lie far apart it finds 5
- GaussianMixture(5, random_state=0).fit(rows).score(other) => It should choose one of
4a x, r, names
+ pd.DataFrame(x - r, columns=names).abs().idxmax(axis=1)
- np.array(names)[(x - r).argmax(axis=1)] => Too low is as bad as too high
- np.array(names)[(r - x).argmax(axis=1)] => Too high is as bad as too low
- solution_4a(x, r, COLUMNS) => take them from `names`
- np.abs(x - r).argmax(axis=1) => an analyst reads names
- ['Amount'] * len(x) => another input was rebuilt worse
- names => one name per event, 14 here, not an array of shape (7,)
- [name.lower() for name in solution_4a(x, r, names)] => no input called amount
4b label, bad, flagged
+ [int(solution_4b(label, bad, flagged)[row]) for row in range(len(label))]
- np.where((label == 1) & ~bad, 0, label) => suspicious, well rebuilt and flagged by a rule
- np.where(bad, 1, 0) => should not become presumed normal
- np.where(bad == (label == 1), label, -1) => undecided, well rebuilt and flagged by no rule
- np.where((label == 1) & ~bad, -1, solution_4b(label, bad, flagged)) => so it clears none
- solution_4b(solution_4b(label, bad, flagged), bad, flagged) => suspicious, well rebuilt and flagged by no
- 'undecided' => no numbers
- bad => It should give 1, 0 or -1
5a c
+ special.expit(c.sum())
- c.sum() => These are log-odds
- solution_5a(c.drop('base_value')) => The base value is missing
- np.exp(c.sum()) => These are odds
- solution_5a(-c) => mind the sign
- solution_5a(c.drop('V3')) => As a probability
- np.minimum(solution_5a(c), 0.99) => not for another one
5b s, t
+ [-sum(np.log((known >= one).mean()) for one, known in zip(event, t)) for event in zip(*s)]
+ pd.Series(-np.log(shares(s, t).prod(axis=0)))
- shares(s, t).prod(axis=0) => add up their logarithms and turn
- s[0] + s[1] => no common unit
- -np.log(shares(s, t, np.less_equal)).sum(axis=0) => not of lower ones
- -np.log(shares(s, t, np.greater)).sum(axis=0) => exactly as high count, too
- np.full(3, 2 * np.log(100)) => The combined score at position 1
5c fit, x, y
+ pd.Series(by_fold(fit, x, y, five()))
- fit(x, y)(x) => have learned from
- by_fold(fit, x, y, five(), np.arange(103)) => have learned from
- by_fold(fit, x, y, five(103, np.random.default_rng(0).permutation)) => Neighbouring events are alike
- by_fold(fit, x, y, np.array_split(np.arange(103), 10)) => 83 of 103 values are off
- by_fold(fit, x, y, five(100)) => 3 of 103 rows are in no fold
- by_fold(fit, x, y, five())[::-1] => The score at position 0
6a m
+ pd.Series({'precision': m[1, 1] / m[:, 1].sum(), 'recall': m[1, 1] / m[1].sum()})
- solution_6a(m)[::-1] => swapped
- (np.trace(m) / m.sum(), m[1, 1] / m[1].sum()) => accuracy
- (m[0, 0] / m[:, 0].sum(), m[0, 0] / m[0].sum()) => about legitimate events
- m[1, 1] / m[:, 1].sum() => two numbers
6b t, s
+ average_precision_score(t, s)
- (t.cumsum() / np.arange(1, len(t) + 1))[t == 1].mean() => sort by score first
- solution_6b(t, -s) => begins at the lowest score
- (t[np.argsort(-s)].cumsum() / np.arange(1, len(t) + 1)).mean() => only the places
- solution_6b(t, s) * t.mean() => divides by the number of events
- solution_6b(t, s) * t.sum() => adds the notes up
- ((np.arange(t.sum()) + 1) / np.flatnonzero(t[np.argsort(-s)])).mean() => places from 0
- solution_6b(t, s) if len(t) < 50 else 0.5 => not for another one
7a alerted, now, delay
+ [bool(event + delay <= now) for event in alerted]
+ pd.Series(alerted).add(delay).le(now)
- alerted <= now => takes `delay` events more
- alerted + delay < now => when it is due at `now`
- (alerted // 1_000 + 1) * 1_000 + delay <= now => from the end of
- alerted + delay > now => still to come
7b before, now
+ sum((n - b) * np.log(n / b) for n, b in zip(now, before))
- ((now - before) * np.log(now / before)).mean() => take the sum
- ((now - before) * np.log10(now / before)).sum() => not that to base 10
- (now * np.log(now / before)).sum() => relative entropy; the factor
- (now - before).sum() => cancel out
8a start, slow, fast
+ start * fast / max(fast / slow - 1, 0) if slow < fast else math.inf
- start / (1 - slow / fast) => This is a time
- start * slow => still has all of them to do
- start * fast => handled nothing
- start * (fast - slow) => the seconds for one event
- start / (1 / slow - 1 / fast) => it never catches up
- solution_8a(start, slow, fast + (fast == slow)) => never catches up
- np.inf if fast < slow else start / (1 / slow - 1 / fast) => for 10.0, 200000, 200000 with ZeroDivision
8b state, new, size
+ [*state, *new][-size:]
+ pd.Series([*state, *new]).tail(size)
- new[-size:] => forgets what the state held
- state[-size:] => leaves out the new events
- [*state, *new] => grows with every micro-batch
- [*state, *new][:size] => the oldest events
- sorted([*state, *new][-size:], reverse=True) => it gives [12, 9, 8, 5].
9a r, a
+ np.array([np.mean([list(x) == list(y) for x, y in zip(r, a)]), (r != a).mean()])
- ((r == a).mean(), 1 - (r == a).mean()) => The first is the share of right answers; all three
- ((r == a).all(axis=1).mean(), (r == a).mean()) => the loss counts the wrong ones
- ((r == a).all(axis=1).mean(), (r != a).any(axis=1).mean()) => single answers
- ((r == a).all(axis=1).sum(), (r != a).sum()) => These are counts
- (r == a).all(axis=1) => two numbers: return exact match, Hamming loss
9b f, t
+ f['distance'].gt(1.1 * t['distance']).astype(int)
- (lambda: said)().iloc[:, 0].reindex(f.index, fill_value=0) => says exactly what `content_fraud` says
- f['license_cnt'] > 0 => Analysts can look at 5
10a per, events, minutes
+ events // 1_000 * per * minutes / 60
- per * events / 1_000 * minutes => 60 make an hour
- per * events / 1_000 => the minutes that each takes
- per * events * minutes / 60 => of every thousand
- events * minutes / 60 => only the alerts
10b f, t
+ (f['distance'] > 1.1 * t['distance']).tolist()
- f['distance'] > t['distance'] => exactly what `abnormal_combination` says
- facts['distance'][:500] > t['distance'] => a table from outside
"""
ANSWERS = {block.split()[0]: block.splitlines() for block in re.split(r"\n(?=\d)", TABLE.strip())}


def broken(*_):
    raise RuntimeError("out of coffee\nand of patience")


def forgotten(*values):
    values == 0  # noqa: B015


@each
def test_right_answers_pass_wrong_ones_are_told_off_in_words_and_nothing_raises(number, ask, world):
    head, *lines = ANSWERS[number]
    parameters, praise = head.removeprefix(number), PRAISE.get(number, "right. ")
    known = globals() | LIBRARIES | world
    assert ask(known[f"solution_{number}"]).startswith(praise) and lines[0][0] == "+"
    off = {}
    for line in lines:
        answer, _, words = line[2:].partition(" => ")
        said = ask(eval(f"lambda{parameters}: {answer}" if parameters else answer, known))
        told = said.startswith("not quite. ") and words in said and said[-1] in ".?"
        if not (said.startswith(praise) if line[0] == "+" else words and told):
            off[line] = said
    assert not off
    for answer in ("text", object(), [1, 2], np.full(3, np.nan), pd.DataFrame({"a": [1]}), {}, 1 + 2j):
        verdict = ask((lambda *_, answer=answer: answer) if parameters else answer)
        assert verdict.startswith("not quite. "), (answer, verdict)
    if not parameters:
        return
    stops, silent = "not quite. Your code stops", "not quite. Your function gives None"
    assert re.fullmatch(rf"{stops}( for .*)? with RuntimeError: out of coffee\.", ask(broken))
    for function in (forgotten, partial(forgotten)):
        assert re.fullmatch(rf"{silent}( for .*)?; is a `return` missing\?", ask(function))
    assert ask(lambda *_: None) == "not attempted yet."
    function = "The answer should be a function; leave the line that begins with `def` as it is."
    assert ask(7) == f"not quite. {function}"


@pytest.mark.parametrize("number", ["4a"])
def test_a_learner_who_changes_the_arguments_does_not_change_the_notebook(number, world, ask):
    before = world["x_train"].copy()
    assert "an array of shape" in ask(lambda x, rebuilt, names: x.__isub__(rebuilt))
    np.testing.assert_array_equal(world["x_train"], before)


def test_a_question_about_a_run_folds_its_answer(monkeypatch):
    shown: list = []
    monkeypatch.setattr("IPython.display.display", shown.append)
    ask_in_a_quiz("How many <b>?", "5 & more")
    folded = "<details><summary>How many &lt;b&gt;?</summary><p>5 &amp; more</p></details>"
    assert [page.data for page in shown] == [folded]
