"""Starts processes in milliseconds: one that has imported everything forks them. A cold start of a worker costs 0.6 s
of CPU, which would bound a storm to two or three kills a second.

What runs in a child is the program `jobworker` itself, with its arguments. The nursery alone signals and reaps, so
no signal ever meets a process that happens to have the number of a dead one. It and its children end with its stdin.
"""

from __future__ import annotations

import asyncio
import gc
import os
import selectors
import signal
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import orjson

from jobworker.cli.main import cli
from tests.chaos import jobs, producers
from tests.chaos.records import LIFE

assert jobs.app is not None, "imported once, before the first fork"


def serve() -> None:
    """Read orders, fork, signal, reap; tell what happened, a JSON object a line."""
    children: dict[int, str] = {}
    selector = selectors.DefaultSelector()
    awake, wake = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
    signal.set_wakeup_fd(wake, warn_on_full_buffer=False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    selector.register(sys.stdin.fileno(), selectors.EVENT_READ)
    selector.register(awake, selectors.EVENT_READ)
    gc.freeze()
    orders = b""
    while True:
        for key, _ in selector.select():
            if key.fd == awake:
                with suppress(BlockingIOError):
                    os.read(awake, 4096)
                continue
            new = os.read(key.fd, 65536)
            if not new:
                _end(children)
                return
            *lines, orders = (orders + new).split(b"\n")
            for line in lines:
                _obey(orjson.loads(line), children)
        _reap(children)


def _obey(order: dict[str, Any], children: dict[int, str]) -> None:
    life = order["life"]
    if "signal" in order:
        pid = next((pid for pid, known in children.items() if known == life), None)
        if pid is not None:
            os.kill(pid, order["signal"])
        _tell(event="signalled", life=life, signal=order["signal"], alive=pid is not None)
        return
    pid = os.fork()
    if pid == 0:
        _live(order)
    children[pid] = life
    _tell(event="started", life=life, pid=pid)


def _reap(children: dict[int, str]) -> None:
    while children:
        pid, status = os.waitpid(-1, os.WNOHANG)
        if pid == 0:
            return
        _tell(event="ended", life=children.pop(pid), code=os.waitstatus_to_exitcode(status))


def _end(children: dict[int, str]) -> None:
    for pid in children:
        os.kill(pid, signal.SIGKILL)
    for pid in children:
        os.waitpid(pid, 0)


def _tell(**what: Any) -> None:
    os.write(1, orjson.dumps({"t": time.monotonic(), **what}) + b"\n")


def _live(order: dict[str, Any]) -> None:
    """The child, to its end."""
    code = 70
    try:
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        os.environ[LIFE] = order["life"]
        log = os.open(order["log"], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        nothing = os.open(os.devnull, os.O_RDONLY)
        for source, target in ((nothing, 0), (log, 1), (log, 2)):
            os.dup2(source, target)
        os.closerange(3, 64)
        code = _run(order)
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else 1
    except BaseException:  # noqa: BLE001  # a child must never go on as a second nursery
        sys.excepthook(*sys.exc_info())
    finally:
        with suppress(OSError, ValueError):
            sys.stderr.flush()
        os._exit(code)


def _run(order: dict[str, Any]) -> int:
    role: str = order["role"]
    match role:
        case "worker":
            cli.main(["run", "tests.chaos.jobs:app", *order["flags"]], standalone_mode=False)
        case "producer":
            asyncio.run(producers.produce(order["url"], order["life"], order["per_second"]))
        case "plain producer":
            producers.produce_sync(order["url"], order["life"], order["per_second"])
        case _:
            raise AssertionError(f"no role {role}")
    return 0


class Nursery:
    """The nursery as the storm sees it."""

    def __init__(self, process: asyncio.subprocess.Process, folder: Path) -> None:
        self._process = process
        self.folder = folder
        self._ends: dict[str, asyncio.Future[int]] = {}
        self._signals: dict[str, list[asyncio.Future[tuple[float, bool]]]] = {}
        self._listening = asyncio.create_task(self._listen())

    @classmethod
    async def open(cls, folder: Path, environment: dict[str, str]) -> Nursery:
        """Start it; records and logs go to ``folder``."""
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "tests.chaos.nursery",
            stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, env=environment,
        )  # fmt: skip
        return cls(process, folder)

    async def close(self) -> None:
        """End it and all its children."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        await self._process.wait()
        await self._listening

    def start(self, life: str, **order: Any) -> None:
        """Start a process; `ended` tells when it is over."""
        self._ends[life] = asyncio.get_running_loop().create_future()
        self._order(life=life, log=str(self.folder / f"{life.rsplit('-', 1)[0]}.log"), **order)

    async def signal(self, life: str, number: signal.Signals) -> tuple[float, bool]:
        """When it was sent (CLOCK_MONOTONIC), and whether there was still somebody to hear it."""
        answer: asyncio.Future[tuple[float, bool]] = asyncio.get_running_loop().create_future()
        self._signals.setdefault(life, []).append(answer)
        self._order(life=life, signal=int(number))
        return await answer

    async def ended(self, life: str) -> int:
        """The exit code, negative for a signal, once it has ended."""
        return await asyncio.shield(self._ends[life])

    def lives(self, life: str) -> bool:
        """Has it not ended, as far as is known?"""
        return life in self._ends and not self._ends[life].done()

    def _order(self, **order: Any) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(orjson.dumps(order) + b"\n")

    async def _listen(self) -> None:
        assert self._process.stdout is not None
        async for line in self._process.stdout:
            told = orjson.loads(line)
            match told["event"]:
                case "ended":
                    self._ends[told["life"]].set_result(told["code"])
                case "signalled":
                    self._signals[told["life"]].pop(0).set_result((told["t"], told["alive"]))
                case _:
                    pass  # started: nobody waits for it


if __name__ == "__main__":
    serve()
