"""The tables, with the rows that were measured."""

from __future__ import annotations

from bench.iteration.measures.rows import KINDS
from bench.iteration.results import Results
from bench.iteration.summary import against_sidekiq, cpu_ratio, microseconds, of, ratio, shares
from bench.iteration.variants import Kind, Pace
from bench.worker.figures import median, percentile
from bench.worker.report import Section, figure

_FUNCTIONS = {Kind.PLAIN: "plain", Kind.ASYNC: "async"}
_BODIES = {"spin": "uses the CPU for 1 ms", "sleep": "waits for 1 ms"}
_SOURCES = {
    "list": "`list_items`, a list",
    "range": "`number_range`, a range",
    "csv": "`csv_rows`, `csv.DictReader`",
    "json": "`json_lines`, `orjson.loads` of each line",
    "sql": "`sql_records`, SQLAlchemy's rows, SQLite",
}
_WALKS = {"csv": "`csv_rows`", "json": "`json_lines`", "sql": "`sql_records`, SQLite", "postgres": "…, PostgreSQL"}


def sections(results: Results) -> list[Section]:
    """A table for each thing that was measured."""
    found = []
    if results.iterations:
        found.append(_of_iterations(results))
    if results.one_checkpoint:
        found.append(_of_checkpoints(results))
    if results.rows:
        found += [_of_rows(results), _of_ratios(results)]
    if results.first_items or results.handovers:
        found.append(_of_resuming(results))
    if results.memory:
        found.append(_of_memory(results))
    return found


def _of_iterations(results: Results) -> Section:
    headings = (
        "an iteration", "µs CPU without", "by default, µs more", "share", "every 50 ms, µs more", "share",
        "by the clock, µs more by default",
    )  # fmt: skip
    rows = []
    for (body, kind), rounds in results.iterations.items():
        usual, often = (shares(results, body, kind, pace) for pace in (Pace.DEFAULT, Pace.OFTEN))
        rows.append(
            (
                f"{_FUNCTIONS[kind]}, {_BODIES[body]}",
                figure(of(rounds, lambda one: one.without.cpu_us)),
                figure(microseconds(usual)),
                _percent(usual),
                figure(microseconds(often)),
                _percent(often),
                figure(microseconds(of(rounds, lambda one: one.wall_share(Pace.DEFAULT)))),
            )
        )
    return Section("Checkpoints of a job with iterations of 1 ms", headings, tuple(rows))


def _of_checkpoints(results: Results) -> Section:
    headings = ("a checkpoint", "worker CPU, µs", "Redis CPU, µs", "Redis commands", "reads", "bytes to Redis")
    rows = tuple(
        (
            f"{_FUNCTIONS[kind]} function",
            figure(of(rounds, lambda one: one.cpu_us)),
            figure(of(rounds, lambda one: one.redis_cpu_us)),
            figure(of(rounds, lambda one: one.commands)),
            figure(of(rounds, lambda one: one.reads)),
            figure(of(rounds, lambda one: one.bytes_in)),
        )
        for kind, rounds in results.one_checkpoint.items()
    )
    return Section("One checkpoint", headings, rows)


def _of_rows(results: Results) -> Section:
    headings = ("walk, and what the loop reads", "plain job", "async job", "plain loop", "Sidekiq, cursor by hand")
    rows = tuple(
        (
            _SOURCES[kind],
            figure(of(results.rows[kind], lambda one: one.plain.rows_per_second)),
            figure(of(results.rows[kind], lambda one: one.asynchronous.rows_per_second)),
            figure(of(results.rows[kind], lambda one: one.loop.rows_per_second)),
            figure(of(results.rows[kind], lambda one: one.sidekiq.rows_per_second if one.sidekiq else None)),
        )
        for kind in KINDS
        if kind in results.rows
    )
    return Section("Rows a second that nothing is done with", headings, rows)


def _of_ratios(results: Results) -> Section:
    headings = (
        "walk",
        "plain job : loop",
        "by CPU",
        "async job : loop",
        "plain job : Sidekiq",
        "µs CPU a row",
    )
    rows = tuple(
        (
            _SOURCES[kind].partition(",")[0],
            figure(ratio(results, kind, lambda one: one.plain)),
            figure(cpu_ratio(results, kind)),
            figure(ratio(results, kind, lambda one: one.asynchronous)),
            figure(against_sidekiq(results, kind)),
            figure(of(results.rows[kind], lambda one: one.plain.cpu_us)),
        )
        for kind in KINDS
        if kind in results.rows
    )
    return Section("The same as ratios", headings, rows)


def _of_resuming(results: Results) -> Section:
    headings = ("from … to the first item", "row", "p50, ms", "longest, ms", "times")
    plan = results.plan
    rows = [
        (
            f"`build_enumerator` with {_WALKS[name]}",
            f"{plan.far_in_postgres if name == 'postgres' else plan.far:,}",
            *_spread(took),
        )
        for name, took in results.first_items.items()
    ]
    if results.handovers:
        title = "SIGTERM of its worker, on another worker, `csv_rows`"
        rows.append((title, f"{plan.far:,}", *_spread(results.handovers)))
    return Section("Going on", headings, tuple(rows))


def _of_memory(results: Results) -> Section:
    headings = ("resident memory of the worker, MiB", "first row", "a fifth", "last row", "rows/s")
    rows = tuple(
        (
            f"{one.rows:,} rows of CSV, each with an id noted",
            figure(one.first_mib),
            figure(one.early_mib),
            figure(one.last_mib),
            figure(one.rows_per_second),
        )
        for one in results.memory
    )
    return Section("Memory", headings, rows)


def _spread(took: list[float]) -> tuple[str, str, str]:
    return figure(median(took)), figure(percentile(took, 1.0)), str(len(took))


def _percent(share: float | None) -> str:
    return "-" if share is None else f"{share:.2%}"
