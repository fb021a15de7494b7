"""Iterating jobs with checkpoints in their own transactions: each item's effects are there once."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest

from jobworker import ConfigurationError, ExportingJob, IteratingJob
from jobworker.iteration.run import End
from jobworker.protocol.records import Checkpoint
from jobworker.testing import MemoryKeeper, Places, simulate_drain
from tests.integration.iteration.sql_shop import JID, Shop, all_of, open_shop
from tests.integration.iteration.sql_sitting import KINDS


@pytest.fixture(params=KINDS)
async def shop(request: pytest.FixtureRequest, database_url: str) -> AsyncIterator[Shop]:
    async with open_shop(request.param, database_url, every=2) as shop:
        yield shop


async def test_interrupted_and_killed_anywhere_all_effects_are_there_once_and_in_order(shop: Shop) -> None:
    simulated = await simulate_drain(shop.job, 3, reset=shop.reset, effects=shop.effects, crash=True, most=25)
    assert simulated.crashes > 5
    assert shop.effects() == all_of(3)


@pytest.mark.parametrize("savepoints", [True, False])
async def test_item_whose_error_is_recorded_leaves_no_effect(shop: Shop, *, savepoints: bool) -> None:
    shop.checkpoints.savepoints = savepoints
    shop.raising = {1, 4}
    assert await shop.run(on_error="record") is End.COMPLETE
    assert shop.effects() == all_of(5, without=(1, 4))
    place = shop.places.of(JID)
    assert (place.processed, place.failed) == (5, 2)
    assert place.errors == {2: ("ValueError: item 1",), 5: ("ValueError: item 4",)}


async def test_item_that_fails_the_job_is_where_the_next_run_begins(shop: Shop) -> None:
    shop.checkpoints.every = 100
    shop.raising = {3}
    with pytest.raises(ValueError, match="item 3"):
        await shop.run()
    assert shop.effects() == ["start", "item 0", "item 1", "item 2"]
    assert shop.state() == ("walking", "3")
    shop.raising = set()
    assert await shop.run() is End.COMPLETE
    assert shop.effects() == all_of(5)


async def test_item_that_is_tried_again_has_its_effect_once(shop: Shop) -> None:
    def fail() -> None:
        raise ValueError

    shop.at = {2: fail}
    assert await shop.run(item_retries=1, item_retry_seconds=0.0) is End.COMPLETE
    assert shop.effects() == all_of(5)


async def test_database_wins_over_redis(shop: Shop) -> None:
    shop.raising = {3}
    with pytest.raises(ValueError, match="item 3"):
        await shop.run()
    shop.raising = set()
    for stale in (b"1", b"5"):
        await MemoryKeeper(shop.places, JID).checkpoint(Checkpoint(stale, 1, 0.0), wait=True)
        shop.at = {3: shop.interrupt}
        assert await shop.run(number=7) is (End.INTERRUPTED if stale == b"1" else End.COMPLETE)
    assert shop.effects() == all_of(7)


async def test_complete_job_that_runs_again_does_nothing(shop: Shop) -> None:
    assert await shop.run() is End.COMPLETE
    assert shop.state() == ("complete", "5")
    shop.places = Places()  # Redis lost what it knew
    assert await shop.run() is End.COMPLETE
    assert shop.effects() == all_of(5)


async def test_cancelled_job_commits_what_was_done_and_its_last_words(shop: Shop) -> None:
    shop.at = {2: lambda: shop.places.cancel(JID)}
    assert await shop.run(number=50, checkpoint_seconds=0.0) is End.CANCELLED
    assert shop.effects() == ["start", "item 0", "item 1", "item 2", "cancel", "complete"]
    assert shop.state()[0] == "complete"


async def test_export_with_checkpoints_is_refused(database_url: str) -> None:
    shop = Shop("connection", database_url)
    with pytest.raises(ConfigurationError, match="is an export and has checkpoints"):
        type("Both", (ExportingJob,), {"checkpoints": shop.checkpoints})
    await shop.close()


async def test_engine_and_job_have_to_be_of_the_same_kind(database_url: str) -> None:
    shop = Shop("connection", database_url)

    async def each_iteration(self: Any, item: int) -> None: ...

    with pytest.raises(ConfigurationError, match="engine of its checkpoints is plain, but each_iteration is async"):
        type("Mixed", (IteratingJob,), {"checkpoints": shop.checkpoints, "each_iteration": each_iteration})
    await shop.close()
