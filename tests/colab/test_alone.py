"""Each notebook alone in an empty folder, among Colab's packages, with nothing but git and pip.

The notebook is the published one, unmodified: git itself is told where the address leads. COURSE_COLAB, such
as "01 05 10", chooses some.
"""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

import nbformat
import pytest
from sandbox import commit_all, git_finds
from stand_in import ROOT, base, frozen, python_of, thin

from course import notebooks
from helpers import runs

REPOSITORY, REF = "somebody/domain-driven-anomaly-detection", "v0-rehearsal"
CHOSEN = os.environ.get("COURSE_COLAB", "").split()
STAGES = [stage for stage in notebooks.notebooks() if not CHOSEN or stage[:2] in CHOSEN]
SLOWEST = max(STAGES, key=lambda stage: (stage not in runs.BESIDES, len(runs.earlier(stage))))
READY_WITHIN = 120  # seconds of one processor, catching up included


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The working tree after `make publish`, committed and tagged; its notebooks are what Colab opens."""
    folder = tmp_path_factory.mktemp("served") / "course"
    listed = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    names = subprocess.run(listed, cwd=ROOT, check=True, capture_output=True, text=True, timeout=600).stdout
    for name in filter(None, names.split("\0")):
        if (ROOT / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(ROOT / name, folder / name)
    publish = [sys.executable, "-m", "course", "publish", "--repo", REPOSITORY, "--ref", REF]
    alone = os.environ | {"PYTHONPATH": str(folder)}
    subprocess.run(publish, cwd=folder, env=alone, check=True, capture_output=True, timeout=600)
    commit_all(folder, REF)
    return folder


@dataclass
class Alone:
    """A folder that held only the one notebook, the environment that it found, and what came of it."""

    stage: str
    folder: Path
    python: Path
    served: Path
    copy: nbformat.NotebookNode | None = None
    packages: dict[str, str] = field(default_factory=dict)
    processor: float = 0.0  # seconds

    def run(self, *parameters: str) -> nbformat.NotebookNode:
        """Execute the notebook from outside, as Colab's page does, with a kernel of its environment, for one
        who knows nothing of the course; git alone is told where the address leads."""
        ours, home = ("COURSE_", "GIT_", "JUPYTER_", "PYTHON"), self.python.parents[1]
        env = {name: value for name, value in os.environ.items() if not name.startswith(ours)}
        env |= {"IPYTHONDIR": str(home / "ipython"), "JUPYTER_PATH": str(home / "jupyter"), "HOME": str(home)}
        env |= git_finds(REPOSITORY, self.served) | {"COLAB_RELEASE_TAG": "stand-in"}
        spec = home / "jupyter" / "kernels" / "colab" / "kernel.json"
        spec.parent.mkdir(parents=True, exist_ok=True)
        argv = [str(self.python), "-m", "ipykernel_launcher", "-f", "{connection_file}"]
        spec.write_text(json.dumps({"argv": argv, "display_name": "Colab", "language": "python"}))
        copy = home / "executed.ipynb"
        command = [sys.executable, "-m", "papermill", f"{self.stage}.ipynb", copy, "--kernel", "colab"]
        command += ["--no-progress-bar", *parameters]
        quiet = {"capture_output": True, "text": True, "timeout": 1_200}
        done = subprocess.run(command, cwd=self.folder, env=env, **quiet)
        assert done.returncode == 0, done.stderr[-3_000:]
        return nbformat.read(copy, as_version=4)


@pytest.fixture(scope="module")
def preinstalled() -> dict[str, str]:
    return frozen(python_of(base()))


@pytest.fixture(scope="module")
def seen(served, tmp_path_factory) -> Iterator[dict[str, Future[Alone]]]:
    """The slowest to catch up by itself, since it is timed, then the others two at a time."""

    def run_alone(stage: str) -> Alone:
        root = tmp_path_factory.mktemp(stage)
        (root / "content").mkdir()
        shutil.copyfile(served / "notebooks" / f"{stage}.ipynb", root / "content" / f"{stage}.ipynb")
        alone = Alone(stage, root / "content", thin(root / "environment", base()), served)
        before = os.times()
        alone.copy = alone.run()
        alone.processor = sum(os.times()[2:4]) - sum(before[2:4])  # of all that has ended
        alone.packages = frozen(alone.python)
        return alone

    possible = [stage for stage in STAGES if stage not in runs.BESIDES or shutil.which("java")]
    with ThreadPoolExecutor(2) as pool:
        started = {SLOWEST: pool.submit(run_alone, SLOWEST)}
        started[SLOWEST].exception()
        others = [stage for stage in reversed(possible) if stage != SLOWEST]
        yield started | {stage: pool.submit(run_alone, stage) for stage in others}


def code_cells(notebook: nbformat.NotebookNode) -> list[nbformat.NotebookNode]:
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


@pytest.mark.parametrize("stage", STAGES)
def test_alone_it_runs_and_changes_no_package(seen, preinstalled, stage):
    if stage not in seen:
        pytest.skip(f"{stage} needs Java, and there is no java on the path")
    done = seen[stage].result()
    added = sorted(set(done.packages) - set(preinstalled))
    assert {name: done.packages.get(name) for name in preinstalled} == preinstalled
    assert {"papermill", "openml"} <= set(added)
    outputs = [output for cell in code_cells(done.copy) for output in cell.outputs]
    assert [output for output in outputs if output.get("name") == "stderr"] == []
    folder = done.folder
    assert {path.name for path in folder.iterdir()} == {f"{stage}.ipynb", "the-course"}
    published = (done.served / "notebooks" / f"{stage}.ipynb").read_bytes()
    assert (folder / f"{stage}.ipynb").read_bytes() == published
    run = folder / "the-course" / "runs" / "default"
    assert run.is_dir() and bool(runs.record(run, stage)) == (b"run.hand_over(" in published)


def test_the_slowest_is_ready_in_time(seen):
    """Its share of the processor's seconds is judged, since the machine may be busy otherwise."""
    done = seen[SLOWEST].result()
    cells = code_cells(done.copy)
    (opening,) = [cell for cell in cells if "runs.start(" in cell.source]  # which catches up
    told = (cells[0], "start_time"), (opening, "end_time"), (cells[-1], "end_time")
    begin, ready, end = (datetime.fromisoformat(cell.metadata.papermill[name]) for cell, name in told)
    assert (ready - begin) / (end - begin) * done.processor < READY_WITHIN


@pytest.mark.skipif("10_your_own_stream" not in STAGES, reason="COURSE_COLAB leaves notebook 10 out")
def test_an_uploaded_file_is_read_by_its_name(seen, served):
    """Notebook 10 again, with a table beside it, as Colab's upload puts it there."""
    alone = seen["10_your_own_stream"].result()
    shutil.copyfile(served / "data" / "example_sessions.csv", alone.folder / "my.csv")
    shown = [output for cell in code_cells(alone.run("-p", "FILE", "my.csv")) for output in cell.outputs]
    assert "my.csv" in "".join(output.get("text", "") for output in shown)
