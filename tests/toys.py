"""A small repository of the course: the real machinery, toy notebooks, any path."""

from __future__ import annotations

import importlib
import json
import os
import shutil
import subprocess
import sys
import threading
from functools import cache
from pathlib import Path
from types import ModuleType

import nbformat

ROOT = Path(__file__).resolve().parents[1]
_LOADING = threading.Lock()  # the tests that kill load from several threads
BOOT = (
    "import sys\nfrom helpers import runs\nimport pandas as pd\n"
    "def rest(stage, **files):\n"
    "    files = {name.replace('_', '.', 1): value for name, value in files.items()}\n"
    "    return {name: {} for name in runs.STAGES[stage].writes} | files"
)
TOYS = {
    "01_data_loading": (
        'RUN: str = "default"  # run\nSEED: int = 0\nROWS: int = 4\nSOURCE: str = "snapshot"',
        'run = runs.start("01_data_loading", RUN, SEED=SEED)\n'
        'events = pd.DataFrame({"Amount": range(ROWS)})\n'
        'settings = {"rows": ROWS, "start": 0, "source": SOURCE, "sha256": "0", "n_train": 2}\n'
        'run.hand_over({"events.parquet": events, "settings.json": settings},\n'
        '    sealed={"truth.parquet": pd.DataFrame({"Class": [0, 1]})})',
        'print("one")\nprint("two", flush=True)\nrun.checkpoint(total=int(events.Amount.sum()))',
    ),
    "02_heuristic_labels": (
        'RUN: str = "default"\nSEED: int = 0\nFAIL: bool = False\nSLEEP: float = 0.0',
        'run = runs.start("02_heuristic_labels", RUN, SEED=SEED)\n'
        'events = run.read("events.parquet")\n'
        'if FAIL:\n    raise ValueError("no\\nsuch luck")',
        "import time\ntime.sleep(SLEEP)",
        'run.hand_over(rest("02_heuristic_labels", profile_json={"n": len(events)},\n'
        "    votes_parquet=events, labels_parquet=events))",
    ),
    "03_behavioral_features": (
        'RUN: str = "default"\nSEED: int = 0',
        'run = runs.start("03_behavioral_features", RUN, SEED=SEED)\n'
        'events, profile = run.read("events.parquet"), run.read("profile.json")\n'
        'run.hand_over(rest("03_behavioral_features", inputs_parquet=events, scaling_json=profile))',
    ),
    "04_autoencoder": (
        'RUN: str = "default"\nSEED: int = 0',
        'run = runs.start("04_autoencoder", RUN, SEED=SEED)\n'
        "class Network:\n    def save(self, path):\n        path.write_bytes(bytes([SEED]))",
        'errors = run.read("inputs.parquet").assign(label=run.read("labels.parquet").Amount)\n'
        'run.hand_over(rest("04_autoencoder", autoencoder_safetensors=Network(), errors_parquet=errors))',
    ),
    "05_supervised_judge": (
        'RUN: str = "default"\nSEED: int = 0',
        'run = runs.start("05_supervised_judge", RUN, SEED=SEED)\n'
        "class Bytes:\n    def save(self, path):\n        path.write_bytes(b'x')",
        'errors, n = run.read("errors.parquet"), run.path("autoencoder.safetensors")\n'
        'run.hand_over(rest("05_supervised_judge", detector_zip=Bytes(), scores_parquet=errors))',
    ),
    "06_evaluation": (
        'RUN: str = "default"\nSEED: int = 0',
        'run = runs.start("06_evaluation", RUN, SEED=SEED)\nimport matplotlib.pyplot as plt',
        'def curves():\n    """An empty pair of axes."""\n    figure, axes = plt.subplots()\n'
        '    figure.suptitle("Above")\n    axes.set_title("Nothing to see")\n    return figure\n\n\n'
        "run.show(curves)",
        'data = {key: run.settings[key] for key in ("source", "rows", "start", "sha256")}\n'
        'data |= {"frauds_train": 0, "frauds_test": len(run.read("truth.parquet"))}\n'
        'seen = run.read("scores.parquet").sum().sum()\n'
        'scores = {"average_precision": 0.25, "average_precision_ci": [0.1, 0.5],\n'
        '    "without_largest": 0.125, "roc_auc": 0.9, "budget": None, "at_seed_recall": {"recall": 0.8,\n'
        '    "false_positives": 3388}}\n'
        'run.hand_over({"evaluation.json": {"data": data, "detectors": {"judge": scores}}})\n'
        "run.checkpoint(tolerance=0.1, seen=float(seen))",
    ),
}


def write_toys(root: Path, count: int = len(TOYS)) -> None:
    """Make the repository; only notebooks that exist are part of the sequence."""
    root.mkdir(parents=True)
    for folder in ("notebooks", "results"):
        (root / folder).mkdir()
    for package in ("helpers", "course"):
        shutil.copytree(ROOT / package, root / package, ignore=shutil.ignore_patterns("__pycache__"))
    spec = {"display_name": "Python 3", "language": "python", "name": "python3"}
    for stage, (parameters, *cells) in list(TOYS.items())[:count]:
        notebook = nbformat.v4.new_notebook(metadata={"kernelspec": spec})
        notebook.cells = [nbformat.v4.new_code_cell(text) for text in (BOOT, parameters, *cells)]
        notebook.cells[1].metadata["tags"] = ["parameters"]
        notebook.cells.insert(0, nbformat.v4.new_markdown_cell(f"# {stage}"))
        nbformat.write(notebook, root / "notebooks" / f"{stage}.ipynb")
    (root / "README.md").write_text("# Toys")
    (root / "results" / "README.md").write_text("a\n<!-- results:start -->\n<!-- results:end -->\nz\n")
    (root / "docs").mkdir()
    (root / "docs" / "instructor-guide.md").write_text("b\n<!-- seconds:start -->\n<!-- seconds:end -->\ny\n")


def keep(root: Path, count: int) -> None:
    """Take the later notebooks away."""
    for stage in list(TOYS)[count:]:
        (root / "notebooks" / f"{stage}.ipynb").unlink(missing_ok=True)


def env() -> dict[str, str]:
    return {k: v for k, v in os.environ.items() if k != "PYTHONPATH" and k[:7] != "COURSE_"}


def run_course(root: Path, *arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "course", *map(str, arguments)]
    return subprocess.run(command, cwd=root, env=env(), capture_output=True, text=True, timeout=600)


def load(root: Path, name: str = "helpers.runs") -> ModuleType:
    """A module of the toy repository's own helpers; those of one repository know one another."""
    with _LOADING:
        return _modules(root)[name]


@cache
def _modules(root: Path) -> dict[str, ModuleType]:
    """The toy repository's packages, imported beside those under test, which stay as they are."""

    def taken_out() -> dict[str, ModuleType]:
        names = [name for name in sys.modules if name.partition(".")[0] in ("helpers", "course")]
        return {name: sys.modules.pop(name) for name in names}

    ours = taken_out()
    sys.path.insert(0, str(root))
    try:
        importlib.import_module("course.__main__")
        return taken_out()
    finally:
        sys.path.remove(str(root))
        sys.modules.update(ours)


def read_json(path: Path) -> dict:
    return json.loads(path.read_text(encoding="utf-8"))


def change(root: Path, stage: str, old: str, new: str) -> None:
    path = root / "notebooks" / f"{stage}.ipynb"
    text = path.read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new), encoding="utf-8")


def rewrite(course, folder: Path, rows: int) -> None:
    """What re-running 01 with other settings does."""
    import pandas as pd

    settings = {"rows": rows, "start": 0}
    course.Run(folder, "01_data_loading", {"SEED": 0}).hand_over(
        {"events.parquet": pd.DataFrame({"Amount": range(rows)}), "settings.json": settings},
        sealed={"truth.parquet": pd.DataFrame({"Class": [0, 1]})},
    )
