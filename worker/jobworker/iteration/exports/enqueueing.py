"""What the type checker knows of enqueueing an export: it takes what `row` takes after the item.

At run time nothing differs from any iterating job, whose class methods these are.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, Concatenate, ParamSpec, Protocol, TypeVar, TypeVarTuple, overload

from jobworker.iteration.job import IteratingJob, When
from jobworker.protocol.payload import JobId

P = ParamSpec("P")
A1 = TypeVar("A1")
A2 = TypeVar("A2")
Args = TypeVarTuple("Args")


class Exports(Protocol[P]):
    """A class of exports, as the type checker sees it."""

    @property
    def row(self) -> Callable[Concatenate[Any, P], Any]:
        """What an item is in the file."""
        ...


class ExportsWith(Protocol[*Args]):
    """The same for many tuples of arguments."""

    @property
    def row(self) -> Callable[[Any, *Args], Any]:
        """What an item is in the file."""
        ...


if TYPE_CHECKING:

    class EnqueuedByRow(IteratingJob):
        """An iterating job that is enqueued with what its `row` takes."""

        @classmethod
        async def enqueue(cls: type[Exports[P]], *args: P.args, **kwargs: P.kwargs) -> JobId:
            """As `IteratingJob.enqueue`."""
            raise NotImplementedError

        @classmethod
        def enqueue_sync(cls: type[Exports[P]], *args: P.args, **kwargs: P.kwargs) -> JobId:
            """As `IteratingJob.enqueue_sync`."""
            raise NotImplementedError

        @classmethod
        async def schedule(cls: type[Exports[P]], when: When, /, *args: P.args, **kwargs: P.kwargs) -> JobId:
            """As `IteratingJob.schedule`."""
            raise NotImplementedError

        @classmethod
        def schedule_sync(cls: type[Exports[P]], when: When, /, *args: P.args, **kwargs: P.kwargs) -> JobId:
            """As `IteratingJob.schedule_sync`."""
            raise NotImplementedError

        @overload
        @classmethod
        async def enqueue_many(cls: type[ExportsWith[*Args]], args_of_each: Iterable[tuple[*Args]]) -> list[JobId]: ...

        @overload
        @classmethod
        async def enqueue_many(cls: type[ExportsWith[A1]], args_of_each: Iterable[tuple[A1]]) -> list[JobId]: ...  # type: ignore[overload-cannot-match]  # fewer than all

        @overload
        @classmethod
        async def enqueue_many(  # type: ignore[overload-cannot-match]  # fewer than all
            cls: type[ExportsWith[A1, A2]], args_of_each: Iterable[tuple[A1, A2]]
        ) -> list[JobId]: ...

        @classmethod
        async def enqueue_many(cls, args_of_each: Iterable[tuple[Any, ...]]) -> list[JobId]:
            """As `IteratingJob.enqueue_many`."""
            raise NotImplementedError

        @overload
        @classmethod
        def enqueue_many_sync(cls: type[ExportsWith[*Args]], args_of_each: Iterable[tuple[*Args]]) -> list[JobId]: ...

        @overload
        @classmethod
        def enqueue_many_sync(cls: type[ExportsWith[A1]], args_of_each: Iterable[tuple[A1]]) -> list[JobId]: ...  # type: ignore[overload-cannot-match]  # fewer than all

        @overload
        @classmethod
        def enqueue_many_sync(cls: type[ExportsWith[A1, A2]], args_of_each: Iterable[tuple[A1, A2]]) -> list[JobId]: ...  # type: ignore[overload-cannot-match]  # fewer than all

        @classmethod
        def enqueue_many_sync(cls, args_of_each: Iterable[tuple[Any, ...]]) -> list[JobId]:
            """As `IteratingJob.enqueue_many_sync`."""
            raise NotImplementedError

else:
    EnqueuedByRow = IteratingJob
