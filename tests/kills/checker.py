"""Looks at the effects of a run: what is missing, what is there twice, what was repeated that need not have been."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path

import sqlalchemy as sa

from tests.chaos.records import Record, read
from tests.kills import jobs
from tests.kills.names import FLUSH_SECONDS

_LONGEST_ROW = 0.1  # seconds; a row takes two thousandths, and whatever the machine lets it wait


@dataclass(slots=True)
class Verdict:
    """About one kind of job."""

    jobs: int = 0
    effects: int = 0
    lost: int = 0
    twice: int = 0
    longest: float = 0.0
    """Seconds of work that one kill repeated, where repeating is allowed."""
    violations: list[str] = field(default_factory=list)

    def violate(self, what: str) -> None:
        self.violations.append(what)


def judge_sql(engine: sa.Engine, jids: Sequence[str], failed: Mapping[str, tuple[int, int]]) -> Verdict:
    """Each effect once. ``failed`` is what the progress of each job says: rows processed, rows with errors."""
    verdict = Verdict(len(jids))
    wrong = {str(row) for row in range(jobs.ROWS) if row % jobs.WRONG == 0}
    expected = {"start", "complete", *map(str, range(jobs.ROWS))} - wrong
    found: dict[str, Counter[str]] = defaultdict(Counter)
    with engine.connect() as connection:
        for jid, what in connection.execute(sa.select(jobs.Effect.jid, jobs.Effect.what)):
            found[jid][what] += 1
    for jid in jids:
        effects = found[jid]
        verdict.effects += effects.total()
        lost = expected - effects.keys()
        twice = {what: count for what, count in effects.items() if count > 1}
        verdict.lost += len(lost)
        verdict.twice += len(twice)
        if lost:
            verdict.violate(f"{jid}: lost {sorted(lost)[:10]}")
        if twice:
            verdict.violate(f"{jid}: more than once {twice}")
        if effects.keys() - expected:
            verdict.violate(f"{jid}: effects of rows that raised: {sorted(effects.keys() - expected)[:10]}")
        if failed[jid] != (jobs.ROWS, len(wrong)):
            verdict.violate(f"{jid}: its progress says {failed[jid]} rows and errors, not {(jobs.ROWS, len(wrong))}")
    return verdict


def judge_csv(notes: Path, jids: Sequence[str], slack: float) -> Verdict:
    """Each row at least once, and a kill repeats what was done within an interval between checkpoints at most."""
    verdict = Verdict(len(jids))
    records: dict[str, list[Record]] = defaultdict(list)
    for record in read(notes):
        if record["life"].startswith("CsvImport-"):
            records[record["jid"]].append(record)
    for jid in jids:
        done = Counter(record["row"] for record in records[jid] if record["e"] == "row")
        verdict.effects += done.total()
        lost = set(range(jobs.ROWS)) - done.keys()
        verdict.lost += len(lost)
        verdict.twice += sum(count - 1 for count in done.values())
        if lost:
            verdict.violate(f"{jid}: lost {sorted(lost)[:10]}")
        if not any(record["e"] == "complete" for record in records[jid]):
            verdict.violate(f"{jid}: never complete")
        for seconds in _repeated(records[jid]):
            verdict.longest = max(verdict.longest, seconds)
            if seconds > FLUSH_SECONDS + slack:
                verdict.violate(f"{jid}: a kill repeated {seconds:.2f} s of work")
    return verdict


def _repeated(records: Iterable[Record]) -> Iterable[float]:
    """Of each walk: how long the one before it had worked on what it walks again."""
    before: list[tuple[int, float]] = []
    life = ""
    for record in records:
        match record["e"]:
            case "walk":
                yield _worked([when for row, when in before if row >= record["at"]])
                life, before = record["life"], []
            case "row" if record["life"] == life:
                before.append((record["row"], record["t"]))
            case _:
                pass  # of a life that was stopped and came back beside the next one


def _worked(times: Sequence[float]) -> float:
    """Seconds between the first and the last, without those in which the process was stopped."""
    return sum(min(following - when, _LONGEST_ROW) for when, following in pairwise(times))


def judge_exports(objects: Mapping[str, str], notes: Path, jids: Sequence[str]) -> Verdict:
    """Each object is there, whole, and no other. ``objects`` are checksums by key."""
    verdict = Verdict(len(jids), len(objects))
    whole = jobs.checksum()
    complete = Counter(record["jid"] for record in read(notes) if record["e"] == "complete")
    for jid in jids:
        if jid not in objects:
            verdict.lost += 1
            verdict.violate(f"{jid}: no object")
        elif objects[jid] != whole:
            verdict.lost += 1
            verdict.violate(f"{jid}: other bytes")
        if not complete[jid]:
            verdict.violate(f"{jid}: never complete")
    for key in objects.keys() - set(jids):
        verdict.violate(f"an object that no job should have left: {key}")
    return verdict
