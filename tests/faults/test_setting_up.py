"""Installing: from a wheelhouse without network, under Colab's constraints, on the newest Python."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import nbformat
import pytest
from conftest import OTHERS, ROOT
from sandbox import without_network

from course import notebooks
from helpers import data

UNREACHABLE = re.compile("NewConnectionError|NameResolutionError|ConnectTimeout|ReadTimeout|ProxyError")


def small_wheel(folder: Path) -> None:
    folder.mkdir()
    info = "toy_package-1.0.dist-info"
    with zipfile.ZipFile(folder / "toy_package-1.0-py3-none-any.whl", "w") as wheel:
        wheel.writestr("toy_package.py", "answer = 42\n")
        wheel.writestr(f"{info}/METADATA", "Metadata-Version: 2.1\nName: toy-package\nVersion: 1.0\n")
        wheel.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        wheel.writestr(f"{info}/RECORD", "")


def test_a_wheelhouse_serves_a_machine_without_network(tmp_path):
    """`make wheelhouse` with one small package, then the set-up of another clone from it, offline.

    First the index lacks the package: nothing counts as installed, and the same command then succeeds.
    """
    make = shutil.which("make") or pytest.skip("make is not installed")
    small_wheel(tmp_path / "index")
    clones = [tmp_path / "with network", tmp_path / "without"]
    for clone in clones:
        clone.mkdir()
        shutil.copyfile(ROOT / "Makefile", clone / "Makefile")
        (clone / "requirements.txt").write_text("toy-package\n")
        (clone / "requirements-dev.txt").write_text("-r requirements.txt\n")
        (clone / "constraints.txt").write_text("toy-package==1.0\n")
    env = {k: v for k, v in os.environ.items() if not k.startswith(("PIP_", "MAKE", "MFLAGS"))}
    env |= {"PYTHON": sys.executable, "PIP_CONFIG_FILE": os.devnull}
    index = env | {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(tmp_path / "index").replace(" ", "%20")}

    nothing = subprocess.run(
        [make, "wheelhouse"],
        cwd=clones[0],
        env=env | {"PIP_NO_INDEX": "1"},
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert nothing.returncode and "ERROR" in nothing.stderr and "toy-package" in nothing.stderr
    assert not (clones[0] / ".venv" / ".installed").exists() and not (clones[0] / "wheelhouse").exists()
    first = subprocess.run(
        [make, "wheelhouse"], cwd=clones[0], env=index, capture_output=True, text=True, timeout=600
    )
    assert first.returncode == 0, first.stdout + first.stderr
    wheels = list((clones[0] / "wheelhouse").iterdir())
    assert [wheel.name for wheel in wheels] == ["toy_package-1.0-py3-none-any.whl"]
    shutil.copytree(clones[0] / "wheelhouse", clones[1] / "wheelhouse")
    offline = without_network(make, ".venv/.installed")
    second = subprocess.run(offline, cwd=clones[1], env=env, capture_output=True, text=True, timeout=600)
    assert second.returncode == 0, second.stdout + second.stderr
    python = clones[1] / ".venv" / "bin" / "python"
    code = "import toy_package; print(toy_package.answer)"
    assert subprocess.run([python, "-c", code], capture_output=True, text=True, timeout=600).stdout == "42\n"


def assert_installed(done: subprocess.CompletedProcess[str]) -> None:
    if done.returncode and UNREACHABLE.search(done.stderr):
        pytest.skip("the package index cannot be reached")
    assert done.returncode == 0, done.stderr[-2_000:]


@pytest.mark.parametrize("name", ["colab", *OTHERS])
def test_versions_exist_for_colab_and_for_other_pythons(resolved, name):
    """requirements.txt under Colab's versions; every pin of constraints.txt as a wheel."""
    assert_installed(resolved[name].result())


@pytest.mark.parametrize("version", OTHERS)
def test_notebooks_01_to_03_say_the_same_on_another_python(clone, other_pythons, version):
    """They agree with the reference run, which the Python of these tests made; all other code compiles."""
    python, installed = other_pythons[version].result() or pytest.skip(
        f"no Python {version} that can make environments is on the PATH or beside {sys.base_prefix}"
    )
    assert_installed(installed)
    compiled = ["-W", "error", "-m", "compileall", "-q", "-f", clone.root / "helpers", clone.root / "tests"]
    done = clone.run(*compiled, python=python)
    assert done.returncode == 0, done.stdout + done.stderr
    out = clone.folder / "tmp" / f"Python {version}"
    stages = notebooks.sequence()[:3]
    arguments = ["--source", "snapshot", "--rows", data.WINDOW_ROWS, "--out", out, "--only", *stages]
    done = clone.run("-m", "course", "run", *arguments, python=python)
    assert done.returncode == 0, done.stderr[-2_000:]
    for stage in stages:
        copy = nbformat.read(out / "notebooks" / f"{stage}.ipynb", as_version=4)
        assert copy.metadata.language_info.version.startswith(f"{version}.")
        said = "".join(one.get("text", "") for cell in copy.cells for one in cell.get("outputs", []))
        assert "Checkpoint: as in the reference run.\n" in said
