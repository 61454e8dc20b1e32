"""Runs of the course: artifacts with hashes, catching up, checkpoints, and the command line."""

from __future__ import annotations

import argparse
import ast
import contextlib
import hashlib
import json
import math
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
REFERENCE = ROOT / "tests" / "reference.json"
README = ROOT / "README.md"
DPI = 100
PACKAGES = ("numpy", "pandas", "scikit-learn", "torch", "xgboost", "matplotlib", "papermill")
HOLDER = "COURSE_LOCK_HOLDER"


class Stage:
    """What a notebook needs and hands over; `sealed` is the truth, kept apart."""

    def __init__(self, needs: str = "", writes: str = "", sealed: str = "") -> None:
        self.needs, self.writes, self.sealed = needs.split(), writes.split(), sealed.split()


STAGES = {
    "01_data_loading": Stage(writes="events.parquet settings.json", sealed="truth.parquet"),
    "02_heuristic_labels": Stage(
        needs="events.parquet settings.json",
        writes="profile.json thresholds.json signals.parquet votes.parquet labels.parquet",
    ),
    "03_behavioral_features": Stage(
        needs="events.parquet settings.json profile.json signals.parquet",
        writes="inputs.parquet scaling.json",
    ),
    "04_autoencoder": Stage(
        needs="settings.json votes.parquet labels.parquet inputs.parquet",
        writes="autoencoder.safetensors autoencoder.json errors.parquet refined.parquet",
    ),
    "05_supervised_judge": Stage(
        needs="events.parquet settings.json profile.json thresholds.json signals.parquet "
        "votes.parquet labels.parquet inputs.parquet scaling.json "
        "autoencoder.safetensors autoencoder.json errors.parquet refined.parquet",
        writes="detector.zip scores.parquet",
    ),
    "06_evaluation": Stage(
        needs="events.parquet settings.json profile.json signals.parquet inputs.parquet "
        "scores.parquet truth.parquet",
        writes="evaluation.json",
    ),
    "07_streaming_simulation": Stage(
        needs="events.parquet settings.json truth.parquet", writes="stream.json"
    ),
}
READS_TRUTH = ("06_evaluation", "07_streaming_simulation")
PRODUCER = {name: key for key, stage in STAGES.items() for name in stage.writes + stage.sealed}
SEALED = {name for stage in STAGES.values() for name in stage.sealed}


class CourseError(RuntimeError):
    """One sentence for the reader: what happened and what to do."""


# Files: hashes, atomic writes, the lock


@cache
def _hash_of(path: Path, mtime_ns: int, size: int) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _sha256(path: Path) -> str:
    status = path.stat()
    return _hash_of(path, status.st_mtime_ns, status.st_size)


def _json(value: Any) -> str:
    plain = json.dumps(
        value,
        sort_keys=True,
        indent=2,
        ensure_ascii=False,
        allow_nan=False,
        default=lambda array: array.tolist(),
    )
    return plain + "\n"


def _load_json(path: Path) -> dict[str, Any]:
    try:
        value = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    except ValueError:
        value = None
    if not isinstance(value, dict):
        raise CourseError(f"{path} is damaged; delete it and run the notebooks again.")
    return value


@contextlib.contextmanager
def _writing(folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        elsewhere = error.filename and not Path(error.filename).is_relative_to(folder)
        raise CourseError(
            f"Cannot write into {error.filename if elsewhere else folder} ({error.strerror or error}); "
            "free some space or choose another folder."
        ) from None


def _replace(path: Path, content: str | bytes) -> None:
    """Write a file so that a kill leaves the old one or the new one."""
    scratch = path.with_name(f".{path.name}.tmp")
    with _writing(path.parent):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            scratch.write_bytes(content.encode() if isinstance(content, str) else content)
            os.replace(scratch, path)
        finally:
            scratch.unlink(missing_ok=True)


@contextlib.contextmanager
def _environment(**variables: str) -> Iterator[None]:
    before = {name: os.environ.get(name) for name in variables}
    os.environ.update(variables)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


@contextlib.contextmanager
def _locked(folder: Path, timeout: float = 0) -> Iterator[None]:
    """Hold a run's folder; what the holder starts is let through. The kernel frees a dead lock."""
    from filelock import FileLock, Timeout

    if os.environ.get(HOLDER) == str(folder):
        yield
        return
    with _writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
        lock = FileLock(folder / ".lock")
        try:
            lock.acquire(timeout=timeout)
        except Timeout:
            raise CourseError(
                f"Another process is working in {folder}; wait until it ends or choose another run."
            ) from None
    try:
        with _environment(**{HOLDER: str(folder)}):
            yield
    finally:
        lock.release()


def run_folder(run: str | os.PathLike[str]) -> Path:
    """The folder of a run: a bare name lies under runs/, anything else is a path.

    Raises:
        CourseError: if the name is empty or is not a folder.
    """
    text = os.fspath(run)
    if not text.strip() or text in (".", "..") or "\0" in text:
        raise CourseError(f"{text!r} is no name for a run; give a name such as 'default' or a path.")
    runs = Path(os.environ.get("COURSE_RUNS", ROOT / "runs"))
    bare = os.path.basename(text) == text and not text.startswith("~")
    folder = Path(os.path.abspath(runs / text if bare else Path(text).expanduser()))
    if folder.exists() and not folder.is_dir():
        raise CourseError(f"{folder} is a file; choose another name or path for the run.")
    return folder


# Artifacts: what a stage handed over, and whether it still holds


def _manifest(folder: Path) -> dict[str, Any]:
    return _load_json(folder / "manifest.json")


def _recorded(manifest: dict[str, Any], name: str) -> str | None:
    entry = manifest.get(PRODUCER[name], {})
    return (entry.get("outputs", {}) | entry.get("sealed", {})).get(name)


def _ancestry(manifest: dict[str, Any], stages: Iterable[str]) -> list[str]:
    """The stages and all those they read from, directly or not, in order."""
    found, todo = set(), set(stages)
    while todo:
        stage = todo.pop()
        found.add(stage)
        todo |= {PRODUCER[name] for name in manifest.get(stage, {}).get("inputs", {})} - found
    return [stage for stage in STAGES if stage in found and stage in manifest]


def _check_current(manifest: dict[str, Any], stage: str) -> None:
    for reader in _ancestry(manifest, [stage]):
        for name, sha256 in manifest[reader]["inputs"].items():
            if _recorded(manifest, name) != sha256:
                raise CourseError(
                    f"What {reader} handed over is out of date, because {name} has changed since; "
                    f"re-run {reader}."
                )


def _checked(folder: Path, name: str) -> tuple[Path, str]:
    manifest = _manifest(folder)
    path, recorded, producer = (
        folder / "artifacts" / name,
        _recorded(manifest, name),
        PRODUCER[name],
    )
    if recorded is None and name in SEALED and producer in manifest:
        raise CourseError(
            f"The source of this run has no column Class, so there is no {name} to compare with; "
            f"re-run {producer} with a labelled source."
        )
    if recorded is None or not path.is_file():
        raise CourseError(f"{name} is missing; re-run {producer}.")
    if _sha256(path) != recorded:
        raise CourseError(f"{name} is damaged or was changed by hand; re-run {producer}.")
    _check_current(manifest, producer)
    return path, recorded


def _missing(folder: Path, stage: str) -> list[str]:
    manifest, wanted = _manifest(folder), set()

    def visit(consumer: str) -> None:
        for name in STAGES[consumer].needs:
            producer, recorded = PRODUCER[name], _recorded(manifest, name)
            unlabelled = name in SEALED and recorded is None and producer in manifest
            there = recorded is not None and (folder / "artifacts" / name).is_file()
            if not unlabelled and not there and producer not in wanted:
                wanted.add(producer)
                visit(producer)

    visit(stage)
    return [name for name in STAGES if name in wanted]


def _catch_up(folder: Path, stages: list[str], seed: int | None) -> None:
    command = [sys.executable, "-m", "helpers.course", "run", "--out", str(folder)]
    command += [] if seed is None else ["--seed", str(seed)]
    started = time.perf_counter()
    child = subprocess.run(
        [*command, "--only", *stages],
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        encoding="utf-8",
        errors="replace",
    )
    seconds = time.perf_counter() - started
    if child.returncode:
        cause = (child.stderr.strip().splitlines() or ["it was killed"])[-1]
        raise CourseError(f"Catching up by running {_and(stages)} failed: {cause}")
    print(f"Caught up by running {_and(stages)} ({seconds:.0f} s).")


def _and(names: list[str]) -> str:
    return " and ".join(filter(None, [", ".join(names[:-1]), names[-1]]))


def _save(value: Any, path: Path) -> None:
    if hasattr(value, "to_parquet"):
        table = value.copy(deep=False)
        table.attrs = {}
        table.to_parquet(path, engine="pyarrow")
    elif isinstance(value, dict):
        path.write_text(_json(value), encoding="utf-8")
    else:
        value.save(path)


@dataclass
class Run:
    """One notebook's view of a run: what it reads, shows, checks and hands over."""

    folder: Path
    stage: str
    parameters: dict[str, Any]
    inputs: dict[str, str] = field(default_factory=dict)
    handed_over: bool = False

    def path(self, name: str) -> Path:
        """The path of an artifact, after checking its hash and that it is up to date.

        Raises:
            CourseError: if it is missing, damaged, out of date, sealed, or not listed in STAGES.
        """
        if name in SEALED and self.stage not in READS_TRUTH:
            raise CourseError(f"{name} is sealed; {self.stage} may not read it.")
        own = name in STAGES[self.stage].writes and self.handed_over
        if not own and name not in STAGES[self.stage].needs:
            raise CourseError(f"{self.stage} does not list {name} in STAGES; add it there first.")
        path, sha256 = _checked(self.folder, name)
        if not own:
            self.inputs[name] = sha256
        return path

    def read(self, name: str) -> Any:
        """An artifact: `.parquet` as a DataFrame, `.json` as a dict; for others see `path`.

        Raises:
            CourseError: as `path` does, or for another suffix.
        """
        path = self.path(name)
        if path.suffix == ".json":
            return _load_json(path)
        if path.suffix == ".parquet":
            import pandas as pd

            return pd.read_parquet(path, engine="pyarrow")
        raise CourseError(f"{name} is neither a table nor JSON; load it from run.path({name!r}).")

    @property
    def settings(self) -> dict[str, Any]:
        """What 01 handed over as settings.json (rows, start, source, ...); empty before that."""
        return self.read("settings.json") if self.handed_over or self.stage[:2] != "01" else {}

    def hand_over(self, files: dict[str, Any], sealed: dict[str, Any] | None = None) -> None:
        """Save this notebook's artifacts, all or none, and record them in the manifest.

        Args:
            files: name -> DataFrame, dict, or an object with `.save(path)`; all that STAGES lists.
            sealed: the truth, recorded apart, if the source has it.

        Raises:
            CourseError: if the names differ from STAGES, another process holds the run, or the
                folder cannot be written.
        """
        stage, sealed = STAGES[self.stage], sealed or {}
        if set(files) != set(stage.writes) or not set(sealed) <= set(stage.sealed):
            expected, given = sorted(stage.writes), sorted({*files, *sealed})
            raise CourseError(f"{self.stage} hands over {expected} by STAGES, but was given {given}.")
        artifacts = self.folder / "artifacts"
        with _locked(self.folder, timeout=10), _writing(artifacts):
            artifacts.mkdir(exist_ok=True)
            for left_by_a_kill in artifacts.glob(".tmp-*"):
                shutil.rmtree(left_by_a_kill)
            with tempfile.TemporaryDirectory(prefix=".tmp-", dir=artifacts) as scratch:
                saved = {name: Path(scratch, name) for name in files | sealed}
                for name, path in saved.items():
                    _save((files | sealed)[name], path)
                self._record(saved, set(sealed))
        self.handed_over = True

    def _record(self, saved: dict[str, Path], sealed: set[str]) -> None:
        hashes = {name: _sha256(path) for name, path in saved.items()}
        manifest = _manifest(self.folder)
        if manifest.pop(self.stage, None):
            _replace(self.folder / "manifest.json", _json(manifest))
        for name, path in saved.items():
            os.replace(path, self.folder / "artifacts" / name)
        manifest[self.stage] = {
            "parameters": self.parameters,
            "inputs": dict(self.inputs),
            "outputs": {name: sha for name, sha in hashes.items() if name not in sealed},
            "sealed": {name: sha for name, sha in hashes.items() if name in sealed},
        }
        _replace(self.folder / "manifest.json", _json(manifest))

    def show(self, figure: Any, name: str, *, alt: str) -> None:
        """Save a matplotlib figure as figures/NAME.png and display it with its alternative text."""
        import io

        import matplotlib.pyplot as plt
        from IPython.display import display

        png = io.BytesIO()
        figure.savefig(png, format="png", dpi=DPI, bbox_inches="tight", metadata={"Software": None})
        _replace(self.folder / "figures" / f"{name}.png", png.getvalue())
        plt.close(figure)
        data = {"image/png": png.getvalue(), "text/plain": alt}
        display(data, metadata={"image/png": {"alt": alt}}, raw=True)

    def checkpoint(self, *, tolerance: float = 0, **values: float | int | str) -> None:
        """Compare values with the reference run, print the verdict, and record them.

        Args:
            tolerance: largest difference of a number, relative and absolute alike; 0 is exact.
            values: name -> number or text.
        """
        values = {name: getattr(value, "tolist", lambda v=value: v)() for name, value in values.items()}
        with _locked(self.folder, timeout=10):
            recorded = _load_json(self.folder / "checkpoints.json")
            recorded.setdefault(self.stage, {}).update(values)
            _replace(self.folder / "checkpoints.json", _json(recorded))
        print("Checkpoint:", self._verdict(values, tolerance))

    def _verdict(self, values: dict[str, Any], tolerance: float) -> str:
        reference = _load_json(REFERENCE)
        expected = reference.get("checkpoints", {}).get(self.stage)
        if expected is None:
            return "there is no reference yet; make one with `make reference`."
        actual = {key: self.settings.get(key) for key in ("rows", "start")} | {"seed": self._seed()}
        other = [
            f"{key} {_number(actual[key])} instead of {_number(value)}"
            for key, value in reference["settings"].items()
            if actual[key] not in (None, value)
        ]
        if other:
            return f"not the reference settings ({', '.join(other)}), so nothing to compare."
        differing = [
            f"{name} is {_number(value)}, in the reference run {_number(expected.get(name))}."
            for name, value in values.items()
            if not _close(value, expected.get(name), tolerance)
        ]
        return " ".join(differing) or "as in the reference run."

    def _seed(self) -> int | None:
        """This notebook's seed, or that of an earlier one if it had another."""
        reference = _load_json(REFERENCE)["settings"]["seed"]
        own, manifest = self.parameters.get("SEED"), _manifest(self.folder)
        earlier = _ancestry(manifest, {PRODUCER[name] for name in self.inputs})
        seeds = [own, *(manifest[stage]["parameters"].get("SEED") for stage in earlier)]
        return next((seed for seed in seeds if seed not in (None, reference)), own)


def _close(value: Any, expected: Any, tolerance: float) -> bool:
    if isinstance(value, int | float) and isinstance(expected, int | float):
        return math.isclose(value, expected, rel_tol=tolerance, abs_tol=tolerance)
    return value == expected


def _number(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.6g}"
    return f"{value:,}" if isinstance(value, int) else "unknown" if value is None else str(value)


def start(stage: str, run: str | os.PathLike[str] = "default", /, **parameters: Any) -> Run:
    """Open a run for a notebook; run the earlier notebooks whose artifacts it lacks.

    Args:
        stage: the notebook's name, such as "04_autoencoder".
        run: a name under runs/, or a path.
        parameters: what the notebook hands over depends on; recorded in the manifest.

    Raises:
        CourseError: if the stage is unknown or catching up fails.
    """
    if stage not in STAGES:
        raise CourseError(f"{stage} is not in STAGES; the stages are {', '.join(STAGES)}.")
    folder = run_folder(run)
    if missing := _missing(folder, stage):
        _catch_up(folder, missing, parameters.get("SEED"))
    return Run(folder, stage, parameters)


# Running notebooks


def _notebook(stage: str) -> Path:
    return ROOT / "notebooks" / f"{stage}.ipynb"


def _sequence() -> list[str]:
    return [stage for stage in STAGES if _notebook(stage).is_file()]


def _literal(path: Path) -> str:
    return str(path).replace("{", "{{").replace("}", "}}")


def _declared(stage: str) -> set[str]:
    import papermill

    return set(papermill.inspect_notebook(_literal(_notebook(stage))))


@contextlib.contextmanager
def _kernels() -> Iterator[None]:
    """Kernels of this interpreter that find `helpers`, whatever else Jupyter knows as python3."""
    from ipykernel.kernelspec import write_kernel_spec

    with tempfile.TemporaryDirectory(prefix="course-") as folder:
        write_kernel_spec(Path(folder, "kernels", "python3"), extra_arguments=["--log-level=ERROR"])
        search = {"JUPYTER_PATH": folder, "PYTHONPATH": str(ROOT)}
        joined = {
            name: os.pathsep.join(filter(None, [first, os.environ.get(name)]))
            for name, first in search.items()
        }
        with _environment(**joined, JUPYTER_RUNTIME_DIR=folder, IPYTHONDIR=folder):
            yield


def _execute(stages: list[str], parameters: dict[str, Any], copies: Path) -> Iterator[tuple[str, float]]:
    """Run notebooks in order under one bar; gives each one's name and seconds as it ends."""
    import logging

    import nbformat
    from tqdm import tqdm

    logging.getLogger("papermill").setLevel(logging.ERROR)
    total = 0
    for stage in stages:
        cells = nbformat.read(_notebook(stage), as_version=4).cells
        total += sum(cell.cell_type == "code" and bool(cell.source.strip()) for cell in cells)
        total += bool(parameters.keys() & _declared(stage))
    with _writing(copies):
        copies.mkdir(parents=True, exist_ok=True)
    with _kernels(), tqdm(total=total, unit="cell") as bar:
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
            _literal(_notebook(stage)),
            _literal(copy),
            parameters=parameters,
            kernel_name="python3",
            cwd=ROOT / "notebooks",
            progress_bar=False,
            record_timing=False,
            on_cell_complete=on_cell,
        )
    except papermill.PapermillExecutionError as error:
        sentence = error.evalue.strip().split("\n")[0]
        cause = sentence if error.ename == "CourseError" else f"{error.ename}: {sentence}"
        raise CourseError(f"{stage} stopped at cell [{error.exec_count}]: {cause} ({kept})") from None
    except RuntimeError:
        raise CourseError(f"{stage} stopped: its kernel died, often for lack of memory ({kept})") from None


def _check_declared(stages: list[str], parameters: dict[str, Any]) -> None:
    declared = {name for stage in stages for name in _declared(stage)}
    for name in parameters:
        if name not in declared:
            raise CourseError(
                f"No selected notebook has a parameter {name}; "
                f"they have {', '.join(sorted(declared)) or 'none'}."
            )


def _run(folder: Path, stages: list[str], parameters: dict[str, Any], afresh: bool) -> None:
    _check_declared(stages, parameters)
    with _locked(folder), _writing(folder):
        if afresh:
            _start_over(folder)
        timings = _load_json(folder / "timings.json")
        everything = parameters | {"RUN": str(folder)}
        for stage, seconds in _execute(stages, everything, folder / "notebooks"):
            timings[stage] = seconds
            _replace(folder / "timings.json", _json(timings))
        if set(stages) & set(READS_TRUTH) and "06_evaluation" in _manifest(folder):
            summary = _summary(folder, timings)
            _replace(folder / "summary.json", _json(summary))
            _replace(folder / "summary.md", summary_markdown(summary))
            print(results_table(summary))


def _start_over(folder: Path) -> None:
    for name in ("manifest.json", "checkpoints.json", "timings.json", "summary.json", "summary.md"):
        (folder / name).unlink(missing_ok=True)
    for name in ("figures", "notebooks"):
        shutil.rmtree(folder / name, ignore_errors=True)


@contextlib.contextmanager
def _scratch(name: str) -> Iterator[Path]:
    """A folder beside the runs for one command; stays after a failure, to look into."""
    folder = run_folder(ROOT / "runs" / f".{name}")
    with _locked(folder), _writing(folder):
        for child in folder.iterdir():
            if child.name != ".lock":
                shutil.rmtree(child) if child.is_dir() else child.unlink()
        yield folder
    shutil.rmtree(folder)


# Summary and publication


def _summary(folder: Path, timings: dict[str, float]) -> dict[str, Any]:
    from importlib.metadata import version
    from platform import python_version

    evaluation = _load_json(_checked(folder, "evaluation.json")[0])
    summary = {
        "data": evaluation["data"],
        "detectors": evaluation["detectors"],
        "timings_s": timings,
        "versions": {"python": python_version()} | {name: version(name) for name in PACKAGES},
    }
    if "07_streaming_simulation" in _manifest(folder):
        summary["stream"] = _load_json(_checked(folder, "stream.json")[0])
    return summary


def results_table(summary: dict[str, Any]) -> str:
    """The detectors of a summary as an aligned Markdown table, one row each."""
    from helpers import evaluation

    return _markdown(evaluation.results_table(summary["detectors"]))


def _markdown(table: Any) -> str:
    """A DataFrame of text as an aligned Markdown table, its index first."""
    table = table.reset_index()
    rows = [list(table.columns), *table.to_numpy().tolist()]
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    rows.insert(1, ["-" * width for width in widths])
    return "\n".join(
        "| " + " | ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) + " |"
        for row in rows
    )


def summary_markdown(summary: dict[str, Any]) -> str:
    """A summary as a page: the data, the table, the seconds and the versions."""
    data = summary["data"]
    last = data["start"] + data["rows"] - 1
    seconds = ", ".join(f"{name} {value:.1f}" for name, value in summary["timings_s"].items())
    versions = ", ".join(f"{name} {value}" for name, value in summary["versions"].items())
    return (
        f"# Results\n\nEvents {data['start']:,} to {last:,} (source: {data['source']}); "
        f"{data['frauds_train']} frauds in the training part, {data['frauds_test']} in the test "
        f"part, on which everything below is measured.\n\n{results_table(summary)}\n\n"
        f"Seconds per notebook: {seconds}.\n\nVersions: {versions}.\n"
    )


def _publish(folder: Path) -> Path:
    """Copy a run's summary and figures to results/ in one swap, undoing a killed one first."""
    results, new, old = (ROOT / name for name in ("results", ".results.new", ".results.old"))
    with _writing(results):
        if old.exists() and not results.exists():
            os.replace(old, results)
        for left_by_a_kill in (new, old):
            shutil.rmtree(left_by_a_kill, ignore_errors=True)
        (new / "figures").mkdir(parents=True)
        for path in results.glob("*.*"):  # tables of make sweep and make bench
            shutil.copyfile(path, new / path.name)
        for path in (folder / "summary.json", folder / "summary.md"):
            shutil.copyfile(path, new / path.name)
        for path in sorted((folder / "figures").glob("*.png")):
            shutil.copyfile(path, new / "figures" / path.name)
        if results.exists():
            os.replace(results, old)
        os.replace(new, results)
        shutil.rmtree(old, ignore_errors=True)
    return results


def _cleaned(path: Path, stage: str) -> str:
    """An executed notebook as it is committed: same text wherever and whenever it ran."""
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
    cleaned: list[Any] = []
    for output in outputs:
        if output.get("name") == "stderr":
            line = output.text.strip().split("\n")[0]
            raise CourseError(f"{stage} wrote to stderr in cell [{count}], which must not be: {line}")
        if "execution_count" in output:
            output.execution_count = count
        if cleaned and output.output_type == cleaned[-1].output_type == "stream":
            cleaned[-1].text += output.text
        else:
            cleaned.append(output)
    return cleaned


# The command line


def _command_run(arguments: argparse.Namespace) -> None:
    stages, folder = _sequence(), run_folder(arguments.out)
    for stage in [*(arguments.only or []), *filter(None, [arguments.begin])]:
        if stage not in stages:
            raise CourseError(f"There is no notebook {stage}; choose from {', '.join(stages)}.")
    if arguments.only:
        stages = [stage for stage in stages if stage in arguments.only]
    elif arguments.begin:
        stages = stages[stages.index(arguments.begin) :]
    parameters = {name: _value(value) for name, value in arguments.parameters}
    for name in ("source", "rows", "start", "seed"):
        if getattr(arguments, name) is not None:
            parameters[name.upper()] = getattr(arguments, name)
    if "RUN" in parameters:
        raise CourseError("The parameter RUN is given with --out.")
    _run(folder, stages, parameters, afresh=not (arguments.only or arguments.begin))
    print(f"Artifacts, executed notebooks, figures and summary lie in {folder}.")


def _value(text: str) -> Any:
    """A parameter as papermill's own command line reads it: number, True, False, None or text."""
    try:
        value = ast.literal_eval(text)
    except (ValueError, SyntaxError):
        return text
    return value if value is None or isinstance(value, bool | int | float) else text


def _command_results(_: argparse.Namespace) -> None:
    folder = run_folder("default")
    _run(folder, _sequence(), {}, afresh=True)
    if not (folder / "summary.json").is_file():
        raise CourseError("There are no results, because 06_evaluation has not run.")
    results = _publish(folder)
    print(f"Published in {results}; artifacts and executed notebooks lie in {folder}.")


def _command_bench(arguments: argparse.Namespace) -> None:
    from helpers import bench

    folder, results = run_folder("bench"), ROOT / "results"
    try:
        with _locked(folder):
            pages = bench.pages(bench.run(folder, arguments.limit, arguments.fresh))
    except (ValueError, OSError) as error:
        raise CourseError(str(error)) from None
    for name, content in pages.items():
        _replace(results / name, content)
    print(pages["benchmark.md"])
    print(f"Published as benchmark.* in {results}; what the peers printed lies in {folder}.")


def _command_notebooks(_: argparse.Namespace) -> None:
    with _scratch("notebooks") as folder, _environment(COURSE_RUNS=str(folder), COURSE_OFFLINE="1"):
        stages = [stage for stage, _ in _execute(_sequence(), {}, folder)]
        texts = {stage: _cleaned(folder / f"{stage}.ipynb", stage) for stage in stages}
        for stage, text in texts.items():
            _replace(_notebook(stage), text)
    print(f"Wrote {len(texts)} notebooks with clean outputs.")


def _write_into_readme(name: str, table: str | None = None) -> None:
    """Put a table between the README's markers of that name; without one, see that they are there."""
    start, end = f"<!-- {name}:start -->", f"<!-- {name}:end -->"
    readme = README.read_text(encoding="utf-8") if README.is_file() else ""
    between = re.compile(f"({start}\n).*?({end})", re.DOTALL)
    if not between.search(readme):
        raise CourseError(f"README.md lacks the lines {start} and {end}.")
    if table is not None:
        _replace(README, between.sub(lambda markers: f"{markers[1]}{table}\n{markers[2]}", readme))


def _command_sweep(_: argparse.Namespace) -> None:
    from helpers import sweep

    _write_into_readme("windows")
    with _locked(run_folder("sweep")):
        try:
            table = sweep.run(run_folder("sweep"))
        except RuntimeError as error:
            raise CourseError(str(error)) from None
    windows = _markdown(sweep.windows_table(table))
    _write_into_readme("windows", windows)
    print(windows)
    print(f"Wrote {sweep.TABLE} and the table of both windows in README.md.")


def _command_reference(_: argparse.Namespace) -> None:
    _write_into_readme("results")
    with _scratch("reference") as folder:
        _run(folder, _sequence(), {"SOURCE": "snapshot"}, afresh=True)
        summary = _load_json(folder / "summary.json")
        seed = _manifest(folder)["06_evaluation"]["parameters"]["SEED"]
        reference = {
            "settings": {key: summary["data"][key] for key in ("rows", "start")} | {"seed": seed},
            "checkpoints": _load_json(folder / "checkpoints.json"),
            "detectors": summary["detectors"],
        }
        _replace(REFERENCE, _json(reference))
        _write_into_readme("results", results_table(summary))
    print("Wrote tests/reference.json and the table in README.md.")


def _call(*arguments: str) -> int:
    return subprocess.run([sys.executable, "-m", *arguments], cwd=ROOT).returncode


def _command_lint(_: argparse.Namespace) -> int:
    return _call("ruff", "check", ".") + _call("ruff", "format", "--check", ".")


def _command_test(arguments: argparse.Namespace) -> int:
    lint = _command_lint(arguments)
    with (
        tempfile.TemporaryDirectory() as runs,
        _environment(COURSE_RUNS=runs, COURSE_OFFLINE="1"),
        _kernels(),
    ):
        return _call("pytest", "--nbval", "tests", "notebooks") or lint


def _command_faults(_: argparse.Namespace) -> int:
    return _call("pytest", "tests/faults", "-rs")


def _command_lab(_: argparse.Namespace) -> int:
    with _kernels():
        return _call("jupyterlab", "notebooks")


def _command_clean(_: argparse.Namespace) -> None:
    patterns = ("runs", ".results.*", ".*_cache", ".hypothesis", "*/__pycache__")
    for pattern in (*patterns, "*/.ipynb_checkpoints"):
        for folder in ROOT.glob(pattern):
            shutil.rmtree(folder)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m helpers.course", description=__doc__)
    commands = parser.add_subparsers(metavar="CMD")
    for name, function, text in (
        ("run", _command_run, "run the notebooks in order into one run folder"),
        ("results", _command_results, "run all with the defaults and publish to results/"),
        ("bench", _command_bench, "compare with other packages' detectors, into results/"),
        ("notebooks", _command_notebooks, "re-execute the committed notebooks in place"),
        ("reference", _command_reference, "rewrite tests/reference.json and README's table"),
        ("sweep", _command_sweep, "seeds, windows and ablations into results/sweep.csv"),
        ("test", _command_test, "check everything: ruff, pytest, nbval"),
        ("faults", _command_faults, "kill, fill, cut off and damage: the long tests"),
        ("lint", _command_lint, "ruff alone"),
        ("lab", _command_lab, "open the notebooks in JupyterLab"),
        ("clean", _command_clean, "remove runs/ and caches"),
    ):
        command = commands.add_parser(name, help=text, description=text)
        command.set_defaults(function=function)
        if name == "run":
            _add_run_options(command)
        if name == "bench":
            command.add_argument("--limit", type=float, default=300.0, help="seconds a peer and window")
            command.add_argument("--fresh", action="store_true", help="run again what is finished")
    return parser


def _add_run_options(command: argparse.ArgumentParser) -> None:
    command.add_argument("--source", help="openml, snapshot, auto, or a file")
    command.add_argument("--rows", type=int, help="events to load")
    command.add_argument("--start", type=int, help="position of the first event")
    command.add_argument("--seed", type=int, help="seed of everything random")
    command.add_argument("--out", default="default", help="the run: a name under runs/, or a path")
    which = command.add_mutually_exclusive_group()
    which.add_argument("--only", nargs="+", metavar="NOTEBOOK", help="run these alone")
    which.add_argument("--from", dest="begin", metavar="NOTEBOOK", help="run this and what follows")
    command.add_argument(
        "-p", dest="parameters", nargs=2, action="append", default=[], metavar=("NAME", "VALUE")
    )


def main(arguments: list[str] | None = None) -> int:
    """Run one command; gives the exit code, 1 with one sentence on stderr for a CourseError."""
    parser = _parser()
    chosen = parser.parse_args(arguments)
    if not hasattr(chosen, "function"):
        parser.print_help()
        return 0
    try:
        return chosen.function(chosen) or 0
    except CourseError as error:
        print(error, file=sys.stderr)
        return 1
    except OSError as error:
        print(f"{error}; free some space or choose another folder.", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("Stopped; what was handed over so far is kept.", file=sys.stderr)
        return 130


if __name__ == "__main__":
    sys.exit(main())
