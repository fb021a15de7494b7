"""The examples of the page on progress, run as it says."""

from __future__ import annotations

from types import ModuleType
from typing import Any

from jobworker.testing import at_least_once, capture, simulate_drain
from tests.unit.docs.pages import HOW_TO, blocks

PAGE = HOW_TO / "progress.md"


def example(name: str) -> Any:
    """The module in which a job is defined."""
    (block,) = [each for each in blocks(PAGE, "python") if f"class {name}(" in each]
    module = ModuleType("example")
    exec(compile(block, f"the example of {name}", "exec"), module.__dict__)  # noqa: S102  # our own page
    return module


def test_page_for_users_tells_rows_and_what_was_wrong_with_them() -> None:
    module = example("ImportStaff")
    with capture(module.app) as jobs:
        jid = module.ImportStaff.enqueue_sync("staff.csv")
        assert module.import_page(jid) == {"state": "not started"}
        jobs.run_all_sync()
        page = module.import_page(jid)
    assert (page["state"], page["rows"], page["next_page"]) == ("done", 3, None)
    assert page["wrong"] == [
        "row 2: there is no department 'nowhere'",
        "row 3: there is no department 'nowhere'",
        "row 3: number 1 was imported before",
    ]


async def test_ids_of_two_kinds_are_done_once_and_what_is_noted_at_once_bears_a_kill() -> None:
    module = example("DeleteUsers")
    pages = [[1, 2], [2, 3], [1, 3]]

    def reset() -> None:
        module.deleted.clear()
        module.mailed.clear()

    await simulate_drain(
        module.DeleteUsers, pages, reset=reset, effects=lambda: (list(module.deleted), list(module.mailed))
    )
    assert (module.deleted, module.mailed) == ([1, 2, 3], ["red", "blue"])
    await simulate_drain(module.DeleteUsers, pages, reset=reset, effects=module.mailed.copy, crash=True)
    await simulate_drain(module.DeleteUsers, pages, reset=reset, effects=module.deleted.copy, crash=at_least_once)
