"""One event a line: for people as text with fields behind it, for machines as JSON.

Whatever is logged while a job runs here carries the job's id, class and queue. No line grows with what a payload holds:
a class name or an error's text may be megabytes, and a log is for people.
"""

from __future__ import annotations

import logging
import sys
import time
from typing import TYPE_CHECKING, Any, Literal

import orjson

from jobworker.jobs.context import CURRENT

if TYPE_CHECKING:
    from typing_extensions import override
else:  # typing has it from Python 3.12 on

    def override(method):  # noqa: ANN001, ANN201, D103  # the checker sees the other one
        return method


Format = Literal["text", "json"]

_MESSAGE, _FIELD, _FRAME, _TRACEBACK = 10_000, 2_000, 2_000, 20_000  # characters kept of each
_PLAIN = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}


def configure(log_format: Format, level: str) -> None:
    """Log to standard error from now on."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_Json() if log_format == "json" else _Text())
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
    for library in ("asyncio", "redis"):  # their debug lines are about themselves, one for each connection
        logging.getLogger(library).setLevel(max(logging.INFO, logging.getLogger().level))


def _fields(record: logging.LogRecord) -> dict[str, Any]:
    job = CURRENT.get()
    fields = {} if job is None else job.fields
    return {**fields, **{name: value for name, value in vars(record).items() if name not in _PLAIN}}


class _Text(logging.Formatter):
    @override
    def format(self, record: logging.LogRecord) -> str:
        stamp = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created))
        fields = "".join(f" {name}={_shown(value)}" for name, value in _fields(record).items() if value is not None)
        line = (
            f"{stamp}.{int(record.msecs):03d}Z {record.levelname:<7} {_bounded(record.getMessage(), _MESSAGE)}{fields}"
        )
        return line if not record.exc_info else f"{line}\n{_bounded_lines(self.formatException(record.exc_info))}"


class _Json(logging.Formatter):
    @override
    def format(self, record: logging.LogRecord) -> str:
        body: dict[str, Any] = {
            "time": time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created)) + f".{int(record.msecs):03d}Z",
            "level": record.levelname,
            "logger": record.name,
            "message": _bounded(record.getMessage(), _MESSAGE),
            **{
                name: _bounded(value, _FIELD) if isinstance(value, str) else value
                for name, value in _fields(record).items()
            },
        }
        if record.exc_info:
            body["traceback"] = _bounded_lines(self.formatException(record.exc_info))
        return orjson.dumps(body, default=str, option=orjson.OPT_NON_STR_KEYS).decode()


def _shown(value: object) -> str:
    text = _bounded(str(value), _FIELD)
    return orjson.dumps(text).decode() if not text or any(letter in text for letter in ' "=\n\r\t') else text


def _bounded(text: str, longest: int) -> str:
    if len(text) > longest:
        text = f"{text[:longest]}… ({len(text)} characters)"
    # Half a surrogate pair, as a broken file yields, cannot be written: the whole line would be lost.
    return text if text.isascii() else text.encode("utf-8", "replace").decode("utf-8")


def _bounded_lines(text: str) -> str:
    text = "\n".join(_bounded(line, _FRAME) for line in text.split("\n"))
    if len(text) <= _TRACEBACK:
        return text
    # Where it began and what it was in the end; of a deep recursion the middle says nothing new.
    return f"{text[: _TRACEBACK // 2]}\n… ({len(text)} characters)\n{text[-_TRACEBACK // 2 :]}"
