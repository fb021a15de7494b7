"""`jobworker check`: what a build or a deploy may want to know of an application before it runs."""

from __future__ import annotations

import inspect

import click

from jobworker.cli.loading import load
from jobworker.iteration.exports.job import ExportingJob
from jobworker.iteration.parallel import ParallelJob
from jobworker.jobs.definition import MAX_RETRIES, Definition


@click.command()
@click.argument("target", metavar="MODULE:APP")
def check(target: str) -> None:
    """Import MODULE:APP and list its jobs, as a build or a deploy may want to."""
    app = load(target)
    for job in app.jobs:
        click.echo(f"{job.name}{job.signature}  {_kind(job)}, queue {job.queue}, {_retries(job)}")
    if len(app.jobs) == 0:
        raise click.ClickException(f"{target} defines no job; are the modules with the jobs imported?")
    aimless = [job.name for job in app.jobs if _is(job, ExportingJob) and not hasattr(job.target, "destination")]
    if aimless:
        raise click.ClickException(
            f"{', '.join(aimless)}: set destination = S3Bucket(…) in the class, where the file shall go"
        )


def _is(job: Definition, base: type) -> bool:
    return inspect.isclass(job.target) and issubclass(job.target, base)


def _kind(job: Definition) -> str:
    return "parallel" if _is(job, ParallelJob) else job.kind.value


def _retries(job: Definition) -> str:
    number = MAX_RETRIES if job.retry is True else int(job.retry)
    return "1 retry" if number == 1 else f"{number} retries"
