"""Notebooks: in which order they run, executing them with papermill, and how they are committed."""

from __future__ import annotations

import contextlib
import os
import tempfile
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from helpers import spark
from helpers.files import CourseError, environment, writing
from helpers.runs import BESIDES, STAGES
from helpers.settings import ROOT

KERNEL_TIMEOUT = 300  # seconds; on a machine that is short of everything a kernel starts slowly


def notebook_path(stage: str) -> Path:
    """Where the committed notebook of a stage lies, whether it exists or not."""
    return ROOT / "notebooks" / f"{stage}.ipynb"


def notebooks() -> list[str]:
    """The stages whose notebooks exist, in order."""
    return [stage for stage in STAGES if notebook_path(stage).is_file()]


def sequence() -> list[str]:
    """The notebooks that run everywhere, in order."""
    return [stage for stage in notebooks() if stage not in BESIDES]


def runnable() -> list[str]:
    """The sequence and the notebooks beside it, but for those that cannot run here, which are named."""
    problem = spark.lacking() if len(notebooks()) > len(sequence()) else ""
    if problem:
        print(f"{' and '.join(BESIDES)} is left as it is. {problem}")
    return sequence() if problem else notebooks()


def _literal(path: Path) -> str:
    return str(path).replace("{", "{{").replace("}", "}}")


def _declared(stage: str) -> set[str]:
    import papermill

    path = notebook_path(stage)
    try:
        return set(papermill.inspect_notebook(_literal(path)))
    except Exception:  # nbformat promises no particular errors
        raise CourseError(f"{path} is not a readable notebook; take it again from the course.") from None


def check_declared(stages: list[str], parameters: dict[str, Any]) -> None:
    """Raise a CourseError that names the first parameter which none of the notebooks has."""
    declared = {name for stage in stages for name in _declared(stage)}
    for name in parameters:
        if name not in declared:
            raise CourseError(
                f"No selected notebook has a parameter {name}; "
                f"they have {', '.join(sorted(declared)) or 'none'}."
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


def execute(stages: list[str], parameters: dict[str, Any], copies: Path) -> Iterator[tuple[str, float]]:
    """Run notebooks in order under one bar; gives each one's name and seconds as it ends."""
    import logging

    import nbformat
    from tqdm import tqdm

    logging.getLogger("papermill").setLevel(logging.ERROR)
    total = 0
    for stage in stages:
        total += bool(parameters.keys() & _declared(stage))
        cells = nbformat.read(notebook_path(stage), as_version=4).cells
        total += sum(cell.cell_type == "code" and bool(cell.source.strip()) for cell in cells)
    with writing(copies):
        copies.mkdir(parents=True, exist_ok=True)
    with kernels(), tqdm(total=total, unit="cell") as bar:
        for stage in stages:
            bar.set_description(stage)
            started = time.perf_counter()
            own = {name: parameters[name] for name in parameters.keys() & _declared(stage)}
            _execute_one(stage, own, copies / f"{stage}.ipynb", lambda **_: bar.update())
            yield stage, round(time.perf_counter() - started, 1)


def _execute_one(stage: str, parameters: dict[str, Any], copy: Path, on_cell: Any) -> None:
    import papermill

    kept = f"the executed copy is {copy}"
    try:
        papermill.execute_notebook(
            _literal(notebook_path(stage)),
            _literal(copy),
            parameters=parameters,
            kernel_name="python3",
            cwd=ROOT / "notebooks",
            progress_bar=False,
            record_timing=False,
            start_timeout=KERNEL_TIMEOUT,
            on_cell_complete=on_cell,
        )
    except papermill.PapermillExecutionError as error:
        sentence = error.evalue.strip().split("\n")[0]
        cause = sentence if error.ename == "CourseError" else f"{error.ename}: {sentence}"
        raise CourseError(f"{stage} stopped at cell [{error.exec_count}]: {cause} ({kept})") from None
    except RuntimeError:
        raise CourseError(
            f"{stage} stopped: its kernel died, often for lack of memory; close other programs and run it "
            f"again ({kept})"
        ) from None


def cleaned(path: Path, stage: str) -> str:
    """An executed notebook as it is committed: same text wherever and whenever it ran.

    Raises:
        CourseError: if it wrote to stderr.
    """
    import nbformat

    notebook = nbformat.read(path, as_version=4)
    keep = {key: notebook.metadata[key] for key in ("colab", "language_info") if key in notebook.metadata}
    keep["language_info"].pop("version", None)
    kernel = {"display_name": "Python 3 (ipykernel)", "language": "python", "name": "python3"}
    notebook.metadata = nbformat.from_dict(keep | {"kernelspec": kernel})
    count = 0
    for cell in notebook.cells:
        for key in ("papermill", "execution"):
            cell.metadata.pop(key, None)
        if not cell.metadata.get("tags", True):
            del cell.metadata["tags"]
        if cell.cell_type == "code" and cell.source.strip():
            count += 1
            cell.execution_count = count
            cell.outputs = _cleaned_outputs(cell.outputs, count, stage)
    return nbformat.writes(notebook) + "\n"


def _cleaned_outputs(outputs: Iterable[Any], count: int, stage: str) -> list[Any]:
    kept: list[Any] = []
    for output in outputs:
        if output.get("name") == "stderr":
            line = output.text.strip().split("\n")[0]
            raise CourseError(f"{stage} wrote to stderr in cell [{count}], which must not be: {line}")
        if "execution_count" in output:
            output.execution_count = count
        if kept and output.output_type == kept[-1].output_type == "stream":
            kept[-1].text += output.text
        else:
            kept.append(output)
    return kept
