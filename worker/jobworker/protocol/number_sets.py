"""Sets of whole numbers as bitmaps: dense ones cost a bit each, and sparse ones no more than a set of texts would.

A set is cut into chunks of 512 numbers. In Redis it is one HASH, chunk → bits with the lowest first, without the zero
bytes behind the last one; `lua/_merge.lua` joins chunks to it. In memory it is a dict of integers.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

WIDTH = 512

Chunks = tuple[tuple[int, bytes], ...]


def chunk_of(number: int) -> tuple[int, int]:
    """The chunk of a number, and its bit in there."""
    return number >> 9, 1 << (number & 511)


def chunks_of(numbers: Iterable[int]) -> dict[int, int]:
    """The numbers as chunk → bits."""
    chunks: dict[int, int] = {}
    for number in numbers:
        chunk, bit = chunk_of(number)
        chunks[chunk] = chunks.get(chunk, 0) | bit
    return chunks


def packed(chunks: Mapping[int, int]) -> Chunks:
    """Chunks as they are written, in their order."""
    return tuple((chunk, bits.to_bytes(WIDTH // 8, "little").rstrip(b"\0")) for chunk, bits in sorted(chunks.items()))


def unpacked(raw: bytes | None) -> int:
    """The bits of a chunk as it was read; none where it is not there."""
    return int.from_bytes(raw or b"", "little")


def join(into: dict[int, int], chunks: Chunks) -> None:
    """Add chunks as they are written."""
    for chunk, raw in chunks:
        into[chunk] = into.get(chunk, 0) | unpacked(raw)


def runs(chunks: Mapping[int, int]) -> Iterator[range]:
    """The numbers in ascending order, those that follow each other as one range."""
    start = stop = None
    for chunk in sorted(chunks):
        at, bits = chunk * WIDTH, chunks[chunk]
        while bits:
            zeros = (bits & -bits).bit_length() - 1
            at, bits = at + zeros, bits >> zeros
            ones = (~bits & (bits + 1)).bit_length() - 1
            if stop == at:
                stop = at + ones
            else:
                if start is not None and stop is not None:
                    yield range(start, stop)
                start, stop = at, at + ones
            at, bits = at + ones, bits >> ones
    if start is not None and stop is not None:
        yield range(start, stop)
