from __future__ import annotations

import datetime as dt

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobworker.errors import ArgumentsNotJSON, MalformedPayload
from jobworker.protocol import payload as payloads

json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53), 2**53)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@given(args=st.lists(json_values, max_size=4))
def test_a_payload_survives_the_journey(args: list[object]) -> None:
    job = payloads.new("Import", args, queue="low", now=1700000000.25, retry=3)
    assert payloads.parse(job.to_json()) == job


def test_fields_of_others_travel_untouched() -> None:
    raw = b'{"class":"A","args":[1],"jid":"j","queue":"q","retry":false,"bid":"b","locale":"ja","tags":["x"]}'
    again = orjson.loads(payloads.parse(raw).to_json())
    assert again == orjson.loads(raw)


@pytest.mark.parametrize(
    ("raw", "said"),
    [
        pytest.param(b"not json", "is not JSON", id="no json"),
        pytest.param(b"\xff\xfe", "is not JSON", id="no utf-8"),
        pytest.param(b"[1]", "not a JSON object", id="no object"),
        pytest.param(b'{"args":[],"jid":"j"}', "no class name", id="no class"),
        pytest.param(b'{"class":7,"args":[],"jid":"j"}', "no class name", id="class is a number"),
        pytest.param(b'{"class":"A","args":{},"jid":"j"}', "arguments of A are not a list", id="args is an object"),
        pytest.param(b'{"class":"A","args":[]}', "no jid", id="no jid"),
        pytest.param(b'{"class":"A","args":[],"jid":"j","queue":1}', "wrong type", id="queue is a number"),
        pytest.param(b'{"class":"A","args":[],"jid":"j","retry":"x"}', "wrong type", id="retry is a string"),
    ],
)
def test_a_malformed_payload_is_told_what_is_wrong_with_it(raw: bytes, said: str) -> None:
    with pytest.raises(MalformedPayload, match=said):
        payloads.parse(raw)


def test_an_argument_that_json_cannot_carry_is_refused() -> None:
    job = payloads.new("Import", [dt.date(2026, 1, 1)], queue="q", now=0.0)
    with pytest.raises(ArgumentsNotJSON, match="Import"):
        job.to_json()


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        pytest.param(1700000000.5, 1700000000.5, id="float seconds of Sidekiq 7"),
        pytest.param(1700000000500, 1700000000.5, id="integer milliseconds of Sidekiq 8"),
        pytest.param("1700000000", None, id="a string is no time"),
        pytest.param(True, None, id="a boolean is no time"),
        pytest.param(None, None, id="nothing"),
    ],
)
def test_both_formats_of_time_are_read(value: object, seconds: float | None) -> None:
    assert payloads.seconds_of(value) == seconds


def test_times_are_written_in_the_format_asked_for() -> None:
    assert payloads.timestamp(1.5) == 1.5
    assert payloads.timestamp(1.5, "milliseconds") == 1500


def test_the_text_of_an_error_is_bounded_and_always_there() -> None:
    class Rude(Exception):
        def __str__(self) -> str:
            raise ValueError("no")

    assert len(payloads.error_message(ValueError("x" * 20_000))) == 10_000
    assert "Rude" in payloads.error_message(Rude())
    assert payloads.error_message(ValueError("\ud800")).isprintable()
