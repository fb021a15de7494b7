"""What a worker costs that has nothing to do."""

from __future__ import annotations

import time
from dataclasses import dataclass

from bench.worker.contestants import Contestant
from bench.worker.measures.start import ready
from bench.worker.rig import Rig, Task


@dataclass(frozen=True, slots=True)
class Idle:
    """Redis commands a second, resident MiB at the end, CPU in percent of one core."""

    commands_per_second: float
    rss_mib: float
    cpu_percent: float


def idle(rig: Rig, contestant: Contestant, *, settle: float, seconds: float) -> Idle:
    """One round: a window of so many seconds, after as many as it takes to come to rest.

    Raises:
        RoundFailed: the worker did not start.
    """
    task = Task("stamp", 1)
    effects = rig.round(task)
    with rig.work(contestant, task) as worker:
        ready(rig, contestant, effects, worker)
        time.sleep(settle)
        began, used, counted = time.perf_counter(), worker.usage(), rig.server.counters()
        time.sleep(seconds)
        after, done = worker.usage(), rig.server.counters().since(counted)
        passed = time.perf_counter() - began
    return Idle(
        commands_per_second=done.commands / passed,
        rss_mib=after.rss_mib,
        # A process that ended meanwhile took its time along.
        cpu_percent=max(0.0, after.cpu_seconds - used.cpu_seconds) / passed * 100,
    )
