"""The items of an API that answers in pages, each with a token for the next one."""

from __future__ import annotations

import inspect
from collections.abc import AsyncGenerator, Awaitable, Callable, Generator, Iterable, Sequence
from typing import Any, overload

from jobworker.errors import ConfigurationError, CursorMismatch
from jobworker.iteration.enumerators.cursors import is_count, refuse

Page = tuple[Sequence[Any], Any]


class PagesPlain:
    """`pages` of a plain function."""

    def __init__(self, fetch: Callable[[Any], Page], place: _Place) -> None:
        self._fetch = fetch
        self._place = place

    def __iter__(self) -> Generator[tuple[Any, Any], None, None]:
        place = self._place
        while not place.end:
            yield from place.items(self._fetch(place.token))


class PagesAsync:
    """`pages` of an async function."""

    def __init__(self, fetch: Callable[[Any], Awaitable[Page]], place: _Place) -> None:
        self._fetch = fetch
        self._place = place

    async def __aiter__(self) -> AsyncGenerator[tuple[Any, Any], None]:
        place = self._place
        while not place.end:
            for pair in place.items(await self._fetch(place.token)):
                yield pair


@overload
def pages(fetch: Callable[[Any], Awaitable[Page]], cursor: Any) -> PagesAsync: ...


@overload
def pages(fetch: Callable[[Any], Page], cursor: Any) -> PagesPlain: ...


def pages(fetch: Callable[[Any], Any], cursor: Any) -> PagesPlain | PagesAsync:
    """The items of all pages that ``fetch(token)`` answers with: the page's items, and the next page's token or None.

    ``fetch`` may be async; it gets None for the first page. A token is any JSON value: a string, an offset, a URL. Its
    timeouts and tries are its own; what it raises fails the job, which is tried again at that page.

    The cursor is {"page": token, "done": items of that page}. Going on fetches that page again and passes over what
    was done, so a page must have the same items in the same order when it is asked for twice. Where the API does not
    promise that, let ``fetch`` answer ``([items], next)``: a page is then one item, done or not.

    Raises:
        CursorMismatch: the cursor is another enumerator's, or the page has fewer items now than were done.
        ConfigurationError: what ``fetch`` answers is no page, or the next page is the same again.
    """
    place = _Place(cursor)
    call = getattr(fetch, "__call__", fetch)  # noqa: B004  # an object with an async __call__ is async, too
    if inspect.iscoroutinefunction(fetch) or inspect.iscoroutinefunction(call):
        return PagesAsync(fetch, place)
    return PagesPlain(fetch, place)


class _Place:
    """Which page is next, and how many of its items were done in a run before."""

    def __init__(self, cursor: Any) -> None:
        self.token: Any = None
        self.end = False
        self._done = 0
        match cursor:
            case None:
                pass
            case {"end": True}:
                self.end = True
            case {"page": token, "done": done} if is_count(done):
                self.token, self._done = token, done
            case _:
                refuse("pages", cursor, 'its cursor is {"page": token, "done": items of that page}')

    def items(self, page: Page) -> Iterable[tuple[Any, Any]]:
        items, following = self._checked(page)
        token = self.token
        last = {"end": True} if following is None else {"page": following, "done": 0}
        for index in range(self._done, len(items)):
            yield items[index], last if index + 1 == len(items) else {"page": token, "done": index + 1}
        self.token, self.end, self._done = following, following is None, 0

    def _checked(self, page: Any) -> tuple[Sequence[Any], Any]:
        if inspect.isawaitable(page):
            if inspect.iscoroutine(page):
                page.close()  # or Python warns that nobody awaited it, beside the error that says so
            raise ConfigurationError("pages: fetch answered with something to await; define it by `async def`")
        match page:
            case (Sequence() as items, following):
                pass
            case _:
                raise ConfigurationError(
                    f"pages: fetch answered {page!r:.80}; let it answer (items, next token or None)"
                )
        if following is not None and following == self.token:
            raise ConfigurationError(
                f"pages: the page after {following!r:.80} is the same again; answer None at the end"
            )
        if len(items) < self._done:
            raise CursorMismatch(
                f"pages: {self._done} items of the page {self.token!r:.80} were done, and it has {len(items)} now. If "
                "the API does not keep its pages, walk over whole pages: answer ([items], next)"
            )
        return items, following
