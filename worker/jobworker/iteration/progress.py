"""What an iterating job has done so far: counts, numbers of rows, and what was wrong with which row.

Collected in memory between two checkpoints and written together with the cursor in one step, so that after a crash
both tell the same story.
"""

from __future__ import annotations

from collections.abc import Mapping

from jobworker.protocol.records import Progress


class JobProgress:
    """The progress of one run of an iterating job. Rows are numbered from 1 in the order of the enumerator.

    ``total`` may be set by the job where its enumerator does not know it.
    """

    __slots__ = ("_errors", "_failed", "_touched", "_unwritten", "processed", "total")

    def __init__(self, processed: int = 0, errors: Mapping[int, tuple[str, ...]] | None = None) -> None:
        self.processed = processed
        self.total: int | None = None
        self._errors: dict[int, list[str]] = {row: list(known) for row, known in (errors or {}).items()}
        self._touched: set[int] = set()
        self._unwritten = processed + 1

    @property
    def row(self) -> int:
        """The number of the row that is being processed."""
        return self.processed + 1

    @property
    def failed(self) -> int:
        """How many rows have errors."""
        return len(self._errors)

    def error(self, *messages: str) -> None:
        """Note what is wrong with the row that is being processed; once for each thing that is."""
        self.fail(self.row, *messages)

    def fail(self, row: int, *messages: str) -> None:
        """Note what is wrong with a row.

        Raises:
            ValueError: no message, or a row that was not reached yet.
        """
        if not messages:
            raise ValueError(f"row {row}: say what is wrong with it")
        if not 1 <= row <= self.row:
            raise ValueError(f"row {row} is not among the rows 1 to {self.row} that were reached so far")
        known = self._errors.setdefault(row, [])
        # After a crash the rows since the last checkpoint are walked again: the same message is the same error.
        known += [message for message in messages if message not in known]
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
