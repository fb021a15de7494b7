"""`jobworker top` and `progress --watch` on a terminal: they draw, and give the terminal back."""

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
from jobworker.protocol.keys import Keys
from tests.redis_server import RedisServer
from tests.waiting import wait_until_sync

pytestmark = pytest.mark.redis

KEYS = Keys()
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
def top_of(server: RedisServer, *command: str) -> Iterator[tuple[Terminal, list[object]]]:
    """The terminal, and its settings as they were."""
    master, slave = pty.openpty()
    os.set_blocking(master, False)
    before = termios.tcgetattr(slave)
    environment = {**os.environ, "JOBWORKER_REDIS_URL": server.url, "TERM": "xterm", "COLUMNS": "120", "LINES": "40"}
    words = [sys.executable, "-m", "jobworker.cli", *(command or ("top",)), "--every", "0.2"]
    process = subprocess.Popen(words, stdin=slave, stdout=slave, stderr=slave, env=environment)
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


@pytest.mark.parametrize("how", ["the job's end", "Ctrl-C"])
def test_progress_is_drawn_until_the_job_is_over(redis_server: RedisServer, how: str) -> None:
    with redis.Redis.from_url(redis_server.url) as client:
        client.flushall()
        key = KEYS.progress("p")
        client.hset(key, mapping={"processed": 5, "failed": 1, "total": 20, "updated_at": 1_700_000_000_000})
        with top_of(redis_server, "progress", "p", "--watch") as (terminal, _):
            terminal.until(b"5 of 20 rows (25%), 1 with errors")
            client.hset(key, mapping={"processed": 15})
            terminal.until(b"15 of 20 rows (75%)")
            if how == "Ctrl-C":
                terminal.process.send_signal(signal.SIGINT)
            else:
                client.hset(key, mapping={"processed": 20, "end": "done", "ended_at": 1_700_000_001_000})
                terminal.until(b"20 of 20 rows (100%)")
            assert terminal.exit_code() == 0
            assert b"Traceback" not in terminal.drawn


def test_progress_is_watched_on_a_terminal_only_and_by_nobody_who_wants_json(redis_server: RedisServer) -> None:
    for flags, words in (((), "this is none"), (("--json",), "choose one of them")):
        command = [
            sys.executable,
            "-m",
            "jobworker.cli",
            "progress",
            "p",
            "--watch",
            *flags,
            "--redis",
            redis_server.url,
        ]
        refused = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS, check=False)
        assert refused.returncode == 2
        assert words in refused.stderr
