"""Notebooks without a screen: kernels of this Python, papermill in a child, and why one stopped."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from helpers.files import CourseError, environment, writing
from helpers.settings import ROOT

LIMIT = 1_800  # seconds for one notebook that is run to catch up


def run_as_far_as_the_exercises(stage: str, folder: Path, seed: int | None = None) -> None:
    """Run a notebook into the run's folder, in a process of its own; the executed copy stays there.

    It hands over what it hands over before the exercises, and those may be half finished.

    Raises:
        CourseError: where and why it stopped.
    """
    source, copy = ROOT / "notebooks" / f"{stage}.ipynb", folder / "notebooks" / f"{stage}.ipynb"
    with writing(copy.parent), tempfile.TemporaryDirectory() as scratch:
        cut = without_exercises(source, Path(scratch))
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.unlink(missing_ok=True)
        command = [
            sys.executable,
            "-m",
            "papermill",
            cut,
            literal(copy),
            "-r",
            "RUN",
            folder,
            "-k",
            "python3",
        ]
        command += ["--cwd", source.parent, "--no-progress-bar", "--log-level", "ERROR"]
        command += [] if seed is None else ["-p", "SEED", seed]
        try:
            done = subprocess.run(
                list(map(str, command)), stdin=subprocess.DEVNULL, capture_output=True, timeout=LIMIT
            )
        except subprocess.TimeoutExpired:
            raise CourseError(
                f"{stage} did not end within {LIMIT:,} s (the executed copy is {copy})."
            ) from None
    if done.returncode:
        said = done.stderr.decode(errors="replace").strip().splitlines()
        raise CourseError(failure(stage, copy) if copy.is_file() else f"{stage} did not start: {said[-1]}")


def without_exercises(source: Path, folder: Path) -> Path:
    """A copy of a notebook in this folder that ends where its exercises begin.

    Raises:
        CourseError: if it cannot be read.
    """
    import nbformat

    try:
        notebook = nbformat.read(source, as_version=4)
    except Exception:  # nbformat promises no particular errors
        raise CourseError(f"{source} is not a readable notebook; take it again from the course.") from None
    ends = [n for n, cell in enumerate(notebook.cells) if cell.source.startswith("## Exercises")]
    notebook.cells = notebook.cells[: ends[0] if ends else None]
    nbformat.write(notebook, cut := folder / source.name)
    return cut


def literal(path: Path) -> str:
    """A path for papermill, which fills in what stands in braces."""
    return str(path).replace("{", "{{").replace("}", "}}")


def failure(stage: str, copy: Path) -> str:
    """Where and why an executed notebook stopped, in one sentence."""
    import nbformat

    for cell in nbformat.read(copy, as_version=4).cells:
        for output in cell.get("outputs", []):
            if output.output_type == "error":
                sentence = output.evalue.strip().split("\n")[0]
                cause = sentence if output.ename == "CourseError" else f"{output.ename}: {sentence}"
                where = f"cell [{cell.execution_count}]"
                return f"{stage} stopped at {where}: {cause} (the executed copy is {copy})"
    return (
        f"{stage} stopped: its kernel died, often for lack of memory; close other programs and run it again "
        f"(the executed copy is {copy})"
    )


@contextlib.contextmanager
def kernels() -> Iterator[None]:
    """Kernels of this interpreter that find `helpers`, whatever else Jupyter knows as python3."""
    from ipykernel.kernelspec import write_kernel_spec

    with tempfile.TemporaryDirectory(prefix="course-") as folder:
        write_kernel_spec(Path(folder, "kernels", "python3"), extra_arguments=["--log-level=CRITICAL"])
        search = {"JUPYTER_PATH": folder, "PYTHONPATH": str(ROOT)}
        joined = {
            name: os.pathsep.join(filter(None, [first, os.environ.get(name)]))
            for name, first in search.items()
        }
        with environment(**joined, JUPYTER_RUNTIME_DIR=folder, IPYTHONDIR=folder):
            yield
