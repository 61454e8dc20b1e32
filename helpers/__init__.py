"""The machinery behind the notebooks: thin, one module per concept, no prose."""

COURSE = "domain-driven-anomaly-detection"
