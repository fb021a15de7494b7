"""How fast a full queue is emptied, and what that costs.

The jobs are enqueued before a worker starts. The window is from the first sight of an effect (with two processes: of an
effect of each) to the last effect; only jobs that ran inside it count, so no start of an interpreter is measured.
"""

from __future__ import annotations

import os
import time
from dataclasses import dataclass

from bench.worker.contestants import Contestant
from bench.worker.effects import Effects
from bench.worker.processes import Started, busy_seconds
from bench.worker.rig import Produced, Rig, RoundFailed, Task

_START_SECONDS = 45.0
_DRAIN_SECONDS = 120.0
_LOOK_SECONDS = 0.005


@dataclass(frozen=True, slots=True)
class Drained:
    """Figures of one round.

    CPU is of the workers, or of Redis, in µs a job; ``twice`` are runs too many; ``others`` is the part of the machine,
    0 to 1, that somebody else used meanwhile: the round then says less about speed, and no less about CPU.
    """

    jobs_per_second: float
    cpu_us: float
    redis_cpu_us: float
    commands: float
    reads: float
    rss_mib: float
    twice: int
    others: float
    bulk: Produced


def drain(rig: Rig, contestant: Contestant, task: Task, *, processes: int = 1) -> Drained:
    """One round.

    Raises:
        RoundFailed: not every job ran, or not every job was acknowledged.
    """
    effects = rig.round(task)
    bulk = rig.produce(contestant, task, "bulk")
    if rig.left(contestant) != task.count:
        raise RoundFailed(f"{rig.left(contestant)} of {task.count} jobs lie on the queue")
    with rig.work(contestant, task, processes=processes, waiting=task.job != "noop") as workers:
        ahead = _begun(effects, workers, processes)
        busy, own = busy_seconds(), time.process_time()
        began, used, counted = time.perf_counter(), workers.usage(), rig.server.counters()
        _wait_for_all(effects, task.count, workers)
        seconds = time.perf_counter() - began
        after, counted = workers.usage(), rig.server.counters().since(counted)
        cpu = after.cpu_seconds - used.cpu_seconds
        known = cpu + counted.cpu_seconds + time.process_time() - own
        others = max(0.0, busy_seconds() - busy - known) / seconds / (os.cpu_count() or 1)
        settled = rig.settled(contestant)
        ran, twice = effects.runs()
        if ran != task.count or not settled:
            raise RoundFailed(f"{task.count - ran} jobs did not run, {rig.left(contestant)} are not acknowledged")
    jobs = task.count - ahead
    if jobs < task.count / 4:
        raise RoundFailed(f"only {jobs} of {task.count} jobs were left when all processes had begun: too few jobs")
    return Drained(
        jobs_per_second=jobs / seconds,
        cpu_us=cpu / jobs * 1e6,
        redis_cpu_us=counted.cpu_seconds / jobs * 1e6,
        commands=counted.commands / jobs,
        reads=counted.reads / jobs,
        rss_mib=after.rss_mib,
        twice=twice,
        others=others,
        bulk=bulk,
    )


def _begun(effects: Effects, workers: Started, processes: int) -> int:
    """Jobs that ran before all processes had begun."""
    deadline = time.monotonic() + _START_SECONDS
    while len(done := effects.done_by_process()) < processes:
        if workers.ended():
            raise RoundFailed(f"a worker ended by itself: {workers.last_words()}")
        if time.monotonic() > deadline:
            raise RoundFailed(f"no effect of every process in {_START_SECONDS:.0f} s: {workers.last_words()}")
        time.sleep(_LOOK_SECONDS)
    return sum(done)


def _wait_for_all(effects: Effects, count: int, workers: Started) -> None:
    deadline = time.monotonic() + _DRAIN_SECONDS
    while (done := effects.done()) < count:
        if workers.ended() or time.monotonic() > deadline:
            raise RoundFailed(f"only {done} of {count} jobs ran: {workers.last_words()}")
        time.sleep(_LOOK_SECONDS)
