"""What a bare machine meets: CI's order, .venv of any origin, a wrong Python, what can be installed."""

from __future__ import annotations

import ast
import os
import re
import shutil
import subprocess
import sys
import venv
import zipfile
from pathlib import Path

import pytest
from sandbox import assert_one_sentence, last_line

from helpers.settings import ROOT

BARE = {
    k: v for k, v in os.environ.items() if not k.startswith(("PIP_", "MAKE", "MFLAGS", "PYTHON", "CONSTR"))
}
HERE = "{}.{}".format(*sys.version_info)


# --- CI ------------------------------------------------------------------------------------------


def test_ci_begins_with_the_readmes_two_commands_on_a_bare_clone():
    script = re.sub(r"^ *#.*", "", (ROOT / ".ci" / "run").read_text(encoding="utf-8"), flags=re.M)
    before, *timed = re.split(r"^ *time ", script, flags=re.M)
    assert not re.search(r"\b(pip|apt-get|make|install|python)\b", before)
    assert [step.split("\n")[0] for step in timed[:2]] == ["make results", "make test"]
    assert timed[1].split() == ["make", "test", "untouched", *timed[1].split()[3:]]
    rest = " ".join(timed[2:])
    assert all(step in rest for step in ("installed-spark", "colab-test", "chromium", "site", "faults"))
    assert script.rstrip().endswith("untouched")


def test_no_process_is_waited_for_without_an_end():
    """subprocess.run and the like have a timeout; what is called for the reader's own program has none."""
    own = {"course/__main__.py": "_call"}  # JupyterLab, pytest: end when their reader ends them
    endless = []
    for path in sorted(
        [*ROOT.glob("helpers/**/*.py"), *ROOT.glob("course/*.py"), *ROOT.glob("tests/**/*.py")]
    ):
        name = path.relative_to(ROOT).as_posix()
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Attribute):
                continue
            caller, called = ast.unparse(node.func.value), node.func.attr
            waits = (caller == "subprocess" and called in ("run", "check_call", "check_output", "call")) or (
                called in ("wait", "communicate") and not node.args and "child" in caller + "process"
            )
            keywords = {keyword.arg for keyword in node.keywords}
            if waits and not {"timeout", None} & keywords and name not in own:
                endless.append(f"{name}:{node.lineno}")
    assert endless == []


# --- .venv ---------------------------------------------------------------------------------------


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """The Makefile and what it calls, with nothing to install."""
    root = tmp_path / "a clone"
    (root / "course").mkdir(parents=True)
    for name in ("Makefile", "course/setup.py"):
        shutil.copyfile(ROOT / name, root / name)
    for name in ("requirements.txt", "requirements-dev.txt", "constraints.txt"):
        (root / name).touch()
    return root


def setup(root: Path, *arguments: str, **env: str) -> subprocess.CompletedProcess[str]:
    make = shutil.which("make") or pytest.skip("make is not installed")
    offline = {"PIP_NO_INDEX": "1", "PIP_CONFIG_FILE": os.devnull}
    return subprocess.run(
        [make, "setup", *arguments],
        cwd=root,
        env=BARE | offline | env,
        capture_output=True,
        text=True,
        timeout=300,
    )


def sentence(done: subprocess.CompletedProcess[str]) -> str:
    assert done.returncode, done.stdout
    said = [line for line in done.stderr.splitlines() if line and not line.startswith("make")]
    assert_one_sentence(said[-1])
    return said[-1]


def contents(folder: Path) -> dict[str, float]:
    return {str(path.relative_to(folder)): path.lstat().st_mtime for path in folder.rglob("*")}


def only(tmp_path: Path, **programs: str) -> dict[str, str]:
    """A PATH with the system's own tools and these scripts, and nothing of a developer's."""
    folder = tmp_path / "bin"
    folder.mkdir(exist_ok=True)
    for name, text in programs.items():
        (folder / name).write_text(f"#!/bin/sh\n{text}\n")
        (folder / name).chmod(0o755)
    if "python3" not in programs and not (folder / "python3").exists():
        (folder / "python3").symlink_to(sys.executable)
    return {"PATH": f"{folder}{os.pathsep}/usr/bin{os.pathsep}/bin"}


def test_make_makes_an_environment_and_is_done_the_second_time(clone):
    assert setup(clone, PYTHON=sys.executable).returncode == 0
    before = contents(clone / ".venv")
    assert {".installed", ".made-by-make"} <= set(before)
    assert setup(clone).returncode == 0 and setup(clone, PYTHON=sys.executable).returncode == 0
    assert contents(clone / ".venv") == before


def test_an_environment_without_pip_is_used_with_uv_or_left_alone(clone, tmp_path):
    """As `uv venv` makes it."""
    venv.create(clone / ".venv", with_pip=False)
    before = contents(clone / ".venv")
    assert "has no pip, and there is no uv" in sentence(setup(clone, **only(tmp_path)))
    assert contents(clone / ".venv") == before
    done = setup(clone, **only(tmp_path, uv='echo "uv $*"'))
    assert done.returncode == 0 and f"uv pip install --python {clone}/.venv/bin/python" in done.stdout
    assert before.items() <= contents(clone / ".venv").items() | before.items()


def test_a_link_to_an_environment_elsewhere_is_used_and_never_cleared(clone, tmp_path):
    elsewhere = tmp_path / "elsewhere"
    venv.create(elsewhere, with_pip=True)
    (elsewhere / ".made-by-make").touch()  # by make in another clone
    (elsewhere / "mine.txt").write_text("precious")
    (clone / ".venv").symlink_to(elsewhere)
    assert setup(clone).returncode == 0 and (elsewhere / "mine.txt").exists()
    other = only(tmp_path, otherpython='echo "3.12"' if HERE != "3.12" else 'echo "3.13"')
    assert "was not made by make" in sentence(setup(clone, "PYTHON=otherpython", **other))
    assert (elsewhere / "mine.txt").read_text() == "precious"


@pytest.mark.parametrize("says", ["echo 3.10", "exit 1"])
def test_what_make_did_not_make_and_cannot_use_is_one_sentence(clone, says):
    python = clone / ".venv" / "bin" / "python"
    python.parent.mkdir(parents=True)
    python.write_text(f"#!/bin/sh\n{says}\n")
    python.chmod(0o755)
    before = contents(clone / ".venv")
    line = sentence(setup(clone))
    assert line.startswith(".venv was not made by make and holds ") and "move it away" in line
    assert contents(clone / ".venv") == before


def test_another_python_than_asked_for_is_rebuilt_where_make_made_it(clone, tmp_path):
    assert setup(clone, PYTHON=sys.executable).returncode == 0
    made = 'case "$*" in *venv*--clear*) echo "made $*"; mkdir -p "$4/bin";; *) echo VERSION;; esac'
    other = only(tmp_path, otherpython=made.replace("VERSION", "3.12" if HERE != "3.12" else "3.13"))
    done = setup(clone, "PYTHON=otherpython", **other)
    assert f"made -m venv --clear {clone}/.venv" in done.stdout


def test_a_python_that_is_too_old_is_one_sentence(clone, tmp_path):
    line = sentence(setup(clone, "PYTHON=old", **only(tmp_path, old="echo 3.10")))
    assert line.startswith("No Python 3.11 or 3.12 or 3.13 with venv was found as old:")
    assert not (clone / ".venv").exists()


# --- a wrong Python ------------------------------------------------------------------------------


@pytest.mark.parametrize("module", ["course", "helpers.course"])
def test_a_python_without_the_packages_is_one_sentence(tmp_path, module):
    venv.create(tmp_path / "bare", with_pip=False)
    python = tmp_path / "bare" / "bin" / "python"
    done = subprocess.run(
        [python, "-m", module, "results"], cwd=ROOT, env=BARE, capture_output=True, text=True, timeout=60
    )
    line = last_line(done.stderr)
    assert done.returncode == 1 and done.stderr.count("\n") == 1
    assert "lacks click" in line and "run `make NAME`, or `python3 course/setup.py` once" in line


# --- helpers for own work ------------------------------------------------------------------------


def test_helpers_can_be_installed_and_the_machinery_is_not(tmp_path):
    """What `pip install git+...` builds; setuptools is here, so that no network is needed."""
    listed = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    names = subprocess.run(listed, cwd=ROOT, capture_output=True, text=True, timeout=60).stdout
    for name in filter(None, names.split("\0")):
        if (ROOT / name).is_file() and name.startswith(
            ("helpers/", "course/", "tests/conf", "py", "req", "READ")
        ):
            (tmp_path / "copy" / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(ROOT / name, tmp_path / "copy" / name)
    command = [
        sys.executable,
        "-m",
        "pip",
        "wheel",
        "-q",
        "--no-deps",
        "--no-build-isolation",
        "-w",
        tmp_path,
        ".",
    ]
    done = subprocess.run(command, cwd=tmp_path / "copy", capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr[-1_000:]
    (wheel,) = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(tmp_path / "installed")
        metadata = archive.read(
            next(name for name in archive.namelist() if name.endswith("METADATA"))
        ).decode()
    tops = {path.name for path in (tmp_path / "installed").iterdir() if "." not in path.name}
    assert tops == {"helpers"} and "Requires-Dist: xgboost>=3.1" in metadata
    code = "import helpers.detector, helpers.exercises.ex01; print(helpers.detector.__file__)"
    env = BARE | {"PYTHONPATH": str(tmp_path / "installed")}
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, env=env, capture_output=True, text=True, timeout=120
    )
    assert done.stdout.startswith(str(tmp_path / "installed")), done.stderr
