"""The time limit of one running job.

What runs on the event loop is cancelled. A thread cannot be cut without harm to the process, so a plain job is asked
to leave (``context().quiet``) and told of, with the place where it is.
"""

from __future__ import annotations

import asyncio
import logging
import sys
import threading
import traceback

from jobworker.jobs.context import Context

log = logging.getLogger("jobworker.jobs")

_FRAMES = 4  # innermost ones shown


class TimeLimit:
    """``over`` is true once the job had its ``seconds``. ``task`` is None for a plain job in a thread."""

    __slots__ = ("_context", "_task", "_thread", "_timer", "over", "seconds")

    def __init__(
        self, loop: asyncio.AbstractEventLoop, seconds: float, context: Context, task: asyncio.Task[None] | None
    ) -> None:
        self.seconds = seconds
        self.over = False
        self._context = context
        self._task = task
        self._thread: int | None = None
        self._timer = loop.call_later(seconds, self._reached)

    def runs_here(self) -> None:
        """The job runs in the calling thread."""
        self._thread = threading.get_ident()

    def end(self) -> None:
        """The job has ended."""
        self._timer.cancel()

    def _reached(self) -> None:
        self.over = True
        if self._task is not None:
            self._task.cancel()
            return
        self._context.overdue = True
        log.error(
            "job is over its time limit, and a plain function cannot be cut: context().quiet asks it to return; "
            "make it async or give it time-outs of its own",
            extra={**self._context.fields, "seconds": self.seconds, "at": self._place()},
        )

    def _place(self) -> str:
        frame = None if self._thread is None else sys._current_frames().get(self._thread)  # noqa: SLF001  # documented
        if frame is None:
            return "not begun"
        frames = traceback.extract_stack(frame)[-_FRAMES:]
        return " < ".join(f"{frame.filename}:{frame.lineno}" for frame in reversed(frames))
