"""The demo's table: each number beside the one that it must be. One that is wrong makes the demo fail."""

from __future__ import annotations

from dataclasses import dataclass

from rich.table import Table


@dataclass(frozen=True, slots=True)
class Line:
    """A number, what it must be in words, and whether it is."""

    name: str
    value: str
    wanted: str
    good: bool


@dataclass(frozen=True, slots=True)
class Numbers:
    """What the demo measured. Times in seconds."""

    rows: int
    rows_done: int
    rows_twice: int
    rows_failed: int
    errors: int
    reports: int
    reports_cut: int
    deleted: int
    deleted_while_holding: int
    fewest_ready: int
    longest_pause_seconds: float
    rollout_seconds: float
    bound_seconds: float
    mails: int
    mails_sent: int
    mails_twice: int
    most_replicas: int
    replicas_at_rest: int
    decision_seconds: float


PAUSE_SECONDS = 5.0  # an import spread over three pods never stands still for so long while they are replaced
ROLLOUT_FACTOR = 1.15  # of pod start plus the longest time to the end of a job, which overlap where all goes well
DECISION_SECONDS = 5.0


def lines(seen: Numbers) -> list[Line]:
    """The verdict, line by line."""
    ratio = seen.rollout_seconds / seen.bound_seconds if seen.bound_seconds else 0.0
    zero = "0"
    return [
        Line("rows imported", f"{seen.rows_done:,} of {seen.rows:,}", "all", seen.rows_done == seen.rows),
        Line("rows done twice", str(seen.rows_twice), zero, seen.rows_twice == 0),
        Line(
            "rows with errors kept, messages",
            f"{seen.rows_failed}, {seen.errors}",
            "some rows with several",
            0 < seen.rows_failed < seen.errors,
        ),
        Line("reports cut", f"{seen.reports_cut} of {seen.reports}", zero, seen.reports_cut == 0),
        Line(
            "pods deleted while holding a job", str(seen.deleted_while_holding), zero, seen.deleted_while_holding == 0
        ),
        Line("pods deleted in all", str(seen.deleted), "3 or more", seen.deleted >= 3),  # noqa: PLR2004  # the old three
        Line("fewest ready pods during the rollout", str(seen.fewest_ready), "3", seen.fewest_ready >= 3),  # noqa: PLR2004
        Line(
            "longest time without progress of the import",
            f"{seen.longest_pause_seconds:.1f} s",
            f"under {PAUSE_SECONDS:.0f} s",
            seen.longest_pause_seconds < PAUSE_SECONDS,
        ),
        Line(
            "rollout against pod start plus longest job",
            f"{seen.rollout_seconds:.1f} s : {seen.bound_seconds:.1f} s = {ratio:.2f}",
            f"at most {ROLLOUT_FACTOR}",
            ratio <= ROLLOUT_FACTOR,
        ),
        Line("mails sent", f"{seen.mails_sent} of {seen.mails}", "all", seen.mails_sent == seen.mails),
        Line("mails sent twice", str(seen.mails_twice), zero, seen.mails_twice == 0),
        Line(
            "burst to decision",
            f"{seen.decision_seconds:.1f} s",
            f"under {DECISION_SECONDS:.0f} s",
            seen.decision_seconds < DECISION_SECONDS,
        ),
        Line(
            "replicas in the burst, and at rest again",
            f"{seen.most_replicas}, {seen.replicas_at_rest}",
            "8, 3",
            (seen.most_replicas, seen.replicas_at_rest) == (8, 3),
        ),
    ]


def table(verdict: list[Line]) -> Table:
    """The verdict for a terminal."""
    shown = Table(title="What happened", title_justify="left", header_style="bold")
    shown.add_column("")
    shown.add_column("seen", justify="right")
    shown.add_column("wanted")
    shown.add_column("")
    for line in verdict:
        mark = "[green]✓[/]" if line.good else "[bold red]✗[/]"
        shown.add_row(line.name, line.value, line.wanted, mark)
    return shown
