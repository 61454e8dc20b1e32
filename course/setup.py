"""Make .venv and install into it: `python3 course/setup.py [REQUIREMENTS]`.

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
OURS = VENV / ".made-by-make"  # what lacks this file, or is a link, is somebody's own and never touched
SUITABLE = ("3.11", "3.12", "3.13")
VERSION = "import venv, ensurepip, sys; print('%d.%d' % sys.version_info[:2])"
PAST = ["PIP_" + name for name in ("TARGET", "PREFIX", "ROOT", "USER", "PYTHON", "DRY_RUN", "NO_DEPS")]


def main(requirements):
    """Have an environment with these requirements; a sentence on stderr and exit code 1 where that fails."""
    environment(os.environ.get("PYTHON"))
    constraints = os.environ.get("CONSTRAINTS", "constraints.txt")
    mark = VENV / requirements.replace("requirements", ".installed").replace("-dev", "").replace(".txt", "")
    files = [ROOT / name for name in ("requirements.txt", requirements, constraints) if name]
    newest = max(file.stat().st_mtime for file in files)
    if mark.exists() and mark.read_text() == constraints and newest <= mark.stat().st_mtime:
        return
    quick = ["--disable-pip-version-check", "--no-compile"]  # pip would compile on one core
    command = [str(INSIDE), "-m", "pip", "install", *quick, "-r", requirements]
    command += ["-c", constraints] if constraints else ["--upgrade"]
    if (ROOT / "wheelhouse").is_dir():
        command += ["--no-index", "--find-links", "wheelhouse"]
    env = {name: value for name, value in os.environ.items() if name not in PAST}
    if subprocess.run(command, cwd=str(ROOT), env=env, timeout=7200).returncode:
        sys.exit("Nothing counts as installed; look at the lines above, then run it again.")
    subprocess.run([str(INSIDE), "-m", "compileall", "-qq", "-j", "0", str(VENV)], timeout=7200)
    mark.write_text(constraints)


def environment(wanted):
    """Have .venv with a suitable Python; only what make made is ever cleared."""
    if VENV.is_symlink() or (VENV.exists() and not OURS.exists()):
        sys.exit(
            ".venv was not made by make: move it away, or do without make: `.venv/bin/python -m course NAME`."
        )
    there = said(INSIDE, "-c", VERSION)[1]
    if there in SUITABLE and (not wanted or said(wanted, "-c", VERSION)[1] == there):
        return
    for python in [wanted] if wanted else ["python3", "python3.13", "python3.12", "python3.11"]:
        if said(python, "-c", VERSION)[1] in SUITABLE:
            code, reason = said(python, "-m", "venv", "--clear", str(VENV))
            if code:
                shutil.rmtree(str(VENV), ignore_errors=True)
                sys.exit(
                    ".venv could not be made ({}): its folder must be yours to write, without ':' in its "
                    "name, on a disk with some space.".format(reason.split("\n")[-1][:160].rstrip("."))
                )
            OURS.touch()
            return
    sys.exit(
        "No Python {} with venv was found{}: install one, or name it as in `make PYTHON=/path/to/python`."
        "".format(" or ".join(SUITABLE), " as " + wanted if wanted else "")
    )


def said(python, *arguments):
    """The exit code of a Python, 1 where there is none, and what it printed."""
    both = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    try:
        done = subprocess.run([str(python), *arguments], timeout=600, **both)
    except (OSError, subprocess.TimeoutExpired) as error:
        return 1, str(error)
    return done.returncode, (done.stderr if done.returncode else done.stdout).decode(errors="replace").strip()


if __name__ == "__main__":
    try:
        main(*sys.argv[1:] or ["requirements-dev.txt"])
    except OSError as error:  # a read-only folder, a full disk, another user's .venv
        sys.exit("Nothing counts as installed ({}): this folder must be yours to write.".format(error))
