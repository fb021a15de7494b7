"""The workers of a run: slots, each of which has one life after the other, and the bookkeeping of each end."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, TypeVar

import orjson
from redis.asyncio import Redis
from redis.exceptions import RedisError

from jobworker.client.connection import connect
from jobworker.protocol.keys import Keys
from jobworker.protocol.records import WorkerId
from jobworker.protocol.rescue import Death, rescue
from jobworker.protocol.scripts import FleetScripts
from tests.chaos.nursery import Nursery
from tests.chaos.plan import Heir
from tests.chaos.proxy import Network
from tests.chaos.records import Journal

T = TypeVar("T")

KEYS = Keys()
FLEET = "chaos/fleet"

_AGAIN_SECONDS = 0.2
_BETWEEN_LOOKS = 0.05  # what a process sent before it died is carried out after its death, but soon
_DEAD_AFTER = (
    3.5  # seconds of silence after which others may take a worker for dead: its heartbeat lives 5 s, beats each second
)
_END_SECONDS = 60.0


async def patiently(ask: Callable[[], Awaitable[T]]) -> T:
    """Ask Redis until it answers: it is killed on purpose."""
    while True:
        try:
            return await ask()
        except (RedisError, OSError):
            await asyncio.sleep(_AGAIN_SECONDS)


class Slot:
    """A place for a worker: what it is started with, and ``network``, which lies between it and Redis if it has one.

    ``grace`` is how many seconds SIGTERM lets its jobs run.
    """

    def __init__(self, name: str, url: str, flags: list[str], network: Network | None, grace: float = 25.0) -> None:
        self.name = name
        self.url = url
        self.flags = [*flags, "--shutdown-seconds", str(grace)]
        self.grace = grace
        self.network = network
        self.serial = 0
        self.identity = ""
        self.log_began = 0
        self.busy = asyncio.Lock()

    @property
    def life(self) -> str:
        return f"{self.name}-{self.serial}"


class Fleet:
    """Starts, harms and buries workers; what it sees goes to the journal."""

    def __init__(self, nursery: Nursery, journal: Journal, url: str) -> None:
        self._nursery = nursery
        self._journal = journal
        self._redis: Redis = connect(url)
        self._scripts = FleetScripts(self._redis, KEYS)
        self._watches: set[asyncio.Task[None]] = set()
        self.kills = 0
        self.kills_while_holding = 0
        self.seconds_to_rescue: list[float] = []

    async def all_rescued(self) -> None:
        """Wait until the dead that were left to the others hold nothing."""
        if self._watches:
            await asyncio.wait(self._watches)

    async def close(self) -> None:
        """Close its connection."""
        for watch in self._watches:
            watch.cancel()
        await self.all_rescued()
        await self._redis.aclose()

    def start(self, slot: Slot, *, anew: bool = True) -> None:
        """The next life; ``anew``: under an identity that never lived."""
        slot.serial += 1
        slot.identity = slot.life if anew else slot.identity
        self._journal.note("began", who=slot.life, identity=slot.identity)
        log = self._log(slot)
        slot.log_began = log.stat().st_size if log.exists() else 0
        flags = ["--redis", slot.url, "--worker", slot.identity, "--fleet", FLEET, *slot.flags]
        self._nursery.start(slot.life, role="worker", flags=flags)

    def at_work(self, slot: Slot) -> bool:
        """Has its present life begun to take jobs?"""
        if not self._log(slot).exists():
            return False
        with self._log(slot).open("rb") as log:
            log.seek(slot.log_began)
            return b" ready: " in log.read()

    def _log(self, slot: Slot) -> Path:
        return self._nursery.folder / f"{slot.name}.log"

    async def kill(self, slot: Slot, heir: Heir, why: str) -> None:
        """SIGKILL, and what its heirs make of it."""
        since, alive = await self._nursery.signal(slot.life, signal.SIGKILL)
        await self._nursery.ended(slot.life)
        self.kills += alive
        await self.bury(slot, heir, why, since)

    async def bury(self, slot: Slot, heir: Heir, why: str, since: float) -> None:
        """Note what the dead one held, see to its jobs, start the next life."""
        loop = asyncio.get_running_loop()
        held = await self._held(slot.identity)
        # Behind a network, what it sent may still be on its way.
        await asyncio.sleep(_BETWEEN_LOOKS + (2 * slot.network.delay if slot.network else 0))
        held |= await self._held(slot.identity)
        self.kills_while_holding += bool(held and why.endswith("killed"))
        self.unclean(slot, why, held, since, loop.time())
        match heir:
            case Heir.ITSELF:
                self.start(slot, anew=False)
            case Heir.OPERATOR:
                dead = WorkerId(slot.identity)
                death = Death(vouched=True, forget=True)
                await patiently(lambda: rescue(self._scripts, dead, FLEET, death))
                self.start(slot)
            case Heir.OTHERS:
                if held:
                    watch = asyncio.create_task(self._until_rescued(slot.identity, since))
                    self._watches.add(watch)
                    watch.add_done_callback(self._watches.discard)
                self.start(slot)

    async def stop(self, slot: Slot, seconds: float) -> None:
        """SIGSTOP for so long."""
        since, _ = await self._nursery.signal(slot.life, signal.SIGSTOP)
        await self.silence(slot, seconds, since, "stopped")
        await self._nursery.signal(slot.life, signal.SIGCONT)

    async def silence(self, slot: Slot, seconds: float, since: float, why: str) -> None:
        """Wait while Redis hears nothing of a worker, and note what it held, if others may take it for dead."""
        loop = asyncio.get_running_loop()
        held: set[str] = set()
        while (left := since + seconds - loop.time()) > 0:
            held |= await self._held(slot.identity)
            await asyncio.sleep(min(left, 0.3))
        if seconds > _DEAD_AFTER:
            self.unclean(slot, why, held, since, loop.time())

    async def terminate(self, slot: Slot, heir: Heir) -> None:
        """SIGTERM, and wait for the end that follows."""
        since, _ = await self._nursery.signal(slot.life, signal.SIGTERM)
        try:
            async with asyncio.timeout(_END_SECONDS):
                code = await self._nursery.ended(slot.life)
        except TimeoutError:
            self._journal.note("violation", what=f"{slot.life} did not end within {_END_SECONDS:.0f} s of SIGTERM")
            await self.kill(slot, heir, "did not end")
            return
        self._journal.note("over", who=slot.life, code=code)
        self.cut(slot, since)
        if code:
            await self.bury(slot, heir, "cut at shutdown", since)
        else:
            self.start(slot)

    async def terminate_and_kill(self, slot: Slot, heir: Heir, seconds: float) -> None:
        """SIGTERM, and SIGKILL so many seconds later, if there is still somebody to kill."""
        since, _ = await self._nursery.signal(slot.life, signal.SIGTERM)
        await asyncio.sleep(seconds)
        self.cut(slot, since)
        await self.kill(slot, heir, "stopping and killed")

    def cut(self, slot: Slot, since: float) -> None:
        """Note that what had not ended by the end of its time was given back, if it came to that."""
        now = asyncio.get_running_loop().time()
        if now >= since + slot.grace:
            since += slot.grace
            self._journal.note("unclean", who=slot.life, why="cut at shutdown", jids=None, since=since, until=now)

    async def signal(self, slot: Slot, number: signal.Signals) -> None:
        await self._nursery.signal(slot.life, number)

    async def look_for_ended(self, slot: Slot) -> None:
        """Note and replace a worker that ended by itself, which none should."""
        if not self._nursery.lives(slot.life):
            code = await self._nursery.ended(slot.life)
            self._journal.note("over", who=slot.life, code=code)
            self._journal.note("violation", what=f"{slot.life} ended by itself with code {code}")
            await self.bury(slot, Heir.OPERATOR, "ended by itself", asyncio.get_running_loop().time())

    def unclean(self, slot: Slot, why: str, held: set[str], since: float, until: float) -> None:
        """Note that a worker held these and could not tell their ends."""
        self._journal.note("unclean", who=slot.life, why=why, jids=sorted(held), since=since, until=until)

    async def _held(self, identity: str) -> set[str]:
        entries = await patiently(lambda: self._scripts.held(WorkerId(identity)))
        return {str(orjson.loads(entry.payload)["jid"]) for entry in entries}

    async def _until_rescued(self, identity: str, since: float) -> None:
        while await patiently(lambda: self._length(identity)):  # noqa: ASYNC110  # Redis is asked
            await asyncio.sleep(0.5)
        self.seconds_to_rescue.append(asyncio.get_running_loop().time() - since)

    async def _length(self, identity: str) -> int:
        found: Any = self._redis.hlen(KEYS.working(identity))
        return int(await found)
