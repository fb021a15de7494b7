"""All settings of the operator, each a flag and an environment variable, in one place."""

from __future__ import annotations

from dataclasses import dataclass

from jobworker_operator.runtime.logs import LogFormat


@dataclass(frozen=True, slots=True)
class Settings:
    """``namespaces`` empty means all of them. ``http_port`` 0 takes any free one."""

    namespaces: tuple[str, ...] = ()
    log_format: LogFormat = "text"
    http_port: int = 8080
    verbose: bool = False
    workers: int = 16
    resync_seconds: float = 300.0
    instance: str = ""

    @property
    def scopes(self) -> tuple[str | None, ...]:
        """What to list and watch: each namespace by itself, or all of them at once."""
        return self.namespaces or (None,)
