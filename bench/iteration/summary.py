"""The figures of the last line. What was not measured is None, never a guess. Pure."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from bench.iteration.measures.checkpoints import ITERATION_US, Iterations
from bench.iteration.measures.rows import KINDS, ON_SIDEKIQ, Rows
from bench.iteration.results import Results
from bench.iteration.rig import Told
from bench.iteration.variants import Kind, Pace
from bench.worker.figures import median, percentile, rounded
from jobworker import IteratingJob

T = TypeVar("T")
Figures = dict[str, float | str | None]

HEADLINE = "csv"
"""The source of ``rows_vs_plain_loop`` and ``rows_vs_sidekiq``: an import is what most long jobs are."""


def summary(results: Results) -> Figures:
    """All figures by name, rounded to three digits."""
    figures: dict[str, float | None] = {
        "checkpoint_cost_ratio": _worst([shares(results, "spin", kind, Pace.DEFAULT) for kind in Kind]),
        "checkpoint_often_cost_ratio": _worst([shares(results, "spin", kind, Pace.OFTEN) for kind in Kind]),
        "checkpoint_amortised_ratio": _worst([amortised(results, kind) for kind in Kind]),
        **_checkpoints(results),
        "rows_vs_plain_loop": ratio(results, HEADLINE, lambda one: one.plain),
        **{f"rows_vs_plain_loop_{kind}": ratio(results, kind, lambda one: one.plain) for kind in KINDS},
        **{f"rows_vs_plain_loop_{kind}_async": ratio(results, kind, lambda one: one.asynchronous) for kind in KINDS},
        **{f"rows_per_s_{kind}": of(results.rows.get(kind), lambda one: one.plain.rows_per_second) for kind in KINDS},
        **{f"rows_cpu_vs_plain_loop_{kind}": cpu_ratio(results, kind) for kind in KINDS},
        "rows_vs_sidekiq": against_sidekiq(results, HEADLINE),
        **{f"rows_vs_sidekiq_{kind}": against_sidekiq(results, kind) for kind in ON_SIDEKIQ},
        **_resume(results),
        "memory_first_mib": of(results.memory, lambda one: one.first_mib),
        "memory_early_mib": of(results.memory, lambda one: one.early_mib),
        "memory_last_mib": of(results.memory, lambda one: one.last_mib),
        "memory_row": of(results.memory, lambda one: one.rows),
        "others_cpu_percent": results.others_percent,
    }
    return {name: rounded(value) for name, value in figures.items()} | {
        "missing": ", ".join(sorted(results.missing)) or None,
        "failed_rounds": len(results.failed),
    }


def of(rounds: list[T] | None, figure: Callable[[T], float | None]) -> float | None:
    """The median of a figure of all rounds that have it."""
    found = [figure(one) for one in rounds or ()]
    return median([value for value in found if value is not None])


def shares(results: Results, body: str, kind: Kind, pace: Pace) -> float | None:
    """What checkpoints cost of an iteration of a millisecond, by CPU."""

    def share(one: Iterations) -> float:
        return one.cpu_share(pace)

    return of(results.iterations.get((body, kind)), share)


def amortised(results: Results, kind: Kind) -> float | None:
    """What one checkpoint takes of all the iterations of a millisecond between two of them, by CPU."""
    between = IteratingJob.checkpoint_seconds * 1e6
    return of(results.one_checkpoint.get(kind), lambda one: one.cpu_us / between)


def ratio(results: Results, kind: str, ours: Callable[[Rows], Told]) -> float | None:
    """Rows a second in units of the plain loop's, round by round."""
    return of(results.rows.get(kind), lambda one: ours(one).rows_per_second / one.loop.rows_per_second)


def cpu_ratio(results: Results, kind: str) -> float | None:
    """Rows in a second of CPU in units of the plain loop's; moved far less by what else runs here."""
    return of(results.rows.get(kind), lambda one: one.loop.cpu_us / one.plain.cpu_us)


def against_sidekiq(results: Results, kind: str) -> float | None:
    """Rows a second of a plain job in units of Sidekiq's, round by round."""

    def against(one: Rows) -> float | None:
        return None if one.sidekiq is None else one.plain.rows_per_second / one.sidekiq.rows_per_second

    return of(results.rows.get(kind), against)


def _checkpoints(results: Results) -> dict[str, float | None]:
    found: dict[str, float | None] = {}
    for kind in Kind:
        one = results.one_checkpoint.get(kind)
        found |= {
            f"checkpoint_cpu_us_{kind.value}": of(one, lambda each: each.cpu_us),
            f"checkpoint_redis_cpu_us_{kind.value}": of(one, lambda each: each.redis_cpu_us),
            f"checkpoint_commands_{kind.value}": of(one, lambda each: each.commands),
            f"checkpoint_bytes_{kind.value}": of(one, lambda each: each.bytes_in),
        }
    return found


def _resume(results: Results) -> dict[str, float | None]:
    measured = bool(results.first_items)
    return {
        **{f"{name}_resume_ms": median(results.first_items.get(name, [])) for name in ("csv", "json", "sql")},
        "postgres_resume_ms": median(results.first_items.get("postgres", [])),
        "resume_row": results.plan.far if measured else None,
        "postgres_resume_row": results.plan.far_in_postgres if "postgres" in results.first_items else None,
        "handover_p50_ms": percentile(results.handovers, 0.5),
        "handover_longest_ms": percentile(results.handovers, 1.0),
    }


def _worst(found: list[float | None]) -> float | None:
    return max((value for value in found if value is not None), default=None)


def microseconds(share: float | None) -> float | None:
    """What a share of an iteration is in µs."""
    return None if share is None else share * ITERATION_US
