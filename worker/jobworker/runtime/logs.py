"""One event a line: for people as text with fields behind it, for machines as JSON.

Whatever is logged while a job runs here carries the job's id, class and queue.
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

_PLAIN = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}


def configure(log_format: Format, level: str) -> None:
    """Log to standard error from now on."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_Json() if log_format == "json" else _Text())
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)


def _fields(record: logging.LogRecord) -> dict[str, Any]:
    job = CURRENT.get()
    fields = {} if job is None else job.fields
    return {**fields, **{name: value for name, value in vars(record).items() if name not in _PLAIN}}


class _Text(logging.Formatter):
    @override
    def format(self, record: logging.LogRecord) -> str:
        stamp = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created))
        fields = "".join(f" {name}={_shown(value)}" for name, value in _fields(record).items() if value is not None)
        line = f"{stamp}.{int(record.msecs):03d}Z {record.levelname:<7} {record.getMessage()}{fields}"
        return line if not record.exc_info else f"{line}\n{self.formatException(record.exc_info)}"


class _Json(logging.Formatter):
    @override
    def format(self, record: logging.LogRecord) -> str:
        body: dict[str, Any] = {
            "time": time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created)) + f".{int(record.msecs):03d}Z",
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
            **_fields(record),
        }
        if record.exc_info:
            body["traceback"] = self.formatException(record.exc_info)
        return orjson.dumps(body, default=str, option=orjson.OPT_NON_STR_KEYS).decode()


def _shown(value: object) -> str:
    text = str(value)
    return orjson.dumps(text).decode() if not text or any(letter in text for letter in ' "=\n\r\t') else text
