"""The tables, for a terminal and for the documentation: the same rows in both. Says what is missing."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TypeVar

from rich.table import Table

from bench.worker.figures import median, percentile
from bench.worker.measures.drain import Drained
from bench.worker.results import ByName, Results, medians
from bench.worker.summary import bulk_rate

T = TypeVar("T")
_NONE = "-"
_ROUND = 1000  # from here on without decimals
_SHARED = 10  # percent of the machine


@dataclass(frozen=True, slots=True)
class Section:
    """One table. The first column is text, the others are figures."""

    title: str
    headings: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


def sections(results: Results) -> list[Section]:
    """A table for each thing that was measured."""
    drains = [
        ("No-op jobs, one process", results.drain),
        ("No-op jobs, two processes", results.two),
        ("Jobs that wait 1 ms", results.io_1ms),
        ("Jobs that wait 10 ms", results.io_10ms),
    ]
    found = [_of_drain(title, results, samples) for title, samples in drains if samples]
    if results.singly or results.drain:
        found.append(_of_enqueue(results))
    if results.start or results.foreign:
        found.append(_of_start(results))
    if results.idle:
        found.append(_of_idle(results))
    return found


def warning(others_percent: float | None) -> str | None:
    """What a reader must know of a machine that was shared; None if it was not."""
    if others_percent is None or others_percent < _SHARED:
        return None
    return (
        f"Other programs used {others_percent:.0f} % of the machine meanwhile: rates and latencies are too low and too "
        "long for everybody. CPU of a job suffers much less, commands and memory not at all; measure again on a quiet "
        "machine."
    )


def as_table(section: Section) -> Table:
    """For a terminal."""
    table = Table(title=section.title, title_justify="left")
    for number, heading in enumerate(section.headings):
        table.add_column(heading, justify="right" if number else "left", no_wrap=not number)
    for row in section.rows:
        table.add_row(*row)
    return table


def as_markdown(section: Section) -> str:
    """For the documentation."""
    rule = ("---", *("---:" for _ in section.headings[1:]))
    lines = [f"| {' | '.join(row)} |" for row in (section.headings, rule, *section.rows)]
    return "\n".join([f"### {section.title}", "", *lines, ""])


def figure(value: float | None) -> str:
    """Three digits, more only before the decimal point."""
    if value is None:
        return _NONE
    if abs(value) >= _ROUND:
        return f"{value:,.0f}"
    return f"{float(f'{value:.3g}'):g}"


def _of_drain(title: str, results: Results, samples: ByName[Drained | None]) -> Section:
    columns: dict[str, Callable[[Drained], float]] = {
        "jobs/s": lambda one: one.jobs_per_second,
        "worker CPU, µs a job": lambda one: one.cpu_us,
        "Redis CPU, µs a job": lambda one: one.redis_cpu_us,
        "Redis commands a job": lambda one: one.commands,
        "reads a job": lambda one: one.reads,
        "MiB": lambda one: one.rss_mib,
        "others' CPU, %": lambda one: 100 * one.others,
    }
    rows = [
        (one.title, "yes" if one.reliable else "no", *_medians(samples[one.name], columns.values()))
        for one in results.contestants
        if one.name in samples
    ]
    absent = [(f"{title} (missing)", *[_NONE] * (len(columns) + 1)) for title in results.missing]
    return Section(title, ("contestant", "loses no job", *columns), (*rows, *absent))


def _of_enqueue(results: Results) -> Section:
    rows = [
        (
            one.title,
            figure(median(medians(results.singly.get(one.name, []), float))),
            figure(median(medians(results.drain.get(one.name, []), bulk_rate))),
        )
        for one in results.contestants
    ]
    return Section("Enqueue, jobs/s", ("contestant", "one by one", "in bulk"), tuple(rows))


def _of_start(results: Results) -> Section:
    measured = [(one.title, results.start[one.name]) for one in results.contestants if results.start.get(one.name)]
    if results.foreign:
        measured.append(("jobworker, a plain LPUSH by somebody else", results.foreign))
    rows = [
        (title, figure(percentile(took, 0.5)), figure(percentile(took, 0.99)), str(len(took)))
        for title, took in measured
    ]
    return Section("Idle worker to start of the job, ms", ("contestant", "p50", "p99", "jobs"), tuple(rows))


def _of_idle(results: Results) -> Section:
    rows = [
        (
            one.title,
            *_medians(
                results.idle[one.name],
                (
                    lambda idle: idle.commands_per_second,
                    lambda idle: idle.rss_mib,
                    lambda idle: idle.cpu_percent,
                ),
            ),
        )
        for one in results.contestants
        if one.name in results.idle
    ]
    headings = ("contestant", "Redis commands/s", "MiB", "% CPU")
    return Section("One idle process", headings, tuple(rows))


def _medians(rounds: list[T | None], columns: Iterable[Callable[[T], float]]) -> list[str]:
    return [figure(median(medians(rounds, column))) for column in columns]
