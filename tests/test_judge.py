"""helpers/judge.py: the classifier that learns from refined pseudo-labels."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import combine_pvalues

from helpers.judge import FOLDS, JUDGE_INPUTS, Judge, judge_inputs, pool
from helpers.settings import COLUMNS

ROWS = 1_000


@pytest.fixture(scope="module")
def seen() -> np.ndarray:
    return np.random.default_rng(0).normal(size=(ROWS, len(JUDGE_INPUTS)))


@pytest.fixture(scope="module")
def labels(seen) -> np.ndarray:
    """Suspicious where two inputs are large; a tenth undecided."""
    labels = (seen[:, 1] + seen[:, 7] > 2).astype(np.int8)
    labels[::10] = -1
    return labels


@pytest.fixture(scope="module")
def judge(seen, labels) -> Judge:
    return Judge(trees=40).fit(seen, labels)


@pytest.fixture(scope="module")
def risk(judge, seen) -> np.ndarray:
    return judge.risk(seen)


def test_the_judge_sees_the_inputs_and_two_witnesses_and_nothing_else():
    assert [*COLUMNS, "reconstruction_error", "distance"] == JUDGE_INPUTS
    inputs, errors, distance = np.arange(14.0).reshape(2, 7), np.array([0.5, 0.25]), np.array([3, 4])
    seen = judge_inputs(inputs, errors, distance)
    assert seen.tolist() == [[*range(7), 0.5, 3], [*range(7, 14), 0.25, 4]]


def test_pooling_is_fishers_method(seen):
    known = np.sort(np.random.default_rng(0).normal(size=(2, 999)))
    said = np.array([[-9.0, known[0, 500], 9, 9], [-9.0, known[1, 500], -9, 9]])
    p = np.array([[1, 0.5, 0.001, 0.001], [1, 0.5, 1, 0.001]])  # of 999 and the event itself
    expected = [1 - combine_pvalues(pair, "fisher").pvalue for pair in p.T]
    np.testing.assert_allclose(pool(said, known), expected, atol=1e-12)
    assert (np.diff(pool(said, known)[[0, 1, 2, 3]]) > 0).all()


def test_it_learns_what_it_is_told(risk, seen, labels):
    known = labels >= 0
    assert risk.dtype == np.float32 and ((risk >= 0) & (risk <= 1)).all()
    assert ((risk > 0.5) == (labels == 1))[known].mean() > 0.98


def test_undecided_rows_teach_nothing(judge, seen, labels):
    known = labels >= 0
    assert Judge(trees=40).fit(seen[known], labels[known]).to_bytes() == judge.to_bytes()


@pytest.mark.parametrize("only", [[1, -1], [0, -1], [-1], []])
def test_without_an_example_of_a_class_it_says_so(seen, only):
    labels = np.resize(np.array(only, dtype=np.int8), ROWS if only else 0)
    with pytest.raises(ValueError, match="examples of both suspicious and normal events") as caught:
        Judge().fit(seen[: len(labels)], labels)
    assert str(caught.value).endswith(".") and "\n" not in str(caught.value)


def test_one_seed_one_judge_on_any_number_of_threads(judge, seen, labels):
    assert Judge(trees=40).fit(seen, labels).to_bytes() == judge.to_bytes()
    one, two = (Judge(trees=3, threads=n).fit(seen, labels) for n in (1, 2))
    assert one.to_bytes() == two.to_bytes()
    assert Judge(trees=40, seed=1).fit(seen, labels).to_bytes() != judge.to_bytes()


@settings(max_examples=20, deadline=None)
@given(cuts=st.lists(st.integers(1, ROWS - 1), max_size=8, unique=True))
def test_risk_has_the_same_bits_for_any_cut(judge, seen, risk, cuts):
    cut = [judge.risk(part) for part in np.split(seen, sorted(cuts))]
    np.testing.assert_array_equal(np.concatenate(cut), risk)


def test_risk_has_the_same_bits_one_by_one_and_none_for_no_event(judge, seen, risk):
    np.testing.assert_array_equal([judge.risk(seen[i : i + 1])[0] for i in range(200)], risk[:200])
    assert judge.risk(seen[:0]).shape == (0,)


def test_out_of_fold_answers_come_from_judges_that_did_not_see_the_fold(judge, seen, labels):
    expected = np.empty(ROWS, dtype=np.float32)
    for fold in np.split(np.arange(ROWS), FOLDS):
        others = np.setdiff1d(np.arange(ROWS), fold)
        expected[fold] = Judge(trees=40).fit(seen[others], labels[others]).risk(seen[fold])
    np.testing.assert_array_equal(judge.out_of_fold(seen, labels), expected)


def test_where_a_fold_holds_all_examples_the_whole_judge_answers(seen):
    labels = np.zeros(ROWS, dtype=np.int8)
    labels[210:240] = 1
    whole = Judge(trees=5).fit(seen, labels)
    answers = whole.out_of_fold(seen, labels)
    np.testing.assert_array_equal(answers[200:400], whole.risk(seen[200:400]))
    assert (answers[:200] != whole.risk(seen[:200])).any()


def test_reasons_add_up_to_the_log_odds(judge, seen, risk):
    reasons = judge.reasons(seen)
    assert list(reasons) == [*JUDGE_INPUTS, "bias"] and reasons["bias"].nunique() == 1
    odds = risk.astype(float) / (1 - risk.astype(float))
    np.testing.assert_allclose(reasons.sum(axis=1), np.log(odds), atol=1e-3)


def test_importance_is_a_share_of_the_gain(judge):
    importance = judge.importance()
    assert set(importance.index[:2]) == {"V1", "reconstruction_error"}
    assert importance.sum() == pytest.approx(1) and importance.is_monotonic_decreasing
    assert set(importance.index) == set(JUDGE_INPUTS)


def test_inputs_that_tell_nothing_have_no_importance(seen):
    constant = Judge(trees=3).fit(np.zeros((40, 9)), np.array([0, 1] * 20))
    assert constant.importance().to_dict() == dict.fromkeys(JUDGE_INPUTS, 0.0)
    assert np.ptp(constant.risk(seen)) == 0


def test_bytes_bring_the_same_judge_back(judge, seen, risk, tmp_path):
    again = Judge.from_bytes(judge.to_bytes())
    np.testing.assert_array_equal(again.risk(seen), risk)
    assert again.names == JUDGE_INPUTS and again.to_bytes() == judge.to_bytes()
    assert again.reasons(seen[:5]).equals(judge.reasons(seen[:5]))
    judge.save(tmp_path / "judge.ubj")
    np.testing.assert_array_equal(Judge.from_bytes((tmp_path / "judge.ubj").read_bytes()).risk(seen), risk)


def test_other_names_for_other_inputs(seen, labels):
    two = Judge(trees=3, names=["a", "b"]).fit(seen[:, :2], labels)
    assert list(two.reasons(seen[:4, :2])) == ["a", "b", "bias"]
    assert two.out_of_fold(seen[:, :2], labels).shape == (ROWS,)
