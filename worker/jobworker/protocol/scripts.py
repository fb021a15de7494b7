"""The atomic steps, as methods. One call is one script in Redis, and one crossing of the network.

Sources lie in ``lua/``, each with its keys, arguments and the race that it settles. A first call after Redis was
restarted answers NOSCRIPT; the source is then sent once. Nothing here retries anything else: before a job is
acknowledged nothing may be assumed, and whether to ask again is the caller's to decide.
"""

from __future__ import annotations

import hashlib
import re
import time
from collections.abc import Awaitable, Iterable, Mapping, Sequence
from functools import lru_cache
from importlib import resources
from types import MappingProxyType
from typing import Any, cast

from redis.asyncio import Redis
from redis.exceptions import NoScriptError

from jobworker.errors import NotHeld, StaleEpoch
from jobworker.protocol.checkpoints import checkpoint_args, checkpoint_keys
from jobworker.protocol.deaths import DeadSet
from jobworker.protocol.keys import Keys
from jobworker.protocol.processes import RECORD_SECONDS, Shown
from jobworker.protocol.records import (
    Checkpoint,
    DrainAnswer,
    Entry,
    Epoch,
    FinishAnswer,
    Finished,
    GivenBack,
    IterationState,
    Number,
    Taken,
    Wish,
    WorkerId,
    wish_of,
)

STATE_SECONDS = 30 * 24 * 3600  # how long a checkpoint and its progress live after the last write; Sidekiq's 30 days
_DAY_COUNTER_SECONDS = 5 * 365 * 24 * 3600  # Sidekiq keeps its counters of a day for five years
SIDEKIQS_DEAD_SET = DeadSet()
DEAD_SECONDS = SIDEKIQS_DEAD_SET.max_age.total_seconds()
DEAD_JOBS = SIDEKIQS_DEAD_SET.max_jobs
NOTHING_HELD: Mapping[str, int] = MappingProxyType({})
NOTHING_DONE: Mapping[str, Sequence[int]] = MappingProxyType({})
_QUEUE_NAMES = 1_000  # whose keys are remembered


class Script:
    """A Lua source with its digest."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.source = _source(name)
        self.digest = hashlib.sha1(self.source.encode(), usedforsecurity=False).hexdigest()

    async def __call__(self, redis: Redis, keys: Sequence[str], args: Sequence[Any]) -> Any:
        """Run it; the source travels only when Redis does not know it."""
        try:
            return await redis.evalsha(self.digest, len(keys), *keys, *args)
        except NoScriptError:
            return await redis.eval(self.source, len(keys), *keys, *args)


def _source(name: str) -> str:
    text = (resources.files("jobworker.protocol") / "lua" / f"{name}.lua").read_text("utf-8")
    return re.sub(r"^-- #include (\w+)$", lambda match: _source(match[1]), text, flags=re.MULTILINE)


REGISTER, BEAT, DEREGISTER = Script("register"), Script("beat"), Script("deregister")
TAKE, FINISH, GIVE_BACK, CHECKPOINT = Script("take"), Script("finish"), Script("give_back"), Script("checkpoint")
QUIET, UNQUIET, RETIRE = Script("quiet"), Script("unquiet"), Script("retire")
CONFIRM_DRAINED, RESCUE, ACTIVITY = Script("confirm_drained"), Script("rescue"), Script("activity")
ENQUEUE, PROMOTE, HOLD, VOID_TAKES = Script("enqueue"), Script("promote"), Script("hold"), Script("void_takes")


def enqueue_keys(keys: Keys, queue: str) -> list[str]:
    """The keys of `ENQUEUE`, for producers that pack the call themselves; its arguments are queue and payloads."""
    return [keys.queues, keys.queue(queue), keys.wake(queue)]


class WorkerScripts:
    """What one life of one worker may do. Every method but `register` raises StaleEpoch when that life has ended."""

    def __init__(  # who it is, and where
        self,
        redis: Redis,
        keys: Keys,
        worker: WorkerId,
        epoch: Epoch,
        fleet: str,
        dead_set: DeadSet = SIDEKIQS_DEAD_SET,
    ) -> None:
        self.worker = worker
        self.epoch = epoch
        self.fleet = fleet
        self._redis = redis
        self._keys = keys
        self._record = keys.record(worker)
        self._working = keys.working(worker)
        self._quiet = keys.quiet(worker)
        self._checkpoints = keys.checkpoints(worker)
        self._alive = keys.alive(worker)
        self._queue_key = lru_cache(_QUEUE_NAMES)(keys.queue)
        self._take_keys = (self._record, self._working, self._quiet, keys.paused, keys.limits, keys.inflight)
        self._finish_keys = lru_cache(2)(self._keys_of_finish)
        self._dead_seconds = dead_set.max_age.total_seconds()
        self._dead_jobs = dead_set.max_jobs

    def _keys_of_finish(self, day: str) -> tuple[str, ...]:
        keys = self._keys
        return (
            self._record, self._working, self._checkpoints, self._quiet, keys.paused, keys.limits, keys.inflight,
            keys.stat("processed"), keys.stat("processed", day), keys.stat("failed"), keys.stat("failed", day),
            keys.retry, keys.dead, keys.deaths,
        )  # fmt: skip

    async def register(self, ttl_seconds: float, fields: Mapping[str, str | int | float]) -> str | bool | None:
        """Begin this life. False if the life before still holds jobs: rescue them and call again.

        Otherwise the reason if the worker shall be quiet, or None.
        """
        keys = [self._record, self._alive, self._working, self._keys.workers, self._quiet, self._keys.fleet(self.fleet)]
        args = [self.epoch, _ms(ttl_seconds), self.worker, self._keys.events, *_flat(fields)]
        status, *rest = await REGISTER(self._redis, keys, args)
        return False if status == b"HELD" else _text(rest[0])

    async def beat(self, ttl_seconds: float, running: int, fields: Mapping[str, str | int | float]) -> str | None:
        """Say that this life goes on and runs so many jobs. The reason if the worker shall be quiet, or None."""
        return (await self.beat_and_show(ttl_seconds, running, fields, None))[0]

    async def beat_and_show(
        self, ttl_seconds: float, running: int, fields: Mapping[str, str | int | float], shown: Shown | None
    ) -> tuple[str | None, tuple[str, ...]]:
        """`beat`, and in the same step show the process to Sidekiq's readers; the reason, and signals they sent."""
        keys = [self._record, self._alive, self._quiet, self._working]
        args = [self.epoch, _ms(ttl_seconds), self.worker, self._keys.events, running, len(fields), *_flat(fields)]
        if shown is not None:
            keys += self._process_keys(shown.identity)
            args += _shown(shown)
        answer = await BEAT(self._redis, keys, args)
        _refuse(answer)
        return _text(answer[1]), tuple(signal.decode("utf-8", "replace") for signal in answer[2])

    async def prolong(self, ttl_seconds: float) -> bool:
        """Say in a single command that this life goes on, and nothing more. False if Redis does not know so: `beat`.

        RACE another life of this worker has begun: its heartbeat is prolonged once, by the beat that finds it out.
        """
        found = await cast("Awaitable[bytes | None]", self._redis.getex(self._alive, px=_ms(ttl_seconds)))
        return found is not None and found.decode() == self.epoch

    async def deregister(self, process: str | None = None) -> bool:
        """End this life cleanly. False if jobs are still held: the record stays for a rescue.

        ``process`` is the identity under which it was shown to Sidekiq's readers.
        """
        keys = [
            self._record, self._alive, self._working, self._checkpoints,
            self._keys.workers, self._keys.fleet(self.fleet),
        ]  # fmt: skip
        if process is not None:
            keys += self._process_keys(process)
        answer = await DEREGISTER(self._redis, keys, [self.epoch, self.worker, self._keys.events, process or ""])
        _refuse(answer)
        return bool(answer[0] == b"OK")

    def _process_keys(self, identity: str) -> list[str]:
        keys = self._keys
        return [
            keys.processes, keys.process(identity), *keys.process_work(identity), keys.process_signals(identity),
        ]  # fmt: skip

    async def take(
        self, queues: Sequence[str], count: int, number: int, held: Mapping[str, int] = NOTHING_HELD
    ) -> Taken:
        """Take up to ``count`` jobs in the order of ``queues``; they are numbered from ``number`` on.

        ``held`` says how many jobs of each queue this worker holds already, for queues with a limit by worker.
        """
        answer = await TAKE(self._redis, *self._take_call(queues, count, number, held))
        return self.taken(answer, queues, number)

    def take_command(self, queues: Sequence[str], count: int, number: int, held: Mapping[str, int]) -> tuple[Any, ...]:
        """`take` as a command, for who sends it behind another one; `taken` reads its answer."""
        keys, args = self._take_call(queues, count, number, held)
        return ("EVALSHA", TAKE.digest, len(keys), *keys, *args)

    @staticmethod
    def taken(answer: Sequence[Any], queues: Sequence[str], number: int) -> Taken:
        """What the answer to a `take_command` says."""
        _refuse(answer)
        if answer[0] == b"QUIET":
            return Taken(quiet=_text(answer[1]))
        return _taken(answer[1], queues, number)

    def _take_call(
        self, queues: Sequence[str], count: int, number: int, held: Mapping[str, int]
    ) -> tuple[list[str], list[Any]]:
        return [*self._take_keys, *map(self._queue_key, queues)], [self.epoch, count, number, *_held(queues, held)]

    async def void_takes(self, number: int) -> None:
        """No take below ``number`` is carried out from here on, however late it arrives."""
        _refuse(await VOID_TAKES(self._redis, [self._record], [self.epoch, number]))

    async def finish(
        self,
        finished: Sequence[Finished],
        queues: Sequence[str] = (),
        count: int = 0,
        number: int = 0,
        *,
        done: Mapping[str, Sequence[int]] = NOTHING_DONE,
        held: Mapping[str, int] = NOTHING_HELD,
    ) -> FinishAnswer:
        """End jobs and take up to ``count`` next ones in the same step.

        ``done`` are numbers by queue of jobs that went well: many of them cost little more than one. ``held`` as in
        `take`, without those that end here.
        """
        keys = [*self._finish_keys(time.strftime("%Y-%m-%d", time.gmtime())), *map(self._queue_key, queues)]
        args: list[Any] = [
            self.epoch, _DAY_COUNTER_SECONDS, time.time() - self._dead_seconds, self._dead_jobs, self._keys.due,
            len(done),
        ]  # fmt: skip
        for queue, numbers in done.items():
            ranges = _ranges(numbers)
            args += [queue, len(ranges) // 2, *ranges]
        args.append(len(finished))
        for job in finished:
            outcome = f"{job.outcome.value}!" if job.announced else job.outcome.value
            args += [job.number, job.queue, outcome, job.score, job.payload]
        answer = await FINISH(self._redis, keys, [*args, count, number, *_held(queues, held)])
        _refuse(answer)
        if answer[0] == b"QUIET":
            return FinishAnswer(answer[1], Taken(quiet=_text(answer[2])))
        return FinishAnswer(answer[1], _taken(answer[2], queues, number))

    async def give_back(self, jobs: Sequence[GivenBack]) -> tuple[Number, ...]:
        """Put held jobs back on their queues without counting a retry. Returns the numbers that were not held."""
        queues = sorted({job.queue for job in jobs})
        keys = [
            self._record, self._working, self._checkpoints, self._keys.inflight,
            *_queues_and_wakes(self._keys, queues),
        ]  # fmt: skip
        args: list[Any] = [self.epoch, len(queues), *queues]
        # The newest first, so that of several at the front the oldest is taken next.
        for job in sorted(jobs, key=lambda job: -job.number):
            args += [job.number, queues.index(job.queue) + 1, job.side, job.payload]
        answer = await GIVE_BACK(self._redis, keys, args)
        _refuse(answer)
        return tuple(Number(int(number)) for number in answer[1])

    async def hold(self, entries: Sequence[Entry]) -> None:
        """Hold jobs that run in this worker and that Redis forgot; those that it knows are passed over."""
        args: list[Any] = []
        for entry in entries:
            args += [entry.number, entry.queue, b"%d %s\n%s" % (entry.taken_ms, entry.queue.encode(), entry.payload)]
        await HOLD(self._redis, [self._working, self._keys.inflight], args)

    async def checkpoint(self, number: Number, jid: str, state: Checkpoint, state_seconds: int = STATE_SECONDS) -> Wish:
        """Write where the job stands; what somebody wants of it by now.

        Raises:
            NotHeld: the job has another holder by now.
        """
        keys = [self._checkpoints, *checkpoint_keys(self._keys, jid, state)]
        args = [state_seconds, *checkpoint_args(state), self.worker]
        answer = await self.of_job(CHECKPOINT, number, jid, keys, args)
        return wish_of(answer[1], answer[2])

    async def of_job(
        self, script: Script, number: Number, jid: str, keys: Sequence[str], args: Sequence[Any]
    ) -> Sequence[Any]:
        """Run a script that only the holder of a job may run; record and working set, epoch and number come first.

        Raises:
            NotHeld: the job has another holder by now.
        """
        answer = await script(self._redis, [self._record, self._working, *keys], [self.epoch, number, *args])
        _refuse(answer)
        if answer[0] == b"NOT_HELD":
            raise NotHeld(f"job {jid} has another holder by now; this worker {self.worker} stops working on it")
        return cast("Sequence[Any]", answer)


class FleetScripts:
    """What may be done to workers from outside: by the operator, by a person."""

    def __init__(self, redis: Redis, keys: Keys) -> None:
        self.redis = redis
        self.keys = keys

    async def quiet(self, worker: WorkerId, reason: str) -> int:
        """From here on no job starts on the worker. Returns how many it holds."""
        keys = [self.keys.quiet(worker), self.keys.working(worker)]
        return int(await QUIET(self.redis, keys, [reason, self.keys.signal(worker)]))

    async def unquiet(self, worker: WorkerId) -> int:
        """Let the worker take jobs again. Returns how many it holds."""
        keys = [self.keys.quiet(worker), self.keys.working(worker)]
        return int(await UNQUIET(self.redis, keys, [self.keys.signal(worker)]))

    async def retire(self, worker: WorkerId, reason: str) -> int:
        """Quiet the worker if it holds nothing and return 0; else change nothing and return how many it holds."""
        keys = [self.keys.quiet(worker), self.keys.working(worker)]
        _, held = await RETIRE(self.redis, keys, [reason, self.keys.signal(worker)])
        return int(held)

    async def confirm_drained(
        self, worker: WorkerId, reason: str, epoch: Epoch | None, checkpoint_max_age_seconds: float | None = None
    ) -> DrainAnswer:
        """May the worker's pod be deleted now? ``epoch``: the life that was looked at, None if it never registered."""
        keys = [
            self.keys.quiet(worker), self.keys.working(worker),
            self.keys.checkpoints(worker), self.keys.record(worker),
        ]  # fmt: skip
        age = "" if checkpoint_max_age_seconds is None else _ms(checkpoint_max_age_seconds)
        status, _ = await CONFIRM_DRAINED(self.redis, keys, [reason, self.keys.signal(worker), epoch or "", age])
        return DrainAnswer(status.decode())

    async def enqueue(self, queue: str, payloads: Sequence[bytes]) -> int:
        """Push payloads of one queue. Returns the queue's depth after it."""
        return int(await ENQUEUE(self.redis, enqueue_keys(self.keys, queue), [queue, *payloads]))

    async def held(self, worker: WorkerId) -> tuple[Entry, ...]:
        """What the worker holds, the oldest first."""
        raw = await cast("Awaitable[dict[bytes, bytes]]", self.redis.hgetall(self.keys.working(worker)))
        return tuple(sorted((Entry.parse(n, v) for n, v in raw.items()), key=lambda entry: entry.number))

    async def iteration_state(self, jid: str) -> IterationState:
        """Where an iterating job stands."""
        raw = await cast("Awaitable[dict[bytes, bytes]]", self.redis.hgetall(self.keys.iteration(jid)))
        return IterationState.read(raw)


def _held(queues: Sequence[str], held: Mapping[str, int]) -> list[str | int]:
    """The queues as a script takes them: name, and how many of its jobs the worker holds."""
    return [part for queue in queues for part in (queue, held.get(queue, 0))]


def _ranges(numbers: Sequence[int]) -> list[int]:
    """First and last of each run of consecutive numbers."""
    ranges: list[int] = []
    expected = None
    for number in sorted(numbers):
        if number == expected:
            ranges[-1] = number
        else:
            ranges += (number, number)
        expected = number + 1
    return ranges


def _taken(answer: Sequence[Any], queues: Sequence[str], number: int) -> Taken:
    # The time taken is Redis' business in the working set; the worker that just took the job has no use for it.
    entries: list[Entry] = []
    unreadable: tuple[str, ...] = ()
    for place, payloads in zip(answer[::2], answer[1::2], strict=True):
        if isinstance(payloads, bytes):
            unreadable = (*unreadable, queues[place])
            continue
        for payload in payloads:
            entries.append(Entry(Number(number), queues[place], 0, payload))
            number += 1
    return Taken(tuple(entries), unreadable=unreadable)


def _queues_and_wakes(keys: Keys, queues: Iterable[str]) -> list[str]:
    return [name for queue in queues for name in (keys.queue(queue), keys.wake(queue))]


def _refuse(answer: Sequence[Any]) -> None:
    if answer[0] == b"STALE":
        raise StaleEpoch("this life of the worker has ended as far as Redis knows; its jobs may have a new holder")


def _flat(fields: Mapping[str, str | int | float]) -> list[str | int | float]:
    return [part for pair in fields.items() for part in pair]


def _shown(shown: Shown) -> list[Any]:
    fields = shown.fields
    work = [part for thread in shown.work for part in thread]
    return [shown.identity, RECORD_SECONDS, int(shown.had_work), len(fields), *_flat(fields), *work]


def _ms(seconds: float) -> int:
    return round(seconds * 1000)


def _text(value: bytes | None) -> str | None:
    return None if value is None else value.decode()
