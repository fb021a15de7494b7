"""`make kill-iterations`: so many SIGKILLs over iterating jobs, a table of the effects, exit code 1 on a violation."""

from __future__ import annotations

import random
import shutil
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

import click
from rich.console import Console
from rich.table import Table

from tests.kills.names import KINDS, SQL_KINDS
from tests.kills.stage import stage

if TYPE_CHECKING:
    from tests.kills.checker import Verdict
    from tests.kills.run import Outcome

_LINE_SECONDS = 10.0
_SHOWN = 10
_WIDTH = 140


class Watcher:
    """Tells how far a run is: live on a terminal, a line now and then elsewhere."""

    def __init__(self, kills: int, console: Console) -> None:
        self._kills = kills
        self._console = console
        self._began = self._told = time.monotonic()

    def __call__(self, outcome: Outcome) -> None:
        now = time.monotonic()
        if not self._console.is_terminal and now - self._told < _LINE_SECONDS:
            return
        self._told = now
        kills, seconds = outcome.arena.score.kills, now - self._began
        jobs = sum(map(len, outcome.jids.values()))
        line = f"{seconds:4.0f} s: {kills:,} of {self._kills:,} kills ({kills / max(seconds, 1):.1f}/s), {jobs:,} jobs"
        self._console.print(line, end="\r" if self._console.is_terminal else "\n")


@click.command()
@click.option("--kills", default=200, show_default=True, help="How many SIGKILLs.")
@click.option("--seed", default=None, type=int, help="Of what is drawn; made up by default.")
@click.option(
    "--slack", default=0.5, show_default=True, help="Seconds a kill may repeat of an import beyond an interval."
)
@click.option("--only", default=",".join(KINDS), help="Kinds of jobs, with commas between.")
@click.option("--keep", type=click.Path(path_type=Path), help="Keep what the run left there, also of a good one.")
def main(kills: int, seed: int | None, slack: float, only: str, keep: Path | None) -> None:
    """Kill workers in the middle of iterating jobs, then count the effects."""
    console = Console(soft_wrap=True)
    if not console.is_terminal:
        console.width = _WIDTH
    seed = int(time.time()) % 1_000_000 if seed is None else seed
    kinds = only.split(",")
    if unknown := set(kinds) - set(KINDS):
        raise click.UsageError(f"no such kinds: {', '.join(sorted(unknown))}; there are {', '.join(KINDS)}")
    folder = (keep or Path(tempfile.mkdtemp(prefix="jobworker-kills-"))).resolve()
    folder.mkdir(parents=True, exist_ok=True)
    console.print(f"seed {seed}; notes and logs in {folder}")
    with stage(folder) as s3:
        from tests.kills import run  # noqa: PLC0415  # the application finds the servers in the environment

        outcome = run.run(kinds, kills, random.Random(seed), folder, Watcher(kills, console))
        verdicts = run.judge(outcome, slack, s3)
    violations = [*outcome.violations, *(what for each in verdicts.values() for what in each.violations)]
    console.print(table(verdicts, outcome, seed, len(violations)))
    for violation in violations[:_SHOWN]:
        console.print(f"✗ {violation}", markup=False, highlight=False)
    if violations:
        console.print(f"run it again with SEED={seed}; notes and logs are in {folder}")
        sys.exit(1)
    if keep is None:
        shutil.rmtree(folder)


def table(verdicts: dict[str, Verdict], outcome: Outcome, seed: int, violations: int) -> Table:
    """What was killed, and what became of the effects."""
    score = outcome.arena.score
    shown = Table("", "SIGKILLs", "at work", "jobs", "effects", "lost", "again", "", title=f"kills, seed {seed}")
    for kind, verdict in verdicts.items():
        words = "" if kind in SQL_KINDS else "objects whole"
        if kind == "CsvImport":
            words = f"one kill: {verdict.longest:.2f} s at most"
        numbers = (score.kinds[kind], score.at_work[kind], verdict.jobs, verdict.effects, verdict.lost, verdict.twice)
        shown.add_row(KINDS[kind], *(f"{number:,}" for number in numbers), words)
    shown.add_section()
    for how, count in sorted(score.hows.items(), key=lambda each: -each[1]):
        shown.add_row(how.value, f"{count:,}")
    shown.add_section()
    shown.add_row(
        "all",
        f"{score.kills:,}",
        f"{score.at_work.total():,}",
        "",
        "",
        "",
        "",
        f"violations: {violations:,} {'✗' if violations else '✓'}",
    )
    return shown


if __name__ == "__main__":
    main()
