"""Colours that every eye tells apart, computed titles, one name a figure, and one budget."""

import ast
import importlib
import inspect
import itertools
from collections.abc import Iterator

import matplotlib.pyplot as plt
import nbformat
import numpy as np
import pandas as pd
import pytest
from matplotlib.colors import to_hex, to_rgb
from matplotlib.figure import Figure
from sklearn.tree import DecisionTreeClassifier

import n01
import n02
import n03
import n04
import n05
import n06
import n07
from helpers import evaluation, plots
from helpers.settings import BUDGET, RESULTS, ROOT

COLOURS = dict(plots.DETECTORS.values())  # by label
NOTEBOOKS = {path.stem: nbformat.read(path, 4) for path in sorted((ROOT / "notebooks").glob("*.ipynb"))}
# Severe colour blindness on linear RGB: Machado, Oliveira and Fernandes, 2009.
EYES = {
    "all cones": "1 0 0 0 1 0 0 0 1",
    "protanopia": "0.152286 1.052583 -0.204868 0.114503 0.786281 0.099216 -0.003882 -0.048116 1.051998",
    "deuteranopia": "0.367322 0.860646 -0.227968 0.280085 0.672501 0.047413 -0.011820 0.042940 0.968881",
    "tritanopia": "1.255528 -0.076749 -0.178779 -0.078411 0.930809 0.147602 0.004733 0.691367 0.303900",
}


@pytest.fixture(autouse=True)
def _close() -> Iterator[None]:
    yield
    plt.close("all")


@pytest.fixture(scope="module")
def measured() -> tuple[np.ndarray, dict[str, np.ndarray], dict[str, dict]]:
    """Truth, a score for every detector (the naive rule says yes or no), and what they are worth."""
    rng = np.random.default_rng(0)
    truth = (rng.random(1_000) < 0.05).astype(int)
    scores = {name: rng.random(1_000) + i * truth for i, name in enumerate(plots.DETECTORS)}
    scores["seed_rules"] = rng.random(1_000) < 0.1
    return truth, scores, evaluation.evaluate(truth, scores, np.arange(truth.sum()))


def code(stage: str) -> Iterator[ast.AST]:
    """Every node of a notebook's code, the first cell apart, which calls git and pip by magics."""
    cells = [cell.source for cell in NOTEBOOKS[stage].cells if cell.cell_type == "code"][1:]
    return ast.walk(ast.parse("\n".join(cells)))


def names(axis: plt.Axes) -> list[str]:
    return [label.get_text() for label in axis.get_yticklabels()]


def lab(colour: str, eye: str) -> np.ndarray:
    """CIE L*a*b* of a colour as such an eye sees it; a distance of 10 is easily seen."""
    rgb = np.array(to_rgb(colour))
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    seen = np.clip(np.fromstring(EYES[eye], sep=" ").reshape(3, 3) @ linear, 0, 1)
    to_xyz = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]])
    xyz = to_xyz @ seen / [0.9505, 1, 1.089]
    x, y, z = np.where(xyz > 0.008856, np.cbrt(xyz), 7.787 * xyz + 16 / 116)
    return np.array([116 * y - 16, 500 * (x - y), 200 * (y - z)])


def test_colours_differ_for_every_eye():
    for palette, eye in itertools.product((plots.DETECTORS, plots.LABELS), EYES):
        pairs = itertools.combinations([lab(colour, eye) for _, colour in palette.values()], 2)
        assert min(np.linalg.norm(one - other) for one, other in pairs) > 12, eye


def test_bars_and_dots_have_the_detectors_colours(measured):
    turned = dict(reversed(measured[2].items()))
    (axis,) = n06.average_precision(turned).axes
    assert dict(zip(names(axis), (line.get_color() for line in axis.lines), strict=True)) == COLOURS
    order = sorted(turned, key=lambda name: turned[name]["average_precision"])
    assert names(axis) == [plots.DETECTORS[name][0] for name in order] and axis.yaxis_inverted()
    (axis,) = n06.frauds_found({"supervised": 9, "rules": 3, "detector": 5}, 10, 9, guess=4).axes
    drawn = zip(names(axis), (to_hex(bar.get_facecolor()) for bar in axis.patches), strict=True)
    assert list(drawn) == [plots.DETECTORS[name] for name in ("rules", "detector", "supervised")]
    legend = [text.get_text() for text in axis.get_legend().get_texts()]
    assert legend == ["ceiling of the budget: 9", "your guess: 4"] and axis.yaxis_inverted()
    fits = pd.DataFrame({"variant": [*n06.VARIANTS, "detector", "supervised", "no refinement"]})
    fits = fits.assign(start=0, found=1, average_precision=np.linspace(0.1, 0.9, len(fits)))
    alone = pd.concat([fits, fits[:1].assign(variant="of one side alone", average_precision=0.99)])
    figure = n06.ablation({"seen (six)": fits, "not": alone}, "detector")
    said = ": 1 of 6 variants on seen, 1 of 6 variants on not"
    assert figure.get_suptitle().replace("\n", " ").endswith(said)
    dots = figure.axes[0].collections[-1]
    known = [plots.DETECTORS[name][1] for name in (*n06.VARIANTS.values(), "detector", "supervised")]
    assert [to_hex(colour) for colour in dots.get_facecolor()] == [*known, "#ffffff"]


def test_curves_have_the_detectors_colours(measured):
    truth, scores, detectors = measured
    budgets = {name: entry["budget"] for name, entry in detectors.items()}
    legend = n06.precision_recall(truth, scores, budgets).axes[0].get_legend()
    drawn = zip(legend.get_texts(), legend.get_lines(), strict=True)
    assert {text.get_text(): line.get_color() for text, line in drawn} == COLOURS


def test_every_figure_is_drawn_beside_its_notebook_and_every_function_there_draws_one():
    """Its name is the figure's, so mending one is one grep; its docstring is the alternative text."""
    figures: list[str] = []
    for stage in NOTEBOOKS:
        module = f"n{stage[:2]}"
        calls = [node for node in code(stage) if isinstance(node, ast.Call)]
        shown = [ast.unparse(call.args[0]) for call in calls if ast.unparse(call.func) == "run.show"]
        made = [one for one in vars(importlib.import_module(module)).values() if inspect.isfunction(one)]
        made = [one for one in made if one.__module__ == module and one.__annotations__["return"] is Figure]
        assert sorted(shown) == sorted(f"{module}.{one.__name__}" for one in made if one.__doc__), stage
        figures += [one.__name__ for one in made]
    assert len(figures) == len(set(figures))
    assert {path.stem for path in (RESULTS / "figures").glob("*.png")} <= set(figures)


def test_what_06_says_of_seen_and_unseen_windows_is_what_the_tables_say():
    fits, fresh = (pd.read_csv(RESULTS / f"{name}.csv") for name in ("sweep", "unseen"))
    assert set(n06.VARIANTS) <= set(fits["variant"])
    fresh = evaluation.verdicts(fresh.rename(columns={"detector": "variant"}).dropna(subset="verdict"))
    table = evaluation.verdicts(fits[fits["seed"] == 0])
    prose = " ".join(cell.source for cell in NOTEBOOKS["06_evaluation"].cells if cell.cell_type == "markdown")
    for side in (table, fresh):
        found = side.loc[["detector", "distance only"], "frauds found"]
        assert "{} frauds to {}".format(*found.sort_values(key=lambda many: -many.astype(int))) in prose
    assert fresh.loc["distance only", "better"] == "6" and fresh.loc["classifier alone", "worse"] == "7"
    table = table[["worse", "cannot tell", "better"]].astype(int)
    worse = {"isolation forest": 6, "autoencoder only": 6, "distance only": 1}
    worse |= {"undecided left out": 2, "undecided counts as normal": 4, "classifier with votes": 2}
    assert table["worse"][list(worse)].to_dict() == worse
    asked = ["labels by majority", "without autoencoder", "classifier without score features"]
    asked += ["classifier with votes", "undecided left out", "undecided counts as normal"]
    assert not table["better"][asked].any()


@pytest.fixture
def another_budget(monkeypatch) -> None:
    """Eight alerts in 2,000 events, which nothing may have written down otherwise."""
    assert f"{100 - 100 * BUDGET:g}%" == n04.WITHIN
    monkeypatch.setitem(plt.rcParams, "figure.max_open_warning", 0)
    another = {"ALERTS": 8, "BLOCK": 2_000, "BUDGET": 0.004, "WITHIN": "99.6%"}
    for module, name in itertools.product((plots, n01, n02, n04, n06, n07), another):
        if hasattr(module, name):
            monkeypatch.setattr(module, name, another[name])


def test_checkers_follow_the_budget(another_budget, capsys):
    numbers, burst = pd.Series(range(4_000)), pd.DataFrame({"burst": np.arange(4_000) % 40})
    n02.check_2b(lambda values: values.quantile(0.96), numbers)
    n02.check_2b(lambda values: values.quantile(0.996), numbers)
    n02.check_2c(lambda signals, thresholds: signals["burst"] > 1, burst, {})
    wide, right, rule = capsys.readouterr().out.splitlines()
    assert wide.endswith("the budget is 8. 8 of 2,000 is 0.4 %, not 4 %.")
    assert "right. 8 of 2,000 events of the training set are farther" in right
    assert "flags 1900 of 2,000 events. Analysts can look at 8; ask for something rarer" in rule


def test_titles_are_computed_and_follow_the_budget(another_budget):
    index, half = pd.RangeIndex(4_000), np.arange(4_000) % 2 == 0
    values = {"rules": (0.4, [0.1, 0.5]), "detector": (0.5, [0.3, 0.6]), "supervised": (0.9, [0.8, 1])}
    keys = ("average_precision", "average_precision_ci")
    entries = {name: dict(zip(keys, pair, strict=True)) for name, pair in values.items()}
    one, other = [3.0, 0, 0, 1], [0, 2.0, 2, 0]
    misfit = np.array([one, one, other, one]), np.array([900, 100, 5, 400]), list("abcd")
    missed = {"spent": np.arange(6) == 3, "inside": np.arange(6) > 3}
    points, curve = np.array([[8.0, 0], [9, 0], [0, 0], [8, 1], [8, 0]]), [[0, 3, 3], [20, 2, 1], [40, 1, 2]]
    pushes = pd.DataFrame({"seed 0": [3.0, 1, -9], "seed 1": [1, -2.0, -9], "seed 2": [2.0, 1, -9]})
    pushes.index = ["V1", "V2", "base_value"]
    votes = pd.DataFrame({"votes": [9.0, 7], "shuffled": [1, 0.9], "consecutive": [0, 0.9]}, ["a", "b"])
    summary = {"Coverage": [0.1, 0.8], "Overlaps": [0.06, 0.4], "Conflicts": [0.02, 0.08]}
    summary, six = pd.DataFrame(summary, ["rare", "wide"]), np.array([0, 0, 0, -1, -1, 1])
    errors = np.arange(1.0, 5), np.array([1, 0, -1, 1]), 3.0
    lies = np.arange(1.0, 7), np.array([0, 0, 1, 1, 1, 1]), missed
    tables = [pd.read_csv(RESULTS / f"{name}.csv") for name in ("stream", "wrong")]
    found = {"autoencoder_all_rows": 0.5, "autoencoder": 0.75}
    said = {
        "amount in euro, median of 2,000 events": n01.chronological_split(index.to_frame(name="Amount"), 9),
        "flags 1000 of 2,000 events; the budget is 8 | event": n02.naive_rule(half, index),
        "Others contradict 20% of the votes of rare": (split := n02.rule_votes(summary, guess=0.3)),
        "Of 6 events 1 are suspicious and 2 stay undecided": (labels := n02.label_counts(six, guess=4)),
        "2 look-alikes among the last 3 events (blue); 1 are": n03.look_alikes(points, points[:, 0] > 3, 3),
        "a: 0 of 2 values before the line move": n03.past_only(
            *(pd.DataFrame({"a": [1, 1, new], "b": [1, new, new]}) for new in (1, 5)), change=2
        ),
        "20 examples: validation lowest 1.000, last 2.000": n04.training_curves({20: curve, 30: curve}),
        "finds 75% of the suspects if trained on presumed normals, 50% on all": n04.suspects_found(found),
        "1 of the 2 suspicious events are rebuilt worse than 99.6%": n04.errors_by_label(*errors),
        "3 of the 4 largest errors are of one pattern, within 800": (patterns := n04.badly_rebuilt(*misfit)),
        "a classifier reaches an F1 of 0.90, which": n05.circularity({"naive_classifier": 0.9}),
        "1 of 2 rules can be copied with an F1 above 0.8": n05.copied_votes(votes, guess=0.3),
        "event 1,234 has 2 strongest reasons (V1, V2); 74% of the highest": n05.seeds(pushes, 0.74, 1_234),
        "is 0.50, and its interval of 0.30 to 0.60 overlaps those of 1 of": n06.average_precision(entries),
        "3 of 4 frauds are missed: spent\u00a01, inside\u00a02": (lie := n06.where_frauds_lie(*lies)),
        "the learner stops 29.5 frauds instead of 39.5": n07.wrong_reviews(*tables, guess=40),
        "1 of 3 blocks exceed the limit, and 0 of a": n07.drift_by_block(pd.Series([0.4, 1.2, 1]), 1.0, 0),
    }
    for sentence, figure in said.items():
        axes = figure.axes[0]
        parts = figure.get_suptitle() or axes.get_title(loc="left"), axes.get_xlabel(), axes.get_ylabel()
        assert sentence in " | ".join(parts).replace("\n", " ")
    lines = [line for figure in said.values() for line in figure.axes[0].lines]
    at = [tuple(line.get_xydata()[0]) for line in lines if "alert budget" in line.get_label()]
    assert at == [(0, 8)]
    assert [bar.get_width() for bar in labels.axes[0].patches] == [1, 2, 3]
    widths = [bar.get_width() for bar in split.axes[0].patches]  # against others; then with; then alone
    np.testing.assert_allclose(widths, [0.2, 0.1, 0.4, 0.4, 0.4, 0.5])
    assert split.axes[0].lines[-1].get_label() == "your guess: 0.3"
    assert names(patterns.axes[0]) == ["5", "100", "400", "900"]
    assert names(lie.axes[1]) == ["legitimate (2)", "spent (1)", "inside (2)", "found (1)"]
    assert [bar.get_width() for bar in lie.axes[0].patches] == [1, 2, 1]


def test_a_tree_counts_the_labels_in_every_box_and_outlines_the_path_of_one_event():
    seen, labels = np.array([[0.0, 0], [1, 0], [1, 1], [1, 1]]), [0, 0, 1, 1]
    tree = DecisionTreeClassifier(random_state=0).fit(seen, labels, [1, 0.1, 1, 1])
    figure = n05.one_tree(tree, ["a", "b"], seen[1], 1_234)
    boxes = {text.get_text(): text.get_bbox_patch() for text in figure.axes[0].texts if text.get_bbox_patch()}
    said = ["b <= 0.5?\nlabelled suspicious: 2\nothers: 2", "labelled suspicious: 0\nothers: 2"]
    assert list(boxes) == [*said, "labelled suspicious: 2\nothers: 0"]
    assert [to_hex(box.get_edgecolor()) == plots.VIOLET for box in boxes.values()] == [True, True, False]
    found = "With 1 questions we collect 2 of 2 suspicious events and 0 others; outlined: the path of event "
    assert figure.axes[0].get_title(loc="left").replace("\n", " ") == f"{found}1,234"
