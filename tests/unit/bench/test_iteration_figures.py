"""The last line and the tables of the bench of long jobs, out of samples that are known."""

from __future__ import annotations

import pytest

from bench.iteration.__main__ import BEGIN, DOCUMENT, END
from bench.iteration.measures.checkpoints import Iterations, OneCheckpoint
from bench.iteration.measures.memory import Memory
from bench.iteration.measures.rows import Rows
from bench.iteration.plan import Measure, plan
from bench.iteration.report import sections
from bench.iteration.results import Results
from bench.iteration.rig import Told
from bench.iteration.summary import summary
from bench.iteration.variants import Kind
from bench.worker.machine import replaced
from bench.worker.report import as_markdown
from bench.worker.server import Counters

ASKED = ("checkpoint_cost_ratio", "rows_vs_plain_loop", "csv_resume_ms", "sql_resume_ms")


def told(cpu_us: float, *, rows: int = 1_000, per_second: float = 1_000) -> Told:
    return Told(rows, rows / per_second, cpu_us * rows / 1e6, Counters(0, 0, 0.0, 0))


def results() -> Results:
    return Results(
        plan=plan([], None, None, quick=False),
        iterations={
            ("spin", Kind.PLAIN): [Iterations(told(1_000), told(1_004), told(1_020))],
            ("spin", Kind.ASYNC): [Iterations(told(1_000), told(1_006), told(1_010))],
            ("sleep", Kind.PLAIN): [Iterations(told(20), told(120), told(130))],
        },
        one_checkpoint={Kind.PLAIN: [OneCheckpoint(200, 50, 14, 1, 500)]},
        rows={"csv": [Rows(told(2, per_second=400), told(4, per_second=300), told(5, per_second=100), None)]},
        first_items={"csv": [0.4, 0.5, 90.0], "sql": [3.0]},
        handovers=[8.0, 9.0, 20.0],
        memory=[Memory(10_000_000, 100_000, 50, 52, 54)],
    )


def test_checkpoints_cost_what_the_dearer_kind_of_function_pays() -> None:
    found = summary(results())
    # 1006 µs against 1000; what a millisecond of sleep costs is left to the table.
    assert found["checkpoint_cost_ratio"] == pytest.approx(0.006)
    assert found["checkpoint_often_cost_ratio"] == pytest.approx(0.02)
    # 200 µs of the five seconds between two.
    assert found["checkpoint_amortised_ratio"] == pytest.approx(0.00004)


def test_rows_are_told_in_units_of_the_loop() -> None:
    found = summary(results())
    assert found["rows_vs_plain_loop"] == 0.75
    assert found["rows_vs_plain_loop_csv_async"] == 0.25
    assert found["rows_cpu_vs_plain_loop_csv"] == 0.5
    assert found["rows_vs_sidekiq"] is None


def test_going_on_is_told_by_the_median_and_handovers_by_the_longest_too() -> None:
    found = summary(results())
    assert (found["csv_resume_ms"], found["sql_resume_ms"], found["postgres_resume_ms"]) == (0.5, 3.0, None)
    assert (found["handover_p50_ms"], found["handover_longest_ms"]) == (9.0, 20.0)


def test_what_was_asked_for_is_on_the_last_line_even_where_it_was_not_measured() -> None:
    found = summary(Results(plan=plan([], None, None, quick=True)))
    assert {name: found[name] for name in ASKED} == dict.fromkeys(ASKED)


def test_tables_show_what_was_measured_and_say_where_there_is_nothing() -> None:
    tables = [as_markdown(section) for section in sections(results())]
    assert any("| plain, uses the CPU for 1 ms | 1,000 | 4 | 0.40% | 20 | 2.00% | 0 |" in table for table in tables)
    assert any("| `csv_rows`, `csv.DictReader` | 300 | 100 | 400 | - |" in table for table in tables)
    assert any("| `build_enumerator` with `csv_rows` | 10,000,000 | 0.5 | 90 | 3 |" in table for table in tables)


def test_all_rows_of_a_table_have_its_columns() -> None:
    for section in sections(results()):
        assert {len(row) for row in section.rows} == {len(section.headings)}, section.title


@pytest.mark.parametrize("quick", [False, True])
def test_files_are_ten_million_rows_long(*, quick: bool) -> None:
    chosen = plan([], None, None, quick=quick)
    assert chosen.far == 10_000_000
    assert chosen.measures == set(Measure)


def test_a_scale_makes_all_of_it_smaller() -> None:
    chosen = plan([Measure.ROWS], 1, 0.001, quick=False)
    assert (chosen.measures, chosen.rounds, chosen.rows, chosen.far) == (frozenset({Measure.ROWS}), 1, 1_000, 10_000)


def test_the_page_has_a_place_for_the_tables() -> None:
    written = replaced(DOCUMENT.read_text(), "the tables", BEGIN, END)
    assert f"{BEGIN}\nthe tables\n{END}" in written
