"""A clock that stands still until a test moves it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta


class FakeClock:
    """Begins at ``now``, a time with a zone, by default the real time. It never moves by itself, and never back.

    Raises:
        ValueError: ``now`` has no zone.
    """

    def __init__(self, now: datetime | None = None) -> None:
        self._now = datetime.now(UTC) if now is None else _zoned(now)

    @property
    def now(self) -> datetime:
        """The time in UTC."""
        return self._now

    @property
    def seconds(self) -> float:
        """The time in seconds since the epoch."""
        return self._now.timestamp()

    def advance(self, *, days: float = 0, hours: float = 0, minutes: float = 0, seconds: float = 0) -> None:
        """Let so much time pass. Nothing runs by that alone: `Jobs.advance` also runs what falls due.

        Raises:
            ValueError: the sum is negative.
        """
        self.move_to(self._now + timedelta(days=days, hours=hours, minutes=minutes, seconds=seconds))

    def move_to(self, time: datetime) -> None:
        """Let the time pass until then.

        Raises:
            ValueError: it lies in the past, or has no zone.
        """
        if _zoned(time) < self._now:
            raise ValueError(
                f"the clock stands at {self._now.isoformat()} and never goes back, as to {time.isoformat()}"
            )
        self._now = _zoned(time)


def _zoned(time: datetime) -> datetime:
    if time.tzinfo is None:
        raise ValueError(f"{time} has no time zone; pass datetime(…, tzinfo=UTC)")
    return time.astimezone(UTC)
