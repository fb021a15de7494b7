"""The table of checkpoints in the user's database. A migration tool finds it in `SqlCheckpoints.metadata`."""

from __future__ import annotations

import sqlalchemy as sa

NAME = "jobworker_checkpoints"


def checkpoint_table(metadata: sa.MetaData, schema: str | None = None) -> sa.Table:
    """The table, added to ``metadata``. One row for each job, kept for some time after the job has ended."""
    return sa.Table(
        NAME,
        metadata,
        sa.Column("jid", sa.String(255), primary_key=True),
        sa.Column("job_class", sa.String(255), nullable=False),
        # Of the run that may write: whoever comes later puts its own here, and the one before can commit no more.
        sa.Column("token", sa.String(32), nullable=False),
        sa.Column("state", sa.String(8), nullable=False),
        sa.Column("cursor", sa.Text),
        sa.Column("processed", sa.BigInteger, nullable=False),
        # What Redis was not told yet when this was committed: read again after a crash only.
        sa.Column("progress", sa.Text),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False, index=True),
        schema=schema,
    )
