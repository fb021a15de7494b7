"""What the workers of each JobWorker are doing, as their Redis tells it: read all the time, kept by key.

A pod is looked up where its own environment sent it, which may be an older address than the spec's. What cannot be
read is busy: an unreadable home never makes a pod look idle.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Iterable

from jobworker_operator.adapters.connections import BadAddress, connect
from jobworker_operator.adapters.port import Ask, WorkerAdapter
from jobworker_operator.model.facts import RedisFacts, Unreadable, WorkerActivity
from jobworker_operator.model.spec import JobWorker, Key, RedisSpec
from jobworker_operator.observe.addresses import Addresses, Home
from jobworker_operator.observe.jobworkers import JobWorkerStore
from jobworker_operator.observe.pods import PodStore
from jobworker_operator.observe.redis_watch import RedisWatch, Resident
from jobworker_operator.plan.rescue import is_silent

log = logging.getLogger(__name__)

CENSUS_SECONDS = 1.0
FIGURES_SECONDS = 5.0  # how often a changed depth wakes a JobWorker that does not scale by it
KEEP_HOME_SECONDS = 30.0  # an old address outlives its last pod so long: what that held is still to be rescued


class ActivityObserver:
    """``poke`` is called with a key when something was seen that a decision may depend on."""

    def __init__(
        self, jobworkers: JobWorkerStore, pods: PodStore, addresses: Addresses, poke: Callable[[Key], None]
    ) -> None:
        self._jobworkers = jobworkers
        self._pods = pods
        self._addresses = addresses
        self._poke = poke
        self.watches: dict[str, RedisWatch] = {}
        self._seen: dict[Resident, RedisFacts | Unreadable] = {}
        self._needed_at: dict[Key, dict[Home, float]] = {}
        self._where: dict[Resident, str] = {}
        self._figures_at: dict[Resident, float] = {}
        self._drained_at: dict[Resident, dict[str, float]] = {}
        self._looked_at: dict[Resident, float] = {}
        self._changed_at: dict[Key, float] = {}
        self._vanished: dict[Key, dict[str, float]] = {}

    async def run(self) -> None:
        """Keep the watches in step with the JobWorkers, for ever."""
        try:
            while True:
                for jobworker in self._jobworkers:
                    self._assign(jobworker)
                for key in self._needed_at.keys() - {jobworker.key for jobworker in self._jobworkers}:
                    self.forget(key)
                await self._close_unused()
                await asyncio.sleep(CENSUS_SECONDS)
        finally:
            await asyncio.gather(*(watch.close() for watch in self.watches.values()))

    def facts(self, key: Key) -> RedisFacts | Unreadable | None:
        """What is known, None before the first look."""
        jobworker = self._jobworkers.get(key)
        if jobworker is None:
            return None
        main = None if jobworker.spec is None else Home(key.namespace, jobworker.spec.redis)
        seen = {home: self._seen.get((key, home)) for home in self._homes(jobworker)}
        if any(answer is None for answer in seen.values()):
            return None
        if main is None and not any(isinstance(answer, RedisFacts) for answer in seen.values()):
            return Unreadable("RedisAddressInvalid", jobworker.problem)
        first = seen.get(main) if main is not None else None
        if isinstance(first, Unreadable):
            return first
        return self._merged(jobworker, main, seen)

    def adapter(self, key: Key, uid: str) -> WorkerAdapter | None:
        """The way to a worker: through the Redis of its pod, else the one where it was seen as an orphan.

        None while that one cannot be read, for then nothing is known that could be acted on.
        """
        jobworker = self._jobworkers.get(key)
        if jobworker is None:
            return None
        for home in self._candidates(jobworker, uid):
            watch = self.watches.get(self._where.get((key, home), ""))
            if watch is not None and isinstance(self._seen.get((key, home)), RedisFacts):
                return watch.adapter(home)
        return None

    def problems(self, key: Key) -> tuple[str, ...]:
        """Sentences about older addresses that cannot be read while pods still work there."""
        jobworker = self._jobworkers.get(key)
        if jobworker is None:
            return ()
        main = None if jobworker.spec is None else Home(key.namespace, jobworker.spec.redis)
        seen = {home: self._seen.get((key, home)) for home in self._homes(jobworker) if home != main}
        return tuple(
            sorted(
                f"pods with an older Redis address cannot be asked whether they are busy, so they stay: {each.problem}"
                for each in seen.values()
                if isinstance(each, Unreadable)
            )
        )

    def drained_at(self, key: Key, uid: str) -> float | None:
        """Monotonic time since which a quiet worker has been seen to hold nothing."""
        times = (self._drained_at.get((key, home), {}).get(uid) for home in self._needed_at.get(key, ()))
        return min((at for at in times if at is not None), default=None)

    def look_soon(self, key: Key) -> None:
        """Something was changed, or a pod came or went: look again at once."""
        jobworker = self._jobworkers.get(key)
        if jobworker is not None:
            self._assign(jobworker)
            for home in self._needed_at.get(key, ()):
                watch = self.watches.get(self._where.get((key, home), ""))
                if watch is not None:
                    watch.kick()

    def changed(self, key: Key) -> None:
        """Facts in Redis were just changed: what is known of them is old until they have been looked at again."""
        self._changed_at[key] = time.monotonic()
        self.look_soon(key)

    def is_fresh(self, key: Key) -> bool:
        """Every home was looked at, or found unreadable, since facts in it were last changed from here."""
        changed_at = self._changed_at.get(key)
        if changed_at is None:
            return True
        return all(self._looked_at.get((key, home), changed_at) >= changed_at for home in self._needed_at.get(key, ()))

    def vanished(self, key: Key, uid: str) -> None:
        """A pod is gone. Until Redis shows nothing of it any more it is looked at like an orphan.

        It may be in no fleet any more, and what remains is its quiet fact, which has no end of its own.
        """
        if key in self._needed_at:
            self._vanished.setdefault(key, {})[uid] = time.monotonic()
        self.look_soon(key)

    def forget(self, key: Key) -> None:
        """The JobWorker is gone."""
        self._changed_at.pop(key, None)
        self._vanished.pop(key, None)
        for home in self._needed_at.pop(key, {}):
            self._release((key, home))

    def _assign(self, jobworker: JobWorker) -> None:
        key = jobworker.key
        now = time.monotonic()
        needed = self._needed_at.setdefault(key, {})
        needed.update(dict.fromkeys(self._homes(jobworker), now))
        main = None if jobworker.spec is None else Home(key.namespace, jobworker.spec.redis)
        for home in [home for home, at in needed.items() if now - at > KEEP_HOME_SECONDS]:
            del needed[home]
            self._release((key, home))
        pods = self._pods.of(key, jobworker.uid)
        for home in needed:
            uids = tuple(pod.uid for pod in pods if Home(key.namespace, pod.redis or _own(jobworker)) == home)
            uids += tuple(self._vanished.get(key, {}).keys() - {pod.uid for pod in pods})
            queues: tuple[str, ...] = ()
            if home == main and jobworker.spec is not None:
                queues = tuple(queue.name for queue in jobworker.spec.worker.queues)
            self._place((key, home), Ask(str(key), uids, queues))

    def _place(self, resident: Resident, ask: Ask) -> None:
        url = self._addresses.of(resident[1])
        if url is None:
            return
        watch = url if isinstance(url, Unreadable) else self._watch(url)
        if isinstance(watch, Unreadable):
            self._leave(resident)
            self._on_look(resident, watch, time.monotonic())
            return
        if self._where.get(resident) != watch.url:
            self._leave(resident)
            self._where[resident] = watch.url
            watch.kick()
        watch.asks[resident] = ask

    def _watch(self, url: str) -> RedisWatch | Unreadable:
        watch = self.watches.get(url)
        if watch is None:
            try:
                watch = RedisWatch(url, connect(url), self._on_look)
            except BadAddress as error:
                return Unreadable("RedisAddressInvalid", str(error))
            self.watches[url] = watch
            watch.start()
        return watch

    def _leave(self, resident: Resident) -> None:
        watch = self.watches.get(self._where.pop(resident, ""))
        if watch is not None:
            watch.asks.pop(resident, None)

    def _release(self, resident: Resident) -> None:
        self._leave(resident)
        self._seen.pop(resident, None)
        self._figures_at.pop(resident, None)
        self._looked_at.pop(resident, None)
        self._drained_at.pop(resident, None)

    async def _close_unused(self) -> None:
        for url, watch in [(url, watch) for url, watch in self.watches.items() if not watch.asks]:
            del self.watches[url]
            await watch.close()

    def _homes(self, jobworker: JobWorker) -> set[Home]:
        namespace = jobworker.key.namespace
        homes = {Home(namespace, pod.redis) for pod in self._pods.of(jobworker.key, jobworker.uid) if pod.redis}
        if jobworker.spec is not None:
            homes.add(Home(namespace, jobworker.spec.redis))
        return homes

    def _candidates(self, jobworker: JobWorker, uid: str) -> Iterable[Home]:
        key = jobworker.key
        pod = self._pods.get(key, uid)
        if pod is not None:
            redis = pod.redis or (None if jobworker.spec is None else jobworker.spec.redis)
            return [] if redis is None else [Home(key.namespace, redis)]
        return [home for home in self._needed_at.get(key, ()) if _knows(self._seen.get((key, home)), uid)]

    def _merged(
        self, jobworker: JobWorker, main: Home | None, seen: dict[Home, RedisFacts | Unreadable | None]
    ) -> RedisFacts:
        key = jobworker.key
        activities: dict[str, WorkerActivity] = {}
        orphans: set[str] = set()
        for home in self._needed_at.get(key, {}):
            facts = self._seen.get((key, home))
            if isinstance(facts, RedisFacts):
                for uid, seen_there in facts.activities.items():
                    # Who vanished is looked for everywhere: nothing in one home says nothing about another.
                    if uid not in activities or _leaves_traces(seen_there):
                        activities[uid] = seen_there
                orphans.update(facts.orphans)
        # Whoever lives in an unreadable home, or is younger than the last look, has no entry: unknown, that is busy.
        own = seen.get(main) if main is not None else None
        pods = self._pods.uids(key)
        orphans |= {uid for uid in self._vanished.get(key, ()) if _leaves_traces(activities.get(uid))}
        return RedisFacts(
            activities=activities,
            queues=own.queues if isinstance(own, RedisFacts) else (),
            orphans=tuple(sorted(orphans - pods)),
            due_soon=own.due_soon if isinstance(own, RedisFacts) else 0,
            paused_jobs=own.paused_jobs if isinstance(own, RedisFacts) else 0,
        )

    def _on_look(self, resident: Resident, answer: RedisFacts | Unreadable, asked_at: float) -> None:
        key, home = resident
        if home not in self._needed_at.get(key, ()):
            return  # nobody asks any more: the look was under way
        before = self._seen.get(resident)
        self._seen[resident] = answer
        self._looked_at[resident] = asked_at
        if isinstance(answer, Unreadable):
            self._addresses.suspect(home)
            if before != answer:
                self._poke(key)
            return
        self._forget_vanished(key)
        now = time.monotonic()
        drained = self._drained_at.get(resident, {})
        self._drained_at[resident] = {
            uid: drained.get(uid, now)
            for uid, seen in answer.activities.items()
            if seen.quiet is not None and not seen.busy
        }
        if not isinstance(before, RedisFacts) or _signature(before) != _signature(answer):
            self._poke(key)
        elif _figures(before) != _figures(answer):
            # A depth that changes all the time must not make a reconcile of every look, unless it decides something.
            jobworker = self._jobworkers.get(key)
            scales = jobworker is not None and jobworker.spec is not None and jobworker.spec.scaling.mode == "Auto"
            if scales or now - self._figures_at.get(resident, 0.0) >= FIGURES_SECONDS:
                self._figures_at[resident] = now
                self._poke(key)

    def _forget_vanished(self, key: Key) -> None:
        """Who left no trace in any home, looked at since the pod was gone."""
        vanished = self._vanished.get(key)
        if not vanished:
            return
        seen = [(self._looked_at.get((key, home), 0.0), self._seen.get((key, home))) for home in self._needed_at[key]]
        for uid, at in list(vanished.items()):
            if all(
                asked_at >= at and isinstance(facts, RedisFacts) and not _leaves_traces(facts.activities.get(uid))
                for asked_at, facts in seen
            ):
                del vanished[uid]


def _leaves_traces(activity: WorkerActivity | None) -> bool:
    return activity is not None and (activity.epoch is not None or activity.busy or activity.quiet is not None)


def _own(jobworker: JobWorker) -> RedisSpec:
    return RedisSpec() if jobworker.spec is None else jobworker.spec.redis


def _knows(answer: RedisFacts | Unreadable | None, uid: str) -> bool:
    return isinstance(answer, RedisFacts) and _leaves_traces(answer.activities.get(uid))


def _signature(facts: RedisFacts) -> tuple[object, ...]:
    """What decides something at once. A quiet worker's checkpoint counts by the second: it may be cut at some age."""
    workers = frozenset(
        (
            uid, seen.epoch, is_silent(seen), seen.busy, seen.quiet,
            None if seen.quiet is None or seen.checkpoint_age_seconds is None else int(seen.checkpoint_age_seconds),
        )
        for uid, seen in facts.activities.items()
    )  # fmt: skip
    return workers, facts.orphans


def _figures(facts: RedisFacts) -> tuple[object, ...]:
    held = sum(seen.held for seen in facts.activities.values())
    return held, facts.due_soon > 0, tuple((queue.name, queue.depth, queue.paused) for queue in facts.queues)
