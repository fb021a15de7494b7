"""``python -m bench.worker``: tables and progress on stderr, one JSON object as the last line on stdout."""

from __future__ import annotations

import json
import signal
import sys
import tempfile
import time
from pathlib import Path

import click
from rich.console import Console

from bench.worker.contestants import CONTESTANTS
from bench.worker.environments import ROOT
from bench.worker.machine import described, replaced
from bench.worker.plan import Measure, plan
from bench.worker.report import as_markdown, as_table, sections, warning
from bench.worker.results import Results
from bench.worker.rig import Rig
from bench.worker.run import Run
from bench.worker.server import Server
from bench.worker.summary import summary

DOCUMENT = ROOT / "docs/reference/benchmarks.md"
_BEGIN, _END = "<!-- written by bench.worker --write-docs: begin -->", "<!-- end -->"
_NAMES = [contestant.name for contestant in CONTESTANTS]


def _names(_context: click.Context, _parameter: click.Parameter, value: str) -> list[str]:
    names = [name for name in value.split(",") if name]
    unknown = [name for name in names if name not in _NAMES]
    if unknown:
        raise click.BadParameter(f"there is no {unknown[0]}; there are {', '.join(_NAMES)}")
    return names


def _settings(_context: click.Context, _parameter: click.Parameter, value: tuple[str, ...]) -> dict[str, int]:
    pairs = (setting.partition("=") for setting in value)
    try:
        return {name: int(number) for name, _, number in pairs}
    except ValueError as error:
        raise click.BadParameter("write CONTESTANT=NUMBER") from error


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "--only", multiple=True, type=click.Choice([measure.value for measure in Measure]), help="Measure this; may repeat."
)
@click.option("--contestants", default="", callback=_names, metavar="NAME,…", help="Who takes part; default: all.")
@click.option("--rounds", type=click.IntRange(min=1), help="How often everything is measured, at most.")
@click.option("--scale", type=click.FloatRange(min=0.001), help="Factor on the numbers of jobs.")
@click.option(
    "--concurrency", multiple=True, callback=_settings, metavar="NAME=N", help="Another concurrency; may repeat."
)
@click.option("--quick", is_flag=True, envvar="QUICK", help="Fewer peers and rounds: under five minutes.")
@click.option("--write-docs", is_flag=True, help="Put the tables into docs/reference/benchmarks.md.")
def main(  # one parameter an option
    only: tuple[str, ...],
    contestants: list[str],
    rounds: int | None,
    scale: float | None,
    concurrency: dict[str, int],
    quick: bool,  # noqa: FBT001  # a flag
    write_docs: bool,  # noqa: FBT001  # a flag
) -> None:
    """Measure the worker beside its peers, on a Redis of this run's own."""
    # As for Ctrl-C: the blocks that hold Redis and workers end them.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    screen = Console(stderr=True, width=None if sys.stderr.isatty() else 160)
    began = time.monotonic()
    chosen = plan([Measure(name) for name in only], contestants, rounds, scale, quick=quick)
    with tempfile.TemporaryDirectory(prefix="jobworker-bench-") as name, Server(Path(name)) as server:
        machine = described(server.version())
        screen.print(machine, highlight=False)

        def say(line: str) -> None:
            screen.print(f"{time.monotonic() - began:4.0f} s  {line}", highlight=False, markup=False)

        run = Run(Rig(server, Path(name), concurrency), chosen, say)
        run.prepare()
        run.measure()
    _show(screen, run.results)
    if write_docs:
        _write(machine, run.results)
    print(json.dumps(summary(run.results)))


def _show(screen: Console, results: Results) -> None:
    for section in sections(results):
        screen.print(as_table(section))
    if said := _warning(results):
        screen.print(said, style="yellow", markup=False)
    for name, why in results.missing.items():
        screen.print(f"missing: {name}: {why}", style="red", markup=False)
    for failed in results.failed:
        screen.print(f"failed: {failed}", style="red", markup=False)


def _warning(results: Results) -> str | None:
    others = summary(results)["others_cpu_percent"]
    return warning(others if isinstance(others, float) else None)


def _write(machine: str, results: Results) -> None:
    said = _warning(results)
    tables = [f"Measured on {machine}.", "", *([said, ""] if said else []), *map(as_markdown, sections(results))]
    tables += [f"Missing: {name}: {why}" for name, why in results.missing.items()]
    tables += [f"Failed: {failed}" for failed in results.failed]
    figures = [f"{name} {value}" for name, value in summary(results).items()]
    tables += ["### The last line", "", *(f"- {line}" for line in figures)]
    DOCUMENT.write_text(replaced(DOCUMENT.read_text(), "\n".join(tables), _BEGIN, _END))


if __name__ == "__main__":
    main()
