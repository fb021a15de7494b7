"""How a run begins and ends: callbacks in Sidekiq's order, abort, errors, tries, room for others. On both stages."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager
from queue import SimpleQueue
from typing import Any, ClassVar

import pytest
from redis.asyncio import Redis

from jobworker import App, ConfigurationError, IteratingJob, context, list_items
from jobworker.protocol.payload import JobId
from tests.integration.iteration.stages import OnWorker, Stage, Wait, in_kit, of_kind, on_worker

pytestmark = pytest.mark.redis

SAID: list[Any] = []
AT: dict[Any, Callable[[Any], Any]] = {}
"""What happens once at an item, or at a callback by its name: called with the job."""


def happen(job: Any, place: Any) -> None:
    SAID.append(place)
    what = AT.pop(place, None)
    if what is not None:
        what(job)


def raising(error: Exception) -> Callable[[Any], None]:
    def happens(_: Any) -> None:
        raise error

    return happens


class Tells(IteratingJob):
    """Three items, and everything that is called."""

    def build_enumerator(self, *, cursor: int | None) -> Any:
        happen(self, "build")
        return list_items([0, 1, 2], cursor)

    def each_iteration(self, item: int) -> Any:
        happen(self, item)

    def on_start(self) -> None:
        happen(self, "start")

    def on_resume(self) -> None:
        happen(self, "resume")

    def on_stop(self) -> None:
        happen(self, "stop")

    def on_cancel(self) -> None:
        happen(self, "cancel")

    def on_complete(self) -> None:
        happen(self, "complete")


ENDS = ["stop", "complete"]


@pytest.fixture(autouse=True)
def _fresh() -> Iterator[None]:
    SAID.clear()
    AT.clear()
    yield
    assert not AT, "something did not happen"


Open = Callable[[App], AbstractAsyncContextManager[Stage]]


@pytest.fixture(params=["worker", "kit"])
def opened(request: pytest.FixtureRequest, redis: Redis) -> Open:
    def on(app: App) -> AbstractAsyncContextManager[Stage]:
        return on_worker(redis, app) if request.param == "worker" else in_kit(app)

    return on


@pytest.fixture(params=["plain", "async"])
def kind(request: pytest.FixtureRequest) -> str:
    found: str = request.param
    return found


async def run(opened: Open, kind: str, job: type[IteratingJob], **options: Any) -> list[str]:
    """Run one to its end; the errors on the way."""
    app = App(**options)
    app.job(name="Job")(of_kind(kind, job))
    async with opened(app) as stage:
        await stage.enqueue("Job")
        return await stage.finish()


async def test_run_of_a_job_calls_what_sidekiq_calls_in_its_order(opened: Open, kind: str) -> None:
    assert await run(opened, kind, Tells) == []
    assert ["build", "start", 0, 1, 2, *ENDS] == SAID


async def test_error_of_an_item_calls_nothing_more_and_the_retry_resumes_there(opened: Open, kind: str) -> None:
    AT[1] = raising(ValueError("at one"))
    assert await run(opened, kind, Tells) == ["ValueError: at one"]
    assert ["build", "start", 0, 1, "build", "resume", 1, 2, *ENDS] == SAID


async def test_first_run_that_fails_at_its_first_item_has_begun_once(opened: Open, kind: str) -> None:
    AT[0] = raising(ValueError("at nought"))
    await run(opened, kind, Tells)
    assert ["build", "start", 0, "build", "resume", 0, 1, 2, *ENDS] == SAID


@pytest.mark.parametrize("place", ["build", "start"])
async def test_run_that_could_not_begin_begins_again(opened: Open, kind: str, place: str) -> None:
    AT[place] = raising(OSError("not yet"))
    assert await run(opened, kind, Tells) == ["OSError: not yet"]
    assert [*["build", "start"][: 1 + (place == "start")], "build", "start", 0, 1, 2, *ENDS] == SAID


@pytest.mark.parametrize("place", [1, "start", "build"])
async def test_job_that_aborts_stops_and_is_complete(opened: Open, kind: str, place: Any) -> None:
    AT[place] = lambda job: job.abort()
    assert await run(opened, kind, Tells) == []
    begun = ["build", "start", 0, 1]
    assert [*begun[: begun.index(place) + 1], *ENDS] == SAID


async def test_abort_is_no_error_that_an_item_could_catch_or_record(opened: Open, kind: str) -> None:
    class Catches(Tells):
        on_error = "record"
        item_retries = 3

        def each_iteration(self, item: int) -> None:
            try:
                super().each_iteration(item)
            except Exception:  # noqa: BLE001  # what such code would do
                SAID.append("caught")

    AT[1] = lambda job: job.abort()
    await run(opened, kind, Catches)
    assert ["build", "start", 0, 1, *ENDS] == SAID


async def test_job_cancelled_before_it_ever_ran_walks_nothing_and_ends(opened: Open, kind: str) -> None:
    app = App()
    app.job(name="Job")(of_kind(kind, Tells))
    async with opened(app) as stage:
        await stage.cancel(await stage.enqueue("Job"))
        assert await stage.finish() == []
    assert ["start", "cancel", *ENDS] == SAID


async def test_job_cancelled_while_it_waits_for_its_retry_resumes_to_end(opened: Open, kind: str) -> None:
    app, failed = App(), SimpleQueue[str]()
    app.job(name="Job")(of_kind(kind, Tells))

    def fails(_: Any) -> None:
        AT["build"] = raising(ValueError("it walked again"))
        failed.put(context().jid)
        raise ValueError("at one")

    AT[1] = fails
    async with opened(app) as stage:
        await stage.enqueue("Job")
        assert await stage.finish(before_retry=lambda: stage.cancel(JobId(failed.get_nowait()))) == [
            "ValueError: at one"
        ]
    AT.clear()
    assert ["build", "start", 0, 1, "resume", "cancel", *ENDS] == SAID


async def test_enumerator_that_was_not_returned_is_an_error_and_not_a_quiet_end(opened: Open, kind: str) -> None:
    class Forgets(Tells):
        def build_enumerator(self, *, cursor: int | None) -> Any:
            found = super().build_enumerator(cursor=cursor)
            return found if SAID.count("build") > 1 else None

    (error,) = await run(opened, kind, Forgets)
    assert "returned NoneType; it must return an iterator of pairs" in error
    assert ["build", "build", "start", 0, 1, 2, *ENDS] == SAID


async def test_nothing_to_walk_over_is_a_whole_run(opened: Open, kind: str) -> None:
    class Nothing(Tells):
        def build_enumerator(self, *, cursor: int | None) -> Any:  # noqa: ARG002  # every one takes it
            return []

    assert await run(opened, kind, Nothing) == []
    assert ["start", *ENDS] == SAID


async def test_each_item_is_surrounded(opened: Open, kind: str) -> None:
    class Surrounds(Tells):
        def around_iteration(self) -> Iterator[None]:
            SAID.append(f"before {self.progress.row}")
            try:
                yield
            finally:
                SAID.append("behind")

    AT[1] = raising(ValueError("at one"))
    assert await run(opened, kind, Surrounds) == ["ValueError: at one"]
    first = ["build", "start", "before 1", 0, "behind", "before 2", 1, "behind"]
    assert [*first, "build", "resume", "before 2", 1, "behind", "before 3", 2, "behind", *ENDS] == SAID


async def test_item_whose_surrounding_does_not_yield_is_skipped(opened: Open, kind: str) -> None:
    class Skips(Tells):
        def around_iteration(self) -> Iterator[None]:
            if self.progress.row != 2:
                yield

    assert await run(opened, kind, Skips) == []
    assert ["build", "start", 0, 2, *ENDS] == SAID


async def test_async_surrounding_of_an_async_job(opened: Open) -> None:
    class Surrounds(of_kind("async", Tells)):  # type: ignore[misc]  # made by a function
        async def around_iteration(self) -> AsyncIterator[None]:
            SAID.append("before")
            yield
            SAID.append("behind")

    app = App()
    app.job(name="Job")(Surrounds)
    async with opened(app) as stage:
        await stage.enqueue("Job")
        assert await stage.finish() == []
    assert ["build", "start", *["before", 0, "behind"], *["before", 1, "behind"], "before", 2, "behind", *ENDS] == SAID


class Stubborn(Tells):
    """Item 1 raises so often."""

    failures: ClassVar[int] = 2
    item_retries = 2
    item_retry_seconds = 0.01

    def each_iteration(self, item: int) -> Any:
        super().each_iteration(item)
        if item == 1 and SAID.count(1) <= self.failures:
            raise ValueError(f"try {SAID.count(1)}")


async def test_item_is_tried_again_in_the_same_run(opened: Open, kind: str) -> None:
    assert await run(opened, kind, Stubborn) == []
    assert ["build", "start", 0, 1, 1, 1, 2, *ENDS] == SAID


async def test_item_that_raises_too_often_fails_the_job_whose_retry_has_all_tries_again(
    opened: Open, kind: str
) -> None:
    class Worse(Stubborn):
        failures = 5

    assert await run(opened, kind, Worse) == ["ValueError: try 3"]
    assert ["build", "start", 0, 1, 1, 1, "build", "resume", 1, 1, 1, 2, *ENDS] == SAID


async def test_item_that_raises_too_often_is_recorded_once(opened: Open, kind: str) -> None:
    recorded: list[Any] = []

    class Records(Stubborn):
        failures = 5
        on_error = "record"

        def on_complete(self) -> None:
            recorded.append((self.progress.processed, self.progress.failed))

    assert await run(opened, kind, Records) == []
    assert SAID == ["build", "start", 0, 1, 1, 1, 2, "stop"]
    assert recorded == [(3, 1)]


async def test_job_that_ran_for_as_long_as_it_may_lets_others_run_and_goes_on_behind_them(
    opened: Open, kind: str
) -> None:
    class Long(Tells):
        max_run_seconds = 0.05

        def __init__(self) -> None:
            if SAID.count("stop") == 2:
                self.max_run_seconds = 3600.0  # type: ignore[misc]  # however slow this machine is

        def each_iteration(self, item: int) -> Any:
            super().each_iteration(item)
            return Wait(0.2 if item < 2 else 0.0)

    app = App()
    app.job(name="Job")(of_kind(kind, Long))

    @app.job(name="Other")
    async def other() -> None:
        SAID.append("other")

    async with opened(app) as stage:
        await stage.enqueue("Job")
        await stage.enqueue("Other")
        assert await stage.finish() == []
    walked = [said for said in SAID if said != "other"]
    assert walked == ["build", "start", 0, "stop", "build", "resume", 1, "stop", "build", "resume", 2, *ENDS]
    assert SAID.index("other") < SAID.index("resume"), "others come first"
    if isinstance(stage, OnWorker):
        assert await stage.rig.processed() == 2, "neither a retry nor a failure"


async def test_application_says_how_long_a_run_may_take_where_the_job_does_not(opened: Open, kind: str) -> None:
    class Slow(Tells):
        def __init__(self) -> None:
            if "stop" in SAID:
                self.max_run_seconds = 3600.0  # type: ignore[misc]  # the class says nothing

        def each_iteration(self, item: int) -> Any:
            super().each_iteration(item)
            return Wait(0.2 if item == 0 else 0.0)

    assert await run(opened, kind, Slow, max_run_seconds=0.05) == []
    assert ["build", "start", 0, "stop", "build", "resume", 1, 2, *ENDS] == SAID


@pytest.mark.parametrize(
    ("cursor", "message"),
    [
        (b"raw", r"cannot be written as JSON .* let build_enumerator yield raw.hex\(\)"),
        (float("nan"), "would come back as null"),
        ([1, float("inf")], "would come back as .1,null."),
        ({1: 2}, "cannot be written as JSON"),
        (1 << 70, "cannot be written as JSON"),
    ],
    ids=["bytes", "nan", "infinity", "keys", "number of many digits"],
)
async def test_cursor_that_would_not_come_back_as_it_was_is_refused(
    opened: Open, kind: str, cursor: Any, message: str
) -> None:
    class Odd(Tells):
        def build_enumerator(self, *, cursor: Any) -> Any:
            return list_items([1], cursor) if AT.pop("once", None) is None else [(0, odd)]

    odd = cursor
    AT["once"] = lambda _: None
    (error,) = await run(opened, kind, Odd)
    assert error.startswith("ConfigurationError")
    assert re.search(message, error), error
    assert 0 not in SAID, "the effect of an item that every try would repeat"


@pytest.mark.parametrize(
    ("pair", "told"),
    [
        (1, "yielded 1 (int); it must yield pairs (item, cursor)"),
        (None, "yielded None (NoneType)"),
        ("ab", "yielded 'ab' (str)"),
        ({"a": 1, "b": 2}, "(dict)"),
        ((1,), "yielded (1,) (tuple of 1 and not 2)"),
        ([1, 2, 3], "yielded [1, 2, 3] (list of 3 and not 2)"),
    ],
    ids=str,
)
@pytest.mark.parametrize("walked", ["plain", "on the loop"])
async def test_what_is_no_pair_is_refused_before_anything_is_done_with_it(
    opened: Open, kind: str, pair: Any, told: str, walked: str
) -> None:
    if (kind, walked) == ("plain", "on the loop"):
        walked = "plain"  # a plain job cannot walk over it

    async def on_the_loop() -> AsyncIterator[Any]:
        yield pair

    class Wrong(Tells):
        def build_enumerator(self, *, cursor: Any) -> Any:
            if AT.pop("once", None) is None:
                return list_items([1], cursor)
            return [pair] if walked == "plain" else on_the_loop()

    AT["once"] = lambda _: None
    (error,) = await run(opened, kind, Wrong)
    assert "ConfigurationError" in error
    assert "build_enumerator yielded" in error
    assert told in error
    assert ["start", "resume", 1, *ENDS] == SAID


@pytest.mark.parametrize("cursor", [7, "é-1", [1, "a", None], {"id": 2, "at": [1.5, True]}, (1, 2), False])
async def test_cursors_of_every_kind_come_back(opened: Open, kind: str, cursor: Any) -> None:
    seen: list[Any] = []

    class Fails(Tells):
        def build_enumerator(self, *, cursor: Any) -> Any:
            seen.append(cursor)
            return [("first", given), ("second", given)] if cursor is None else [("third", given)]

    given = cursor
    AT["second"] = raising(ValueError("once"))
    assert await run(opened, kind, Fails) == ["ValueError: once"]
    assert seen == [None, [1, 2] if cursor == (1, 2) else cursor]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"on_error": "skip"}, 'on_error is \'skip\'; it must be "fail" or "record"'),
        ({"item_retries": -1}, "item_retries is -1"),
        ({"checkpoint_seconds": -5.0}, "checkpoint_seconds is -5.0"),
        ({"max_run_seconds": 0.0}, "max_run_seconds is 0.0"),
        ({"returns_to": "middle"}, "returns_to is 'middle'"),
        ({"around_iteration": lambda self: None}, "around_iteration surrounds nothing"),  # noqa: ARG005  # a method
    ],
)
def test_class_that_cannot_work_is_refused_when_it_is_made(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        type("Job", (Tells,), options)


def test_async_surrounding_of_a_plain_job_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="around_iteration is async, but each_iteration is plain"):

        class _Mixed(Tells):
            async def around_iteration(self) -> AsyncIterator[None]:
                yield
