"""What an iterating job has done so far: counts, numbers of rows, and what was wrong with which row.

Collected in memory between two checkpoints and written together with the cursor in one step, so that after a crash
both tell the same story. Bounded: of a million wrong rows all are counted, and the first ten thousand are explained.
"""

from __future__ import annotations

from collections.abc import Mapping

from jobworker.protocol.records import Progress

ROWS_EXPLAINED = 10_000
"""Rows of a job whose messages are kept; further rows with errors are only counted."""

_MESSAGES = 100  # of one row
_LENGTH = 1_000  # characters of one message


class JobProgress:
    """The progress of one run of an iterating job. Rows are numbered from 1 in the order of the enumerator.

    ``total`` may be set by the job where its enumerator does not know it.
    """

    __slots__ = ("_errors", "_failed", "_last", "_touched", "_unwritten", "processed", "total")

    def __init__(
        self, processed: int = 0, failed: int = 0, errors: Mapping[int, tuple[str, ...]] | None = None
    ) -> None:
        self.processed = processed
        self.total: int | None = None
        self._errors: dict[int, list[str]] = {row: list(known) for row, known in (errors or {}).items()}
        self._failed = max(failed, len(self._errors))
        self._last = processed  # the highest row that was counted without being explained, or could have been
        self._touched: set[int] = set()
        self._unwritten = processed + 1

    @property
    def row(self) -> int:
        """The number of the row that is being processed."""
        return self.processed + 1

    @property
    def failed(self) -> int:
        """How many rows have errors."""
        return self._failed

    def error(self, *messages: str) -> None:
        """Note what is wrong with the row that is being processed; once for each thing that is."""
        self.fail(self.row, *messages)

    def fail(self, row: int, *messages: str) -> None:
        """Note what is wrong with a row: up to a hundred messages of a thousand characters.

        Once `ROWS_EXPLAINED` rows have messages, a further row is counted and its messages are dropped.

        Raises:
            ValueError: no message, or a row that was not reached yet.
        """
        if not messages:
            raise ValueError(f"row {row}: say what is wrong with it")
        if not 1 <= row <= self.row:
            raise ValueError(f"row {row} is not among the rows 1 to {self.row} that were reached so far")
        known = self._errors.get(row)
        if known is None:
            if len(self._errors) >= ROWS_EXPLAINED:
                # Who is not remembered can only be told from the others by coming later.
                self._failed += row > self._last
                self._last = max(self._last, row)
                return
            known = self._errors[row] = []
            self._failed += 1
        # After a crash the rows since the last checkpoint are walked again: the same message is the same error.
        known += [message for message in map(_kept, messages) if message not in known][: max(0, _MESSAGES - len(known))]
        self._touched.add(row)

    def advance(self) -> None:
        """The row is done."""
        self.processed += 1

    def snapshot(self) -> Progress:
        """What the next checkpoint writes; `written` is called when it was."""
        return Progress(
            processed=self.processed,
            failed=self.failed,
            total=self.total,
            rows=tuple(range(self._unwritten, self.processed + 1)),
            errors=tuple((row, tuple(self._errors[row])) for row in sorted(self._touched)),
        )

    def written(self, snapshot: Progress) -> None:
        """Redis has it."""
        self._unwritten = snapshot.processed + 1
        # A row that got another message while the snapshot travelled stays for the next one.
        self._touched -= {row for row, messages in snapshot.errors if len(self._errors[row]) == len(messages)}


def _kept(message: str) -> str:
    # Half a surrogate pair, as a broken file yields, would keep every further checkpoint from being written.
    return message[:_LENGTH].encode("utf-8", "replace").decode("utf-8")
