"""How many jobs a worker takes beyond those that run: enough that slots never wait for Redis while jobs are short.

Little's law gives the rate: slots divided by the mean duration. What is taken ahead starts within a hundredth of a
second by that rate, so no idle worker elsewhere could have started it much earlier; where the guess was wrong, since
long jobs came behind short ones, it goes back.
"""

from __future__ import annotations

from jobworker.runtime.executor import Executor

_AHEAD_SECONDS = 0.01  # of work that is taken ahead
_MOST_AHEAD = 600
_BATCH = 100  # ends that are worth a call of their own
LINGER_SECONDS = 0.002  # how long an end may wait for others, while the slots have work
STUCK_SECONDS = 0.1  # without a start, after which jobs that were taken ahead go back
_CAUTION_SECONDS = 5.0  # after that, in which nothing is taken ahead


class Prefetch:
    """Decides for one worker of so many slots."""

    def __init__(self, concurrency: int) -> None:
        self._concurrency = concurrency
        self._cautious_until = float("-inf")

    def room(self, executor: Executor) -> int:
        """How many more jobs to take."""
        return max(self._concurrency + self._ahead(executor) - len(executor.held), 0)

    def stuck(self, executor: Executor, now: float) -> bool:
        """Do jobs wait for slots that are not going to be free soon? ``now`` is a monotonic time in seconds."""
        if not executor.ready or now - executor.started_at < STUCK_SECONDS:
            return False
        self._cautious_until = now + _CAUTION_SECONDS
        return True

    def linger(self, executor: Executor, ends: int, waited: float) -> float | None:
        """For how many seconds these ends should wait for more, which then share their call; None for not at all.

        ``waited`` are the seconds that the first of them has waited already. Not where slots would run dry meanwhile.
        Zero lets the jobs on the event loop have one turn.
        """
        if not 0 < ends < _BATCH or executor.mean_seconds is None or waited > LINGER_SECONDS:
            return None
        if len(executor.ready) >= _BATCH:
            return 0.0
        rest = len(executor.ready) * executor.mean_seconds / self._concurrency  # until the slots run dry
        return LINGER_SECONDS if rest >= 2 * LINGER_SECONDS else None

    def _ahead(self, executor: Executor) -> int:
        if executor.mean_seconds is None or executor.started_at < self._cautious_until:
            return 0
        # A mean of zero is below the clock's resolution.
        return min(_MOST_AHEAD, int(_AHEAD_SECONDS * self._concurrency / max(executor.mean_seconds, 1e-9)))
