"""A disk that fills up and a folder that cannot be written, for real: small file systems of our own."""

import subprocess
import sys

import pytest
from sandbox import last_line, with_mounts
from toys import env, write_toys

FULL = 'mount -t tmpfs -o size=9m none "$folder"; head -c "$TAKEN" /dev/zero > "$folder/taken"'
READ_ONLY = 'mount --bind "$folder" "$folder"; mount -o remount,bind,ro "$folder"'
RUN = [sys.executable, "-m", "course", "run"]


def run_with(mounts, folder, root, *command, **variables):
    command = with_mounts(mounts, folder, *command)
    quiet = {"capture_output": True, "encoding": "utf-8", "timeout": 600}
    return subprocess.run(command, cwd=root, env=env() | variables, **quiet)


@pytest.mark.parametrize("free", [4_096, 45_056])
def test_a_disk_that_fills_up_in_mid_run_is_one_sentence(tmp_path, free):
    """The same command, given space, then succeeds in the same folder."""
    root = write_toys(tmp_path / "toys", count=2)
    (disk := tmp_path / "disk").mkdir()
    again = 'python="$1"; "$@"; code=$?; rm "$0/taken"; "$@"; exit "$code"'
    command = ["sh", "-c", again, disk, *RUN, "--out", disk / "run"]
    done = run_with(FULL, disk, root, *command, TAKEN=str(9 * 1024**2 - free))
    said = [line for line in done.stderr.replace("\r", "\n").split("\n") if "No space left" in line]
    assert done.returncode == 1 and len(said) == 1 and "Traceback" not in done.stderr
    assert "free some space or choose another folder." in said[0] and str(disk) in said[0]
    assert last_line(done.stdout).startswith("Artifacts, executed notebooks, figures and summary lie in")


@pytest.mark.parametrize("command", ["run", "notebooks"])
def test_a_read_only_clone_is_one_sentence_and_runs_into_another_folder(tmp_path, command):
    root = write_toys(tmp_path / "toys", count=1)
    done = run_with(READ_ONLY, root, root, *RUN[:-1], command)
    said = last_line(done.stderr)
    assert done.returncode == 1 and "Traceback" not in done.stderr
    assert said.startswith(f"Cannot write into {root}") and "(Read-only file system); free some" in said
    if command == "run":
        done = run_with(READ_ONLY, root, root, *RUN, "--out", tmp_path / "elsewhere")
        assert done.returncode == 0, done.stderr
        assert (tmp_path / "elsewhere" / "artifacts" / "events.parquet").is_file()
