"""Ids that a job has done: sets of numbers as bitmaps, and what the worker knows of them between two checkpoints."""

from __future__ import annotations

import itertools
import tracemalloc
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobworker.iteration.done import DoneOfKind, Id
from jobworker.iteration.progress import JobProgress
from jobworker.protocol.number_sets import chunk_of, chunks_of, packed, runs, unpacked
from jobworker.protocol.records import DoneIds

NUMBERS = st.sets(st.integers(-(2**70), 2**70) | st.integers(-2000, 2000))


@given(NUMBERS)
def test_numbers_come_back_out_of_their_chunks_in_ranges(numbers: set[int]) -> None:
    read_back = {chunk: unpacked(raw) for chunk, raw in packed(chunks_of(numbers))}
    found = list(runs(read_back))
    assert [number for some in found for number in some] == sorted(numbers)
    assert all(before.stop < after.start for before, after in itertools.pairwise(found))


def test_a_sparse_number_takes_few_bytes_and_dense_ones_a_bit_each() -> None:
    assert sum(len(raw) for _, raw in packed(chunks_of([512 * 1000]))) == 1
    assert sum(len(raw) for _, raw in packed(chunks_of(range(512 * 100)))) == 64 * 100


class Books:
    """What lies in Redis, and which look-ups there were."""

    def __init__(self) -> None:
        self.chunks: dict[int, int] = {}
        self.texts: set[str] = set()
        self.looked_up = 0

    async def look_up(self, kind: str, chunks: Sequence[int], texts: Sequence[str]) -> tuple[list[int], list[bool]]:  # noqa: ARG002  # of one kind
        self.looked_up += 1
        return [self.chunks.get(chunk, 0) for chunk in chunks], [text in self.texts for text in texts]

    async def note_done(self, done: Sequence[DoneIds]) -> None:
        for each in done:
            for chunk, raw in each.numbers:
                self.chunks[chunk] = self.chunks.get(chunk, 0) | unpacked(raw)
            self.texts.update(each.texts)


IDS = st.integers(0, 3000) | st.sampled_from(["a", "b", "c", "12", "\ud800"])


@given(
    earlier=st.sets(IDS),
    steps=st.lists(st.tuples(st.sampled_from(["done", "write", "ask"]), st.lists(IDS, max_size=5)), max_size=30),
)
async def test_what_is_not_done_is_what_a_plain_set_says(earlier: set[Id], steps: list[tuple[str, list[Id]]]) -> None:
    with pytest.MonkeyPatch.context() as forgetful:
        forgetful.setattr("jobworker.iteration.done._CHUNKS_KNOWN", 2)
        forgetful.setattr("jobworker.iteration.done._TEXTS_KNOWN", 2)
        await compare_with_a_plain_set(earlier, steps)


async def compare_with_a_plain_set(earlier: set[Id], steps: list[tuple[str, list[Id]]]) -> None:
    books, before = Books(), DoneOfKind("item")
    before.note(earlier)
    await books.note_done([before.snapshot()])
    progress = JobProgress(done={"item": len(earlier)} if earlier else {}, ledger=books)
    model = set(earlier)
    for step, ids in steps:
        if step == "done":
            progress.done("item", *ids)
            model.update(ids)
        elif step == "write":
            snapshot = progress.snapshot()
            progress.done("item", *ids)  # while it travels
            model.update(ids)
            await books.note_done(snapshot.done)
            progress.written(snapshot)
        else:
            assert await progress.not_done("item", ids) == [each for each in ids if each not in model]
    rest = progress.snapshot()
    await books.note_done(rest.done)
    assert books.texts == {"?" if each == "\ud800" else each for each in model if isinstance(each, str)}
    assert books.chunks == chunks_of(each for each in model if isinstance(each, int))


async def test_kinds_do_not_know_each_others_ids_and_a_number_is_not_its_text() -> None:
    progress = JobProgress(ledger=Books())
    progress.done("item", 7, "x")
    asked: list[Id] = [7, "7", "x"]
    assert await progress.not_done("item", asked) == ["7"]
    assert await progress.not_done("user", asked) == asked
    assert progress.kinds == ("item", "user")


async def test_a_kind_that_began_empty_is_never_looked_up_and_another_once_for_neighbours() -> None:
    books = Books()
    books.chunks = dict(chunks_of(range(100)))
    fresh, resumed = JobProgress(ledger=books), JobProgress(done={"item": 100}, ledger=books)
    fresh.done("item", *range(1000))
    assert await fresh.not_done("item", range(1001)) == [1000]
    assert books.looked_up == 0
    for number in range(400):
        assert await resumed.is_done("item", number) is (number < 100)
    assert books.looked_up == 1


@pytest.mark.parametrize("bad", [True, 1.5, None, b"x", (1,)])
async def test_what_is_no_id_is_refused_by_name(bad: Any) -> None:
    progress = JobProgress(ledger=Books())
    with pytest.raises(TypeError, match=r"cannot be an id of the kind 'item'.*write others as text"):
        progress.done("item", bad)
    with pytest.raises(TypeError, match="cannot be an id"):
        await progress.not_done("item", [bad])


async def test_plain_question_on_the_event_loop_is_refused_instead_of_waiting_for_ever() -> None:
    progress = JobProgress(ledger=Books())
    with pytest.raises(RuntimeError, match="await the method whose name has no _sync"):
        progress.is_done_sync("item", 7)


async def test_many_unwritten_ids_ask_for_a_checkpoint() -> None:
    pressed: list[int] = []
    progress = JobProgress(ledger=Books(), press=lambda: pressed.append(1))
    progress.done("item", *(f"text-{n}" for n in range(9_999)))
    assert not pressed
    progress.done("item", "one more")
    assert pressed


def test_ten_million_dense_rows_and_a_million_texts_stay_within_a_few_megabytes() -> None:
    tracemalloc.start()
    try:
        numbers, texts = DoneOfKind("row"), DoneOfKind("text")
        for first in range(0, 10_000_000, 100_000):
            numbers.note(range(first, first + 100_000, 10))  # a tenth of them: every chunk is touched
            numbers.written(numbers.snapshot())
        for first in range(0, 100_000, 10_000):
            texts.note(f"{n:032x}" for n in range(first, first + 10_000))
            texts.written(texts.snapshot())
        held, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert held < 6_000_000
    assert numbers.unwritten == texts.unwritten == 0
    assert chunk_of(9_999_999)[0] == 19_531


def test_rate_is_smoothed_and_says_nothing_of_a_moment() -> None:
    progress = JobProgress()
    progress.measure(100.0)
    assert progress.rate is None
    progress.processed = 1_000
    progress.measure(100.01)
    assert progress.rate is None
    progress.measure(110.0)
    assert progress.rate == pytest.approx(100.0)
    progress.processed = 1_000 + 20
    progress.measure(111.0)
    assert progress.rate == pytest.approx(100.0 - 80 * 0.0328, rel=0.01)
    resumed = JobProgress(1_020, rate=97.0)
    resumed.measure(5.0)
    resumed.measure(5.0 + 1e6)
    assert resumed.rate == pytest.approx(0.0, abs=1e-6)
