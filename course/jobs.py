"""A measurement in a process of its own, so that its memory is its own; kept, so that a kill costs little."""

import hashlib
import multiprocessing
import os
import re
import threading
import traceback
from collections.abc import Callable
from contextlib import suppress
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import psutil

from helpers.files import CourseError
from helpers.settings import ROOT


def run(job: Callable[..., Any], given: tuple, log: Path, limit: float | None = None) -> Any:
    """What a function of a module gives in a fresh process, ended with this one or after `limit` seconds.
    `log` gets all that it prints. A CourseError says why it gave nothing, for the end of a sentence."""
    fresh = multiprocessing.get_context("spawn")
    answer, told = fresh.Pipe(duplex=False)
    child = fresh.Process(target=_child, args=(told, log, job, given))
    child.start()
    told.close()
    try:
        if not answer.poll(limit):
            raise CourseError(f"exceeded its limit of {limit:g} s")
        value, reason = answer.recv()
        child.join(60)
    except EOFError:
        child.join()
        raise CourseError(f"was ended with code {child.exitcode}, often for lack of memory") from None
    finally:
        child.kill()
        child.join()
    if reason:
        raise CourseError(reason)
    return value


def _child(told: Connection, log: Path, job: Callable[..., Any], given: tuple) -> None:
    threading.Thread(target=_leave_with_parent, daemon=True).start()
    with log.open("wb") as out:
        os.dup2(out.fileno(), 1)
        os.dup2(out.fileno(), 2)
    try:
        told.send((job(*given), None))
    except Exception as error:
        traceback.print_exc()
        kind = "" if isinstance(error, CourseError) else f"{type(error).__name__}: "
        told.send((None, kind + " ".join(str(error).split())[:200]))


def _leave_with_parent() -> None:
    multiprocessing.parent_process().join()
    os._exit(1)


def kept(folder: Path) -> Callable[..., Any]:
    """`run` that keeps its answers in a folder, which it makes; `known` is what else they depend on, such as
    `code`."""
    from joblib import Memory

    return Memory(folder, verbose=0).cache(_run, ignore=["log", "limit"])


def _run(job: Callable[..., Any], given: tuple, known: Any, log: Path, limit: float | None = None) -> Any:
    return run(job, given, log, limit)


def code(*more: str) -> str:
    """The fingerprint of helpers' sources, and of further files."""
    paths = [*sorted((ROOT / "helpers").glob("*.py")), *(ROOT / name for name in more)]
    return hashlib.sha256(b"".join(path.read_bytes() for path in paths)).hexdigest()


def peak_mb(family: bool = False) -> float | None:
    """Largest resident memory so far of this process, or of it and all below it, in MB; None but on Linux.

    Not getrusage: that counts the parent's memory between fork and exec too.
    """
    own, peaks = psutil.Process(), []
    for process in [own, *(own.children(recursive=True) if family else [])]:
        with suppress(OSError):  # it has ended meanwhile
            peaks += re.findall(r"^VmHWM:\s+(\d+)", Path(f"/proc/{process.pid}/status").read_text(), re.M)
    return sum(map(int, peaks)) / 1024 if peaks else None
