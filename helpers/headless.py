"""Notebooks without a screen: papermill, a silent kernel of this Python, and why one stopped."""

import logging
import subprocess
import sys
from pathlib import Path
from typing import Any

from helpers.files import CourseError, cannot_write, replace
from helpers.settings import NOTEBOOKS

# Which jsonschema, below nbformat, would load for three seconds, to check addresses that no notebook has.
sys.modules.setdefault("rfc3987_syntax", None)


def source(stage: str, exercises: bool = True) -> Any:
    """A notebook as it is committed, whole or as far as its exercises, which may be half finished."""
    import nbformat

    path = NOTEBOOKS / f"{stage}.ipynb"
    try:
        notebook = nbformat.read(path, as_version=4)
    except Exception:  # nbformat promises no particular errors
        raise CourseError(f"{path} is not a readable notebook; take it again from the course.") from None
    ends = [n for n, cell in enumerate(notebook.cells) if cell.source.startswith("## Exercises")]
    notebook.cells = notebook.cells[: None if exercises or not ends else ends[0]]
    return notebook


def execute(notebook: Any, copy: Path, parameters: dict[str, Any]) -> None:
    """Run a notebook in `notebooks/`, or say where and why it stopped; the executed copy stays. Several
    threads may do so at once."""
    import papermill
    from jupyter_client import AsyncKernelManager

    class Kernel(AsyncKernelManager):
        """Of this interpreter, whatever Jupyter knows as python3, and silent but for its notebook."""

        def format_kernel_cmd(self, extra_arguments: Any = None) -> list[str]:
            return [sys.executable, "-m", "ipykernel_launcher", "-f", self.connection_file]

        def start_kernel(self, **options: Any) -> Any:
            return super().start_kernel(stderr=subprocess.DEVNULL, **options)

    logging.getLogger("papermill").setLevel(logging.CRITICAL)  # what went wrong is said below, once
    replace(copy, "")
    try:
        papermill.execute_notebook(
            notebook,
            str(copy).replace("{", "{{").replace("}", "}}"),  # papermill fills in what stands in braces
            parameters,
            kernel_name="python3",
            kernel_manager_class=Kernel,
            resources={"metadata": {"path": str(NOTEBOOKS)}},  # `cwd` would move all threads
            progress_bar=False,
            record_timing=False,
            start_timeout=300,  # seconds; on a machine that is short of everything a kernel starts slowly
        )
    except papermill.PapermillExecutionError as error:
        sentence = error.evalue.strip().split("\n")[0]
        cause = sentence if error.ename == "CourseError" else f"{error.ename}: {sentence}"
        why = f" at cell [{error.exec_count}]: {cause}"
    except OSError as error:  # papermill's own, of the copy
        raise cannot_write(copy.parent, error) from None
    except RuntimeError:
        why = ": its kernel died, often for lack of memory; close other programs and run it again"
    else:
        return
    raise CourseError(f"{copy.stem} stopped{why} (the executed copy is {copy})")
