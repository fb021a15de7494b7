"""A parallel job that adds up numbers in slices, and what it did."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from jobworker import App, Client, ParallelJob, number_range, split_range
from jobworker.protocol.progress import JobProgress
from tests.waiting import wait_until


class Effects:
    """What the job of a test did."""

    def __init__(self) -> None:
        self.numbers: list[int] = []
        self.splits: list[tuple[int, int]] = []
        self.joined: list[tuple[int, int]] = []
        self.cancelled: list[Any] = []
        self.at: Callable[[int], None] = lambda _: None


def application(effects: Effects, kind: str = "plain", **options: Any) -> App:
    app = App()

    class Sum(ParallelJob):
        checkpoint_seconds = 0.001

        def split(self, stop: int, parts: int) -> Any:
            effects.splits.append((stop, parts))
            return split_range(0, stop, parts)

        def build_enumerator(self, stop: int, parts: int, *, cursor: int | None) -> number_range:  # noqa: ARG002
            first, last = self.slice
            return number_range(first, last, cursor)

        def each_iteration(self, number: int, stop: int, parts: int) -> Any:  # noqa: ARG002  # the job's arguments
            effects.at(number)
            effects.numbers.append(number)

        def on_joined(self, stop: int, parts: int) -> Any:
            effects.joined.append((stop, parts))

        def on_cancel(self) -> Any:
            effects.cancelled.append(self.slice)

    class AsyncSum(Sum):
        async def split(self, stop: int, parts: int) -> Any:
            return super().split(stop, parts)

        async def each_iteration(self, number: int, stop: int, parts: int) -> None:
            super().each_iteration(number, stop, parts)

        async def on_joined(self, stop: int, parts: int) -> None:
            super().on_joined(stop, parts)

    app.job(name="Sum", **options)(AsyncSum if kind == "async" else Sum)
    return app


async def ended(client: Client, jid: str, seconds: float = 15) -> JobProgress:
    async def over() -> JobProgress | None:
        found = await client.progress(jid)
        return found if found is not None and found.state.over else None

    found = await wait_until(over, seconds)
    assert found is not None
    return found
