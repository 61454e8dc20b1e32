"""A measurement in a process of its own, which ends with its parent."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import threading
from pathlib import Path

from helpers.settings import ROOT


def run(module: str, *arguments: str, log: Path, limit: float, **variables: str) -> str | None:
    """Run `python -m module arguments` to its end; gives one sentence if it failed.

    Args:
        log: gets all that it prints; the last line of that is the sentence.
        limit: seconds, after which it is ended.
        variables: of its environment.
    """
    paths = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
    environment = os.environ | {"PYTHONPATH": paths, "PYTHONUTF8": "1"} | variables
    command = [sys.executable, "-m", module, *arguments]
    pipes = {"stdin": subprocess.PIPE, "stderr": subprocess.STDOUT, "start_new_session": True}
    with log.open("wb") as out, subprocess.Popen(command, env=environment, stdout=out, **pipes) as child:
        try:
            code = child.wait(limit)
        except subprocess.TimeoutExpired:
            return f"exceeded its limit of {limit:g} s"
        finally:
            child.kill()
    if code == 0:
        return None
    if code < 0:
        return f"was ended by signal {-code}, often for lack of memory"
    last = log.read_text(encoding="utf-8", errors="replace").strip().rpartition("\n")[2]
    return last or f"ended with code {code}"


def begin() -> None:
    """In the child: react to Ctrl-C whatever the parent does, and end when standard input does."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
    threading.Thread(target=_leave_with_parent, daemon=True).start()


def _leave_with_parent() -> None:
    os.read(sys.stdin.fileno(), 1)
    os._exit(1)


def sentence(error: Exception) -> str:
    """What a child prints last about its failure."""
    return f"{type(error).__name__}: {' '.join(str(error).split())[:160]}"


def peak_mb(family: bool = False) -> float | None:
    """Largest resident memory of this process so far, in MB; None where the system does not tell.

    Args:
        family: add the peaks of all processes below it.

    Not getrusage where Linux has better: it counts the parent's memory between fork and exec too.
    """
    if Path("/proc/self/status").exists():
        peaks = _peaks()
        chosen = {os.getpid()}
        while family and (more := {pid for pid, (parent, _) in peaks.items() if parent in chosen} - chosen):
            chosen |= more
        return sum(peaks[pid][1] for pid in chosen) / 1024
    try:
        import resource
    except ImportError:
        return None
    return None if family else resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20


def _peaks() -> dict[int, tuple[int, int]]:
    """Every process's parent and peak in kB."""
    found = {}
    for status in Path("/proc").glob("[0-9]*/status"):
        try:
            text = status.read_text()
        except OSError:  # it has ended meanwhile
            continue
        peak = re.search(r"^VmHWM:\s+(\d+)", text, re.M)
        parent = re.search(r"^PPid:\s+(\d+)", text, re.M)
        found[int(status.parent.name)] = int(parent[1]), int(peak[1]) if peak else 0
    return found
