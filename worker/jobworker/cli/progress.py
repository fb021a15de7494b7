"""`jobworker progress`: how far an iterating job is."""

from __future__ import annotations

from typing import Any

import click
from rich.text import Text

from jobworker.cli.options import Place, echo_json, json_option, on_redis
from jobworker.cli.screen import ago, console, table, text
from jobworker.protocol.reading import JobProgress, job_progress

_SHOWN = 50  # rows with errors in the table; --json has all


@click.command()
@click.argument("jid")
@json_option
@on_redis
def progress(jid: str, place: Place, as_json: bool) -> None:  # noqa: FBT001  # a flag
    """Show how far the iterating job JID is, and what was wrong with which row."""
    found = place.ask(lambda redis, keys: job_progress(redis, keys, jid))
    if found is None:
        raise click.ClickException(f"no progress is known of {jid}: it never wrote a checkpoint, or it is long over")
    if as_json:
        echo_json(_described(jid, found))
    else:
        _show(jid, found)


def _described(jid: str, progress: JobProgress) -> dict[str, Any]:
    """For machines: everything, rows as strings since JSON's keys are."""
    return {
        "jid": jid,
        "processed": progress.processed,
        "failed": progress.failed,
        "total": progress.total,
        "updated_at": progress.updated_at,
        "errors": {str(row): messages for row, messages in progress.errors.items()},
    }


def _show(jid: str, progress: JobProgress) -> None:
    """For people: a line, and a table of the rows with errors."""
    screen = console()
    total = "" if progress.total is None else f" of {progress.total}"
    share = f" ({progress.processed / progress.total:.0%})" if progress.total else ""
    age = "" if progress.updated_at is None else f", {ago(progress.updated_at)}"
    click.echo(f"{jid}: {progress.processed}{total} rows{share}, {progress.failed} with errors{age}")
    if not progress.errors:
        return
    rows = table("row", "errors")
    for row, messages in list(progress.errors.items())[:_SHOWN]:
        rows.add_row(f"{row:,}", Text("\n").join(text(message, whole=True) for message in messages))
    screen.print(rows)
    if progress.failed > len(progress.errors):
        click.echo(f"{progress.failed - len(progress.errors)} further rows have errors that are counted and not kept")
    if len(progress.errors) > _SHOWN:
        click.echo(f"… and {len(progress.errors) - _SHOWN} more rows; --json has all")
