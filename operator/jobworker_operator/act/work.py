"""What goes into carrying out a plan, and what comes out of it besides changes in the cluster."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from jobworker_operator.adapters.port import WorkerAdapter
from jobworker_operator.model.actions import Plan
from jobworker_operator.model.facts import PodFacts
from jobworker_operator.model.spec import JobWorker


@dataclass(frozen=True, slots=True)
class Work:
    """A plan for a JobWorker as it was observed.

    ``pods`` are the pods that the plan was made from, by UID. ``adapter`` is the way to a worker, None while its
    Redis is not known.
    """

    jobworker: JobWorker
    plan: Plan
    pods: dict[str, PodFacts]
    adapter: Callable[[str], WorkerAdapter | None]
    settled: bool = True


@dataclass(slots=True)
class Report:
    """``look_again`` is the soonest time, in seconds, at which something is to be tried again.

    ``failures`` are sentences about actions that failed and were passed over; ``touched`` tells that facts in Redis
    were changed, so what is known of them is out of date.
    """

    look_again: float | None = None
    failures: list[str] = field(default_factory=list)
    touched: bool = False

    def again_in(self, seconds: float | None) -> None:
        """Look again within ``seconds``."""
        if seconds is not None:
            self.look_again = seconds if self.look_again is None else min(self.look_again, seconds)
