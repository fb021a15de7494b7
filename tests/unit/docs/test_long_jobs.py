"""Every example of the page is a module whose jobs bear a deploy after any item."""

from __future__ import annotations

import re
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from jobworker.iteration import enumerators
from jobworker.testing import capture, simulate_drain_sync

PAGE = (Path(__file__).parents[3] / "docs" / "how-to" / "long-jobs.md").read_text()


def example(name: str) -> Any:
    """The module in which a job is defined."""
    (block,) = [
        each
        for each in re.findall(r"^```python\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
        if f"class {name}(" in each
    ]
    module = ModuleType("example")
    exec(compile(block, f"the example of {name}", "exec"), module.__dict__)  # noqa: S102  # our own page
    return module


def test_files() -> None:
    module = example("ImportUsers")
    undisturbed = simulate_drain_sync(
        module.ImportUsers, "users.csv", reset=module.imported.clear, effects=module.imported.copy
    )
    assert (undisturbed.items, module.imported) == (1, ["ada@example.com", "bob@example.com"])
    simulate_drain_sync(module.ImportEvents, reset=module.imported.clear, effects=module.imported.copy)
    assert module.imported == [1]


def test_tables() -> None:
    module = example("Greet")

    def reset() -> None:
        module.greeted.clear()
        with module.engine.begin() as connection:
            connection.execute(module.users.delete())
            connection.execute(module.users.insert(), [{"name": "ada"}, {"name": ""}, {"name": "eve"}])

    def left() -> list[Any]:
        with module.engine.connect() as connection:
            return [tuple(row) for row in connection.execute(module.users.select())]

    simulate_drain_sync(module.Greet, reset=reset, effects=module.greeted.copy)
    assert module.greeted == ["ada", "eve"]
    simulate_drain_sync(module.Forget, reset=reset, effects=left, crash=True)
    assert left() == []
    module.engine.dispose()


@pytest.mark.parametrize(
    ("name", "effects", "args", "expected"),
    [
        ("Synchronise", "seen", [["x", "y"]], [(shop, name) for shop in "xy" for name in ("ada", "bob", "eve")]),
        ("Forward", "sent", [], [3, 4, 7]),
    ],
)
def test_walks_of_other_things(name: str, effects: str, args: list[Any], expected: list[Any]) -> None:
    module = example(name)
    done = getattr(module, effects)
    simulate_drain_sync(getattr(module, name), *args, reset=done.clear, effects=done.copy)
    assert done == expected


def test_stop_button() -> None:
    module = example("Newsletter")
    readers = ["ada", "bob", "eve"]
    with capture(module.app) as jobs:
        jid = module.Newsletter.enqueue_sync(readers)
        jobs.pause(jid)
        jobs.run_all_sync()
        assert ([job.jid for job in jobs.paused], module.sent) == ([jid], [])
        assert module.stop_button(jid) == "stopping"
        jobs.run_all_sync()
        assert module.sent == ["sorry"]
        assert module.stop_button(jid) == "too late"
        module.sent.clear()
        module.Newsletter.enqueue_sync(readers)
        jobs.run_all_sync()
        assert module.sent == readers


def test_page_names_every_walk_there_is() -> None:
    walks = set(enumerators.__all__) - {"SURPLUS", "Counted"}
    assert walks <= set(re.findall(r"^\| `(\w+)\(", PAGE, re.MULTILINE))


def test_run_that_tries_items_again_records_what_raises_and_ends_itself() -> None:
    module = example("Bill")
    with capture(module.app) as jobs:
        module.Bill.enqueue_sync(["ada", "eve", "the end", "bob"])
        assert jobs.run_all_sync() == 1
    assert (module.billed, len(module.seconds)) == (["ada", "eve"], 2)
    assert module.failing == {"eve": 0}
