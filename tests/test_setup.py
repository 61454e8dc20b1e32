"""What a bare machine meets: .venv of any origin, a wrong Python, what can be installed."""

import ast
import os
import shutil
import subprocess
import sys
import venv
import zipfile
from pathlib import Path

import pytest
from sandbox import assert_one_sentence, last_line

from helpers.settings import ROOT

HIDDEN = ("PIP_", "MAKE", "MFLAGS", "PYTHON", "CONSTR")
BARE = {name: value for name, value in os.environ.items() if not name.startswith(HIDDEN)}


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    root = tmp_path / "a clone"
    (root / "course").mkdir(parents=True)
    for name in ("Makefile", "course/setup.py"):
        shutil.copyfile(ROOT / name, root / name)
    (root / "requirements.txt").write_text("# one\ntoy-package>=1  # used in: tests\n")
    (root / "requirements-dev.txt").write_text("-r requirements.txt\n")
    (root / "constraints.txt").touch()
    return root


def setup(root: Path, **env: object) -> subprocess.CompletedProcess[str]:
    command = [shutil.which("make") or pytest.skip("make is not installed"), "setup"]
    env = BARE | {"PIP_CONFIG_FILE": os.devnull} | {name: str(value) for name, value in env.items()}
    return subprocess.run(command, cwd=root, env=env, capture_output=True, text=True, timeout=300)


def sentence(done: subprocess.CompletedProcess[str]) -> str:
    assert done.returncode and "Traceback" not in done.stderr, done.stdout
    said = [line for line in done.stderr.splitlines() if line and not line.startswith("make")]
    assert_one_sentence(said[-1])
    return said[-1]


def contents(folder: Path) -> dict[str, float]:
    return {str(path.relative_to(folder)): path.lstat().st_mtime for path in folder.rglob("*")}


ITSELF = 'rm -rf "$4"; mkdir -p "$4/bin"; cp "$0" "$4/bin/python"'


def python_that(path: Path, version: str, makes: str = ITSELF, installs: str = "") -> Path:
    """A script that answers as a Python of that version; what it makes and installs."""
    compiles = 'echo "$@" >compiled'
    answers = {"--clear": makes, "pip install": installs, "compileall": compiles, "venv": f"echo {version}"}
    cases = " ".join(f'*"{asked}"*) {does or "true"};;' for asked, does in answers.items())
    path.parent.mkdir(exist_ok=True)
    path.write_text(f'#!/bin/sh\ncase "$*" in {cases} esac\n')
    path.chmod(0o755)
    return path


def test_make_makes_an_environment_and_is_done_until_a_file_changes(clone, tmp_path):
    """Whatever leads pip past .venv is set aside; where to find packages is not."""
    python = python_that(tmp_path / "python", "3.12", installs='echo "$@" >>told; env | grep ^PIP_ >env')
    past = {f"PIP_{name}": "1" for name in ("TARGET", "PREFIX", "ROOT", "USER", "DRY_RUN", "NO_DEPS")}
    assert setup(clone, PYTHON=python, PIP_INDEX_URL="https://x", **past).returncode == 0
    assert (clone / "env").read_text().split() == [f"PIP_CONFIG_FILE={os.devnull}", "PIP_INDEX_URL=https://x"]
    quick = "--disable-pip-version-check --no-compile"
    told = f"-m pip install {quick} -r requirements-dev.txt -c constraints.txt\n"
    assert (clone / "told").read_text() == told
    assert (clone / "compiled").read_text() == f"-m compileall -qq -j 0 {clone / '.venv'}\n"
    assert {".installed", ".made-by-make"} <= set(contents(clone / ".venv"))
    assert setup(clone).returncode == 0 and setup(clone, PYTHON=python).returncode == 0
    assert (clone / "told").read_text() == told
    (clone / "wheelhouse").mkdir()
    os.utime(clone / "requirements.txt", (2**32, 2**32))
    assert setup(clone).returncode == 0
    assert (clone / "told").read_text() == told + told[:-1] + " --no-index --find-links wheelhouse\n"


def test_what_pip_did_not_install_does_not_count(clone, tmp_path):
    failing = python_that(tmp_path / "failing", "3.12", installs="exit 1")
    for _ in range(2):
        said = sentence(setup(clone, PYTHON=failing))
        assert said.startswith("Nothing counts as installed; look at the lines above")


def test_what_make_did_not_make_is_refused_and_never_touched(clone, tmp_path):
    """As `uv venv` makes it, without pip; and a link to what make made for another clone."""
    refusal = ".venv was not made by make: move it away, or do without"
    venv.create(elsewhere := tmp_path / "elsewhere", with_pip=False)
    (elsewhere / ".made-by-make").touch()
    (clone / ".venv").symlink_to(elsewhere)
    before = contents(tmp_path)
    assert sentence(setup(clone)).startswith(refusal) and contents(tmp_path) == before
    (clone / ".venv").unlink()
    (elsewhere / ".made-by-make").unlink()
    elsewhere.rename(clone / ".venv")
    before = contents(tmp_path)
    assert sentence(setup(clone)).startswith(refusal) and contents(tmp_path) == before


def test_a_suitable_python_is_taken_another_one_rebuilt_and_an_old_one_refused(clone, tmp_path):
    for version in ("3.12", "3.13"):
        assert setup(clone, PYTHON=python_that(tmp_path / "a python", version)).returncode == 0
        assert f"echo {version}" in (clone / ".venv" / "bin" / "python").read_text()
    before = contents(clone / ".venv")
    line = sentence(setup(clone, PYTHON=python_that(tmp_path / "old", "3.10")))
    assert line.startswith("No Python 3.11 or 3.12 or 3.13 with venv was found as ")
    assert contents(clone / ".venv") == before
    shutil.rmtree(clone / ".venv")  # the first one that suits is taken
    for name, version in (("python3", "3.10"), ("python3.12", "3.12"), ("python3.11", "3.11")):
        python_that(tmp_path / "bin" / name, version)
    env = BARE | {"PATH": f"{tmp_path / 'bin'}{os.pathsep}/usr/bin{os.pathsep}/bin", "CONSTRAINTS": ""}
    assert subprocess.run([sys.executable, "course/setup.py"], cwd=clone, env=env, timeout=60).returncode == 0
    assert "echo 3.12" in (clone / ".venv" / "bin" / "python").read_text()


def test_a_folder_that_cannot_be_written_is_one_sentence_and_leaves_nothing_half_made(clone, tmp_path):
    fails = 'mkdir -p "$4"; echo "Error: No space left on device" >&2; exit 1'
    said = sentence(setup(clone, PYTHON=python_that(tmp_path / "full", "3.12", fails)))
    reason = "(Error: No space left on device): its folder must be yours"
    assert said.startswith(f".venv could not be made {reason}") and not (clone / ".venv").exists()
    python = python_that(tmp_path / "python", "3.12")
    assert setup(clone, PYTHON=python).returncode == 0
    (clone / ".venv" / ".installed").unlink()
    (clone / ".venv" / ".installed").mkdir()  # as unwritable as another user's, for root too
    assert sentence(setup(clone, PYTHON=python)).startswith("Nothing counts as installed (")


def test_a_python_without_the_packages_is_one_sentence_and_any_python_3_can_read_it(tmp_path):
    for name in ("setup.py", "__init__.py"):
        ast.parse((ROOT / "course" / name).read_text(encoding="utf-8"), feature_version=(3, 6))
    venv.create(tmp_path / "bare", with_pip=False)
    command = [tmp_path / "bare" / "bin" / "python", "-m", "course", "results"]
    done = subprocess.run(command, cwd=ROOT, env=BARE, capture_output=True, text=True, timeout=60)
    line = last_line(done.stderr)
    assert done.returncode == 1 and done.stderr.count("\n") == 1
    assert "lacks click" in line and "run `make NAME`, or `python3 course/setup.py` once" in line


def test_helpers_can_be_installed_and_the_machinery_is_not(tmp_path):
    """What `pip install git+...` builds; setuptools is here, so that no network is needed."""
    copy, ignored = tmp_path / "copy", shutil.ignore_patterns("__pycache__", ".*", "*.ipynb")
    for name in ("helpers", "course", "notebooks"):
        shutil.copytree(ROOT / name, copy / name, ignore=ignored)
    for name in ("pyproject.toml", "README.md", "requirements.txt"):
        shutil.copyfile(ROOT / name, copy / name)
    command = [sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "--no-build-isolation"]
    done = subprocess.run([*command, "-w", tmp_path, copy], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr[-1_000:]
    (wheel,) = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        (about,) = [name for name in archive.namelist() if name.endswith("/METADATA")]
        assert "Requires-Dist: xgboost>=3.1" in archive.read(about).decode()
        names = {name for name in archive.namelist() if ".dist-info/" not in name}
    assert {name.split("/")[0] for name in names} == {"helpers"}
    folders = {"helpers": "helpers", "notebooks": "helpers/notebooks"}
    wanted = {f"{there}/{p.name}" for here, there in folders.items() for p in (ROOT / here).glob("*.py")}
    assert wanted <= names
