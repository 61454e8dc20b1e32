"""Notebook 8, past one machine: what the measurements say, figures, serving until a kill, checkers."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from checker import Off, as_number, ask, checker, close, compare, off_if, only_if_no_slip
from helpers import plots, spark
from helpers.files import CourseError, load_json
from helpers.settings import RESULTS, ROOT

TABLE = RESULTS / "scaling.json"
ONE, SPARK = "one process", "Spark, 2 cores"


def table() -> pd.DataFrame:
    """What `make scale` measured last, one row each, with events_per_s and total_s, start-up included."""
    rows = pd.DataFrame(load_json(TABLE)["measured"])
    speed, total = rows["events"] / rows["work_s"], rows["start_s"] + rows["work_s"]
    return rows.assign(events_per_s=speed, total_s=total)


def growth(measured: pd.DataFrame, guess: float | None = None) -> Figure:
    """Seconds, start-up included, and peak memory of one process and of Spark against the events."""
    figure, (time, memory) = plt.subplots(2, 1, figsize=(7.5, 5.6), sharex=True)
    seconds = measured.pivot(index="events", columns="path", values="total_s")
    ahead = seconds.index[seconds[SPARK] < seconds[ONE]]
    title = f"Up to {seconds.index.max():,} events Spark on 2 cores is never done first"
    if len(ahead):
        title = f"Spark on 2 cores is done first with {ahead.min():,} events"
    time.set(title=title, ylabel="seconds (log scale)", yscale="log")
    memory.set(title="Memory at its peak", ylabel="MB")
    for path, colour in ((ONE, plots.BLUE), (SPARK, plots.GREEN)):
        rows = measured[measured["path"] == path]
        time.plot(rows["events"], rows["total_s"], "o-", color=colour, label=path)
        memory.plot(rows["events"], rows["peak_mb"].astype(float), "o-", color=colour)
    memory.set(xscale="log", xlabel="events (log scale)", ylim=0)
    time.set_ylim(1)
    time.yaxis.set(major_formatter="{x:g}", minor_formatter="")
    memory.xaxis.set(major_formatter="{x:,.0f}", minor_formatter="")
    plots.guessed(time, guess)
    return figure


def serve_and_kill(detector: Path, folder: Path, batches: int, seconds: float = 0.0, **options: Any) -> int:
    """Serve, with the `options` of `serve`, in a process of its own and kill it, Java and all, so long after
    so many micro-batches; gives how many were finished."""
    job = json.dumps({"detector": str(detector), "folder": str(folder), "options": options})
    command = [sys.executable, "-c", "from helpers import runs; import n08; n08._serve_job()", job]
    finished = folder / "checkpoint" / "commits"
    with (folder / "killed.log").open("wb") as log:
        streams = {"stdin": subprocess.DEVNULL, "stdout": log, "stderr": log}
        child = subprocess.Popen(command, cwd=ROOT, start_new_session=True, **streams)
        try:
            while child.poll() is None and not (finished / str(batches - 1)).exists():
                time.sleep(0.02)
            time.sleep(seconds)
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(child.pid, signal.SIGKILL)
    if child.wait(timeout=60) > 0:
        last = (folder / "killed.log").read_text().strip().splitlines()[-1]
        raise CourseError(last.removeprefix("helpers.files.CourseError: "))
    return sum(path.name.isdigit() for path in finished.iterdir())


def _serve_job() -> None:
    job = json.loads(sys.argv[1])
    folder = Path(job["folder"])
    spark.serve(spark.session(2, folder), Path(job["detector"]), folder, **job["options"])


@checker
def check_8a(attempt: Callable) -> str:
    """From how many events on the faster starter is overtaken."""
    for start, slow, fast in ((10.0, 100_000, 250_000), (30.0, 50_000, 80_000)):
        slips = {
            "This is a time; multiply by a speed to get events.": start / (1 - slow / fast),
            "By then one process has done so many; Spark still has all of them to do.": start * slow,
            "This is as if one process handled nothing while Spark starts.": start * fast,
            "Compare the seconds for one event, not the events in one second.": start * (fast - slow),
        }
        where = f"For {start:g} s, {slow:,} and {fast:,} events a second:"
        compare(as_number(ask(attempt, start, slow, fast)), start / (1 / slow - 1 / fast), slips, where)
    never = "If Spark is not faster it never catches up, not even where both are as fast: give np.inf."
    for fast in (100_000, 200_000):
        answer = ask(attempt, 10.0, 200_000, fast)
        off_if(np.ndim(answer) or answer != np.inf, never)
    return "right. Below that number the start-up is all that one notices."


@checker
def check_8b(attempt: Callable) -> str:
    """What a key's state holds after a micro-batch."""
    for state, new, size in (
        ([3, 5, 8], [9, 12], 4),
        ([3, 5], [7], 4),
        ([3, 5, 8, 9], [11, 12, 15, 20, 21], 4),
    ):
        state, new = np.array(state), np.array(new)
        both = np.concatenate([state, new])
        slips = {
            "This forgets what the state held; some of it is still among the latest events.": new[-size:],
            "This leaves out the new events.": state[-size:],
            "This state grows with every micro-batch; it may hold `size` events at most.": both,
            "These are the oldest events; the state holds the latest.": both[:size],
        }
        answer = np.asarray(ask(attempt, state, new, size))
        if not close(answer, both[-size:], 0):
            only_if_no_slip(answer, slips)
            given = f"the state {state.tolist()}, the new events {new.tolist()} and a size of {size}"
            raise Off(f"For {given} it gives {answer.tolist()}.")
    return "right. However long the stream, the state of a market stays this small."
