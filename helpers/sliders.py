"""Sliders for notebooks that are open in front of somebody; each moves a figure that also stands alone."""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from helpers import evaluation, plots

if TYPE_CHECKING:
    import ipywidgets


def budget_figure(
    truth: np.ndarray, score: np.ndarray, name: str, start: int, per: int, review: float, missed: float
) -> Figure:
    """A detector under one alert budget: confusion matrix, precision and recall, cost.

    Args:
        truth: (n,) of 0 and 1.
        score: (n,) of the detector, higher = riskier.
        name: the detector, one of `plots.DETECTORS`.
        start: number of the first event.
        per: alerts in 1,000 events, 1 to 50.
        review: euro for looking at one alert, an assumption.
        missed: euro for one missed fraud, an assumption.
    """
    curve = evaluation.budget_curve(truth, score, start)
    cost = evaluation.budget_cost(curve, review, missed)
    return plots.budget_choice(curve, cost, per, name, nothing=float(np.sum(truth) * missed))


def rule_threshold(signal: pd.Series, threshold: float) -> ipywidgets.interactive:
    """Move a rule's threshold and see how many events it accuses."""
    import ipywidgets

    slider = ipywidgets.FloatSlider(
        value=threshold, min=0, max=float(signal.max()), step=0.5, continuous_update=False
    )
    return _shown(lambda threshold: plots.rule_coverage(signal, threshold), threshold=slider)


def alert_budget(
    truth: np.ndarray, scores: Mapping[str, np.ndarray], start: int, review: float, missed: float
) -> ipywidgets.interactive:
    """Move the alert budget, choose the detector and state other costs; arguments as `budget_figure`."""
    import ipywidgets

    ranked = {plots.DETECTORS[name][0]: name for name in reversed(scores) if scores[name].dtype != bool}
    return _shown(
        lambda detector, **choice: budget_figure(truth, scores[detector], detector, start, **choice),
        detector=ipywidgets.Dropdown(options=list(ranked.items()), value="judge"),
        per=ipywidgets.IntSlider(value=5, min=1, max=50, continuous_update=False),
        review=ipywidgets.BoundedFloatText(value=review, min=0, max=1e6, description="euro / review"),
        missed=ipywidgets.BoundedFloatText(value=missed, min=0, max=1e6, description="euro / fraud"),
    )


def _shown(draw: Callable[..., Figure], **controls: Any) -> ipywidgets.interactive:
    """Display controls above the figure that `draw` makes of their values."""
    import ipywidgets
    from IPython.display import Image, display

    def redraw(**values: Any) -> None:
        png = io.BytesIO()
        figure = draw(**values)
        figure.savefig(png, format="png", dpi=100, bbox_inches="tight")
        plots.plt.close(figure)
        display(Image(png.getvalue()))

    control = ipywidgets.interactive(redraw, **controls)
    display(control)
    return control
