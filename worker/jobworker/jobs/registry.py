"""The jobs that an application defines, by the name that payloads carry in ``class``."""

from __future__ import annotations

from collections.abc import Iterator

from jobworker.errors import ConfigurationError, UnknownJob
from jobworker.jobs.definition import DeathHandler, Definition, Kind
from jobworker.jobs.fetcher import Fetcher
from jobworker.jobs.middleware import Middleware

_SHOWN = 20  # names in a message


class Registry:
    """Names to definitions; a name is given once. ``death_handlers`` and ``middleware`` are for all of them.

    ``max_run_seconds`` is how long an iterating job runs in one go if it does not say itself; None for no limit.
    """

    def __init__(self) -> None:
        self._definitions: dict[str, Definition] = {}
        self.death_handlers: list[DeathHandler] = []
        self.middleware: list[Middleware] = []
        self.fetchers: list[Fetcher] = []
        self.max_run_seconds: float | None = None

    def add(self, definition: Definition) -> None:
        """Take it in.

        Raises:
            ConfigurationError: another job has the name.
        """
        known = self._definitions.get(definition.name)
        if known is not None:
            raise ConfigurationError(
                f"two jobs are named {definition.name}: {_place(known)} and {_place(definition)}; "
                "give one of them another name with @app.job(name=…)"
            )
        self._definitions[definition.name] = definition

    def get(self, name: str) -> Definition:
        """The job of that name.

        Raises:
            UnknownJob: there is none; the message names those there are.
        """
        try:
            return self._definitions[name]
        except KeyError:
            raise UnknownJob(f"no job is named {name}; this application defines {self._names()}") from None

    def find(self, name: str) -> Definition | None:
        """The job of that name, if there is one."""
        return self._definitions.get(name)

    @property
    def iterating(self) -> tuple[str, ...]:
        """The names of those that walk over items."""
        return tuple(definition.name for definition in self if definition.kind is Kind.ITERATING)

    def __iter__(self) -> Iterator[Definition]:
        return iter(sorted(self._definitions.values(), key=lambda definition: definition.name))

    def __len__(self) -> int:
        return len(self._definitions)

    def _names(self) -> str:
        names = sorted(self._definitions)
        if not names:
            return "none (are the modules with the jobs imported?)"
        rest = len(names) - _SHOWN
        return ", ".join(names[:_SHOWN]) + (f" and {rest} more" if rest > 0 else "")


def _place(definition: Definition) -> str:
    return f"{definition.target.__module__}.{definition.target.__qualname__}"
