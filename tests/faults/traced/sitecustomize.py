"""Imported by every Python of the traced run: writes down files opened for writing and any use of pickle."""

from __future__ import annotations

import os
import pickle
import sys

_log = os.open(os.environ["COURSE_TRACE"], os.O_WRONLY | os.O_APPEND | os.O_CREAT)
_WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT


def _say(kind: str, what: object) -> None:
    os.write(_log, f"{kind}\t{what!r}\n".encode(errors="replace"))


def _hook(event: str, arguments: tuple) -> None:
    if event == "open" and isinstance(arguments[2], int) and arguments[2] & _WRITES:
        path = arguments[0]
        _say("write", os.fsdecode(path) if isinstance(path, str | bytes | os.PathLike) else path)
    elif event in ("pickle.find_class", "os.system"):
        _say(event, arguments)


def _watched(name: str, call):
    def watched(*arguments, **options):
        _say("pickle", (name, sys._getframe(1).f_code.co_filename))
        return call(*arguments, **options)

    return watched


for _name in ("dump", "dumps", "load", "loads"):
    setattr(pickle, _name, _watched(_name, getattr(pickle, _name)))
sys.addaudithook(_hook)
_say("started", " ".join(sys.orig_argv))
