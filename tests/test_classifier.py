"""helpers/classifier.py: the classifier that learns from refined pseudo-labels."""

from dataclasses import replace

import numpy as np
import pytest

import n05
from helpers.classifier import CLASSIFIER_INPUTS, FOLDS, Classifier, classifier_inputs
from helpers.settings import COLUMNS

ROWS = 1_000


once = pytest.fixture(scope="module")
seen = once(lambda: np.random.default_rng(0).normal(size=(ROWS, len(CLASSIFIER_INPUTS))))
labels = once(lambda seen: (seen[:, 1] + seen[:, 7] > 2).astype(np.int8))
classifier = once(lambda seen, labels: Classifier(trees=40).fit(seen, labels))


def same(one: Classifier, other: Classifier) -> bool:
    return one.kept()["model"].tobytes() == other.kept()["model"].tobytes()


def test_the_classifier_sees_the_inputs_and_two_witnesses_and_nothing_else():
    assert [*COLUMNS, "reconstruction_error", "distance"] == CLASSIFIER_INPUTS
    seen = classifier_inputs(np.arange(14).reshape(2, 7), np.array([0.5, 0.25]), np.array([3, 4]))
    assert seen.tolist() == [[*range(7), 0.5, 3], [*range(7, 14), 0.25, 4]]


def test_it_learns_what_it_is_told(classifier, seen, labels):
    risk = classifier.probability(seen)
    assert risk.dtype == np.float32 and ((risk >= 0) & (risk <= 1)).all()
    assert ((risk > 0.5) == labels).mean() > 0.98
    assert same(Classifier(trees=40).fit(seen, labels == 1), classifier)


def test_without_an_example_of_a_class_it_says_so(seen):
    for kind, *only in (("normal", 1, 1), ("suspicious", 0, 0), ("suspicious",)):
        labels = np.array(only, dtype=np.int8)
        sentence = rf"^A classifier needs .* these {len(only)} none is {kind}: ask for more rows .*\.$"
        with pytest.raises(ValueError, match=sentence):
            Classifier().fit(seen[: len(labels)], labels)


def test_what_a_classifier_sees_fits_into_single_precision():
    seen = classifier_inputs(np.full((2, 7), [[1e60], [-1e60]]), np.array([1e200, 1]), np.ones(2))
    assert np.isfinite(seen.astype(np.float32)).all() and seen[1, -2:].tolist() == [1, 1]


def test_settings_change_what_is_learned(classifier, seen, labels):
    others = {"trees": 3, "depth": 2, "learning_rate": 0.3, "subsample": 0.5, "columns": 0.4, "seed": 1}
    for setting, value in others.items():
        assert not same(replace(classifier, **{setting: value}).fit(seen, labels), classifier), setting


def test_risk_has_the_same_bits_for_any_cut_and_after_it_was_kept(classifier, seen):
    again, parts = Classifier.made(**classifier.kept()), np.split(seen, [*range(60), *range(67, 600, 7)])
    cut = np.concatenate([again.probability(part) for part in parts])
    np.testing.assert_array_equal(cut, classifier.probability(seen))
    assert again.names == CLASSIFIER_INPUTS and same(again, classifier)


def test_out_of_fold_answers_come_from_classifiers_that_did_not_see_the_fold(classifier, seen, labels):
    answers = classifier.out_of_fold(seen, labels)
    for fold in np.split(np.arange(ROWS), FOLDS):
        others = np.setdiff1d(np.arange(ROWS), fold)
        expected = Classifier(trees=40).fit(seen[others], labels[others]).probability(seen[fold])
        np.testing.assert_array_equal(answers[fold], expected)
    labels = np.zeros(ROWS, dtype=np.int8)
    labels[210:240] = 1  # where one fold holds all examples, the whole classifier answers
    whole = Classifier(trees=5).fit(seen, labels)
    answers = whole.out_of_fold(seen, labels)
    np.testing.assert_array_equal(answers[200:400], whole.probability(seen[200:400]))
    assert (answers[:200] != whole.probability(seen[:200])).any()


def test_reasons_add_up_and_name_the_columns_as_they_are(classifier, seen, labels):
    reasons, risk = n05.contributions(classifier, seen), classifier.probability(seen).astype(float)
    assert list(reasons) == [*CLASSIFIER_INPUTS, "base_value"] and reasons["base_value"].nunique() == 1
    for said in (reasons.sum(axis=1), classifier.log_odds(seen)):
        np.testing.assert_allclose(said, np.log(risk / (1 - risk)), atol=1e-3)
    two = Classifier(trees=3, names=["paid [EUR]", "<b>"]).fit(seen[:, :2], labels)
    assert list(n05.contributions(two, seen[:4, :2])) == ["paid [EUR]", "<b>", "base_value"]
