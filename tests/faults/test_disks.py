"""A disk that fills up and a folder that cannot be written, for real: small file systems of our own."""

from __future__ import annotations

import subprocess
import sys

import pytest
from sandbox import last_line, with_mounts
from toys import env, write_toys

FULL = 'mount -t tmpfs -o size=9m none "$folder"; head -c "$TAKEN" /dev/zero > "$folder/taken"'
RUN = [sys.executable, "-m", "course", "run"]


@pytest.mark.parametrize("free", [4_096, 28_672, 45_056])
def test_a_disk_that_fills_up_in_mid_run_is_one_sentence(tmp_path, free):
    """The same command, given space, then succeeds in the same folder."""
    write_toys(root := tmp_path / "toys", count=2)
    (disk := tmp_path / "disk").mkdir()
    again = 'python="$1"; "$@"; code=$?; rm "$0/taken"; "$@"; exit "$code"'
    command = ["sh", "-c", again, disk, *RUN, "--out", disk / "run"]
    done = subprocess.run(
        with_mounts(FULL, disk, *command),
        cwd=root,
        env=env() | {"TAKEN": str(9 * 1024**2 - free)},
        capture_output=True,
        encoding="utf-8",
        timeout=600,
    )
    said = [line for line in done.stderr.replace("\r", "\n").split("\n") if "No space left" in line]
    assert done.returncode == 1 and len(said) == 1 and "Traceback" not in done.stderr
    assert "free some space or choose another folder." in said[0] and str(disk) in said[0]
    assert last_line(done.stdout).startswith("Artifacts, executed notebooks, figures and summary lie in")


READ_ONLY = 'mount --bind "$folder" "$folder"; mount -o remount,bind,ro "$folder"'


@pytest.mark.parametrize("command", ["run", "results", "notebooks", "reference"])
def test_a_read_only_clone_is_one_sentence(tmp_path, command):
    write_toys(root := tmp_path / "toys", count=1)
    done = subprocess.run(
        with_mounts(READ_ONLY, root, *RUN[:-1], command),
        cwd=root,
        env=env(),
        capture_output=True,
        encoding="utf-8",
        timeout=600,
    )
    assert done.returncode == 1 and done.stderr.count("\n") == 1
    assert done.stderr.startswith(f"Cannot write into {root}")
    assert "(Read-only file system); free some space or choose another folder." in done.stderr


def test_a_read_only_clone_runs_into_another_folder(tmp_path):
    write_toys(root := tmp_path / "toys", count=2)
    out = tmp_path / "elsewhere"
    done = subprocess.run(
        with_mounts(READ_ONLY, root, *RUN, "--out", out),
        cwd=root,
        env=env(),
        capture_output=True,
        encoding="utf-8",
        timeout=600,
    )
    assert done.returncode == 0, done.stderr
    assert (out / "artifacts" / "votes.parquet").is_file()
