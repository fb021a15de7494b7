from __future__ import annotations

import functools
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobworker import ConfigurationError, CursorMismatch, pages
from jobworker.iteration.enumerators.http_pages import PagesPlain, _Place
from tests.resuming import resumed_everywhere, resumed_everywhere_async

PAGES = st.lists(st.lists(st.integers(), max_size=4), min_size=1, max_size=5)


class Api:
    """Its tokens are of any JSON."""

    def __init__(self, content: list[list[int]]) -> None:
        self.content = content
        self.asked: list[Any] = []

    def page(self, token: Any) -> tuple[list[int], Any]:
        self.asked.append(token)
        number = 0 if token is None else token["after"][0]
        return self.content[number], {"after": [number + 1]} if number + 1 < len(self.content) else None

    async def page_async(self, token: Any) -> tuple[list[int], Any]:
        return self.page(token)

    async def __call__(self, token: Any) -> tuple[list[int], Any]:
        return self.page(token)


@given(content=PAGES)
def test_pages_go_on_at_any_item(content: list[list[int]]) -> None:
    assert resumed_everywhere(lambda cursor: pages(Api(content).page, cursor)) == [n for page in content for n in page]


async def test_async_functions_are_awaited() -> None:
    api = Api([[1, 2], [], [3]])
    for fetch in (api.page_async, api, functools.partial(api.page_async)):
        assert await resumed_everywhere_async(functools.partial(pages, fetch)) == [1, 2, 3]


def test_only_the_page_of_the_cursor_and_those_behind_it_are_fetched() -> None:
    api = Api([[1, 2], [3, 4], [5, 6]])
    cursors = [cursor for _, cursor in pages(api.page, None)]
    api.asked.clear()
    assert [item for item, _ in pages(api.page, cursors[2])] == [4, 5, 6]
    assert api.asked == [{"after": [1]}, {"after": [2]}]
    api.asked.clear()
    assert list(pages(api.page, cursors[-1])) == []
    assert api.asked == []


def test_whole_pages_can_be_the_items() -> None:
    api = Api([[1, 2], [3]])

    def whole(token: Any) -> tuple[list[list[int]], Any]:
        items, following = api.page(token)
        return [items], following

    assert resumed_everywhere(lambda cursor: pages(whole, cursor)) == [[1, 2], [3]]


def test_page_that_got_shorter_than_what_was_done_is_refused() -> None:
    cursors = [cursor for _, cursor in pages(Api([[1, 2, 3]]).page, None)]
    with pytest.raises(CursorMismatch, match="2 items of the page None were done, and it has 1 now"):
        list(pages(Api([[1]]).page, cursors[1]))


@pytest.mark.parametrize("cursor", [3, [1, 2], {"after": {"id": 3}}, {"page": "x"}, {"page": "x", "done": -1}])
def test_cursor_of_another_enumerator_is_refused(cursor: Any) -> None:
    with pytest.raises(CursorMismatch, match="pages cannot go on from the cursor"):
        pages(Api([[1]]).page, cursor)


@pytest.mark.parametrize("answer", [None, [1, 2, 3], {"items": []}, ({1, 2}, None), 3])
def test_answer_that_is_no_page_is_refused(answer: Any) -> None:
    with pytest.raises(ConfigurationError, match=r"it answer \(items, next token or None\)"):
        list(pages(lambda _: answer, None))


def test_page_that_follows_itself_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="the page after 'a' is the same again"):
        list(pages(lambda _: ([1], "a"), None))
    api = Api([[1]])
    with pytest.raises(ConfigurationError, match="define it by `async def`"):
        list(PagesPlain(api, _Place(None)))  # type: ignore[arg-type]  # as `pages` takes a function that hides it
