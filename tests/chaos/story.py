"""All that is known about one job, for whoever has to find out what became of it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from tests.chaos.records import Record

_ROWS = 5  # of a walk: its first ones and its last ones


def tell(records: Sequence[Record], key: str, began: float) -> str:
    """The story of the job in the order of time, in seconds since ``began``."""
    jids = {jid for record in records for jid in _jids(record, key)}
    lives = {record["life"] for record in records if record.get("key") == key}
    told = [record for record in records if _belongs(record, key, jids, lives)]
    rows = [record for record in told if record["e"] == "item"]
    hidden = {id(record) for record in rows[_ROWS:-_ROWS]}
    lines = [f"{record['t'] - began:9.3f}  {_line(record, jids, began)}" for record in told if id(record) not in hidden]
    if hidden:
        lines.append(f"           … {len(hidden)} rows between the first and the last ones are left out")
    return "\n".join(lines)


def _jids(record: Record, key: str) -> Iterator[str]:
    if record.get("key") == key and "jid" in record:
        yield record["jid"]
    if record["e"] == "ack" and key in record["keys"]:
        yield record["jids"][record["keys"].index(key)]


def _belongs(record: Record, key: str, jids: set[str], lives: set[str]) -> bool:
    match record["e"]:
        case "push" | "ack" | "doubt":
            return key in record["keys"]
        case "unclean":
            return bool(jids.intersection(record["jids"] or ())) or (record["jids"] is None and record["who"] in lives)
        case "began" | "over" | "link":
            return record["who"] in lives
        case "away":
            return True
        case _:
            return record.get("key") == key or record.get("jid") in jids


def _line(record: Record, jids: set[str], began: float) -> str:
    fields: dict[str, Any] = {name: value for name, value in record.items() if name not in {"t", "e", "life", "key"}}
    if fields.get("jids"):
        fields["jids"] = [jid for jid in fields["jids"] if jid in jids]
    fields.pop("keys", None)
    for name in fields.keys() & {"since", "until"}:
        fields[name] = round(fields[name] - began, 3)
    return f"{record['life']:12} {record['e']:9} " + " ".join(f"{name}={value}" for name, value in fields.items())
