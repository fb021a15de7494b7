"""A whole run: enough jobs of each kind, kills until there were enough, an end in peace, and what came of it.

Imported inside of the stage: the application finds its servers in the environment.
"""

from __future__ import annotations

import hashlib
import os
import random
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import redis
import sqlalchemy as sa

from jobworker import SyncClient
from jobworker.protocol.keys import Keys
from jobworker.protocol.records import WorkerId
from tests.chaos.records import FOLDER
from tests.kills import jobs
from tests.kills.arena import Arena
from tests.kills.checker import Verdict, judge_csv, judge_exports, judge_sql
from tests.kills.names import POSTGRES, SQL_KINDS, SQLITE
from tests.kills.stage import write_rows
from tests.s3_server import S3Server

_WAITING = 2  # jobs of each kind that wait while it runs
_SUPPLY_SECONDS = 0.2
_END_SECONDS = 180.0

_KEYS = Keys()


@dataclass(slots=True)
class Outcome:
    """What a run did. ``jids`` are its jobs by their kind."""

    arena: Arena
    jids: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))
    violations: list[str] = field(default_factory=list)


def run(kinds: list[str], kills: int, chance: random.Random, folder: Path, watch: Callable[[Outcome], None]) -> Outcome:
    """Kill until there were so many; ``watch`` is called again and again."""
    rows = folder / "rows.csv"
    write_rows(rows, jobs.ROWS)
    _create_tables(kinds)
    server = redis.Redis.from_url(os.environ["JOBWORKER_REDIS_URL"])
    client = SyncClient(server)

    def at_work(identity: str) -> bool:
        return bool(server.hlen(_KEYS.working(WorkerId(identity))))

    outcome = Outcome(Arena(kinds, chance, folder, at_work))

    def supply() -> None:
        for kind in kinds:
            while server.llen(_KEYS.queue(kind)) < _WAITING:
                outcome.jids[kind].append(client.enqueue(kind, [str(rows)], queue=kind, jw_poison_after=0))

    def all_done() -> bool:
        # At one moment: a job that is taken between two looks would be in neither.
        with server.pipeline(transaction=True) as looks:
            looks.keys(_KEYS.working(WorkerId("*")))
            for kind in kinds:
                looks.llen(_KEYS.queue(kind))
            return not any(looks.execute())

    try:
        looked = 0.0
        while outcome.arena.score.kills < kills and not outcome.arena.score.foul:
            if time.monotonic() - looked > _SUPPLY_SECONDS:
                supply()
                watch(outcome)
                looked = time.monotonic()
            outcome.arena.step()
        outcome.arena.relent()
        deadline = time.monotonic() + _END_SECONDS
        while not (outcome.arena.calm and all_done()):
            if time.monotonic() > deadline:
                outcome.violations.append(f"jobs did not end within {_END_SECONDS:.0f} s of the last kill")
                break
            outcome.arena.step()
        for name, where in (("retry", _KEYS.retry), ("dead", _KEYS.dead)):
            outcome.violations += [f"in the {name} set: {raw!r:.500}" for raw in server.zrange(where, 0, 5)]
    finally:
        outcome.arena.close()
        client.close()
    outcome.violations += outcome.arena.score.foul
    return outcome


def judge(outcome: Outcome, slack: float, s3: S3Server) -> dict[str, Verdict]:
    """What became of the jobs of each kind."""
    verdicts = {}
    notes = Path(os.environ[FOLDER])
    client = SyncClient(redis.Redis.from_url(os.environ["JOBWORKER_REDIS_URL"]))

    def told(jid: str) -> tuple[int, int]:
        progress = client.progress(jid)
        return (-1, -1) if progress is None else (progress.processed, progress.failed)

    for kind, jids in outcome.jids.items():
        if kind in SQL_KINDS:
            engine = sa.create_engine(_url(kind))
            verdicts[kind] = judge_sql(engine, jids, {jid: told(jid) for jid in jids})
            engine.dispose()
        elif kind == "CsvImport":
            verdicts[kind] = judge_csv(notes, jids, slack)
        else:
            objects = {key: hashlib.sha256(s3.read(key)).hexdigest() for key in s3.objects()}
            verdicts[kind] = judge_exports(objects, notes, jids)
    client.close()
    return verdicts


def _url(kind: str) -> str:
    if not kind.startswith("Sqlite"):
        return os.environ[POSTGRES]
    name = "plain" if "Plain" in kind else "async"
    return f"sqlite:///{os.environ[SQLITE]}/{name}.db"


def _create_tables(kinds: Sequence[str]) -> None:
    for kind in kinds:
        if kind in SQL_KINDS:
            # An engine of its own: nobody shall inherit a connection by the fork.
            engine = sa.create_engine(_url(kind))
            jobs.Base.metadata.create_all(engine)
            jobs.PlainImport.checkpoints.metadata.create_all(engine)
            engine.dispose()
