"""The order in which everything is measured: round after round, and in each round one contestant after the other."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

from bench.worker.contestants import Contestant, Family
from bench.worker.environments import Missing
from bench.worker.figures import percentile
from bench.worker.measures.drain import Drained, drain
from bench.worker.measures.enqueue import against_floor, singly
from bench.worker.measures.idle import Idle, idle
from bench.worker.measures.start import start_latency
from bench.worker.plan import Measure, Plan
from bench.worker.results import ByName, Results
from bench.worker.rig import Rig, RoundFailed, Task

T = TypeVar("T")
_IO_SECONDS = 1.5  # how long a round of jobs that wait lasts at least


class Run:
    """One run of a plan. ``say`` hears a line for each thing that was done."""

    def __init__(self, rig: Rig, plan: Plan, say: Callable[[str], None]) -> None:
        self._rig = rig
        self._plan = plan
        self._say = say
        self.results = Results()

    def prepare(self) -> None:
        """Install what the contestants need; who cannot be installed is missing, and named."""
        for contestant in self._plan.contestants:
            try:
                contestant.environment.prepare()
            except Missing as missing:
                self.results.missing[contestant.title] = str(missing)
                self._say(f"missing: {contestant.title}: {missing}")
            else:
                self.results.contestants.append(contestant)

    def measure(self) -> None:
        """All that the plan asks for, by and by into ``results``."""
        steps = {
            Measure.DRAIN: self._drain,
            Measure.TWO: self._two,
            Measure.IO: self._io,
            Measure.ENQUEUE: self._enqueue,
            Measure.START: self._start,
            Measure.FOREIGN: self._foreign,
            Measure.IDLE: self._idle,
        }
        for measure, step in steps.items():
            if measure in self._plan.measures:
                step()

    def _drain(self) -> None:
        def one(contestant: Contestant, _: int) -> Drained:
            return drain(self._rig, contestant, Task("noop", self._scaled(contestant.jobs)))

        self.results.drain = self._rounds("drain", self._plan.rounds, self._all(), one, _said_of_drain)

    def _two(self) -> None:
        def one(contestant: Contestant, _: int) -> Drained:
            return drain(self._rig, contestant, Task("noop", 2 * self._scaled(contestant.jobs)), processes=2)

        self.results.two = self._rounds("two processes", self._plan.side_rounds, self._best(), one, _said_of_drain)

    def _io(self) -> None:
        self.results.io_1ms = self._waiting(1)
        self.results.io_10ms = self._waiting(10)

    def _waiting(self, milliseconds: int) -> ByName[Drained | None]:
        def one(contestant: Contestant, _: int) -> Drained:
            at_most = round(_IO_SECONDS * 1000 / milliseconds * (contestant.io_concurrency or 1))
            jobs = min(self._scaled(contestant.jobs), at_most)
            return drain(self._rig, contestant, Task(f"sleep:{milliseconds}", jobs))

        able = [contestant for contestant in self._best() if contestant.io_concurrency is not None]
        title = f"jobs of {milliseconds} ms"
        return self._rounds(title, self._plan.side_rounds, able, one, _said_of_drain)

    def _enqueue(self) -> None:
        count = self._plan.single_jobs

        def one(contestant: Contestant, _: int) -> float:
            return singly(self._rig, contestant, count)

        def floor(contestant: Contestant, _: int) -> list[float]:
            return against_floor(self._rig, contestant, 2 * count)

        rounds = self._plan.side_rounds
        self.results.singly = self._rounds("enqueue", rounds, self._all(), one, lambda rate: f"{rate:,.0f} jobs/s")
        found = self._rounds("enqueue and floor", rounds, self._ours(), floor, _said_of_ratios)
        self.results.floor = _flat(found)

    def _start(self) -> None:
        def one(contestant: Contestant, number: int) -> list[float]:
            task = Task("stamp", self._plan.start_jobs, self._plan.gaps, seed=number)
            return start_latency(self._rig, contestant, task)

        found = self._rounds("start", self._plan.side_rounds, self._all(), one, _said_of_start)
        self.results.start = {name: _flat({name: rounds}) for name, rounds in found.items()}

    def _foreign(self) -> None:
        def one(contestant: Contestant, number: int) -> list[float]:
            task = Task("stamp", self._plan.foreign_jobs, self._plan.foreign_gaps, seed=number)
            return start_latency(self._rig, contestant, task, "foreign")

        found = self._rounds("foreign producer", self._plan.side_rounds, self._ours(), one, _said_of_start)
        self.results.foreign = _flat(found)

    def _idle(self) -> None:
        def one(contestant: Contestant, _: int) -> Idle:
            return idle(self._rig, contestant, settle=self._plan.idle_settle, seconds=self._plan.idle_seconds)

        self.results.idle = self._rounds("idle", self._plan.idle_rounds, self._all(), one, _said_of_idle)

    def _rounds(
        self,
        title: str,
        rounds: int,
        contestants: Sequence[Contestant],
        one: Callable[[Contestant, int], T],
        said: Callable[[T], str],
    ) -> ByName[T | None]:
        found: ByName[T | None] = {}
        for number in range(rounds):
            for contestant in contestants:
                sample: T | None = None
                try:
                    sample = one(contestant, number)
                except RoundFailed as failed:
                    text = f"{title}, round {number + 1}, {contestant.title}: {failed}"
                    self.results.failed.append(text)
                    self._say(f"failed: {text}")
                else:
                    self._say(f"{title} {number + 1}: {contestant.name} {said(sample)}")
                found.setdefault(contestant.name, []).append(sample)
        return found

    def _all(self) -> list[Contestant]:
        return self.results.contestants

    def _best(self) -> list[Contestant]:
        return [contestant for contestant in self._all() if contestant.name in self._plan.best]

    def _ours(self) -> list[Contestant]:
        return [contestant for contestant in self._all() if contestant.family is Family.OURS][:1]

    def _scaled(self, jobs: int) -> int:
        return max(1, round(jobs * self._plan.scale))


def _flat(found: ByName[list[float] | None]) -> list[float]:
    return [sample for rounds in found.values() for samples in rounds for sample in samples or ()]


def _said_of_drain(one: Drained) -> str:
    cost = f"{one.cpu_us:.1f} µs CPU and {one.commands:.2f} commands a job"
    return f"{one.jobs_per_second:,.0f} jobs/s, {cost} (others used {one.others:.0%} of the machine)"


def _said_of_start(took: list[float]) -> str:
    return f"p50 {percentile(took, 0.5):.2f} ms, p99 {percentile(took, 0.99):.2f} ms"


def _said_of_ratios(ratios: list[float]) -> str:
    return f"{percentile(ratios, 0.5):.2f} of the bare client"


def _said_of_idle(one: Idle) -> str:
    return f"{one.commands_per_second:.1f} commands/s, {one.rss_mib:.0f} MiB, {one.cpu_percent:.2f} % CPU"
