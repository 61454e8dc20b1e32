"""A clone of the course that has it hard: awkward path, LANG=C, no network, everything else read-only."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import pytest
from sandbox import last_line, with_mounts, without_network
from toys import change

from helpers.settings import ROOT

PARTS = ("helpers", "course", "docs", "notebooks", "data", "tests", "results")
PARTS += ("README.md", "Makefile", "requirements.txt")
ROWS = 8_000
SMALLER = (
    ("01_data_loading", "ROWS: int = 50_000", f"ROWS: int = {ROWS:_}"),
    ("09_streaming_sessions", "ACCOUNTS: int = 1_250", "ACCOUNTS: int = 600"),
)
COLAB = ROOT / "tests" / "constraints-colab.txt"
PIP = ("-m", "pip", "--quiet", "--disable-pip-version-check", "--retries", "1", "install")
DRY = ("--dry-run", "--ignore-installed")
PYTHONS = ("3.11", "3.12", "3.13")
OTHERS = [version for version in PYTHONS if not sys.version.startswith(f"{version}.")]
LATER = ("torch", "xgboost", "openml", "jupyter", "nbval")  # not imported by 01 to 03 on the snapshot
ONLY_THESE_WRITABLE = (
    'for one in "$folder"/*/; do mount --bind "$one" "$one"; done; mount -o remount,bind,ro /'
)


@dataclass
class Clone:
    """A copy of the course whose notebooks 01 and 09 ask for fewer rows.

    Attributes:
        folder: has three writable folders: the clone itself, a home, one for temporary files.
        root: the clone.
    """

    folder: Path
    root: Path

    def environment(self, **more: str) -> dict[str, str]:
        """A user of its own, without a language."""
        unset = ("PYTHONPATH", "PYTHONUTF8", "XDG_CONFIG_HOME", "XDG_CACHE_HOME", "MPLCONFIGDIR")
        kept = {k: v for k, v in os.environ.items() if k[:7] != "COURSE_" and k not in unset}
        own = {"HOME": str(self.folder / "home"), "TMPDIR": str(self.folder / "tmp"), "LANG": "C"}
        return kept | own | {"LC_ALL": "C", "PYTHONPATH": str(self.root)} | more

    def run(
        self, *command: object, python: str | Path = sys.executable, **environment: str
    ) -> subprocess.CompletedProcess[str]:
        """Run `python COMMAND` here without network, with only the three folders writable."""
        alone = with_mounts(ONLY_THESE_WRITABLE, self.folder, *without_network(python, *command))
        quiet = {"stdin": subprocess.DEVNULL, "capture_output": True, "encoding": "utf-8", "timeout": 600}
        return subprocess.run(alone, cwd=self.root, env=self.environment(**environment), **quiet)

    def refuses(self, *command: object) -> str:
        """The one sentence with which `python -m course run` fails."""
        done = self.run("-m", "course", "run", *command)
        assert done.returncode == 1 and "Traceback" not in done.stderr, done.stderr
        return last_line(done.stderr)


@pytest.fixture(scope="session")
def clone(tmp_path_factory: pytest.TempPathFactory) -> Clone:
    """The clone, whose notebooks and data nobody changes."""
    folder = tmp_path_factory.mktemp("faults")
    root = folder / "Jürgen's {clone} no 1"
    for name in ("home", "tmp"):
        (folder / name).mkdir()
    ignored = shutil.ignore_patterns("__pycache__", ".*", "faults")
    for name in PARTS:
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, root / name, ignore=ignored)
        else:
            shutil.copyfile(ROOT / name, root / name)
    for stage, old, new in SMALLER:
        change(root, stage, old, new)
    return Clone(folder, root)


@pytest.fixture(scope="session")
def resolved(tmp_path_factory: pytest.TempPathFactory):
    """pip's answers, all asked for at once: which versions it would install, without doing so."""
    folder = tmp_path_factory.mktemp("resolved")
    apart = ("#", "torch==", "nvidia-", "liac-arff==")  # gigabytes on Linux; one pure file, no wheel
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    (folder / "pins.txt").write_text("\n".join(line for line in lines if not line.startswith(apart)))
    other = ["--no-deps", "--target", folder / "target", "--only-binary=:all:", "-r", folder / "pins.txt"]
    asked = {version: [*other, "--python-version", version] for version in OTHERS}
    asked["colab"] = ["-c", COLAB, "-r", "requirements.txt"]

    def resolve(arguments: list[object]) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, *PIP, *DRY, *map(str, arguments)]
        return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=600)

    with ThreadPoolExecutor(3) as pool:
        yield {name: pool.submit(resolve, arguments) for name, arguments in asked.items()}


def find_python(version: str) -> str | None:
    """A Python of that version that can make environments: on the PATH, or installed beside this one."""
    major, minor = version.split(".")
    suits = f"import ensurepip, sys, venv; sys.exit(sys.version_info[:2] != ({major}, {minor}))"
    beside = sorted(Path(sys.base_prefix).parent.glob(f"*{version}*/bin/python{version}"))
    for python in filter(None, (shutil.which(f"python{version}"), *map(str, beside))):
        if subprocess.run([python, "-c", suits], capture_output=True, timeout=600).returncode == 0:
            return python
    return None


@pytest.fixture(scope="session")
def other_pythons(tmp_path_factory: pytest.TempPathFactory):
    """An environment for 01 to 03 on each other Python found: its python and pip's answer, None without.

    The notebooks' first cell wants every package; those that 01 to 03 do not import are there by name only.
    """
    folder = tmp_path_factory.mktemp("pythons")
    lines = (ROOT / "requirements.txt").read_text(encoding="utf-8").splitlines()
    needed = [line.partition("#")[0].strip() for line in lines if not line.startswith(("#", *LATER))]

    def prepare(version: str) -> tuple[Path, subprocess.CompletedProcess[str]] | None:
        if not (found := find_python(version)):
            return None
        subprocess.run([found, "-m", "venv", folder / version], check=True, capture_output=True, timeout=600)
        python = folder / version / "bin" / "python"
        for name in LATER:
            named = folder / version / "lib" / f"python{version}" / "site-packages" / f"{name}-0.dist-info"
            named.mkdir()
            (named / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 0\n")
        command = [python, *PIP, "-c", ROOT / "constraints.txt", *needed]
        return python, subprocess.run(command, capture_output=True, text=True, timeout=600)

    with ThreadPoolExecutor(1) as pool:
        yield {version: pool.submit(prepare, version) for version in OTHERS}


@pytest.fixture(scope="session", autouse=True)
def _ask_early(request: pytest.FixtureRequest) -> None:
    """pip waits for the index while the other tests work."""
    for name in ("resolved", "other_pythons"):
        if any(name in item.fixturenames for item in request.session.items):
            request.getfixturevalue(name)
