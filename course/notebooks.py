"""Notebooks: in which order they run, executing them with papermill, and how they are committed."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from helpers.files import CourseError, writing
from helpers.headless import failure, kernels, literal, without_exercises
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
    from helpers import spark

    problem = spark.lacking() if len(notebooks()) > len(sequence()) else ""
    if problem:
        print(f"{' and '.join(BESIDES)} is left as it is. {problem}")
    return sequence() if problem else notebooks()


def _declared(stage: str) -> set[str]:
    import papermill

    path = notebook_path(stage)
    try:
        return set(papermill.inspect_notebook(literal(path)))
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


def execute(
    stages: list[str], parameters: dict[str, Any], copies: Path, exercises: bool = True
) -> Iterator[tuple[str, float]]:
    """Run notebooks in order under one bar, whole or without their exercises; name and seconds of each."""
    import logging
    import tempfile

    import nbformat
    from tqdm import tqdm

    logging.getLogger("papermill").setLevel(logging.ERROR)
    with writing(copies):
        copies.mkdir(parents=True, exist_ok=True)
    paths, total = {stage: notebook_path(stage) for stage in stages}, 0
    with kernels(), tempfile.TemporaryDirectory() as scratch:
        if not exercises:
            paths = {stage: without_exercises(path, Path(scratch)) for stage, path in paths.items()}
        for stage, path in paths.items():
            total += bool(parameters.keys() & _declared(stage))
            cells = nbformat.read(path, as_version=4).cells
            total += sum(cell.cell_type == "code" and bool(cell.source.strip()) for cell in cells)
        with tqdm(total=total, unit="cell") as bar:
            for stage in stages:
                bar.set_description(stage)
                started = time.perf_counter()
                own = {name: parameters[name] for name in parameters.keys() & _declared(stage)}
                _execute_one(stage, paths[stage], own, copies / f"{stage}.ipynb", lambda **_: bar.update())
                yield stage, round(time.perf_counter() - started, 1)


def _execute_one(stage: str, path: Path, parameters: dict[str, Any], copy: Path, on_cell: Any) -> None:
    import subprocess

    import papermill
    from jupyter_client import AsyncKernelManager

    class Silent(AsyncKernelManager):
        """A kernel says what it has to say in its notebook; one that is stopped prints tracebacks besides."""

        def start_kernel(self, **options: Any) -> Any:
            return super().start_kernel(stderr=subprocess.DEVNULL, **options)

    try:
        papermill.execute_notebook(
            literal(path),
            literal(copy),
            parameters=parameters,
            kernel_name="python3",
            kernel_manager_class=Silent,
            cwd=ROOT / "notebooks",
            progress_bar=False,
            record_timing=False,
            start_timeout=KERNEL_TIMEOUT,
            on_cell_complete=on_cell,
        )
    except (papermill.PapermillExecutionError, RuntimeError):  # a cell has failed, or the kernel has died
        raise CourseError(failure(stage, copy)) from None


def cleaned(path: Path, stage: str) -> str:
    """An executed notebook as it is committed: same text wherever and whenever it ran.

    Raises:
        CourseError: if it wrote to stderr.
    """
    import nbformat
    from nbconvert.preprocessors import ClearMetadataPreprocessor, CoalesceStreamsPreprocessor

    notebook, _ = CoalesceStreamsPreprocessor().preprocess(nbformat.read(path, as_version=4), {})
    for cell in notebook.cells:
        for output in cell.get("outputs", []):
            if output.get("name") == "stderr":
                line = output.text.strip().split("\n")[0]
                where = f"cell [{cell.execution_count}]"
                raise CourseError(f"{stage} wrote to stderr in {where}, which must not be: {line}")
        if cell.cell_type == "markdown":
            cell.metadata.pop("papermill", None)
        if not cell.metadata.get("tags", True):
            del cell.metadata["tags"]
    notebook, _ = ClearMetadataPreprocessor(
        preserve_nb_metadata_mask={"colab", "language_info"},
        preserve_cell_metadata_mask={"cellView", "jupyter", "tags"},
    ).preprocess(notebook, {})
    notebook.metadata.language_info.pop("version", None)
    notebook.metadata.kernelspec = {
        "display_name": "Python 3 (ipykernel)",
        "language": "python",
        "name": "python3",
    }
    return nbformat.writes(notebook) + "\n"
