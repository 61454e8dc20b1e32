"""The whole method on one screen: profile, rules, pseudo-labels, autoencoder, judge."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from scipy.stats import chi2

from helpers.autoencoder import Autoencoder
from helpers.crowds import Crowds
from helpers.features import Profile, Scaling, behaviour, budget_threshold, facts
from helpers.files import load, replace, to_bytes
from helpers.judge import Judge, judge_inputs
from helpers.rules import (
    NORMAL,
    RULES,
    SUSPICIOUS,
    Rule,
    apply_rules,
    fit_thresholds,
    known_rule,
    pseudo_labels,
    refine_labels,
    usual_book,
    without_rings,
)
from helpers.schema import CARDS, Schema

BUNDLE = "domain-driven detector, version 3"  # the stamp of a saved detector


def pool(opinions: Sequence[np.ndarray], training: Sequence[np.ndarray]) -> np.ndarray:
    """Join opinions that have no common unit, (n,) each, by Fisher's method of combining p-values (1925).

    An opinion's p-value is the share of the training events, given in increasing order, that it finds at
    least as suspicious. Returns (n,) 1 minus the combined p-value: how suspicious to all.
    """
    log_p = 0.0
    for said, known in zip(opinions, training, strict=True):
        log_p = log_p + np.log((len(known) - np.searchsorted(known, said) + 1) / (len(known) + 1))
    return chi2.cdf(-2 * log_p, 2 * len(opinions))


@dataclass
class Detector:
    """Everything that was learned from one training part, without a true label.

    Attributes:
        profile: ordinary behaviour.
        thresholds: the rules' thresholds, by signal.
        scaling: mean and standard deviation of the inputs.
        autoencoder: rebuilds presumed normal events.
        error_threshold: reconstruction error that the alert budget's share of the presumed normals exceeds.
        judge: the classifier.
        training: (2, n) what judge (out of fold) and crowds (distance) say of the training part, sorted.
        alert_threshold: risk above which a served event raises an alert, the alert budget's.
        rules: the rule book.
    """

    profile: Profile
    thresholds: dict[str, float]
    scaling: Scaling
    autoencoder: Autoencoder
    error_threshold: float
    judge: Judge
    training: np.ndarray
    alert_threshold: float
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
        rounds: int = 2,
        schema: Schema = CARDS,
        profile: Profile | None = None,
    ) -> Detector:
        """Learn from a training part, without a true label.

        Args:
            events: (n, ...) with the schema's columns, in time order, some thousands or more.
            seed, device: of the crowds, the autoencoder and the judge; of the autoencoder alone.
            rules: the rule book; without one, those of the course's rules that the schema has columns for.
            rounds: how often the autoencoder corrects the labels and is refitted.
            schema: what the columns are; those with one value in all these events are left out.
            profile: what `Profile.fit` learned of the same events, if several rule books are to share it.
        """
        schema = profile.schema if profile else schema.varying(events)
        rules = usual_book(schema) if rules is None else tuple(rules)
        inputs = schema.inputs(events)
        profile = without_rings(profile or Profile.fit(inputs, schema, seed), events, rules)
        signals = behaviour(events, profile)
        known = facts(signals, events, schema)
        thresholds = fit_thresholds(known, rules)
        votes = apply_rules(known, thresholds, rules)
        labels = pseudo_labels(votes, known, thresholds, rules)

        scaling = Scaling.fit(inputs, schema)
        inputs = scaling.transform(inputs)
        for _ in range(rounds):
            autoencoder = Autoencoder(seed=seed, device=device).fit(inputs[labels == NORMAL])
            errors = autoencoder.reconstruction_error(inputs)
            error_threshold = budget_threshold(errors[labels == NORMAL])
            labels = refine_labels(labels, votes, errors, error_threshold)

        seen = judge_inputs(inputs, errors, signals["distance"].to_numpy())
        judge = Judge(seed=seed, names=schema.inputs_of_judge).fit(seen, labels)
        opinions = judge.out_of_fold(seen, labels), seen[:, -1]
        training = np.sort(np.array(opinions, dtype=np.float32))
        above = budget_threshold(pool(opinions, training))
        return cls(profile, thresholds, scaling, autoencoder, error_threshold, judge, training, above, rules)

    def seen(self, events: pd.DataFrame) -> np.ndarray:
        """What the judge sees of events: k scaled inputs, reconstruction error and distance; (n, k + 2)."""
        inputs = self.schema.inputs(events)
        distance = self.profile.distance(self.profile.z_scores(inputs))
        inputs = self.scaling.transform(inputs)
        return judge_inputs(inputs, self.autoencoder.reconstruction_error(inputs), distance)

    def score(self, events: pd.DataFrame) -> np.ndarray:
        """Risk of events, pooled from judge and crowds; (n,) in [0, 1], the same in any batches."""
        return self.risk(self.seen(events))

    def risk(self, seen: np.ndarray) -> np.ndarray:
        """The risk of what the judge sees, (n, k + 2) -> (n,)."""
        return pool((self.judge.risk(seen), seen[:, -1]), self.training)

    def reasons(
        self, events: pd.DataFrame, history: pd.DataFrame | None = None, above: float = -np.inf
    ) -> pd.DataFrame:
        """Say in words why events are risky.

        Args:
            events: consecutive events, in time order.
            history: the events before them as far as the window reaches (1,000), for bursts and repeats.
            above: leave out events whose risk is not above this; they still count as behaviour.

        Returns:
            (n, 6), one row an event: risk, rules (which ones call it suspicious), burst and repeats (as in
            `behaviour`), worst_input (the input that the autoencoder rebuilt worst), pushed_by (the input
            that raised the judge's answer most).
        """
        seen = self.seen(events)
        risk = self.risk(seen)
        told = risk > above
        known = facts(behaviour(events, self.profile, history), events, self.schema)[told]
        accused = apply_rules(known, self.thresholds, self.rules) == SUSPICIOUS
        accusers = [", ".join(accused.columns[row]) for row in accused.to_numpy()]
        inputs = seen[told, :-2]
        misfit = np.abs(inputs - self.autoencoder.reconstruct(inputs))
        pushes = self.judge.reasons(seen[told]).drop(columns="bias").to_numpy()
        return pd.DataFrame(
            {
                "risk": risk[told],
                "rules": pd.Series(accusers, known.index, dtype=object),
                "burst": known["burst"],
                "repeats": known["repeats"],
                "worst_input": np.array(self.schema.columns)[misfit.argmax(axis=1)],
                "pushed_by": np.array(self.judge.names)[pushes.argmax(axis=1)],
            },
            index=known.index,
        )

    def save(self, path: Path | str) -> None:
        """Write one file, without pickle; a kill leaves the old file or the new one."""
        replace(Path(path), to_bytes(BUNDLE, self))

    @classmethod
    def load(cls, path: Path | str, rules: Sequence[Rule] = RULES, schema: Schema | None = None) -> Detector:
        """Read what `save` wrote; `schema` is compared with its own, if given.

        Its rules are looked up by name among `rules`: the file holds which they are, not their code.
        """
        loaded = load(path, BUNDLE, kinds(rules), "fit one and save it again")
        if schema:
            loaded.schema.check_same(schema, path)
        return loaded


def kinds(rules: Sequence[Rule] = RULES) -> dict[str, Callable[..., Any]]:
    """What a saved file may hold, and how each is made anew."""
    plain = (Schema, Crowds, Profile, Scaling, Autoencoder, Detector)
    return {kind.__name__: kind for kind in plain} | {"Judge": Judge.made, "Rule": partial(known_rule, rules)}


def score_file(detector: Detector, source: Path, target: Path) -> int:
    """Score a parquet file of events, one row group after another, in bounded memory; the number of events.

    `target` holds key, event and risk of each, and appears when it is whole.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    schema = pa.schema({"key": pa.int64(), "event": pa.int64(), "risk": pa.float64()})
    part = target.with_name(f".{target.name}.tmp")
    try:
        with pq.ParquetFile(source) as file, pq.ParquetWriter(part, schema, use_dictionary=False) as writer:
            for group in range(file.num_row_groups):
                table = file.read_row_group(group, ["key", "event", *detector.schema.carried])
                risk = pa.array(detector.score(table.to_pandas()))
                writer.write_table(table.select(["key", "event"]).append_column("risk", risk))
            total = file.metadata.num_rows
        part.replace(target)
    finally:
        part.unlink(missing_ok=True)
    return total
