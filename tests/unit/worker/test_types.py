"""What the type checker says to somebody who enqueues wrong arguments: mypy is run on a page of such lines."""

from __future__ import annotations

import re
from pathlib import Path

from mypy import api

_ROOT = Path(__file__).parents[3]

PAGE = """
from jobworker import App, ExportingJob, IteratingJob, S3Bucket, list_items

app = App()


@app.job
async def welcome(user_id: int) -> None: ...


@app.job(queue="mails")
def mail(to: str, copies: int = 1) -> None: ...


@app.job
def clean() -> None: ...


@app.job
def tag(user_id: int, *tags: str) -> None: ...


@app.job
class Import(IteratingJob):
    def build_enumerator(self, path: str, sheet: int = 0, *, cursor: int | None) -> list_items[int]:
        return list_items([1], cursor)

    def each_iteration(self, item: int, path: str, sheet: int = 0) -> None: ...


@app.job
class Export(ExportingJob):
    destination = S3Bucket("reports")

    def build_enumerator(self, month: str, top: int = 0, *, cursor: int | None) -> list_items[int]:
        return list_items([1], cursor)

    def row(self, item: int, month: str, top: int = 0) -> list[int]:
        return [item]


async def enqueue() -> None:
    await welcome.enqueue(7)
    await welcome.enqueue(user_id=7)
    await welcome.enqueue("7")  # wrong
    await welcome.enqueue()  # wrong
    await welcome.enqueue(user=7)  # wrong
    await welcome.schedule(60, 7)
    await welcome.schedule("60", 7)  # wrong
    await welcome.schedule(60, "7")  # wrong
    await welcome.enqueue_many([(1,), (2,)])
    await welcome.enqueue_many((number,) for number in range(3))
    await welcome.enqueue_many([("7",)])  # wrong
    await welcome.enqueue_many([(7, 8)])  # wrong
    await welcome.enqueue_many([()])  # wrong
    await welcome.enqueue_many((str(number),) for number in range(3))  # wrong
    await welcome.enqueue_many([7])  # wrong
    await mail.enqueue_many([("a", 2), ("b", 3)])
    await mail.enqueue_many([("a",), ("b",)])
    await mail.enqueue_many((name,) for name in "ab")
    await mail.enqueue_many([("a", "b")])  # wrong
    await mail.enqueue_many([()])  # wrong
    await clean.enqueue_many([(), ()])
    await clean.enqueue_many([(1,)])  # wrong
    await tag.enqueue_many([(1,), (2,)])
    await tag.enqueue_many([(1, "a", "b")])
    await tag.enqueue_many([(1, 2)])  # wrong
    await Import.enqueue("/a.csv")
    await Import.enqueue(7)  # wrong
    await Import.enqueue_many([("/a.csv",), ("/b.csv",)])
    await Import.enqueue_many([("/a.csv", 1)])
    await Import.enqueue_many([(7,)])  # wrong
    await Import.enqueue_many([()])  # wrong
    await Export.enqueue("2026-11", top=3)
    await Export.enqueue(11)  # wrong
    await Export.schedule(60, "2026-11", "3")  # wrong
    await Export.enqueue_many([("2026-11",), ("2026-12",)])
    await Export.enqueue_many([("2026-11", "3")])  # wrong


def enqueue_in_plain_code() -> None:
    jid: str = mail.enqueue_sync("a", copies=2)
    mail.enqueue_sync("a", copies="2")  # wrong
    jids: list[str] = list(mail.enqueue_many_sync([("a", 2)]))
    mail.enqueue_many_sync([("a", "2")])  # wrong
    Import.enqueue_many_sync([("/a.csv",)])
    Import.enqueue_many_sync([(7,)])  # wrong
    Import.schedule_sync(60, 7)  # wrong
    Export.enqueue_sync()  # wrong
    Export.enqueue_many_sync([(11,)])  # wrong
    Export.schedule_sync(60, "2026-11")
    mail("a", 2)
    mail(7)  # wrong
"""


def test_wrong_arguments_are_type_errors_and_right_ones_are_not(tmp_path: Path) -> None:
    page = tmp_path / "page.py"
    page.write_text(PAGE)
    said, broken, _ = api.run(["--config-file", str(_ROOT / "pyproject.toml"), "--no-incremental", str(page)])
    assert not broken
    errors = {int(number): text for number, text in re.findall(r"page\.py:(\d+): error: (.*)", said)}
    lines = dict(enumerate(PAGE.splitlines(), 1))
    wrong = {number for number, line in lines.items() if line.endswith("# wrong")}
    assert {lines[number].strip(): text for number, text in errors.items() if number not in wrong} == {}
    assert [lines[number].strip() for number in sorted(wrong - errors.keys())] == []
