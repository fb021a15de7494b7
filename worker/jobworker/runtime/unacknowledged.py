"""What has ended in this worker and what Redis has not been told yet.

Each of these jobs is still held as far as Redis knows, so all of them count as the worker's load, and all of them are
written into the working set again if Redis loses its data.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice

from jobworker.protocol.places import Over
from jobworker.protocol.records import Entry, Finished, GivenBack, Number, Side


class Unacknowledged:
    """Jobs that went well by queue, others with what becomes of them, and jobs that go back to their queues.

    ``over`` are iterating jobs whose state may go once their end is acknowledged.
    """

    __slots__ = ("_entries", "_well", "back", "finished", "over")

    def __init__(self) -> None:
        self._well: dict[str, dict[Number, Entry]] = {}
        self._entries: dict[Number, Entry] = {}
        self.finished: list[Finished] = []
        self.back: list[GivenBack] = []
        self.over: dict[Number, Over] = {}

    def __len__(self) -> int:
        return len(self._entries) + sum(map(len, self._well.values()))

    @property
    def ends(self) -> int:
        """How many ended, well or not."""
        return len(self.finished) + sum(map(len, self._well.values()))

    def entries(self) -> Iterator[Entry]:
        """All of them as they were taken."""
        for entries in self._well.values():
            yield from entries.values()
        yield from self._entries.values()

    def went_well(self, entry: Entry) -> None:
        """The job is done."""
        try:
            self._well[entry.queue][entry.number] = entry
        except KeyError:
            self._well[entry.queue] = {entry.number: entry}

    def end(self, entry: Entry, finished: Finished) -> None:
        """The job has ended otherwise."""
        self._entries[entry.number] = entry
        self.finished.append(finished)

    def give_back(self, entry: Entry, side: Side = "front") -> None:
        """The job is to go back to its queue."""
        self._entries[entry.number] = entry
        self.back.append(GivenBack(entry.number, entry.queue, entry.payload, side))

    def batch(self, most: int) -> tuple[dict[str, list[Number]], list[Finished]]:
        """Up to ``most`` that went well of each queue, and up to ``most`` others, for one script call."""
        return {queue: list(islice(entries, most)) for queue, entries in self._well.items()}, self.finished[:most]

    def ends_told(self, well: dict[str, list[Number]], others: list[Finished]) -> None:
        """Redis knows the ends of a `batch`."""
        for queue, numbers in well.items():
            entries = self._well[queue]
            if len(numbers) == len(entries):
                del self._well[queue]
            else:
                for number in numbers:
                    del entries[number]
        del self.finished[: len(others)]
        for job in others:
            self._entries.pop(job.number, None)

    def given_back(self, jobs: list[GivenBack]) -> None:
        """Redis has the first of `back` again."""
        del self.back[: len(jobs)]
        for job in jobs:
            self._entries.pop(job.number, None)
