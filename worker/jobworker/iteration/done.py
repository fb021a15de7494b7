"""Which ids a job has done, of one kind: what it noted and nobody wrote yet, and what it knows of the rest.

Bounded: of numbers it knows some thousand chunks, of texts some thousand; what it forgot is looked up in Redis. A kind
that was empty at the beginning, and of which nothing was forgotten yet, is known as a whole and never looked up.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Sequence
from typing import TypeVar

from jobworker.protocol.number_sets import chunk_of, packed, unpacked
from jobworker.protocol.records import DoneIds

Id = int | str
T = TypeVar("T", bound=int | str)

_CHUNKS_KNOWN = 4_096  # two million dense numbers
_TEXTS_KNOWN = 10_000


class DoneOfKind:
    """``written`` is how many there were before this run. May be used from the job's thread and the loop's alike."""

    __slots__ = ("_chunks", "_lock", "_new_chunks", "_new_texts", "_texts", "_whole", "kind")

    def __init__(self, kind: str, written: int = 0) -> None:
        self.kind = kind
        self._whole = written == 0
        self._lock = threading.Lock()
        self._chunks: dict[int, int] = {}
        self._texts: dict[str, bool] = {}
        self._new_chunks: dict[int, int] = {}
        self._new_texts: dict[str, None] = {}  # in their order

    @property
    def unwritten(self) -> int:
        """How much there is to write."""
        return len(self._new_chunks) + len(self._new_texts)

    def note(self, ids: Iterable[Id]) -> None:
        """They are done.

        Raises:
            TypeError: an id is neither a whole number nor a text.
        """
        found = [self._checked(each) for each in ids]
        with self._lock:
            for each in found:
                if isinstance(each, str):
                    self._note_text(each)
                else:
                    self._note_number(each)
            self._forget()

    def _note_text(self, text: str) -> None:
        if self._texts.get(text):
            return
        self._texts[text] = True
        self._new_texts[text] = None

    def _note_number(self, number: int) -> None:
        chunk, bit = chunk_of(number)
        known = self._chunks.get(chunk, 0 if self._whole else None)
        if known is not None:
            if known & bit:
                return
            self._chunks[chunk] = known | bit
        self._new_chunks[chunk] = self._new_chunks.get(chunk, 0) | bit

    def _forget(self) -> None:
        while len(self._chunks) > _CHUNKS_KNOWN:
            self._whole = False
            del self._chunks[next(iter(self._chunks))]
        while len(self._texts) > _TEXTS_KNOWN:
            self._whole = False
            del self._texts[next(iter(self._texts))]

    def unknown(self, ids: Iterable[Id]) -> tuple[list[int], list[str]]:
        """The chunks and texts that have to be looked up before it can be told which of the ids are done."""
        with self._lock:
            return self._unknown([self._checked(each) for each in ids])

    def _unknown(self, ids: Iterable[Id]) -> tuple[list[int], list[str]]:
        chunks: dict[int, None] = {}
        texts: dict[str, None] = {}
        if not self._whole:
            for each in ids:
                if isinstance(each, str):
                    if each not in self._texts and each not in self._new_texts:
                        texts[each] = None
                elif (chunk := chunk_of(each)[0]) not in self._chunks:
                    chunks[chunk] = None
        return list(chunks), list(texts)

    def learn(self, chunks: Sequence[int], bits: Sequence[int], texts: Sequence[str], known: Sequence[bool]) -> None:
        """What Redis has of them."""
        with self._lock:
            for chunk, found in zip(chunks, bits, strict=True):
                self._chunks[chunk] = found | self._new_chunks.get(chunk, 0)
            for text, done in zip(texts, known, strict=True):
                self._texts[text] = done or text in self._new_texts

    def which_are_not(self, ids: Sequence[T]) -> list[T] | None:
        """Those of the ids that are not done, in their order; None if some have to be looked up first."""
        checked = [self._checked(each) for each in ids]
        with self._lock:
            if any(self._unknown(checked)):
                return None
            found = [each for each, known in zip(ids, checked, strict=True) if not self._is_done(known)]
            self._forget()
        return found

    def _is_done(self, each: Id) -> bool:
        if isinstance(each, str):
            return self._texts.get(each, False) or each in self._new_texts
        chunk, bit = chunk_of(each)
        return bool((self._chunks.get(chunk, 0) | self._new_chunks.get(chunk, 0)) & bit)

    def snapshot(self) -> DoneIds:
        """What is to be written; `written` is called when it was."""
        with self._lock:
            return DoneIds(self.kind, packed(self._new_chunks), tuple(self._new_texts))

    def written(self, snapshot: DoneIds) -> None:
        """Redis has it."""
        with self._lock:
            for chunk, raw in snapshot.numbers:
                left = self._new_chunks.get(chunk, 0) & ~unpacked(raw)
                if left:
                    self._new_chunks[chunk] = left
                else:
                    self._new_chunks.pop(chunk, None)
            for text in snapshot.texts:
                self._new_texts.pop(text, None)

    def _checked(self, each: Id) -> Id:
        if isinstance(each, bool) or not isinstance(each, int | str):
            raise TypeError(
                f"{each!r} cannot be an id of the kind {self.kind!r}: ids are whole numbers or texts; "
                "write others as text, as str(id)"
            )
        # Half a surrogate pair cannot travel.
        return each if isinstance(each, int) else each.encode("utf-8", "replace").decode("utf-8")
