from __future__ import annotations

from collections.abc import Callable

import pytest

from bench.worker.measures.drain import Drained
from bench.worker.rig import Produced

MakeDrained = Callable[..., Drained]


@pytest.fixture
def drained() -> MakeDrained:
    """A round's figures, of which a test names those that it is about."""

    def make(jobs_per_second: float, *, cpu_us: float = 10, commands: float = 1, bulk: float = 1000) -> Drained:
        return Drained(
            jobs_per_second=jobs_per_second,
            cpu_us=cpu_us,
            redis_cpu_us=2,
            commands=commands,
            reads=0.01,
            rss_mib=40,
            twice=0,
            others=0.125,
            bulk=Produced(int(bulk), 1.0),
        )

    return make
