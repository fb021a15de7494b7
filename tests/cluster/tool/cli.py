"""The command line of the cluster tool."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

import click
from rich.console import Console
from rich.table import Column, Table

from tests.cluster.tool.cluster import Cluster
from tests.cluster.tool.errors import ClusterError
from tests.cluster.tool.progress import Progress

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from tests.cluster.tool.provider import Status

PASS_THROUGH = {"ignore_unknown_options": True, "allow_interspersed_args": False, "help_option_names": ["--tool-help"]}


def with_cluster(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command --name and --provider, and the Cluster they choose as its first argument."""

    def call(name: str, provider: str | None, **rest: object) -> None:
        match provider:
            case "native" | "kind" | None:
                command(Cluster(name, provider, progress=Progress()), **rest)
            case _:
                raise click.UsageError(f"no provider {provider}")

    call.__doc__ = command.__doc__
    call.__name__ = command.__name__
    chosen = click.option("--provider", type=click.Choice(["native", "kind"]), help="Default: kind if Docker answers.")
    named = click.option("--name", default="dev", show_default=True, help="Which cluster; several live side by side.")
    return chosen(named(call))


@click.group()
def cli() -> None:
    """Kubernetes clusters for tests and the demo, by name."""


@cli.command()
@click.option("--images", is_flag=True, help="Build the project's images if they changed, and load them.")
@with_cluster
def up(cluster: Cluster, *, images: bool) -> None:
    """Bring a cluster up; returns at once when it is."""
    cluster.up(images=images)
    click.echo(f"cluster {cluster.name} is up: export KUBECONFIG={cluster.kubeconfig}")


@cli.command()
@with_cluster
def down(cluster: Cluster) -> None:
    """Remove everything of a cluster."""
    cluster.down()


@cli.command()
@with_cluster
def status(cluster: Cluster) -> None:
    """Show a cluster's components; fails when it is not healthy."""
    shown = cluster.status()
    _show(shown)
    if not shown.healthy:
        sys.exit(1)


@cli.command("load-image")
@click.argument("images", nargs=-1, required=True)
@with_cluster
def load_image(cluster: Cluster, images: Sequence[str]) -> None:
    """Load images: tags of the project (jobworker:dev, …), archives, or `all`."""
    if list(images) == ["all"]:
        cluster.load_images()
    else:
        cluster.load_image(*images)


@cli.command("build-images")
@with_cluster
def build_images(cluster: Cluster) -> None:
    """Build the project's images whose sources have changed."""
    cluster.build_images()


@cli.command("add-node")
@with_cluster
def add_node(cluster: Cluster) -> None:
    """Add a node and print its name once it is Ready."""
    click.echo(cluster.add_node())


@cli.command("stop-node")
@click.argument("node")
@with_cluster
def stop_node(cluster: Cluster, node: str) -> None:
    """Stop a node's kubelet, so that the node becomes NotReady."""
    cluster.stop_node(node)


@cli.command("resume-node")
@click.argument("node")
@with_cluster
def resume_node(cluster: Cluster, node: str) -> None:
    """Let a stopped node's kubelet go on."""
    cluster.resume_node(node)


@cli.command("kill-node")
@click.argument("node")
@with_cluster
def kill_node(cluster: Cluster, node: str) -> None:
    """End a node and all of its containers at once."""
    cluster.kill_node(node)


@cli.command()
@with_cluster
def kubeconfig(cluster: Cluster) -> None:
    """Print the path of the administrator's kubeconfig."""
    click.echo(cluster.kubeconfig)


@cli.command(context_settings=PASS_THROUGH)
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
@with_cluster
def kubectl(cluster: Cluster, arguments: Sequence[str]) -> None:
    """Run kubectl on a cluster: `kubectl --name demo get pods -A`."""
    _become([*cluster.kubectl_command(), *arguments])


@cli.command(context_settings=PASS_THROUGH)
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
@with_cluster
def helm(cluster: Cluster, arguments: Sequence[str]) -> None:
    """Run helm on a cluster: `helm --name demo list`."""
    _become([*cluster.helm_command(), *arguments])


def _become(command: Sequence[str]) -> None:
    """Run a program in place of this one: its terminal, its signals, its exit code."""
    os.execvp(command[0], list(command))  # noqa: S606 - no shell is wanted


def _show(shown: Status) -> None:
    console = Console()
    if not shown.exists:
        console.print(f"There is no cluster {shown.name}.")
        return
    table = Table("component", "pid", "state", Column("log", overflow="fold"))
    for component in shown.components:
        state = "[green]running[/]" if component.alive else "[red]ended[/]"
        table.add_row(component.name, str(component.pid or ""), state, str(component.log or ""))
    console.print(table)
    console.print(f"cluster {shown.name} is {'healthy' if shown.healthy else '[red]not healthy[/]'}")


def main() -> None:
    """Run the command line; a ClusterError is shown as its message, without a traceback."""
    try:
        cli(prog_name="python -m tests.cluster.tool")
    except ClusterError as error:
        Console(stderr=True, highlight=False).print("[red]error:[/] ", end="")
        click.echo(str(error), err=True)
        sys.exit(1)
