"""The program `jobworker`: its commands, each in a module of its own, and the errors that all of them share."""

from __future__ import annotations

import importlib
import sys

import click

from jobworker.errors import JobworkerError

_COMMANDS = {
    "check": "jobworker.cli.check:check",
    "dev": "jobworker.cli.dev:dev",
    "enqueue": "jobworker.cli.enqueue:enqueue",
    "jobs": "jobworker.cli.jobs:jobs",
    "progress": "jobworker.cli.progress:progress",
    "queues": "jobworker.cli.queues:queues",
    "run": "jobworker.cli.run:run",
    "stats": "jobworker.cli.stats:stats",
    "top": "jobworker.cli.top:top",
    "workers": "jobworker.cli.workers:workers",
}


class Commands(click.Group):
    """Imports a command when it is asked for: a worker does not carry what draws tables, nor a table a worker."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002  # click's own signature
        """All of them, for --help."""
        return sorted(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002  # as above
        """The command of that name."""
        place = _COMMANDS.get(cmd_name)
        if place is None:
            return None
        module, _, attribute = place.partition(":")
        command: click.Command = getattr(importlib.import_module(module), attribute)
        return command


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="jobworker")
def cli() -> None:
    """Background jobs on Redis that survive deploys."""


def main() -> None:
    """Run the command line; errors that are known are said in one line."""
    try:
        cli.main(standalone_mode=True)
    except JobworkerError as error:
        click.echo(f"Error: {error}", err=True)
        sys.exit(1)
