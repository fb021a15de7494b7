"""The figures of the last line: ours in units of others'. What was not measured is None, never a guess. Pure."""

from __future__ import annotations

from collections.abc import Mapping

from bench.worker.contestants import Contestant, Family
from bench.worker.figures import median, percentile, ratio, rounded
from bench.worker.measures.drain import Drained
from bench.worker.results import ByName, Results, medians

Figures = dict[str, float | str | None]

OURS, THREADS, BULLMQ, SIDEKIQ = "jobworker", "jobworker-threads", "bullmq", "sidekiq"


def summary(results: Results) -> Figures:
    """All figures by name, rounded to three digits."""
    pythons = [one for one in results.contestants if one.family is Family.PYTHON]
    python = best_rate(results.drain, pythons)
    reliable = best_rate(results.drain, [one for one in pythons if one.reliable])
    p50, p99 = _start(results, 0.5), _start(results, 0.99)
    ours = results.drain.get(OURS, [])
    figures: dict[str, float | None] = {
        "drain_vs_bullmq": _rate_ratio(results.drain, OURS, BULLMQ),
        "drain_vs_sidekiq": _rate_ratio(results.drain, OURS, SIDEKIQ),
        "drain_vs_best_python": _rate_ratio(results.drain, OURS, python),
        "drain_vs_best_reliable_python": _rate_ratio(results.drain, OURS, reliable),
        "threads_vs_bullmq": _rate_ratio(results.drain, THREADS, BULLMQ),
        "threads_vs_sidekiq": _rate_ratio(results.drain, THREADS, SIDEKIQ),
        "threads_vs_best_python": _rate_ratio(results.drain, THREADS, python),
        "drain_per_s": median(_rates(ours)),
        "threads_per_s": median(_rates(results.drain.get(THREADS, []))),
        "worker_cpu_us_per_job": median(medians(ours, lambda one: one.cpu_us)),
        "cpu_vs_bullmq": _cpu_ratio(results.drain, BULLMQ),
        "cpu_vs_sidekiq": _cpu_ratio(results.drain, SIDEKIQ),
        "cpu_vs_best_python": _cpu_ratio(results.drain, python),
        "commands_per_job": median(medians(ours, lambda one: one.commands)),
        "reads_per_job": median(medians(ours, lambda one: one.reads)),
        "two_processes_vs_bullmq": _rate_ratio(results.two, OURS, BULLMQ),
        "two_processes_vs_sidekiq": _rate_ratio(results.two, OURS, SIDEKIQ),
        "io_1ms_vs_bullmq": _rate_ratio(results.io_1ms, OURS, BULLMQ),
        "io_10ms_vs_bullmq": _rate_ratio(results.io_10ms, OURS, BULLMQ),
        "io_1ms_threads_vs_sidekiq": _rate_ratio(results.io_1ms, THREADS, SIDEKIQ),
        "io_10ms_threads_vs_sidekiq": _rate_ratio(results.io_10ms, THREADS, SIDEKIQ),
        "enqueue_vs_floor": median(results.floor),
        "enqueue_per_s": median([rate for rate in results.singly.get(OURS, []) if rate is not None]),
        "bulk_per_s": median(medians(ours, bulk_rate)),
        "start_p50_ms": p50.get(OURS),
        "start_p99_ms": p99.get(OURS),
        "start_p50_vs_best_peer": _against_best_peer(p50, results.contestants),
        "start_p99_vs_best_peer": _against_best_peer(p99, results.contestants),
        "start_foreign_p50_ms": percentile(results.foreign, 0.5),
        "start_foreign_p99_ms": percentile(results.foreign, 0.99),
        "idle_commands_per_s": median(medians(results.idle.get(OURS, []), lambda one: one.commands_per_second)),
        "idle_rss_mib": median(medians(results.idle.get(OURS, []), lambda one: one.rss_mib)),
        "others_cpu_percent": median([100 * share for drains in results.drain.values() for share in _others(drains)]),
        "idle_cpu_percent": median(medians(results.idle.get(OURS, []), lambda one: one.cpu_percent)),
    }
    return {name: rounded(value) for name, value in figures.items()} | {
        "best_python": python,
        "best_reliable_python": reliable,
        "missing": ", ".join(sorted(results.missing)) or None,
        "failed_rounds": len(results.failed),
    }


def best_rate(drains: ByName[Drained | None], contestants: list[Contestant]) -> str | None:
    """The name of the fastest by the median of its rounds; None if none has a figure."""
    found = {one.name: median(_rates(drains.get(one.name, []))) for one in contestants}
    rates = {name: rate for name, rate in found.items() if rate is not None}
    return max(rates, key=rates.__getitem__, default=None)


def bulk_rate(drained: Drained) -> float:
    """Jobs a second enqueued in bulk before the drain."""
    return drained.bulk.jobs / drained.bulk.seconds


def _others(rounds: list[Drained | None]) -> list[float]:
    return medians(rounds, lambda one: one.others)


def _rates(rounds: list[Drained | None]) -> list[float]:
    return medians(rounds, lambda one: one.jobs_per_second)


def _rate_ratio(drains: ByName[Drained | None], ours: str, theirs: str | None) -> float | None:
    def rates(name: str | None) -> list[float | None]:
        return [None if one is None else one.jobs_per_second for one in drains.get(name or "", [])]

    return ratio(rates(ours), rates(theirs))


def _cpu_ratio(drains: ByName[Drained | None], theirs: str | None) -> float | None:
    """How many times as much CPU of its worker their job costs; moved far less than a rate by what else runs here."""

    def cpu(name: str | None) -> list[float | None]:
        return [None if one is None else one.cpu_us for one in drains.get(name or "", [])]

    return ratio(cpu(theirs), cpu(OURS))


def _start(results: Results, part: float) -> dict[str, float]:
    found = {name: percentile(samples, part) for name, samples in results.start.items()}
    return {name: value for name, value in found.items() if value is not None}


def _against_best_peer(found: Mapping[str, float], contestants: list[Contestant]) -> float | None:
    peers = [found[one.name] for one in contestants if one.family is not Family.OURS and one.name in found]
    return found[OURS] / min(peers) if peers and OURS in found else None
