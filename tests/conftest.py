"""What the tests of the method share: real events without the truth, and one fitted detector."""

from __future__ import annotations

import pandas as pd
import pytest

from helpers import data
from helpers.detector import Detector

SMALL_ROWS = 8_000


@pytest.fixture(scope="session")
def window() -> pd.DataFrame:
    """The snapshot's first window, (50,000, 7); nobody may change it."""
    return data.seal(data.load_events("snapshot"))[0]


@pytest.fixture(scope="session")
def small(window) -> pd.DataFrame:
    """A small window, (8,000, 7)."""
    return window[:SMALL_ROWS]


@pytest.fixture(scope="session")
def small_train(small) -> pd.DataFrame:
    """The training part of the small window, (4,800, 7)."""
    return data.split(small)[0]


@pytest.fixture(scope="session")
def detector(small_train) -> Detector:
    """Fitted on the small window's training part with the default seed."""
    return Detector.fit(small_train)
