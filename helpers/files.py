"""Whole files or none: hashes, JSON, bundles, atomic replacement, the lock of a folder."""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import os
import zipfile
from collections.abc import Callable, Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

HOLDER = "COURSE_LOCK_HOLDER"
Bundle = TypeVar("Bundle")


class CourseError(RuntimeError):
    """One sentence for the reader: what happened and what to do."""

    def _render_traceback_(self) -> list[str]:
        """What a notebook shows of it: the sentence alone."""
        return [f"{type(self).__name__}: {self}"]


@cache
def _hash_of(path: Path, mtime_ns: int, size: int) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def sha256(path: Path) -> str:
    """The hash of a file in hex; a file that has not changed is read once."""
    status = path.stat()
    return _hash_of(path, status.st_mtime_ns, status.st_size)


def to_json(value: Any) -> str:
    """The one text of a value: sorted, indented, arrays as lists, NaN refused."""
    plain = json.dumps(
        value,
        sort_keys=True,
        indent=2,
        ensure_ascii=False,
        allow_nan=False,
        default=lambda array: array.tolist(),
    )
    return plain + "\n"


def load_json(path: Path) -> dict[str, Any]:
    """A JSON object; empty where there is no file.

    Raises:
        CourseError: if the file holds anything else.
    """
    try:
        value = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    except ValueError:
        value = None
    if not isinstance(value, dict):
        raise CourseError(f"{path} is damaged; delete it and run the notebooks again.")
    return value


@contextlib.contextmanager
def writing(folder: Path) -> Iterator[None]:
    """Turn an OSError of what is written within into one sentence, a CourseError."""
    try:
        yield
    except OSError as error:
        elsewhere = error.filename and not Path(error.filename).is_relative_to(folder)
        raise CourseError(
            f"Cannot write into {error.filename if elsewhere else folder} ({error.strerror or error}); "
            "free some space or choose another folder."
        ) from None


def replace(path: Path, content: str | bytes) -> None:
    """Write a file so that a kill leaves the old one or the new one.

    Raises:
        CourseError: if it cannot be written.
    """
    scratch = path.with_name(f".{path.name}.tmp")
    with writing(path.parent):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            scratch.write_bytes(content.encode() if isinstance(content, str) else content)
            os.replace(scratch, path)
        finally:
            scratch.unlink(missing_ok=True)


@contextlib.contextmanager
def environment(**variables: str) -> Iterator[None]:
    """Environment variables of this process and its children, for a while."""
    before = {name: os.environ.get(name) for name in variables}
    os.environ.update(variables)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


@contextlib.contextmanager
def locked(folder: Path, timeout: float = 0) -> Iterator[None]:
    """Hold a run's folder; what the holder starts is let through. The kernel frees a dead lock.

    Args:
        timeout: seconds to wait for another holder.

    Raises:
        CourseError: if another process holds it, or it cannot be written.
    """
    from filelock import FileLock, Timeout

    if os.environ.get(HOLDER) == str(folder):
        yield
        return
    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
        lock = FileLock(folder / ".lock")
        try:
            lock.acquire(timeout=timeout)
        except Timeout:
            raise CourseError(
                f"Another process is working in {folder}; wait until it ends or choose another run."
            ) from None
    try:
        with environment(**{HOLDER: str(folder)}):
            yield
    finally:
        lock.release()


# Bundles: one file that holds a whole model, without pickle


def pack(stamp: str, parts: dict[str, bytes]) -> bytes:
    """A stamped zip of named parts, the same bytes whenever it is made."""
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as bundle:
        bundle.comment = stamp.encode()
        for name, part in parts.items():
            bundle.writestr(zipfile.ZipInfo(name), part)
    return content.getvalue()


def load_bundle(path: Path | str, from_bytes: Callable[[bytes], Bundle], what: str, advice: str) -> Bundle:
    """What a file holds, or a ValueError in one sentence if it is damaged or foreign."""
    content = Path(path).read_bytes()
    try:
        return from_bytes(content)
    except CourseError:
        raise
    except Exception as cause:
        reason = str(cause).partition("\n")[0]
        raise ValueError(
            f"{Path(path).name} is not {what} that this version of the course saved ({reason}): {advice}."
        ) from cause


def unpack(stamp: str, content: bytes, names: Sequence[str]) -> list[bytes]:
    """The named parts of what `pack` made.

    Raises:
        ValueError, zipfile.BadZipFile, KeyError: if it is no such zip, damaged, or stamped otherwise.
    """
    with zipfile.ZipFile(io.BytesIO(content)) as bundle:
        if bundle.comment != stamp.encode():
            raise ValueError(f"it is stamped {bundle.comment.decode(errors='replace')!r}, not {stamp!r}")
        return [bundle.read(name) for name in names]
