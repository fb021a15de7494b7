"""Epoch seconds to and from the text that Kubernetes writes."""

from __future__ import annotations

from datetime import UTC, datetime


def from_rfc3339(text: object) -> float | None:
    """Epoch seconds, or None for what is no time."""
    if not isinstance(text, str):
        return None
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        return None
    return (at if at.tzinfo else at.replace(tzinfo=UTC)).timestamp()


def to_rfc3339(at: float) -> str:
    """Whole seconds, as metav1.Time has them."""
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def clock(at: float) -> str:
    """A time of day for a sentence: it stays the same while it is true, as an age would not."""
    return datetime.fromtimestamp(at, UTC).strftime("%H:%M:%S UTC")
