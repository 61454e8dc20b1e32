"""Notebooks: in which order they run, executing them with papermill, and how they are committed."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from concurrent.futures import FIRST_COMPLETED, ThreadPoolExecutor, wait
from pathlib import Path
from typing import Any

from helpers import headless
from helpers.files import CourseError
from helpers.runs import BESIDES, STAGES, earlier
from helpers.settings import NOTEBOOKS

AT_ONCE = min(2, os.cpu_count() or 1)  # notebooks
KEPT = ("cellView", "jupyter", "tags")  # of a cell's metadata
KERNEL = {"display_name": "Python 3 (ipykernel)", "language": "python", "name": "python3"}


def notebook_path(stage: str) -> Path:
    """Where the committed notebook of a stage lies, whether it exists or not."""
    return NOTEBOOKS / f"{stage}.ipynb"


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


def _declared(notebook: Any) -> set[str]:
    import papermill

    return set(papermill.inspect_notebook(notebook))


def check_declared(stages: list[str], parameters: dict[str, Any]) -> None:
    """Raise a CourseError that names the first parameter which none of the notebooks has."""
    declared = {name for stage in stages for name in _declared(headless.source(stage))}
    for name in parameters:
        if name not in declared:
            known = ", ".join(sorted(declared)) or "none"
            raise CourseError(f"No selected notebook has a parameter {name}; they have {known}.")


def execute(
    stages: list[str], parameters: dict[str, Any], copies: Path, exercises: bool = True
) -> Iterator[tuple[str, float]]:
    """Run notebooks under one bar, two at once where neither reads from the other.

    Yields:
        the name and the seconds of each as it ends. If one fails, or on Ctrl-C, the kernels are killed.
    """
    from tqdm import tqdm

    sources = {stage: headless.source(stage, exercises) for stage in stages}
    own = {
        stage: {n: parameters[n] for n in parameters.keys() & _declared(notebook)}
        for stage, notebook in sources.items()
    }
    cells = [cell for notebook in sources.values() for cell in notebook.cells]
    total = sum(cell.cell_type == "code" and bool(cell.source.strip()) for cell in cells)

    def one(stage: str) -> float:
        started, copy = time.perf_counter(), copies / f"{stage}.ipynb"
        headless.execute(sources[stage], copy, own[stage], lambda **_: bar.update())
        return round(time.perf_counter() - started, 1)

    waiting, running = list(stages), {}
    bar = tqdm(total=total + sum(map(bool, own.values())), unit="cell")
    with bar, ThreadPoolExecutor(AT_ONCE) as pool:
        try:
            while waiting or running:
                unfinished = {*waiting, *running.values()}
                ready = [stage for stage in waiting if not unfinished & set(earlier(stage))]
                for stage in ready[: AT_ONCE - len(running)]:
                    waiting.remove(stage)
                    running[pool.submit(one, stage)] = stage
                bar.set_description(" and ".join(running.values()))
                for done in wait(running, timeout=1, return_when=FIRST_COMPLETED)[0]:
                    yield running.pop(done), done.result()
        except BaseException:
            while not all(future.cancel() or future.done() for future in running):
                headless.stop()
                wait(running, timeout=0.2)
            raise


def cleaned(path: Path, stage: str) -> str:
    """An executed notebook as it is committed, the same text wherever it ran; it must not write to stderr."""
    import nbformat
    from nbconvert.preprocessors import CoalesceStreamsPreprocessor

    notebook, _ = CoalesceStreamsPreprocessor().preprocess(nbformat.read(path, as_version=4), {})
    for cell in notebook.cells:
        for output in cell.get("outputs", []):
            if output.get("name") == "stderr":
                line = output.text.strip().split("\n")[0]
                where = f"cell [{cell.execution_count}]"
                raise CourseError(f"{stage} wrote to stderr in {where}, which must not be: {line}")
        told = {name: cell.metadata[name] for name in KEPT if cell.metadata.get(name)}
        cell.metadata = nbformat.from_dict(told)
    language = notebook.metadata.language_info
    language.pop("version", None)
    notebook.metadata = nbformat.from_dict({"kernelspec": KERNEL, "language_info": language})
    return nbformat.writes(notebook) + "\n"
