"""The sliders: off they import nothing, and each position draws what the static figure would."""

from __future__ import annotations

import subprocess
import sys

import nbformat
import numpy as np
import pandas as pd
import pytest

from helpers import evaluation, plots, runs, sliders

SIGNAL = pd.Series([0, 0, 1, 2, 3, 9], name="burst")


@pytest.fixture
def shown(monkeypatch) -> list:
    """What is displayed, and nothing on the screen."""
    import IPython.display

    displayed: list = []
    monkeypatch.setattr(IPython.display, "display", displayed.append)
    return displayed


def move(control, name: str, value: object) -> None:
    """Set a control and redraw, as the browser does."""
    child = next(child for child in control.children if getattr(child, "description", "") == name)
    child.value = value
    control.update()


def test_the_threshold_slider_draws_the_threshold_it_shows(shown, monkeypatch):
    drawn = []
    real = plots.rule_coverage
    monkeypatch.setattr(plots, "rule_coverage", lambda *values: drawn.append(values[1]) or real(*values))
    control = sliders.rule_threshold(SIGNAL, 2.0)
    assert any(item is control for item in shown)
    slider = control.children[0]
    assert (slider.value, slider.min, slider.max, slider.continuous_update) == (2.0, 0, 9, False)
    move(control, "threshold", 3.5)
    assert drawn[-1] == 3.5 and shown[-1].data.startswith(b"\x89PNG")


def test_the_budget_sliders_draw_what_they_show(shown, monkeypatch):
    drawn = []
    rng = np.random.default_rng(0)
    truth = (rng.random(2_000) < 0.02).astype(int)
    scores = {"seed_rules": truth == 1, "pca": rng.random(2_000), "judge": rng.random(2_000) + truth}
    real = plots.budget_choice
    monkeypatch.setattr(
        plots, "budget_choice", lambda *values, **more: drawn.append((values, more)) or real(*values, **more)
    )
    control = sliders.alert_budget(truth, scores, 0, 5.0, 120.0)
    detector = control.children[0]
    assert dict(detector.options) == {"judge": "judge", "PCA reconstruction": "pca"}
    for name, value in (("per", 7), ("euro / review", 2.0), ("euro / fraud", 50.0), ("detector", "pca")):
        move(control, name, value)
    (curve, cost, per, name), more = drawn[-1]
    expected = evaluation.budget_curve(truth, scores["pca"])
    assert (per, name, more) == (7, "pca", {"nothing": truth.sum() * 50.0})
    pd.testing.assert_frame_equal(curve, expected)
    alerts = evaluation.choose_alerts(scores["pca"], per=7)
    missed = truth.sum() - truth[alerts].sum()
    assert cost[7] == alerts.sum() * 2 + missed * 50 and curve.loc[7, "missed"] == missed


def test_off_they_need_no_ipywidgets():
    sources = []
    for path in sorted((runs.ROOT / "notebooks").glob("0*.ipynb")):
        cells = [cell for cell in nbformat.read(path, 4).cells if cell.cell_type == "code"]
        sources += [cell.source for cell in cells if "if INTERACTIVE" in cell.source]
        (parameters,) = [cell for cell in cells if "parameters" in cell.metadata.get("tags", [])]
        assert ("INTERACTIVE: bool = False" in parameters.source) == any(
            "INTERACTIVE" in cell.source for cell in cells if cell is not parameters
        )
    assert len(sources) >= 2
    without = "import sys; sys.modules['ipywidgets'] = None; INTERACTIVE = False"
    code = "\n".join([without, "from helpers import sliders", *sources, "print('ran')"])
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=runs.ROOT, capture_output=True, text=True, timeout=600
    )
    assert done.stdout == "ran\n", done.stderr
