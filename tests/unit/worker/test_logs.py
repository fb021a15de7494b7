"""What a line of the log may hold: whatever jobs and payloads bring, it stays a line that people can read."""

from __future__ import annotations

import logging

import orjson
import pytest

from jobworker.runtime.logs import _Json, _Text

HUGE = "A" * 10_000_000


def record(message: str, error: BaseException | None = None, **fields: object) -> logging.LogRecord:
    trace = None if error is None else (type(error), raised(error), error.__traceback__)
    made = logging.LogRecord("jobworker", logging.ERROR, __file__, 1, message, None, trace)
    vars(made).update(fields)
    return made


def raised(error: BaseException) -> BaseException:
    with pytest.raises(type(error)):
        raise error
    return error


@pytest.mark.parametrize("formatter", [_Text(), _Json()], ids=["text", "json"])
class TestFormats:
    def test_huge_message_field_and_error_are_shortened_and_their_length_told(
        self, formatter: logging.Formatter
    ) -> None:
        line = formatter.format(record(HUGE, ValueError(HUGE), job=HUGE))
        assert len(line) < 40_000
        assert line.count("(10000000 characters)") == 2, "message and field"
        assert "ValueError: AAAA" in line

    def test_half_a_surrogate_pair_does_not_cost_the_line(self, formatter: logging.Formatter) -> None:
        line = formatter.format(record("half \ud800", ValueError("half \ud800"), job="half \ud800"))
        assert line.encode().count(b"half ?") >= 3

    def test_what_is_short_is_left_alone(self, formatter: logging.Formatter) -> None:
        assert "grüße 😀" in formatter.format(record("grüße 😀", number=7))


def test_json_keeps_numbers_as_numbers() -> None:
    assert orjson.loads(_Json().format(record("x", number=7)))["number"] == 7


def test_traceback_of_a_deep_recursion_keeps_its_beginning_and_its_end() -> None:
    error = ValueError("\n".join(f"line {number}" for number in range(10_000)))
    line = _Text().format(record("x", error))
    assert len(line) < 22_000
    assert "Traceback (most recent call last)" in line
    assert line.endswith("line 9999")
