"""How fast a producer enqueues one by one, and how that compares to the bare client."""

from __future__ import annotations

from bench.worker.contestants import Contestant
from bench.worker.rig import Rig, RoundFailed, Task


def singly(rig: Rig, contestant: Contestant, count: int) -> float:
    """One round: jobs a second, enqueued by one thread that waits for each.

    Raises:
        RoundFailed: not all of them lie on the queue.
    """
    task = Task("noop", count)
    rig.round(task)
    produced = rig.produce(contestant, task, "single")
    if rig.left(contestant) != count:
        raise RoundFailed(f"{rig.left(contestant)} of {count} jobs lie on the queue")
    return produced.jobs / produced.seconds


def against_floor(rig: Rig, contestant: Contestant, count: int) -> list[float]:
    """Ours in units of the bare client's LPUSH of the same bytes, block by block in one process.

    Raises:
        RoundFailed: the producer failed.
    """
    task = Task("noop", count)
    rig.round(task)
    return list(rig.produce(contestant, task, "floor").ratios)
