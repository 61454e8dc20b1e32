"""The notebooks: clean as committed, and what they hand over when they run on small files."""

from __future__ import annotations

import ast
import contextlib
import io
import json
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import nbformat
import numpy as np
import pandas as pd
import pytest
from conftest import SMALL_ROWS
from sandbox import last_line
from test_schema import SESSIONS, sessions

from helpers import data, headless, runs
from helpers.detector import Detector
from helpers.rules import usual_book
from helpers.stream import Learner

ROOT = Path(runs.__file__).parents[1]
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
STAGES = [path.stem for path in NOTEBOOKS if path.stem in runs.STAGES and path.stem not in runs.BESIDES]
PAYMENTS = [stage for stage in STAGES if stage[:2] <= "07"]  # one story; what follows stands alone
SEALED_STAGES = [stage for stage in PAYMENTS if stage not in runs.READS_TRUTH]
slow = pytest.mark.slow


def read(path: Path) -> nbformat.NotebookNode:
    return nbformat.read(path, as_version=4)


def code_cells(path: Path) -> list[nbformat.NotebookNode]:
    return [cell for cell in read(path).cells if cell.cell_type == "code"]


def python_of(path: Path) -> str:
    """All its code as Python: the first cell, which calls git and pip by magics, apart."""
    return "\n".join(cell.source for cell in code_cells(path)[1:])


def outputs(path: Path) -> list[nbformat.NotebookNode]:
    return [output for cell in code_cells(path) for output in cell.outputs]


def load_json(path: Path) -> dict:
    return json.loads(path.read_text(encoding="utf-8"))


# --- as committed --------------------------------------------------------------------------------

each = pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
MACHINE = re.compile(
    r"/(?:home|root|tmp|work|usr|opt|Users|content|builds|private|var)/|[A-Za-z]:\\\\|site-packages"
)


def test_the_sequence_is_whole():
    numbers = sorted(stage[:2] for stage in (*STAGES, *runs.BESIDES))
    assert numbers == [f"{n:02}" for n in range(1, len(numbers) + 1)]
    assert [len(part) for part in (PAYMENTS, SEALED_STAGES, STAGES)] == [7, 5, 9]


@each
def test_every_cell_ran_once_in_order(path):
    counts = [cell.execution_count for cell in code_cells(path) if cell.source.strip()]
    assert counts == list(range(1, len(counts) + 1))


@each
def test_no_error_warning_or_machine_is_in_an_output(path):
    assert [o for o in outputs(path) if o.output_type == "error" or o.get("name") == "stderr"] == []
    notebook = read(path)
    for cell in notebook.cells:
        for output in cell.get("outputs", []):
            output.get("data", {}).pop("image/png", None)
    assert MACHINE.findall(nbformat.writes(notebook)) == []


@each
def test_metadata_names_the_kernel_and_nothing_of_the_run(path):
    notebook = read(path)
    assert notebook.metadata.kernelspec.name == "python3"
    assert set(notebook.metadata) <= {"kernelspec", "language_info", "colab"}
    for cell in notebook.cells:
        assert not {"papermill", "execution", "widgets"} & set(cell.metadata)
        assert "injected-parameters" not in cell.metadata.get("tags", [])
    assert not [kind for o in outputs(path) for kind in o.get("data", {}) if "widget" in kind]


@each
def test_there_is_one_h1(path):
    prose = "\n".join(cell.source for cell in read(path).cells if cell.cell_type == "markdown")
    without_code = re.sub(r"^```.*?^```", "", prose, flags=re.DOTALL | re.MULTILINE)
    assert len(re.findall(r"^# \S", without_code, flags=re.MULTILINE)) == 1


@each
def test_the_bootstrap_cell_is_the_same_everywhere(path):
    first = code_cells(path)[0].source
    assert first == code_cells(NOTEBOOKS[0])[0].source and "from helpers import runs" in first


@each
def test_the_parameters_are_annotated_and_explained(path):
    (cell,) = [cell for cell in code_cells(path) if "parameters" in cell.metadata.get("tags", [])]
    statements, lines = ast.parse(cell.source).body, cell.source.splitlines()
    declared = {node.target.id: ast.literal_eval(node.value) for node in statements}
    assert declared["RUN"] == "default" and declared["SEED"] == 0
    for node in statements:
        assert "  # " in "\n".join(lines[node.lineno - 1 : node.end_lineno]), node.target.id


@each
def test_where_torch_trains_the_device_is_a_parameter(path):
    tree = ast.parse(python_of(path))
    trained = [
        node
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and ast.unparse(node.func) in ("Autoencoder", "Detector.fit")
    ]
    assert all("device=DEVICE" in ast.unparse(node) for node in trained)
    assert not trained or any('DEVICE: str = "cpu"' in cell.source for cell in code_cells(path))


@each
def test_every_figure_has_its_alternative_text(path):
    figures = [output for output in outputs(path) if "image/png" in output.get("data", {})]
    assert figures or path.stem not in runs.STAGES
    for figure in figures:
        alt = figure.metadata["image/png"]["alt"]
        assert alt.startswith(figure.data["text/plain"]) and len(alt) > 30 and "<" not in alt


@pytest.mark.parametrize("stage", STAGES[:3])
def test_01_to_03_import_neither_torch_nor_xgboost(stage):
    tree = ast.parse(python_of(ROOT / "notebooks" / f"{stage}.ipynb"))
    imports = [ast.unparse(node) for node in ast.walk(tree) if isinstance(node, ast.Import | ast.ImportFrom)]
    assert len(imports) > 1
    last = "import sys; print('numpy' in sys.modules, {'torch', 'xgboost'} & set(sys.modules))"
    done = subprocess.run(
        [sys.executable, "-c", "\n".join(["from helpers import runs", *imports, last])],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert done.stdout == "True set()\n", done.stderr


@pytest.mark.parametrize("stage", [stage for stage in STAGES if stage in runs.READS_TRUTH])
def test_whoever_reads_the_truth_asks_first_whether_both_parts_hold_both_classes(stage):
    (opening,) = [
        cell.source
        for cell in code_cells(ROOT / "notebooks" / f"{stage}.ipynb")
        if "runs.start(" in cell.source
    ]
    assert "evaluation.check_parts(truth, n_train)" in opening


def test_notebook_1_keeps_nothing_in_hand_that_tells_the_truth(tmp_path, monkeypatch):
    monkeypatch.setenv("COURSE_OFFLINE", "1")
    known: dict = {"runs": runs}
    for cell in code_cells(NOTEBOOKS[0])[1:]:
        exec(cell.source, known)
        known["RUN"] = str(tmp_path / "run")
        if "data.seal(" in cell.source:
            break
    left = {name: value for name, value in known.items() if name[0] != "_"}
    assert list(left["sealed"]) == ["truth.parquet"] and len(left["events"]) == 50_000
    tables = [value for value in left.values() if isinstance(value, pd.DataFrame | pd.Series)]
    assert [list(table) for table in tables] == [["Amount", *(f"V{n}" for n in range(1, 7))]]
    (sealed,) = left["sealed"].values()
    assert repr(sealed) == "sealed" and [name for name in dir(sealed) if name[0] != "_"] == ["save"]
    sealed.save(tmp_path / "truth.parquet")
    assert pd.read_parquet(tmp_path / "truth.parquet")["Class"].sum() == 148


# --- runs on a small file -----------------------------------------------------------------------


def course(*arguments: object) -> tuple[int, str]:
    """What `python -m course run` gives and says last on stderr."""
    from course.__main__ import main

    with contextlib.redirect_stderr(io.StringIO()) as said, contextlib.redirect_stdout(io.StringIO()):
        code = main(["run", *map(str, arguments)])
    return code, last_line(said.getvalue())


def finish(folder: Path, *arguments: object) -> Path:
    code, said = course("--out", folder, *arguments)
    assert code == 0, said
    return folder


def source_file(folder: Path, change: Callable[[pd.DataFrame], pd.DataFrame]) -> Path:
    """A file of 8,000 payments, of the same name wherever it lies."""
    folder.mkdir()
    change(data.load_events("snapshot", rows=SMALL_ROWS)).to_parquet(folder / "events.parquet", index=False)
    return folder / "events.parquet"


@pytest.fixture(scope="module")
def labelled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """01 to 07 on a file with Class."""
    root = tmp_path_factory.mktemp("labelled")
    source = source_file(root / "source", lambda events: events)
    return finish(root / "run", "--source", source, "--rows", SMALL_ROWS, "--only", *PAYMENTS)


@pytest.fixture(scope="module")
def changed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """01 to 05 on the same file with every Class changed."""
    root = tmp_path_factory.mktemp("changed")
    source = source_file(root / "source", lambda events: events.assign(Class=1 - events["Class"]))
    return finish(root / "run", "--source", source, "--rows", SMALL_ROWS, "--only", *SEALED_STAGES)


@pytest.fixture(scope="module")
def unlabelled(tmp_path_factory: pytest.TempPathFactory, labelled: Path) -> Path:
    """The labelled run after 01 on the same file without Class."""
    root = tmp_path_factory.mktemp("unlabelled")
    source = source_file(root / "source", lambda events: events.drop(columns="Class"))
    folder = Path(shutil.copytree(labelled, root / "run"))
    return finish(folder, "--source", source, "--rows", SMALL_ROWS, "--only", "01_data_loading")


@pytest.fixture(scope="module")
def another_table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """01 to 07 on 23 columns of 200 accounts, after a learner has left a rule out in notebook 2."""
    root, table, read_source = tmp_path_factory.mktemp("another_table"), sessions(), headless.source
    busy = table[list(SESSIONS.counts)].sum(axis=1)
    table.assign(abuse=(busy > busy.quantile(0.99)).astype(int)).to_csv(root / "s.csv", index=False)
    words = replace(SESSIONS, label="abuse").to_dict()
    (root / "s.toml").write_text("\n".join(f"{name} = {json.dumps(value)}" for name, value in words.items()))

    def edited(stage: str, exercises: bool = True) -> nbformat.NotebookNode:
        notebook = read_source(stage, exercises)
        cells = [cell for cell in notebook.cells if cell.source.startswith("book = rules.usual_book(schema)")]
        for cell in cells:
            cell.source += '\nbook = [rule for rule in book if rule.name != "burst"]'
        assert len(cells) == (stage == "02_heuristic_labels")
        return notebook

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(headless, "source", edited)
        told = ("--source", root / "s.csv", "--schema", root / "s.toml", "--rows", len(table))
        return finish(root / "run", *told, "--only", *PAYMENTS)


def artifacts(folder: Path) -> dict[str, bytes]:
    """What 01 to 05 have handed over, and recorded, but for the truth."""
    found = {}
    for stage in SEALED_STAGES:
        told = runs.record(folder, stage)
        told["parameters"].pop("SOURCE", None)
        told["outputs"].pop("truth.parquet", None)
        found |= {name: (folder / "artifacts" / name).read_bytes() for name in told["outputs"]}
        found[stage] = json.dumps(told).encode()
    return found


def shown(folder: Path, stage: str) -> list:
    """What an executed notebook shows, pixels included, but for the cell that names the source."""
    cells = code_cells(folder / "notebooks" / f"{stage}.ipynb")
    cells = [cell for cell in cells if "load_events" not in cell.source and cell.outputs]
    return [(cell.id, joined(cell.outputs)) for cell in cells]


def joined(outputs: list) -> list:
    """Outputs with the pieces of one print put together: a busy kernel sends them apart."""
    whole: list = []
    for output in outputs:
        if whole and output.get("name") and output.get("name") == whole[-1].get("name"):
            output = {**output, "text": whole.pop()["text"] + output["text"]}
        whole.append(dict(output))
    return whole


@slow
def test_the_summary_has_its_keys_and_no_warning_is_shown(labelled, another_table):
    summary = load_json(labelled / "summary.json")
    assert set(summary) == {"data", "detectors", "timings_s", "versions", "stream"}
    assert set(summary["data"]) == {"source", "rows", "start", "sha256", "frauds_train", "frauds_test"}
    assert summary["data"]["rows"] == SMALL_ROWS and summary["data"]["source"] == "file"
    assert set(summary["detectors"]) == set(load_json(runs.REFERENCE)["detectors"])
    assert list(summary["timings_s"]) == PAYMENTS
    for name, entry in summary["detectors"].items():
        metrics = {"average_precision", "average_precision_ci", "without_largest", "roc_auc"}
        assert set(entry) == metrics | {"budget", "at_seed_recall"}
        assert set(entry["at_seed_recall"]) == {"recall", "false_positives"}
        budget = {"alerts", "true_positives", "precision", "recall", "f1"}
        assert entry["budget"] is None if name == "seed_rules" else set(entry["budget"]) == budget
    assert {"python", "numpy", "torch", "xgboost"} <= set(summary["versions"])
    for folder in (labelled, another_table):
        for stage in PAYMENTS:
            shown_by = outputs(folder / "notebooks" / f"{stage}.ipynb")
            assert shown_by and [o.text for o in shown_by if o.get("name") == "stderr"] == []


@slow
def test_another_table_another_book_and_no_exercises(another_table):
    """Every later notebook takes the columns from 01 and the rule book from 02."""
    assert load_json(another_table / "artifacts/settings.json")["schema"]["key"] == "account"
    schema = replace(SESSIONS, label="abuse")
    detector = Detector.load(another_table / "artifacts/detector.zip", schema=schema)
    learner = Learner.load(another_table / "artifacts/learner.zip")
    names = [rule.name for rule in usual_book(schema) if rule.name != "burst"]
    assert [[r.name for r in book.rules] for book in (detector, learner.detector)] == [names, names]
    assert detector.judge.names == [*SESSIONS.columns, "reconstruction_error", "distance"]
    events = pd.read_parquet(another_table / "artifacts/events.parquet")
    assert list(events) == SESSIONS.carried  # and no truth
    scores = pd.read_parquet(another_table / "artifacts/scores.parquet")
    np.testing.assert_array_equal(detector.score(events), scores["detector"])
    experts = [
        output.data["text/plain"]
        for output in outputs(another_table / "notebooks/06_evaluation.ipynb")
        if "accused" in output.get("data", {}).get("text/plain", "")
    ]
    assert len(experts) == 1 and "abnormal_combination" in experts[0] and "burst" not in experts[0]
    for stage in PAYMENTS:
        cells = read(another_table / f"notebooks/{stage}.ipynb").cells
        assert cells and not any(cell.source.startswith("## Exercises") for cell in cells)


# --- the sealed truth, and one seed --------------------------------------------------------------


@slow
def test_the_truth_changes_no_byte_of_what_01_to_05_hand_over(labelled, changed, unlabelled):
    """Nor does running them twice."""
    one, two, none = (artifacts(folder) for folder in (labelled, changed, unlabelled))
    assert one.keys() == two.keys() and [name for name in one if one[name] != two[name]] == []
    assert one == none and not (runs.record(unlabelled, "01_data_loading")["outputs"].keys() & runs.SEALED)
    for stage in SEALED_STAGES:
        checks = [load_json(folder / "checkpoints" / f"{stage}.json") for folder in (labelled, changed)]
        assert checks[0] == checks[1]
    truths = [pd.read_parquet(folder / "artifacts/truth.parquet")["Class"] for folder in (labelled, changed)]
    assert (sum(truths) == 1).all() and 0 < truths[0].sum() < 100


@slow
@pytest.mark.parametrize("stage", SEALED_STAGES)
def test_the_truth_changes_nothing_that_01_to_05_show(labelled, changed, unlabelled, stage):
    one = shown(labelled, stage)
    for folder in (changed, unlabelled):
        two = shown(folder, stage)
        assert len(one) > 2 and [cell for cell, _ in one] == [cell for cell, _ in two]
        assert [cell for (cell, first), (_, second) in zip(one, two, strict=True) if first != second] == []


@slow
@pytest.mark.parametrize("stage", runs.READS_TRUTH)
def test_without_class_the_notebooks_that_need_it_say_so(unlabelled, stage):
    code, said = course("--out", unlabelled, "--only", stage)
    assert code == 1 and "The source of this run has no column Class" in said
    assert "re-run 01_data_loading" in said


# --- one method, told once -----------------------------------------------------------------------


@slow
def test_the_notebooks_hand_over_what_detector_fit_gives(labelled, detector, small, tmp_path):
    detector.save(tmp_path / "detector.zip")
    assert (tmp_path / "detector.zip").read_bytes() == (labelled / "artifacts/detector.zip").read_bytes()
    scores = pd.read_parquet(labelled / "artifacts/scores.parquet")
    np.testing.assert_array_equal(scores["detector"], detector.score(small))
    assert scores.index.equals(small.index)
