"""The whole method on one screen: profile, rules, pseudo-labels, autoencoder, judge."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd

from helpers.autoencoder import Autoencoder
from helpers.features import Profile, Scaling, behaviour, facts
from helpers.files import load_bundle, pack, replace, unpack
from helpers.judge import Judge, judge_inputs
from helpers.rules import (
    NORMAL,
    RULES,
    SUSPICIOUS,
    Rule,
    apply_rules,
    book_from_json,
    book_to_json,
    budget_threshold,
    fit_thresholds,
    pseudo_labels,
    refine_labels,
    usual_book,
)
from helpers.schema import CARDS, Schema

BUNDLE = "domain-driven detector, version 1"  # the stamp of a saved detector
_PARTS = ("settings.json", "autoencoder.safetensors", "judge.ubj")


@dataclass
class Detector:
    """Everything that was learned from one training part, without a true label.

    Attributes:
        profile: ordinary behaviour.
        thresholds: the rules' thresholds, by signal.
        scaling: mean and standard deviation of the seven inputs.
        autoencoder: rebuilds presumed normal events.
        error_threshold: reconstruction error that the alert budget's share of the presumed normals exceeds.
        judge: the classifier that gives the risk.
        alert_threshold: risk above which a served event raises an alert, from out-of-fold risks.
        rules: the rule book.
    """

    profile: Profile
    thresholds: dict[str, float]
    scaling: Scaling
    autoencoder: Autoencoder
    error_threshold: float
    judge: Judge
    alert_threshold: float
    rules: Sequence[Rule] = RULES

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
    ) -> Detector:
        """Learn from a training part, without a true label.

        Args:
            events: (n, ...) with the schema's columns, in time order, some thousands or more.
            seed: of the autoencoder and the judge.
            device: where torch trains: "cpu", "cuda" or "auto".
            rules: the rule book; without one, those of the course's rules that the schema has columns for.
            rounds: how often the autoencoder corrects the labels and is refitted.
            schema: what the columns are; those with one value in all these events are left out.
        """
        schema = schema.varying(events)
        rules = usual_book(schema) if rules is None else tuple(rules)
        profile = Profile.fit(events, schema)
        known = facts(behaviour(events, profile), events, schema)
        thresholds = fit_thresholds(known, rules)
        votes = apply_rules(known, thresholds, rules)
        labels = pseudo_labels(votes, known, thresholds, rules)

        scaling = Scaling.fit(events, schema)
        inputs = scaling.transform(events)
        for _ in range(rounds):
            autoencoder = Autoencoder(seed=seed, device=device).fit(inputs[labels == NORMAL])
            errors = autoencoder.reconstruction_error(inputs)
            error_threshold = budget_threshold(errors[labels == NORMAL])
            labels = refine_labels(labels, votes, errors, error_threshold)

        seen = judge_inputs(inputs, errors)
        judge = Judge(seed=seed, names=schema.inputs_of_judge).fit(seen, labels)
        alert_threshold = budget_threshold(judge.out_of_fold(seen, labels))
        return cls(profile, thresholds, scaling, autoencoder, error_threshold, judge, alert_threshold, rules)

    def facts(self, events: pd.DataFrame, history: pd.DataFrame | None = None) -> pd.DataFrame:
        """What the rules look at, of events that follow `history`."""
        return facts(behaviour(events, self.profile, history), events, self.schema)

    def seen(self, events: pd.DataFrame) -> np.ndarray:
        """What the judge sees of events: the k scaled inputs and the reconstruction error; (n, k + 1)."""
        inputs = self.scaling.transform(events)
        return judge_inputs(inputs, self.autoencoder.reconstruction_error(inputs))

    def score(self, events: pd.DataFrame) -> np.ndarray:
        """Risk of events; (n,) float32 in [0, 1], bit for bit the same for any cut into batches."""
        return self.judge.risk(self.seen(events))

    def reasons(
        self, events: pd.DataFrame, history: pd.DataFrame | None = None, above: float = -np.inf
    ) -> pd.DataFrame:
        """Say in words why events are risky.

        Args:
            events: consecutive events, in time order.
            history: the events before them as far as the window reaches (1,000), so that bursts and repeats
                can be seen.
            above: leave out events whose risk is not above this; they still count as behaviour.

        Returns:
            (n, 6), one row an event: risk, rules (which ones call it suspicious), burst and repeats (similar
            and near-identical ones among the last 1,000), worst_input (the input that the autoencoder rebuilt
            worst), pushed_by (the input that raised the judge's answer most).
        """
        seen = self.seen(events)
        risk = self.judge.risk(seen)
        told = risk > above
        known = self.facts(events, history)[told]
        votes = apply_rules(known, self.thresholds, self.rules)
        accusers = [", ".join(votes.columns[row]) for row in (votes == SUSPICIOUS).to_numpy()]
        inputs = seen[told, :-1]
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

    def pseudo_labels(
        self, events: pd.DataFrame, history: pd.DataFrame | None = None
    ) -> tuple[np.ndarray, np.ndarray]:
        """What rules and autoencoder conclude of events that follow `history`, the 1,000 before them.

        Returns:
            (n,) reconstruction errors, and (n,) int8 labels: 1 suspicious, 0 presumed normal, -1 undecided.
        """
        known = self.facts(events, history)
        votes = apply_rules(known, self.thresholds, self.rules)
        errors = self.seen(events)[:, -1]
        labels = pseudo_labels(votes, known, self.thresholds, self.rules)
        return errors, refine_labels(labels, votes, errors, self.error_threshold)

    def save(self, path: Path | str) -> None:
        """Write one file, without pickle; a kill leaves the old file or the new one.

        Raises:
            CourseError: if the file cannot be written.
        """
        replace(Path(path), self.to_bytes())

    def to_bytes(self) -> bytes:
        """What `save` writes."""
        settings = {
            "rules": book_to_json(self.rules),
            "profile": self.profile.to_dict(),
            "thresholds": self.thresholds,
            "scaling": self.scaling.to_dict(),
            "error_threshold": self.error_threshold,
            "alert_threshold": self.alert_threshold,
        }
        text = json.dumps(settings, indent=1, sort_keys=True).encode()
        parts = (text, self.autoencoder.to_bytes(), self.judge.to_bytes())
        return pack(BUNDLE, dict(zip(_PARTS, parts, strict=True)))

    @classmethod
    def load(cls, path: Path | str, rules: Sequence[Rule] = RULES, schema: Schema | None = None) -> Detector:
        """Read what `save` wrote; nothing is unpacked to disk.

        Args:
            path: the file.
            rules: where its rules are looked up by name: the file holds which they are, not their code.
            schema: what the columns of the events to come are, if it is to be compared.

        Raises:
            ValueError: if the file is damaged or is not a saved detector of this version.
            CourseError: if `rules` lacks one of its rules, or it was fitted on another schema.
        """
        loaded = load_bundle(
            path, partial(cls.from_bytes, rules=rules), "a detector", "fit one and save it again"
        )
        if schema:
            loaded.schema.check_same(schema, path)
        return loaded

    @classmethod
    def from_bytes(cls, content: bytes, rules: Sequence[Rule] = RULES) -> Detector:
        """The detector that `to_bytes` wrote."""
        settings, network, trees = unpack(BUNDLE, content, _PARTS)
        settings = json.loads(settings)
        profile = Profile.from_dict(settings["profile"])
        saved = settings.get("rules", book_to_json(RULES))  # the first version saved none
        return cls(
            profile=profile,
            thresholds=settings["thresholds"],
            scaling=Scaling.from_dict(settings["scaling"], profile.schema),
            autoencoder=Autoencoder.from_bytes(network),
            error_threshold=settings["error_threshold"],
            judge=Judge.from_bytes(trees, profile.schema.inputs_of_judge),
            alert_threshold=settings["alert_threshold"],
            rules=book_from_json(saved, rules),
        )
