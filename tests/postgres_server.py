"""A real PostgreSQL of the tests' own, on an ephemeral port, that can be killed and started again.

It refuses to run as root, so root starts it as the user ``postgres``, which the Debian package makes.
"""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import tempfile
from pathlib import Path
from types import TracebackType
from typing import Self

import pytest

from tests.redis_server import free_port
from tests.waiting import wait_until_sync

_SETTINGS = {
    "listen_addresses": "127.0.0.1",
    "unix_socket_directories": "",
    "max_connections": "200",
    # The tests kill processes and not the machine, so what the kernel was given is safe.
    "fsync": "off",
    "full_page_writes": "off",
}


class PostgresServer:
    """One server with an empty database, which everybody on this machine may use as ``postgres``."""

    def __init__(self) -> None:
        # Not below pytest's folder, into which nobody but root may look.
        self.folder = Path(tempfile.mkdtemp(prefix="jobworker-postgres-"))
        self.port = free_port()
        self.process: subprocess.Popen[bytes] | None = None
        self._log_began = 0

    @property
    def url(self) -> str:
        """For SQLAlchemy, plain and async alike."""
        return f"postgresql+psycopg://postgres@127.0.0.1:{self.port}/postgres"

    def make(self) -> None:
        """Make its data, once."""
        if os.geteuid() == 0:
            shutil.chown(self.folder, "postgres", "postgres")
        program = _program("initdb")
        command = [
            program,
            "-D",
            str(self._data),
            "-U",
            "postgres",
            "-A",
            "trust",
            "-E",
            "UTF8",
            "--locale=C.UTF-8",
            "-N",
        ]
        made = subprocess.run([*_as_nobody_special(), *command], capture_output=True, text=True, check=False, cwd="/")
        assert made.returncode == 0, made.stdout + made.stderr

    def start(self) -> None:
        """Start it and wait until it answers."""
        settings = [word for name, value in _SETTINGS.items() for word in ("-c", f"{name}={value}")]
        command = [_program("postgres"), "-D", str(self._data), "-p", str(self.port), *settings]
        with self._log.open("ab") as log:
            self._log_began = log.tell()
            self.process = subprocess.Popen([*_as_nobody_special(), *command], stdout=log, stderr=log, cwd="/")
        wait_until_sync(self._answers, 30, f"PostgreSQL on port {self.port}, log in {self.folder}")

    def kill(self) -> None:
        """End it as a crash would, and all connections with it; what was committed stays."""
        if self.process is not None:
            self.process.send_signal(signal.SIGQUIT)
            self.process.wait(30)
            self.process = None

    def __enter__(self) -> Self:
        self.make()
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.kill()
        shutil.rmtree(self.folder, ignore_errors=True)

    @property
    def _log(self) -> Path:
        return self.folder / "postgres.log"

    @property
    def _data(self) -> Path:
        return self.folder / "data"

    def _answers(self) -> bool:
        assert self.process is not None
        log = self._log.read_bytes()[self._log_began :]
        assert self.process.poll() is None, f"PostgreSQL ended: {log[-2000:].decode()}"
        # A start-up packet for SSL is answered with one byte, whatever the settings: 'N' or 'S'. No driver is needed.
        try:
            with socket.create_connection(("127.0.0.1", self.port), timeout=1) as probe:
                probe.sendall(b"\x00\x00\x00\x08\x04\xd2\x16\x2f")
                ready = probe.recv(1) in {b"N", b"S"}
        except OSError:
            return False
        return ready and b"ready to accept connections" in log


def _program(name: str) -> str:
    """Debian keeps the programs of the server away from the PATH."""
    newest = sorted(Path("/usr/lib/postgresql").glob(f"*/bin/{name}"))
    program = str(newest[-1]) if newest else shutil.which(name)
    if program is None:
        message = f"PostgreSQL's {name} is not installed: run `make bootstrap`"
        if os.environ.get("CI"):
            pytest.fail(message)
        pytest.skip(message)
    return program


def _as_nobody_special() -> list[str]:
    if os.geteuid() != 0:
        return []
    return ["setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups", "--"]
