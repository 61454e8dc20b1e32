"""Where the packages are not the course's own, as on Google Colab: what is missing, and installing it."""

from __future__ import annotations

import importlib
import re
import subprocess
import sys
import tempfile
from importlib.metadata import PackageNotFoundError, distributions, version
from pathlib import Path

from helpers.files import CourseError
from helpers.settings import ROOT

NOT_FOR_NOTEBOOKS = {"jupyter", "nbval"}  # of requirements.txt: what only `make lab` and `make test` use
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


def missing() -> list[str]:
    """The requirements that a notebook needs and no installed package has by name, whatever its version."""
    lines = (ROOT / "requirements.txt").read_text(encoding="utf-8").splitlines()
    wanted = [line.partition("#")[0].strip() for line in lines]
    names = {_name(one): one for one in wanted if one}
    return [one for name, one in names.items() if name not in NOT_FOR_NOTEBOOKS and not _installed(name)]


def _name(requirement: str) -> str:
    return _NAME.match(requirement)[0]


def _installed(name: str) -> bool:
    try:
        return bool(version(name))
    except PackageNotFoundError:
        return False


def check_course() -> None:
    """Raise an ImportError if a package is missing: the bootstrap cell of every notebook begins with this."""
    if names := missing():
        raise ImportError(f"missing: {', '.join(names)}")


def prepare(install: bool) -> None:
    """Have every package that a notebook needs, and change none that is there.

    Args:
        install: whether this environment is ours to add to; otherwise a missing package is an error.

    Raises:
        CourseError: if a package is missing and may not or could not be installed.
    """
    names = missing()
    if not names:
        return
    listed = ", ".join(map(_name, names))
    if not install:
        raise CourseError(
            f"This Python lacks {listed}: open the notebook with `make lab`, "
            "or install requirements.txt into its environment."
        ) from None
    reason = _pip(names)
    importlib.invalidate_caches()
    if reason or missing():
        raise CourseError(
            f"pip could not install {listed} ({reason or 'it did not say why'}): "
            "check the network, then run this cell again."
        ) from None
    print(f"Installed {listed}.")


def _pip(requirements: list[str]) -> str:
    """Install beside all that is installed, each at its version; the reason if that fails."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "installed.txt").write_text(_as_constraints(), encoding="utf-8")
        command = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        done = subprocess.run(
            [*command, "-c", "installed.txt", *requirements],
            cwd=folder,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            encoding="utf-8",
            errors="replace",
        )
    said = [line for line in done.stderr.splitlines() if line.strip()]
    errors = [line for line in said if line.startswith("ERROR")]
    return (errors or said or ["it was killed"])[-1].removeprefix("ERROR: ") if done.returncode else ""


def _as_constraints() -> str:
    """Everything installed as `name==version`; of two copies the first on the path, which is imported."""
    from packaging.version import InvalidVersion, Version

    lines: dict[str, str] = {}
    for found in distributions():
        try:
            name, exact = found.metadata["Name"], Version(found.version)
        except (InvalidVersion, TypeError):  # a distribution's leftover, which pip does not see either
            continue
        if name:
            lines.setdefault(re.sub(r"[-_.]+", "-", name).lower(), f"{name}=={exact}")
    return "\n".join(lines.values()) + "\n"
