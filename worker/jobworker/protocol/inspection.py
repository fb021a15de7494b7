"""What a person wants to see of a whole application: its queues, its workers and what they run, its counters.

Reads only. A number of network crossings that does not grow with the number of queues, workers or jobs.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Awaitable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import cast

import orjson
from redis.asyncio import Redis

from jobworker.errors import MalformedPayload
from jobworker.protocol.job_sets import Found
from jobworker.protocol.keys import Keys
from jobworker.protocol.limits import QueueLimit, limits
from jobworker.protocol.processes import LABEL
from jobworker.protocol.queue_patterns import is_pattern, takes
from jobworker.protocol.reading import activities, queue_depths
from jobworker.protocol.records import QUIET_SIGNAL, Activity, Entry, QueueDepth, WorkerId

_ROWS_TOLD = 1_000  # jobs of which is told how far they are: those that run longest


@dataclass(frozen=True, slots=True)
class RunningJob:
    """A job that a worker holds; ``taken_at`` in epoch seconds of Redis' clock.

    ``processed`` and ``total`` rows are told of iterating jobs, None where nobody knows.
    """

    worker: WorkerId
    queue: str
    taken_at: float
    found: Found
    processed: int | None = None
    total: int | None = None


@dataclass(frozen=True, slots=True)
class WorkerReport:
    """A worker as it described itself, what Redis sees of it, and the jobs that it holds, the oldest first.

    ``quiet_here`` is the signal that made it, or some of its processes, quiet until it ends; None where none did.
    """

    activity: Activity
    fleet: str
    pod: str
    hostname: str
    pid: int | None
    version: str
    queues: tuple[str, ...]
    started_at: float | None
    rss_kb: int | None
    stopping: bool
    jobs: tuple[RunningJob, ...]
    quiet_here: str | None = None

    @property
    def takes_jobs(self) -> bool:
        """May a job start on it now?"""
        quiet = self.activity.quiet is not None or self.quiet_here == QUIET_SIGNAL
        return self.activity.alive and not self.stopping and not quiet


@dataclass(frozen=True, slots=True)
class QueueReport:
    """A queue, the jobs of it that run now, and the live workers that take it.

    ``paused_until`` is in epoch seconds of Redis' clock; None where the queue is not paused, or paused for good.
    ``workers`` counts our own, ``quiet`` those of them that are quiet or stop; ``sidekiq`` says that a Sidekiq process
    of Ruby takes it as well.
    """

    depth: QueueDepth
    paused_until: float | None
    running: int
    workers: int
    sidekiq: bool
    limit: QueueLimit
    quiet: int = 0


@dataclass(frozen=True, slots=True)
class Day:
    """Sidekiq's counters of a UTC day, written YYYY-MM-DD. ``processed`` counts failures too."""

    date: str
    processed: int
    failed: int


@dataclass(frozen=True, slots=True)
class Stats:
    """Counters of all time and of the last days, today first, and the sizes of everything that waits."""

    processed: int
    failed: int
    days: tuple[Day, ...]
    enqueued: int
    running: int
    paused: int
    scheduled: int
    retry: int
    dead: int
    queues: int
    workers: int
    oldest_seconds: float


async def worker_reports(redis: Redis, keys: Keys) -> tuple[WorkerReport, ...]:
    """All workers that are registered, dead ones that nobody has rescued yet included."""
    members = await cast("Awaitable[set[bytes]]", redis.smembers(keys.workers))
    workers = sorted(WorkerId(_name(member)) for member in members)
    if not workers:
        return ()
    async with redis.pipeline(transaction=False) as pipe:
        for worker in workers:
            _ = pipe.hgetall(keys.record(worker)), pipe.hgetall(keys.working(worker))
        answers = await pipe.execute()
    seen = await activities(redis, keys, workers)
    reports = [
        _worker(activity, record, working)
        for activity, record, working in zip(seen, answers[::2], answers[1::2], strict=True)
    ]
    return await _with_progress(redis, keys, reports)


async def _with_progress(redis: Redis, keys: Keys, reports: Sequence[WorkerReport]) -> tuple[WorkerReport, ...]:
    """The same with the rows of those jobs that run longest: jobs that nobody shows are not asked for."""
    oldest = sorted((job for report in reports for job in report.jobs), key=lambda job: job.taken_at)[:_ROWS_TOLD]
    jids = [job.found.job.jid for job in oldest if job.found.job is not None]
    if not jids:
        return tuple(reports)
    async with redis.pipeline(transaction=False) as pipe:
        for jid in jids:
            _ = pipe.hmget(keys.progress(jid), ["processed", "total"])
        counts = await pipe.execute()
    rows = {
        jid: (int(processed), None if total is None else int(total))
        for jid, (processed, total) in zip(jids, counts, strict=True)
        if processed is not None
    }

    def told(job: RunningJob) -> RunningJob:
        known = None if job.found.job is None else rows.get(job.found.job.jid)
        return job if known is None else replace(job, processed=known[0], total=known[1])

    return tuple(replace(report, jobs=tuple(map(told, report.jobs))) for report in reports)


async def queue_reports(
    redis: Redis, keys: Keys, workers: Sequence[WorkerReport] | None = None
) -> tuple[QueueReport, ...]:
    """All queues that ever had a job, are paused or limited, or that a live worker takes, by name."""
    if workers is None:
        workers = await worker_reports(redis, keys)
    async with redis.pipeline(transaction=False) as pipe:
        _ = (
            pipe.smembers(keys.queues),
            pipe.smembers(keys.paused),
            pipe.zrange(keys.paused_until, 0, -1, withscores=True),
        )
        known, paused, until = await pipe.execute()
    limited = await limits(redis, keys)
    ends = {_name(queue): float(ms) / 1000 for queue, ms in until}
    sidekiq = await sidekiq_queues(redis, keys, workers)
    live = [worker for worker in workers if worker.activity.alive]
    names = {_name(name) for name in known | paused}
    names |= sidekiq | limited.keys() | {queue for worker in live for queue in worker.queues if not is_pattern(queue)}
    depths = await queue_depths(redis, keys, sorted(names))
    held = Counter(job.queue for worker in workers for job in worker.jobs)
    return tuple(
        QueueReport(
            depth=depth,
            paused_until=ends.get(depth.name) if depth.paused else None,
            running=held[depth.name],
            workers=sum(takes(worker.queues, depth.name) for worker in live),
            sidekiq=depth.name in sidekiq,
            limit=limited.get(depth.name, QueueLimit()),
            quiet=sum(takes(worker.queues, depth.name) for worker in live if not worker.takes_jobs),
        )
        for depth in depths
    )


async def sidekiq_queues(redis: Redis, keys: Keys, workers: Sequence[WorkerReport]) -> frozenset[str]:
    """The queues that processes of a real Sidekiq take, where some share this Redis.

    ``workers`` are ours, which show themselves among Sidekiq's processes too and are passed over here, killed ones as
    well, of which Redis shows a record for a minute more.
    """
    ours = {(worker.hostname, worker.pid) for worker in workers}
    members = await cast("Awaitable[set[bytes]]", redis.smembers(keys.processes))
    if not members:
        return frozenset()
    async with redis.pipeline(transaction=False) as pipe:
        for process in members:
            _ = pipe.hget(keys.process(_name(process)), "info")
        infos = await pipe.execute()
    names: set[str] = set()
    for info in infos:
        try:
            described = orjson.loads(info or b"{}")
        except orjson.JSONDecodeError:
            continue  # whoever wrote it is no Sidekiq
        if not isinstance(described, dict) or (described.get("hostname"), described.get("pid")) in ours:
            continue
        if LABEL in (described.get("labels") or ()):
            continue
        names.update(queue for queue in described.get("queues") or () if isinstance(queue, str))
    return frozenset(names)


@dataclass(frozen=True, slots=True)
class Overview:
    """All of it, read one after the other."""

    stats: Stats
    queues: tuple[QueueReport, ...]
    workers: tuple[WorkerReport, ...]


async def overview(redis: Redis, keys: Keys, days: int = 1) -> Overview:
    """Queues, workers, counters and sizes; ``days`` of history, today (UTC) included."""
    today = datetime.now(UTC).date()
    dates = [str(today - timedelta(days=back)) for back in range(days)]
    async with redis.pipeline(transaction=False) as pipe:
        _ = (
            pipe.mget([keys.stat(name, date) for date in ["", *dates] for name in ("processed", "failed")]),
            *(pipe.zcard(key) for key in (keys.schedule, keys.retry, keys.dead)),
            pipe.hlen(keys.parked),
        )
        counters, scheduled, retry, dead, paused = await pipe.execute()
    numbers = [int(counter or 0) for counter in counters]
    workers = await worker_reports(redis, keys)
    queues = await queue_reports(redis, keys, workers)
    seen = Stats(
        processed=numbers[0],
        failed=numbers[1],
        days=tuple(map(Day, dates, numbers[2::2], numbers[3::2])),
        enqueued=sum(queue.depth.depth for queue in queues),
        running=sum(len(worker.jobs) for worker in workers),
        paused=int(paused),
        scheduled=int(scheduled),
        retry=int(retry),
        dead=int(dead),
        queues=len(queues),
        workers=sum(worker.activity.alive for worker in workers),
        oldest_seconds=max((queue.depth.latency_seconds for queue in queues), default=0.0),
    )
    return Overview(seen, queues, workers)


async def queued(redis: Redis, keys: Keys, queue: str, offset: int, count: int) -> tuple[tuple[Found, ...], int]:
    """``count`` jobs of a queue from ``offset`` on, the one that is taken next first; and how many wait there."""
    async with redis.pipeline(transaction=True) as pipe:
        _ = pipe.lrange(keys.queue(queue), -(offset + count), -(offset + 1)), pipe.llen(keys.queue(queue))
        raw, depth = await pipe.execute()
    return tuple(Found.read(payload) for payload in reversed(raw)), int(depth)


async def clear_queue(redis: Redis, keys: Keys, queue: str) -> int:
    """Drop all jobs that wait in a queue, and the queue from the list of queues. How many were dropped.

    A queue that is paused stays so.
    """
    async with redis.pipeline(transaction=True) as pipe:
        _ = pipe.llen(keys.queue(queue)), pipe.unlink(keys.queue(queue)), pipe.srem(keys.queues, queue)
        answers = await pipe.execute()
    return int(answers[0])


def _name(raw: bytes) -> str:
    """A name that strangers may have written; bytes that are no UTF-8 are shown as such and name nothing."""
    return raw.decode("utf-8", "replace")


def _worker(activity: Activity, record: Mapping[bytes, bytes], working: Mapping[bytes, bytes]) -> WorkerReport:
    def text(field: str) -> str:
        return record.get(field.encode(), b"").decode("utf-8", "replace")

    started_at, pid, rss = text("started_at"), text("pid"), text("rss_kb")
    jobs = [_running(activity.worker, number, value) for number, value in working.items()]
    return WorkerReport(
        activity=activity,
        fleet=text("fleet"),
        pod=text("pod"),
        hostname=text("hostname"),
        pid=int(pid) if pid else None,
        version=text("version"),
        queues=tuple(part.partition(",")[0] for part in text("queues").split()),
        started_at=float(started_at) if started_at else None,
        rss_kb=int(rss) if rss else None,
        stopping=text("stopping") == "1",
        jobs=tuple(sorted(jobs, key=lambda job: job.taken_at)),
        quiet_here=text("quiet_here") or None,
    )


def _running(worker: WorkerId, number: bytes, value: bytes) -> RunningJob:
    try:
        entry = Entry.parse(number, value)
    except MalformedPayload as error:
        return RunningJob(worker, "", time.time(), Found(value, None, str(error)))
    return RunningJob(worker, entry.queue, entry.taken_ms / 1000, Found.read(entry.payload))
