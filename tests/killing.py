"""kill -9 at many moments of one action, in the toy repository that is the working directory.

python tests/killing.py ACTION: a child runs the action and is killed at one of its calls, for moments
spread over all of them and over those right after a file was touched. After each kill the action's
own check runs; at the end the number of kills is printed.
"""

from __future__ import annotations

import contextlib
import io
import os
import shutil
import signal
import sys
from collections.abc import Callable
from pathlib import Path

from sandbox import files
from toys import rewrite

from course import __main__ as commands
from course import notebooks as running
from course import results
from helpers import runs
from helpers.settings import ROOT

Check = Callable[[], None]


NEAR = 8  # calls after a file was touched that count as near it


class _Calls:
    """Counts this thread's calls, those right after a touch of a file apart; dies at the chosen one."""

    def __init__(self, fatal: tuple[str, int] = ("", 0)) -> None:
        self.seen, self.fatal, self.near, self.counting = {"any": 0, "near": 0}, fatal, 0, False
        sys.addaudithook(self.touched)

    def touched(self, event: str, arguments: tuple) -> None:
        changes = event in ("os.rename", "os.remove", "os.mkdir", "os.rmdir")
        writes = event == "open" and isinstance(arguments[2], int) and arguments[2] & os.O_CREAT
        if self.counting and (changes or writes):
            self.near = NEAR

    def __call__(self, *_: object) -> None:
        for kind in ("any", "near")[: 1 + (self.near > 0)]:
            self.seen[kind] += 1
            if (kind, self.seen[kind]) == self.fatal:
                os.kill(os.getpid(), signal.SIGKILL)
        self.near -= 1

    def during(self, action: Callable[[], object]) -> dict[str, int]:
        self.counting = True
        sys.setprofile(self)
        try:
            action()
        finally:
            sys.setprofile(None)
            self.counting = False
        return self.seen


def hand_over() -> tuple[Check, Check, Check]:
    """Artifacts of 01, overwritten by those of other settings."""
    folder = runs.run_folder("killed")

    def check() -> None:
        if runs._missing(folder, "02_heuristic_labels"):
            return
        run = runs.Run(folder, "02_heuristic_labels", {})
        events, settings = run.read("events.parquet"), run.settings
        assert len(events) == settings["rows"] and settings["rows"] in (4, 7)

    def prepare() -> None:
        rewrite(runs, folder, rows=4)
        assert runs.Run(folder, "02_heuristic_labels", {}).settings["rows"] == 4
        assert not list((folder / "artifacts").glob(".tmp-*"))

    return prepare, lambda: rewrite(runs, folder, rows=7), check


def _old_or_new(folder: Path, action: Check) -> tuple[Check, Check]:
    old = files(folder)
    action()
    new = files(folder)
    assert old.keys() == new.keys() and old != new

    def prepare() -> None:
        action()  # the next run, over whatever the kill left
        assert files(folder) == new and not list(ROOT.glob(".results*"))
        for name, content in old.items():
            (folder / name).write_bytes(content)

    def check() -> None:
        for name, content in files(folder).items():
            assert name.endswith(".tmp") or content in (old[name], new[name]), name

    return prepare, check


def notebooks() -> tuple[Check, Check, Check]:
    """The committed notebooks, overwritten by re-executed ones; their execution is taken as done."""
    executed = runs.run_folder("default") / "notebooks"

    def execute(stages: list[str], parameters: dict, copies: Path):
        for stage in stages:
            shutil.copyfile(executed / f"{stage}.ipynb", copies / f"{stage}.ipynb")
            yield stage, 0.0

    running.execute = execute

    def action() -> None:
        with contextlib.redirect_stdout(io.StringIO()):
            assert commands.main(["notebooks"]) == 0

    prepare, check = _old_or_new(ROOT / "notebooks", action)
    return prepare, action, check


def publish() -> tuple[Check, Check, Check]:
    """results/, overwritten by those of another run; while two folders are swapped it lies beside."""
    folder = runs.run_folder("default")
    (folder / "summary.md").write_text("another run")
    (folder / "summary.json").write_text("{}")
    prepare, check_results = _old_or_new(ROOT / "results", lambda: results.publish(folder))

    def check() -> None:
        aside = ROOT / ".results.old"
        if not (ROOT / "results").exists():
            os.replace(aside, ROOT / "results")
        check_results()
        contents = set(files(ROOT / "results").values())
        assert not ({b"another run"} <= contents and any(b"# Results" in one for one in contents))

    return prepare, lambda: results.publish(folder), check


def kill_often(prepare: Check, action: Check, check: Check) -> int:
    """Kill the action at some hundred moments; gives how often it was killed."""
    prepare()
    action()
    prepare()
    seen, kills = _Calls().during(action), 0
    steps = {"any": max(1, seen["any"] // 20), "near": max(1, seen["near"] // 80)}
    for kind, step in steps.items():
        for moment in range(1, seen[kind], step):
            prepare()
            child = os.fork()
            if child == 0:
                _Calls((kind, moment)).during(action)
                os._exit(0)
            kills += os.waitpid(child, 0)[1] == signal.SIGKILL
            check()
    prepare()
    return kills


if __name__ == "__main__":
    print(kill_often(*{"hand_over": hand_over, "notebooks": notebooks, "publish": publish}[sys.argv[1]]()))
