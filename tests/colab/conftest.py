"""A published copy of this working tree, served as if by GitHub, and what each notebook did alone."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from sandbox import commit_all
from stand_in import ROOT

REPOSITORY, REF = "somebody/domain-driven-anomaly-detection", "v0-rehearsal"
LINES = pytest.StashKey[list[str]]()


@pytest.fixture(scope="session")
def served(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The working tree after `make publish`, committed and tagged; its notebooks are what Colab opens."""
    folder = tmp_path_factory.mktemp("served") / "course"
    listed = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    names = subprocess.run(listed, cwd=ROOT, check=True, capture_output=True, text=True, timeout=600).stdout
    for name in filter(None, names.split("\0")):
        if (ROOT / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(ROOT / name, folder / name)
    publish = [sys.executable, "-m", "course", "publish", "--repo", REPOSITORY, "--ref", REF]
    alone = os.environ | {"PYTHONPATH": str(folder)}
    subprocess.run(publish, cwd=folder, env=alone, check=True, capture_output=True, timeout=600)
    commit_all(folder, REF)
    return folder


@pytest.fixture
def say(request: pytest.FixtureRequest):
    """Keep a line for the end of the report."""
    return request.config.stash.setdefault(LINES, []).append


def pytest_terminal_summary(terminalreporter, config: pytest.Config) -> None:
    for line in config.stash.get(LINES, []):
        terminalreporter.write_line(line)
