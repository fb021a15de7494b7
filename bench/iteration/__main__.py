"""``python -m bench.iteration``: tables and progress on stderr, one JSON object as the last line on stdout."""

from __future__ import annotations

import json
import os
import resource
import signal
import sys
import tempfile
import time
from pathlib import Path

import click
from rich.console import Console

from bench.iteration.plan import Measure, plan
from bench.iteration.report import sections
from bench.iteration.results import Results
from bench.iteration.rig import Rig
from bench.iteration.run import Run
from bench.iteration.summary import summary
from bench.worker.environments import ROOT
from bench.worker.machine import described, replaced
from bench.worker.processes import busy_seconds
from bench.worker.report import as_markdown, as_table, warning
from bench.worker.server import Server

DOCUMENT = ROOT / "docs/reference/benchmarks-iteration.md"
BEGIN, END = "<!-- written by bench.iteration --write-docs: begin -->", "<!-- end -->"


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "--only", multiple=True, type=click.Choice([measure.value for measure in Measure]), help="Measure this; may repeat."
)
@click.option("--rounds", type=click.IntRange(min=1), help="How often everything is measured.")
@click.option("--scale", type=click.FloatRange(min=0.00001), help="Factor on the numbers of rows and iterations.")
@click.option("--quick", is_flag=True, envvar="QUICK", help="Fewer rounds and rows: under three minutes.")
@click.option("--write-docs", is_flag=True, help="Put the tables into docs/reference/benchmarks-iteration.md.")
def main(
    only: tuple[str, ...],
    rounds: int | None,
    scale: float | None,
    quick: bool,  # noqa: FBT001  # a flag
    write_docs: bool,  # noqa: FBT001  # a flag
) -> None:
    """Measure what it costs to be able to stop after any item, on a Redis of this run's own."""
    # As for Ctrl-C: the blocks that hold servers and workers end them.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    screen = Console(stderr=True, width=None if sys.stderr.isatty() else 160)
    began, busy = time.monotonic(), busy_seconds()
    chosen = plan([Measure(name) for name in only], rounds, scale, quick=quick)

    def say(line: str) -> None:
        screen.print(f"{time.monotonic() - began:4.0f} s  {line}", highlight=False, markup=False)

    with tempfile.TemporaryDirectory(prefix="jobworker-bench-") as name, Server(Path(name)) as server:
        machine = described(server.version())
        screen.print(machine, highlight=False)
        run = Run(Rig(server, Path(name)), chosen, say)
        run.measure()
    results = run.results
    results.others_percent = _others_percent(time.monotonic() - began, busy_seconds() - busy)
    _show(screen, results)
    if write_docs:
        _write(machine, results)
    print(json.dumps(summary(results)))


def _others_percent(seconds: float, busy: float) -> float:
    """The part of the machine that was used by nobody whom this process started; they have all ended by now."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    own = sum(one.ru_utime + one.ru_stime for one in used)
    return 100 * max(0.0, busy - own) / seconds / (os.cpu_count() or 1)


def _show(screen: Console, results: Results) -> None:
    for section in sections(results):
        screen.print(as_table(section))
    if said := warning(results.others_percent):
        screen.print(said, style="yellow", markup=False)
    for name, why in results.missing.items():
        screen.print(f"missing: {name}: {why}", style="red", markup=False)
    for failed in results.failed:
        screen.print(f"failed: {failed}", style="red", markup=False)


def _write(machine: str, results: Results) -> None:
    said = warning(results.others_percent)
    tables = [f"Measured on {machine}.", "", *([said, ""] if said else []), *map(as_markdown, sections(results))]
    tables += [f"Missing: {name}: {why}" for name, why in results.missing.items()]
    tables += [f"Failed: {failed}" for failed in results.failed]
    figures = [f"{name} {value}" for name, value in summary(results).items()]
    tables += ["### The last line", "", *(f"- {line}" for line in figures)]
    DOCUMENT.write_text(replaced(DOCUMENT.read_text(), "\n".join(tables), BEGIN, END))


if __name__ == "__main__":
    main()
