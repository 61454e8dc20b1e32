"""The whole method on one screen: profile, rules, pseudo-labels, autoencoder, classifier."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Self

import numpy as np
import pandas as pd

from helpers import reasons as words
from helpers import rules as experts
from helpers.autoencoder import Autoencoder
from helpers.classifier import Classifier, classifier_inputs
from helpers.clusters import Clusters
from helpers.encoder import Encoder
from helpers.features import Profile, Scaling, behaviour, budget_threshold, facts
from helpers.files import load, replace, to_bytes
from helpers.rules import EVERY, NORMAL, RULES, SUSPICIOUS, UNDECIDED, Rule
from helpers.schema import CARDS, Schema
from helpers.settings import DOUBT

BUNDLE = "domain-driven detector, version 6"  # the stamp of a saved detector
TAIL = 400  # scores of the training set that are kept, at most


def combine(scores: Sequence[np.ndarray], training: Sequence[np.ndarray]) -> np.ndarray:
    """Combine scores that have no common unit, (n,) each, by Fisher's method (1925): (n,) minus the sum of
    the logarithms of their p-values. A score's p-value is the share of the training events that score as high
    or higher; `training` are the `tail` of each."""
    return -sum(np.interp(score, *known) for score, known in zip(scores, training, strict=True))


def calibrate(combined: np.ndarray, training: np.ndarray, scores: int = 2) -> np.ndarray:
    """Turn combined scores (n,) into risks: 1 - risk is the share of the training events, of whose combined
    scores `training` is the `tail`, that are as risky or riskier. Above them all it goes on falling."""
    beyond = np.maximum(combined - training[0, -1], 0) / scores  # as if all of them said the same
    return 1 - np.exp(np.interp(combined, *training) - beyond)


def tail(scores: np.ndarray) -> np.ndarray:
    """(2, m) some of n scores, increasing, and the logarithm of the share of all that is as high or higher.

    The highest ones are all there; of the others there are enough for shares that differ by 3 %.
    """
    ordered, n = np.sort(scores), len(scores)
    some = ordered[n - np.unique(np.geomspace(n, 1, TAIL).astype(int))[::-1]]
    return np.array([some, np.log(1 - np.searchsorted(ordered, some) / n)])


@dataclass
class Detector:
    """Everything that was learned from one training set, without a true label.

    Attributes:
        profile, scaling: ordinary behaviour; mean and standard deviation of the inputs.
        rules, thresholds: the rule book, and its thresholds by signal.
        autoencoder: rebuilds presumed normal events.
        error_threshold: reconstruction error that the alert budget's share of the presumed normals exceeds.
        classifier: what XGBoost has learned from the refined labels.
        training: (3, 2, m) the training set's `tail` of the classifier's score (out of fold), of the
            distance, and of both combined; with a key and numbers (5, 2, m), for two more (see `score`).
    """

    profile: Profile
    thresholds: dict[str, float]
    scaling: Scaling
    autoencoder: Autoencoder
    error_threshold: float
    classifier: Classifier
    training: np.ndarray
    rules: Sequence[Rule] = RULES

    def __post_init__(self) -> None:
        self.rules = tuple(self.rules)

    @property
    def schema(self) -> Schema:
        """What the columns of its events are."""
        return self.profile.schema

    @classmethod
    def fit(
        cls,
        events: pd.DataFrame,
        seed: int = 0,
        device: str = "cpu",
        rules: Sequence[Rule] | None = None,
        schema: Schema = CARDS,
        profile: Profile | None = None,
    ) -> Self:
        """Learn from a training set, without a true label.

        Args:
            events: (n, ...) with the schema's columns, in time order, some thousands or more.
            seed, device: of the clusters, the autoencoder and the classifier; of the autoencoder alone.
            rules: the rule book; without one, those of the course's rules that the schema has columns for.
            schema: what the columns are; those with one value in all these events are left out.
            profile: what `Profile.fit` learned of the same events, if several rule books are to share it.
        """
        schema = profile.schema if profile else schema.varying(events)
        rules = experts.rules_for(schema) if rules is None else tuple(rules)
        events, _ = schema.encoded(events)
        inputs = schema.inputs(events)
        profile = experts.without_contaminated(profile or Profile.fit(events, schema, seed), events, rules)
        signals = behaviour(events, profile)
        known = facts(signals, events, schema)
        thresholds = experts.fit_thresholds(known, rules)
        votes = experts.apply_rules(known, thresholds, rules)
        labels = experts.pseudo_labels(votes, known, thresholds, rules)

        scaling = Scaling.fit(inputs, schema)
        inputs = scaling.transform(inputs)
        autoencoder = Autoencoder(seed=seed, device=device).fit(inputs[labels == NORMAL])
        errors = autoencoder.reconstruction_error(inputs)
        error_threshold = budget_threshold(errors[labels == NORMAL])
        labels = experts.refine_labels(labels, votes, errors, error_threshold)

        seen = classifier_inputs(inputs, errors, signals["distance"].to_numpy())
        suspicious = labels == SUSPICIOUS
        weights = np.where(labels == UNDECIDED, DOUBT, 1)  # normal, most likely
        classifier = Classifier(seed=seed, names=schema.classifier_inputs).fit(seen, suspicious, weights)
        scores = classifier.out_of_fold(seen, suspicious, weights), *_unlabelled(seen, schema)
        tails = [tail(score) for score in scores]
        training = np.array([*tails, tail(combine(scores, tails))])
        return cls(profile, thresholds, scaling, autoencoder, error_threshold, classifier, training, rules)

    def seen(self, events: pd.DataFrame) -> np.ndarray:
        """What the classifier sees of events: k scaled inputs, reconstruction error and distance; (n, k + 2).
        With a key they follow on the training set, or are encoded already."""
        inputs = self.schema.inputs(events)
        distance = self.profile.distance(self.profile.z_scores(inputs))
        inputs = self.scaling.transform(inputs)
        return classifier_inputs(inputs, self.autoencoder.reconstruction_error(inputs), distance)

    def score(self, events: pd.DataFrame, history: pd.DataFrame | None = None) -> np.ndarray:
        """Risk of events; (n,) in [0, 1), the same in any batches. 1 - risk is the share of the training
        events that are as risky or riskier. It combines classifier and distance, and with a key the
        reconstruction error and the largest deviation from its past, which needs the `history` since the
        training set."""
        return self.risk(self.seen(self.schema.encoded(events, history)[0]))

    def risk(self, seen: np.ndarray) -> np.ndarray:
        """The risk of what the classifier sees, (n, k + 2) -> (n,)."""
        *members, combined = self.training
        scores = self.classifier.probability(seen), *_unlabelled(seen, self.schema)
        return calibrate(combine(scores[: len(members)], members), combined, len(members))

    def one_in(self, risk: np.ndarray) -> np.ndarray:
        """Of so many training events one is as risky, (n,) int64; of all of them, where none is."""
        return np.rint(1 / (1 - risk).clip(1 / self.profile.events)).astype(np.int64)

    def reasons(
        self, events: pd.DataFrame, history: pd.DataFrame | None = None, above: float = -np.inf
    ) -> pd.DataFrame:
        """Say in words why consecutive events are risky, those whose risk is `above` this; the others still
        count as behaviour. `history` are the events before them as far as the window reaches (1,000).

        Gives (n, 6), one row per event: risk, one_in (it is as risky as one of so many training events),
        rules (which ones flag it), burst and repeats (as in `behaviour`) and why (what the experts say and
        the two columns that stand out most, in the table's own words and units; the same for every seed).
        """
        events, history = self.schema.encoded(events, history)
        seen = self.seen(events)
        risk = self.risk(seen)
        told = risk > above
        signals = behaviour(events, self.profile, history)[told]
        events, seen, risk = events[told], seen[told], risk[told]

        def flags(**changed: float) -> list[list[str]]:
            known = facts(signals.assign(**changed), events, self.schema)
            votes = experts.apply_rules(known, self.thresholds, self.rules) == SUSPICIOUS
            return [votes.columns[row].tolist() for row in votes.to_numpy()]

        says = {rule.name: rule.says for rule in self.rules}
        spoken = [[says[name] for name in names] for names in flags(distance=0.0)]  # a seed moves it
        scaled = seen[:, : len(self.schema.columns)]
        why = words.reasons(events, scaled, spoken, self.profile.usual, self.schema)
        table = {
            "risk": risk,
            "one_in": self.one_in(risk),
            "rules": pd.Series([", ".join(names) for names in flags()], events.index, dtype=object),
            "burst": signals["burst"],
            "repeats": signals["repeats"],
            "why": pd.Series(why, events.index, dtype=object),
        }
        return pd.DataFrame(table, events.index)

    def save(self, path: Path | str) -> None:
        """Write one file, without pickle; a kill leaves the old file or the new one."""
        replace(Path(path), to_bytes(BUNDLE, self))

    @classmethod
    def load(cls, path: Path | str, rules: Sequence[Rule] = EVERY) -> Self:
        """Read what `save` wrote; its rules are looked up by name among `rules`, for a file holds no code."""
        return load(path, BUNDLE, kinds(rules), "fit one and save it again")


def _unlabelled(seen: np.ndarray, schema: Schema) -> list[np.ndarray]:
    """The scores that no label has formed: the distance and, with a key, the reconstruction error and the
    largest of the inputs that compare a key with its past."""
    named = schema.encoder.own if schema.encoder else ()
    own = [place for place, name in enumerate(schema.columns) if name in named]
    return [seen[:, -1], *([seen[:, -2], np.abs(seen[:, own]).max(axis=1)] if own else [])]


def kinds(rules: Sequence[Rule] = EVERY) -> dict[str, Callable[..., Any]]:
    """What a saved file may hold, and how each is made anew."""
    plain = (Schema, Encoder, Clusters, Profile, Scaling, Autoencoder, Detector)
    return {kind.__name__: kind for kind in plain} | {
        "Classifier": Classifier.made,
        "Rule": partial(experts.known_rule, rules),
    }


def score_file(detector: Detector, source: Path, target: Path) -> int:
    """Score a parquet file of events, one row group after another, in bounded memory; the number of events.

    `target` holds key, event and risk of each, and appears when it is whole.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    schema = pa.schema({"key": pa.int64(), "event": pa.int64(), "risk": pa.float64()})
    part, encoder = target.with_name(f".{target.name}.tmp"), detector.schema.encoder
    try:
        with pq.ParquetFile(source) as file, pq.ParquetWriter(part, schema, use_dictionary=False) as writer:
            for group in range(file.num_row_groups):
                table = file.read_row_group(group, ["key", "event", *detector.schema.carried])
                events = table.to_pandas()
                if encoder:
                    events, encoder = encoder.step(events.set_index("event"))
                risk = pa.array(detector.score(events))
                writer.write_table(table.select(["key", "event"]).append_column("risk", risk))
            total = file.metadata.num_rows
        part.replace(target)
    finally:
        part.unlink(missing_ok=True)
    return total
