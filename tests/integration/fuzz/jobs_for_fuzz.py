"""The application that the fuzzed payloads name: each job notes its jid in a file that no payload can reach."""

from __future__ import annotations

import os

from jobworker import App, IteratingJob, context, list_items

app = App()
_notes = os.open(os.environ["FUZZ_NOTES"], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)


def _ran() -> None:
    os.write(_notes, context().jid.encode("utf-8", "replace")[:100] + b"\n")


@app.job(queue="fuzz")
async def note(*values: object) -> None:  # whatever comes
    _ran()


@app.job(queue="fuzz")
def plain(*values: object) -> None:  # whatever comes
    _ran()


@app.job(queue="fuzz")
def two(first: object, second: object) -> None:  # their number is what counts
    _ran()


@app.job(queue="fuzz")
async def fails(*values: object) -> None:
    raise ValueError(values)


@app.job(queue="fuzz")
class Items(IteratingJob):
    """As many items as the payload says."""

    def build_enumerator(self, number: int, *, cursor: int | None) -> list_items[int]:
        return list_items(range(number), cursor)

    async def each_iteration(self, item: int, number: int) -> None:
        """An item that is done."""

    def on_complete(self) -> None:
        _ran()
