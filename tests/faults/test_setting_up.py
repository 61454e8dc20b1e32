"""Installing: from a wheelhouse without network, under Colab's constraints, on the newest Python."""

from __future__ import annotations

import os
import platform
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import nbformat
import pytest
from conftest import DRY, OTHERS, PIP, ROOT
from sandbox import last_line, with_mounts, without_network
from toys import write_toys

from course import notebooks
from helpers import data

UNREACHABLE = re.compile("NewConnectionError|NameResolutionError|ConnectTimeout|ReadTimeout|ProxyError")


def small_wheel(folder: Path, name: str) -> None:
    folder.mkdir(exist_ok=True)
    info = f"{name}-1.0.dist-info"
    with zipfile.ZipFile(folder / f"{name}-1.0-py3-none-any.whl", "w") as wheel:
        wheel.writestr(f"{name}.py", "answer = 42\n")
        metadata = f"Metadata-Version: 2.1\nName: {name.replace('_', '-')}\nVersion: 1.0\n"
        wheel.writestr(f"{info}/METADATA", metadata)
        wheel.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        wheel.writestr(f"{info}/RECORD", "")


@pytest.fixture
def env(tmp_path: Path) -> dict[str, str]:
    """Of a user who finds packages in one folder alone."""
    hidden = ("PIP_", "MAKE", "MFLAGS", "PYTHON")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(hidden)}
    links = str(tmp_path / "index").replace(" ", "%20")
    return kept | {"PIP_CONFIG_FILE": os.devnull, "PIP_NO_INDEX": "1", "PIP_FIND_LINKS": links}


@pytest.fixture
def make() -> str:
    return shutil.which("make") or pytest.skip("make is not installed")


def bare(root: Path, requirements: str, pins: str) -> Path:
    """A toy repository with its Makefile, that asks for these packages."""
    write_toys(root, count=1)
    shutil.copyfile(ROOT / "Makefile", root / "Makefile")
    (root / "requirements.txt").write_text(requirements)
    (root / "requirements-dev.txt").write_text("-r requirements.txt\n")
    (root / "constraints.txt").write_text(pins)
    return root


def called(command: list[object], clone: Path, env: dict[str, str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, cwd=clone, env=env, capture_output=True, text=True, timeout=300)


def test_a_wheelhouse_serves_a_machine_without_network(tmp_path, env, make):
    """`wheelhouse` with one small package, then the set-up of another clone from it, offline.

    First the index lacks the package: no wheelhouse is left, and the same command then succeeds. The second
    user's pip installs elsewhere, or nothing: what the environment says is aside, what pip.conf says named.
    """
    folders = (tmp_path / "with network", tmp_path / "without")
    clones = [bare(folder, "toy-package\n", "toy-package==1.0\n") for folder in folders]
    command = [sys.executable, "-m", "course", "wheelhouse"]
    small_wheel(tmp_path / "index", "setuptools")
    nothing = called(command, clones[0], env)
    assert nothing.returncode == 1 and not (clones[0] / "wheelhouse").exists()
    assert last_line(nothing.stderr).startswith("The wheelhouse was not made: see")
    small_wheel(tmp_path / "index", "toy_package")
    done = called(command, clones[0], env)
    assert done.returncode == 0, done.stdout + done.stderr
    wheels = sorted(wheel.name for wheel in (clones[0] / "wheelhouse").iterdir())
    assert wheels == ["setuptools-1.0-py3-none-any.whl", "toy_package-1.0-py3-none-any.whl"]
    shutil.copytree(clones[0] / "wheelhouse", clones[1] / "wheelhouse")
    del env["PIP_FIND_LINKS"]
    (tmp_path / "pip.conf").write_text("[install]\ndry-run = true\n")
    offline = without_network(make, "setup")
    done = called(offline, clones[1], env | {"PIP_CONFIG_FILE": str(tmp_path / "pip.conf")})
    assert done.returncode and "but .venv lacks toy-package: look for target" in done.stderr
    elsewhere = {f"PIP_{name}": str(tmp_path / "elsewhere") for name in ("TARGET", "PREFIX", "ROOT")}
    done = called(offline, clones[1], env | elsewhere | {"PIP_DRY_RUN": "1", "PIP_USER": "1"})
    assert done.returncode == 0, done.stdout + done.stderr
    asked = [clones[1] / ".venv" / "bin" / "python", "-c", "import toy_package; print(toy_package.answer)"]
    assert called(asked, clones[1], env).stdout == "42\n"


@pytest.mark.parametrize("where", ["read-only", "full", "a:b"])
def test_a_folder_that_takes_no_environment_is_one_sentence(tmp_path, env, make, where):
    clone = bare(tmp_path / where, "", "")
    mounts = {
        "read-only": 'mount --bind "$folder" "$folder"; mount -o remount,bind,ro "$folder"',
        "full": 'mkdir "$folder/.venv"; touch "$folder/.venv/.made-by-make"; '
        'mount -t tmpfs -o size=1m tmpfs "$folder/.venv"; touch "$folder/.venv/.made-by-make"',
    }
    command = [make, "setup"]
    done = called(with_mounts(mounts[where], clone, *command) if where in mounts else command, clone, env)
    said = [line for line in done.stderr.splitlines() if not line.startswith("make")]
    assert done.returncode and len(said) == 1, done.stderr
    assert said[0].startswith(".venv could not be made (Error: ") and said[0].endswith("some space.")


def test_on_linux_the_wheelhouse_takes_the_small_torch(tmp_path, env):
    """Asked for by its local version: without an index that has it, nothing is made."""
    if sys.platform != "linux" or platform.machine() != "x86_64":
        pytest.skip("CUDA comes with torch on Linux on x86 alone")
    small_wheel(tmp_path / "index", "setuptools")
    clone = bare(tmp_path / "clone", "torch\n", "torch==2.0.0\n")
    done = called([sys.executable, "-m", "course", "wheelhouse"], clone, env)
    assert done.returncode == 1 and "torch==2.0.0+cpu" in done.stderr and "PIP_EXTRA_INDEX_URL" in done.stderr


def test_no_pin_is_yanked(tmp_path):
    """pip warns of one; only the small pure packages are downloaded."""
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    large = ("#", "torch==", "nvidia-", "liac-arff==", "xgboost==")
    (tmp_path / "pins.txt").write_text("\n".join(line for line in lines if not line.startswith(large)))
    where = ["--no-deps", "--target", tmp_path / "target", "-r", tmp_path / "pins.txt"]
    command = [sys.executable, *PIP, *DRY, *where]
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True, timeout=600)
    assert_installed(done)
    assert "yanked" not in done.stdout + done.stderr


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
    folders = [clone.root / name for name in ("helpers", "course", "tests")]
    compiled = ["-W", "error", "-m", "compileall", "-q", "-f", *folders]
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
