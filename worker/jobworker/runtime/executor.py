"""Runs jobs: async functions as tasks, plain ones in threads, iterating ones as a task that may use a thread.

Ended runs pile up in a deque, and whoever talks to Redis collects them all at once: no job has a round trip, a lock
or a future of its own.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque
from collections.abc import Callable
from typing import Any, assert_never

from jobworker.errors import JobworkerError, MalformedPayload, NotHeld, UnknownJob
from jobworker.iteration.run import End, Keeper, Run
from jobworker.jobs.context import CURRENT, Context
from jobworker.jobs.definition import Definition, Kind
from jobworker.jobs.registry import Registry
from jobworker.protocol import payload as payloads
from jobworker.protocol.payload import Payload
from jobworker.protocol.records import Entry, Finished, GivenBack, Number, Outcome
from jobworker.runtime import failure
from jobworker.runtime.state import WorkerState
from jobworker.runtime.threads import Threads

log = logging.getLogger("jobworker.jobs")


class Running:
    """One job in one slot. ``disowned``: Redis gave it to somebody else; ``cut``: its time is over."""

    __slots__ = ("began", "complete", "context", "cut", "definition", "disowned", "entry", "payload", "task")

    def __init__(self, entry: Entry, payload: Payload, definition: Definition, context: Context) -> None:
        self.entry = entry
        self.payload = payload
        self.definition = definition
        self.context = context
        self.began = time.monotonic()
        self.task: asyncio.Task[None] | None = None
        self.disowned = False
        self.cut = False
        self.complete = False


class _Back(JobworkerError):
    """The run ended before the job did: it goes back to the front of its queue."""


class _Cut(_Back):
    """The same, since the process ends."""


class Collected:
    """What ended and is not acknowledged yet, and in ``entries`` all of those jobs as they were taken.

    ``complete`` are jids of iterating jobs whose state may go once acknowledged.
    """

    __slots__ = ("back", "complete", "entries", "finished")

    def __init__(self) -> None:
        self.finished: list[Finished] = []
        self.back: list[GivenBack] = []
        self.complete: dict[Number, str] = {}
        self.entries: dict[Number, Entry] = {}

    def end(self, entry: Entry, finished: Finished) -> None:
        """The job is to be finished."""
        self.entries[entry.number] = entry
        self.finished.append(finished)

    def give_back(self, entry: Entry) -> None:
        """The job is to go back to the front of its queue."""
        self.entries[entry.number] = entry
        self.back.append(GivenBack(entry.number, entry.queue, entry.payload))


KeeperOf = Callable[[Running], Keeper]


class Executor:
    """The running jobs; how many there may be is the caller's to bound. All methods are for the event loop's thread."""

    def __init__(self, registry: Registry, state: WorkerState, keeper_of: KeeperOf) -> None:
        self._registry = registry
        self._state = state
        self._keeper_of = keeper_of
        self._threads = Threads()
        self._loop = asyncio.get_running_loop()
        self._ended: deque[tuple[Running, BaseException | None]] = deque()
        self._refused: list[tuple[Entry, Finished]] = []
        self.running: dict[Number, Running] = {}
        self.jobs_cut = 0

    @property
    def has_ended(self) -> bool:
        """Is there something to collect?"""
        return bool(self._ended or self._refused)

    def doing(self) -> dict[str, Any]:
        """Which job the event loop is in, asked from another thread; empty if in none."""
        task = asyncio.current_task(self._loop)
        return next((run.context.fields for run in list(self.running.values()) if run.task is task), {})

    def start(self, entry: Entry) -> None:
        """Start a job that was taken, or note why it cannot be."""
        try:
            payload = payloads.parse(entry.payload)
        except MalformedPayload as error:
            # A traceback through the parser would tell nobody anything.
            log.error("job buried in the dead set: %s", error, extra={"queue": entry.queue})  # noqa: TRY400  # see above
            self._refused.append((entry, Finished(entry.number, Outcome.DEAD, time.time(), entry.payload)))
            return
        before = payload.retry_count
        attempt = 1 if before is None else before + 2
        context = Context(payload.jid, payload.job_class, entry.queue, attempt, self._state.interruption)
        try:
            definition = self._registry.get(payload.job_class)
        except UnknownJob as error:
            self._refused.append((entry, failure.finished(entry, payload, context, error, 0.0)))
            return
        run = Running(entry, payload, definition, context)
        self.running[entry.number] = run
        match definition.kind:
            case Kind.ASYNC:
                run.task = self._loop.create_task(self._run_async(run))
            case Kind.PLAIN:
                self._threads.submit(lambda: self._run_plain(run))
            case Kind.ITERATING:
                run.task = self._loop.create_task(self._run_iterating(run))
            case _:
                assert_never(definition.kind)
        if log.isEnabledFor(logging.DEBUG):
            log.debug("job started", extra={**context.fields, "attempt": attempt})

    def collect(self, into: Collected) -> None:
        """Free the slots of all that ended, and say what is to be told to Redis."""
        refused, self._refused = self._refused, []
        for entry, finished in refused:
            into.end(entry, finished)
        ended = self._ended
        while ended:
            run, error = ended.popleft()
            number = run.entry.number
            self.running.pop(number, None)
            if run.disowned:
                log.warning("job ended here, but its result is somebody else's to give", extra=run.context.fields)
            elif error is None:
                into.end(run.entry, Finished(number))
                if run.complete:
                    into.complete[number] = run.payload.jid
                if log.isEnabledFor(logging.DEBUG):
                    log.debug("job done", extra={**run.context.fields, "seconds": _age(run)})
            elif isinstance(error, _Back):
                into.give_back(run.entry)
                log.info("job goes back to the front of its queue", extra={**run.context.fields, "seconds": _age(run)})
            elif not isinstance(error, NotHeld):
                into.end(run.entry, failure.finished(run.entry, run.payload, run.context, error, _age(run)))

    def disown(self) -> int:
        """Redis gave all jobs to somebody else: stop what can be stopped, let no result out. How many there were."""
        disowned = [run for run in self.running.values() if not run.disowned]
        for run in disowned:
            run.disowned = True
            if run.task is not None:
                run.task.cancel()
        return len(disowned)

    def cut(self) -> int:
        """Their time is over: cancel tasks, give up on threads. How many jobs that were."""
        cut = [run for run in self.running.values() if not run.disowned]
        for run in cut:
            run.cut = True
            log.warning("job cut at the end of its time: it will run again", extra=run.context.fields)
            if run.task is not None:
                run.task.cancel()
        self.jobs_cut = len(cut)
        return len(cut)

    def abandon(self) -> None:
        """Count as ended what was cut and did not end: threads, and tasks that swallow their cancellation."""
        for run in self.running.values():
            if run.cut:
                self._end(run, _Cut())

    async def _run_async(self, run: Running) -> None:
        CURRENT.set(run.context)
        try:
            await run.definition.target(*run.payload.args)
        except asyncio.CancelledError as error:
            self._end(run, _Cut() if run.cut else error)
        except BaseException as error:  # noqa: BLE001  # the border to the user's code: sys.exit() in a job is its own
            self._end(run, error)
        else:
            self._end(run, None)

    async def _run_iterating(self, run: Running) -> None:
        CURRENT.set(run.context)
        try:
            walk = Run(
                run.definition.target(),
                run.payload.args,
                self._keeper_of(run),
                self._state.interruption,
                self._threads.call,
            )
            end = await walk()
        except asyncio.CancelledError as error:
            self._end(run, _Cut() if run.cut else error)
        except BaseException as error:  # noqa: BLE001  # the border to the user's code
            if isinstance(error, NotHeld):
                log.warning("job stopped: another worker has it by now", extra=run.context.fields)
            self._end(run, error)
        else:
            run.complete = end is not End.INTERRUPTED
            self._end(run, None if run.complete else _Back())

    def _run_plain(self, run: Running) -> None:
        CURRENT.set(run.context)
        error: BaseException | None = None
        try:
            run.definition.target(*run.payload.args)
        except BaseException as raised:  # noqa: BLE001  # the border to the user's code
            error = raised
        CURRENT.set(None)
        self._ended.append((run, error))
        try:
            # One call wakes the loop for all that end before it gets there.
            if not self._state.wake.is_set():
                self._loop.call_soon_threadsafe(self._state.wake.set)
        except RuntimeError:
            return  # the loop is closed: the process ends and the job was given back

    def _end(self, run: Running, error: BaseException | None) -> None:
        self._ended.append((run, error))
        self._state.wake.set()


def _age(run: Running) -> float:
    return round(time.monotonic() - run.began, 3)
