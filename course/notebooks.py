"""Notebooks: in which order they run, executing them with papermill, and how they are committed."""

import os
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, ThreadPoolExecutor, wait
from contextlib import suppress
from graphlib import TopologicalSorter
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

    if problem := spark.lacking():
        print(f"{' and '.join(BESIDES)} is left as it is. {problem}")
    return sequence() if problem else notebooks()


def execute(
    stages: Sequence[str], parameters: dict[str, Any], copies: Path, exercises: bool = True
) -> Iterator[tuple[str, float]]:
    """Run notebooks under one bar, two at once where neither reads from the other.

    Yields:
        the name and the seconds of each as it ends. If one fails, or on Ctrl-C, the kernels are killed.

    Raises:
        CourseError: if one fails, or if none of them has a parameter.
    """
    import papermill
    import psutil
    from tqdm import tqdm

    sources = {stage: headless.source(stage, exercises) for stage in stages}
    declared = {stage: papermill.inspect_notebook(notebook) for stage, notebook in sources.items()}
    for name in parameters:
        if not any(name in names for names in declared.values()):
            raise CourseError(f"No selected notebook has a parameter {name}.")

    def one(stage: str) -> float:
        bar.set_description(stage)
        own = {name: value for name, value in parameters.items() if name in declared[stage]}
        started = time.perf_counter()
        headless.execute(sources[stage], copies / f"{stage}.ipynb", own)
        return round(time.perf_counter() - started, 1)

    order, running = TopologicalSorter({stage: {*earlier(stage)} & {*stages} for stage in stages}), {}
    order.prepare()
    with tqdm(total=len(stages), unit="notebook") as bar, ThreadPoolExecutor(AT_ONCE) as pool:
        try:
            while order.is_active():
                running |= {pool.submit(one, stage): stage for stage in order.get_ready()}
                for done in wait(running, timeout=1, return_when=FIRST_COMPLETED)[0]:
                    stage = running.pop(done)
                    yield stage, done.result()
                    order.done(stage)
                    bar.update()
        except BaseException:
            while not all(future.cancel() or future.done() for future in running):
                for kernel in psutil.Process().children():  # this process has no others
                    with suppress(psutil.NoSuchProcess):
                        kernel.kill()
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
