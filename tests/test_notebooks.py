"""The notebooks: clean as committed, and what they hand over when they run on small files."""

import ast
import json
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import nbformat
import numpy as np
import pandas as pd
import pytest
from conftest import SMALL_ROWS
from IPython.core.interactiveshell import InteractiveShell
from IPython.utils.capture import capture_output
from test_schema import SESSIONS, sessions
from toys import read_json
from traitlets.config import Config

from course import notebooks as course_notebooks
from course import results
from course.__main__ import main
from helpers import data, headless, runs
from helpers.detector import Detector
from helpers.files import CourseError
from helpers.rules import rules_for
from helpers.settings import ROOT
from helpers.stream import Learner

NOTEBOOKS = sorted(path.stem for path in (ROOT / "notebooks").glob("*.ipynb"))
STAGES = [stage for stage in NOTEBOOKS if stage in runs.STAGES and stage not in runs.BESIDES]
PAYMENTS = [stage for stage in STAGES if stage[:2] <= "07"]  # one story; what follows stands alone
SEALED_STAGES = [stage for stage in PAYMENTS if stage not in runs.READS_TRUTH]
ABUSE = replace(SESSIONS, label="abuse")
slow = pytest.mark.slow


def code_cells(stage: str, exercises: bool = True) -> list[nbformat.NotebookNode]:
    return [cell for cell in headless.source(stage, exercises).cells if cell.cell_type == "code"]


def outputs(stage: str) -> list[nbformat.NotebookNode]:
    return [output for cell in code_cells(stage) for output in cell.outputs]


def lesson(stage: str, exercises: bool = True) -> list[nbformat.NotebookNode]:
    """Its code cells but for the first, which calls git and pip by magics."""
    return code_cells(stage, exercises)[1:]


def opened(stage: str, run: Path, end: str) -> dict:
    """What a notebook knows after its first cells, up to the one that holds these words."""
    known: dict = {"runs": runs}
    for cell in lesson(stage):
        exec(cell.source, known)
        known["RUN"] = str(run)
        if end in cell.source:
            return known
    raise AssertionError(f"{stage} lacks {end}")


each = pytest.mark.parametrize("stage", NOTEBOOKS)
MACHINE = re.compile(r"/(?:home|root|tmp|work|usr|opt|Users|content|private|var)/|[A-Z]:\\\\|site-packages")


@each
def test_it_is_committed_as_it_ran_whole_and_clean(stage):
    """Every cell once, in order; no error, warning, machine or run in its outputs and metadata."""
    notebook, shown = headless.source(stage), outputs(stage)
    counts = [cell.execution_count for cell in code_cells(stage) if cell.source.strip()]
    assert counts == list(range(1, len(counts) + 1))
    assert [o for o in shown if o.output_type == "error" or o.get("name") == "stderr"] == []
    assert not [kind for o in shown for kind in o.get("data", {}) if "widget" in kind]
    assert notebook.metadata.kernelspec.name == "python3"
    assert set(notebook.metadata) <= {"kernelspec", "language_info", "colab"}
    for cell in notebook.cells:
        assert not {"papermill", "execution", "widgets"} & set(cell.metadata)
        assert "injected-parameters" not in cell.metadata.get("tags", [])
        for output in cell.get("outputs", []):
            output.get("data", {}).pop("image/png", None)
    assert MACHINE.findall(nbformat.writes(notebook)) == []


@each
def test_it_has_one_title_and_declares_its_parameters(stage):
    prose = "\n".join(cell.source for cell in headless.source(stage).cells if cell.cell_type == "markdown")
    without_code = re.sub(r"^```.*?^```", "", prose, flags=re.DOTALL | re.MULTILINE)
    assert len(re.findall(r"^# \S", without_code, flags=re.MULTILINE)) == 1
    (cell,) = [cell for cell in lesson(stage) if "parameters" in cell.metadata.get("tags", [])]
    statements, lines = ast.parse(cell.source).body, cell.source.splitlines()
    declared = {node.target.id: ast.literal_eval(node.value) for node in statements}  # all annotated
    assert declared["RUN"] == "default" and declared["SEED"] == 0
    for node in statements:
        assert "  # " in "\n".join(lines[node.lineno - 1 : node.end_lineno]), node.target.id
    nodes = [node for cell in lesson(stage) for node in ast.walk(ast.parse(cell.source))]
    calls = [ast.unparse(node) for node in nodes if isinstance(node, ast.Call)]
    trained = [call for call in calls if call.startswith(("Autoencoder(", "Detector.fit("))]
    assert all("device=DEVICE" in call for call in trained)
    assert not trained or declared["DEVICE"] == "cpu"


@each
def test_every_figure_has_its_alternative_text(stage):
    figures = [output for output in outputs(stage) if "image/png" in output.get("data", {})]
    assert figures or stage[:2] == "10"
    for figure in figures:
        alt = figure.metadata["image/png"]["alt"]
        assert alt.startswith(figure.data["text/plain"]) and len(alt) > 30 and "<" not in alt


def test_01_to_03_and_the_snapshot_need_none_of_the_slow_libraries():
    cells = [cell for stage in NOTEBOOKS[:3] for cell in lesson(stage)]
    nodes = [node for cell in cells for node in ast.walk(ast.parse(cell.source))]
    imports = [ast.unparse(node) for node in nodes if isinstance(node, ast.Import | ast.ImportFrom)]
    assert len(imports) > 5
    last = "import sys\nfrom helpers import data\ndata.load_events('snapshot')\n"
    last += "print('numpy' in sys.modules, {*'torch xgboost seaborn openml arff'.split()} & {*sys.modules})"
    command = [sys.executable, "-c", "\n".join(["from helpers import runs", *imports, last])]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=600)
    assert done.stdout == "True set()\n", done.stderr


def test_notebook_1_keeps_nothing_in_hand_that_tells_the_truth(tmp_path, monkeypatch):
    monkeypatch.setenv("COURSE_OFFLINE", "1")
    known = opened(STAGES[0], tmp_path / "run", "data.seal(")
    left = {name: value for name, value in known.items() if name[0] != "_"}
    assert list(left["sealed"]) == ["truth.parquet"] and len(left["events"]) == 50_000
    tables = [value for value in left.values() if isinstance(value, pd.DataFrame | pd.Series)]
    assert [list(table) for table in tables] == [["Amount", *(f"V{n}" for n in range(1, 7))]]
    (sealed,) = left["sealed"].values()
    assert repr(sealed) == "sealed" and [name for name in dir(sealed) if name[0] != "_"] == ["save"]
    sealed.save(tmp_path / "truth.parquet")
    assert pd.read_parquet(tmp_path / "truth.parquet")["Class"].sum() == 148


def played(stage: str, given: dict[str, object], exercises: bool = True, book: str = "") -> dict[str, tuple]:
    """What a notebook's cells show, run in this process, but for the one that names the source; `book` is
    what a learner has written below the rule book."""
    # in a module of its own, because __main__ is what child processes of other tests import
    config, module = Config({"HistoryManager": {"enabled": False}}), ModuleType("lesson")
    shell, found = InteractiveShell.instance(config=config, user_module=module), {}
    shell.user_ns["runs"] = runs
    for cell in lesson(stage, exercises):
        written = book if cell.source.startswith("book = rules.rules_for(schema)") else ""
        with capture_output() as said, pd.option_context("display.width", 1_000, "display.max_columns", 100):
            shell.run_cell(f"{cell.source}\n{written}").raise_error()
        if "parameters" in cell.metadata.get("tags", []):
            shell.user_ns.update({name: given[name] for name in given.keys() & shell.user_ns.keys()})
        if "load_events" not in cell.source:
            shown = [(output.data, output.metadata) for output in said.outputs]
            found[cell.id] = said.stdout, said.stderr, shown
    InteractiveShell.clear_instance()
    return found


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> list[tuple[Path, dict[str, dict[str, tuple]]]]:
    """The folders of two runs of 01 to 05, on a file with the truth and without, and what they show."""
    events, found = data.load_events("snapshot", rows=SMALL_ROWS), []
    for table in (events, events.drop(columns="Class")):
        root = tmp_path_factory.mktemp("both")
        table.to_parquet(root / "events.parquet", index=False)
        given = {"RUN": str(root / "run"), "SOURCE": str(root / "events.parquet"), "ROWS": SMALL_ROWS}
        found.append((root / "run", {stage: played(stage, given) for stage in SEALED_STAGES}))
    return found


@pytest.fixture(scope="module")
def another_table(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict]:
    """01 to 07 on 23 columns of 200 accounts, after a learner has left a rule out in notebook 2."""
    root, table = tmp_path_factory.mktemp("another_table"), sessions()
    busy = table[list(SESSIONS.counts)].sum(axis=1)
    table.assign(abuse=(busy > busy.quantile(0.99)).astype(int)).to_csv(root / "s.csv", index=False)
    words = ABUSE.to_dict().items()
    (root / "s.toml").write_text("\n".join(f"{name} = {json.dumps(value)}" for name, value in words))
    given = {"SOURCE": str(root / "s.csv"), "SCHEMA": str(root / "s.toml"), "ROWS": len(table)}
    given["RUN"] = str(root / "run")
    left_out = 'book = [rule for rule in book if rule.name != "repeated_attempts"]'
    return root / "run", {stage: played(stage, given, False, left_out) for stage in PAYMENTS}


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


@slow
def test_another_table_and_another_book(another_table):
    """Every later notebook takes the columns from 01 and the rule book from 02, and shows no warning."""
    folder, shown = another_table
    summary = results.summarise(folder, {})
    assert set(summary) == {"data", "detectors", "timings_s", "versions", "stream"}
    assert set(summary["data"]) == {"source", "rows", "start", "sha256", "frauds_train", "frauds_test"}
    assert summary["data"]["rows"] == 6_000 and summary["data"]["source"] == "file"
    assert set(summary["detectors"]) == set(read_json(runs.REFERENCE)["detectors"])
    assert {"python", "numpy", "torch", "xgboost"} <= set(summary["versions"])
    assert all(shown.values()) and not any(error for one in shown.values() for _, error, _ in one.values())
    assert read_json(folder / "artifacts/settings.json")["schema"]["key"] == "account"
    detector = Detector.load(folder / "artifacts/detector.zip")
    learner = Learner.load(folder / "artifacts/learner.zip")
    assert detector.schema == learner.detector.schema == ABUSE
    names = [rule.name for rule in rules_for(ABUSE) if rule.name != "repeated_attempts"]
    assert [[r.name for r in book.rules] for book in (detector, learner.detector)] == [names, names]
    own = [f"{name}_own" for name in SESSIONS.numbers]
    assert detector.classifier.names == [*own, "reconstruction_error", "distance"]
    events = pd.read_parquet(folder / "artifacts/events.parquet")
    assert list(events) == SESSIONS.carried  # and no truth
    scores = pd.read_parquet(folder / "artifacts/scores.parquet")
    np.testing.assert_array_equal(detector.score(events), scores["detector"])
    (experts,) = [said for said, _, _ in shown["06_evaluation"].values() if "flagged" in said]
    assert "abnormal_combination" in experts and "repeated_attempts" not in experts


def test_a_table_of_other_columns_runs_without_the_exercises(tmp_path, monkeypatch):
    asked = []
    monkeypatch.setattr(course_notebooks, "execute", lambda *_, exercises: asked.append(exercises) or [])
    for schema in ((), ("--schema", "s.toml")):
        assert main(["run", "--out", str(tmp_path), *schema, STAGES[0]]) == 0
    assert asked == [True, False]
    assert all("## Exercises" not in str(headless.source(stage, exercises=False)) for stage in STAGES)


@slow
def test_the_truth_changes_no_byte_of_what_01_to_05_hand_over_and_nothing_that_they_show(both):
    """Nor does running them twice."""
    folders, shown = zip(*both, strict=True)
    with_it, without = map(artifacts, folders)
    assert with_it.keys() == without.keys()
    assert [name for name in with_it if with_it[name] != without[name]] == []
    told = [runs.record(folder, STAGES[0])["outputs"].keys() for folder in folders]
    assert told[0] - told[1] == set(runs.SEALED)
    for stage in SEALED_STAGES:
        checks = [read_json(folder / "checkpoints" / f"{stage}.json") for folder in folders]
        assert checks[0] == checks[1] != {}
        one, two = (by_stage[stage] for by_stage in shown)
        assert sum(map(bool, (output for _, _, output in one.values()))) > 2
        assert [cell for cell in one if one[cell] != two[cell] or one[cell][1]] == []  # nor warnings


@slow
@pytest.mark.parametrize("stage", runs.READS_TRUTH)
def test_without_class_the_notebooks_that_need_it_say_so(both, stage):
    """In the cell that asks, with a truth, whether both parts hold both classes."""
    (opening,) = [cell.source for cell in lesson(stage) if "runs.start(" in cell.source]
    assert "evaluation.check_parts(truth, n_train)" in opening
    with pytest.raises(CourseError, match=r"no column of the truth.* re-run 01_data_loading with a labelled"):
        opened(stage, both[1][0], opening)


@slow
def test_the_notebooks_hand_over_what_detector_fit_gives(both, detector, small, tmp_path):
    detector.save(tmp_path / "detector.zip")
    artifacts = both[0][0] / "artifacts"
    assert (tmp_path / "detector.zip").read_bytes() == (artifacts / "detector.zip").read_bytes()
    scores = pd.read_parquet(artifacts / "scores.parquet")
    np.testing.assert_array_equal(scores["detector"], detector.score(small))
    assert scores.index.equals(small.index)
