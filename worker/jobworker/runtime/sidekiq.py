"""When a beat also shows this worker to Sidekiq's API and web page, and what it shows of it.

Sidekiq beats every 5 s (6.4) or 10 s (7, 8) and only then is anything of it seen. A worker with jobs does it as often
as the former; an idle one, of which there is nothing to tell, every 20 s; what people wait for is shown at once.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable

from jobworker.protocol.processes import Shown, Work, work_fields
from jobworker.runtime.life import Life
from jobworker.runtime.running import Running
from jobworker.runtime.state import WorkerState

BUSY_SECONDS, IDLE_SECONDS = 5.0, 20.0


class SidekiqView:
    """``running`` gives the jobs whose code runs here; all methods are for the heartbeat's thread."""

    def __init__(
        self,
        life: Life,
        state: WorkerState,
        running: Callable[[], Iterable[Running]],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._life = life
        self._state = state
        self._running = running
        self._clock = clock
        self._last: Shown | None = None
        self._last_at = float("-inf")
        self._rtt_us = 0

    def due(self) -> Shown | None:
        """What the next beat shall show, if it shall."""
        # A copy in one step: the event loop goes on adding and removing.
        jobs = [(run, at) for run in list(self._running()) if not run.disowned and (at := _began(run)) is not None]
        quiet = not self._state.taking
        last, now = self._last, self._clock()
        period = BUSY_SECONDS if jobs else IDLE_SECONDS
        if last and last.quiet == quiet and bool(last.busy) == bool(jobs) and now - self._last_at < period:
            return None
        wall = time.time()
        return Shown(
            identity=self._life.process,
            info=self._life.process_info,
            busy=len(jobs),
            quiet=quiet,
            rss_kb=self._life.rss_kb(),
            rtt_us=self._rtt_us,
            concurrency=self._life.concurrency,
            work=work_fields(
                Work(run.entry.number, run.entry.queue, run.entry.payload, run.payload, wall - (now - at))
                for run, at in jobs
            ),
            had_work=last is None or bool(last.work),
        )

    def told(self, shown: Shown | None, began: float) -> None:
        """The beat that showed it, begun at that monotonic time, was answered."""
        now = self._clock()
        self._rtt_us = round((now - began) * 1e6)
        if shown is not None:
            self._last, self._last_at = shown, now

    def forget(self) -> None:
        """Show it anew at the next beat: whether the last one was carried out is unknown, or its Redis lost it."""
        self._last = None


def _began(run: Running) -> float | None:
    """Monotonic time; None while it waits for a slot, for then nothing of it runs."""
    return run.began
