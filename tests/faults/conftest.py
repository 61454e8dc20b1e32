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
from sandbox import with_mounts, without_network

ROOT = Path(__file__).resolve().parents[2]
PARTS = ("helpers", "notebooks", "data", "tests", "results", "README.md", "Makefile", "requirements.txt")
ROWS = 8_000
COLAB = Path(__file__).resolve().parents[1] / "constraints-colab.txt"
DRY = ("--dry-run", "--ignore-installed", "--quiet", "--disable-pip-version-check")
ONLY_THESE_WRITABLE = (
    'for one in "$folder"/*/; do mount --bind "$one" "$one"; done; mount -o remount,bind,ro /'
)


@dataclass
class Clone:
    """A copy of the course whose notebook 01 asks for fewer rows.

    Attributes:
        folder: has three writable folders: the clone itself, a home, one for temporary files.
        root: the clone.
    """

    folder: Path
    root: Path

    def environment(self, **more: str) -> dict[str, str]:
        """A user of its own, without a language."""
        kept = {name: value for name, value in os.environ.items() if name[:7] != "COURSE_"}
        unset = ("PYTHONPATH", "PYTHONUTF8", "XDG_CONFIG_HOME", "XDG_CACHE_HOME", "MPLCONFIGDIR")
        for name in unset:
            kept.pop(name, None)
        home = str(self.folder / "home")
        own = {"HOME": home, "TMPDIR": str(self.folder / "tmp"), "LANG": "C", "LC_ALL": "C"}
        return kept | own | {"PYTHONPATH": str(self.root)} | more

    def run(self, *command: object, **environment: str) -> subprocess.CompletedProcess[str]:
        """Run `python COMMAND` here without network, with only the three folders writable."""
        alone = without_network(sys.executable, *command)
        return subprocess.run(
            with_mounts(ONLY_THESE_WRITABLE, self.folder, *alone),
            cwd=self.root,
            env=self.environment(**environment),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            encoding="utf-8",
        )


@pytest.fixture(scope="session")
def clone(tmp_path_factory: pytest.TempPathFactory) -> Clone:
    """The clone, whose notebooks and data nobody changes."""
    folder = tmp_path_factory.mktemp("faults")
    root = folder / "Jürgen's {clone} no 1"
    for name in ("home", "tmp"):
        (folder / name).mkdir()
    ignored = shutil.ignore_patterns("__pycache__", ".*", "faults")
    for name in PARTS:
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(source, root / name, ignore=ignored)
        else:
            shutil.copyfile(source, root / name)
    first = root / "notebooks" / "01_data_loading.ipynb"
    text = first.read_text(encoding="utf-8")
    assert "ROWS: int = 50_000" in text
    first.write_text(text.replace("ROWS: int = 50_000", f"ROWS: int = {ROWS:_}"), encoding="utf-8")
    return Clone(folder, root)


@pytest.fixture(scope="session")
def resolved(tmp_path_factory: pytest.TempPathFactory):
    """pip's answers, all asked for at once: which versions it would install, without doing so."""
    folder = tmp_path_factory.mktemp("resolved")
    apart = ("#", "torch==", "nvidia-", "liac-arff==")  # gigabytes on Linux; one pure file, no wheel
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    (folder / "pins.txt").write_text("\n".join(line for line in lines if not line.startswith(apart)))
    other = ["--no-deps", "--target", folder / "target", "--only-binary=:all:", "-r", folder / "pins.txt"]
    asked = {version: [*other, "--python-version", version] for version in ("3.12", "3.13")}
    asked["colab"] = ["-c", COLAB, "-r", "requirements.txt"]

    def resolve(arguments: list[object]) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "pip", "install", *DRY, *map(str, arguments)]
        return subprocess.run(command, cwd=ROOT, capture_output=True, text=True)

    with ThreadPoolExecutor(3) as pool:
        yield {name: pool.submit(resolve, arguments) for name, arguments in asked.items()}


@pytest.fixture(scope="session", autouse=True)
def _ask_early(request: pytest.FixtureRequest) -> None:
    """pip waits for the index while the other tests work."""
    if any("resolved" in item.fixturenames for item in request.session.items):
        request.getfixturevalue("resolved")
