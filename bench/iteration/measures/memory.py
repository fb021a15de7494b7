"""What a worker holds in memory while one job walks over very many rows and notes something of each."""

from __future__ import annotations

from dataclasses import dataclass

from bench.iteration.measures.rows import task_of
from bench.iteration.rig import Rig
from bench.iteration.sources import Sources


@dataclass(frozen=True, slots=True)
class Memory:
    """Resident MiB at the first row, at a fifth of the rows and at the last one."""

    rows: int
    rows_per_second: float
    first_mib: float
    early_mib: float
    last_mib: float


def memory(rig: Rig, sources: Sources) -> Memory:
    """One round, in a worker of its own.

    Raises:
        RoundFailed: not all rows were seen.
    """
    with rig.worker() as worker:
        told = rig.run(worker, "Remember", task_of("csv", sources))
    watched = told.resident_mib
    return Memory(sources.rows, told.rows_per_second, watched[0], watched[len(watched) // 5], watched[-1])
