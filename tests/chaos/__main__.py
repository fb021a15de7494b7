"""`make chaos`: a storm of so many seconds or kills, a table, and exit code 1 if anything was lost or unexplained."""

from __future__ import annotations

import asyncio
import math
import shutil
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path

import click
from rich.console import Console
from rich.live import Live
from rich.table import Table

from tests.chaos.checker import Checker, Verdict
from tests.chaos.records import Tail, read
from tests.chaos.storm import Size, Storm, storm
from tests.chaos.story import tell

_SECONDS = 60.0
_SHOWN = 10
_LINE_SECONDS = 15.0


@click.command()
@click.option("--seconds", default=None, type=float, help="How long the storm blows; 60 by default.")
@click.option("--seed", default=None, type=int, help="The same seed brings the same strokes; made up by default.")
@click.option("--kills", default=0, help="End after so many SIGKILLs of workers, however long they take.")
@click.option("--per-second", default=8.0, show_default=True, help="Strokes on workers.")
@click.option("--keep", type=click.Path(path_type=Path), help="Keep records and logs there, also of a good run.")
@click.option("--tally", type=click.Path(path_type=Path), help="Add a line with the numbers to this file.")
def main(
    seconds: float | None, seed: int | None, kills: int, per_second: float, keep: Path | None, tally: Path | None
) -> None:
    """Kill, stop, cut and restart everything for a while, then prove that no job was lost."""
    console = Console(soft_wrap=True)
    seed = int(time.time()) % 1_000_000 if seed is None else seed
    if seconds is None:
        seconds = math.inf if kills else _SECONDS
    size = Size(seed, seconds, kills, per_second)
    folder = keep or Path(tempfile.mkdtemp(prefix="jobworker-chaos-"))
    folder.mkdir(parents=True, exist_ok=True)
    console.print(f"seed {seed}; records and logs in {folder}")
    verdict, blown = asyncio.run(run(size, folder, console))
    console.print(table(verdict, blown))
    for violation in verdict.violations[:_SHOWN]:
        console.print(f"\n✗ {violation.key} {violation.what}", markup=False, highlight=False)
        if violation.key:
            console.print(tell(read(folder), violation.key, blown.began), markup=False, highlight=False)
    if tally is not None:
        with tally.open("a") as lines:
            lines.write(line(verdict, blown) + "\n")
    if verdict.violations:
        console.print(f"\nrun it again with SEED={seed}; records and logs are in {folder}")
        sys.exit(1)
    if keep is None:
        shutil.rmtree(folder)


async def run(size: Size, folder: Path, console: Console) -> tuple[Verdict, Storm]:
    """The storm with its progress, then the verdict."""
    async with storm(size, folder) as blown:
        watching = asyncio.create_task(watch(blown, Tail(folder), console))
        try:
            await blown.run()
        finally:
            watching.cancel()
            with suppress(asyncio.CancelledError):
                await watching
    return Checker(read(folder)).judge(), blown


async def watch(blown: Storm, tail: Tail, console: Console) -> None:
    """Show how far it is: live on a terminal, a line now and then elsewhere."""
    if not console.is_terminal:
        while True:
            await asyncio.sleep(_LINE_SECONDS)
            console.print(progress(blown, tail))
    with Live(console=console, refresh_per_second=4) as live:
        while True:
            live.update(progress(blown, tail))
            await asyncio.sleep(0.25)


def progress(blown: Storm, tail: Tail) -> str:
    """One line."""
    tail.look()
    counts, seconds = tail.counts, time.monotonic() - blown.began
    ended = counts.get("done", 0) + counts.get("complete", 0)
    return (
        f"{blown.phase} {seconds:4.0f} s: {blown.fleet.kills} kills ({blown.fleet.kills / seconds:.1f}/s), "
        f"{counts.get('ack', 0)} pushes, {ended} jobs done, {counts.get('item', 0)} rows, "
        f"{counts.get('violation', 0)} violations"
    )


def table(verdict: Verdict, blown: Storm) -> Table:
    """What happened, and whether it may have."""
    shown = Table("", "", "", title=f"chaos, seed {blown.size.seed}", show_header=False)
    fleet = blown.fleet
    rows: list[tuple[str, str, str]] = [
        ("workers killed by SIGKILL", f"{fleet.kills:,}", f"{fleet.kills_while_holding:,} of them held jobs"),
        *((name, f"{count:,}", "") for name, count in sorted(blown.strokes.items()) if name != "SIGKILL"),
        *((f"jobs {name}", f"{count:,}", "") for name, count in sorted(blown.waverer.did.items())),
        ("jobs acknowledged to producers", f"{verdict.acknowledged:,}", f"of {verdict.keys:,} wanted"),
        ("jobs in flight at a crash", f"{verdict.in_flight:,}", ""),
        *((f"ran twice: {cause}", f"{count:,}", "explained") for cause, count in sorted(verdict.repeated.items())),
        ("rows of iterating jobs", f"{verdict.rows:,}", f"{verdict.rows_repeated:,} repeated"),
        ("buried as poison, and revived", f"{verdict.poisoned:,}", ""),
        ("longest wait for the other workers' rescue", f"{max(fleet.seconds_to_rescue, default=0):.1f} s", ""),
        ("violations", f"{len(verdict.violations):,}", "✗" if verdict.violations else "✓"),
    ]
    for row in rows:
        shown.add_row(*row)
    return shown


def line(verdict: Verdict, blown: Storm) -> str:
    """The same for a file, in one line."""
    return (
        f"seed={blown.size.seed} kills={blown.fleet.kills} holding={blown.fleet.kills_while_holding} "
        f"acknowledged={verdict.acknowledged} repeated={verdict.repeated.total()} rows={verdict.rows} "
        f"rows_repeated={verdict.rows_repeated} poisoned={verdict.poisoned} violations={len(verdict.violations)}"
    )


if __name__ == "__main__":
    main()
