"""The application whose jobs run in memory, for the tests of what is enqueued there and of how it runs."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from jobworker import App, IteratingJob, context, list_items
from jobworker.protocol.deaths import DeadJob

NOON = datetime(2026, 11, 21, 12, tzinfo=UTC)


class Shop:
    """An application whose Redis nobody could reach."""

    def __init__(self) -> None:
        self.app = app = App("redis://127.0.0.1:1/0")
        self.done: list[Any] = []
        self.failing: list[BaseException] = []
        self.dead: list[DeadJob] = []

        @app.job(queue="mails", retry=2)
        async def mail(user: int, subject: str = "hi") -> None:
            self.done.append(("mail", user, subject))
            if self.failing:
                raise self.failing.pop(0)

        @app.job(queue="reports")
        def report(months: list[str]) -> None:
            self.done.append(("report", months, context().jid, context().attempt))

        @app.job
        def chain(left: int) -> None:
            self.done.append(("chain", left))
            if left:
                chain.enqueue_sync(left - 1)

        @app.job
        async def chain_async(left: int) -> None:
            self.done.append(("chain", left))
            if left:
                await chain_async.enqueue(left - 1)

        @app.job
        def tick() -> None:
            self.done.append(("tick", context().queue))
            tick.schedule_sync(timedelta(minutes=5))

        self.mail, self.report, self.chain, self.chain_async, self.tick = mail, report, chain, chain_async, tick

        @app.job
        class Walk(IteratingJob):
            def build_enumerator(walk, number: int, *, cursor: int | None) -> Any:  # noqa: N805  # self is the shop
                return list_items(range(number), cursor)

            def each_iteration(walk, item: int, number: int) -> None:  # noqa: ARG002, N805  # the same
                if self.failing and item == 2:
                    raise self.failing.pop(0)
                self.done.append(item)

        self.walk = Walk
