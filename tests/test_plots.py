"""Colours that every eye tells apart, computed titles, one name a figure, one budget, and the sliders."""

from __future__ import annotations

import ast
import inspect
import itertools
import json
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator

import matplotlib.pyplot as plt
import nbformat
import numpy as np
import pandas as pd
import pytest
from matplotlib.colors import to_hex, to_rgb
from matplotlib.figure import Figure
from sklearn.metrics import confusion_matrix

from helpers import evaluation, plots
from helpers.settings import ALERTS, BLOCK, RESULTS, ROOT

LABELS = {label: colour for label, colour in plots.DETECTORS.values()}
RANKED = [name for name in plots.DETECTORS if name != "seed_rules"]
NOTEBOOKS = {path.stem: nbformat.read(path, 4) for path in sorted((ROOT / "notebooks").glob("*.ipynb"))}


@pytest.fixture(autouse=True)
def _close() -> Iterator[None]:
    yield
    plt.close("all")


def toy(n: int = 3_000) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Truth and a score for every detector; the naive rule says yes or no."""
    rng = np.random.default_rng(0)
    truth = (rng.random(n) < 0.02).astype(int)
    scores = {name: rng.random(n) + i * truth for i, name in enumerate(plots.DETECTORS)}
    return truth, scores | {"seed_rules": rng.random(n) < 0.1}


def code(stage: str) -> Iterator[ast.AST]:
    """Every node of a notebook's code, the first cell apart, which calls git and pip by magics."""
    cells = [cell.source for cell in NOTEBOOKS[stage].cells if cell.cell_type == "code"][1:]
    return ast.walk(ast.parse("\n".join(cells)))


def measured() -> tuple[np.ndarray, dict[str, np.ndarray], dict[str, dict]]:
    truth, scores = toy()
    return truth, scores, evaluation.evaluate(truth, scores, np.arange(truth.sum()))


# --- colours that differ -------------------------------------------------------------------------

# Severe colour blindness on linear RGB: Machado, Oliveira and Fernandes, 2009.
EYES = {
    "usual": "1 0 0 0 1 0 0 0 1",
    "protanopia": "0.152286 1.052583 -0.204868 0.114503 0.786281 0.099216 -0.003882 -0.048116 1.051998",
    "deuteranopia": "0.367322 0.860646 -0.227968 0.280085 0.672501 0.047413 -0.011820 0.042940 0.968881",
    "tritanopia": "1.255528 -0.076749 -0.178779 -0.078411 0.930809 0.147602 0.004733 0.691367 0.303900",
}


def lab(colour: str, eye: str) -> np.ndarray:
    """CIE L*a*b* of a colour as such an eye sees it; a distance of 10 is easily seen."""
    rgb = np.array(to_rgb(colour))
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    seen = np.clip(np.fromstring(EYES[eye], sep=" ").reshape(3, 3) @ linear, 0, 1)
    to_xyz = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]])
    xyz = to_xyz @ seen / [0.9505, 1, 1.089]
    x, y, z = np.where(xyz > 0.008856, np.cbrt(xyz), 7.787 * xyz + 16 / 116)
    return np.array([116 * y - 16, 500 * (x - y), 200 * (y - z)])


@pytest.mark.parametrize("eye", EYES)
@pytest.mark.parametrize("palette", ["DETECTORS", "LABELS"])
def test_colours_differ_for_every_eye(eye, palette):
    colours = [colour for _, colour in getattr(plots, palette).values()]
    pairs = itertools.combinations([lab(colour, eye) for colour in colours], 2)
    assert min(np.linalg.norm(one - other) for one, other in pairs) > 12


# --- the same colour everywhere ------------------------------------------------------------------


def bars(figure: Figure) -> dict[str, str]:
    (axis,) = figure.axes
    labels = [label.get_text() for label in axis.get_yticklabels()]
    return {label: to_hex(bar.get_facecolor()) for label, bar in zip(labels, axis.patches, strict=True)}


def test_bars_and_dots_have_the_detectors_colours():
    detectors = measured()[2]
    assert bars(plots.false_alarms(detectors)) == LABELS
    found = {name: 0.1 * i for i, name in enumerate(RANKED)}
    assert bars(plots.suspects_found(found)) == {
        plots.DETECTORS[name][0]: plots.DETECTORS[name][1] for name in RANKED
    }
    (axis,) = plots.average_precision(detectors).axes
    labels = [label.get_text() for label in axis.get_yticklabels()]
    assert {label: line.get_color() for label, line in zip(labels, axis.lines, strict=True)} == LABELS
    judges = ("seed_rules", "judge_circular", "judge")
    shown = bars(plots.circularity(dict.fromkeys(judges, 0.9)))
    assert list(shown.values()) == [plots.DETECTORS[name][1] for name in judges]


def test_curves_matrices_and_episodes_have_the_detectors_colours():
    truth, scores, detectors = measured()
    budgets = {name: entry["budget"] for name, entry in detectors.items()}
    legend = plots.precision_recall(truth, scores, budgets).axes[0].get_legend()
    drawn = zip(legend.get_texts(), legend.get_lines(), strict=True)
    assert {text.get_text(): line.get_color() for text, line in drawn} == LABELS
    flagged = {name: evaluation.choose_alerts(score) for name, score in scores.items()}
    matrices = {name: confusion_matrix(truth, flags) for name, flags in flagged.items()}
    figure = plots.confusion_matrices(matrices)
    tops = {
        axis.get_title().replace("\n", " "): to_hex(axis.spines["top"].get_edgecolor())
        for axis in figure.axes
        if axis.get_visible()
    }
    assert tops == LABELS
    table = pd.DataFrame({name: [True, i % 2 == 0] for i, name in enumerate(RANKED)})
    table = table.assign(first_event=[10, 20], frauds=[1, 2])
    mesh = plots.episodes_found(table, RANKED).axes[1].collections[0]
    cells = mesh.get_facecolor() if len(mesh.get_facecolor()) > 1 else mesh.to_rgba(mesh.get_array())
    cells = np.reshape(cells, (len(RANKED), 2, 4))
    assert [to_hex(row[0]) for row in cells] == [plots.DETECTORS[name][1] for name in RANKED]
    assert to_hex(cells[1, 1]) == "#f2f2f2"


def test_importances_ablation_and_budget_have_the_detectors_colours():
    shares = pd.Series({"V1": 0.7, "V2": 0.3})
    figure = plots.importance({"judge_circular": shares, "judge": shares})
    assert [to_hex(axis.patches[0].get_facecolor()) for axis in figure.axes] == [
        plots.DETECTORS[name][1] for name in ("judge_circular", "judge")
    ]
    fits = pd.DataFrame({"variant": [*plots.VARIANTS, "no refinement"]})
    fits = fits.assign(start=0, seed=0, found=1, average_precision=np.linspace(0.1, 0.9, len(fits)))
    dots = plots.ablation(fits, "detector").axes[0].collections[-1]
    fills = [to_hex(colour) for colour in dots.get_facecolor()]
    assert fills == [*(plots.DETECTORS[name][1] for name in plots.VARIANTS.values()), "#ffffff"]
    truth, scores = toy()
    curve = evaluation.budget_curve(truth, scores["pca"], most=9)
    figure = plots.budget_choice(curve, evaluation.budget_cost(curve, 1, 9), 5, "pca", nothing=99)
    assert {line.get_color() for axis in figure.axes[1:] for line in axis.lines} == {plots.PINK, "black"}
    assert to_hex(figure.axes[0].spines["top"].get_edgecolor()) == plots.PINK


def test_the_variants_that_are_detectors_exist_in_the_sweep():
    from course import sweep

    assert set(plots.VARIANTS) <= set(sweep.VARIANTS) and set(plots.VARIANTS.values()) <= set(plots.DETECTORS)


def test_no_notebook_chooses_a_colour():
    for stage in NOTEBOOKS:
        for node in code(stage):
            if isinstance(node, ast.keyword):
                assert node.arg not in ("color", "c", "palette", "cmap"), stage
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                assert not re.fullmatch("#[0-9a-fA-F]{6}", node.value), stage


# --- one name, one budget ------------------------------------------------------------------------


def test_every_figure_is_drawn_by_a_function_of_plots_and_every_function_draws_one():
    """Its name is the figure's, so mending one is one grep."""
    drawn = set()
    for stage in NOTEBOOKS:
        for node in code(stage):
            if isinstance(node, ast.Call) and ast.unparse(node.func) == "run.show":
                module, name = ast.unparse(node.args[0]).split(".")
                assert module == "plots", stage
                drawn.add(name)
    functions = inspect.getmembers(plots, inspect.isfunction)
    assert drawn == {name for name, made in functions if made.__module__ == plots.__name__ and name[0] != "_"}
    assert {path.stem for path in (RESULTS / "figures").glob("*.png")} <= drawn


WITH_ANOTHER_BUDGET = """
import json
import numpy as np
import pandas as pd
from matplotlib.text import Text
from helpers import plots
from helpers.exercises import ex02

index, half = pd.RangeIndex(4_000), np.arange(4_000) % 2 == 0
events = pd.DataFrame({"Amount": np.arange(4_000.0)}, index)
burst = pd.Series(np.arange(4_000) % 40, index, name="burst")
curve = pd.DataFrame(1, [8], ["honest_quiet", "false_alarms", "missed", "found", "precision", "recall"])
figures = (
    plots.chronological_split(events, 2_000),
    plots.naive_rule(half, index),
    plots.rule_coverage(burst, 30.0),
    plots.errors_by_label(np.arange(1.0, 5), np.array([1, 0, -1, 1]), 3.0),
    plots.suspects_found({"pca": 0.5, "autoencoder": 0.75}),
    plots.errors_by_truth({"pca": np.arange(1.0, 4_001)}, half.astype(int)),
    plots.fraud_ranks({"one": np.array([0.1, 0.2]), "other": np.array([0.3])}),
    plots.budget_choice(curve, pd.Series([9], [8]), 8, "judge", 9),
    plots.stream_timeline(index, half, half.astype(int)),
)
for figure in figures:
    print(json.dumps([text.get_text().replace("\\n", " ") for text in figure.findobj(Text)]))
lines = [line for figure in figures for axis in figure.axes for line in axis.lines]
budgets = [line.get_xydata().tolist() for line in lines if "alert budget" in line.get_label()]
print(json.dumps([str(budget) for budget in budgets]))
ex02.check_2b(lambda values: values.max() + 1, burst)
ex02.check_2b(lambda values: values.quantile(0.96), pd.Series(np.arange(4_000.0)))
ex02.check_2b(lambda values: values.quantile(0.996), pd.Series(np.arange(4_000.0)))
ex02.check_2c(lambda signals, thresholds: signals["burst"] > 1, burst.to_frame(), {})
"""


def test_figures_and_checkers_follow_the_budget(tmp_path):
    shutil.copytree(ROOT / "helpers", tmp_path / "helpers", ignore=shutil.ignore_patterns("__pycache__"))
    settings = tmp_path / "helpers" / "settings.py"
    text = settings.read_text()
    for old, new in (("ALERTS = 5 ", "ALERTS = 8 "), ("BLOCK = 1_000 ", "BLOCK = 2_000 ")):
        assert text.count(old) == 1
        text = text.replace(old, new)
    settings.write_text(text)
    command = [sys.executable, "-c", WITH_ANOTHER_BUDGET]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr[-2_000:]
    *figures, lines, mute, wide, right, rule = done.stdout.splitlines()
    split, naive, coverage, errors, suspects, truth, _, choice, timeline = map(json.loads, figures)
    assert "amount in euro, median of 2,000 events" in split
    assert "The naive rule raises 1000 alerts in 2,000 events; the budget is 8" in naive
    assert "alerts per 2,000 events" in naive
    assert "burst > 30 accuses 450.0 of 2,000 events; the budget is 8" in coverage
    assert "accused of 2,000 events (log scale)" in coverage
    assert "50% of the suspicious events are rebuilt worse than 99.6% of the presumed normals" in errors
    assert "share of the rules' suspects, found within the alert budget" in suspects
    assert "PCA reconstruction: 0% of frauds beyond 99.6% of honest events" in truth
    assert "budget: alerts in 2,000 events" in choice
    assert "2000 frauds found, 0 missed; the busiest 2,000 events hold 1000 frauds" in timeline
    assert json.loads(lines) == ["[[0.0, 8.0], [1.0, 8.0]]"] * 2 + ["[[0.004, 0.0], [0.004, 1.0]]"]
    assert mute.endswith("0.0 of 2,000 events exceed 40; the budget is 8. Nobody would ever be accused.")
    assert wide.endswith("the budget is 8. 8 of 2,000 is 0.4 %, not 4 %.")
    assert "right. 8 of 2,000 events of the training part are farther" in right
    assert "accuses 1900 of 2,000 events. Analysts can look at 8; ask for something rarer, 80 at" in rule


def test_prose_leaves_the_number_of_the_budget_to_the_settings():
    """results/README.md says it once, beside the table; notebook 2 computes it."""
    a_few = r"99\.5 ?%|half (a )?percent|five (alerts|riskiest|frauds)"
    of_many = r"\b(5|[Ff]ive)\b[^.|]{0,20} (of|in) (every |a )?(1,000|thousand)|1,000 events [^.]*\bfive\b"
    number = re.compile(f"{a_few}|{of_many}")
    for stage, notebook in NOTEBOOKS.items():
        prose = [cell.source for cell in notebook.cells if cell.cell_type == "markdown"]
        prose += [ast.unparse(node) for node in code(stage) if isinstance(node, ast.keyword)]
        assert not [text for text in prose if number.search(text)], stage
    for path in sorted((ROOT / "docs").glob("*.md")):
        assert not number.search(path.read_text(encoding="utf-8")), path.name
    readme = (ROOT / "results/README.md").read_text(encoding="utf-8")
    (said,) = number.finditer(readme)
    assert f"the budget is {ALERTS} of every {BLOCK:,} events" in readme[said.start() - 20 : said.end() + 20]
    computed = [ast.unparse(node) for node in code("02_heuristic_labels") if isinstance(node, ast.JoinedStr)]
    assert any("{ALERTS}" in text and "{BLOCK:,}" in text for text in computed)


# --- sliders: off they import nothing, and each position draws what the static figure would --------


def interactive(stage: str) -> str:
    (source,) = [cell.source for cell in NOTEBOOKS[stage].cells if "if INTERACTIVE" in cell.source]
    return source


def move(control, **values: object) -> None:
    for child in control.children:
        if getattr(child, "description", "") in values:
            child.value = values[child.description]


def test_off_the_sliders_need_no_ipywidgets(monkeypatch):
    monkeypatch.setitem(sys.modules, "ipywidgets", None)
    for stage in ("02_heuristic_labels", "06_evaluation"):
        exec(interactive(stage), {"INTERACTIVE": False})
        (parameters,) = [
            cell.source for cell in NOTEBOOKS[stage].cells if "parameters" in cell.metadata.get("tags", [])
        ]
        assert "INTERACTIVE: bool = False" in parameters


def test_the_threshold_slider_draws_the_threshold_it_shows(monkeypatch, capsys):
    drawn = []
    monkeypatch.setattr(plots, "rule_coverage", lambda *values: drawn.append(values[1]))
    bursts = pd.Series([0, 0, 1, 2, 3, 9], name="burst")
    cell = {"INTERACTIVE": True, "plots": plots, "training_bursts": bursts, "thresholds": {"burst": 2.0}}
    exec(interactive("02_heuristic_labels"), cell)
    slider = cell["moved"].widget.children[0]
    assert (slider.value, slider.min, slider.max, slider.step) == (2.0, 0, 9, 0.5)
    move(cell["moved"].widget, threshold=3.5)
    assert drawn == [2.0, 3.5]


def test_the_budget_sliders_draw_what_they_show(monkeypatch, capsys):
    drawn = []
    monkeypatch.setattr(plots, "budget_choice", lambda *values: drawn.append(values))
    rng = np.random.default_rng(0)
    truth = (rng.random(2_000) < 0.02).astype(int)
    scores = {"seed_rules": truth == 1, "pca": rng.random(2_000), "detector": rng.random(2_000) + truth}
    cell = {"INTERACTIVE": True, "plots": plots, "evaluation": evaluation, "test": truth}
    cell |= {"test_scores": scores, "first_test": 0, "most": 50, "ALERTS": ALERTS}
    cell |= {"REVIEW_EURO": 5.0, "MISSED_EURO": 120.0}
    exec(interactive("06_evaluation"), cell)
    control = cell["moved"].widget
    assert control.children[0].options == ("pca", "detector") and drawn[-1][2:4] == (ALERTS, "detector")
    move(control, detector="pca", alerts=7, review=2.0, missed=50.0)
    curve, cost, *others = drawn[-1]
    assert others == [7, "pca", truth.sum() * 50.0]
    pd.testing.assert_frame_equal(curve, evaluation.budget_curve(truth, scores["pca"]))
    alerts = evaluation.choose_alerts(scores["pca"], per=7)
    missed = truth.sum() - truth[alerts].sum()
    assert cost[7] == alerts.sum() * 2 + missed * 50 and curve.loc[7, "missed"] == missed


# --- titles that are computed --------------------------------------------------------------------


def title(figure: Figure) -> str:
    return figure.axes[0].get_title(loc="left").replace("\n", " ")


def test_a_tie_has_no_winner():
    one = plots.suspects_found({"pca": 0.5, "autoencoder": 0.75})
    assert title(one) == "Autoencoder, presumed normals finds 75% of what the rules suspect, none finds more"
    tie = plots.suspects_found({"pca": 0.75, "isolation_forest": 0.5, "autoencoder": 0.75})
    assert title(tie) == "2 of 3 detectors find 75% of what the rules suspect, none finds more"


def test_a_result_is_named_with_its_interval():
    def entry(value: float, low: float, high: float) -> dict:
        return {"average_precision": value, "average_precision_ci": [low, high]}

    detectors = {
        "rules": entry(0.4, 0.1, 0.5),
        "detector": entry(0.5, 0.3, 0.6),
        "oracle": entry(0.9, 0.8, 1),
    }
    assert title(plots.average_precision(detectors)) == (
        "The detector's average precision is 0.50 (interval 0.30 to 0.60), "
        "the oracle's 0.90 (interval 0.80 to 1.00)"
    )


def test_the_largest_errors_of_one_pattern_are_counted():
    one, other = [3.0, 0, 0, 1], [0, 2.0, 2, 0]
    figure = plots.badly_rebuilt(np.array([one, one, other, one]), np.array([900, 100, 5, 400]), list("abcd"))
    assert title(figure) == "3 of the 4 largest errors are of one pattern, within 800 events"
    assert [label.get_text() for label in figure.axes[0].get_yticklabels()] == ["5", "100", "400", "900"]


def test_boxes_are_compared_where_there_are_any():
    """A count that is mostly zero has none."""
    mixed = np.tile([[0.0, 0, 0], [0, 2, 8], [0, 2, 8]], (9, 1))
    for raw, words in (
        (mixed, "the widest box is\n4 times the narrowest"),
        (0 * mixed, "no input has a box"),
    ):
        with np.errstate(all="raise"):
            figure = plots.before_and_after_scaling(raw, raw / 2, list("abc"))
        assert figure.axes[0].get_title(loc="left") == f"before: {words}"


def test_misses_are_counted_by_reason():
    truth, distance = np.array([0, 0, 1, 1, 1, 1]), np.arange(1.0, 7)
    missed = {"spent": np.arange(6) == 3, "inside": np.arange(6) > 3}
    figure = plots.where_frauds_lie(distance, truth, missed)
    assert title(figure) == "3 of 4 frauds are missed: spent\u00a01, inside\u00a02"
    rows = [label.get_text() for label in figure.axes[0].get_yticklabels()]
    assert rows == ["honest (2)", "found (1)", "spent (1)", "inside (2)"]


def test_a_threshold_says_what_it_accuses():
    signal = pd.Series([0, 0, 0, 1, 1, 2, 3, 3, 3, 9], name="burst")
    figure = plots.rule_coverage(signal, 2)
    assert title(figure) == "burst > 2 accuses 400.0 of 1,000 events; the budget is 5"
    curve, _, dot = figure.axes[0].lines
    assert dot.get_xydata().tolist() == [[2, 400]]
    drawn = dict(np.nan_to_num(curve.get_xydata()).tolist())
    assert drawn == {0: 700, 1: 500, 2: 400, 3: 100, 9: 0}


def test_a_budget_shows_its_counts_and_the_cheapest_one():
    curve = pd.DataFrame(
        {"honest_quiet": [90, 85], "false_alarms": [3, 8], "missed": [4, 1], "found": [3, 6]}, index=[1, 2]
    ).assign(precision=[0.5, 6 / 14], recall=[3 / 7, 6 / 7])
    cost = evaluation.budget_cost(curve, 10, 100)
    figure = plots.budget_choice(curve, cost, 1, "judge", nothing=700)
    counts = [text.get_text() for text in figure.axes[0].texts]
    assert counts == ["90", "3", "4", "3"] and title(figure) == "judge, budget 1: 3 frauds in 6 alerts"
    assert figure.axes[2].get_title(loc="left") == "460 euro; cheapest is a budget of 2, at 240"
    _, recall, _, precision = (line.get_xydata().tolist() for line in figure.axes[1].lines)
    assert (recall, precision) == ([[1, 3 / 7]], [[1, 0.5]])
    assert set(figure.axes[2].lines[2].get_ydata()) == {700}
