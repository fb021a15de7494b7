from __future__ import annotations

import dataclasses
import datetime as dt
import decimal
import enum
import inspect
import pathlib
import re
import types
import uuid
from typing import Any, NamedTuple

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobworker import ArgumentsNotJSON
from jobworker.jobs.arguments import encode


class Colour(enum.Enum):
    RED = "red"


class Level(enum.IntEnum):
    HIGH = 3


class Point(NamedTuple):
    x: int


@dataclasses.dataclass
class Order:
    number: int


class Row:
    """As a model of Django or SQLAlchemy looks."""

    def __init__(self) -> None:
        self.id = 7


class Name(str):
    __slots__ = ()


@pytest.mark.parametrize(
    ("value", "words"),
    [
        pytest.param(dt.datetime(2026, 1, 1, tzinfo=dt.UTC), "pass value.isoformat()", id="datetime"),
        pytest.param(dt.date(2026, 1, 1), "pass value.isoformat()", id="date"),
        pytest.param(dt.timedelta(1), "pass value.total_seconds()", id="timedelta"),
        pytest.param(decimal.Decimal("1.10"), "pass str(value)", id="Decimal"),
        pytest.param(uuid.UUID(int=1), "pass str(value)", id="UUID"),
        pytest.param(pathlib.PurePosixPath("/a"), "pass str(value)", id="path"),
        pytest.param(Colour.RED, "Colour; pass value.value", id="enum"),
        pytest.param(Level.HIGH, "Level; pass value.value", id="enum that is an integer"),
        pytest.param(Name("x"), "Name; pass str(value)", id="a string of a class of its own"),
        pytest.param(b"x", "pass base64.b64encode(value).decode()", id="bytes"),
        pytest.param(Point(1), "Point; pass list(value)", id="named tuple"),
        pytest.param({1, 2}, "is a set; pass list(value)", id="set"),
        pytest.param(types.MappingProxyType({}), "pass dict(value)", id="mapping"),
        pytest.param(Order(1), "pass dataclasses.asdict(value)", id="dataclass"),
        pytest.param(Row(), "Row; pass value.id, and load it in the job", id="row of a database"),
        pytest.param(object(), "pass an id, a string", id="anything else"),
        pytest.param(float("inf"), "is inf, which JSON does not have; pass None", id="infinity"),
        pytest.param(2**64, "more than 64 bits", id="too big an integer"),
        pytest.param("\ud800", "half a surrogate pair", id="half a character"),
        pytest.param({"\ud800": 1}, "has the key", id="half a character in a key"),
        pytest.param({1: 2}, "has the key 1, which is no string; pass str(key)", id="number as a key"),
        pytest.param({"a": [0, (1,)]}, "['a'][1] is a tuple", id="deep inside"),
    ],
)
def test_message_names_the_argument_and_what_to_pass_instead(value: object, words: str) -> None:
    signature = inspect.signature(lambda to, what: (to, what))
    with pytest.raises(ArgumentsNotJSON, match=rf"^mail: argument what.*{re.escape(words)}"):
        encode("mail", ["x", value], signature)


def test_argument_without_a_name_is_told_by_its_place() -> None:
    with pytest.raises(ArgumentsNotJSON, match="argument number 2 is a set"):
        encode("mail", [1, {2}])
    with pytest.raises(ArgumentsNotJSON, match="argument number 2 is a set"):
        encode("mail", [1, {2}], inspect.signature(lambda *all_of_them: all_of_them))


@pytest.mark.parametrize("args", ["abc", b"abc", {"user_id": 7}, 7, None])
def test_arguments_that_are_no_list_are_refused_and_not_taken_to_pieces(args: Any) -> None:
    with pytest.raises(ArgumentsNotJSON, match=r"pass a list of them in the order of the job's parameters"):
        encode("mail", args)


def test_too_deep_a_nesting_is_refused_and_one_that_can_be_written_is_not() -> None:
    def nested(levels: int) -> list[Any]:
        value: list[Any] = []
        for _ in range(levels):
            value = [value]
        return value

    assert encode("mail", [nested(150)])
    for levels in (250, 500, 5_000):
        with pytest.raises(ArgumentsNotJSON, match="nested deeper than 200 levels"):
            encode("mail", [nested(levels)])


json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)
anything = st.recursive(
    json_values | st.integers() | st.floats() | st.binary() | st.dates() | st.uuids() | st.text(st.characters()),
    lambda inner: (
        st.lists(inner, max_size=3) | st.tuples(inner) | st.dictionaries(st.text() | st.integers(), inner, max_size=3)
    ),
    max_leaves=8,
)


@given(st.lists(json_values, max_size=5))
def test_what_json_has_comes_back_as_it_was(args: list[Any]) -> None:
    assert orjson.loads(encode("mail", args)) == args


def same(one: Any, other: Any) -> bool:
    """Equal in value and in type, all the way down."""
    if type(one) is not type(other):
        return False
    if isinstance(one, list):
        return len(one) == len(other) and all(map(same, one, other))
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(same(one[key], other[key]) for key in one)
    return bool(one == other)


@given(st.lists(anything, max_size=4))
def test_anything_comes_back_as_it_was_or_is_refused(args: list[Any]) -> None:
    try:
        raw = encode("mail", args)
    except ArgumentsNotJSON as error:
        assert "argument number" in str(error)  # noqa: PT017  # it may be refused, and it may not
    else:
        assert same(orjson.loads(raw), args)
