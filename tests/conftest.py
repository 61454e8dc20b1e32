"""What the tests of the method share: real events without the truth, and one fitted detector.

What needs Spark is skipped where Spark cannot run, with that reason; where COURSE_SPARK is "required", as
in .ci/run, it fails instead.
"""

import os
import signal

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
    if problem := spark.lacking():
        (pytest.fail if os.environ.get("COURSE_SPARK") == "required" else pytest.skip)(problem)


once = pytest.fixture(scope="session")
window = once(lambda: data.seal(data.load_events("snapshot"))[0])  # of 50,000; nobody may change it
small = once(lambda window: window[:SMALL_ROWS])
small_train = once(lambda small: data.split(small)[0])  # of 4,800
detector = once(lambda small_train: Detector.fit(small_train))
