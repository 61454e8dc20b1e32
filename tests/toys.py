"""A small repository of the course: the real machinery, toy notebooks, any path."""

import importlib
import json
import os
import shutil
import subprocess
import sys
from functools import cache
from pathlib import Path
from types import ModuleType

import nbformat
import pandas as pd

ROOT = Path(__file__).resolve().parents[1]
RUN = 'RUN: str = "default"\nSEED: int = 0'
SCORES = {"average_precision": 0.25, "average_precision_ci": [0.1, 0.5], "without_largest": 0.125}
SCORES |= {"roc_auc": 0.9, "budget": None, "at_seed_recall": {"recall": 0.8, "false_positives": 3388}}
BEGIN = 'run = runs.start("{}", RUN, SEED=SEED)\n'  # of the first cell
TOYS = {  # more parameters, then cells
    "01_data_loading": (
        'ROWS: int = 4\nSOURCE: str = "snapshot"',
        'settings = {"rows": ROWS, "start": 0, "source": SOURCE, "sha256": "0", "n_train": 2}\n'
        'events = pd.DataFrame({"Amount": range(ROWS)})\n'
        'run.hand_over({"events.parquet": events, "settings.json": settings},\n'
        '    sealed={"truth.parquet": pd.DataFrame({"Class": [0, 1]})})',
        'print("one")\nprint("two", flush=True)\nrun.checkpoint(total=sum(range(ROWS)))',
    ),
    "02_heuristic_labels": (
        "SLEEP: float = 0.0",
        'events = run.read("events.parquet")',
        "import time\ntime.sleep(SLEEP)",
        'run.hand_over({"profile.json": {"n": len(events)}, "votes.parquet": events})',
    ),
    "03_behavioral_features": (
        *("", 'run.read("profile.json")', 'run.hand_over({"inputs.parquet": run.read("events.parquet")})'),
    ),
    "04_autoencoder": (
        *("", 'inputs, votes = run.read("inputs.parquet"), run.read("votes.parquet")'),
        'run.hand_over({"errors.parquet": inputs + len(votes)})',
    ),
    "05_supervised_classifier": ("", 'run.hand_over({"scores.parquet": run.read("errors.parquet")})'),
    "06_evaluation": (
        *("", "import matplotlib.pyplot as plt"),
        'def curves():\n    """An empty pair of axes."""\n    figure, axes = plt.subplots()\n'
        '    figure.suptitle("Above")\n    axes.set_title("Nothing to see")\n    return figure\n\n\n'
        "run.show(curves)",
        'data = {key: run.settings[key] for key in ("source", "rows", "start", "sha256")}\n'
        'data |= {"frauds_train": 0, "frauds_test": len(run.read("truth.parquet"))}\n'
        f'run.hand_over({{"evaluation.json": {{"data": data, "detectors": {{"classifier": {SCORES}}}}}}})\n'
        'run.checkpoint(tolerance=0.1, seen=float(run.read("scores.parquet").sum().sum()))',
    ),
}


def write_toys(root: Path, count: int = len(TOYS)) -> Path:
    """Make the repository with the first notebooks; only those that exist are part of the sequence."""
    for folder in ("notebooks", "results", "docs"):
        (root / folder).mkdir(parents=True)
    for package in ("helpers", "course"):
        shutil.copytree(ROOT / package, root / package, ignore=shutil.ignore_patterns("__pycache__"))
    spec = {"display_name": "Python 3", "language": "python", "name": "python3"}
    boot = "import sys\nsys.path.insert(0, '..')\nfrom helpers import runs\nimport pandas as pd"
    for stage, (more, first, *cells) in list(TOYS.items())[:count]:
        notebook = nbformat.v4.new_notebook(metadata={"kernelspec": spec})
        texts = boot, f"{RUN}\n{more}", BEGIN.format(stage) + first, *cells
        notebook.cells = [nbformat.v4.new_code_cell(text) for text in texts]
        notebook.cells[1].metadata["tags"] = ["parameters"]
        notebook.cells.insert(0, nbformat.v4.new_markdown_cell(f"# {stage}"))
        nbformat.write(notebook, root / "notebooks" / f"{stage}.ipynb")
    (root / "README.md").write_text("# Toys")
    (root / "results" / "README.md").write_text("a\n<!-- results:start -->\n<!-- results:end -->\nz\n")
    (root / "docs" / "instructor-guide.md").write_text("b\n<!-- seconds:start -->\n<!-- seconds:end -->\ny\n")
    return root


def keep(root: Path, count: int) -> None:
    for stage in list(TOYS)[count:]:
        (root / "notebooks" / f"{stage}.ipynb").unlink(missing_ok=True)


def env() -> dict[str, str]:
    return {k: v for k, v in os.environ.items() if k != "PYTHONPATH" and k[:7] != "COURSE_"}


def run_course(root: Path, *arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "course", *map(str, arguments)]
    return subprocess.run(command, cwd=root, env=env(), capture_output=True, text=True, timeout=600)


def taken_out(packages: tuple[str, ...] = ("helpers", "course")) -> dict[str, ModuleType]:
    """The modules of these packages, which are imported anew from now on."""
    names = [name for name in sys.modules if name.partition(".")[0] in packages]
    return {name: sys.modules.pop(name) for name in names}


@cache
def modules(root: Path) -> dict[str, ModuleType]:
    """The toy repository's packages, imported beside those under test, which stay as they are."""
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


def hand_over_01(runs: ModuleType, folder: Path, rows: int, truth: tuple[int, ...] | None = (0, 1)) -> None:
    """What re-running 01 with other settings, or another truth, does."""
    settings = {"rows": rows, "start": 0, "source": "snapshot", "sha256": "0", "n_train": 2}
    files = {"events.parquet": pd.DataFrame({"Amount": range(rows)}), "settings.json": settings}
    sealed = {"truth.parquet": pd.DataFrame({"Class": truth})} if truth else None
    runs.Run(folder, "01_data_loading", {"SEED": 0}).hand_over(files, sealed)
