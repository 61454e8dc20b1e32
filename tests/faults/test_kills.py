"""kill -9 at random moments of `course run` and `course notebooks`, on toy notebooks."""

from __future__ import annotations

import contextlib
import random
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import nbformat
import psutil
import pytest
from sandbox import files
from toys import TOYS, env, load, read_json, run_course, write_toys

COUNT = 2  # notebooks: enough for one to read what the other handed over


def kill_after(seconds: float, root: Path, kernels: bool, command: str) -> tuple[bool, list[psutil.Process]]:
    """Start the command and kill it, alone or with its kernels; says whether, and what it leaves behind."""
    run = psutil.Popen(
        [sys.executable, "-m", "course", command],
        cwd=root,
        env=env(),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    orphans = []
    try:
        run.wait(seconds)
    except psutil.TimeoutExpired:
        with contextlib.suppress(psutil.NoSuchProcess):
            orphans = run.children(recursive=True)
            for process in (run, *(orphans if kernels else ())):
                with contextlib.suppress(psutil.NoSuchProcess):
                    process.kill()
    code = run.wait(timeout=60)
    assert code in (0, -signal.SIGKILL), f"after an earlier kill, {command} ended with {code}"
    return code == -signal.SIGKILL, orphans


def kill_often(
    kills: int, whole: float, moments: random.Random, root: Path, kernels: bool, command: str, check
) -> None:
    """Kill a command of some seconds that often, over what the last kill left; then let it end."""
    while kills:
        begin = time.monotonic()
        killed, orphans = kill_after(moments.uniform(0.1, whole), root, kernels, command)
        kills -= killed
        if not killed:  # the machine was busier when it was measured
            whole = time.monotonic() - begin
        try:
            check()
        except Exception:
            gone, alive = psutil.wait_procs(orphans, timeout=60)  # a kernel may have been handing over
            assert gone and not alive, "there is nobody else who could have written"
            check()
    seconds_of(root, command)


def seconds_of(root: Path, *arguments: str) -> float:
    """How long the whole command takes here."""
    begin = time.monotonic()
    done = run_course(root, *arguments)
    assert done.returncode == 0, done.stderr
    return time.monotonic() - begin


def assert_nothing_wrong_is_read(root: Path) -> None:
    """What a kill leaves is whole, or is missing and will be made again."""
    toy, folder = load(root), root / "runs" / "default"
    manifest = toy.read_manifest(folder)
    assert set(manifest) <= set(TOYS)
    for stage, entry in manifest.items():
        for name in entry["outputs"]:
            assert toy.checked_artifact(folder, name)[0].is_file(), (stage, name)


def kill_runs(root: Path, kernels: bool, kills: int, moments: random.Random) -> None:
    """Kill `course run` in one folder; the last run hands over what an undisturbed one does."""
    write_toys(root, COUNT)
    committed = {name: files(root / name) for name in ("notebooks", "tests")}
    whole = seconds_of(root, "run")
    expected = read_json(root / "runs/default/manifest.json")
    kill_often(kills, whole, moments, root, kernels, "run", lambda: assert_nothing_wrong_is_read(root))
    assert read_json(root / "runs/default/manifest.json") == expected
    assert not list((root / "runs").rglob("*.tmp")) and not list((root / "runs").rglob(".tmp-*"))
    assert {name: files(root / name) for name in committed} == committed


def kill_notebooks(root: Path, kernels: bool, kills: int, moments: random.Random) -> None:
    """Kill `course notebooks`; every notebook stays the old one or becomes the new one."""
    write_toys(root, COUNT)
    old = files(root / "notebooks")
    whole = seconds_of(root, "notebooks")
    new = files(root / "notebooks")
    assert old.keys() == new.keys() and old != new
    for name, content in old.items():
        (root / "notebooks" / name).write_bytes(content)

    def check() -> None:
        for name in old:
            assert (root / "notebooks" / name).read_bytes() in (old[name], new[name])
            nbformat.validate(nbformat.read(root / "notebooks" / name, as_version=4))

    kill_often(kills, whole, moments, root, kernels, "notebooks", check)
    assert files(root / "notebooks") == new


JOBS = {
    "run alone": (kill_runs, False, 10),
    "run with its kernels": (kill_runs, True, 10),
    "notebooks": (kill_notebooks, True, 10),
}


@pytest.fixture(scope="module")
def killed(tmp_path_factory: pytest.TempPathFactory):
    """The jobs, two at a time."""
    root, seed = tmp_path_factory.mktemp("kills"), time.time_ns()
    print("moments from seed", seed)
    with ThreadPoolExecutor(2) as pool:
        yield {
            name: pool.submit(kill, root / name, *how, random.Random(f"{seed} {name}"))
            for name, (kill, *how) in JOBS.items()
        }


@pytest.mark.parametrize("name", JOBS)
def test_after_every_kill_all_is_whole_and_the_next_run_works(killed, name):
    killed[name].result()
