"""A clone of the course that has it hard: awkward path, LANG=C, no network, everything else read-only."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from sandbox import last_line, with_mounts, without_network
from toys import change

from helpers.settings import ROOT

PARTS = ("helpers", "course", "docs", "notebooks", "data", "tests", "results")
PARTS += ("README.md", "Makefile", "requirements.txt")
ROWS = 8_000
ONLY_THREE = 'for one in "$folder"/*/; do mount --bind "$one" "$one"; done; mount -o remount,bind,ro /'


class Clone:
    """A copy of the course whose notebooks 01 and 09 ask for less; beside it a home and temporary files."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.root = folder, folder / "Jürgen's {clone} no 1"
        for name in ("home", "tmp"):
            (folder / name).mkdir()
        ignored = shutil.ignore_patterns("__pycache__", ".*", "faults")
        for name in PARTS:
            if (ROOT / name).is_dir():
                shutil.copytree(ROOT / name, self.root / name, ignore=ignored)
            else:
                shutil.copyfile(ROOT / name, self.root / name)
        change(self.root, "01_data_loading", "ROWS: int = 50_000", f"ROWS: int = {ROWS:_}")
        change(self.root, "09_streaming_sessions", "ACCOUNTS: int = 1_250", "ACCOUNTS: int = 600")
        unset = ("PYTHONPATH", "PYTHONUTF8", "XDG_CONFIG_HOME", "XDG_CACHE_HOME", "MPLCONFIGDIR")
        kept = {k: v for k, v in os.environ.items() if k[:7] != "COURSE_" and k not in unset}
        own = {"HOME": str(folder / "home"), "TMPDIR": str(folder / "tmp"), "PYTHONPATH": str(self.root)}
        self.environment = kept | own | {"LANG": "C", "LC_ALL": "C"}

    def run(self, *command: object, python: object = sys.executable) -> subprocess.CompletedProcess[str]:
        """Run `python COMMAND` here without network, with only the three folders writable."""
        alone = with_mounts(ONLY_THREE, self.folder, *without_network(python, *command))
        quiet = {"stdin": subprocess.DEVNULL, "capture_output": True, "encoding": "utf-8", "timeout": 600}
        return subprocess.run(alone, cwd=self.root, env=self.environment, **quiet)

    def refuses(self, *command: object) -> str:
        """The one sentence with which `python -m course run` fails."""
        done = self.run("-m", "course", "run", *command)
        assert done.returncode == 1 and "Traceback" not in done.stderr, done.stderr
        return last_line(done.stderr)


@pytest.fixture(scope="session")
def clone(tmp_path_factory: pytest.TempPathFactory) -> Clone:
    return Clone(tmp_path_factory.mktemp("faults"))
