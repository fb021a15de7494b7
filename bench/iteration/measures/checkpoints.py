"""What checkpoints cost: of iterations that take a millisecond, and one by one.

Compared with a job of the same worker that does the same in a loop of its own, by CPU time of the whole process: how
exactly a millisecond is slept depends on everything else on the machine. Iterations that spin use a millisecond of
their thread's CPU time, so that what the process used beyond that is the machinery's.
"""

from __future__ import annotations

from dataclasses import dataclass

from bench.iteration.rig import Rig, Told
from bench.iteration.variants import Kind, Pace, loop, variant
from bench.worker.processes import Started

ITERATION_US = 1_000.0


@dataclass(frozen=True, slots=True)
class Iterations:
    """One round of iterations of a millisecond: without, with the default, and with a checkpoint every 50 ms."""

    without: Told
    default: Told
    often: Told

    def cpu_share(self, pace: Pace) -> float:
        """The share of a millisecond that CPU costs beyond the loop without checkpoints."""
        return (self._of(pace).cpu_us - self.without.cpu_us) / ITERATION_US

    def wall_share(self, pace: Pace) -> float:
        """The same of time that passed."""
        mine, bare = self._of(pace), self.without
        return (mine.seconds / mine.rows - bare.seconds / bare.rows) * 1e6 / ITERATION_US

    def _of(self, pace: Pace) -> Told:
        return self.often if pace is Pace.OFTEN else self.default


@dataclass(frozen=True, slots=True)
class OneCheckpoint:
    """What a checkpoint costs: µs of the worker's CPU and of Redis', and what goes to Redis."""

    cpu_us: float
    redis_cpu_us: float
    commands: float
    reads: float
    bytes_in: float


def iterations(rig: Rig, worker: Started, body: str, kind: Kind, count: int) -> Iterations:
    """One round.

    Raises:
        RoundFailed: a job did not come to its end.
    """
    task = {"kind": "range", "place": count, "rows": count}
    return Iterations(
        without=rig.run(worker, loop(body, kind), task),
        default=rig.run(worker, variant(body, kind), task),
        often=rig.run(worker, variant(body, kind, Pace.OFTEN), task),
    )


def one_checkpoint(rig: Rig, worker: Started, kind: Kind, count: int) -> OneCheckpoint:
    """One round: a checkpoint after each of so many items that do nothing.

    Raises:
        RoundFailed: a job did not come to its end.
    """
    task = {"kind": "range", "place": count, "rows": count}
    bare = rig.run(worker, variant("nothing", kind), task)
    each = rig.run(worker, variant("nothing", kind, Pace.EACH), task)
    return OneCheckpoint(
        cpu_us=each.cpu_us - bare.cpu_us,
        redis_cpu_us=(each.redis.cpu_seconds - bare.redis.cpu_seconds) / count * 1e6,
        commands=(each.redis.commands - bare.redis.commands) / count,
        reads=(each.redis.reads - bare.redis.reads) / count,
        bytes_in=(each.redis.bytes_in - bare.redis.bytes_in) / count,
    )
