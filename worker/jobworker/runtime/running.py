"""A job that a worker has taken, from its arrival to its end, and the ways in which its run may end before it does."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import NamedTuple

from jobworker.errors import JobworkerError
from jobworker.jobs.context import Context
from jobworker.jobs.definition import Definition
from jobworker.protocol.payload import Payload
from jobworker.protocol.places import Over
from jobworker.protocol.records import Entry, Finished, Side
from jobworker.runtime.timelimit import TimeLimit


class Running:
    """A job that was taken. ``began`` is None while it waits for a slot, then a monotonic time in seconds.

    ``disowned``: Redis gave it to somebody else; ``cut``: the process ends; ``over``: an iterating one has ended.
    ``limit`` is its time limit while it runs, if it has one; ``on_end`` who wants to know of its end in place of Redis.
    """

    __slots__ = (
        "began", "context", "cut", "definition", "disowned", "ended", "entry", "limit", "on_end", "over",
        "payload", "task",
    )  # fmt: skip

    def __init__(self, entry: Entry, payload: Payload, definition: Definition, context: Context) -> None:
        self.entry = entry
        self.payload = payload
        self.definition = definition
        self.context = context
        self.began: float | None = None
        self.ended = 0.0
        self.task: asyncio.Task[None] | None = None
        self.limit: TimeLimit | None = None
        self.on_end: Callable[[Ended], None] | None = None
        self.disowned = False
        self.cut = False
        self.over: Over | None = None

    @property
    def seconds(self) -> float:
        """How long it has been running."""
        return 0.0 if self.began is None else round(time.monotonic() - self.began, 3)


class Ended(NamedTuple):
    """How a job ended: ``back`` where it did not and has to run again; ``finished`` what becomes of it if it failed."""

    back: bool = False
    finished: Finished | None = None


class Back(JobworkerError):
    """The run ended before the job did: it goes back to its queue."""

    def __init__(self, side: Side = "front") -> None:
        super().__init__(side)
        self.side = side


class Cut(Back):
    """The same, since the process ends."""


class Parked(Back):
    """The job rests, or goes on elsewhere: Redis has been told."""
