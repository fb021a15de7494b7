"""The parent of several processes: loads the application once, forks, and replaces who dies.

It has no event loop, no thread and no connection to Redis, so that it can fork at any time, and nothing in it can hang.
"""

from __future__ import annotations

import ctypes
import gc
import logging
import os
import selectors
import signal
import socket
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from dataclasses import replace
from types import FrameType
from typing import Any

from jobworker.app import App
from jobworker.errors import ConfigurationError, JobworkerError
from jobworker.runtime.life import rss_kb
from jobworker.runtime.process import EXIT_NO_START
from jobworker.runtime.settings import Settings
from jobworker.swarm.child import Child as WorkingChild
from jobworker.swarm.messages import Channel, Order, Report, Roll, Word
from jobworker.swarm.numbers import MOST_CHILDREN
from jobworker.swarm.roster import SPOKESMAN, Child, Kill, Recycle, Roster, Start, Step
from jobworker.swarm.spokesman import Spokesman

log = logging.getLogger("jobworker.swarm")

Runner = Callable[[Callable[[], Coroutine[Any, Any, int]]], int]
"""Runs a coroutine in a new event loop."""

_TICK_SECONDS = 0.25
_TELL_SECONDS = 1.0
_STACKS_SECONDS = 0.05  # in which a process has written its stacks to the log
_STOOD_STILL_SECONDS = 5.0
_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGTSTP, signal.SIGTTIN, signal.SIGCHLD)
_PR_SET_PDEATHSIG = 1


class Parent:
    """``limit_mb`` is the memory (resident, MiB) at which a process is replaced, 0 for any."""

    def __init__(self, app: App, settings: Settings, processes: int, limit_mb: int, run: Runner) -> None:
        self._app = app
        self._comes_back = settings.worker is not None
        # One that is made up at random is made up once, for all.
        self._settings = replace(settings, worker=settings.identity())
        self._processes = processes
        self._run = run
        self._roster = Roster(processes, settings.shutdown_seconds, limit_mb * 1024)
        self._lines: dict[int, Channel] = {}
        self._signals: deque[signal.Signals] = deque()
        self._selector = selectors.DefaultSelector()
        self._word: Word | None = None
        self._told: Roll | None = None
        self._told_at = float("-inf")

    def run(self) -> int:
        """Keep the processes until a signal ends them; the exit code. Returns in each child as well, with its own.

        Raises:
            ConfigurationError: the application alone needs more memory than a process may have.
        """
        limit, own = self._roster.limit_kb, rss_kb()
        if 0 < limit <= own:
            raise ConfigurationError(
                f"the application takes {own // 1024} MiB before it runs a job, and a process may have "
                f"{limit // 1024}: raise --max-memory-mb or JOBWORKER_MAX_MEMORY_MB"
            )
        if threading.active_count() > 1:
            names = " ".join(thread.name for thread in threading.enumerate() if thread is not threading.main_thread())
            log.warning("the application started threads while it was loaded: they do not exist in the processes that "
                        "run jobs; start them in the first job", extra={"threads": names})  # fmt: skip
        # What is loaded is never garbage. Else the first collection in each child would write to, and copy, all of it.
        gc.collect()
        gc.freeze()
        log.info("processes share what is loaded by now", extra={"processes": self._processes, "rss_mib": own // 1024})
        with self._woken_by_signals():
            turned = time.monotonic()
            while not self._roster.over:
                now = time.monotonic()
                if now - turned > _STOOD_STILL_SECONDS:
                    self._roster.forgive(now)
                turned = now
                for step in list(self._roster.due(now)):
                    code = self._take(step, now)
                    if code is not None:
                        return code  # this is the child
                self._tell(now)
                self._wait()
                self._obey()
                self._reap()
        log.info("all processes have ended", extra={"exit_code": self._roster.exit_code})
        return self._roster.exit_code

    # ── children ──────────────────────────────────────────────────────────────

    def _take(self, step: Step, now: float) -> int | None:
        """Carry it out. None, but the exit code in a child that was born here."""
        match step:
            case Start():
                return self._fork(step, now)
            case Kill(child, why):
                log.error("a process is killed: %s; its jobs go back to their queues", why, extra=_of(child))
                child.killed = True
                os.kill(child.pid, signal.SIGKILL)
            case Recycle(child):
                log.warning(
                    "a process has grown over the limit of memory: it takes no more jobs and ends when the last one "
                    "has; another takes its place now",
                    extra={**_of(child), "rss_mib": 0 if child.report is None else child.report.rss_kb // 1024},
                )
                self._roster.recycled(child, now)
                self._order(child, Order.LEAVE)
        return None

    def _fork(self, step: Start, now: float) -> int | None:
        if step.number >= MOST_CHILDREN:
            log.critical("as many processes as can be numbered have lived: the pod ends, and begins anew")
            self._stop(now)
            return None
        parent = os.getpid()
        ours, theirs = Channel.pair()
        sys.stdout.flush()
        sys.stderr.flush()
        roll = self._roster.roll()
        # RACE a signal to a child that still has its parent's handlers would be taken for one to the parent.
        signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)
        try:
            pid = os.fork()
        except OSError as error:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, _SIGNALS)
            ours.close()
            theirs.close()
            log.error("no process can be forked: trying again", extra={"error": str(error)})  # noqa: TRY400  # one line
            return None
        if pid == 0:
            ours.close()
            self._become_child(step, parent)
            return self._live(step, theirs, roll)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _SIGNALS)
        theirs.close()
        child = self._roster.born(step, now)
        child.pid = pid
        self._lines[child.number] = ours
        self._selector.register(ours, selectors.EVENT_READ, child)
        if self._word is not None and step.place != SPOKESMAN:
            self._send(child, self._word)  # so that it does not have to wait for the next one
        log.info("process started", extra=_of(child))
        return None

    def _become_child(self, step: Start, parent: int) -> None:
        # The parent's ends of all lines: as long as one is open anywhere, nobody hears that the parent is gone.
        self._selector.close()
        for line in self._lines.values():
            line.close()
        signal.set_wakeup_fd(-1)
        for name in (signal.SIGTERM, signal.SIGINT, signal.SIGCHLD):
            signal.signal(name, signal.SIG_DFL)
        for name in (signal.SIGTSTP, signal.SIGTTIN):  # by default they would stop it
            signal.signal(name, signal.SIG_IGN)
        # Ctrl-C goes to a whole group, and the parent tells its children already: a second time means at once.
        os.setpgid(0, 0)
        if sys.platform == "linux":
            ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:
            os._exit(EXIT_NO_START)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _SIGNALS)
        _name_in_logs("speaker" if step.place == SPOKESMAN else str(step.place))

    def _live(self, step: Start, channel: Channel, roll: Roll) -> int:
        settings, app = self._settings, self._app

        async def speak() -> int:
            pod = replace(settings, concurrency=settings.concurrency * self._processes)
            lives = () if self._word is None else self._word.lives
            return await Spokesman(app, pod, channel, lives, roll, self._comes_back).run()

        async def work() -> int:
            return await WorkingChild(app, settings, step.number, channel).run()

        try:
            return self._run(speak if step.place == SPOKESMAN else work)
        except JobworkerError as error:
            log.critical("%s", error)
            return EXIT_NO_START
        except Exception:
            log.critical("a process broke", exc_info=True)
            return EXIT_NO_START

    def _reap(self) -> None:
        while True:
            try:
                # Any: as the first process of a container, the parent inherits what jobs left behind.
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            child = next((child for child in self._roster.children.values() if child.pid == pid), None)
            if child is not None:
                self._bury(child, os.waitstatus_to_exitcode(status))

    def _bury(self, child: Child, code: int) -> None:
        line = self._lines.pop(child.number)
        self._hear(child, line)  # its last words
        self._selector.unregister(line)
        line.close()
        now = time.monotonic()
        if code == 0:
            log.info("process ended", extra=_of(child))
        else:
            how = f"signal {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"
            log.error("process died", extra={**_of(child), "of": how})
        why = self._roster.ended(child, code, now)
        if why is not None:
            log.critical("the pod ends: %s", why)
            self._stop(now)

    # ── what is said ──────────────────────────────────────────────────────────

    def _wait(self) -> None:
        for key, _ in self._selector.select(_TICK_SECONDS):
            if isinstance(key.data, Child):
                self._hear(key.data, self._lines[key.data.number])
            else:
                self._drain_wakeups(key.fileobj)

    def _hear(self, child: Child, line: Channel) -> None:
        try:
            messages = line.receive()
        except EOFError:
            # It ends, and SIGCHLD tells how. Until then there is nothing to read.
            return
        now = time.monotonic()
        for message in messages:
            match message:
                case Report():
                    self._roster.heard(child, now, ready=message.ready, report=message)
                case Word():
                    self._roster.heard(child, now, ready=message.ready)
                    self._pass_on(message)
                case _:
                    log.error("a message that is not for the parent", extra=_of(child))

    def _pass_on(self, word: Word) -> None:
        if word.lives:
            self._word = word
        for child in self._roster.workers:
            self._send(child, word)

    def _tell(self, now: float) -> None:
        """Tell the speaker who lives and what they do, when it changes and each second."""
        if self._roster.stopping and not self._roster.workers:
            self._roster.finishing = True
        spokesman, roll = self._roster.spokesman, self._roster.roll()
        due = now - self._told_at >= _TELL_SECONDS
        if spokesman is not None and (due or self._told is None or _news(self._told, roll)):
            self._told, self._told_at = roll, now
            self._send(spokesman, roll)

    def _order(self, child: Child, order: Order) -> None:
        self._send(child, order)

    def _send(self, child: Child, message: Word | Roll | Order) -> None:
        try:
            self._lines[child.number].send(message)
        except EOFError:
            return  # it ends, and SIGCHLD tells how

    # ── signals ───────────────────────────────────────────────────────────────

    @contextmanager
    def _woken_by_signals(self) -> Iterator[None]:
        self._wakeup, theirs = socket.socketpair()
        self._wakeup.settimeout(0)
        theirs.settimeout(0)
        self._selector.register(self._wakeup, selectors.EVENT_READ)
        signal.set_wakeup_fd(theirs.fileno(), warn_on_full_buffer=False)
        for name in _SIGNALS:
            signal.signal(name, self._on_signal)
        try:
            yield
        finally:
            signal.set_wakeup_fd(-1)
            self._wakeup.close()
            theirs.close()

    def _on_signal(self, number: int, _: FrameType | None) -> None:
        self._signals.append(signal.Signals(number))

    def _drain_wakeups(self, _: object) -> None:
        try:
            self._wakeup.recv(4096)
        except BlockingIOError:
            return

    def _obey(self) -> None:
        while self._signals:
            name = self._signals.popleft()
            match name:
                case signal.SIGTERM | signal.SIGINT:
                    log.info("signal", extra={"signal": name.name})
                    self._stop(time.monotonic())
                case signal.SIGTSTP:
                    for child in self._roster.workers:
                        self._order(child, Order.QUIET)
                case signal.SIGTTIN:
                    for child in self._roster.children.values():
                        os.kill(child.pid, signal.SIGTTIN)
                        time.sleep(_STACKS_SECONDS)  # written in many pieces: else those of two would mix
                case _:
                    pass  # SIGCHLD has woken the loop, which reaps

    def _stop(self, now: float) -> None:
        self._roster.stop(now)
        for child in self._roster.workers:
            self._order(child, Order.STOP)


def _news(told: Roll, roll: Roll) -> bool:
    """Is it more than that memory and the number of jobs went up and down?"""
    same = replace(roll, rss_kb=told.rss_kb, load=told.load) == told
    return not same or bool(roll.load) != bool(told.load)


def _of(child: Child) -> dict[str, Any]:
    return {"child": "speaker" if child.place == SPOKESMAN else child.place, "pid": child.pid}


def _name_in_logs(name: str) -> None:
    """Each line of this process tells which one it is."""
    make = logging.getLogRecordFactory()

    def named(*args: Any, **kwargs: Any) -> logging.LogRecord:
        record = make(*args, **kwargs)
        record.child = name
        return record

    logging.setLogRecordFactory(named)
