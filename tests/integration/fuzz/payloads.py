"""Payloads that nobody should write, by seed. Made as text, since no library would write most of them."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator

NAMES = (
    "retry", "queue", "at", "enqueued_at", "created_at", "retry_count", "failed_at", "retried_at", "retry_for",
    "retry_queue", "dead", "backtrace", "error_class", "error_message", "error_backtrace", "jw_deaths", "tags", "cattr",
    "wrapped", "locale", "bid", "unique_for", "expires_in", "timeout", "interrupt_count", "apartment", "fail", "kill",
)  # fmt: skip
CLASSES = ("note", "plain", "two", "fails", "Items", "missing")
BIG = 10_000_000

_VALUES: tuple[bytes, ...] = (
    b"null", b"true", b"false", b"0", b"-1", b"7", b"1.5", b"-0.0", b"1e300", b"1e999", b"-1e999", b"NaN", b"Infinity",
    b"9223372036854775807", b"-9223372036854775808", b"18446744073709551616", b"1" + b"0" * 400, b'""', b'"7"', b'"x"',
    b'"note"', b'"2026-11-21"', b'"\\u0000"', b'"a\\nb"', b'"\\ud800"', b'"\\ud83d\\ude00"', b'"\xff\xfe"', b'"\x00"',
    b"[]", b"[[]]", b"{}", b'{"a":{"b":null}}', b'{"__class__":1}', b'["a",1,null]', b'"' + b"y" * 5000 + b'"',
    b"[" * 100 + b"]" * 100, b"[" * 400 + b"]" * 400, b"[" * 3000 + b"]" * 3000,
)  # fmt: skip
_NO_JIDS: tuple[bytes, ...] = (
    b"null", b"7", b"true", b"[]", b"{}", b'""', b'"\\ud800"', b'"\xff"', b'"\x00"', b"NaN", b"[" * 3000 + b"]" * 3000
)  # fmt: skip
_ARGS: tuple[bytes, ...] = (b"[]", b"[1]", b"[1,2]", b"[1,2,3]", b'["x",{"a":[null]}]', b"[null]", b"[null,null]")
_TINY: tuple[bytes, ...] = (
    b"",
    b" ",
    b"\x00",
    b"null",
    b"true",
    b"7",
    b'"x"',
    b"[]",
    b"{}",
    b"\xff",
    b"{",
    b"\xef\xbb\xbf{}",
)


def mark(number: int) -> bytes:
    """What every payload but the tiniest carries, so that it can be found again."""
    return b"fz-%06d-" % number


def payloads(seed: int, count: int) -> Iterator[bytes]:
    """``count`` payloads, no two alike: a few tiny and a few huge ones, and the rest by chance."""
    chance = random.Random(seed)
    made = 0
    for tiny in _TINY:
        yield tiny
        made += 1
    for huge in _HUGE:
        yield huge(mark(made))
        made += 1
    while made < count:
        yield _one(chance, mark(made))
        made += 1


_HUGE: tuple[Callable[[bytes], bytes], ...] = (
    lambda mark: mark + b"A" * BIG,
    lambda mark: _json({b"class": b'"note"', b"args": b'["' + b"A" * BIG + b'"]', b"jid": b'"' + mark + b'1"'}),
    lambda mark: _json({b"class": b'"fails"', b"args": b'["' + b"A" * BIG + b'"]', b"jid": b'"' + mark + b'2"'}),
    lambda mark: _json({b"class": b'"' + b"A" * BIG + b'"', b"args": b"[]", b"jid": b'"' + mark + b'3"'}),
    lambda mark: _json({b"class": b'"note"', b"args": b"[1]", b"jid": b'"' + mark + b"A" * BIG + b'"'}),
    lambda mark: _json({b"class": b'"fails"', b"args": b"[1]", b"jid": b'"' + mark + b"A" * BIG + b'"'}),
    lambda mark: _json(
        {b"class": b'"fails"', b"args": b"[]", b"jid": b'"' + mark + b'4"', b"tags": b"[" + b'"A",' * 2_500_000 + b"1]"}
    ),
)  # fmt: skip


def _one(chance: random.Random, mark: bytes) -> bytes:
    fields: dict[bytes, bytes] = {
        b"class": b'"%s"' % chance.choice(CLASSES).encode(),
        b"args": chance.choice(_ARGS),
        b"jid": b'"' + mark + b'"',
        b"queue": b'"fuzz"',
        b"retry": chance.choice((b"true", b"5", b"0", b"25")),
        b"mark": b'"' + mark + b'"',
    }
    for _ in range(chance.choice((0, 1, 1, 2, 4))):
        fields[chance.choice(NAMES).encode()] = chance.choice(_VALUES)
    match chance.randrange(12):
        case 0:
            fields[chance.choice((b"class", b"args"))] = chance.choice(_VALUES)
            fields[b"jid"] = chance.choice((fields[b"jid"], *_NO_JIDS))
        case 1:
            fields.pop(chance.choice((b"class", b"args", b"jid", b"queue", b"retry")))
        case 2:
            fields[b"args"] = b"[" + b",".join(chance.choice(_VALUES) for _ in range(chance.randrange(5))) + b"]"
        case 3:
            fields[b"jid"] = b'"' + mark + chance.choice((b"*", b"\\u0000", b"\\n", b":{x}", b"z" * 3000)) + b'"'
        case _:
            pass
    raw = _json(fields)
    match chance.randrange(12):
        case 0:
            return _broken(chance, raw, mark)
        case 1:  # a key twice: the last one counts, whatever it is
            return raw[:-1] + b',"%s":%s}' % (chance.choice((*NAMES, "class", "args")).encode(), chance.choice(_VALUES))
        case _:
            return raw


def _broken(chance: random.Random, raw: bytes, mark: bytes) -> bytes:
    at = chance.randrange(len(raw))
    return chance.choice((raw[:at], raw[:at] + bytes([chance.randrange(256)]) + raw[at:], raw[at:], raw * 2)) + mark


def _json(fields: dict[bytes, bytes]) -> bytes:
    return b"{" + b",".join(b'"' + name + b'":' + value for name, value in fields.items()) + b"}"
