"""The examples of the page on parallel jobs, run as it says."""

from __future__ import annotations

from types import ModuleType
from typing import Any

from jobworker.testing import capture
from tests.unit.docs.pages import HOW_TO, blocks

PAGE = HOW_TO / "parallel-jobs.md"


def example(name: str) -> Any:
    """The module in which a job is defined."""
    (block,) = [each for each in blocks(PAGE, "python") if f"class {name}(" in each]
    module = ModuleType("example")
    exec(compile(block, f"the example of {name}", "exec"), module.__dict__)  # noqa: S102  # our own page
    return module


def test_table_is_summed_in_slices() -> None:
    module = example("SumPoints")
    with module.engine.begin() as connection:
        connection.execute(module.users.insert(), [{"points": number} for number in range(100)])
    with capture(module.app) as jobs:
        jid = module.SumPoints.enqueue_sync("spring")
        assert jobs.run_all_sync(["imports"]) == 1 + 8 + 1
        found = module.app.progress_sync(jid)
    assert (found.processed, found.total, len(found.slices)) == (100, 100, 8)
    assert module.totals == [("spring", sum(range(100)))]
    module.engine.dispose()


def test_empty_table_is_joined_at_once() -> None:
    module = example("SumPoints")
    with capture(module.app) as jobs:
        module.SumPoints.enqueue_sync("spring")
        assert jobs.run_all_sync() == 2
    assert module.totals == [("spring", 0)]
    module.engine.dispose()


def test_file_is_imported_in_slices() -> None:
    module = example("ImportUsers")
    with capture(module.app) as jobs:
        module.ImportUsers.enqueue_sync("users.csv")
        assert jobs.run_all_sync() > 3
    assert module.imported == ["ada", "bob", "eve"]


def test_one_slice_is_simulated() -> None:
    module = example("SecondSlice")
    module.test_a_slice_bears_deploys()
    assert module.seen == list(range(10, 20))
