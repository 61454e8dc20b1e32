"""The machinery behind the notebooks: thin, one module per concept, no prose."""

from pathlib import Path

COURSE = "domain-driven-anomaly-detection"
ROOT = Path(__file__).resolve().parents[1]
