"""The bootstrap cell, as a stranger meets it: in the course, in an empty folder, without git or pip.

A tiny course stands for the real one. It asks for one package, which a folder of wheels has.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import sysconfig
import venv
import zipfile
from dataclasses import dataclass
from pathlib import Path

import pytest
from sandbox import assert_one_sentence, last_line

from course import publish
from helpers.settings import ROOT

ADDRESS = publish.Address("somebody/a-course", "v1")
FOUND = "import pathlib, sys; print('from', pathlib.Path(runs.__file__).parents[1].name, runs.MARK)"
TOY = "import toy_package; print('toy', toy_package.version)"
CELL = publish.bootstrap(ADDRESS)


def write_wheel(folder: Path, version: str, requires: str = "", name: str = "toy_package") -> None:
    info = f"{name}-{version}.dist-info"
    metadata = f"Metadata-Version: 2.1\nName: {name.replace('_', '-')}\nVersion: {version}\n{requires}"
    folder.mkdir(exist_ok=True)
    with zipfile.ZipFile(folder / f"{name}-{version}-py3-none-any.whl", "w") as wheel:
        wheel.writestr(f"{name}.py", f"version = {version!r}\n")
        wheel.writestr(f"{info}/METADATA", metadata)
        wheel.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        wheel.writestr(f"{info}/RECORD", "")


@dataclass
class Stranger:
    """Somebody with an own Python, a served course and an index.

    Attributes:
        folder: where they start; empty.
        python: an environment of their own over ours.
        packages: its site-packages.
        env: what tells git and pip where to look.
    """

    folder: Path
    python: Path
    packages: Path
    env: dict[str, str]

    def installs(self, name: str, version: str) -> None:
        """Have a package there already."""
        write_wheel(self.packages, version, name=name)
        wheel = self.packages / f"{name}-{version}-py3-none-any.whl"
        with zipfile.ZipFile(wheel) as archive:
            archive.extractall(self.packages)
        wheel.unlink()

    def runs(self, *code: str, folder: Path | None = None, address: publish.Address = ADDRESS, **env: str):
        """Run the bootstrap cell, and then code, in one process."""
        program = "\n".join([publish.bootstrap(address), *(code or [FOUND])])
        return subprocess.run(
            [self.python, "-c", program],
            cwd=folder or self.folder,
            env=self.env | env,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
        )


def said(done: subprocess.CompletedProcess[str]) -> str:
    """The one sentence that a failing cell ends with."""
    assert done.returncode == 1 and done.stdout == "", done.stdout + done.stderr
    assert "During handling" not in done.stderr and "direct cause" not in done.stderr, done.stderr
    line = last_line(done.stderr)
    assert_one_sentence(line)
    return line


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny course in git, tagged."""
    root = tmp_path_factory.mktemp("served")
    (root / "helpers").mkdir()
    (root / "notebooks").mkdir()
    for name in ("__init__", "colab", "files"):
        shutil.copyfile(ROOT / "helpers" / f"{name}.py", root / "helpers" / f"{name}.py")
    (root / "helpers" / "course.py").write_text("MARK = 'ours'\n")
    (root / "requirements.txt").write_text("# what it needs\ntoy-package>=1  # used in: this test\n")
    author = ["-c", "user.name=nobody", "-c", "user.email=nobody@localhost"]
    for command in (["init", "-q"], ["add", "."], [*author, "commit", "-qm", "x"], ["tag", ADDRESS.ref]):
        subprocess.run(["git", *command], cwd=root, check=True)
    return root


@pytest.fixture
def stranger(served: Path, tmp_path: Path) -> Stranger:
    folder, own = tmp_path / "content", tmp_path / "environment"
    folder.mkdir()
    venv.create(own, with_pip=False)
    (packages,) = own.glob("lib/python*/site-packages")
    ours = [*dict.fromkeys(sysconfig.get_paths()[name] for name in ("purelib", "platlib"))]
    ours += [path for path in sys.path if path.endswith("site-packages")]
    (packages / "below.pth").write_text("\n".join(dict.fromkeys(ours)) + "\n")
    write_wheel(tmp_path / "index", "1.5")
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("PIP_", "GIT_", "PYTHON", "COURSE_"))}
    index = {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(tmp_path / "index"), "PIP_CONFIG_FILE": os.devnull}
    git = {
        "GIT_CONFIG_COUNT": "1",
        "GIT_CONFIG_KEY_0": f"url.{served.as_uri()}.insteadOf",
        "GIT_CONFIG_VALUE_0": f"https://github.com/{ADDRESS.repository}.git",
    }
    return Stranger(folder, own / "bin" / "python", packages, kept | index | git)


def test_in_the_course_it_only_imports(stranger, served):
    stranger.installs("toy_package", "1.0")
    for folder in (served, served / "notebooks"):
        done = stranger.runs(FOUND, TOY, folder=folder, address=publish.Address(), PATH="")
        assert done.stdout == f"from {served.name} ours\ntoy 1.0\n", done.stderr


def test_in_the_course_a_missing_package_is_said_and_not_installed(stranger, served):
    line = said(stranger.runs(folder=served / "notebooks"))
    assert "This Python lacks toy-package" in line and "make lab" in line
    assert not list(stranger.packages.glob("toy*"))


def test_in_an_empty_folder_it_fetches_and_installs_once(stranger):
    done = stranger.runs(CELL, FOUND, TOY)
    assert done.stdout == "Installed toy-package.\nfrom a-course-v1 ours\ntoy 1.5\n", done.stderr
    assert [path.name for path in stranger.folder.iterdir()] == ["a-course-v1"]
    after_a_restart = stranger.runs(FOUND, TOY, PATH="", PIP_FIND_LINKS="")
    assert after_a_restart.stdout == "from a-course-v1 ours\ntoy 1.5\n", after_a_restart.stderr


def test_what_is_installed_keeps_its_version(stranger):
    stranger.installs("other_package", "1.0")
    index = Path(stranger.env["PIP_FIND_LINKS"])
    write_wheel(index, "2.0", name="other_package")
    write_wheel(index, "1.5", "Requires-Dist: other-package>=1\n")
    other = "import other_package; print('other', other_package.version)"
    done = stranger.runs(TOY, other)
    assert done.stdout == "Installed toy-package.\ntoy 1.5\nother 1.0\n", done.stderr


def test_what_cannot_be_installed_beside_it_is_not(stranger):
    stranger.installs("other_package", "1.0")
    index = Path(stranger.env["PIP_FIND_LINKS"])
    write_wheel(index, "2.0", name="other_package")
    write_wheel(index, "1.5", "Requires-Dist: other-package>=2\n")
    assert "pip could not install toy-package" in said(stranger.runs())
    assert {path.name[:13] for path in stranger.packages.glob("*_package*")} == {"other_package"}


def test_pip_may_fail_and_the_cell_be_run_again(stranger):
    again = "import os; os.environ['PIP_FIND_LINKS'] = GOOD"
    line = said(stranger.runs(PIP_FIND_LINKS=""))
    assert "pip could not install toy-package (No matching distribution" in line and "again" in line
    caught = "try:\n" + "\n".join("    " + row for row in CELL.splitlines())
    caught += "\nexcept RuntimeError:\n    print('failed')"
    good = f"GOOD = {stranger.env['PIP_FIND_LINKS']!r}"
    program = "\n".join([caught, good, again, CELL, FOUND, TOY])
    done = subprocess.run(
        [stranger.python, "-c", program],
        cwd=stranger.folder,
        env=stranger.env | {"PIP_FIND_LINKS": ""},
        capture_output=True,
        text=True,
    )
    assert done.stdout == "failed\nInstalled toy-package.\nfrom a-course-v1 ours\ntoy 1.5\n", done.stderr


@pytest.mark.parametrize("place", ["folder", "packages"])
@pytest.mark.parametrize("known", [False, True], ids=["new", "imported"])
def test_a_foreign_package_called_helpers_is_not_used(stranger, place, known):
    foreign = getattr(stranger, place) / "helpers"
    foreign.mkdir()
    for name in ("__init__", "course", "colab"):
        (foreign / f"{name}.py").write_text("MARK = 'foreign'\n")
    (foreign / "colab.py").rename(foreign / "data.py")
    before = ["import helpers.course, helpers.data"] if known else []
    program = "\n".join([*before, CELL, "from helpers import colab, course", FOUND])
    done = subprocess.run(
        [stranger.python, "-c", program],
        cwd=stranger.folder,
        env=stranger.env,
        capture_output=True,
        text=True,
    )
    assert done.stdout == "Installed toy-package.\nfrom a-course-v1 ours\n", done.stderr


def test_git_fails_in_one_sentence_and_leaves_nothing(stranger):
    for env, address, reason in (
        ({"PATH": ""}, ADDRESS, "No such file or directory: 'git'"),
        ({}, publish.Address(ADDRESS.repository, "v9"), "Remote branch v9 not found"),
        ({"GIT_CONFIG_VALUE_0": "x", "GIT_ALLOW_PROTOCOL": "file"}, ADDRESS, "not allowed"),
    ):
        line = said(stranger.runs(address=address, **env))
        assert "git could not fetch https://github.com/somebody/a-course.git at v" in line
        assert reason in line and "run this cell again" in line
        assert list(stranger.folder.iterdir()) == []


def test_a_kill_while_git_works_leaves_nothing_that_is_taken_for_the_course(stranger, tmp_path):
    git = tmp_path / "bin" / "git"
    git.parent.mkdir()
    half = 'mkdir -p "$to/helpers"; : > "$to/helpers/colab.py"'
    git.write_text(f"#!/bin/sh\nfor to; do :; done\n{half}\nkill -9 $PPID\n")
    git.chmod(0o755)
    assert stranger.runs(PATH=f"{git.parent}{os.pathsep}{os.environ['PATH']}").returncode == -signal.SIGKILL
    assert list(stranger.folder.rglob("colab.py"))
    done = stranger.runs()
    assert done.stdout == "Installed toy-package.\nfrom a-course-v1 ours\n", done.stderr


def test_without_an_address_it_says_so(stranger):
    line = said(stranger.runs(address=publish.Address()))
    assert "does not know its address" in line and "make publish" in line
    assert list(stranger.folder.iterdir()) == []
