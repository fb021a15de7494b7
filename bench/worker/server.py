"""A redis-server of the run's own on a loopback port, and its counters."""

from __future__ import annotations

import shutil
import socket
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

import redis

_START_SECONDS = 20.0


@dataclass(frozen=True, slots=True)
class Counters:
    """What Redis did since it started.

    ``commands`` counts those inside scripts too; ``reads`` are network reads of clients' requests, so about the round
    trips; ``cpu_seconds`` is user and system time; ``bytes_in`` is all that clients sent.
    """

    commands: int
    reads: int
    cpu_seconds: float
    bytes_in: int

    def since(self, before: Counters) -> Counters:
        """What was added, without the question that made ``before``."""
        return Counters(
            self.commands - before.commands - 1,
            self.reads - before.reads - 1,
            self.cpu_seconds - before.cpu_seconds,
            self.bytes_in - before.bytes_in,
        )


class Server:
    """One redis-server without persistence, as long as the block lasts."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.port = _free_port()
        self._process: subprocess.Popen[bytes] | None = None
        self.client = redis.Redis(port=self.port, protocol=3)

    def __enter__(self) -> Self:
        program = shutil.which("redis-server")
        if program is None:
            raise RuntimeError("redis-server is not installed: run `make bootstrap-redis`")
        self._folder.mkdir(parents=True, exist_ok=True)
        command = [program, "--port", str(self.port), "--bind", "127.0.0.1", "--dir", str(self._folder)]
        command += ["--save", "", "--appendonly", "no", "--maxmemory-policy", "noeviction"]
        with (self._folder / "redis.log").open("wb") as log:
            self._process = subprocess.Popen(command, stdout=log, stderr=log)
        deadline = time.monotonic() + _START_SECONDS
        while True:
            try:
                self.client.ping()
            except redis.ConnectionError:
                if self._process.poll() is not None or time.monotonic() > deadline:
                    raise RuntimeError(f"redis-server did not start; its log is {self._folder / 'redis.log'}") from None
                time.sleep(0.02)
            else:
                return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.client.close()
        if self._process is not None:
            self._process.terminate()
            self._process.wait(20)

    def version(self) -> str:
        """Its version."""
        return str(self.client.info("server")["redis_version"])

    def counters(self) -> Counters:
        """The counters now."""
        stats = self.client.info("stats", "cpu")
        cpu = float(stats["used_cpu_user"]) + float(stats["used_cpu_sys"])
        return Counters(
            int(stats["total_commands_processed"]),
            int(stats["total_reads_processed"]),
            cpu,
            int(stats["total_net_input_bytes"]),
        )

    def empty(self) -> None:
        """Throw all data away, and wait until its memory is free, so that it costs nobody's round."""
        self.client.flushall(asynchronous=False)

    def waiting(self, pattern: str) -> int:
        """Jobs in the keys that fit a pattern: elements, or of streams the pending and unread entries."""
        return sum(self._size(key) for key in self.client.scan_iter(match=pattern, count=1000))

    def _size(self, key: bytes) -> int:
        client = self.client
        match client.type(key):
            case b"list":
                return client.llen(key)
            case b"zset":
                return client.zcard(key)
            case b"set":
                return client.scard(key)
            case b"hash":
                return client.hlen(key)
            case b"stream":
                return self._unacknowledged(key)
            case _:
                return 0

    def _unacknowledged(self, stream: bytes) -> int:
        groups = self.client.xinfo_groups(stream)
        if not groups:  # made by the first worker
            return self.client.xlen(stream)
        return sum(int(group["pending"]) + int(group.get("lag") or 0) for group in groups)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
