"""The learner's own rule of exercise 2c, which notebooks 6 and 7 measure beside the detectors."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd

from checker import as_flags
from helpers.files import replace


def keep(folder: Path, rule: Callable, signals: pd.DataFrame, thresholds: dict[str, float]) -> None:
    """Write which events the rule flags, one number per line; a stub removes what an earlier one flagged."""
    path, said = folder / "own_rule.txt", rule(signals, thresholds)
    if said is None:
        path.unlink(missing_ok=True)
    else:
        flagged = signals.index[as_flags(said, len(signals))]
        replace(path, "".join(f"{event}\n" for event in flagged))


def flags(folder: Path, events: pd.Index) -> np.ndarray | None:
    """(n,) bool, which of these events the learner's rule flags; None where there is no rule yet."""
    path = folder / "own_rule.txt"
    if not path.exists():
        return None
    return events.isin([int(line) for line in path.read_text().split()])
