"""Runs jobs: async functions as tasks, plain ones in threads, iterating ones as a task that may use a thread.

Jobs wait in ``ready`` until a slot is free, and whoever frees a slot takes the next one itself: no job has a round
trip, a lock or a future of its own. What has ended piles up, and whoever talks to Redis collects all of it at once.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import Counter, deque
from collections.abc import Awaitable, Callable, Iterable
from typing import Any

from jobworker.errors import JobTimeout, MalformedPayload, NotHeld, UnknownJob
from jobworker.jobs.context import CURRENT, Context
from jobworker.jobs.definition import Kind
from jobworker.jobs.middleware import Skipped, around, around_plain, on_loop
from jobworker.jobs.registry import Registry
from jobworker.protocol import payload as payloads
from jobworker.protocol.records import Entry, Finished, Number, Outcome
from jobworker.runtime.failure import Failures
from jobworker.runtime.running import Back, Cut, Ended, Parked, Running
from jobworker.runtime.state import WorkerState
from jobworker.runtime.threads import Threads
from jobworker.runtime.timelimit import TimeLimit
from jobworker.runtime.unacknowledged import Unacknowledged
from jobworker.runtime.walking import WorkersKeeper, walk

log = logging.getLogger("jobworker.jobs")

_MEMORY = 100  # jobs that the mean duration remembers


KeeperOf = Callable[[Running], WorkersKeeper]


class Executor:
    """Runs up to ``concurrency`` jobs at a time; more may wait for their slot. Methods are for the loop's thread.

    ``held`` are all jobs that were taken and not collected yet, by their number, ``by_queue`` how many of each queue.
    """

    def __init__(self, registry: Registry, state: WorkerState, keeper_of: KeeperOf, concurrency: int) -> None:
        self.concurrency = concurrency
        self.held: dict[Number, Running] = {}
        self.by_queue: Counter[str] = Counter()
        self.ready: deque[Running] = deque()
        self.jobs_cut = 0
        self.mean_seconds: float | None = None
        self.started_at = 0.0
        self._registry = registry
        self._middleware = registry.middleware
        self._failures = Failures(registry)
        self._state = state
        self._keeper_of = keeper_of
        self._threads = Threads()
        self._loop = asyncio.get_running_loop()
        self._ended: deque[tuple[Running, BaseException | None]] = deque()
        self._refused: list[tuple[Entry, Finished]] = []
        self._signalled = False
        # One element for each free slot: append and pop are atomic, for threads that free and take slots themselves.
        self._slots: list[None] = [None] * concurrency

    @property
    def running(self) -> dict[Number, Running]:
        """Those of the held jobs whose code has begun. May be asked from any thread."""
        return {number: job for number, job in list(self.held.items()) if job.began is not None}

    @property
    def has_ended(self) -> bool:
        """Is there something to collect?"""
        return bool(self._ended or self._refused)

    def doing(self) -> dict[str, Any]:
        """Which job the event loop is in, asked from another thread; empty if in none."""
        task = asyncio.current_task(self._loop)
        return next((job.context.fields for job in list(self.held.values()) if job.task is task is not None), {})

    def accept(self, entries: Iterable[Entry]) -> None:
        """Start jobs that were taken as slots are free, or note why they cannot be."""
        for entry in entries:
            job = self._read(entry)
            if job is not None:
                self.held[entry.number] = job
                self.by_queue[entry.queue] += 1
                self.ready.append(job)
        self.dispatch()

    @property
    def free(self) -> int:
        """Slots that no job waits for."""
        return 0 if self.ready else len(self._slots)

    def accept_one(self, entry: Entry, on_end: Callable[[Ended], None]) -> bool:
        """Start a job that is not from Redis, if a slot is free; ``on_end`` hears of its end. Was it accepted?"""
        try:
            self._slots.pop()
        except IndexError:
            return False
        job = self._read(entry)
        refused: Finished | None = None
        if job is None:
            _, refused = self._refused.pop()
        elif job.definition.kind is Kind.ITERATING:
            # Its place is kept for who holds it in Redis, so it goes there: due at once.
            refused = Finished(entry.number, entry.queue, Outcome.RETRY, time.time(), entry.payload)
        if job is None or refused is not None:
            self._slots.append(None)
            on_end(Ended(finished=refused))
            return True
        job.on_end = on_end
        self.held[entry.number] = job
        self.by_queue[entry.queue] += 1
        self._launch(job)
        return True

    def dispatch(self) -> None:
        """Start what waits, as far as slots are free and the worker takes jobs."""
        while self.ready and self._state.taking:
            try:
                self._slots.pop()
            except IndexError:
                return
            try:
                job = self.ready.popleft()
            except IndexError:  # RACE a thread took it between the look and here
                self._slots.append(None)
                return
            self._launch(job)

    def unstarted(self) -> list[Entry]:
        """Take out all that wait for a slot, to be given back."""
        entries: list[Entry] = []
        while self.ready:
            try:
                job = self.ready.popleft()
            except IndexError:  # RACE a thread took the last one between the look and here
                break
            self._let_go(job)
            if not job.disowned:
                entries.append(job.entry)
        return entries

    def collect(self, into: Unacknowledged) -> None:
        """Note all that ended, to be told to Redis."""
        # Before the look: a thread that ends a job behind it signals again.
        self._signalled = False
        refused, self._refused = self._refused, []
        for entry, finished in refused:
            into.end(entry, finished)
        if not self._ended:
            return
        count, seconds = 0, 0.0
        debug = log.isEnabledFor(logging.DEBUG)
        while self._ended:
            job, error = self._ended.popleft()
            if not self._let_go(job):
                continue  # given up before it ended
            count += 1
            seconds += job.ended - (job.began or job.ended)
            if job.on_end is not None:
                job.on_end(self._outcome(job, error))
            elif error is None and not job.disowned:
                into.went_well(job.entry)
                if job.over is not None:
                    into.over[job.entry.number] = job.over
                if debug:
                    log.debug("job done", extra={**job.context.fields, "seconds": job.seconds})
            else:
                self._collect_other(job, error, into)
        if count:
            weight = min(1.0, count / _MEMORY) if self.mean_seconds is not None else 1.0
            self.mean_seconds = (self.mean_seconds or 0.0) * (1 - weight) + seconds / count * weight
        self.dispatch()

    def disown(self) -> int:
        """Redis gave all jobs to somebody else: stop what can be stopped, let no result out. How many there were."""
        self.unstarted()
        disowned = [job for job in self.held.values() if not job.disowned and job.on_end is None]
        for job in disowned:
            job.disowned = True
            if job.task is not None:
                job.task.cancel()
        return len(disowned)

    def cut(self) -> int:
        """Their time is over: cancel tasks, give up on threads. How many jobs that were."""
        cut = [job for job in self.running.values() if not job.disowned]
        for job in cut:
            job.cut = True
            log.warning("job cut at the end of its time: it will run again", extra=job.context.fields)
            if job.task is not None:
                job.task.cancel()
        self.jobs_cut = len(cut)
        return len(cut)

    def abandon(self) -> None:
        """Count as ended what was cut and did not end: threads, and tasks that swallow their cancellation."""
        for job in self.running.values():
            if job.cut:
                job.ended = time.monotonic()
                self._ended.append((job, Cut()))
        self._state.wake.set()

    def _let_go(self, job: Running) -> bool:
        if self.held.pop(job.entry.number, None) is None:
            return False
        self.by_queue[job.entry.queue] -= 1
        if job.limit is not None:
            job.limit.end()
        return True

    def _read(self, entry: Entry) -> Running | None:
        try:
            payload = payloads.parse(entry.payload)
        except MalformedPayload as error:
            # A traceback through the parser would tell nobody anything.
            log.error("job buried in the dead set: %s", error, extra={"queue": entry.queue})  # noqa: TRY400  # see above
            self._refused.append((entry, Finished(entry.number, entry.queue, Outcome.DEAD, time.time(), entry.payload)))
            return None
        before = payload.retry_count
        attempt = 1 if before is None else before + 2
        context = Context(payload.jid, payload.job_class, entry.queue, attempt, self._state.interruption, payload.extra)
        try:
            definition = self._registry.get(payload.job_class)
        except UnknownJob as error:
            self._refused.append((entry, self._failures.finished(entry, payload, context, error, 0.0)))
            return None
        return Running(entry, payload, definition, context)

    def _launch(self, job: Running) -> None:
        job.began = self.started_at = time.monotonic()
        kind = job.definition.kind
        if kind is Kind.ASYNC:
            job.task = self._loop.create_task(self._run_on_loop(job, None))
        elif kind is Kind.ITERATING:
            job.task = self._loop.create_task(self._run_on_loop(job, self._walk))
        if (seconds := job.definition.timeout_seconds) is not None:
            job.limit = TimeLimit(self._loop, seconds, job.context, job.task)
        if kind is Kind.PLAIN:
            self._threads.submit(lambda: self._run_in_thread(job))
        if log.isEnabledFor(logging.DEBUG):
            log.debug("job started", extra={**job.context.fields, "attempt": job.context.attempt})

    async def _run_on_loop(self, job: Running, body: Callable[[Running], Awaitable[object]] | None) -> None:
        CURRENT.set(job.context)
        error: BaseException | None = None
        try:
            if self._middleware:
                await around(self._middleware, job.context, lambda: (body or self._call)(job))
            elif body is None:
                # Not through _call: a coroutine more is a fiftieth of what a job that does nothing costs.
                await job.definition.target(*job.payload.args)
            else:
                await body(job)
        except Skipped as skipped:
            log.info("job skipped by the middleware %s: it is done", skipped, extra=job.context.fields)
        except asyncio.CancelledError as cancelled:
            error = Cut() if job.cut else cancelled
            if job.limit is not None and job.limit.over and not job.cut:
                error = JobTimeout(f"cancelled after {job.limit.seconds:g} s, its time limit")
        except BaseException as raised:  # noqa: BLE001  # the border to the user's code: sys.exit() in a job is its own
            error = raised
        self._end(job, error)

    @staticmethod
    def _call(job: Running) -> Awaitable[object]:
        called: Awaitable[object] = job.definition.target(*job.payload.args)
        return called

    async def _walk(self, job: Running) -> None:
        job.over = await walk(
            job, self._keeper_of(job), self._state.interruption, self._threads.call, self._registry.max_run_seconds
        )

    def _run_in_thread(self, job: Running | None) -> None:
        """This plain job, and those that follow it in its slot."""
        while job is not None:
            self._call_plain(job)
            try:
                job = self._next_in_thread()
                # One call wakes the loop for all that end before it gets there.
                if not self._signalled:
                    self._signalled = True
                    self._loop.call_soon_threadsafe(self._state.wake.set)
            except RuntimeError:
                return  # the loop is closed: the process ends and the job was given back
        CURRENT.set(None)

    def _call_plain(self, job: Running) -> None:
        CURRENT.set(job.context)
        if job.limit is not None:
            job.limit.runs_here()
        error: BaseException | None = None
        try:
            if self._middleware:
                target, args = job.definition.target, job.payload.args
                around_plain(self._middleware, job.context, lambda: target(*args), on_loop(self._loop))
            else:
                job.definition.target(*job.payload.args)
        except Skipped as skipped:
            log.info("job skipped by the middleware %s: it is done", skipped, extra=job.context.fields)
        except BaseException as raised:  # noqa: BLE001  # the border to the user's code
            error = raised
        job.ended = time.monotonic()
        self._ended.append((job, error))

    def _next_in_thread(self) -> Running | None:
        """The next job for the slot of a thread; one that the loop has to start goes there, slot and all."""
        if self._state.taking:
            try:
                job = self.ready.popleft()
            except IndexError:
                pass
            else:
                if job.definition.kind is Kind.PLAIN and job.definition.timeout_seconds is None:
                    job.began = self.started_at = time.monotonic()
                    return job
                self._loop.call_soon_threadsafe(self._launch, job)
                return None
        # RACE the loop may have looked for a free slot a moment ago: the signal that follows has it look again.
        self._slots.append(None)
        return None

    def _end(self, job: Running, error: BaseException | None) -> None:
        job.ended = time.monotonic()
        self._ended.append((job, error))
        self._slots.append(None)
        if self.ready:
            self.dispatch()
        # One call wakes the loop for all that end before it gets there.
        if not self._signalled:
            self._signalled = True
            self._state.wake.set()

    def _outcome(self, job: Running, error: BaseException | None) -> Ended:
        if error is None or isinstance(error, Back):
            return Ended(back=error is not None)
        return Ended(finished=self._failures.finished(job.entry, job.payload, job.context, error, job.seconds))

    def _collect_other(self, job: Running, error: BaseException | None, into: Unacknowledged) -> None:
        if job.disowned:
            log.warning("job ended here, but its result is somebody else's to give", extra=job.context.fields)
        elif isinstance(error, Parked):
            return
        elif isinstance(error, Back):
            into.give_back(job.entry, error.side)
            log.info(
                "job goes back to the %s of its queue", error.side, extra={**job.context.fields, "seconds": job.seconds}
            )
        elif error is not None and not isinstance(error, NotHeld):
            into.end(job.entry, self._failures.finished(job.entry, job.payload, job.context, error, job.seconds))
