"""The tables, and what is written into the documentation."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from bench.worker.contestants import CONTESTANTS, named
from bench.worker.machine import replaced
from bench.worker.measures.drain import Drained
from bench.worker.report import as_markdown, figure, sections, warning
from bench.worker.results import Results


def results(drained: Callable[..., Drained]) -> Results:
    return Results(
        contestants=[named("jobworker"), named("huey")],
        drain={"jobworker": [drained(70_000.4)], "huey": [None]},
        missing={"BullMQ (node)": "node and npm are not installed"},
    )


def test_a_row_has_a_figure_or_says_that_it_has_none(drained: Callable[..., Drained]) -> None:
    table = as_markdown(sections(results(drained))[0]).splitlines()
    assert table[0] == "### No-op jobs, one process"
    assert "| jobworker, async functions | yes | 70,000 | 10 | 2 | 1 | 0.01 | 40 | 12.5 |" in table
    assert "| huey | no | - | - | - | - | - | - | - |" in table
    assert "| BullMQ (node) (missing) | - | - | - | - | - | - | - | - |" in table


def test_all_rows_of_a_table_have_its_columns(drained: Callable[..., Drained]) -> None:
    found = results(drained)
    found.start = {"jobworker": [1.0], "huey": []}
    found.foreign = [100.0]
    for section in sections(found):
        assert {len(row) for row in section.rows} == {len(section.headings)}, section.title


def test_nothing_measured_makes_no_table() -> None:
    assert sections(Results(contestants=[named("huey")])) == []


@pytest.mark.parametrize(
    ("value", "text"), [(None, "-"), (0.012345, "0.0123"), (23.0, "23"), (999.4, "999"), (1234.5, "1,234"), (0.0, "0")]
)
def test_figures_have_three_digits(value: float | None, text: str) -> None:
    assert figure(value) == text


def test_the_table_in_the_documentation_is_replaced_and_the_rest_is_not() -> None:
    document = "before\n<!-- begin -->\nold\n<!-- end -->\nafter\n"
    written = replaced(document, "new", "<!-- begin -->", "<!-- end -->")
    assert written == "before\n<!-- begin -->\nnew\n<!-- end -->\nafter\n"
    assert replaced(written, "new", "<!-- begin -->", "<!-- end -->") == written
    with pytest.raises(ValueError, match="to write between"):
        replaced("no marks", "new", "<!-- begin -->", "<!-- end -->")


def test_a_machine_that_others_used_is_told() -> None:
    assert warning(None) is None
    assert warning(9.9) is None
    assert "used 80 % of the machine" in (warning(80.4) or "")


def test_contestants_have_names_of_their_own() -> None:
    assert len({one.name for one in CONTESTANTS}) == len({one.title for one in CONTESTANTS}) == len(CONTESTANTS)
