"""The order in which everything is measured: round after round, and in each round one thing after the other."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

from bench.iteration.databases import Postgres
from bench.iteration.measures.checkpoints import iterations, one_checkpoint
from bench.iteration.measures.memory import memory
from bench.iteration.measures.resume import first_items, handovers, task_at
from bench.iteration.measures.rows import KINDS, rows
from bench.iteration.plan import Measure, Plan
from bench.iteration.results import Results
from bench.iteration.rig import SIDEKIQ, Rig
from bench.iteration.sources import Sources
from bench.iteration.variants import Kind, Pace
from bench.worker.environments import Missing
from bench.worker.figures import percentile
from bench.worker.rig import RoundFailed

_BODIES = ("spin", "sleep")
_BEHIND = 100_000  # rows behind the place where a walk goes on, for those who then walk


class Run:
    """One run of a plan. ``say`` hears a line for each thing that was done."""

    def __init__(self, rig: Rig, plan: Plan, say: Callable[[str], None]) -> None:
        self._rig = rig
        self._plan = plan
        self._say = say
        self.results = Results(plan)

    def measure(self) -> None:
        """All that the plan asks for, by and by into ``results``."""
        steps = {
            Measure.CHECKPOINTS: self._checkpoints,
            Measure.ROWS: self._rows,
            Measure.RESUME: self._resume,
            Measure.HANDOVER: self._handover,
            Measure.MEMORY: self._memory,
        }
        for measure, step in steps.items():
            if measure in self._plan.measures:
                step()

    def _checkpoints(self) -> None:
        plan, found = self._plan, self.results
        with self._rig.worker() as worker:
            for number in range(plan.rounds):
                for kind in Kind:
                    with self._round(f"one checkpoint, {kind.value}", number) as say:
                        one = one_checkpoint(self._rig, worker, kind, plan.flushes)
                        found.one_checkpoint.setdefault(kind, []).append(one)
                        say(f"{one.cpu_us:.0f} µs CPU, {one.commands:.1f} commands, {one.bytes_in:.0f} bytes")
                    for body in _BODIES:
                        with self._round(f"iterations that {body} 1 ms, {kind.value}", number) as say:
                            each = iterations(self._rig, worker, body, kind, plan.iterations)
                            found.iterations.setdefault((body, kind), []).append(each)
                            shares = (each.cpu_share(Pace.DEFAULT), each.cpu_share(Pace.OFTEN))
                            say("checkpoints cost {:.2%} of it, every 50 ms {:.2%}".format(*shares))

    def _rows(self) -> None:
        sources = Sources(self._plan.rows)
        with ExitStack() as stack:
            worker, sidekiq = stack.enter_context(self._rig.worker()), None
            try:
                SIDEKIQ.prepare()
            except Missing as missing:
                self._miss("Sidekiq", str(missing))
            else:
                sidekiq = stack.enter_context(self._rig.sidekiq())
            for number in range(self._plan.rounds):
                for kind in KINDS:
                    with self._round(f"rows, {kind}", number) as say:
                        one = rows(self._rig, worker, sidekiq, kind, sources)
                        self.results.rows.setdefault(kind, []).append(one)
                        say(f"{one.plain.rows_per_second:,.0f}/s, a plain loop {one.loop.rows_per_second:,.0f}/s")

    def _resume(self) -> None:
        far = self._plan.far
        self._say(f"files of {far + _BEHIND:,} rows are made, if they are not there")
        sources = Sources(far + _BEHIND)
        places = {"csv": str(sources.csv()), "json": str(sources.json()), "sql": f"sqlite:///{sources.sqlite()}"}
        tasks = {name: task_at(name, place, far) for name, place in places.items()}
        with ExitStack() as stack:
            try:
                postgres = stack.enter_context(Postgres())
            except Missing as missing:
                self._miss("PostgreSQL", str(missing))
            else:
                near = self._plan.far_in_postgres
                postgres.fill(near + _BEHIND)
                tasks["postgres"] = task_at("sql", postgres.url, near)
            self._first_items(tasks)

    def _first_items(self, tasks: dict[str, dict[str, Any]]) -> None:
        for number in range(self._plan.resume_rounds):
            with self._round("first item", number) as say:
                took = dict(zip(tasks, first_items(self._rig, list(tasks.values())), strict=True))
                for name, one in took.items():
                    self.results.first_items.setdefault(name, []).append(one)
                say(", ".join(f"{name} {one:.2f} ms" for name, one in took.items()))

    def _handover(self) -> None:
        sources = Sources(self._plan.far + _BEHIND)
        with self._round("handover", 0) as say:
            self.results.handovers = handovers(self._rig, sources, self._plan.far, self._plan.handovers)
            say(f"p50 {percentile(self.results.handovers, 0.5):.1f} ms, longest {max(self.results.handovers):.1f} ms")

    def _memory(self) -> None:
        with self._round("memory", 0) as say:
            one = memory(self._rig, Sources(self._plan.remembered))
            self.results.memory.append(one)
            say(f"{one.first_mib:.1f} MiB, {one.last_mib:.1f} at row {one.rows:,} ({one.rows_per_second:,.0f} rows/s)")

    @contextmanager
    def _round(self, title: str, number: int) -> Iterator[Callable[[str], None]]:
        try:
            yield lambda text: self._say(f"{title} {number + 1}: {text}")
        except RoundFailed as failed:
            text = f"{title}, round {number + 1}: {failed}"
            self.results.failed.append(text)
            self._say(f"failed: {text}")

    def _miss(self, name: str, why: str) -> None:
        self.results.missing[name] = why
        self._say(f"missing: {name}: {why}")
