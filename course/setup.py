"""Make .venv, or use the one that is there, and install into it: `python3 course/setup.py [REQUIREMENTS]`.

Any Python 3.6 or later runs this, without a package. PYTHON in the environment names another one to build
with, CONSTRAINTS another file of versions (empty: the newest). A folder wheelhouse/ replaces the index.
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
VENV = ROOT / ".venv"
INSIDE = VENV / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
OURS = VENV / ".made-by-make"  # what lacks this file, or is a link, is somebody's own and never cleared
SUITABLE = ("3.11", "3.12", "3.13")
ASK = "import sys{}; print('%d.%d' % sys.version_info[:2])"


def main(requirements):
    """Have an environment with these requirements; a sentence on stderr and exit code 1 where that fails."""
    python = environment(os.environ.get("PYTHON"))
    constraints = os.environ.get("CONSTRAINTS", "constraints.txt")
    mark = VENV / requirements.replace("requirements", ".installed").replace("-dev", "").replace(".txt", "")
    files = [ROOT / name for name in ("requirements.txt", requirements, constraints) if name]
    newest = max(file.stat().st_mtime for file in files)
    if mark.exists() and mark.read_text() == constraints and newest <= mark.stat().st_mtime:
        return
    command = installer(python) + (["-c", constraints] if constraints else ["--upgrade"])
    if (ROOT / "wheelhouse").is_dir():
        command += ["--no-index", "--find-links", "wheelhouse"]
    if subprocess.run([*command, "-r", requirements], cwd=str(ROOT), timeout=7200).returncode:
        sys.exit("Nothing counts as installed; look at the lines above, then run it again.")
    mark.write_text(constraints)


def environment(wanted):
    """The interpreter of .venv, which is made anew only where it is ours or not there."""
    if VENV.exists() or VENV.is_symlink():
        version = version_of(INSIDE)
        if version in SUITABLE and (not wanted or version_of(wanted) == version):
            return INSIDE
        if VENV.is_symlink() or not OURS.exists():
            holds = "Python " + version if version else "no Python that runs"
            needed = version_of(wanted) or wanted if wanted else " or ".join(SUITABLE)
            sys.exit(
                ".venv was not made by make and holds {}, but {} is needed: move it away, or leave PYTHON "
                "out.".format(holds, needed)
            )
    usual = ["python3", "python3.13", "python3.12", "python3.11"]
    for python in [wanted] if wanted else usual:
        if version_of(python, ", venv, ensurepip") in SUITABLE:
            subprocess.run([python, "-m", "venv", "--clear", str(VENV)], check=True, timeout=600)
            OURS.touch()
            return INSIDE
    named = " as " + wanted if wanted else ""
    sys.exit(
        "No Python {} with venv was found{}: install one, or name it as in `make PYTHON=/path/to/python`."
        "".format(" or ".join(SUITABLE), named)
    )


def version_of(python, modules=""):
    """Such as "3.11"; None where it does not run or lacks one of the modules."""
    try:
        done = subprocess.run(
            [str(python), "-c", ASK.format(modules)],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            timeout=60,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.decode().strip() if done.returncode == 0 else None


def installer(python):
    """The start of a command that installs into this Python: pip's, or uv's where there is no pip."""
    if version_of(python, ", pip"):
        return [str(python), "-m", "pip", "install", "--disable-pip-version-check"]
    if shutil.which("uv"):
        return ["uv", "pip", "install", "--python", str(python)]
    sys.exit(".venv has no pip, and there is no uv to install with: move .venv away, or install uv.")


if __name__ == "__main__":
    main(*sys.argv[1:] or ["requirements-dev.txt"])
