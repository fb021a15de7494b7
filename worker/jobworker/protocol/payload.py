"""Sidekiq's job payload: the JSON object that lies on a queue.

Unknown fields travel untouched. Times are float seconds up to Sidekiq 7 and integer milliseconds from 8 on; both
are read. Who makes a job decides which is written (float seconds unless asked otherwise, since Sidekiq 8 reads them
as well), and who retries or moves it goes on with that (Sidekiq's ``job_util.rb`` and ``job_record.rb``).
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal, NewType

import orjson

from jobworker.errors import ArgumentsNotJSON, MalformedPayload

JobId = NewType("JobId", str)
TimeFormat = Literal["seconds", "milliseconds"]

_EXCERPT = 80  # characters of a bad payload shown in a message
_ERROR_MESSAGE = 10_000  # characters; Sidekiq's own bound for error_message


@dataclass(slots=True)
class Payload:
    """A job as it travels. A value, never changed; not frozen, since a frozen one takes a worker three times as long.

    ``retry`` is True (25 tries), False (none, not kept) or a number of tries. ``extra`` holds every other field
    of the JSON object as it was read: retry counts, times, tags, options of features.
    """

    job_class: str
    args: Sequence[Any]
    jid: JobId
    queue: str = "default"
    retry: bool | int = True
    extra: Mapping[str, Any] = field(default_factory=dict)

    def to_json(self) -> bytes:
        """The bytes that lie on a queue.

        Raises:
            ArgumentsNotJSON: an argument is of a type that JSON cannot carry, or nested deeper than can be written.
                The latter can be *read*, up to four times as deep: whoever writes a foreign job back must expect it.
        """
        body = {
            **self.extra,
            "class": self.job_class,
            "args": self.args,
            "jid": self.jid,
            "queue": self.queue,
            "retry": self.retry,
        }
        try:
            return orjson.dumps(body, option=orjson.OPT_PASSTHROUGH_DATETIME | orjson.OPT_PASSTHROUGH_DATACLASS)
        except orjson.JSONEncodeError as error:
            raise ArgumentsNotJSON(
                f"{self.job_class}: the arguments cannot be written as JSON ({error}); "
                "pass ids, strings, numbers, lists or objects with string keys"
            ) from error

    def fetched_from(self, queue: str) -> Payload:
        """The job as one of this queue, in which it was found: what it says of itself may be none that anybody takes.

        A foreign producer may leave ``queue`` out, or name another one (Sidekiq's ``job_retry.rb``).
        """
        return self if self.queue == queue else replace(self, queue=queue)

    def with_fields(self, **changes: Any) -> Payload:
        """A copy with fields of ``extra`` set."""
        return replace(self, extra={**self.extra, **changes})

    @property
    def time_format(self) -> TimeFormat:
        """How the times of this job are written: as whoever made it wrote the first one."""
        made = self.extra.get("created_at", self.extra.get("enqueued_at"))
        return "milliseconds" if isinstance(made, int) and not isinstance(made, bool) else "seconds"

    def time(self, seconds: float) -> float | int:
        """``seconds`` since the epoch in the format of this job's other times: no Sidekiq finds two in one payload."""
        return timestamp(seconds, self.time_format)

    @property
    def enqueued_at(self) -> float | None:
        """Epoch seconds at which the job went onto its queue; None for one that never did."""
        return seconds_of(self.extra.get("enqueued_at"))

    @property
    def retry_count(self) -> int | None:
        """0 after the first failure; None before it, and for a count that no Sidekiq writes."""
        count = self.extra.get("retry_count")
        return count if isinstance(count, int) and not isinstance(count, bool) and count >= 0 else None


def new(  # a job's fields are its arguments
    job_class: str,
    args: Sequence[Any],
    *,
    queue: str,
    now: float,
    retry: bool | int = True,
    time_format: TimeFormat = "seconds",
) -> Payload:
    """A job that has never run, with a random jid of 24 hexadecimal digits as Sidekiq's; ``now`` in epoch seconds."""
    return Payload(
        job_class=job_class,
        args=list(args),
        jid=JobId(secrets.token_hex(12)),
        queue=queue,
        retry=retry,
        extra={"created_at": timestamp(now, time_format)},
    )


def parse(raw: bytes) -> Payload:
    """Read a payload. Integers of more than 64 bits, which our client refuses, arrive as floats.

    Raises:
        MalformedPayload: not JSON, not an object, or without a class name, arguments and jid of the right type.
    """
    try:
        body = orjson.loads(raw)
    except orjson.JSONDecodeError as error:
        raise MalformedPayload(f"the payload is not JSON ({error}): {_excerpt(raw)}") from error
    if not isinstance(body, dict):
        raise MalformedPayload(f"the payload is not a JSON object: {_excerpt(raw)}")
    # What is left of the body is `extra`: one dictionary for each job, not two.
    job_class, args, jid = body.pop("class", None), body.pop("args", None), body.pop("jid", None)
    if not isinstance(job_class, str) or not job_class:
        raise MalformedPayload(f"the payload has no class name: {_excerpt(raw)}")
    if not isinstance(args, list):
        raise MalformedPayload(f"the arguments of {job_class} are not a list: {_excerpt(raw)}")
    if not isinstance(jid, str) or not jid:
        raise MalformedPayload(f"{job_class} has no jid: {_excerpt(raw)}")
    queue, retry = body.pop("queue", "default"), body.pop("retry", True)
    if not isinstance(queue, str) or not isinstance(retry, int):  # True and False are ints
        raise MalformedPayload(f"queue or retry of {job_class} have a wrong type: {_excerpt(raw)}")
    return Payload(job_class, args, jid, queue, retry, body)  # type: ignore[arg-type]  # JobId(jid) is a call for each job


def timestamp(seconds: float, time_format: TimeFormat = "seconds") -> float | int:
    """``seconds`` since the epoch as Sidekiq ≤ 7 (float seconds) or ≥ 8 (integer milliseconds) writes it."""
    return float(seconds) if time_format == "seconds" else round(seconds * 1000)


def seconds_of(value: object) -> float | None:
    """Epoch seconds of a time in either format; None for anything that is no time.

    Sidekiq tells them apart by JSON type: an integer is milliseconds, a float is seconds.
    """
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return value / 1000 if isinstance(value, int) else value


def error_message(error: BaseException) -> str:
    """What the payload keeps of an error's text: at most 10,000 characters, as Sidekiq does."""
    try:
        text = str(error)
    except Exception as broken:  # noqa: BLE001  # a user's __str__ may raise anything; the job must be kept all the same
        text = f"{type(error).__name__} whose own text raised {type(broken).__name__}"
    return text.encode("utf-8", "replace").decode("utf-8")[:_ERROR_MESSAGE]


def _excerpt(raw: bytes) -> str:
    shown = raw[:_EXCERPT].decode("utf-8", "backslashreplace")
    return repr(shown + ("…" if len(raw) > _EXCERPT else ""))
