"""What a running job may know about itself and its worker.

A context variable carries it: set in the task of an async job and in the thread of a plain one, so that code deep
inside can ask without being handed anything.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from contextvars import ContextVar
from types import MappingProxyType
from typing import Any

_NOTHING: Mapping[str, Any] = MappingProxyType({})


class Interruption:
    """A plain flag shared by a worker and its jobs: true while the worker is quiet or stopping.

    ``listeners`` are called in the thread of the event loop when it becomes true.
    """

    __slots__ = ("listeners", "requested")

    def __init__(self) -> None:
        self.requested = False
        self.listeners: set[Callable[[], None]] = set()

    def change(self, *, requested: bool) -> None:
        """Set the flag, and tell who listens."""
        news = requested and not self.requested
        self.requested = requested
        if news:
            for listener in tuple(self.listeners):
                listener()


class Context:
    """The job that runs here. ``attempt`` is 1 at the first run and counts retries, not interruptions.

    ``extra`` are the further fields of its payload, as they came: what client middleware added, such as a tenant or a
    trace id, tags, times, the last error of a retry. They are not the job's to change.
    ``overdue``: it has been running for longer than its time limit, and as a plain job it could not be cancelled.
    ``leaving``: it iterates, and no further item is to follow in this run.
    """

    __slots__ = ("_interruption", "attempt", "extra", "jid", "job_class", "leaving", "overdue", "queue")

    def __init__(
        self,
        jid: str,
        job_class: str,
        queue: str,
        attempt: int,
        interruption: Interruption,
        extra: Mapping[str, Any] = _NOTHING,
    ) -> None:
        self.jid = jid
        self.job_class = job_class
        self.queue = queue
        self.attempt = attempt
        self.extra = extra
        self.overdue = False
        self.leaving = False
        self._interruption = interruption

    @property
    def quiet(self) -> bool:
        """True once the worker wants to be rid of the job: a long one may save its work and return early."""
        return self._interruption.requested or self.overdue

    @property
    def fields(self) -> dict[str, Any]:
        """What a log line of this job carries."""
        return {"jid": self.jid, "class": self.job_class, "queue": self.queue}

    @property
    def logger(self) -> logging.Logger:
        """A logger named after the job; the worker adds jid, class and queue to each line."""
        return logging.getLogger(f"jobworker.job.{self.job_class}")


CURRENT: ContextVar[Context | None] = ContextVar("jobworker_context", default=None)


def context() -> Context:
    """The context of the job that runs here.

    Raises:
        LookupError: no job runs here.
    """
    current = CURRENT.get()
    if current is None:
        raise LookupError("no job runs here: context() is for code that a worker called as part of a job")
    return current
