"""What the examples' jobs have done, counted from outside in the Redis that they write to.

Every effect is an increment, so work that was done twice shows as 2, and a report that was cut as started 2.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise

import redis

from jobworker.protocol import payload as payloads

ROWS, MAILS = "demo:effects", "demo:mails"


@dataclass(frozen=True, slots=True)
class ImportProgress:
    """Of all import jobs together: rows that their progress counts, rows that failed, and messages by row."""

    processed: int
    failed: int
    errors: dict[int, tuple[str, ...]]


class Effects:
    """The effects of one shop."""

    def __init__(self, client: redis.Redis) -> None:
        self._redis = client

    def push(self, job_class: str, arguments: Sequence[object], queue: str) -> str:
        """Enqueue as a foreign producer would, by a plain LPUSH of Sidekiq's JSON; the jid."""
        job = payloads.new(job_class, arguments, queue=queue, now=self._now())
        with self._redis.pipeline() as pipe:
            pipe.sadd("queues", queue)
            pipe.lpush(f"queue:{queue}", job.with_fields(enqueued_at=self._now()).to_json())
            pipe.execute()
        return job.jid

    def push_raw(self, payload: bytes, queue: str) -> None:
        """Put bytes on a queue that need be no job."""
        self._redis.sadd("queues", queue)
        self._redis.lpush(f"queue:{queue}", payload)

    def import_rows(self, rows: int, jobs: int, row_ms: float) -> list[str]:
        """Enqueue the import of the first ``rows`` rows in ``jobs`` parts; their jids."""
        bounds = [rows * part // jobs for part in range(jobs + 1)]
        return [self.push("ImportCities", [low + 1, high, row_ms], "imports") for low, high in pairwise(bounds)]

    def rows_done(self) -> int:
        """Rows that were handled at least once."""
        return int(self._redis.hlen(ROWS))

    def rows_twice(self) -> int:
        """How many times a row was handled again."""
        return sum(int(count) - 1 for count in self._redis.hvals(ROWS))

    def rows_missing(self, rows: int) -> list[int]:
        """Rows of the first ``rows`` that nobody handled."""
        done = {int(row) for row in self._redis.hkeys(ROWS)}
        return sorted(set(range(1, rows + 1)) - done)

    def progress(self, jids: Iterable[str]) -> ImportProgress:
        """What the jobs themselves say of their progress."""
        processed = failed = 0
        errors: dict[int, tuple[str, ...]] = {}
        for jid in jids:
            counts = self._redis.hgetall(f"jw:progress:{jid}")
            processed += int(counts.get(b"processed", 0))
            failed += int(counts.get(b"failed", 0))
            for row, messages in self._redis.hgetall(f"jw:errors:{jid}").items():
                errors[int(row)] = tuple(json.loads(messages))
        return ImportProgress(processed, failed, errors)

    def report(self, name: str) -> tuple[int, int]:
        """How often a report was started and finished."""
        record = self._redis.hgetall(f"demo:reports:{name}")
        return int(record.get(b"started", 0)), int(record.get(b"finished", 0))

    def started(self, name: str) -> bool:
        """Somebody works on a report, or did."""
        return self.report(name)[0] > 0

    def mails_sent(self) -> int:
        """Mails that were sent at least once."""
        return int(self._redis.hlen(MAILS))

    def mails_twice(self) -> int:
        """How many times a mail was sent again."""
        return sum(int(count) - 1 for count in self._redis.hvals(MAILS))

    def held(self, worker: str) -> int:
        """Jobs that a worker (a pod's UID) holds."""
        return int(self._redis.hlen(f"jw:working:{worker}"))

    def holders(self) -> dict[str, list[str]]:
        """Who holds what: jid → workers, by ``<worker>/<epoch>``."""
        found: dict[str, list[str]] = {}
        for worker in map(_text, self._redis.smembers("jw:workers")):
            for value in self._redis.hvals(f"jw:working:{worker}"):
                jid = json.loads(_text(value).split("\n", 1)[1])["jid"]
                found.setdefault(jid, []).append(self.life(worker))
        return found

    def life(self, worker: str) -> str:
        """A worker's present life: ``<worker>/<epoch>``, the epoch empty if it has none."""
        return f"{worker}/{_text(self._redis.hget(f'jw:worker:{worker}', 'epoch') or b'')}"

    def depth(self, *queues: str) -> int:
        """Jobs that wait."""
        return sum(int(self._redis.llen(f"queue:{queue}")) for queue in queues)

    def _now(self) -> float:
        seconds, micros = self._redis.time()
        return float(seconds) + float(micros) / 1e6


def _text(value: bytes | str) -> str:
    return value.decode() if isinstance(value, bytes) else value
