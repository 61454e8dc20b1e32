"""Whole files or none: hashes, JSON, replacing a file, one file for a whole model."""

import contextlib
import hashlib
import io
import json
import os
import zipfile
from collections.abc import Callable
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any


class CourseError(RuntimeError, ValueError):
    """One sentence for the reader: what happened and what to do."""

    def _render_traceback_(self) -> list[str]:
        """What a notebook shows of it: the sentence alone."""
        return [f"{type(self).__name__}: {self}"]


def plain(error: BaseException) -> str:
    """What an error says, on one line, without paths, numbers of errors and full stop."""
    text = getattr(error, "strerror", None) or str(error) or type(error).__name__
    return " ".join(text.split())[:160].replace(". ", ": ").rstrip(".")


def sha256(path: Path) -> str:
    """The hash of a file in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def to_json(value: Any, other: Callable[[Any], Any] = lambda array: array.tolist()) -> str:
    """The one text of a value: sorted, indented, NaN refused; `other` says what JSON cannot hold."""
    options = {"sort_keys": True, "indent": 2, "ensure_ascii": False, "allow_nan": False}
    return json.dumps(value, default=other, **options) + "\n"


def load_json(path: Path) -> dict[str, Any]:
    """A JSON object; empty where there is no file."""
    try:
        value = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    except ValueError:
        value = None
    if not isinstance(value, dict):
        raise CourseError(f"{path} is damaged; delete it and run the notebooks again.")
    return value


def cannot_write(folder: Path, error: OSError) -> CourseError:
    return CourseError(
        f"Cannot write into {folder} ({error.strerror}); free some space or choose another folder."
    )


def replace(path: Path, content: str | bytes) -> None:
    """Write a file so that a kill leaves the old one or the new one."""
    scratch = path.with_name(f".{path.name}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        scratch.write_bytes(content.encode() if isinstance(content, str) else content)
        os.replace(scratch, path)
    except OSError as error:
        with contextlib.suppress(OSError):
            scratch.unlink()
        raise cannot_write(path.parent, error) from None


def to_bytes(stamp: str, thing: Any) -> bytes:
    """A dataclass of numbers, texts, arrays, tables and further dataclasses as a stamped zip, without pickle:
    described in thing.json, arrays as .npy, tables as .parquet. The same bytes whenever it is made."""
    import numpy as np
    import pandas as pd

    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as bundle:
        bundle.comment = stamp.encode()

        def part(kind: str, write: Callable[[io.BytesIO], Any]) -> dict[str, str]:
            write(raw := io.BytesIO())
            bundle.writestr(zipfile.ZipInfo(name := f"{len(bundle.namelist())}.{kind}"), raw.getvalue())
            return {f"${kind}": name}

        def described(value: Any) -> Any:
            if isinstance(value, np.ndarray):
                return part("npy", lambda raw: np.save(raw, value, allow_pickle=False))
            if isinstance(value, pd.DataFrame):
                return part("parquet", value.to_parquet)
            if is_dataclass(value):
                kept = {f.name: getattr(value, f.name) for f in fields(value)}
                kept = value.kept() if hasattr(value, "kept") else kept
                return {"$kind": type(value).__name__} | kept
            return value.tolist()

        bundle.writestr(zipfile.ZipInfo("thing.json"), to_json(thing, described))
    return content.getvalue()


def from_bytes(stamp: str, content: bytes, kinds: dict[str, Callable[..., Any]]) -> Any:
    """What `to_bytes` described, made anew by the callables of these names alone; otherwise, any error."""
    import numpy as np
    import pandas as pd

    with zipfile.ZipFile(io.BytesIO(content)) as bundle:
        if bundle.comment != stamp.encode():
            raise ValueError(f"it is stamped {bundle.comment.decode(errors='replace')!r}, not {stamp!r}")

        def made(value: dict[str, Any]) -> Any:
            if "$npy" in value:
                return np.load(io.BytesIO(bundle.read(value["$npy"])), allow_pickle=False)
            if "$parquet" in value:
                return pd.read_parquet(io.BytesIO(bundle.read(value["$parquet"])))
            return kinds[value.pop("$kind")](**value) if "$kind" in value else value

        return json.loads(bundle.read("thing.json"), object_hook=made)


def load(path: Path | str, stamp: str, kinds: dict[str, Callable[..., Any]], advice: str) -> Any:
    """What a file holds, or a ValueError in one sentence if it is damaged or foreign."""
    content = Path(path).read_bytes()
    try:
        return from_bytes(stamp, content, kinds)
    except CourseError:
        raise
    except Exception as cause:
        what, reason = stamp.split()[1].rstrip(","), str(cause).partition("\n")[0]
        raise ValueError(
            f"{Path(path).name} is not a {what} that this version of the course saved ({reason}): {advice}."
        ) from cause
