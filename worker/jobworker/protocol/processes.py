"""A worker as Sidekiq's API and web page know it: a process with a record, what it runs, and a list of signals.

Written for others to read; nothing of ours decides by it. Fields of all versions are written side by side (Sidekiq's
``launcher.rb`` of 6.4.1, 7.3 and 8.1): a reader takes the ones that it knows.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Awaitable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

import orjson
from redis.asyncio import Redis
from redis.exceptions import RedisError

from jobworker.errors import ArgumentsNotJSON
from jobworker.protocol.keys import Keys
from jobworker.protocol.payload import Payload

LABEL = "jobworker"  # by which ours are told from Ruby's
RECORD_SECONDS = 60  # Sidekiq's: a process without a record is dead to all its readers
CLEANUP_SECONDS = 60

_SHOWN_JOBS = 200  # of those that run; `busy` counts all of them
_SHOWN_BYTES = 10_000  # of a payload; a longer one is shown without its arguments
_RUBY_NESTING = 100  # Ruby's JSON.parse refuses more, and one such job would break the whole page


@dataclass(frozen=True, slots=True)
class Work:
    """A job that runs: the number of its entry in the working set, its queue, what lay there, since when.

    ``run_at`` is in epoch seconds.
    """

    number: int
    queue: str
    payload: bytes
    job: Payload
    run_at: float


@dataclass(frozen=True, slots=True)
class Shown:
    """What is shown of a process at one moment. ``info`` is `info`'s JSON, which never changes in its life.

    ``had_work``: the moment before showed jobs, which are to be taken away.
    """

    identity: str
    info: bytes
    busy: int
    quiet: bool
    rss_kb: int
    rtt_us: int
    concurrency: int
    work: tuple[tuple[str, bytes], ...] = ()
    had_work: bool = False

    @property
    def fields(self) -> dict[str, Any]:
        """Of its record, but for the time of the beat."""
        return {
            "info": self.info,
            "busy": self.busy,
            "quiet": "true" if self.quiet else "false",
            "rss": self.rss_kb,
            "rtt_us": self.rtt_us,
            "concurrency": self.concurrency,
        }


def identity(hostname: str, pid: int) -> str:
    """A new name for a process, as Sidekiq makes them: in Kubernetes the part before the first colon is the pod."""
    return f"{hostname}:{pid}:{secrets.token_hex(6)}"


def info(  # noqa: PLR0913  # the record's fields are its arguments
    name: str,
    *,
    started_at: float,
    tag: str,
    labels: Sequence[str],
    concurrency: int,
    weights: Mapping[str, int],
    mode: str,
    version: str,
) -> bytes:
    """The part of a record that never changes; ``mode`` is Sidekiq's: ``strict`` or ``weighted``.

    Sidekiq 6 reads ``queues``, 7 also ``weights`` (of each capsule), 8.1 ``capsules``; we are one capsule.
    """
    hostname, pid, _ = name.rsplit(":", 2)
    shown = dict(weights) if mode == "weighted" else dict.fromkeys(weights, 0)
    return orjson.dumps(
        {
            "hostname": hostname,
            "started_at": started_at,
            "pid": int(pid),
            "tag": tag,
            "concurrency": concurrency,
            "queues": list(weights),
            "weights": [shown],
            "capsules": {"default": {"concurrency": concurrency, "mode": mode, "weights": shown}},
            "labels": list(labels),
            "identity": name,
            "version": version,
            "embedded": False,
        }
    )


def work_fields(running: Iterable[Work]) -> tuple[tuple[str, bytes], ...]:
    """Thread → JSON of the longest running jobs; what Sidekiq calls a thread is our entry's number."""
    longest = sorted(running, key=lambda work: work.run_at)[:_SHOWN_JOBS]
    return tuple(
        (
            str(work.number),
            orjson.dumps({"queue": work.queue, "payload": _shown(work).decode(), "run_at": int(work.run_at)}),
        )
        for work in longest
    )


async def remove_dead(redis: Redis, keys: Keys) -> int:
    """Clear `processes` of those without a record, once a minute for all of them together; how many those were.

    Sidekiq does so when one of its processes or pages starts; where there is none, it would grow with every kill.
    """
    if not await redis.set(keys.process_cleanup, "1", nx=True, ex=CLEANUP_SECONDS):
        return 0
    names = sorted(name.decode() for name in await cast("Awaitable[set[bytes]]", redis.smembers(keys.processes)))
    if not names:
        return 0
    async with redis.pipeline(transaction=False) as pipe:
        for name in names:
            cast("Any", pipe).hexists(keys.process(name), "info")
        known = await pipe.execute()
    # RACE one of them beats just now: each of its beats adds it again.
    dead = [name for name, alive in zip(names, known, strict=True) if not alive]
    return int(await redis.srem(keys.processes, *dead)) if dead else 0


async def show(redis: Redis, keys: Keys, shown: Shown) -> tuple[str, ...]:
    """Show a process that does not beat itself, one of several of a worker; the signals that Sidekiq's readers sent.

    Each step may fail alone, as in the script ``beat``: a foreign key named ``processes`` is no reason for anything.
    """
    process, (work, by_old_name) = keys.process(shown.identity), keys.process_work(shown.identity)
    async with redis.pipeline(transaction=True) as pipe:
        commands = cast("Any", pipe)
        commands.sadd(keys.processes, shown.identity)
        commands.hset(process, mapping={"beat": time.time(), **shown.fields})
        commands.expire(process, RECORD_SECONDS)
        if shown.had_work:
            commands.unlink(work, by_old_name)
        if shown.work:
            commands.hset(work, mapping=dict(shown.work))
            commands.expire(work, RECORD_SECONDS)
            commands.copy(work, by_old_name, replace=True)
        commands.rpop(keys.process_signals(shown.identity), 10)
        signals = (await pipe.execute(raise_on_error=False))[-1]
    return tuple(name.decode("utf-8", "replace") for name in signals) if isinstance(signals, list) else ()


async def hide(redis: Redis, keys: Keys, identity: str) -> None:
    """Take away what was shown of a process that is dead: its jobs run elsewhere by now. One that lives shows anew."""
    try:
        async with redis.pipeline(transaction=False) as pipe:
            commands = cast("Any", pipe)
            commands.srem(keys.processes, identity)
            commands.unlink(keys.process(identity), *keys.process_work(identity), keys.process_signals(identity))
            await pipe.execute(raise_on_error=False)
    except (RedisError, OSError):
        return  # it ends by itself within a minute, and whoever rescued has more to tell


def _shown(work: Work) -> bytes:
    size = len(work.payload)
    if size <= _SHOWN_BYTES and not _too_deep(work):
        return work.payload
    short = Payload(work.job.job_class, [f"({size} bytes, not shown)"], work.job.jid, work.queue, work.job.retry)
    try:
        return short.to_json()
    except ArgumentsNotJSON:
        return b"{}"


def _too_deep(work: Work) -> bool:
    raw = work.payload
    if raw.count(b"[") + raw.count(b"{") <= _RUBY_NESTING:
        return False
    level: list[Any] = [[*work.job.extra.values(), work.job.args]]
    for _ in range(_RUBY_NESTING):
        level = [
            inner
            for outer in level
            for inner in (outer.values() if isinstance(outer, dict) else outer)
            if isinstance(inner, dict | list)
        ]
        if not level:
            return False
    return True
