"""Each notebook alone in an empty folder, among Colab's packages, with nothing but git and pip.

The notebook is the published one, unmodified: git itself is told where the address leads. COURSE_COLAB, such
as "01 05 10", chooses some.
"""

from __future__ import annotations

import json
import os
import resource
import shutil
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import nbformat
import pytest
from conftest import REPOSITORY
from sandbox import git_finds
from stand_in import base, frozen, python_of, thin

from course import notebooks
from helpers import runs

CHOSEN = os.environ.get("COURSE_COLAB", "").split()
STAGES = [stage for stage in notebooks.notebooks() if not CHOSEN or stage[:2] in CHOSEN]
SLOWEST = max(STAGES, key=lambda stage: (stage not in runs.BESIDES, len(runs.earlier(stage))))
READY_WITHIN = 120  # seconds of one processor, catching up included


@dataclass
class Alone:
    """A folder that held only the one notebook, and the environment that it found."""

    stage: str
    folder: Path
    python: Path
    served: Path

    def environment(self) -> dict[str, str]:
        """A user who knows nothing of the course; git alone is told where the address leads."""
        ours = ("COURSE_", "GIT_", "JUPYTER_", "PYTHON")
        kept = {name: value for name, value in os.environ.items() if not name.startswith(ours)}
        home = self.python.parents[1]
        jupyter = {"IPYTHONDIR": str(home / "ipython"), "JUPYTER_PATH": str(home / "jupyter")}
        told = {"HOME": str(home), "COLAB_RELEASE_TAG": "stand-in"}
        return kept | git_finds(REPOSITORY, self.served) | jupyter | told

    def run(self, *parameters: str) -> nbformat.NotebookNode:
        """Execute the notebook from outside, as Colab's page does, with a kernel of its environment."""
        spec = self.python.parents[1] / "jupyter" / "kernels" / "colab" / "kernel.json"
        spec.parent.mkdir(parents=True, exist_ok=True)
        argv = [str(self.python), "-m", "ipykernel_launcher", "-f", "{connection_file}"]
        spec.write_text(json.dumps({"argv": argv, "display_name": "Colab", "language": "python"}))
        copy = self.python.parents[1] / "executed.ipynb"
        command = [sys.executable, "-m", "papermill", f"{self.stage}.ipynb", copy, "--kernel", "colab"]
        command += ["--no-progress-bar", *parameters]
        quiet = {"capture_output": True, "text": True, "timeout": 1_200}
        done = subprocess.run(command, cwd=self.folder, env=self.environment(), **quiet)
        assert done.returncode == 0, done.stderr[-3_000:]
        return nbformat.read(copy, as_version=4)


@dataclass
class Seen:
    """What came of it: the executed copy, the packages afterwards, processor seconds."""

    alone: Alone
    copy: nbformat.NotebookNode
    packages: dict[str, str]
    processor: float


def processor_seconds() -> float:
    """What all finished children, and theirs, have taken."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


@pytest.fixture(scope="module")
def colab_like() -> Path:
    """The environment with Colab's versions."""
    return base()


@pytest.fixture(scope="module")
def preinstalled(colab_like) -> dict[str, str]:
    """Its packages: name -> version."""
    return frozen(python_of(colab_like))


@pytest.fixture(scope="module")
def seen(colab_like, served, tmp_path_factory) -> Iterator[dict[str, Future[Seen]]]:
    """The slowest to catch up by itself, since it is timed, then the others two at a time."""

    def run_alone(stage: str) -> Seen:
        root = tmp_path_factory.mktemp(stage)
        (root / "content").mkdir()
        shutil.copyfile(served / "notebooks" / f"{stage}.ipynb", root / "content" / f"{stage}.ipynb")
        alone = Alone(stage, root / "content", thin(root / "environment", colab_like), served)
        before = processor_seconds()
        copy = alone.run()
        spent = processor_seconds() - before
        return Seen(alone, copy, frozen(alone.python), spent)

    possible = [stage for stage in STAGES if stage not in runs.BESIDES or shutil.which("java")]
    with ThreadPoolExecutor(2) as pool:
        started = {SLOWEST: pool.submit(run_alone, SLOWEST)}
        started[SLOWEST].exception()
        others = [stage for stage in reversed(possible) if stage != SLOWEST]
        yield started | {stage: pool.submit(run_alone, stage) for stage in others}


def at(cell: nbformat.NotebookNode, end: str) -> datetime:
    return datetime.fromisoformat(cell.metadata.papermill[f"{end}_time"])


def code_cells(notebook: nbformat.NotebookNode) -> list[nbformat.NotebookNode]:
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def seconds_until_ready(notebook: nbformat.NotebookNode) -> float:
    """From the first cell to the end of the one that opens the run, catching up included."""
    cells = code_cells(notebook)
    (ready,) = [cell for cell in cells if "runs.start(" in cell.source]
    return (at(ready, "end") - at(cells[0], "start")).total_seconds()


@pytest.mark.parametrize("stage", STAGES)
def test_alone_it_runs_and_changes_no_package(seen, preinstalled, say, stage):
    if stage not in seen:
        pytest.skip(f"{stage} needs Java, and there is no java on the path")
    done = seen[stage].result()
    added = sorted(set(done.packages) - set(preinstalled))
    say(f"{stage}: ready after {seconds_until_ready(done.copy):.0f} s; pip added {' '.join(added)}")

    assert {name: done.packages.get(name) for name in preinstalled} == preinstalled
    assert {"papermill", "openml"} <= set(added)
    started = done.alone.python.parents[1] / "ipython" / "started"
    assert started.read_text() == preinstalled["numpy"]

    cells = code_cells(done.copy)
    assert [o for cell in cells for o in cell.outputs if o.get("name") == "stderr"] == []
    folder = done.alone.folder
    assert {path.name for path in folder.iterdir()} == {f"{stage}.ipynb", "the-course"}
    published = (done.alone.served / "notebooks" / f"{stage}.ipynb").read_bytes()
    assert (folder / f"{stage}.ipynb").read_bytes() == published
    run = folder / "the-course" / "runs" / "default"
    assert run.is_dir() and bool(runs.record(run, stage)) == (b"run.hand_over(" in published)


def test_the_slowest_is_ready_in_time(seen, say):
    """Its share of the processor's seconds is judged, since the machine may be busy otherwise."""
    done = seen[SLOWEST].result()
    cells = code_cells(done.copy)
    share = seconds_until_ready(done.copy) / (at(cells[-1], "end") - at(cells[0], "start")).total_seconds()
    say(f"{SLOWEST}: ready after {share * done.processor:.0f} processor seconds")
    assert share * done.processor < READY_WITHIN


def test_after_a_restart_nothing_is_fetched_or_installed_again(seen):
    done = seen[STAGES[0]].result()
    (clone,) = [path for path in done.alone.folder.iterdir() if path.is_dir()]
    before = clone.stat().st_ino
    first = code_cells(done.alone.run())[0]
    assert first.outputs == [] and clone.stat().st_ino == before
    assert (at(first, "end") - at(first, "start")).total_seconds() < 5
    assert frozen(done.alone.python) == done.packages


@pytest.mark.skipif("10_your_own_stream" not in STAGES, reason="COURSE_COLAB leaves notebook 10 out")
def test_an_uploaded_file_is_read_by_its_name(seen, served):
    """Notebook 10 again, with a table beside it, as Colab's upload puts it there."""
    alone = seen["10_your_own_stream"].result().alone
    shutil.copyfile(served / "data" / "example_sessions.csv", alone.folder / "my.csv")
    shown = [output for cell in code_cells(alone.run("-p", "FILE", "my.csv")) for output in cell.outputs]
    assert "my.csv" in "".join(output.get("text", "") for output in shown)
