"""Carries a plan out on a real fleet, lets everything come to rest, and says what is left over."""

from __future__ import annotations

import asyncio
import os
import random
import signal
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass
from itertools import cycle
from pathlib import Path
from typing import Any, cast

from jobworker.client.connection import connect
from jobworker.protocol import control, scripts
from jobworker.protocol.cancellation import end
from jobworker.protocol.scripts import ENQUEUE, Script
from tests.chaos import plan
from tests.chaos.clerk import Clerk
from tests.chaos.fleet import KEYS, Fleet, Slot, patiently
from tests.chaos.nursery import Nursery
from tests.chaos.plan import Stroke, What
from tests.chaos.proxy import Network
from tests.chaos.records import FOLDER, Journal
from tests.chaos.waverer import Waverer
from tests.redis_server import RedisServer

_SCRIPTS = (*(script for script in vars(scripts).values() if isinstance(script, Script)), control.PARK)
_OF_JOBS = (scripts.TAKE, scripts.FINISH, scripts.CHECKPOINT, scripts.GIVE_BACK, control.PARK)  # may cost something
_SLOWNESS = 0.3  # seconds each way while a network is slow
_REST_SECONDS = 120.0
_QUICK_QUEUES, _ALL_QUEUES = "quick,4 slow,3 items,2", "quick,2 slow,2 items,2 long,3"


@dataclass(frozen=True, slots=True)
class Size:
    """How hard and how long. ``sturdy`` workers are harmed seldom, and alone take long jobs.

    The storm goes on behind ``seconds`` until ``holding`` of the killed workers held jobs, on however slow a machine.
    ``behind_networks``: every worker reaches Redis through a network that can be harmed, not only each third one.
    """

    seed: int
    seconds: float
    kills: int = 0
    per_second: float = 8.0
    frail: int = 12
    sturdy: int = 3
    jobs_per_second: float = 60.0
    redis_every: float = 25.0
    behind_networks: bool = False
    holding: int = 0


class Storm:
    """One run. Made by `storm`."""

    def __init__(self, size: Size, server: RedisServer, fleet: Fleet, nursery: Nursery, journal: Journal) -> None:
        self.size = size
        self.fleet = fleet
        self.strokes: Counter[str] = Counter()
        self.phase = "storm"
        self.began = time.monotonic()
        self.frail: list[Slot] = []
        self.sturdy: list[Slot] = []
        self.producers: list[Slot] = []
        self.server = server
        self._nursery = nursery
        self._journal = journal
        self.redis = connect(server.url)
        self.waverer = Waverer(self.redis, size.seed)
        self._tasks: set[asyncio.Task[None]] = set()
        self._free = asyncio.Condition()
        self._chance = random.Random(f"{size.seed}-scripts")

    @property
    def slots(self) -> list[Slot]:
        return [*self.sturdy, *self.frail]

    async def run(self, harm: Callable[[], Awaitable[None]] | None = None) -> None:
        """From the first start to the last goodbye; ``harm`` takes the place of the plan."""
        for slot in self.slots:
            self.fleet.start(slot)
        for index, slot in enumerate(self.producers):
            self._produce(slot, plain=index % 2 == 1)
        clerk = asyncio.create_task(Clerk(self.redis, self._journal).run())
        wavering = asyncio.create_task(self.waverer.run())
        try:
            await (harm or self._blow)()
            await end([wavering])
            self.phase = "rest"
            await self.waverer.let_all_go()
            await self._rest()
        finally:
            await end([wavering])
            await self._end([clerk])
        self.phase = "end"
        await self._leave()

    async def close(self) -> None:
        """Close its connections, however the run ended."""
        await self.fleet.close()
        await self.redis.aclose()

    async def _blow(self) -> None:
        blowing = [asyncio.create_task(work) for work in (self._workers(), self._networks(), self._redises())]
        try:
            await self._until_enough(blowing)
        finally:
            await self._end(blowing)

    async def _until_enough(self, blowing: list[asyncio.Task[None]]) -> None:
        while time.monotonic() - self.began < self.size.seconds or self.fleet.kills_while_holding < self.size.holding:
            if self.size.kills and self.fleet.kills >= self.size.kills:
                return
            for task in blowing:
                if task.done():
                    task.result()
            for slot in self.slots:
                if not slot.busy.locked():
                    async with slot.busy:
                        await self.fleet.look_for_ended(slot)
            await asyncio.sleep(0.2)

    async def _end(self, tasks: list[asyncio.Task[None]]) -> None:
        for task in tasks:
            task.cancel()
        for task in tasks:
            with suppress(asyncio.CancelledError):
                await task
        # Strokes under way are ended, not cancelled: a process must not stay stopped.
        while self._tasks:
            await asyncio.gather(*self._tasks)

    # ── workers ───────────────────────────────────────────────────────────────

    async def _workers(self) -> None:
        for stroke in plan.on_workers(self.size.seed, self.size.per_second):
            await asyncio.sleep(stroke.after)
            slot = await self._free_slot(stroke)
            _ = self._spawn(self._strike(slot, stroke))

    async def _free_slot(self, stroke: Stroke) -> Slot:
        """The one that is meant, or the next that is at work and not struck already; it is locked."""
        # On a loaded machine most would else die before they have taken a job, which proves little. Some do.
        whoever = stroke.slot % 10 == 0
        among = self.sturdy if stroke.slot % 16 == 0 else self.frail
        while True:
            first = stroke.slot % len(among)
            for slot in [*among[first:], *among[:first]]:
                if not slot.busy.locked() and (whoever or self.fleet.at_work(slot)):
                    await slot.busy.acquire()
                    return slot
            await asyncio.sleep(0.02)

    async def _strike(self, slot: Slot, stroke: Stroke) -> None:
        try:
            self.strokes[stroke.what.value] += 1
            await self._on_worker(slot, stroke)
        finally:
            slot.busy.release()

    async def _on_worker(self, slot: Slot, stroke: Stroke) -> None:
        fleet = self.fleet
        match stroke.what:
            case What.KILL:
                await fleet.kill(slot, stroke.heir, "killed")
            case What.TERM:
                await fleet.terminate(slot, stroke.heir)
            case What.TERM_AND_KILL:
                await fleet.terminate_and_kill(slot, stroke.heir, stroke.seconds)
            case What.QUIET_AND_TERM:
                await fleet.signal(slot, signal.SIGTSTP)
                await asyncio.sleep(stroke.seconds)
                # A process that did not listen yet was stopped by it, as any program is.
                await fleet.signal(slot, signal.SIGCONT)
                await fleet.terminate(slot, stroke.heir)
            case What.STOP:
                await fleet.stop(slot, stroke.seconds)
            case What.STOP_AND_KILL:
                await fleet.signal(slot, signal.SIGSTOP)
                await asyncio.sleep(stroke.seconds)
                await fleet.kill(slot, stroke.heir, "stopped and killed")
            case other:
                raise AssertionError(f"{other} is no stroke on a worker")

    # ── networks and producers ────────────────────────────────────────────────

    async def _networks(self) -> None:
        for stroke in plan.on_networks(self.size.seed, self.size.per_second / 4):
            await asyncio.sleep(stroke.after)
            of_producer = stroke.what in {What.KILL_PRODUCER, What.CUT_PRODUCER}
            among = self.producers if of_producer else [slot for slot in self.slots if slot.network is not None]
            slot = among[stroke.slot % len(among)]
            self.strokes[stroke.what.value] += 1
            assert slot.network is not None
            match stroke.what:
                case What.KILL_PRODUCER:
                    await self._kill_producer(slot)
                    self._produce(slot, plain=stroke.slot % 2 == 1)
                case What.CUT_PRODUCER:
                    slot.network.lose = self._chance.choice((ENQUEUE.digest.encode(), b"ZADD"))
                case _:
                    _ = self._spawn(self._on_network(slot, slot.network, stroke))

    async def _on_network(self, slot: Slot, network: Network, stroke: Stroke) -> None:
        life, since = slot.life, time.monotonic()
        match stroke.what:
            case What.CUT:
                network.cut()
            case What.LOSE:
                among = self._chance.choice((_SCRIPTS, _OF_JOBS))
                network.lose = self._chance.choice(among).digest.encode()
                await asyncio.sleep(1.0)  # for the record: until then it will mostly have happened
            case What.SLOW:
                network.delay = _SLOWNESS
                await asyncio.sleep(stroke.seconds)
                network.delay = 0.0
            case What.SILENT:
                async with slot.busy:
                    life, since = slot.life, time.monotonic()
                    network.silent = True
                    await self.fleet.silence(slot, stroke.seconds, since, "network silent")
                    network.silent = False
            case other:
                raise AssertionError(f"{other} is no stroke on a network")
        self._journal.note("link", who=life, what=stroke.what.value, since=since, until=time.monotonic() + 0.5)

    def _produce(self, slot: Slot, *, plain: bool) -> None:
        slot.serial += 1
        self._nursery.start(
            slot.life, role="plain producer" if plain else "producer", url=slot.url,
            per_second=self.size.jobs_per_second / len(self.producers),
        )  # fmt: skip

    async def _kill_producer(self, slot: Slot) -> None:
        _, alive = await self._nursery.signal(slot.life, signal.SIGKILL)
        code = await self._nursery.ended(slot.life)
        # RACE the end of the storm meets a producer that has just been killed and not replaced yet.
        if not alive and code != -signal.SIGKILL:
            self._journal.note("violation", what=f"the producer {slot.life} ended by itself with code {code}")

    # ── Redis ─────────────────────────────────────────────────────────────────

    async def _redises(self) -> None:
        for stroke in plan.on_redis(self.size.seed, self.size.redis_every):
            await asyncio.sleep(stroke.after)
            self.strokes[stroke.what.value] += 1
            task = self._spawn(self._on_redis(stroke))
            await asyncio.shield(task)

    async def _on_redis(self, stroke: Stroke) -> None:
        server = self.server
        with self.away(stroke.what.value):
            match stroke.what:
                case What.REDIS_KILL:
                    await asyncio.to_thread(server.kill)
                    await asyncio.sleep(stroke.seconds)
                    await asyncio.to_thread(server.start)
                case What.REDIS_SHUTDOWN:
                    await asyncio.to_thread(server.stop)
                    await asyncio.sleep(stroke.seconds)
                    await asyncio.to_thread(server.start)
                case What.REDIS_STOP:
                    os.kill(server.pid, signal.SIGSTOP)
                    await asyncio.sleep(stroke.seconds)
                    os.kill(server.pid, signal.SIGCONT)
                case What.REDIS_PAUSE:
                    milliseconds = int(1000 * stroke.seconds)
                    await patiently(lambda: self.redis.client_pause(milliseconds))
                    await asyncio.sleep(stroke.seconds)
                case other:
                    raise AssertionError(f"{other} is no stroke on Redis")

    @contextmanager
    def away(self, what: str) -> Iterator[None]:
        """Note that checkpoints could fail in that time."""
        since = time.monotonic()
        yield
        self._journal.note("away", what=what, since=since, until=time.monotonic() + 0.5)

    # ── the end ───────────────────────────────────────────────────────────────

    async def _rest(self) -> None:
        """No more harm: wait until nothing is left to do, while anything still moves."""
        for slot in self.producers:
            await self._kill_producer(slot)
        deadline, before = time.monotonic() + _REST_SECONDS, 0
        while left := await patiently(self._left):
            if time.monotonic() > deadline:
                self._journal.note("violation", what=f"did not come to rest: {left}")
                return
            if sum(left.values()) < before:
                deadline = time.monotonic() + _REST_SECONDS
            before = sum(left.values())
            await asyncio.sleep(0.25)

    async def _left(self) -> dict[str, int]:
        counts: dict[str, int] = {}
        registered = {raw.decode() for raw in await cast("Any", self.redis.smembers(KEYS.workers))}
        counts["dead workers"] = len(registered - {slot.identity for slot in self.slots})
        async for raw in self.redis.scan_iter(count=1000):
            key = raw.decode()
            if key.startswith("queue:"):
                counts[key] = await cast("Any", self.redis.llen(key))
            elif key.startswith("jw:working:") or key == KEYS.parked:
                counts[key] = await cast("Any", self.redis.hlen(key))
            elif key in {KEYS.schedule, KEYS.retry}:
                counts[key] = await self.redis.zcard(key)
        return {key: count for key, count in counts.items() if count}

    async def _leave(self) -> None:
        """All workers say goodbye, and Redis keeps nothing of them."""
        for slot in self.slots:
            await self.fleet.signal(slot, signal.SIGTERM)
        for slot in self.slots:
            code = await asyncio.wait_for(self._nursery.ended(slot.life), 60)
            self._journal.note("over", who=slot.life, code=code)
            if code:
                self._journal.note("violation", what=f"{slot.life} had nothing to do and ended with code {code}")
        await self.fleet.all_rescued()
        stray = [raw.decode() async for raw in self.redis.scan_iter("jw:*", count=1000)]
        owned = ("jw:wake:", "jw:progress:", "jw:rows:", "jw:errors:", "jw:rescued:", "jw:scheduler")
        trimmed = KEYS.deaths  # notices of deaths, for whoever handles them: bounded by those who look
        for key in stray:
            if not key.startswith(owned) and key != trimmed:
                self._journal.note("violation", what=f"all workers are gone, and Redis still has {key}")
        without_end = [key for key in stray if key.startswith(owned) and await self.redis.ttl(key) < 0]
        if without_end:
            self._journal.note("violation", what=f"{len(without_end)} keys have no end, such as {without_end[0]}")

    def _spawn(self, work: Any) -> asyncio.Task[None]:
        task: asyncio.Task[None] = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task


@asynccontextmanager
async def storm(size: Size, folder: Path) -> AsyncIterator[Storm]:
    """A storm with its Redis, its processes and its networks, all of which end with it."""
    async with AsyncExitStack() as stack:
        server = RedisServer(folder / "redis", append_only=True)
        await asyncio.to_thread(server.start)
        stack.callback(server.kill)
        journal = Journal(folder, "storm", "storm")
        stack.callback(journal.close)
        environment = {**os.environ, FOLDER: str(folder), "PYTHONPATH": os.pathsep.join([str(Path.cwd()), *_paths()])}
        nursery = await Nursery.open(folder, environment)
        stack.push_async_callback(nursery.close)
        blown = Storm(size, server, Fleet(nursery, journal, server.url), nursery, journal)
        stack.push_async_callback(blown.close)
        identity: Iterator[int] = iter(range(10_000))
        grace = cycle((0.5, 25.0, 2.0))

        async def slot(kind: str, flags: list[str], seconds: float = 25.0, *, between: bool) -> Slot:
            network = await stack.enter_async_context(Network(server.port)) if between else None
            url = network.url if network else server.url
            return Slot(f"{kind}{next(identity)}", url, flags, network, seconds)

        for _ in range(size.sturdy):
            blown.sturdy.append(await slot("sturdy", ["-q", _ALL_QUEUES], between=True))
        for index in range(size.frail):
            flags = ["-q", _QUICK_QUEUES, "--connect-seconds", "60"]
            blown.frail.append(await slot("frail", flags, next(grace), between=size.behind_networks or index % 3 == 0))
        for _ in range(2):
            blown.producers.append(await slot("producer", [], between=True))
        yield blown


def _paths() -> list[str]:
    return [path for path in os.environ.get("PYTHONPATH", "").split(os.pathsep) if path]
