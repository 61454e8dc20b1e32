"""The bootstrap cell, as a stranger meets it: in the course, in an empty folder, without git or network."""

import os
import shutil
import subprocess
import sys
import sysconfig
import venv
from collections.abc import Callable
from pathlib import Path

import pytest
from sandbox import commit_all, git_finds

from course import publish

ADDRESS = publish.Address("somebody/a-course", "v1")
FOUND = "print('from', Path(runs.__file__).parents[1].name, runs.MARK)"
PIP = "import sys; print('pip', *sys.argv[1:])"
ABLE = shutil.which("git") and os.name != "nt"
pytestmark = pytest.mark.skipif(not ABLE, reason="the cell fetches the course with git on Linux or macOS")


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("served")
    for name in ("helpers", "notebooks"):
        (root / name).mkdir()
    (root / "helpers" / "__init__.py").touch()
    (root / "helpers" / "runs.py").write_text("MARK = 'ours'\n")
    commit_all(root, ADDRESS.ref)
    return root


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The packages of an environment over ours, without helpers, and with a pip that only says what for."""
    folder = tmp_path_factory.mktemp("own")
    venv.create(folder, with_pip=False)
    (packages,) = folder.glob("lib/python*/site-packages")
    (packages / "pip.py").write_text(PIP)
    ours = [*map(sysconfig.get_path, ("purelib", "platlib"))]
    ours += [path for path in sys.path if path.endswith("site-packages")]
    lines = [f"import sys; sys.path.append({path!r})" for path in dict.fromkeys(ours)]  # no .pth of theirs
    (packages / "below.pth").write_text("\n".join(lines) + "\n")
    return packages


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "content").mkdir()
    return tmp_path / "content"


@pytest.fixture
def cell(served: Path, own: Path, folder: Path) -> Callable[..., str]:
    """Run the bootstrap cell, and say whose course it found; git alone is told where the address leads."""
    hidden = ("PIP_", "GIT_", "PYTHON", "COURSE_", "IPYTHON")
    kept = {k: v for k, v in os.environ.items() if not k.startswith(hidden)}
    kept |= git_finds(ADDRESS.repository, served) | {"IPYTHONDIR": str(folder.parent / "ipython")}
    script = folder.parent / "cell.ipy"
    command = [own.parents[2] / "bin" / "python", "-m", "IPython", "--quick", "--colors=NoColor", script]

    def run(where: Path = folder, address: publish.Address = ADDRESS, **env: str) -> str:
        script.write_text(f"{publish.bootstrap(address)}\n{FOUND}\n")
        quiet = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
        return subprocess.run(command, cwd=where, env=kept | env, text=True, timeout=120, **quiet).stdout

    return run


@pytest.mark.parametrize("where", [".", "notebooks"])
def test_in_the_course_it_only_imports(cell, served, where):
    assert cell(served / where, publish.Address(), PATH="") == f"from {served.name} ours\n"


def test_in_an_empty_folder_it_fetches_once_whatever_else_is_called_helpers(cell, folder, own):
    foreign = [place / "helpers" for place in (folder, own)]
    for package in foreign:
        package.mkdir()
        for name in ("__init__.py", "data.py"):
            (package / name).write_text("MARK = 'foreign'\n")
    said = cell()
    for package in foreign:
        shutil.rmtree(package)
    assert "pip install -q openml papermill\n" in said and said.endswith("from the-course ours\n"), said
    assert [path.name for path in folder.iterdir()] == ["the-course"]
    assert cell(PATH="") == "from the-course ours\n"  # after a restart


@pytest.mark.parametrize(
    ("env", "address", "reason"),
    [
        ({"PATH": "/nowhere"}, ADDRESS, "not found"),
        ({}, publish.Address(ADDRESS.repository, "v9"), "Remote branch v9 not found"),
        ({}, publish.Address(), ""),
    ],
)
def test_what_is_wrong_is_said_and_nothing_is_left_behind(cell, folder, env, address, reason):
    said = cell(address=address, **env)
    assert reason in said and "No module named 'helpers'" in said
    assert "# not found? See what git said, or open a copy of the course" in said
    assert list(folder.iterdir()) == []


def test_a_kill_while_git_works_leaves_nothing_that_is_taken_for_the_course(cell, folder, tmp_path):
    git = tmp_path / "bin" / "git"
    git.parent.mkdir()
    half = 'mkdir -p "$to/helpers"; : > "$to/helpers/runs.py"'
    git.write_text(f"#!/bin/sh\nfor to; do :; done\n{half}\nkill -9 $PPID\n")
    git.chmod(0o755)
    said = cell(PATH=f"{git.parent}{os.pathsep}{os.environ['PATH']}")
    assert "No module named 'helpers'" in said
    assert list(folder.rglob("runs.py")) and not (folder / "the-course").exists()
    assert cell().endswith("from the-course ours\n")
    assert [path.name for path in folder.iterdir()] == ["the-course"]
