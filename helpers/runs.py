"""Runs of the course, as notebooks use them: what they hand over, catching up, checkpoints."""

import json
import math
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

# Before numpy, torch and xgboost start their threads, which wait for one another longer than they work.
os.environ.setdefault("OMP_NUM_THREADS", "1")

import pandas as pd

from helpers import headless
from helpers.files import CourseError, load, load_json, replace, sha256, to_bytes, to_json
from helpers.schema import CARDS, Schema
from helpers.settings import NOTEBOOKS, REFERENCE, RUNS

sys.path.append(str(NOTEBOOKS))  # what one notebook alone needs lies beside it

DPI = 200  # twice the pixels that a plain screen shows
MODEL = "domain-driven part, version 1"  # the stamp of what is handed over
STAGES = {  # every notebook, and the numbers of those from which it reads
    "01_data_loading": "",
    "02_heuristic_labels": "01",
    "03_behavioral_features": "01 02",
    "04_autoencoder": "01 02 03",
    "05_supervised_classifier": "01 02 03 04",
    "06_evaluation": "01 02 03 04 05",
    "07_streaming_simulation": "01 02",
    "08_scaling_out": "01 02 03 04 05",
    "09_streaming_sessions": "",
    "10_your_own_stream": "",
}
BESIDES = ("08_scaling_out",)  # needs Java and pyspark: runs where it is named, not in the sequence
SEALED = ("truth.parquet",)
READS_TRUTH = ("06_evaluation", "07_streaming_simulation")


def earlier(stage: str) -> list[str]:
    """The notebooks from which this one reads, in order."""
    return [name for name in STAGES if name[:2] in STAGES[stage].split()]


def start(stage: str, run: str | os.PathLike[str] = "default", /, **parameters: Any) -> "Run":
    """Open a run for a notebook; run the earlier notebooks that have handed nothing over yet.

    Args:
        stage: the notebook's name, such as "04_autoencoder".
        run: a name under runs/, or a path.
        parameters: what the notebook hands over depends on; recorded beside it.
    """
    seed = parameters.get("SEED", 0)
    if type(seed) is not int or not 0 <= seed < 2**32:
        raise CourseError(f"SEED must be a whole number from 0 to {2**32 - 1}, not {seed!r}.")
    folder = run_folder(run)
    if missing := [name for name in earlier(stage) if not is_there(folder, name)]:
        _catch_up(folder, missing, {"SEED": parameters["SEED"]} if "SEED" in parameters else {})
    return Run(folder, stage, parameters)


def run_folder(run: str | int | os.PathLike[str]) -> Path:
    """The folder of a run: a bare name lies under runs/, anything else is a path."""
    text = str(run)  # papermill reads `-p RUN 7` as a number
    if not text.strip(" ."):
        raise CourseError(f"{run!r} is no name for a run; give a name such as 'default' or a path.")
    bare = os.path.basename(text) == text and not text.startswith("~")
    path = Path(os.environ.get("COURSE_RUNS", RUNS), text) if bare else Path(text).expanduser()
    return Path(os.path.abspath(path))


def _catch_up(folder: Path, stages: list[str], parameters: dict[str, Any]) -> None:
    """Run notebooks as far as their exercises, and say which while it runs."""
    for stage in stages:
        print(f"Catching up by running {stage}.", flush=True)
        copy = folder / "notebooks" / f"{stage}.ipynb"
        headless.execute(headless.source(stage, exercises=False), copy, parameters | {"RUN": str(folder)})


# What a notebook handed over, and whether it still holds


def record(folder: Path, stage: str) -> dict[str, Any]:
    """Parameters, inputs and outputs (name -> hash) of a notebook; empty unless it handed over all."""
    try:
        found = json.loads((folder / "artifacts" / f"{stage}.json").read_text(encoding="utf-8"))
        return found if found.keys() == {"parameters", "inputs", "outputs"} else {}
    except (OSError, ValueError, AttributeError):
        return {}


def is_there(folder: Path, stage: str) -> bool:
    """Whether a notebook has handed over, and all of it is there still."""
    outputs = record(folder, stage).get("outputs", {})
    return bool(outputs) and all((folder / "artifacts" / name).is_file() for name in outputs)


def checked_artifact(folder: Path, name: str) -> tuple[Path, str, str]:
    """The path of an artifact, its hash and the notebook that made it.

    Raises:
        CourseError: if it is missing, damaged or out of date, naming the notebook to run again.
    """
    known = {stage: told for stage in STAGES if (told := record(folder, stage))}
    made = {name: (stage, seen) for stage in known for name, seen in known[stage]["outputs"].items()}
    first, path = next(iter(STAGES)), folder / "artifacts" / name
    if name not in made and name in SEALED and first in known:
        why = f"The source of this run has no column of the truth, so there is no {name} to compare with"
        raise CourseError(f"{why}; re-run {first} with a labelled source.")
    maker, seen = made.get(name, ("the notebook that hands it over", ""))
    if not seen or not path.is_file():
        raise CourseError(f"{name} is missing; re-run {maker}.")
    if sha256(path) != seen:
        raise CourseError(f"{name} is damaged or was changed by hand; re-run {maker}.")
    ancestry = {maker}
    for stage in reversed(known):
        if stage in ancestry:
            ancestry |= {made[read][0] for read in known[stage]["inputs"] if read in made}
    for stage in [one for one in known if one in ancestry]:
        for read, then in known[stage]["inputs"].items():
            if made.get(read, ("", ""))[1] != then:
                why = f"because {read} has changed since; re-run {stage}."
                raise CourseError(f"What {stage} handed over is out of date, {why}")
    return path, seen, maker


@dataclass
class Run:
    """One notebook's view of a run: what it reads, shows, checks and hands over."""

    folder: Path
    stage: str
    parameters: dict[str, Any]
    inputs: dict[str, str] = field(default_factory=dict)

    def path(self, name: str) -> Path:
        """The path of an artifact, checked as in `checked_artifact`."""
        return self._checked(name)[0]

    def _checked(self, name: str) -> tuple[Path, str]:
        """The path of an artifact and its maker; what another notebook made is recorded as read."""
        if name in SEALED and self.stage not in READS_TRUTH:
            raise CourseError(f"{name} is sealed; {self.stage} may not read it.")
        path, seen, maker = checked_artifact(self.folder, name)
        if maker != self.stage:
            self.inputs[name] = seen
        return path, maker

    def read(self, name: str) -> Any:
        """An artifact: `.parquet` as a DataFrame, `.json` as a dict, `.zip` as the object that it holds."""
        path, maker = self._checked(name)
        if path.suffix == ".parquet":
            return pd.read_parquet(path, engine="pyarrow")
        if path.suffix == ".json":
            return load_json(path)
        from helpers.detector import kinds

        return load(path, MODEL, kinds(), f"re-run {maker}")

    @property
    def settings(self) -> dict[str, Any]:
        """What 01 handed over as settings.json: rows, start, source ..."""
        return self.read("settings.json") if record(self.folder, next(iter(STAGES))) else {}

    @property
    def schema(self) -> Schema:
        """What the columns of this run's events are: as 01 was told, else card payments."""
        return Schema.from_dict(self.settings["schema"]) if "schema" in self.settings else CARDS

    def hand_over(self, files: dict[str, Any], sealed: dict[str, Any] | None = None) -> None:
        """Save this notebook's artifacts, name -> DataFrame, dict, dataclass or what has `.save(path)`, and
        record them; a kill in between means that it has not run."""
        artifacts, files = self.folder / "artifacts", files | (sealed or {})
        known = artifacts / f"{self.stage}.json"
        replace(known, to_json({}))  # until all is there, this notebook has not run
        for name, value in files.items():
            if hasattr(value, "save"):
                value.save(artifacts / name)
            else:
                replace(artifacts / name, _content(value))
        outputs = {name: sha256(artifacts / name) for name in files}
        replace(known, to_json({"parameters": self.parameters, "inputs": self.inputs, "outputs": outputs}))

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
        titles = [title.replace("\n", " ") for title in (figure.get_suptitle(), *titles) if title]
        alt = " ".join([drawn, *(f"{title}." for title in titles)])
        shown = {"image/png": png.getvalue(), "text/plain": drawn}
        width, height = (int.from_bytes(shown["image/png"][at : at + 4]) // 2 for at in (16, 20))
        size = {"alt": alt, "width": width, "height": height}
        display(shown, metadata={"image/png": size}, raw=True)

    def checkpoint(self, *, tolerance: float = 0, **values: float | int | str) -> None:
        """Compare values with the reference run, print the verdict, and record both.

        Args:
            tolerance: largest difference of a number, relative and absolute alike; 0 is exact.
        """
        values = {name: value.item() if hasattr(value, "item") else value for name, value in values.items()}
        differing, verdict = self._compared(values, tolerance)
        path = self.folder / "checkpoints" / f"{self.stage}.json"
        told = {name: {"value": one, "as_reference": name not in differing} for name, one in values.items()}
        replace(path, to_json(load_json(path) | told))
        print("Checkpoint:", verdict)

    def _compared(self, values: dict[str, Any], tolerance: float) -> tuple[set[str], str]:
        """The names of what is not as in the reference run, and the verdict in words."""
        reference = load_json(REFERENCE)
        expected = reference.get("checkpoints", {}).get(self.stage)
        if expected is None:
            return set(values), "there is no reference yet; make one with `make reference`."
        own, usual_seed = self.parameters.get("SEED"), reference["settings"]["seed"]
        before = (record(self.folder, stage).get("parameters", {}) for stage in earlier(self.stage))
        seeds = [own, *(told.get("SEED") for told in before)]
        actual = {key: self.settings.get(key) for key in ("rows", "start")}
        actual["seed"] = next((seed for seed in seeds if seed not in (None, usual_seed)), own)
        usual = reference["settings"] | reference.get("parameters", {}).get(self.stage, {})
        other = [
            f"{key} {_number(value) or 'none'} instead of {_number(usual[key]) or 'none'}"
            for key, value in (actual | self.parameters).items()
            if key in usual and value not in (None, usual[key])
        ]
        if other:
            return set(values), f"not the reference settings ({', '.join(other)}), so nothing to compare."
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


def _content(value: Any) -> str | bytes:
    if isinstance(value, dict):
        return to_json(value)
    if not hasattr(value, "to_parquet"):
        return to_bytes(MODEL, value)
    value = value.copy(deep=False)
    value.attrs = {}  # the source of the events is in settings.json
    return value.to_parquet(engine="pyarrow")


def _close(value: Any, expected: Any, tolerance: float) -> bool:
    if isinstance(value, int | float) and isinstance(expected, int | float):
        return math.isclose(value, expected, rel_tol=tolerance, abs_tol=tolerance)
    return value == expected


def _number(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.6g}"
    return f"{value:,}" if isinstance(value, int) else "unknown" if value is None else str(value)
