"""`jobworker check`: what a build or a deploy may want to know of an application before it runs."""

from __future__ import annotations

import click

from jobworker.cli.loading import load
from jobworker.jobs.definition import MAX_RETRIES


@click.command()
@click.argument("target", metavar="MODULE:APP")
def check(target: str) -> None:
    """Import MODULE:APP and list its jobs, as a build or a deploy may want to."""
    app = load(target)
    for job in app.jobs:
        retry = f"{MAX_RETRIES if job.retry is True else int(job.retry)} retries"
        click.echo(f"{job.name}{job.signature}  {job.kind.value}, queue {job.queue}, {retry}")
    if len(app.jobs) == 0:
        raise click.ClickException(f"{target} defines no job; are the modules with the jobs imported?")
