"""`jobworker top` on a terminal: it draws, and q or Ctrl-C gives the terminal back."""

from __future__ import annotations

import os
import pty
import signal
import subprocess
import sys
import termios
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import redis

from jobworker.client.synchronous import SyncClient
from tests.redis_server import RedisServer
from tests.waiting import wait_until_sync

pytestmark = pytest.mark.redis

SECONDS = 40  # for what takes two: a bound costs only who waits in vain


class Terminal:
    """A process on a pseudo-terminal, and what it has drawn."""

    def __init__(self, master: int, process: subprocess.Popen[bytes]) -> None:
        self._master = master
        self.process = process
        self.drawn = b""

    def read(self) -> bytes:
        try:
            self.drawn += os.read(self._master, 65536)
        except (BlockingIOError, OSError):  # nothing new, or nobody writes any more
            return self.drawn
        return self.drawn

    def type(self, keys: bytes) -> None:
        os.write(self._master, keys)

    def until(self, words: bytes) -> None:
        wait_until_sync(lambda: words in self.read(), SECONDS, f"{words!r} on the terminal")

    def exit_code(self) -> int:
        def ended() -> bool:
            self.read()  # or it could block on a terminal that is full
            return self.process.poll() is not None

        wait_until_sync(ended, SECONDS, "the end of top")
        code: int = self.process.returncode
        return code


@contextmanager
def top_of(server: RedisServer) -> Iterator[tuple[Terminal, list[object]]]:
    """The terminal, and its settings as they were."""
    master, slave = pty.openpty()
    os.set_blocking(master, False)
    before = termios.tcgetattr(slave)
    environment = {**os.environ, "JOBWORKER_REDIS_URL": server.url, "TERM": "xterm", "COLUMNS": "120", "LINES": "40"}
    command = [sys.executable, "-m", "jobworker.cli", "top", "--every", "0.2"]
    process = subprocess.Popen(command, stdin=slave, stdout=slave, stderr=slave, env=environment)
    try:
        yield Terminal(master, process), before
        assert termios.tcgetattr(slave) == before
    finally:
        if process.poll() is None:
            process.kill()
        process.wait(SECONDS)
        os.close(slave)
        os.close(master)


@pytest.mark.parametrize("how", ["q", "Ctrl-C"])
def test_top_draws_until_it_is_ended(redis_server: RedisServer, how: str) -> None:
    with redis.Redis.from_url(redis_server.url) as client:
        client.flushall()
        SyncClient(client).enqueue("Mail", [7], queue="letters")
    with top_of(redis_server) as (terminal, _):
        terminal.until(b"letters")
        with redis.Redis.from_url(redis_server.url) as client:
            SyncClient(client).enqueue("Report", [7], queue="reports")
        terminal.until(b"reports")
        if how == "q":
            terminal.type(b"xq")
        else:
            terminal.process.send_signal(signal.SIGINT)
        assert terminal.exit_code() == 0
        assert b"Traceback" not in terminal.drawn


def test_top_says_that_redis_went_away_and_shows_what_it_saw_last(tmp_path_factory: pytest.TempPathFactory) -> None:
    with RedisServer(tmp_path_factory.mktemp("redis")) as server:
        with redis.Redis.from_url(server.url) as client:
            SyncClient(client).enqueue("Mail", [7], queue="letters")
        with top_of(server) as (terminal, _):
            terminal.until(b"letters")
            server.kill()
            terminal.until(b"this is what was seen last")
            server.start()
            with redis.Redis.from_url(server.url) as client:
                SyncClient(client).enqueue("Mail", [7], queue="parcels")
            terminal.until(b"parcels")
            terminal.type(b"q")
            assert terminal.exit_code() == 0
