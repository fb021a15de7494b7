"""Whether the worker takes jobs: the one place where the reasons not to meet."""

from __future__ import annotations

import asyncio
import logging

from jobworker.jobs.context import Interruption

log = logging.getLogger("jobworker.worker")


class WorkerState:
    """Takes jobs unless a fact in Redis, a signal or the end of the process forbids it.

    ``wake`` is set at every change, and whenever the loop that takes jobs has something to do.
    """

    def __init__(self) -> None:
        self.interruption = Interruption()
        self.wake = asyncio.Event()
        self.quiet_reason: str | None = None
        self.quiet_here = False
        self.stopping = False

    @property
    def taking(self) -> bool:
        """May a job start now?"""
        return not self.interruption.requested

    def hear(self, reason: str | None) -> None:
        """Redis says that the worker is quiet for this reason, or (None) that it is not."""
        if reason == self.quiet_reason:
            return
        was, self.quiet_reason = self.quiet_reason, reason
        if reason is None:
            log.info("quiet lifted: taking jobs again", extra={"reason": was})
        else:
            log.info("quiet: taking no more jobs, iterating jobs go back", extra={"reason": reason})
        self._apply()

    def be_quiet_here(self) -> None:
        """A signal asks for quiet; only the end of the process ends it."""
        self.quiet_here = True
        self._apply()

    def stop(self) -> None:
        """The process is going to end."""
        self.stopping = True
        self._apply()

    def _apply(self) -> None:
        self.interruption.change(requested=self.stopping or self.quiet_here or self.quiet_reason is not None)
        self.wake.set()
