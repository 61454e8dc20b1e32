"""What the tests of the method share: real events without the truth, and one fitted detector.

What needs Spark is skipped where Spark cannot run, with that reason; where COURSE_SPARK is "required", as
in .ci/run, it fails instead.
"""

from __future__ import annotations

import os
import signal

import pandas as pd
import pytest
from xdist.remote import Producer
from xdist.scheduler import LoadScopeScheduling

from helpers import data, runs, spark
from helpers.detector import Detector

SMALL_ROWS = 8_000
if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:  # a script's background job; children would inherit it
    signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Treat the notebook that needs Spark, which nbval collects, as its tests are treated."""
    needy = [item for item in items if item.path.suffix == ".ipynb" and item.path.stem in runs.BESIDES]
    problem = spark.lacking() if needy and os.environ.get("COURSE_SPARK") != "required" else ""
    for item in needy if problem else []:
        item.add_marker(pytest.mark.skip(reason=problem))


def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> LoadScopeScheduling:
    """Hand out tests file by file, and all notebooks, which share one run, to one process."""

    class ByFile(LoadScopeScheduling):
        def _split_scope(self, nodeid: str) -> str:
            file = nodeid.split("::")[0]
            return "notebooks" if file.endswith(".ipynb") else file

    return ByFile(config, log)


@pytest.fixture(scope="session")
def needs_spark() -> None:
    """Skip where Spark cannot run, or fail where it must."""
    if problem := spark.lacking():
        (pytest.fail if os.environ.get("COURSE_SPARK") == "required" else pytest.skip)(problem)


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
    """The training set of the small window, (4,800, 7)."""
    return data.split(small)[0]


@pytest.fixture(scope="session")
def detector(small_train) -> Detector:
    """Fitted on the small window's training set with the default seed."""
    return Detector.fit(small_train)
