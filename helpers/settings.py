"""Every number and name that more than one lesson uses, once. Change one here, then run `make all`."""

from pathlib import Path

COURSE = "domain-driven-anomaly-detection"
ROOT = Path(__file__).resolve().parents[1]
IN_COURSE = (ROOT / "notebooks").is_dir()  # False where pip has installed the helpers alone
NOTEBOOKS = ROOT / "notebooks" if IN_COURSE else Path(__file__).parent / "notebooks"
RUNS = ROOT / "runs" if IN_COURSE else Path("runs")  # in the working folder
RESULTS = ROOT / "results"  # what a reader without Python looks at; written by course/ alone
REFERENCE = RESULTS / "reference.json"  # what checkpoints compare with

AXES = [f"V{i}" for i in range(1, 7)]  # behaviour axes: principal components, no unit
COLUMNS = ["Amount", *AXES]

WINDOW_ROWS = 50_000  # events that one run looks at
WINDOWS = (0, 50_000)  # first events of the two windows that the snapshot holds
TRAIN_SHARE = 0.6  # the first part of a window trains, the rest tests

ALERTS = 5  # what analysts can look at ...
BLOCK = 1_000  # ... of so many consecutive events: the alert budget
BUDGET = ALERTS / BLOCK
BUDGET_IN_WORDS = f"{ALERTS} of every {BLOCK:,} events"
WINDOW = 1_000  # events that count as "recent"
DELAY = 1_000  # events between an alerted event and its review
REPORTED = 10_000  # events until a customer complains of a fraud that nobody reviewed
EXPLORE = 25  # reviews without any fraud after which one more alert of a block goes to novel events
KEEP = REPORTED + 2 * BLOCK  # of the latest events that the learner remembers, reviewed or not
REVIEWED = 100 * ALERTS  # of the latest reviewed ones, however old
WARM_UP = 10_000  # events that the learner is fitted on before its first alert

UNUSUAL_SD = 3.0  # robust standard deviations beyond which one axis is out of the ordinary
UNUSUAL_AXES = 2  # axes that must be out of the ordinary before an event is
UNUSUAL_SHARE = 0.1  # no more of a training set may be called unusual
CLUSTERS = 10  # groups that ordinary events may form, before those below the alert budget's share go
MIXTURES = 3  # fits whose densities are averaged, because where a fit begins is chance
DOUBT = 0.1  # weight of an undecided event among the normal ones; chosen with labels in view
CONTAMINATED = 0.25  # share of a cluster that experts flag, from which it is none; chosen with labels in view
EXAMPLE = 42_635  # place of the event that notebooks 3 to 6 follow; a shorter window takes its last one
RADIUS = 0.25  # "similar": within a quarter of the event's own length; chosen with labels in view
REPEAT_RADIUS = RADIUS / 5  # "near-identical"
