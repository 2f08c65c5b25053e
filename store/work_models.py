"""The tables beside the work items, on the store's metadata: owners, comments, and the watch."""

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Column,
    DateTime,
    ForeignKeyConstraint,
    Identity,
    Index,
    Integer,
    Table,
)

from canonical.worklist import COMMENT_MAX
from store.models import REASON_MAX, _now, _text, metadata

# By the id in the list: work that is computed, such as held entries, has no row of its own.
work_owners = Table(
    "work_owners",
    metadata,
    *_text("work_id", key=True),
    *_text("owner"),
    *_text("assigned_by"),
    _now("assigned_at"),
    CheckConstraint("owner <> ''", name="owned_by_someone"),
    Index("ix_work_owners_owner", "owner"),
)

# Appended to, and nothing else.
work_comments = Table(
    "work_comments",
    metadata,
    Column("id", BigInteger, Identity(always=True), primary_key=True),
    *_text("work_id"),
    *_text("by"),
    *_text("comment", COMMENT_MAX),
    _now("at"),
    CheckConstraint("comment <> ''", name="comment_says_something"),
    Index("ix_work_comments_work_id", "work_id", "id"),
)

# Residue that somebody has seen to.
acknowledged_residue = Table(
    "acknowledged_residue",
    metadata,
    *_text("workflow_id", key=True),
    Column("generation", Integer, primary_key=True, autoincrement=False),
    *_text("by"),
    *_text("because", REASON_MAX),
    _now("at"),
    CheckConstraint("because <> ''", name="because_says_something"),
    ForeignKeyConstraint(
        ["workflow_id", "generation"],
        ["saga_generations.workflow_id", "saga_generations.generation"],
    ),
)

# What the watch saw of a run: since when its history has the length that it has.
watched_runs = Table(
    "watched_runs",
    metadata,
    *_text("workflow_id", key=True),
    *_text("run_id"),
    Column("history_length", Integer, nullable=False),
    Column("unchanged_since", DateTime(timezone=True), nullable=False),
    Column("looked_at", DateTime(timezone=True), nullable=False),
    Index("ix_watched_runs_looked_at", "looked_at"),
)
