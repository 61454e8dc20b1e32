"""An environment like Colab's, kept in .colab/, and thin ones over it that a notebook may add to."""

import hashlib
import os
import re
import shutil
import subprocess
import sys
import venv
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
CONSTRAINTS = ROOT / "tests" / "constraints-colab.txt"
KEPT = ROOT / ".colab"


def site_packages(folder: Path) -> Path:
    (found,) = [*folder.glob("lib/python*/site-packages"), *folder.glob("Lib/site-packages")]
    return found


def python_of(folder: Path) -> Path:
    return folder / ("Scripts/python.exe" if os.name == "nt" else "bin/python")


def base() -> Path:
    """The environment with Colab's versions; made once for each set of them."""
    key = hashlib.sha256(sys.version.encode() + CONSTRAINTS.read_bytes()).hexdigest()[:16]
    folder = KEPT / key
    if not (folder / "complete").is_file():
        shutil.rmtree(KEPT, ignore_errors=True)
        venv.create(folder, with_pip=True)
        command = [python_of(folder), "-m", "pip", "install", "-qq", "--disable-pip-version-check"]
        subprocess.run([*command, "-r", CONSTRAINTS], check=True, timeout=1800)
        (folder / "complete").touch()
    return folder


def thin(folder: Path, below: Path) -> Path:
    """The interpreter of an environment over another one's packages, to which pip only adds."""
    venv.create(folder, with_pip=False)
    (site_packages(folder) / "below.pth").write_text(f"{site_packages(below)}\n", encoding="utf-8")
    return python_of(folder)


def frozen(python: Path) -> dict[str, str]:
    command = [python, "-m", "pip", "list", "--format=freeze", "--disable-pip-version-check"]
    done = subprocess.run(command, check=True, capture_output=True, text=True, timeout=1800)
    return dict(re.findall(r"^(\S+)==(\S+)$", done.stdout, re.MULTILINE))
