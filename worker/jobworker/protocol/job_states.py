"""Where an iterating job is, and how that is found out: by its own keys, or else by its payload in one of the sets."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from enum import Enum

from jobworker.errors import MalformedPayload
from jobworker.protocol import payload as payloads
from jobworker.protocol.keys import Keys
from jobworker.protocol.payload import JobId
from jobworker.protocol.records import WorkerId
from jobworker.protocol.steps import Command, Steps

_SCANNED = 1_000  # payloads in one crossing


class JobState(Enum):
    """Where an iterating job is."""

    WAITING = "waiting"
    """In a queue, or on its way there; split, for its slices."""
    RUNNING = "running"
    PAUSED = "paused"
    RETRYING = "retrying"
    """It failed, and waits for its next try."""
    CANCELLED = "cancelled"
    DONE = "done"
    FAILED = "failed"
    """In the dead set."""

    @property
    def over(self) -> bool:
        """Will it do no more, unless somebody retries it?"""
        return self in {JobState.CANCELLED, JobState.DONE, JobState.FAILED}


def ended_as(counts: Mapping[bytes, bytes]) -> JobState | None:
    """How the job ended, by its progress; None if it did not."""
    end = counts.get(b"end")
    if end is None:
        return None
    return JobState.CANCELLED if end == b"cancelled" else JobState.DONE


def holding(keys: Keys, counts: Mapping[bytes, bytes]) -> Command:
    """Asks for the entry that was the job's when its last run began: see `holds`."""
    worker = WorkerId(counts.get(b"worker", b"").decode("utf-8", "replace"))
    return ("HGET", keys.working(worker), counts.get(b"number", b""))


def holds(entry: bytes | None, jid: str) -> bool:
    """Is it this job's? A worker's next process counts its entries from 1 again."""
    return entry is not None and _jid(entry.partition(b"\n")[2]) == jid


def found_in_sets(keys: Keys, text: str, jids: Collection[str]) -> Steps[dict[JobId, JobState]]:
    """Which of the jobs lie in the retry set or the dead set; their payloads have ``text`` in them."""
    # JSON may write other characters in many ways; these are found as they are.
    choice = ("MATCH", f"*{text}*") if text.isascii() and text.replace("-", "").isalnum() else ()
    found: dict[JobId, JobState] = {}
    for key, state in ((keys.dead, JobState.FAILED), (keys.retry, JobState.RETRYING)):
        cursor = 0
        while True:
            ((cursor, entries),) = yield [("ZSCAN", key, cursor, *choice, "COUNT", _SCANNED)]
            for raw, _ in entries:
                jid = _jid(raw)
                if jid in jids:
                    found[jid] = state
            if not cursor:
                break
    return found


def _jid(raw: bytes) -> JobId:
    try:
        return payloads.parse(raw).jid
    except MalformedPayload:
        return JobId("")
