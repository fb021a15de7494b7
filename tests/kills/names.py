"""What all processes of a run know: where the servers are, by their environment, and the kinds of jobs."""

from __future__ import annotations

POSTGRES, SQLITE = "KILLS_POSTGRES", "KILLS_SQLITE"
"""Environment: a URL and a folder."""

BEGAN = "KILLS_BEGAN"
"""Environment of one worker: the number of an open file to which it writes a byte when its first walk begins."""

FLUSH_SECONDS = 0.1
"""Between two checkpoints of jobs that have no transaction."""

SQL_KINDS = {
    "PlainImport": "SQL transaction, PostgreSQL, plain, connection",
    "AsyncImport": "SQL transaction, PostgreSQL, async, session",
    "SqlitePlainImport": "SQL transaction, SQLite, plain, session, no savepoints",
    "SqliteAsyncImport": "SQL transaction, SQLite, async, connection",
}
KINDS = {**SQL_KINDS, "CsvImport": "CSV import without a transaction", "Export": "export to object storage"}
