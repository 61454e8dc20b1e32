"""The notebooks: clean as committed, and what they hand over when they run.

Five runs serve the slow tests, two at a time, in folders of their own: the whole sequence on the
snapshot, and small ones on a file with Class, with every Class changed, without Class, and with
another seed.
"""

from __future__ import annotations

import ast
import json
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import nbformat
import numpy as np
import pandas as pd
import pytest
from conftest import SMALL_ROWS
from test_schema import SESSIONS, sessions

from helpers import data, runs
from helpers.detector import Detector
from helpers.rules import RULES
from helpers.stream import Learner

ROOT = Path(runs.__file__).parents[1]
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
STAGES = [path.stem for path in NOTEBOOKS if path.stem in runs.STAGES and path.stem not in runs.BESIDES]
PAYMENTS = [stage for stage in STAGES if stage[:2] <= "07"]  # one story; what follows stands alone
SEALED_STAGES = [stage for stage in PAYMENTS if stage not in runs.READS_TRUTH]
ARTIFACTS = [name for stage in SEALED_STAGES for name in runs.STAGES[stage].writes]
DETECTORS = {
    "seed_rules",
    "rules",
    "isolation_forest",
    "pca",
    "autoencoder_all_rows",
    "autoencoder",
    "judge_circular",
    "crowds",
    "judge",
    "detector",
    "oracle",
}
UNTRAINED = ("seed_rules",)
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
        [sys.executable, "-c", "\n".join([*imports, last])],
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


# --- the runs ------------------------------------------------------------------------------------


def run_course(folder: Path, *arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "course", "run", "--out", folder, *arguments]
    return subprocess.run(list(map(str, command)), cwd=ROOT, capture_output=True, text=True, timeout=1_200)


def finish(folder: Path, *arguments: object) -> Path:
    done = run_course(folder, *arguments)
    assert done.returncode == 0, done.stderr[-2_000:]
    return folder


def source_file(folder: Path, change: Callable[[pd.DataFrame], pd.DataFrame]) -> Path:
    events = data.load_events("snapshot", rows=SMALL_ROWS)
    folder.mkdir()
    change(events).to_parquet(folder / "events.parquet", index=False)
    return folder / "events.parquet"


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Future[Path]]]:
    """Folders of finished runs, as they come."""
    root = tmp_path_factory.mktemp("runs")
    changes = {
        "labelled": lambda events: events,
        "changed": lambda events: events.assign(Class=1 - events["Class"]),
        "unlabelled": lambda events: events.drop(columns="Class"),
    }

    def small_run(name: str) -> Path:
        only = PAYMENTS if name == "labelled" else SEALED_STAGES
        source = source_file(root / f"source of {name}", changes[name])
        return finish(root / name, "--source", source, "--rows", SMALL_ROWS, "--only", *only)

    def repeated(first: Future[Path]) -> Path:
        folder = shutil.copytree(first.result(), root / "repeated")
        return finish(folder, "--only", "06_evaluation")

    def reseeded(first: Future[Path]) -> Path:
        folder = shutil.copytree(first.result(), root / "reseeded")
        return finish(folder, "--only", "04_autoencoder", "05_supervised_judge", "--seed", 1)

    def own_book(first: Future[Path]) -> Path:
        """Notebook 2 edited by a learner, who leaves a rule out, and what follows."""
        folder = shutil.copytree(first.result(), root / "own_book")
        edited, stage = root / "edited.ipynb", "02_heuristic_labels"
        notebook = read(ROOT / "notebooks" / f"{stage}.ipynb")
        (cell,) = [cell for cell in notebook.cells if cell.source.startswith("book = ")]
        assert "usual_book(schema)" in cell.source
        cell.source = cell.source.replace("usual_book(schema)", 'RULES[:2] + rules.RULES[3:]  # no "burst"')
        nbformat.write(notebook, edited)
        command = [sys.executable, "-m", "papermill", edited, root / "executed.ipynb", "-p", "RUN", folder]
        done = subprocess.run(
            list(map(str, command)), cwd=ROOT, capture_output=True, text=True, timeout=1_200
        )
        assert done.returncode == 0, done.stderr[-2_000:]
        return finish(folder, "--only", *PAYMENTS[PAYMENTS.index(stage) + 1 :])

    def another_table() -> Path:
        """23 columns of 200 accounts, in the words of a file."""
        table = sessions()
        busy = table[list(SESSIONS.counts)].sum(axis=1)
        (root / "source of sessions").mkdir()
        source, schema = root / "source of sessions/s.csv", root / "source of sessions/s.toml"
        table.assign(abuse=(busy > busy.quantile(0.99)).astype(int)).to_csv(source, index=False)
        words = (replace(SESSIONS, label="abuse")).to_dict()
        schema.write_text("\n".join(f"{name} = {json.dumps(value)}" for name, value in words.items()))
        told = ("--source", source, "--schema", schema, "--rows", len(table))
        return finish(root / "another_table", *told, "--only", *PAYMENTS)

    with ThreadPoolExecutor(2) as pool:
        started = {"full": pool.submit(finish, root / "full", "--source", "snapshot")}
        started |= {name: pool.submit(small_run, name) for name in changes}
        started |= {
            job.__name__: pool.submit(job, started["labelled"]) for job in (repeated, reseeded, own_book)
        }
        started["another_table"] = pool.submit(another_table)
        yield started


def artifact(folder: Path, name: str) -> bytes:
    return (folder / "artifacts" / name).read_bytes()


def figures(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in (folder / "figures").glob("*.png")}


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
def test_smoke_every_notebook_runs_and_the_summary_has_its_keys(finished):
    folder = finished["labelled"].result()
    summary = load_json(folder / "summary.json")
    streamed = {"stream"} if "07_streaming_simulation" in STAGES else set()
    assert set(summary) == {"data", "detectors", "timings_s", "versions"} | streamed
    assert set(summary["data"]) == {"source", "rows", "start", "sha256", "frauds_train", "frauds_test"}
    assert summary["data"]["rows"] == SMALL_ROWS and summary["data"]["source"] == "file"
    assert set(summary["detectors"]) == DETECTORS and list(summary["timings_s"]) == PAYMENTS
    for name, entry in summary["detectors"].items():
        metrics = {"average_precision", "average_precision_ci", "without_largest", "roc_auc"}
        metrics |= {"budget", "at_seed_recall"}
        assert set(entry) == metrics and len(entry["average_precision_ci"]) == 2
        assert set(entry["at_seed_recall"]) == {"recall", "false_positives"}
        budget = {"alerts", "true_positives", "precision", "recall", "f1"}
        assert entry["budget"] is None if name == "seed_rules" else set(entry["budget"]) == budget
    assert {"python", "numpy", "torch", "xgboost"} <= set(summary["versions"])


@slow
def test_every_notebook_runs_on_another_table_but_for_its_exercises(finished):
    folder = finished["another_table"].result()
    assert list(load_json(folder / "summary.json")["timings_s"]) == PAYMENTS
    assert load_json(folder / "artifacts/settings.json")["schema"]["key"] == "account"
    detector = Detector.load(folder / "artifacts/detector.zip", schema=replace(SESSIONS, label="abuse"))
    assert detector.judge.names == [*SESSIONS.columns, "reconstruction_error", "distance"]
    events = pd.read_parquet(folder / "artifacts/events.parquet")
    assert list(events) == SESSIONS.carried  # and no truth
    scores = pd.read_parquet(folder / "artifacts/scores.parquet")
    assert np.array_equal(detector.score(events), scores["detector"])
    for stage in PAYMENTS:
        cells = read(folder / f"notebooks/{stage}.ipynb").cells
        assert cells and not any(cell.source.startswith("## Exercises") for cell in cells)


@slow
@pytest.mark.parametrize("stage", STAGES)
def test_a_run_shows_no_warning(finished, stage):
    for name in ("full", *(["labelled", "another_table"] if stage in PAYMENTS else [])):
        shown_by = outputs(finished[name].result() / "notebooks" / f"{stage}.ipynb")
        assert shown_by and [o.text for o in shown_by if o.get("name") == "stderr"] == []


# --- the sealed truth ----------------------------------------------------------------------------


@slow
@pytest.mark.parametrize("other", ["changed", "unlabelled"])
def test_the_truth_changes_no_byte_of_what_01_to_05_hand_over(finished, other):
    one, two = finished["labelled"].result(), finished[other].result()
    assert [name for name in ARTIFACTS if artifact(one, name) != artifact(two, name)] == []
    manifests = [load_json(folder / "manifest.json") for folder in (one, two)]
    for manifest in manifests:
        manifest["01_data_loading"]["parameters"].pop("SOURCE")
        manifest["01_data_loading"].pop("sealed")
    assert [stage for stage in SEALED_STAGES if manifests[0][stage] != manifests[1][stage]] == []
    (one_checked, two_checked) = (load_json(folder / "checkpoints.json") for folder in (one, two))
    assert {stage: one_checked[stage] for stage in SEALED_STAGES} == two_checked


@slow
@pytest.mark.parametrize("other", ["changed", "unlabelled"])
@pytest.mark.parametrize("stage", SEALED_STAGES)
def test_the_truth_changes_nothing_that_01_to_05_show(finished, stage, other):
    one, two = (shown(finished[name].result(), stage) for name in ("labelled", other))
    assert len(one) > 2 and [cell for cell, _ in one] == [cell for cell, _ in two]
    assert [cell for (cell, first), (_, second) in zip(one, two, strict=True) if first != second] == []


@slow
def test_the_truth_did_differ(finished):
    truths = [
        pd.read_parquet(finished[name].result() / "artifacts/truth.parquet")
        for name in ("labelled", "changed")
    ]
    assert (truths[0]["Class"] + truths[1]["Class"] == 1).all() and 0 < truths[0]["Class"].sum() < 100
    assert not (finished["unlabelled"].result() / "artifacts" / "truth.parquet").exists()


@slow
@pytest.mark.parametrize("stage", [stage for stage in STAGES if stage in runs.READS_TRUTH])
def test_without_class_the_notebooks_that_need_it_say_so(finished, tmp_path, stage):
    folder = shutil.copytree(finished["unlabelled"].result(), tmp_path / "run")
    done = run_course(folder, "--only", stage)
    assert done.returncode == 1
    last = done.stderr.strip().splitlines()[-1]
    assert "The source of this run has no column Class" in last and "re-run 01_data_loading" in last


# --- one method, told once -----------------------------------------------------------------------


@slow
def test_the_notebooks_hand_over_what_detector_fit_gives(finished, detector, small):
    folder = finished["labelled"].result()
    assert load_json(folder / "artifacts/profile.json") == detector.profile.to_dict()
    assert load_json(folder / "artifacts/thresholds.json") == detector.thresholds
    assert load_json(folder / "artifacts/scaling.json") == detector.scaling.to_dict()
    assert artifact(folder, "autoencoder.safetensors") == detector.autoencoder.to_bytes()
    assert load_json(folder / "artifacts/autoencoder.json")["error_threshold"] == detector.error_threshold
    scores = pd.read_parquet(folder / "artifacts/scores.parquet")
    np.testing.assert_array_equal(scores["detector"], detector.score(small))
    assert scores.index.equals(small.index)
    assert Detector.load(folder / "artifacts/detector.zip").alert_threshold == detector.alert_threshold


@slow
def test_the_saved_detector_is_detector_fit_byte_for_byte(finished, detector, tmp_path):
    detector.save(tmp_path / "detector.zip")
    assert (tmp_path / "detector.zip").read_bytes() == artifact(finished["labelled"].result(), "detector.zip")


@slow
def test_every_later_notebook_uses_the_rule_book_that_was_handed_over(finished):
    one, two = finished["labelled"].result(), finished["own_book"].result()
    names = [rule.name for rule in RULES if rule.name != "burst"]
    kept = Detector.load(two / "artifacts/detector.zip"), Learner.load(two / "artifacts/learner.zip").detector
    assert [[rule.name for rule in detector.rules] for detector in kept] == [names, names]
    rows = [load_json(folder / "summary.json")["detectors"]["rules"] for folder in (one, two)]
    assert rows[0]["average_precision"] != rows[1]["average_precision"]
    experts = [
        output.data["text/plain"]
        for cell in code_cells(two / "notebooks/06_evaluation.ipynb")
        for output in cell.outputs
        if "accused" in output.get("data", {}).get("text/plain", "")
    ]
    assert len(experts) == 1 and "abnormal_combination" in experts[0] and "burst" not in experts[0]


# --- seeds ---------------------------------------------------------------------------------------


@slow
def test_one_seed_gives_the_same_bytes_in_every_run(finished):
    one, two = finished["labelled"].result(), finished["repeated"].result()
    assert artifact(one, "evaluation.json") == artifact(two, "evaluation.json")
    assert shown(one, "06_evaluation") == shown(two, "06_evaluation")
    other = figures(finished["changed"].result())
    assert len(other) > 10 and other.items() <= figures(one).items() == figures(two).items()


@slow
def test_another_seed_gives_another_network_and_another_judge(finished):
    one, two = finished["labelled"].result(), finished["reseeded"].result()
    differing = {name for name in ARTIFACTS if artifact(one, name) != artifact(two, name)}
    assert {"autoencoder.safetensors", "errors.parquet", "detector.zip", "scores.parquet"} <= differing
    assert not {name for stage in STAGES[:3] for name in runs.STAGES[stage].writes} & differing


# --- the reference -------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def reference() -> dict:
    if not runs.REFERENCE.is_file():
        pytest.fail("results/reference.json is missing: make it with `make reference`.")
    return load_json(runs.REFERENCE)["detectors"]


def flat(entry: dict) -> dict[str, float]:
    """A detector's numbers by dotted name, without what it lacks; pytest's `approx` does not nest."""
    low, high = entry["average_precision_ci"]
    single = entry | {"average_precision_ci": {"low": low, "high": high}}
    return pd.json_normalize(single).iloc[0].dropna().to_dict()


@slow
def test_a_fresh_run_agrees_with_the_reference(finished, reference):
    detectors = load_json(finished["full"].result() / "summary.json")["detectors"]
    assert set(detectors) == set(reference) == DETECTORS
    for name in UNTRAINED:
        assert flat(detectors[name]) == pytest.approx(flat(reference[name]), rel=1e-6), name
    for name in DETECTORS.difference(UNTRAINED):
        expected = pytest.approx(reference[name]["average_precision"], abs=0.15)
        assert detectors[name]["average_precision"] == expected, name


@slow
def test_the_full_run_is_the_pinned_window(finished):
    found = load_json(finished["full"].result() / "summary.json")["data"]
    assert found["sha256"] == data.FINGERPRINTS[50_000] and found["rows"] == 50_000
    assert found["source"] == "snapshot" and found["frauds_test"] == 54
