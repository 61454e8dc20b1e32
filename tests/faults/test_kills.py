"""kill -9 at random moments of `course run`, on toy notebooks."""

import contextlib
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
from sandbox import files
from toys import env, modules, run_course, write_toys

STAGES = ("01_data_loading", "02_heuristic_labels")  # enough for one to read what the other handed over


def test_after_every_kill_of_it_alone_all_is_whole_and_the_next_run_works(tmp_path):
    root = write_toys(tmp_path / "toys", len(STAGES))
    begin, folder, runs = time.monotonic(), root / "runs" / "default", modules(root)["helpers.runs"]
    assert run_course(root, "run").returncode == 0
    whole, expected = time.monotonic() - begin, files(folder / "artifacts")
    moments, kills = random.Random(seed := time.time_ns()), 0
    print("moments from seed", seed)
    while kills < 6:
        killed, orphans = kill_after(moments.uniform(0.1, whole), root)
        kills += killed
        psutil.wait_procs(orphans, timeout=60)  # a kernel goes on until it finds that nobody is there
        for stage in STAGES:
            if runs.is_there(folder, stage):
                for name in runs.record(folder, stage)["outputs"]:
                    assert runs.checked_artifact(folder, name)[0].is_file(), (stage, name)
    done = run_course(root, "run")
    assert done.returncode == 0, done.stderr
    assert files(folder / "artifacts") == expected


def kill_after(seconds: float, root: Path) -> tuple[bool, list[psutil.Process]]:
    """Start the command and kill it, without its kernels; says whether, and what it leaves behind."""
    command = [sys.executable, "-m", "course", "run"]
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    run, orphans = psutil.Popen(command, cwd=root, env=env(), **quiet), []
    try:
        run.wait(seconds)
    except psutil.TimeoutExpired:
        with contextlib.suppress(psutil.NoSuchProcess):
            orphans = run.children(recursive=True)
            run.kill()
    code = run.wait(timeout=60)
    assert code in (0, -signal.SIGKILL), f"after an earlier kill, the command ended with {code}"
    return code == -signal.SIGKILL, orphans
