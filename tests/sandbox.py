"""What a test needs to make a machine worse: no network, a full disk, a read-only folder, kill -9."""

import contextlib
import itertools
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path

import pytest

_LOOPBACK_UP = """
import fcntl, os, socket, struct, sys
with socket.socket() as any_socket:
    fcntl.ioctl(any_socket, 0x8914, struct.pack("16sh14x", b"lo", 0x41))  # SIOCSIFFLAGS: up, running
os.execvp(sys.argv[1], sys.argv[1:])
"""


@cache
def _unshare(kind: str) -> tuple[str, ...]:
    """`unshare` for this user; skips the test where the machine does not allow it."""
    root = () if sys.platform == "linux" and os.geteuid() == 0 else ("--map-root-user",)
    command = ("unshare", *root, kind)
    with contextlib.suppress(OSError):
        if subprocess.run([*command, "true"], capture_output=True, timeout=600).returncode == 0:
            return command
    pytest.skip(f"`unshare {kind}` is not possible here (it needs Linux and namespaces)")


def without_network(*command: object) -> list[str]:
    """The command in a world whose only network is the loopback, which kernels need."""
    return [*_unshare("--net"), sys.executable, "-c", _LOOPBACK_UP, *map(str, command)]


def with_mounts(mounts: str, folder: Path, *command: object) -> list[str]:
    """The command after the mounts, a fixed shell text about "$folder", which nobody else sees."""
    script = f'set -e; folder="$1"; shift; {mounts}; exec "$@"'
    return [*_unshare("--mount"), "sh", "-c", script, "sh", *map(str, (folder, *command))]


@contextlib.contextmanager
def small_files_only(size: int) -> Iterator[None]:
    """Let no file of this process grow beyond `size` bytes: the error of a full disk, without one."""
    resource = pytest.importorskip("resource", reason="needs POSIX limits")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def killed_at_every_touch(prepare: Callable[[], object], act: Callable, check: Callable[[], object]) -> int:
    """Prepare, kill the action before its first, second, ... change of a file, and check; gives how often."""
    kills = 0
    while True:
        prepare()
        if (child := os.fork()) == 0:
            _die_before_touch(kills)
            act()
            os._exit(0)
        if os.waitpid(child, 0)[1] != signal.SIGKILL:
            return kills
        kills += 1
        check()


def _die_before_touch(nth: int) -> None:
    seen = itertools.count()

    def touched(event: str, arguments: tuple) -> None:
        writes = event == "open" and isinstance(arguments[2], int) and arguments[2] & os.O_CREAT
        if (writes or event in ("os.rename", "os.remove", "os.mkdir", "os.rmdir")) and next(seen) == nth:
            os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(touched)


def git_finds(repository: str, folder: Path) -> dict[str, str]:
    """What an environment tells git: that this address of GitHub leads to a folder."""
    return {
        "GIT_CONFIG_COUNT": "1",
        "GIT_CONFIG_KEY_0": f"url.{folder.as_uri()}.insteadOf",
        "GIT_CONFIG_VALUE_0": f"https://github.com/{repository}.git",
    }


def commit_all(folder: Path, tag: str) -> None:
    author = ["-c", "user.name=nobody", "-c", "user.email=nobody@localhost"]
    for command in (["init", "-q"], ["add", "-A"], [*author, "commit", "-qm", "All"], ["tag", tag]):
        subprocess.run(["git", *command], cwd=folder, check=True, timeout=600)


def files(folder: Path) -> dict[str, bytes]:
    paths = sorted(path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): path.read_bytes() for path in paths}


def last_line(text: str) -> str:
    """The last line that is not empty: where a command says what happened."""
    return ([line for line in text.replace("\r", "\n").split("\n") if line.strip()] or [""])[-1]


@contextlib.contextmanager
def refused(sentence: str, error: type[Exception] | tuple = ValueError) -> Iterator[None]:
    """What is done here ends in one sentence that matches."""
    with pytest.raises(error, match=sentence) as caught:
        yield
    assert_one_sentence(str(caught.value))


def assert_one_sentence(message: str) -> None:
    """Said plainly, without a traceback."""
    assert message.rstrip(")").endswith((".", "json", "ipynb")), message
    assert "Traceback" not in message and "\n" not in message.strip() and len(message) < 600, message
