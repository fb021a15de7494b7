"""What a test may ask of the jobs that were enqueued, with failures that show what there is instead."""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from jobworker.app import App, Enqueueable
from jobworker.iteration.job import IteratingJob
from jobworker.jobs.definition import Definition
from jobworker.testing.memory import EnqueuedJob, Memory

JobLike = Enqueueable[Any] | type[IteratingJob] | str
"""A job: what ``@app.job`` made of a function, a class of iterating jobs, or the name that payloads carry."""

_SHOWN = 20  # jobs in a message


class EnqueuedJobs:
    """All jobs that were enqueued since the block began, whether they have run by now or not, in their order."""

    def __init__(self, app: App, memory: Memory) -> None:
        self._app = app
        self._memory = memory

    def __iter__(self) -> Iterator[EnqueuedJob]:
        return iter(list(self._memory.enqueued))

    def __len__(self) -> int:
        return len(self._memory.enqueued)

    def __bool__(self) -> bool:
        return len(self) > 0

    def of(self, job: JobLike) -> list[EnqueuedJob]:
        """Those of one job."""
        name, _ = self._named(job)
        return [each for each in self if each.name == name]

    def assert_enqueued(
        self,
        job: JobLike,
        *args: Any,
        queue: str | None = None,
        at: datetime | None = None,
        delay: timedelta | float | None = None,
        within: timedelta | float = 1.0,
        times: int | None = None,
        **kwargs: Any,
    ) -> list[EnqueuedJob]:
        """It was enqueued, at least once or exactly so many times; those that fit.

        Arguments are compared as the job would get them: defaults may be given or left out, and `unittest.mock.ANY`
        fits everything; without any, all arguments fit. ``at`` (a time with a zone) or ``delay`` (from now on the
        test's clock, in seconds or as timedelta) say that it was scheduled, give or take ``within``; without them it
        was enqueued to run at once.

        Raises:
            AssertionError: it was not; the message shows what was.
        """
        __tracebackhide__ = True
        due = self._due(at, delay)
        found = self._fitting(job, args, kwargs, queue)
        found = [each for each in found if _on_time(each, due, _seconds(within))]
        wanted = self._call(job, args, kwargs) + (f" on {queue}" if queue else "") + _words(due)
        if times is None and not found:
            raise AssertionError(f"{wanted} was not enqueued; {self._shown(job)}")
        if times is not None and len(found) != times:
            raise AssertionError(f"{wanted} was enqueued {len(found)} times and not {times}; {self._shown(job)}")
        return found

    def assert_not_enqueued(
        self, job: JobLike | None = None, /, *args: Any, queue: str | None = None, **kwargs: Any
    ) -> None:
        """It was enqueued neither to run at once nor later; without a job: nothing was.

        Raises:
            AssertionError: it was; the message shows it.
        """
        __tracebackhide__ = True
        found = list(self) if job is None else self._fitting(job, args, kwargs, queue)
        if queue is not None:
            found = [each for each in found if each.queue == queue]
        if found:
            wanted = "nothing" if job is None else "no " + self._call(job, args, kwargs)
            raise AssertionError(
                f"{wanted} should have been enqueued{f' on {queue}' if queue else ''}, but was:{_listed(found)}"
            )

    def _fitting(
        self, job: JobLike, args: Sequence[Any], kwargs: dict[str, Any], queue: str | None
    ) -> list[EnqueuedJob]:
        _, definition = self._named(job)
        found = [each for each in self.of(job) if queue is None or each.queue == queue]
        if not args and not kwargs:
            return found
        if definition is None:
            if kwargs:
                raise TypeError(f"this application does not define {job}: give its arguments by their places")
            return [each for each in found if list(args) == each.args]
        expected = _whole(definition.signature, definition.bind(tuple(args), kwargs))
        return [each for each in found if expected == _whole(definition.signature, each.args)]

    def _named(self, job: JobLike) -> tuple[str, Definition | None]:
        if isinstance(job, Enqueueable):
            return job.name, job.definition
        if isinstance(job, str):
            return job, self._app.jobs.find(job)
        for definition in self._app.jobs:
            if definition.target is job:
                return definition.name, definition
        raise AssertionError(f"{job!r} is no job of this application: neither made by @app.job nor the name of a job")

    def _call(self, job: JobLike, args: Sequence[Any], kwargs: dict[str, Any]) -> str:
        given = [*map(repr, args), *(f"{name}={value!r}" for name, value in kwargs.items())]
        return f"{self._named(job)[0]}({', '.join(given)})" if given else self._named(job)[0]

    def _due(self, at: datetime | None, delay: timedelta | float | None) -> datetime | None:
        if at is not None and delay is not None:
            raise TypeError("give at or delay, not both")
        if at is not None and at.tzinfo is None:
            raise ValueError(f"{at} has no time zone; pass datetime(…, tzinfo=UTC)")
        return at if delay is None else self._memory.clock.now + timedelta(seconds=_seconds(delay))

    def _shown(self, job: JobLike) -> str:
        every = list(self)
        if not every:
            return "nothing was"
        name, _ = self._named(job)
        # What is closest to what was wanted comes first.
        return "what was:" + _listed(sorted(every, key=lambda each: each.name != name))


def _whole(signature: inspect.Signature, args: Sequence[Any]) -> list[Any]:
    """The arguments with the defaults of those left out."""
    try:
        bound = signature.bind(*args)
    except TypeError:
        return list(args)
    bound.apply_defaults()
    return list(bound.args)


def _on_time(job: EnqueuedJob, due: datetime | None, within: float) -> bool:
    if due is None or job.at is None:
        return due is None and job.at is None
    return abs((job.at - due).total_seconds()) <= within


def _words(due: datetime | None) -> str:
    return ", to run at once," if due is None else f", due at {due.astimezone(UTC):%Y-%m-%d %H:%M:%S %Z},"


def _listed(jobs: Iterable[EnqueuedJob]) -> str:
    lines = [f"\n  {job}" for job in jobs]
    rest = len(lines) - _SHOWN
    return "".join(lines[:_SHOWN]) + (f"\n  … and {rest} more" if rest > 0 else "")


def _seconds(value: timedelta | float) -> float:
    return value.total_seconds() if isinstance(value, timedelta) else value
