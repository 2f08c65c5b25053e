"""The tables of reconciliation, on the store's metadata.

Runs and findings are kept. What was listed of the systems, and what a comparison of it came to,
are scratch of one run: unlogged, since a run that lost them lists anew.
"""

from typing import Final

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    Date,
    DateTime,
    Identity,
    Index,
    Integer,
    Numeric,
    Table,
    Text,
    text,
)
from sqlalchemy.dialects.postgresql import ARRAY, JSONB

from store.models import REASON_MAX, _now, _one_of, _text, _time, metadata

CLASSES: Final = ("orphan", "timing_gap", "mismatch", "duplicate")
UNLOGGED: Final = ["UNLOGGED"]


def _serial() -> Column[object]:
    return Column("id", BigInteger, Identity(always=True), primary_key=True)


def _run(*, key: bool = False) -> Column[object]:
    return Column("run", BigInteger, primary_key=key, autoincrement=False, nullable=False)


reconciliation_runs = Table(
    "reconciliation_runs",
    metadata,
    _serial(),
    # The scope; all empty: the conservation check, over the whole store.
    *_text("psa", empty=True),
    *_text("legal_entity", empty=True),
    *_text("period", empty=True),
    *_text("asked_by", empty=True),
    Column("heal", Boolean, nullable=False, server_default=text("false")),
    Column("state", Text, nullable=False, server_default=text("'open'")),
    # What was compared with what, and how many rows each side had.
    Column("compared", JSONB, nullable=False, server_default=text("'[]'")),
    # Systems that could not be listed, and why.
    Column("failed", JSONB, nullable=False, server_default=text("'{}'")),
    _now("began_at"),
    _time("ended_at"),
    _one_of("state", "open", "ended", "superseded"),
    CheckConstraint("(state = 'open') = (ended_at IS NULL)", name="ended_has_time"),
    # Two at once for one scope are impossible.
    Index(
        "uq_reconciliation_runs_open",
        *("psa", "legal_entity", "period"),
        unique=True,
        postgresql_where=text("state = 'open'"),
    ),
)

reconciliation_findings = Table(
    "reconciliation_findings",
    metadata,
    _serial(),
    # The same difference has the same key in every run.
    *_text("key", 600),
    *_text("psa", empty=True),
    *_text("legal_entity", empty=True),
    # Empty: of what belongs to no period, such as clients and projects.
    *_text("period", empty=True),
    *_text("comparison"),
    *_text("code"),
    *_text("class"),
    *_text("system"),
    *_text("record_type"),
    *_text("record_id"),
    *_text("client_id", empty=True),
    *_text("project_id", empty=True),
    Column("amount", Numeric, nullable=True),
    *_text("currency", 3, empty=True),
    *_text("explanation", REASON_MAX),
    *_text("remedy", REASON_MAX, empty=True),
    # The rows behind it, of either side, as they were last seen.
    Column("rows", JSONB, nullable=False),
    # How often it was opened: it may come back.
    Column("opens", Integer, nullable=False, server_default=text("1")),
    *_text("work_item", empty=True),
    *_text("healing", empty=True),
    *_text("healed_as", REASON_MAX, empty=True),
    Column("first_run", BigInteger, nullable=False),
    Column("last_run", BigInteger, nullable=False),
    Column("first_seen_at", DateTime(timezone=True), nullable=False),
    Column("last_seen_at", DateTime(timezone=True), nullable=False),
    _time("closed_at"),
    _one_of("class", *CLASSES),
    CheckConstraint("opens > 0", name="opens_count_from_one"),
    Index("uq_reconciliation_findings_key", "key", unique=True),
    Index(
        "ix_reconciliation_findings_open",
        *("psa", "legal_entity", "comparison"),
        postgresql_where=text("closed_at IS NULL"),
    ),
    Index("ix_reconciliation_findings_run", "last_run"),
)

# Of each system and kind: whether it is listed whole, and by which attempt.
reconciliation_extracts = Table(
    "reconciliation_extracts",
    metadata,
    _run(key=True),
    *_text("connection", key=True),
    *_text("kind", key=True),
    *_text("attempt", 64),
    Column("rows", BigInteger, nullable=False, server_default=text("0")),
    _time("listed_at"),
    prefixes=UNLOGGED,
)

reconciliation_rows = Table(
    "reconciliation_rows",
    metadata,
    _run(),
    Column("connection", Text, nullable=False),
    Column("kind", Text, nullable=False),
    Column("id", Text, nullable=False),
    Column("external_id", Text, nullable=False),
    Column("number", Text, nullable=False),
    Column("client_id", Text, nullable=False),
    Column("project_id", Text, nullable=False),
    Column("date", Date, nullable=True),
    Column("state", Text, nullable=False),
    Column("amount", Numeric, nullable=True),
    Column("left_amount", Numeric, nullable=True),
    Column("currency", Text, nullable=False),
    Column("minutes", Integer, nullable=True),
    Column("links", ARRAY(Text), nullable=False),
    Column("version", Text, nullable=False),
    Column("invoice_id", Text, nullable=False),
    Column("changed_at", DateTime(timezone=True), nullable=True),
    Index("ix_reconciliation_rows_listed", "run", "connection", "kind"),
    prefixes=UNLOGGED,
)

# What a comparison came to, before policy judges it.
reconciliation_candidates = Table(
    "reconciliation_candidates",
    metadata,
    _serial(),
    _run(),
    Column("connection", Text, nullable=False),
    Column("kind", Text, nullable=False),
    Column("code", Text, nullable=False),
    Column("record_type", Text, nullable=False),
    Column("record_id", Text, nullable=False),
    Column("client_id", Text, nullable=False, server_default=text("''")),
    Column("project_id", Text, nullable=False, server_default=text("''")),
    Column("amount", Numeric, nullable=True),
    Column("currency", Text, nullable=False, server_default=text("''")),
    # What is under way for it, in words; empty: nothing.
    Column("under_way", Text, nullable=False, server_default=text("''")),
    # A work item waits for it already.
    Column("waits", Boolean, nullable=False, server_default=text("false")),
    Column("changed_at", DateTime(timezone=True), nullable=True),
    Column("rows", JSONB, nullable=False),
    Index("ix_reconciliation_candidates_run", "run", "id"),
    prefixes=UNLOGGED,
)
