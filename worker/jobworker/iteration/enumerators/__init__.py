"""Sources of items that can begin in the middle.

An enumerator is any iterator, plain or async, of pairs: an item, and the cursor to go on from once that item is
done. A cursor is a JSON value; what is here refuses one that it did not write. Some know a ``total``.
"""

from jobworker.iteration.enumerators.csv_files import SURPLUS, csv_rows
from jobworker.iteration.enumerators.cursors import Counted
from jobworker.iteration.enumerators.http_pages import pages
from jobworker.iteration.enumerators.json_files import json_lines
from jobworker.iteration.enumerators.nesting import nested
from jobworker.iteration.enumerators.redis_scan import redis_scan
from jobworker.iteration.enumerators.sequences import list_items, number_range
from jobworker.iteration.enumerators.sql import sql_ranges, sql_records
from jobworker.iteration.enumerators.wrappers import in_batches, throttled

__all__ = [
    "SURPLUS",
    "Counted",
    "csv_rows",
    "in_batches",
    "json_lines",
    "list_items",
    "nested",
    "number_range",
    "pages",
    "redis_scan",
    "sql_ranges",
    "sql_records",
    "throttled",
]
