"""Many fits, one table: seeds, windows, rules left out, parts left out. Reported, never chosen by."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import pandas as pd

from helpers import ROOT, data, evaluation
from helpers.autoencoder import Autoencoder
from helpers.detector import Detector
from helpers.features import Profile, Scaling, behaviour
from helpers.files import replace
from helpers.judge import JUDGE_INPUTS, Judge, judge_inputs
from helpers.rules import (
    NORMAL,
    RULES,
    SUSPICIOUS,
    UNDECIDED,
    agreement_model,
    apply_rules,
    budget_threshold,
    fit_thresholds,
    naive_rule,
    pseudo_labels,
    refine_labels,
    suspicion,
)

TABLE = ROOT / "results" / "sweep.csv"
WINDOWS = (0, 50_000)
SEEDS = tuple(range(5))
FULL = "judge"  # what every other variant is compared with


@dataclass
class Study:
    """One window and one seed, and the parts that variants share."""

    start: int
    seed: int
    rows: int = data.WINDOW_ROWS

    @cached_property
    def stream(self) -> pd.DataFrame:
        """The window with its truth; `Class` is read by `measure` and `oracle` alone."""
        return data.load_events("snapshot", self.rows, self.start)

    @cached_property
    def events(self) -> pd.DataFrame:
        return data.seal(self.stream)[0]

    @cached_property
    def train(self) -> pd.DataFrame:
        return data.split(self.events)[0]

    @cached_property
    def signals(self) -> pd.DataFrame:
        return behaviour(self.events, Profile.fit(self.train))

    @cached_property
    def votes(self) -> pd.DataFrame:
        thresholds = fit_thresholds(self.signals[: len(self.train)])
        return apply_rules(self.signals, thresholds)

    @cached_property
    def labels(self) -> np.ndarray:
        signals = self.signals[: len(self.train)]
        return pseudo_labels(self.votes[: len(self.train)], signals, fit_thresholds(signals))

    @cached_property
    def inputs(self) -> np.ndarray:
        return Scaling.fit(self.train).transform(self.events)

    def refined(self, labels: np.ndarray, rounds: int = 2) -> tuple[np.ndarray, np.ndarray]:
        """Errors of all events and refined labels of the training part, from other first labels."""
        n, votes = len(self.train), self.votes[: len(self.train)]
        for number in range(max(rounds, 1)):
            network = Autoencoder(seed=self.seed).fit(self.inputs[:n][labels == NORMAL])
            errors = network.reconstruction_error(self.inputs)
            if number < rounds:
                limit = budget_threshold(errors[:n][labels == NORMAL])
                labels = refine_labels(labels, votes, errors[:n], limit)
        return errors, labels

    def judged(self, labels: np.ndarray, rounds: int = 2, extra: pd.DataFrame | None = None) -> np.ndarray:
        """Risk of all events by a judge of such labels; `extra` columns are shown to it too."""
        errors, refined = self.refined(labels, rounds)
        seen, names = judge_inputs(self.inputs, errors), list(JUDGE_INPUTS)
        if extra is not None:
            seen, names = np.column_stack([seen, extra]), [*names, *extra]
        return Judge(seed=self.seed, names=names).fit(seen[: len(self.train)], refined).risk(seen)

    def without_rule(self, name: str) -> np.ndarray:
        """The whole detector, one rule taken out of the book."""
        book = [rule for rule in RULES if rule.name != name]
        return Detector.fit(self.train, self.seed, rules=book).score(self.events)

    def presumed(self, normal: np.ndarray) -> np.ndarray:
        """The judge, with another notion of what is presumed normal."""
        rest = np.where(self.labels == SUSPICIOUS, SUSPICIOUS, UNDECIDED)
        return self.judged(np.where((self.labels != SUSPICIOUS) & normal, NORMAL, rest).astype(np.int8))

    def voted(self, suspicious: np.ndarray) -> np.ndarray:
        """The judge, with another way from votes to suspicious labels."""
        rest = np.where(self.labels == NORMAL, NORMAL, UNDECIDED)
        return self.judged(np.where(suspicious, SUSPICIOUS, rest).astype(np.int8))

    def judge_without_autoencoder(self) -> np.ndarray:
        """A judge of the rule book's labels that sees the seven inputs alone."""
        judge = Judge(seed=self.seed, names=JUDGE_INPUTS[:-1])
        return judge.fit(self.inputs[: len(self.train)], self.labels).risk(self.inputs)

    def not_organised(self) -> np.ndarray:
        """Training events that no rule about sequences or probing accuses."""
        organised = self.votes[["burst", "repeated_attempts", "probing_amount"]] == SUSPICIOUS
        return ~organised.any(axis=1).to_numpy()[: len(self.train)]

    def not_extreme(self) -> np.ndarray:
        """Training events that are nearer than the budget's share of the farthest."""
        distance = self.signals["distance"].to_numpy()[: len(self.train)]
        return distance <= budget_threshold(distance)

    def oracle(self) -> np.ndarray:
        """The judge, taught the true labels of the training part."""
        seen = judge_inputs(self.inputs, self.refined(self.labels)[0])
        n = len(self.train)
        return Judge(seed=self.seed).fit(seen[:n], self.stream["Class"].to_numpy()[:n]).risk(seen)


def _majority(study: Study) -> np.ndarray:
    votes = study.votes[: len(study.train)]
    return ((votes == SUSPICIOUS).sum(axis=1) > (votes == NORMAL).sum(axis=1)).to_numpy()


VARIANTS: dict[str, Callable[[Study], np.ndarray]] = {
    FULL: lambda s: Detector.fit(s.train, s.seed).score(s.events),
    "naive rule": lambda s: naive_rule(s.events).astype(float),
    "rules only": lambda s: suspicion(s.signals),
    "distance only": lambda s: s.signals["distance"].to_numpy(),
    "burst only": lambda s: ((1 + s.signals["burst"]) / (1 + s.signals["usual"])).to_numpy(),
    "autoencoder only": lambda s: s.refined(s.labels)[0],
    "judge without autoencoder": lambda s: s.judge_without_autoencoder(),
    "judge with votes": lambda s: s.judged(s.labels, extra=s.signals.join(s.votes.add_prefix("vote: "))),
    "no refinement": lambda s: s.judged(s.labels, rounds=0),
    "one round of refinement": lambda s: s.judged(s.labels, rounds=1),
    "normal: all but the extremes": lambda s: s.presumed(s.not_extreme()),
    "normal: all but the organised": lambda s: s.presumed(s.not_organised()),
    "labels by majority": lambda s: s.voted(_majority(s)),
    "labels by agreement": lambda s: s.voted(agreement_model(s.votes[: len(s.train)]) > 0.5),
    **{
        f"without rule {rule.name}": lambda s, name=rule.name: s.without_rule(name)
        for rule in RULES
        if rule.name != "ordinary_profile"
    },
    "oracle": lambda s: s.oracle(),
}


def measure(start: int, seed: int, rows: int = data.WINDOW_ROWS) -> list[dict]:
    """All variants on one window with one seed; one row each, on the test part.

    Columns: start, seed, variant, average_precision, found (frauds among the alerts), and the
    difference to the full judge with its paired 95 % block-bootstrap interval.
    """
    study = Study(start, seed, rows)
    n = len(study.train)
    truth = study.stream["Class"].to_numpy()[n:]
    scores = {name: score(study)[n:] for name, score in VARIANTS.items()}
    boot = evaluation.bootstrap_ap(truth, scores, evaluation.block_draws(len(truth), seed=0))
    rows = []
    for name, score in scores.items():
        against = evaluation.compare(boot, name, FULL)
        rows.append(
            {
                "start": start,
                "seed": seed,
                "variant": name,
                "average_precision": evaluation.average_precision(truth, score),
                "found": int(truth[evaluation.choose_alerts(score, start=start + n)].sum()),
                "difference": against["difference"],
                "low": against["lo"],
                "high": against["hi"],
                "verdict": "reference" if name == FULL else against["verdict"],
            }
        )
    return rows


def _recipe() -> str:
    """What finished rows depend on: the method's sources and the data's fingerprint."""
    method = ("features", "rules", "autoencoder", "judge", "detector", "evaluation", "sweep")
    digest = hashlib.sha256(data.FINGERPRINTS[data.SNAPSHOT_ROWS].encode())
    for name in method:
        digest.update(Path(__file__).with_name(f"{name}.py").read_bytes())
    return digest.hexdigest()[:16]


def _measured(folder: Path, start: int, seed: int) -> list[dict]:
    """Rows of one window and seed: those of an earlier sweep, or new ones from a process of their own."""
    kept = folder / f"{start}-{seed}.json"
    if not kept.is_file():
        script = "import json, sys; from helpers import sweep; "
        script += f"sys.stdout.write(json.dumps(sweep.measure({start}, {seed})))"
        environment = os.environ | {"OMP_NUM_THREADS": "1"}
        child = subprocess.run(
            [sys.executable, "-c", script], cwd=ROOT, env=environment, capture_output=True, text=True
        )
        if child.returncode:
            cause = (child.stderr.strip().splitlines() or ["it was killed"])[-1]
            raise RuntimeError(f"The sweep failed at start {start}, seed {seed}: {cause}; run it again.")
        replace(kept, child.stdout)
    return json.loads(kept.read_text(encoding="utf-8"))


def run(folder: Path, workers: int = os.cpu_count() or 1) -> pd.DataFrame:
    """Measure all windows and seeds, in parallel, and write the table; a killed sweep goes on.

    Args:
        folder: where finished rows are kept, one file a window and seed.
        workers: processes at a time.

    Raises:
        RuntimeError: if one of the fits fails.
    """
    from tqdm import tqdm

    folder = folder / _recipe()
    folder.mkdir(parents=True, exist_ok=True)
    jobs = [(start, seed) for start in WINDOWS for seed in SEEDS]
    with ThreadPoolExecutor(workers) as pool:
        done = tqdm(pool.map(lambda job: _measured(folder, *job), jobs), total=len(jobs), unit="fits")
        table = pd.DataFrame([row for rows in done for row in rows])
    replace(TABLE, table.to_csv(index=False, float_format="%.6g"))
    return table


def read() -> pd.DataFrame:
    """The table of the last sweep, one row a window, seed and variant.

    Raises:
        FileNotFoundError: if there is none.
    """
    if not TABLE.is_file():
        raise FileNotFoundError(f"There is no {TABLE.name} in results/: run `make sweep` to make it.")
    return pd.read_csv(TABLE)


def windows_table(table: pd.DataFrame) -> pd.DataFrame:
    """Both windows side by side: mean and spread (lowest to highest) over the seeds, best last."""
    grouped = table.groupby(["start", "variant"])["average_precision"].agg(["mean", "min", "max"])
    text = grouped.apply(lambda r: f"{r['mean']:.3f} ({r['min']:.3f} to {r['max']:.3f})", axis=1)
    order = grouped["mean"].loc[WINDOWS[0]].sort_values().index
    sides = {f"events {s:,} to {s + data.WINDOW_ROWS - 1:,}": text.loc[s].loc[order] for s in WINDOWS}
    return pd.DataFrame(sides).rename_axis("average precision")
