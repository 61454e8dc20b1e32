"""The bootstrap cell, as a stranger meets it: in the course, in an empty folder, without git or network."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
import venv
from dataclasses import dataclass
from pathlib import Path

import pytest

from course import publish
from helpers.files import CourseError

ADDRESS = publish.Address("somebody/a-course", "v1")
FOUND = "print('from', Path(runs.__file__).parents[1].name, runs.MARK)"


def test_the_cell_has_at_most_twelve_lines():
    assert len(publish.BOOTSTRAP.splitlines()) <= 12


@dataclass
class Stranger:
    """Somebody with an own Python and a served course.

    Attributes:
        folder: where they start; empty.
        python: an environment of their own over ours, without helpers.
        packages: its site-packages.
        env: what tells git and pip where to look.
    """

    folder: Path
    python: Path
    packages: Path
    env: dict[str, str]

    def runs(self, folder: Path | None = None, address: publish.Address = ADDRESS, **env: str):
        """Run the bootstrap cell, and print whose course it found."""
        script = self.python.parent / "cell.ipy"
        script.write_text(f"{publish.bootstrap(address)}\n{FOUND}\n")
        return subprocess.run(
            [self.python, "-m", "IPython", "--quick", "--colors=NoColor", script],
            cwd=folder or self.folder,
            env=self.env | env,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=120,
        )


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny course in git, tagged."""
    root = tmp_path_factory.mktemp("served")
    for name in ("helpers", "notebooks"):
        (root / name).mkdir()
    (root / "helpers" / "__init__.py").touch()
    (root / "helpers" / "runs.py").write_text("MARK = 'ours'\n")
    author = ["-c", "user.name=nobody", "-c", "user.email=nobody@localhost"]
    for command in (["init", "-q"], ["add", "."], [*author, "commit", "-qm", "x"], ["tag", ADDRESS.ref]):
        subprocess.run(["git", *command], cwd=root, check=True, timeout=60)
    return root


@pytest.fixture
def stranger(served: Path, tmp_path: Path) -> Stranger:
    folder, own = tmp_path / "content", tmp_path / "environment"
    folder.mkdir()
    venv.create(own, with_pip=False)
    (packages,) = own.glob("lib/python*/site-packages")
    ours = [sysconfig.get_paths()[name] for name in ("purelib", "platlib")]
    ours += [path for path in sys.path if path.endswith("site-packages")]
    lines = [f"import sys; sys.path.append({path!r})" for path in dict.fromkeys(ours)]  # no .pth of theirs
    (packages / "below.pth").write_text("\n".join(lines) + "\n")
    hidden = ("PIP_", "GIT_", "PYTHON", "COURSE_", "IPYTHON")
    kept = {k: v for k, v in os.environ.items() if not k.startswith(hidden)}
    index = {"PIP_NO_INDEX": "1", "PIP_CONFIG_FILE": os.devnull, "IPYTHONDIR": str(tmp_path / "ipython")}
    git = {
        "GIT_CONFIG_COUNT": "1",
        "GIT_CONFIG_KEY_0": f"url.{served.as_uri()}.insteadOf",
        "GIT_CONFIG_VALUE_0": f"https://github.com/{ADDRESS.repository}.git",
    }
    return Stranger(folder, own / "bin" / "python", packages, kept | index | git)


def test_in_the_course_it_only_imports(stranger, served):
    for folder in (served, served / "notebooks"):
        done = stranger.runs(folder, publish.Address(), PATH="")
        assert done.stdout == f"from {served.name} ours\n", done.stdout + done.stderr


def test_in_an_empty_folder_it_fetches_once(stranger):
    done = stranger.runs()
    assert done.stdout.endswith("from the-course ours\n"), done.stdout + done.stderr
    assert [path.name for path in stranger.folder.iterdir()] == ["the-course"]
    after_a_restart = stranger.runs(PATH="")
    assert after_a_restart.stdout == "from the-course ours\n", after_a_restart.stdout


@pytest.mark.parametrize("place", ["folder", "packages"])
def test_a_foreign_package_called_helpers_is_not_used(stranger, place):
    foreign = getattr(stranger, place) / "helpers"
    foreign.mkdir()
    (foreign / "__init__.py").write_text("MARK = 'foreign'\n")
    (foreign / "data.py").write_text("MARK = 'foreign'\n")
    done = stranger.runs()
    assert done.stdout.endswith("from the-course ours\n"), done.stdout + done.stderr


def test_git_says_what_is_wrong_and_the_cell_can_be_run_again(stranger):
    for env, address, reason in (
        ({"PATH": "/nowhere"}, ADDRESS, "not found"),
        ({}, publish.Address(ADDRESS.repository, "v9"), "Remote branch v9 not found"),
        ({"GIT_CONFIG_VALUE_0": "x", "GIT_ALLOW_PROTOCOL": "file"}, ADDRESS, "not allowed"),
    ):
        done = stranger.runs(address=address, **env)
        said = done.stdout + done.stderr
        assert reason in said and "No module named 'helpers'" in said
        assert "# not found? See what git said, or open a copy of the course" in said
        assert list(stranger.folder.iterdir()) == []
    assert stranger.runs().stdout.endswith("from the-course ours\n")


def test_a_kill_while_git_works_leaves_nothing_that_is_taken_for_the_course(stranger, tmp_path):
    git = tmp_path / "bin" / "git"
    git.parent.mkdir()
    half = 'mkdir -p "$to/helpers"; : > "$to/helpers/runs.py"'
    git.write_text(f"#!/bin/sh\nfor to; do :; done\n{half}\nkill -9 $PPID\n")
    git.chmod(0o755)
    done = stranger.runs(PATH=f"{git.parent}{os.pathsep}{os.environ['PATH']}")
    assert "No module named 'helpers'" in done.stdout + done.stderr
    assert list(stranger.folder.rglob("runs.py")) and not (stranger.folder / "the-course").exists()
    assert stranger.runs().stdout.endswith("from the-course ours\n")
    assert [path.name for path in stranger.folder.iterdir()] == ["the-course"]


def test_without_an_address_it_says_where_to_open_it(stranger):
    done = stranger.runs(address=publish.Address())
    said = done.stdout + done.stderr
    assert "open a copy of the course" in said and "No module named 'helpers'" in said


def test_what_pip_did_not_bring_is_one_sentence(monkeypatch):
    from helpers import runs

    monkeypatch.setattr(runs, "find_spec", lambda name: None if name == "papermill" else object())
    with pytest.raises(
        CourseError, match=r"^This Python lacks papermill: run the first cell again with a network"
    ):
        runs.start("02_heuristic_labels")


def test_papermill_finds_an_installed_course_from_any_folder(tmp_path):
    """`helpers` is installed by requirements-dev.txt: README's `papermill notebooks/...` from elsewhere."""
    code = "import importlib.util, sys; sys.exit(importlib.util.find_spec('helpers.runs') is None)"
    env = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    assert subprocess.run([sys.executable, "-c", code], cwd=tmp_path, env=env, timeout=60).returncode == 0
    assert shutil.which("papermill", path=str(Path(sys.executable).parent))
