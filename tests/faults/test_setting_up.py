"""Installing: from a wheelhouse without network, under Colab's constraints, on the newest Python."""

import os
import platform
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from sandbox import last_line, without_network
from toys import write_toys

from helpers.settings import ROOT

OTHERS = [version for version in ("3.11", "3.12", "3.13") if not sys.version.startswith(f"{version}.")]
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
    hidden = ("PIP_", "MAKE", "MFLAGS", "PYTHON")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(hidden)}
    links = str(tmp_path / "index").replace(" ", "%20")
    return kept | {"PIP_CONFIG_FILE": os.devnull, "PIP_NO_INDEX": "1", "PIP_FIND_LINKS": links}


def bare(root: Path, requirements: str, pins: str) -> Path:
    write_toys(root, count=1)
    shutil.copyfile(ROOT / "Makefile", root / "Makefile")
    (root / "requirements.txt").write_text(requirements)
    (root / "requirements-dev.txt").write_text("-r requirements.txt\n")
    (root / "constraints.txt").write_text(pins)
    return root


def called(command: list[object], clone: Path, env: dict[str, str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, cwd=clone, env=env, capture_output=True, text=True, timeout=300)


def test_a_wheelhouse_serves_a_machine_without_network(tmp_path, env):
    """First the index lacks a package, and no wheelhouse is left."""
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
    make = shutil.which("make") or pytest.skip("make is not installed")
    done = called(without_network(make, "setup"), clones[1], env)
    assert done.returncode == 0, done.stdout + done.stderr
    asked = [clones[1] / ".venv" / "bin" / "python", "-c", "import toy_package; print(toy_package.answer)"]
    assert called(asked, clones[1], env).stdout == "42\n"


def test_on_linux_the_wheelhouse_takes_the_small_torch(tmp_path, env):
    """Asked for by its local version: without an index that has it, nothing is made."""
    if sys.platform != "linux" or platform.machine() != "x86_64":
        pytest.skip("CUDA comes with torch on Linux on x86 alone")
    small_wheel(tmp_path / "index", "setuptools")
    clone = bare(tmp_path / "clone", "torch\n", "torch==2.0.0\n")
    done = called([sys.executable, "-m", "course", "wheelhouse"], clone, env)
    assert done.returncode == 1 and "torch==2.0.0+cpu" in done.stderr and "PIP_EXTRA_INDEX_URL" in done.stderr


def pip_installs(python: object, *arguments: object) -> None:
    """pip does it, or the test is skipped without an index; of what was yanked it would warn."""
    pip = (python, "-m", "pip", "-q", "--disable-pip-version-check", "--retries=1", "install", *arguments)
    done = subprocess.run(list(map(str, pip)), cwd=ROOT, capture_output=True, text=True, timeout=600)
    if done.returncode and UNREACHABLE.search(done.stderr):
        pytest.skip("the package index cannot be reached")
    assert done.returncode == 0, done.stderr[-2_000:]
    assert "yanked" not in done.stdout + done.stderr


@pytest.mark.parametrize("name", ["colab", *OTHERS])
def test_versions_exist_for_colab_and_for_other_pythons(tmp_path, name):
    """requirements.txt under Colab's versions; every pin of constraints.txt as a wheel."""
    asked = ["-c", ROOT / "tests" / "constraints-colab.txt", "-r", "requirements.txt"]
    if name != "colab":
        apart = ("#", "torch==", "nvidia-", "liac-arff==")  # gigabytes on Linux; one pure file, no wheel
        lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
        pins = tmp_path / "pins.txt"
        pins.write_text("\n".join(line for line in lines if not line.startswith(apart)))
        asked = ["--no-deps", "--target", tmp_path, "--only-binary=:all:", "-r", pins]
        asked += ["--python-version", name]
    pip_installs(sys.executable, "--dry-run", "--ignore-installed", *asked)
