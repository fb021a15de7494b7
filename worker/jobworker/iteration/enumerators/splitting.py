"""Where files can be cut into ranges of bytes, for the slices of a parallel job."""

from __future__ import annotations

from bisect import bisect_left

from jobworker.iteration.enumerators.byte_lines import Lines, Source

_MOST_ENDS = 8_192  # ends of rows that are remembered: twice as far apart from each other whenever there are more


class _RowEnds:
    """Finds ends of rows in blocks of bytes: line feeds behind an even number of quotation marks."""

    def __init__(self) -> None:
        self.ends: list[int] = []
        self.size = 0
        self._quoted = 0
        self._apart = 1
        self._from = 0  # where to look for the next end

    def feed(self, block: bytes) -> None:
        """The next bytes of the file."""
        at = 0
        while at < len(block):
            if self.size + at < self._from:
                to = min(len(block), self._from - self.size)
            else:
                to = block.find(b"\n", at) + 1 or len(block)
            self._quoted ^= block.count(b'"', at, to) & 1
            at = to
            if self.size + at > self._from and not self._quoted and block[at - 1 : at] == b"\n":
                self._found(self.size + at)
        self.size += len(block)

    def _found(self, end: int) -> None:
        self.ends.append(end)
        if len(self.ends) > _MOST_ENDS:
            self._apart *= 2
            # The first one is the header's.
            self.ends = [self.ends[0], *self.ends[2::2]]
        self._from = end + self._apart - 1


def split_csv(source: Source, parts: int) -> list[list[int]]:
    """A file of CSV as up to ``parts`` ranges of bytes [start, stop] of about the same size.

    They are for ``between`` of `csv_rows`. The file is read once and closed. It must have a header, and cells with a
    quotation mark in them must be quoted.

    Raises:
        ValueError: less than one part.
    """
    if parts < 1:
        raise ValueError(f"{parts} parts: there must be at least one")
    found = _RowEnds()
    with Lines(source) as lines:
        for block in lines.blocks():
            found.feed(block)
    if not found.size:
        return []
    ends, begin = found.ends, found.ends[0] if found.ends else 0
    edges = [0]
    for part in range(1, parts):
        place = bisect_left(ends, begin + (found.size - begin) * part // parts)
        if place < len(ends) and max(begin, edges[-1]) < ends[place] < found.size:
            edges.append(ends[place])
    return [[start, stop] for start, stop in zip(edges, [*edges[1:], found.size], strict=True)]
