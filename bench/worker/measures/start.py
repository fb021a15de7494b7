"""How long a job waits for an idle worker: from the moment its enqueueing begins to the first line of its code.

One job at a time, with irregular pauses, so that no poll can be in step with them.
"""

from __future__ import annotations

import time

from bench.worker.contestants import Contestant
from bench.worker.effects import Effects
from bench.worker.processes import Started
from bench.worker.rig import Rig, RoundFailed, Task, until

_READY_SECONDS = 45.0
_REST_SECONDS = 0.5
_LAST_SECONDS = 15.0
_DROPPED = 3  # the first samples of a round: connections are made


def start_latency(rig: Rig, contestant: Contestant, task: Task, mode: str = "spaced") -> list[float]:
    """One round: ms of each job.

    Raises:
        RoundFailed: a job did not start.
    """
    effects = rig.round(task)
    with rig.work(contestant, task) as worker:
        ready(rig, contestant, effects, worker)
        rig.produce(contestant, task, mode)
        if not until(lambda: all(effects.started()), _LAST_SECONDS):
            raise RoundFailed(f"{effects.started().count(0)} jobs did not start: {worker.last_words()}")
        if not rig.settled(contestant):
            raise RoundFailed(f"{rig.left(contestant)} jobs are not acknowledged")
    took = [(began - sent) / 1e6 for sent, began in zip(effects.sent(), effects.started(), strict=True)]
    return took[_DROPPED:]


def ready(rig: Rig, contestant: Contestant, effects: Effects, worker: Started) -> None:
    """Wait until a first job has run, and the worker waits for the next.

    Raises:
        RoundFailed: it never did.
    """
    rig.produce(contestant, Task("stamp", 1), "bulk")
    if not until(lambda: any(effects.started()) or worker.ended(), _READY_SECONDS) or worker.ended():
        raise RoundFailed(f"the worker ran no job in {_READY_SECONDS:.0f} s: {worker.last_words()}")
    time.sleep(_REST_SECONDS)
