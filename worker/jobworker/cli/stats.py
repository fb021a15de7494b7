"""`jobworker stats`: Sidekiq's counters, and the size of everything that waits."""

from __future__ import annotations

import click
from rich.table import Table

from jobworker.cli.options import Place, echo_json, json_option, on_redis
from jobworker.cli.screen import console, duration, table
from jobworker.protocol.inspection import Stats, overview


@click.command()
@click.option("--days", type=click.IntRange(1, 1800), default=7, show_default=True, help="Days of history, by UTC.")
@json_option
@on_redis
def stats(place: Place, as_json: bool, days: int) -> None:  # noqa: FBT001  # a flag
    """Show how many jobs ran and failed, wait and rest.

    As in Sidekiq, a job that failed counts as processed too, and each of its tries counts.
    """
    seen = place.ask(lambda redis, keys: overview(redis, keys, days)).stats
    if as_json:
        echo_json(
            {
                "processed": seen.processed,
                "failed": seen.failed,
                "enqueued": seen.enqueued,
                "running": seen.running,
                "paused": seen.paused,
                "scheduled": seen.scheduled,
                "retry": seen.retry,
                "dead": seen.dead,
                "queues": seen.queues,
                "workers": seen.workers,
                "oldest_seconds": seen.oldest_seconds,
                "days": [{"date": day.date, "processed": day.processed, "failed": day.failed} for day in seen.days],
            }
        )
        return
    screen = console()
    screen.print(_now(seen))
    screen.print()
    screen.print(_history(seen))


def _now(seen: Stats) -> Table:
    rows = table("now", "", numbers=("",))
    rows.add_row("waiting in queues", f"{seen.enqueued:,}")
    rows.add_row("running", f"{seen.running:,}")
    rows.add_row("paused", f"{seen.paused:,}")
    rows.add_row("scheduled", f"{seen.scheduled:,}")
    rows.add_row("to be retried", f"{seen.retry:,}")
    rows.add_row("dead", f"{seen.dead:,}")
    rows.add_row("workers", f"{seen.workers:,}")
    rows.add_row("oldest waiting job", duration(seen.oldest_seconds) if seen.enqueued else "-")
    return rows


def _history(seen: Stats) -> Table:
    rows = table("day (UTC)", "processed", "failed", numbers=("processed", "failed"))
    for day in seen.days:
        rows.add_row(day.date, f"{day.processed:,}", f"{day.failed:,}")
    rows.add_row("of all time", f"{seen.processed:,}", f"{seen.failed:,}")
    return rows
