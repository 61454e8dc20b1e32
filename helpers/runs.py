"""Runs of the course, as notebooks use them: what they hand over, catching up, checkpoints."""

from __future__ import annotations

import math
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from helpers.files import CourseError, load_json, locked, replace, sha256, to_json, writing
from helpers.headless import kernels, run_as_far_as_the_exercises
from helpers.settings import REFERENCE, ROOT

if TYPE_CHECKING:
    import pandas as pd

    from helpers.schema import Schema

DPI = 100


class Stage:
    """What a notebook needs and hands over, names with spaces between; `sealed` is the truth, kept apart."""

    def __init__(self, needs: str = "", writes: str = "", sealed: str = "") -> None:
        self.needs, self.writes, self.sealed = needs.split(), writes.split(), sealed.split()


STAGES = {
    "01_data_loading": Stage(writes="events.parquet settings.json", sealed="truth.parquet"),
    "02_heuristic_labels": Stage(
        needs="events.parquet settings.json",
        writes="book.json profile.json thresholds.json signals.parquet votes.parquet labels.parquet",
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
        needs="events.parquet settings.json book.json profile.json thresholds.json signals.parquet "
        "votes.parquet labels.parquet inputs.parquet scaling.json "
        "autoencoder.safetensors autoencoder.json errors.parquet refined.parquet",
        writes="detector.zip scores.parquet",
    ),
    "06_evaluation": Stage(
        needs="events.parquet settings.json book.json profile.json thresholds.json signals.parquet "
        "inputs.parquet scores.parquet truth.parquet",
        writes="evaluation.json",
    ),
    "07_streaming_simulation": Stage(
        needs="events.parquet settings.json book.json truth.parquet", writes="stream.json learner.zip"
    ),
    "08_scaling_out": Stage(
        needs="events.parquet settings.json inputs.parquet errors.parquet refined.parquet detector.zip"
    ),
    "09_streaming_sessions": Stage(writes="worlds.json"),
    "10_your_own_stream": Stage(),
}
BESIDES = ("08_scaling_out",)  # needs Java and pyspark: runs where it is named, not in the sequence
PRODUCER = {name: key for key, stage in STAGES.items() for name in stage.writes + stage.sealed}
SEALED = {name for stage in STAGES.values() for name in stage.sealed}
READS_TRUTH = tuple(key for key, stage in STAGES.items() if SEALED & set(stage.needs))


def start(stage: str, run: str | os.PathLike[str] = "default", /, **parameters: Any) -> Run:
    """Open a run for a notebook; run the earlier notebooks whose artifacts it lacks.

    Args:
        stage: the notebook's name, such as "04_autoencoder".
        run: a name under runs/, or a path.
        parameters: what the notebook hands over depends on; recorded in the manifest.

    Raises:
        CourseError: if the stage is unknown, SEED is no seed, or catching up fails.
    """
    if stage not in STAGES:
        raise CourseError(f"{stage} is not in STAGES; the stages are {', '.join(STAGES)}.")
    seed = parameters.get("SEED", 0)
    if isinstance(seed, bool) or not isinstance(seed, int) or not 0 <= seed < 2**32:
        raise CourseError(f"SEED must be a whole number from 0 to {2**32 - 1}, not {seed!r}.")
    folder = run_folder(run)
    if find_spec("papermill") is None:  # which the first cell installs on Colab; a failing %pip is silent
        raise CourseError(
            "This Python lacks papermill: run the first cell again with a network, or open the notebook with "
            "`make lab`."
        )
    if missing := _missing(folder, stage):
        _catch_up(folder, missing, parameters.get("SEED"))
    return Run(folder, stage, parameters)


def run_folder(run: str | int | os.PathLike[str]) -> Path:
    """The folder of a run: a bare name lies under runs/, anything else is a path.

    Raises:
        CourseError: if the name is empty or is not a folder.
    """
    try:
        text = str(run) if isinstance(run, int) else os.fspath(run)  # papermill reads `-p RUN 7` as a number
    except TypeError:
        text = ""
    if not text.strip() or text in (".", "..") or "\0" in text:
        raise CourseError(f"{run!r} is no name for a run; give a name such as 'default' or a path.")
    runs = Path(os.environ.get("COURSE_RUNS", ROOT / "runs"))
    bare = os.path.basename(text) == text and not text.startswith("~")
    folder = Path(os.path.abspath(runs / text if bare else Path(text).expanduser()))
    if folder.exists() and not folder.is_dir():
        raise CourseError(f"{folder} is a file; choose another name or path for the run.")
    return folder


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
        path, recorded = checked_artifact(self.folder, name)
        if not own:
            self.inputs[name] = recorded
        return path

    def read(self, name: str) -> Any:
        """An artifact: `.parquet` as a DataFrame, `.json` as a dict; for others see `path`.

        Raises:
            CourseError: as `path` does, or for another suffix.
        """
        path = self.path(name)
        if path.suffix == ".json":
            return load_json(path)
        if path.suffix == ".parquet":
            import pandas as pd

            return pd.read_parquet(path, engine="pyarrow")
        raise CourseError(f"{name} is neither a table nor JSON; load it from run.path({name!r}).")

    @property
    def settings(self) -> dict[str, Any]:
        """What 01 handed over as settings.json (rows, start, source, ...); empty where it is not needed."""
        known = "settings.json" in STAGES[self.stage].needs or (self.handed_over and self.stage[:2] == "01")
        return self.read("settings.json") if known else {}

    @property
    def schema(self) -> Schema:
        """What the columns of this run's events are: as 01 was told, else card payments."""
        from helpers.schema import CARDS, Schema

        return Schema.from_dict(self.settings["schema"]) if "schema" in self.settings else CARDS

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
        with locked(self.folder, timeout=10), writing(artifacts):
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
        hashes = {name: sha256(path) for name, path in saved.items()}
        manifest = read_manifest(self.folder)
        if manifest.pop(self.stage, None):
            replace(self.folder / "manifest.json", to_json(manifest))
        for name, path in saved.items():
            os.replace(path, self.folder / "artifacts" / name)
        manifest[self.stage] = {
            "parameters": self.parameters,
            "inputs": dict(self.inputs),
            "outputs": {name: sha for name, sha in hashes.items() if name not in sealed},
            "sealed": {name: sha for name, sha in hashes.items() if name in sealed},
        }
        replace(self.folder / "manifest.json", to_json(manifest))

    def show(self, draw: Callable[..., Any], *data: Any, **options: Any) -> None:
        """Draw a figure, save it as figures/NAME.png under its function's name, and display it.

        Its alternative text is what the function's docstring says that it draws, and its titles.
        """
        import io

        import matplotlib.pyplot as plt
        from IPython.display import display

        figure, png = draw(*data, **options), io.BytesIO()
        figure.savefig(png, format="png", dpi=DPI, bbox_inches="tight", metadata={"Software": None})
        replace(self.folder / "figures" / f"{draw.__name__}.png", png.getvalue())
        plt.close(figure)
        drawn = " ".join(draw.__doc__.split("\n\n")[0].split())
        titles = [axes.get_title(loc=where) for axes in figure.axes for where in ("left", "center")]
        said = [title.replace("\n", " ") for title in (figure.get_suptitle(), *titles) if title]
        alt = " ".join([drawn, *(f"{title}." for title in said)])
        data = {"image/png": png.getvalue(), "text/plain": drawn}
        display(data, metadata={"image/png": {"alt": alt}}, raw=True)

    def checkpoint(self, *, tolerance: float = 0, **values: float | int | str) -> None:
        """Compare values with the reference run, print the verdict, and record both.

        Args:
            tolerance: largest difference of a number, relative and absolute alike; 0 is exact.
            values: name -> number or text.
        """
        values = {name: _plain(value) for name, value in values.items()}
        differing, verdict = self._compared(values, tolerance)
        path = self.folder / "checkpoints.json"
        with locked(self.folder, timeout=10):
            recorded = load_json(path)
            if not all(isinstance(entry, dict) for entry in recorded.values()):
                raise CourseError(f"{path} is damaged; delete it and run the notebooks again.")
            recorded.setdefault(self.stage, {}).update(
                {
                    name: {"value": value, "as_reference": name not in differing}
                    for name, value in values.items()
                }
            )
            replace(path, to_json(recorded))
        print("Checkpoint:", verdict)

    def _compared(self, values: dict[str, Any], tolerance: float) -> tuple[set[str], str]:
        """The names of what is not as in the reference run, and the verdict in words."""
        reference = load_json(REFERENCE)
        expected = reference.get("checkpoints", {}).get(self.stage)
        if expected is None:
            return set(values), "there is no reference yet; make one with `make reference`."
        actual = {key: self.settings.get(key) for key in ("rows", "start")} | {"seed": self._seed()}
        usual = reference["settings"] | reference.get("parameters", {}).get(self.stage, {})
        other = [
            f"{key} {_number(value) or 'none'} instead of {_number(usual[key]) or 'none'}"
            for key, value in (actual | self.parameters).items()
            if key in usual and value not in (None, usual[key])
        ]
        if other:
            words = f"not the reference settings ({', '.join(other)}), so nothing to compare."
            return set(values), words
        differing = {
            name: f"{name} is {_number(value)}, in the reference run {_number(expected.get(name))}."
            for name, value in values.items()
            if not _close(value, expected.get(name), tolerance)
        }
        if not differing:
            return set(), "as in the reference run."
        matters = "This is the same on every machine, so a cell above was changed or left out."
        if tolerance:
            matters = (
                f"Training on another machine explains no more than {100 * tolerance:g} %; a larger "
                "difference matters, unless you changed a cell above."
            )
        return set(differing), " ".join([*differing.values(), matters])

    def _seed(self) -> int | None:
        """This notebook's seed, or that of an earlier one if it had another."""
        reference = load_json(REFERENCE)["settings"]["seed"]
        own, manifest = self.parameters.get("SEED"), read_manifest(self.folder)
        earlier = _ancestry(manifest, {PRODUCER[name] for name in self.inputs})
        seeds = [own, *(manifest[stage]["parameters"].get("SEED") for stage in earlier)]
        return next((seed for seed in seeds if seed not in (None, reference)), own)


def _save(value: Any, path: Path) -> None:
    if hasattr(value, "to_parquet"):
        table = value.copy(deep=False)
        table.attrs = {}
        table.to_parquet(path, engine="pyarrow")
    elif isinstance(value, dict):
        path.write_text(to_json(value), encoding="utf-8")
    else:
        value.save(path)


class Sealed:
    """A table that can be handed over, and neither read nor counted before that."""

    def __init__(self, table: pd.DataFrame) -> None:
        self._table = table

    def __repr__(self) -> str:
        return "sealed"

    def save(self, path: Path) -> None:
        """Write it as parquet."""
        _save(self._table, path)


def _plain(value: Any) -> Any:
    return value.item() if hasattr(value, "item") else value


def _close(value: Any, expected: Any, tolerance: float) -> bool:
    if isinstance(value, int | float) and isinstance(expected, int | float):
        return math.isclose(value, expected, rel_tol=tolerance, abs_tol=tolerance)
    return value == expected


def _number(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.6g}"
    return f"{value:,}" if isinstance(value, int) else "unknown" if value is None else str(value)


# Artifacts: what a stage handed over, and whether it still holds


def read_manifest(folder: Path) -> dict[str, Any]:
    """What the notebooks of a run have recorded: stage -> parameters, inputs, outputs, sealed.

    Raises:
        CourseError: if it is damaged, or names what this version of the course does not know.
    """
    path = folder / "manifest.json"
    manifest = load_json(path)
    try:
        hashes = [entry[kind] for entry in manifest.values() for kind in ("inputs", "outputs", "sealed")]
        unknown = (manifest.keys() - STAGES).union(*(names.keys() - PRODUCER for names in hashes))
    except (AttributeError, KeyError, TypeError):
        raise CourseError(f"{path} is damaged; delete it and run the notebooks again.") from None
    if unknown:
        raise CourseError(
            f"{path} names {min(unknown)}, which this version of the course does not know; "
            "delete it and run the notebooks again."
        )
    return manifest


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
        for name, recorded in manifest[reader]["inputs"].items():
            if _recorded(manifest, name) != recorded:
                raise CourseError(
                    f"What {reader} handed over is out of date, because {name} has changed since; "
                    f"re-run {reader}."
                )


def checked_artifact(folder: Path, name: str) -> tuple[Path, str]:
    """The path and the hash of an artifact, after checking that it is whole and up to date.

    Raises:
        CourseError: if it is not, naming the notebook to run again.
    """
    manifest = read_manifest(folder)
    path, recorded, producer = folder / "artifacts" / name, _recorded(manifest, name), PRODUCER[name]
    if recorded is None and name in SEALED and producer in manifest:
        raise CourseError(
            f"The source of this run has no column Class, so there is no {name} to compare with; "
            f"re-run {producer} with a labelled source."
        )
    if recorded is None or not path.is_file():
        raise CourseError(f"{name} is missing; re-run {producer}.")
    if sha256(path) != recorded:
        raise CourseError(f"{name} is damaged or was changed by hand; re-run {producer}.")
    _check_current(manifest, producer)
    return path, recorded


# Catching up


def _missing(folder: Path, stage: str) -> list[str]:
    manifest, wanted = read_manifest(folder), set()

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
    """Run notebooks with papermill, each in a process of its own, and say which while it runs."""
    with locked(folder), kernels():
        for stage in stages:
            print("Catching up by running" if stage == stages[0] else ",", stage, end="", flush=True)
            started = time.perf_counter()
            run_as_far_as_the_exercises(stage, folder, seed)
            print(f" ({time.perf_counter() - started:.0f} s)", end="", flush=True)
        print(".")
