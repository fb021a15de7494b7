from __future__ import annotations

import functools
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobworker import CursorMismatch, IteratingJob, in_batches, list_items, nested
from jobworker.testing import simulate_drain, simulate_drain_sync
from tests.resuming import resumed_everywhere, resumed_everywhere_async, travelled

Shops = dict[int, list[int]]
SHOPS = st.dictionaries(st.integers(0, 9), st.lists(st.integers(), max_size=3, unique=True), max_size=5)


def by_key(shops: Shops, cursor: int | None) -> Iterator[tuple[int, int]]:
    """As a table is walked by key: what comes or goes moves nothing else."""
    for shop in sorted(shops):
        if cursor is None or shop > cursor:
            yield shop, shop


def products(shops: Shops, shop: int, cursor: int | None) -> list_items[int]:
    return list_items(shops[shop], cursor)


def walk(shops: Shops, cursor: Any) -> nested:
    return nested(functools.partial(by_key, shops), functools.partial(products, shops), cursor)


def expected(shops: Shops) -> list[tuple[int, int]]:
    return [(shop, product) for shop in sorted(shops) for product in shops[shop]]


@given(shops=SHOPS)
def test_nested_walk_goes_on_at_any_pair(shops: Shops) -> None:
    assert resumed_everywhere(lambda cursor: walk(shops, cursor)) == expected(shops)


@given(shops=SHOPS)
def test_three_levels_go_on_at_any_item(shops: Shops) -> None:
    def countries(cursor: Any) -> list_items[str]:
        return list_items(["de", "fr"], cursor)

    items = resumed_everywhere(lambda cursor: nested(countries, lambda _, inner: walk(shops, inner), cursor))
    assert items == [(country, pair) for country in ("de", "fr") for pair in expected(shops)]


async def test_levels_may_be_async_and_plain() -> None:
    async def shops(cursor: int | None) -> AsyncIterator[tuple[str, int]]:
        for index in range(cursor or 0, 3):
            yield "abc"[index], index + 1

    async def numbers(shop: str, cursor: int | None) -> AsyncIterator[tuple[str, int]]:
        for index in range(cursor or 0, 2):
            yield f"{shop}{index}", index + 1

    async_items = await resumed_everywhere_async(functools.partial(nested, shops, numbers))
    assert [inner for _, inner in async_items] == ["a0", "a1", "b0", "b1", "c0", "c1"]
    mixed = functools.partial(nested, shops, lambda _, cursor: in_batches(list_items([1, 2, 3], cursor), 2))
    assert [inner for _, inner in await resumed_everywhere_async(mixed)] == [[1, 2], [3]] * 3


@given(
    shops=SHOPS,
    come=st.dictionaries(st.integers(0, 9), st.lists(st.integers(), min_size=1, max_size=2)),
    go=st.sets(st.integers(0, 9)),
    data=st.data(),
)
def test_outer_items_that_come_and_go_lose_and_repeat_no_others(
    shops: Shops, come: Shops, go: set[int], data: st.DataObject
) -> None:
    pairs = list(walk(shops, None))
    done = data.draw(st.integers(0, len(pairs)))
    cursor = travelled(pairs[done - 1][1]) if done else None
    now = {shop: inner for shop, inner in {**come, **shops}.items() if shop not in go}
    walked = [pair for pair, _ in pairs[:done]]
    here = walked[-1][0] if walked else -1
    assert [pair for pair, _ in walk(now, cursor)] == [
        pair for pair in expected(now) if pair[0] >= here and pair not in walked
    ]


def test_outer_items_that_come_in_another_order_are_refused() -> None:
    cursors = [cursor for _, cursor in walk({1: [10, 11], 2: [20], 3: [30]}, None)]

    def shuffled(cursor: Any) -> Iterator[tuple[int, int]]:
        return iter([(3, 3)] if cursor else [(5, 5), (6, 6)])

    with pytest.raises(CursorMismatch, match="in the same order at each run"):
        list(nested(shuffled, lambda _, cursor: list_items([1], cursor), cursors[0]))


@pytest.mark.parametrize("cursor", [3, [1, 20], {"outer": 3, "inner": 4}, {"outer": [1, 2]}])
def test_cursor_of_another_enumerator_is_refused(cursor: Any) -> None:
    with pytest.raises(CursorMismatch, match="nested cannot go on from the cursor"):
        walk({1: [1]}, cursor)


DONE: list[Any] = []


class Products(IteratingJob):
    def build_enumerator(self, *, cursor: Any) -> nested:
        return walk({1: [10, 11], 2: [], 3: [30, 31, 32]}, cursor)

    def each_iteration(self, item: tuple[int, int]) -> None:
        DONE.append(item[1])


class ProductsOnTheLoop(Products):
    async def each_iteration(self, item: tuple[int, int]) -> None:  # type: ignore[override]  # the other kind of job
        Products.each_iteration(self, item)


def test_plain_job_bears_a_deploy_within_any_outer_item() -> None:
    assert simulate_drain_sync(Products, reset=DONE.clear, effects=DONE.copy).items == 5


async def test_async_job_bears_a_deploy_within_any_outer_item() -> None:
    assert (await simulate_drain(ProductsOnTheLoop, reset=DONE.clear, effects=DONE.copy)).items == 5
