"""A classifier (XGBoost) that learns from the refined pseudo-labels."""

from dataclasses import dataclass, field, replace
from typing import Any, Self

import numpy as np

from helpers.schema import CARDS

CLASSIFIER_INPUTS = CARDS.classifier_inputs
SCORE_FEATURES = CLASSIFIER_INPUTS[-2:]  # reconstruction error and distance
FOLDS = 5


def classifier_inputs(inputs: np.ndarray, errors: np.ndarray, distance: np.ndarray) -> np.ndarray:
    """(n, k + 2) features of the classifier: the k scaled inputs and two scores, the reconstruction error and
    the distance from the clusters."""
    return np.column_stack([inputs, errors, distance]).clip(-1e38, 1e38)  # as far as single precision goes


@dataclass
class Classifier:
    """Probability of fraud from (n, k) inputs: XGBoost with every setting in sight.

    Attributes:
        trees, depth, learning_rate, subsample, columns: XGBoost's settings; common values, not tuned.
        seed: of the row and column samples.
        names: the inputs' names, in order.
        model: after `fit`, the fitted xgboost.Booster.
    """

    trees: int = 50
    depth: int = 3
    learning_rate: float = 0.2
    subsample: float = 0.8
    columns: float = 0.8
    seed: int = 0
    names: list[str] = field(default_factory=lambda: list(CLASSIFIER_INPUTS))
    model: Any = field(default=None, repr=False)

    def fit(self, inputs: np.ndarray, labels: np.ndarray, weights: np.ndarray | None = None) -> Self:
        """Learn from (n, k) rows and their (n,) labels, 1 or 0; (n,) `weights` say how much each counts."""
        import xgboost

        for lacking, name in ((~np.any(labels), "suspicious"), (np.all(labels), "normal")):
            if lacking:
                raise ValueError(
                    "A classifier needs examples of both suspicious and normal events, and among these "
                    f"{len(labels):,} none is {name}: ask for more rows or choose another window."
                )
        rows = xgboost.DMatrix(inputs, labels, weight=weights, nthread=1)
        settings = {
            "objective": "binary:logistic",
            "tree_method": "hist",
            "max_depth": self.depth,
            "learning_rate": self.learning_rate,
            "subsample": self.subsample,
            "colsample_bytree": self.columns,
            "seed": self.seed,
            "nthread": 1,  # on tables this small more are slower
        }
        self.model = xgboost.train(settings, rows, num_boost_round=self.trees)
        return self

    def probability(self, inputs: np.ndarray) -> np.ndarray:
        """Probability of each row; (n, k) -> (n,) float32 in [0, 1]."""
        return self.model.inplace_predict(inputs).reshape(len(inputs))  # of no row it is (0, 0), from 3.3 on

    def log_odds(self, inputs: np.ndarray) -> np.ndarray:
        """The probability before it is squeezed into [0, 1]; (n, k) -> (n,) float32."""
        return self.model.inplace_predict(inputs, predict_type="margin").reshape(len(inputs))

    def out_of_fold(
        self, inputs: np.ndarray, labels: np.ndarray, weights: np.ndarray | None = None
    ) -> np.ndarray:
        """Probability of each training row, by a classifier that did not see its fifth of the stream; (n,).

        The folds are consecutive, because neighbouring events are alike. Where the other folds hold one
        class only, the whole classifier answers.
        """
        from sklearn.model_selection import KFold

        weights = np.ones(len(inputs)) if weights is None else weights
        probability = np.empty(len(inputs), dtype=np.float32)
        for others, fold in KFold(FOLDS).split(inputs):
            both = 0 < np.mean(labels[others]) < 1
            classifier = replace(self).fit(inputs[others], labels[others], weights[others]) if both else self
            probability[fold] = classifier.probability(inputs[fold])
        return probability

    def kept(self) -> dict[str, Any]:
        """What a file holds of it: the trees in XGBoost's own UBJSON format."""
        return {"names": self.names, "model": np.frombuffer(self.model.save_raw("ubj"), np.uint8)}

    @classmethod
    def made(cls, names: list[str], model: np.ndarray) -> Self:
        """The classifier that `kept` described."""
        import xgboost

        classifier = cls(names=names, model=xgboost.Booster(model_file=bytearray(model)))
        classifier.model.set_param({"nthread": 1})
        return classifier
