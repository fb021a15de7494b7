"""The loop between Redis and the executor: one coroutine, one script call a cycle for as many jobs as there are.

It alone takes, finishes and gives back, so no two steps of this worker ever cross. What Redis has not acknowledged
stays here and is told again; what a cut-off take may have taken is looked up.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import cast

from jobworker.errors import StaleEpoch
from jobworker.protocol import places
from jobworker.protocol.records import Entry, Number, Taken
from jobworker.runtime.arrivals import Arrivals
from jobworker.runtime.executor import Executor
from jobworker.runtime.handover import Handover, Offer
from jobworker.runtime.life import ALIVE_SECONDS, Life
from jobworker.runtime.link import AWAY, Link
from jobworker.runtime.order import QueueOrder
from jobworker.runtime.prefetch import STUCK_SECONDS, Prefetch
from jobworker.runtime.state import WorkerState
from jobworker.runtime.tracking import Tracking, Watched
from jobworker.runtime.unacknowledged import Unacknowledged

log = logging.getLogger("jobworker.fetch")

_LATE_SECONDS = 0.8 * ALIVE_SECONDS  # an answer that took so long may tell of a life that is over
_AT_ONCE = 500  # ends of jobs in one script call
_LEARN_SECONDS = 10.0  # between two looks at which queues there are, where some are taken by pattern


class Fetch:
    """``drained`` is set while the worker takes no jobs and has none, acknowledged ends included."""

    def __init__(
        self,
        life: Life,
        link: Link,
        state: WorkerState,
        executor: Executor,
        tracking: Tracking,
        order: QueueOrder,
        on_drained: Callable[[], None],
    ) -> None:
        self._life = life
        self._link = link
        self._state = state
        self._executor = executor
        self._order = order
        self._on_drained = on_drained
        self._arrivals = Arrivals(life, tracking, state.wake, order)
        self._handover = Handover(life, tracking, self._handed, state.wake.set)
        self._queues: Watched | None = None  # the set of their names, where some are taken by pattern
        self._learn_at = float("-inf")
        if order.by_pattern:
            self._queues = tracking.watch([life.keys.queues], self._queues_changed, self._queues_changed)
        self._todo = Unacknowledged()
        self._prefetch = Prefetch(executor.concurrency)
        self._number = life.first_number
        self._ends_since: float | None = None  # the first end that Redis does not know
        self._doubtful = False
        self._unreadable: frozenset[str] = frozenset()  # queues that are none, of which the log has told
        self._forgotten: bool | None = None
        self.drained = asyncio.Event()
        self.on_begun: Callable[[], None] = lambda: None
        self.untold: Callable[[], int] = lambda: 0  # ends of jobs that are not from Redis

    @property
    def load(self) -> int:
        """Jobs whose code runs here or whose end is not acknowledged."""
        return len(self._executor.held) + len(self._todo) + self.untold()

    async def run(self) -> None:
        """Take, run, acknowledge, until cancelled."""
        try:
            while True:
                await self._turn()
        finally:
            self._arrivals.end()
            self._handover.end()

    async def _turn(self) -> None:
        try:
            # First of all, so that whatever is decided below sees each job either as running or as ended.
            self._executor.collect(self._todo)
            if self._life.stale:
                await self._begin_again()
            if self._queues is not None and time.monotonic() >= self._learn_at:
                await self._learn_queues(self._queues)
            if self._doubtful:
                await self._look_for_unknown()
            if not await self._cycle():
                await self._wait()
        except StaleEpoch:
            self._life.ended(self._life.scripts)
        except AWAY as error:
            self._link.lost(error)
            await self._link.pause()

    async def _cycle(self) -> bool:
        """One exchange with Redis. True if the next should follow at once."""
        todo = self._todo
        if not self._state.taking or self._prefetch.stuck(self._executor, time.monotonic()):
            for entry in self._executor.unstarted():
                todo.give_back(entry)
        if todo.back:
            await self._give_back()
        asked = self._room()
        if not asked and not todo.ends:
            self._tell_drained()
            return bool(todo.back or self._executor.has_ended)
        now = time.monotonic()
        if todo.ends and self._ends_since is None:
            self._ends_since = now
        pause = self._prefetch.linger(self._executor, todo.ends, now - (self._ends_since or now))
        if pause is not None:
            await asyncio.sleep(pause)
            return True
        self._ends_since = None
        sent = time.monotonic()
        taken = await self._exchange(asked)
        self._link.back()
        if taken.entries and time.monotonic() - sent > _LATE_SECONDS:
            # RACE this process was stopped, or the network was: others may have rescued these jobs and run them.
            self._doubtful = True
            return True
        if taken.quiet is not None:
            self._state.hear(taken.quiet)
        if taken.unreadable or self._unreadable:
            self._tell_unreadable(taken)
        if taken.entries:
            self._arrivals.came()
        self._start(taken.entries)
        self._tell_drained()
        return bool(todo.ends or todo.back or self._executor.has_ended or (asked and len(taken.entries) == asked))

    async def _exchange(self, asked: int) -> Taken:
        """Tell Redis what ended, and take up to ``asked`` jobs in the same step."""
        queues = self._order() if asked else ()
        number = self._number
        # Numbers are never used twice, not even those of a take whose answer was lost: it may have been carried out.
        self._number += asked
        try:
            if self._todo.ends:
                return await self._finish(queues, asked, number)
            return await self._life.scripts.take(queues, asked, number, self._executor.by_queue)
        except AWAY:
            self._doubtful = self._doubtful or bool(asked)
            raise

    async def _finish(self, queues: Sequence[str], asked: int, number: int) -> Taken:
        todo = self._todo
        well, others = todo.batch(_AT_ONCE)
        answer = await self._life.scripts.finish(others, queues, asked, number, done=well, held=self._executor.by_queue)
        todo.ends_told(well, others)
        if answer.lost:
            # This life goes on, so nobody rescued the jobs: an earlier call was carried out and its answer lost.
            log.warning("Redis knew the end of jobs already", extra={"jobs": answer.lost})
        if todo.over:
            ended = {number for numbers in well.values() for number in numbers}
            await self._forget(todo, ended)
        return answer.taken

    async def _forget(self, todo: Unacknowledged, ended: set[Number]) -> None:
        """Drop the cursors of completed jobs, after their end is acknowledged: before it, they would begin anew."""
        over = [todo.over.pop(number) for number in ended & todo.over.keys()]
        try:
            await places.forget(self._life.redis, self._life.keys, over)
        except AWAY as error:
            jids = [job.jid for job in over]
            log.warning("state of completed jobs stays until it expires", extra={"jids": jids, "error": str(error)})

    async def _give_back(self) -> None:
        batch = self._todo.back[:_AT_ONCE]
        await self._life.scripts.give_back(batch)
        self._todo.given_back(batch)

    def _start(self, entries: Sequence[Entry]) -> None:
        if self._state.taking:
            self._executor.accept(entries)
        else:
            # RACE a signal between the take's call and its answer: not started, so they go back.
            for entry in entries:
                self._todo.give_back(entry)

    def _tell_unreadable(self, taken: Taken) -> None:
        for queue in self._unreadable.intersection(entry.queue for entry in taken.entries):
            log.info("jobs of this queue can be taken again", extra={"queue": queue})
            self._unreadable -= {queue}
        for queue in set(taken.unreadable) - self._unreadable:
            log.error(
                "no job of this queue can be taken: another application has written something else than a list to "
                "its key; jobs of other queues run. `redis-cli TYPE` shows what it is; rename or delete it",
                extra={"queue": queue, "key": self._life.keys.queue(queue)},
            )
            self._unreadable |= {queue}

    async def _learn_queues(self, watched: Watched) -> None:
        """Look which queues there are: when one was made, and from time to time since not every Redis tells."""
        # RACE a queue is made while Redis answers. Set before it is asked, so that who hears of the queue meanwhile has
        # the last word; and there is another look as soon as it is sure that the next change will be told.
        self._learn_at = time.monotonic() + _LEARN_SECONDS
        if not watched.armed:
            watched.arm()
        names = await cast("Awaitable[set[bytes]]", self._life.redis.smembers(self._life.keys.queues))
        if self._order.learn(name.decode("utf-8", "replace") for name in names):
            log.info("queues are taken by pattern", extra={"queues": " ".join(sorted(self._order())) or "none yet"})

    def _queues_changed(self) -> None:
        self._learn_at = float("-inf")
        self._state.wake.set()

    def _room(self) -> int:
        """How many jobs to ask for."""
        return self._prefetch.room(self._executor) if self._state.taking else 0

    def _tell_drained(self) -> None:
        if self._state.taking or self.load:
            self.drained.clear()
        elif not self.drained.is_set():
            self.drained.set()
            self._on_drained()

    async def _wait(self) -> None:
        """Until a job comes or ends, something changes, or it is time to look at the queues all the same."""
        wake = self._state.wake
        if not wake.is_set() and not self._executor.has_ended:
            if not self._executor.ready:
                self._offer(self._room())
            try:
                async with asyncio.timeout(self._patience()):
                    await wake.wait()
            except TimeoutError:
                pass
        wake.clear()
        try:
            if not await self._handover.withdraw():
                self._doubtful = True
        except AWAY:
            self._doubtful = True
            raise

    def _offer(self, count: int) -> None:
        """Have jobs handed over, and hear of those for which nobody leaves a token."""
        queues = self._order() if count > 0 else ()
        if queues:
            self._handover.offer(Offer(queues, count, self._number, self._executor.by_queue))
            self._number += count
            self._arrivals.expect()

    def _handed(self, taken: Taken) -> None:
        """An offer brought something. Called while this loop waits, so it crosses nothing."""
        self._link.back()
        if taken.quiet is not None:
            self._state.hear(taken.quiet)
        if taken.unreadable or self._unreadable:
            self._tell_unreadable(taken)
        if not taken.entries:
            return
        if time.monotonic() - self._life.known_alive_at > _LATE_SECONDS:
            # RACE this process was stopped, or the network was, between the take and this moment, however long the
            # offer stood before: others may have rescued these jobs and run them.
            self._doubtful = True
            return
        self._arrivals.came()
        self._start(taken.entries)

    def _patience(self) -> float | None:
        """Seconds after which there is something to look at though nothing happened."""
        if self._executor.ready:
            return STUCK_SECONDS
        return None if self._queues is None else max(self._learn_at - time.monotonic(), 0.0)

    async def _look_for_unknown(self) -> None:
        """Start what Redis says this worker holds and this worker does not know: taken by a call that was cut off."""
        # RACE Redis may carry that call out late, behind this look: from here on it takes nothing.
        await self._life.scripts.void_takes(self._number)
        held = await self._life.held()
        known = self._executor.held.keys() | {entry.number for entry in self._todo.entries()}
        unknown = [entry for entry in held if entry.number not in known]
        if unknown:
            log.warning("jobs taken by a call whose answer was lost are run now", extra={"jobs": len(unknown)})
            self._number = max(self._number, 1 + max(entry.number for entry in unknown))
            self._start(unknown)
        self._doubtful = False

    async def _begin_again(self) -> None:
        """Begin a new life: without the jobs of the old one if others have them, with them if nobody has."""
        if self._forgotten is None:
            # Asked once for each end of a life: a registration whose answer is lost changes what Redis would answer.
            self._forgotten = await self._life.forgotten()
            self._tell_end(self._forgotten)
        await self._life.begin(self._everything() if self._forgotten else ())
        self._forgotten = None
        self.on_begun()

    def _tell_end(self, forgotten: bool) -> None:  # noqa: FBT001  # what Redis answered
        if forgotten:
            log.error(
                "Redis lost its data: the jobs that run here are held anew, and the worker registers anew; "
                "jobs that waited on queues are gone",
                extra={"worker": self._life.worker, "jobs": self.load},
            )
            return
        unacknowledged = len(self._todo)
        self._todo = Unacknowledged()
        log.error(
            "Redis took this worker for dead and gave its jobs to others: they are cancelled here or their "
            "results dropped, and the worker registers anew",
            extra={
                "worker": self._life.worker,
                "running": self._executor.disown(),
                "unacknowledged": unacknowledged,
            },
        )

    def _everything(self) -> list[Entry]:
        """All jobs that would be lost with this process: running, and ended without Redis knowing."""
        held = [job.entry for job in self._executor.held.values() if not job.disowned and job.on_end is None]
        return [*held, *self._todo.entries()]
