"""A fleet at work, one fault of Redis after the other, and the checker of the chaos run at the end."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

from tests.chaos.checker import Checker
from tests.chaos.records import Tail, read
from tests.chaos.storm import Size, Storm, storm
from tests.chaos.story import tell
from tests.waiting import wait_until

SIZE = Size(seed=4, seconds=0, frail=3, sturdy=3, jobs_per_second=40, behind_networks=True)

_WORK = 30  # jobs that end between two faults: the fleet is at work when the next one comes


class Outages:
    """What a test does to the Redis of a fleet at work."""

    def __init__(self, blown: Storm, folder: Path) -> None:
        self.storm = blown
        self._folder = folder
        self._tail = Tail(folder)

    async def at_work(self) -> None:
        """Wait until the fleet has ended some jobs more."""
        before = self.done()
        await wait_until(lambda: self.done() >= before + _WORK, 45, "jobs that end")

    def done(self) -> int:
        """Jobs whose code has come to its end."""
        self._tail.look()
        return self._tail.counts.get("done", 0)

    async def refused(self) -> None:
        """Wait until producers were refused pushes."""
        self._tail.look()
        before = self._tail.counts.get("doubt", 0)

        def more() -> bool:
            self._tail.look()
            return self._tail.counts.get("doubt", 0) > before + 2

        await wait_until(more, 30, "pushes that are refused")

    async def processed(self) -> int:
        """Jobs whose end Redis knows."""
        return int(await self.storm.redis.get("stat:processed") or 0)

    async def seen_by_all(self, text: str) -> None:
        """Wait until each worker has logged it."""
        logs = [self._folder / f"{slot.name}.log" for slot in self.storm.slots]
        await wait_until(
            lambda: all(log.exists() and text in log.read_text() for log in logs), 30, f"{text} in all logs"
        )


async def survives(folder: Path, harm: Callable[[Outages], Coroutine[Any, Any, None]]) -> None:
    """Run ``harm`` against a fleet at work: nothing may be lost, and nothing run twice, since no process is harmed."""
    async with storm(SIZE, folder) as blown:
        outages = Outages(blown, folder)

        async def under_load() -> None:
            await outages.seen_by_all("ready: ")
            await outages.at_work()
            await harm(outages)
            await outages.at_work()

        await blown.run(under_load)
    records = read(folder)
    verdict = Checker(records).judge()
    stories = [f"{found.what}\n{found.key and tell(records, found.key, blown.began)}" for found in verdict.violations]
    assert not stories, "\n\n".join(stories)
    twice = verdict.repeated.copy()
    del twice["push in doubt, made again"]
    assert not twice, f"no process was harmed, and jobs ran twice: {twice}"
