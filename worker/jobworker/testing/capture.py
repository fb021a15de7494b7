"""Keeps the jobs of an application in memory for the time of a test, and runs them when the test says so.

A job takes the way of production but for Redis: its arguments are checked and go through JSON, it has its context, and
when it raises, its own retry rules decide, on a clock that only the test moves.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any, cast

from jobworker.app import App
from jobworker.client.asynchronous import Client
from jobworker.client.synchronous import SyncClient
from jobworker.iteration.parallel import run_class
from jobworker.iteration.run import End, InThread, Run
from jobworker.jobs.context import CURRENT, Context, Interruption
from jobworker.jobs.definition import Definition, Kind, Options
from jobworker.jobs.middleware import Skipped
from jobworker.protocol.control import ControlAnswer, Wanted
from jobworker.protocol.deaths import DISCARDED_AT, DeadJob
from jobworker.protocol.payload import JobId, Payload
from jobworker.protocol.records import Outcome
from jobworker.runtime import retries
from jobworker.testing.assertions import EnqueuedJobs, JobLike
from jobworker.testing.client import MemoryClient, MemorySyncClient
from jobworker.testing.clock import FakeClock
from jobworker.testing.execution import Call, Here, Perform, Steps, Walk, drive
from jobworker.testing.memory import EnqueuedJob, Memory, of_queues, time_of
from jobworker.testing.slices import SliceKeeper, whole_of

_MOST = 10_000  # jobs that one call runs: one that enqueues itself for ever shall fail its test, not hang it


class Jobs(EnqueuedJobs):
    """The jobs of an application during a test.

    Iterate over it for all that were enqueued, ask it by `assert_enqueued`, and let them run by `run`, `run_all` and
    `advance`, in plain tests by the same names with ``_sync``. ``client`` and ``sync_client`` are for code that was
    made to enqueue by a client of its own.
    """

    def __init__(self, app: App, clock: FakeClock, *, inline: bool, raise_errors: bool) -> None:
        self.clock = clock
        memory = Memory(clock)
        super().__init__(app, memory)
        self.client = MemoryClient(memory, self._run_inline if inline else None, app.around_pushes)
        self.sync_client = MemorySyncClient(memory, self._run_inline_sync if inline else None, app.around_pushes)
        self._raise_errors = raise_errors
        self._here = Here()

    @property
    def waiting(self) -> list[EnqueuedJob]:
        """Jobs that did not run yet and are due, the oldest first."""
        return self._memory.waiting

    @property
    def scheduled(self) -> list[EnqueuedJob]:
        """Jobs that are due later, the next one first."""
        return self._memory.scheduled

    @property
    def retries(self) -> list[EnqueuedJob]:
        """Jobs that failed and are tried again, the next one first."""
        return self._memory.retries

    @property
    def dead(self) -> list[EnqueuedJob]:
        """Jobs that failed for good, and which a worker would keep in the dead set."""
        return list(self._memory.dead)

    @property
    def discarded(self) -> list[EnqueuedJob]:
        """Jobs that failed and that nobody keeps, by their own rules."""
        return list(self._memory.discarded)

    def clear(self) -> None:
        """Forget all jobs, as if nothing had been enqueued so far; the clock stays."""
        self._memory.clear()

    @property
    def paused(self) -> list[EnqueuedJob]:
        """Jobs that rest until they are resumed, those that do so longest first."""
        return self._memory.paused

    def cancel(self, jid: JobId) -> ControlAnswer:
        """Cancel an iterating job, as `Client.cancel`: one that runs ends after its present item."""
        return self._memory.ask(jid, Wanted.CANCEL)

    def pause(self, jid: JobId) -> ControlAnswer:
        """Have an iterating job rest, as `Client.pause`; one that waits does so when it is run."""
        return self._memory.ask(jid, Wanted.PAUSE)

    def resume(self, jid: JobId) -> ControlAnswer:
        """Have a paused job go on, as `Client.resume`: it is the next one that is run."""
        return self._memory.ask(jid, Wanted.RESUME)

    async def run(self, job: JobLike | None = None) -> EnqueuedJob:
        """Run the job that waits longest, or the one of a kind that does; which one that was.

        Raises:
            AssertionError: none waits.
            Exception: what the job raised, unless errors are recorded only.
        """
        __tracebackhide__ = True
        return await drive(self._run(job))

    def run_sync(self, job: JobLike | None = None) -> EnqueuedJob:
        """`run` for plain tests: all code of the job runs in the test's own thread."""
        __tracebackhide__ = True
        return self._here.drive(self._run(job))

    async def run_all(self, queues: Collection[str] | None = None) -> int:
        """Run all jobs that are due, and those that they enqueue, of these queues or of all; how many that were.

        Raises:
            AssertionError: there is no end of them.
            Exception: what a job raised, unless errors are recorded only.
        """
        __tracebackhide__ = True
        return await drive(self._run_all(queues))

    def run_all_sync(self, queues: Collection[str] | None = None) -> int:
        """`run_all` for plain tests: all code of the jobs runs in the test's own thread."""
        __tracebackhide__ = True
        return self._here.drive(self._run_all(queues))

    async def advance(self, *, days: float = 0, hours: float = 0, minutes: float = 0, seconds: float = 0) -> int:
        """Let time pass and run what waits and what falls due meanwhile, each at its time; how many that were.

        Raises:
            ValueError: the time is negative.
            AssertionError, Exception: as `run_all`.
        """
        __tracebackhide__ = True
        return await drive(self._advance(timedelta(days=days, hours=hours, minutes=minutes, seconds=seconds)))

    def advance_sync(self, *, days: float = 0, hours: float = 0, minutes: float = 0, seconds: float = 0) -> int:
        """`advance` for plain tests: all code of the jobs runs in the test's own thread."""
        __tracebackhide__ = True
        return self._here.drive(self._advance(timedelta(days=days, hours=hours, minutes=minutes, seconds=seconds)))

    def close(self) -> None:
        """Close the event loop of plain tests."""
        self._here.close()

    async def _run_inline(self, jid: JobId) -> None:
        await drive(self._run_jid(jid))

    def _run_inline_sync(self, jid: JobId) -> None:
        self._here.drive(self._run_jid(jid))

    def _run_jid(self, jid: JobId) -> Steps[None]:
        # Again and again one that makes room for others, of which there are none.
        while (taken := self._memory.take(lambda payload: whole_of(payload) == jid)) is not None:
            yield from self._perform(taken)

    def _run(self, job: JobLike | None) -> Steps[EnqueuedJob]:
        name = None if job is None else self._named(job)[0]
        self._memory.promote()
        taken = self._memory.take(lambda payload: name is None or payload.job_class == name)
        if taken is None:
            waits = "".join(f"\n  {each}" for each in [*self.waiting, *self.scheduled, *self.retries])
            raise AssertionError(
                f"no job{'' if name is None else ' ' + name} waits; what does, now or later:{waits or ' nothing'}"
            )
        yield from self._perform(taken)
        return EnqueuedJob(taken)

    def _run_all(self, queues: Collection[str] | None) -> Steps[int]:
        ran = 0
        while True:
            self._memory.promote()
            taken = self._memory.take(of_queues(queues))
            if taken is None:
                return ran
            if ran == _MOST:
                raise AssertionError(
                    f"{ran} jobs have run, and {EnqueuedJob(taken)} would be next: does it enqueue itself?"
                )
            yield from self._perform(taken)
            ran += 1

    def _advance(self, by: timedelta) -> Steps[int]:
        end = self.clock.now + by
        ran = yield from self._run_all(None)
        while (due := self._memory.next_due) is not None and due <= end.timestamp():
            self.clock.move_to(max(self.clock.now, time_of(due)))
            ran += yield from self._run_all(None)
        self.clock.move_to(end)
        return ran

    def _perform(self, payload: Payload) -> Steps[None]:
        attempt = EnqueuedJob(payload).attempt
        context = Context(payload.jid, payload.job_class, payload.queue, attempt, Interruption(), payload.extra)
        token = CURRENT.set(context)
        try:
            definition = self._app.jobs.get(payload.job_class)
            iterating = definition.kind is Kind.ITERATING
            self._memory.running[payload.jid] = iterating
            ends: list[End] = []
            body = self._walk(definition, payload, ends) if iterating else Call(definition.target, payload.args)
            yield Perform(body, self._app.jobs.middleware, context, definition.timeout_seconds)
            if End.PAUSED in ends:
                self._memory.park(payload)
            elif {End.MADE_ROOM, End.INTERRUPTED} & set(ends):
                self._memory.give_back(payload)
            elif iterating and End.SPLIT not in ends:
                self._memory.places.end(payload.jid)
                self._memory.over.add(payload.jid)
        except Skipped:
            pass  # a middleware wanted it so, and a worker counts it as done
        except (Exception, SystemExit) as error:
            yield from self._failed(payload, error)
            if self._raise_errors:
                error.add_note(f"raised by {EnqueuedJob(payload)}, attempt {attempt}, run by jobworker.testing")
                raise
        finally:
            self._memory.running.pop(payload.jid, None)
            CURRENT.reset(token)

    def _walk(self, definition: Definition, payload: Payload, ends: list[End]) -> Walk:
        places = self._memory.places
        job, keeper = definition.target(), SliceKeeper(self._memory, payload, definition.options)
        # Nobody asks for its interruption.
        interruption, longest = Interruption(), self._app.jobs.max_run_seconds

        def give_up() -> None:
            keeper.disowned = True

        base: Any = run_class(definition.target)

        class Told(base):  # type: ignore[misc]  # one of two classes
            """Hears of what is asked of its job, and tells how it ended."""

            async def __call__(self) -> End:
                with places.listening(payload.jid, self.hurry):
                    ends.append(await super().__call__())
                return ends[-1]

        def make(in_thread: InThread) -> Run:
            return Told(job, payload.args, keeper, interruption, in_thread, max_seconds=longest)

        return Walk(job, make, give_up)

    def _failed(self, payload: Payload, error: BaseException) -> Steps[None]:
        definition = self._app.jobs.find(payload.job_class)
        options = Options() if definition is None else definition.options
        # No jitter: a test says when a job is due, and means it.
        verdict = retries.decide(payload, error, self.clock.seconds, options, lambda _: 0)
        if verdict.outcome is Outcome.RETRY:
            self._memory.retry(verdict.score, verdict.payload)
            return
        kept = verdict.outcome is Outcome.DEAD
        job = verdict.payload if kept else verdict.payload.with_fields(**{DISCARDED_AT: round(verdict.score * 1000)})
        (self._memory.dead if kept else self._memory.discarded).append(EnqueuedJob(job))
        dead = DeadJob.of(job)
        own = [] if options.retries_exhausted is None else [options.retries_exhausted]
        for handler in (*own, *self._app.jobs.death_handlers):
            yield Call(handler, [dead])


@contextmanager
def capture(app: App, *, clock: FakeClock | None = None, raise_errors: bool = True) -> Iterator[Jobs]:
    """Keep in memory what is enqueued by the application inside of the block; nothing runs before the test says so.

    A job that raises is treated by its own retry rules, on ``clock`` and without jitter, and its error comes out of
    `run`, `run_all` or `advance`; not so with ``raise_errors=False``, when it is only seen in `Jobs.retries`,
    `Jobs.dead` and `Jobs.discarded`.
    """
    with _captured(app, Jobs(app, clock or FakeClock(), inline=False, raise_errors=raise_errors)) as jobs:
        yield jobs


@contextmanager
def inline(app: App, *, clock: FakeClock | None = None, raise_errors: bool = True) -> Iterator[Jobs]:
    """Run each job at once where it is enqueued, with arguments out of JSON; `capture` otherwise.

    What it raises comes out of ``enqueue``, unless ``raise_errors=False``. Scheduled jobs and further tries wait for
    `Jobs.advance`.
    """
    with _captured(app, Jobs(app, clock or FakeClock(), inline=True, raise_errors=raise_errors)) as jobs:
        yield jobs


@contextmanager
def _captured(app: App, jobs: Jobs) -> Iterator[Jobs]:
    # They have the same methods, which a test compares.
    clients = cast("Client", jobs.client), cast("SyncClient", jobs.sync_client)
    try:
        with app.enqueueing_by(*clients):
            yield jobs
    finally:
        jobs.close()
