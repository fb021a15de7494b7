"""The long job that a deploy may interrupt after any row, and that goes on elsewhere with the next one."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from jobworker import IteratingJob, context
from shop import effects
from shop.application import VERSION, app
from shop.cities import City, CityRange, problems, table


@app.job(queue="imports")
class ImportCities(IteratingJob):
    """Imports the rows ``first`` to ``last`` of the table of cities, ``row_ms`` milliseconds of work each.

    A row that is wrong is noted with all that is wrong with it, and the import goes on.
    """

    checkpoint_seconds = 2.0

    def build_enumerator(
        self, first: int, last: int, row_ms: float = 5.0, *, cursor: Sequence[int] | None
    ) -> CityRange:
        """The rows that are left."""
        context().logger.info(
            "importing cities",
            extra={
                "version": VERSION,
                "first_row": first,
                "last_row": last,
                "row_ms": row_ms,
                "rows_done": self.progress.processed,
            },
        )
        return CityRange(table(), first, last, cursor)

    async def each_iteration(self, city: City, first: int, last: int, row_ms: float = 5.0) -> None:
        """Handle one row. The effect counts right and wrong rows alike, so that each row must come out as 1."""
        del first, last
        await asyncio.sleep(row_ms / 1000)
        if found := problems(city):
            self.progress.error(*found)
        await effects.async_redis().hincrby(effects.ROWS, city["row"], 1)
