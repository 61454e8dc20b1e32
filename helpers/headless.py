"""Notebooks without a screen: papermill, a silent kernel of this Python, and why one stopped."""

from __future__ import annotations

import logging
import subprocess
import sys
from pathlib import Path
from typing import Any

from helpers.files import CourseError
from helpers.settings import ROOT

START = 300  # seconds; on a machine that is short of everything a kernel starts slowly


def source(stage: str, exercises: bool = True) -> Any:
    """A notebook as it is committed, whole or as far as its exercises, which may be half finished.

    Raises:
        CourseError: if it cannot be read.
    """
    import nbformat

    path = ROOT / "notebooks" / f"{stage}.ipynb"
    try:
        notebook = nbformat.read(path, as_version=4)
    except Exception:  # nbformat promises no particular errors
        raise CourseError(f"{path} is not a readable notebook; take it again from the course.") from None
    ends = [n for n, cell in enumerate(notebook.cells) if cell.source.startswith("## Exercises")]
    notebook.cells = notebook.cells[: None if exercises or not ends else ends[0]]
    return notebook


def execute(notebook: Any, copy: Path, parameters: dict[str, Any], on_cell: Any = None) -> None:
    """Run a notebook; the executed copy stays.

    Raises:
        CourseError: where and why it stopped.
    """
    import papermill
    from jupyter_client import AsyncKernelManager

    class Silent(AsyncKernelManager):
        """A kernel of this interpreter, whatever Jupyter knows as python3; it says what it has to say in its
        notebook, and prints nothing besides."""

        def format_kernel_cmd(self, extra_arguments: Any = None) -> list[str]:
            return [sys.executable, "-m", "ipykernel_launcher", "-f", self.connection_file]

        def start_kernel(self, **options: Any) -> Any:
            return super().start_kernel(stderr=subprocess.DEVNULL, **options)

    logging.getLogger("papermill").setLevel(logging.ERROR)
    copy.parent.mkdir(parents=True, exist_ok=True)
    try:
        papermill.execute_notebook(
            notebook,
            str(copy).replace("{", "{{").replace("}", "}}"),  # papermill fills in what stands in braces
            parameters,
            kernel_name="python3",
            kernel_manager_class=Silent,
            cwd=ROOT / "notebooks",
            progress_bar=False,
            record_timing=False,
            start_timeout=START,
            on_cell_complete=on_cell,
        )
    except papermill.PapermillExecutionError as error:
        sentence = error.evalue.strip().split("\n")[0]
        cause = sentence if error.ename == "CourseError" else f"{error.ename}: {sentence}"
        raise CourseError(
            f"{copy.stem} stopped at cell [{error.exec_count}]: {cause} (the executed copy is {copy})"
        ) from None
    except RuntimeError:
        raise CourseError(
            f"{copy.stem} stopped: its kernel died, often for lack of memory; close other programs and run "
            f"it again (the executed copy is {copy})"
        ) from None
