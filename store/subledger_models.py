"""The tables of the billing subledger, on the store's metadata (DESIGN 5).

What a constraint can say, a constraint says here; legal moves, sums and the append-only trail are
triggers of migration 0004. Amounts are numeric with the scale they came with, never floats.
"""

from typing import Final

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    Computed,
    Date,
    DateTime,
    ForeignKeyConstraint,
    Identity,
    Index,
    Integer,
    LargeBinary,
    Numeric,
    Table,
    Text,
    UniqueConstraint,
    text,
)
from sqlalchemy.dialects.postgresql import CHAR, JSONB
from sqlalchemy.schema import SchemaItem

from store.models import (
    DOCUMENT_MAX,
    REASON_MAX,
    _now,
    _one_of,
    _text,
    _time,
    metadata,
)

KINDS: Final = ("time", "expense", "adjustment")
ENTRY_STATES: Final = ("waiting", "approved", "claimed", "rated", "placed", "withdrawn")
"""`waiting`: a newer version, read while an older one is in a run."""
STANDING: Final = "CASE WHEN state IN ('waiting', 'withdrawn') THEN state ELSE 'live' END"
PART_STATES: Final = (
    *("approved", "claimed", "rated", "placed"),
    *("drafted", "released", "invoiced", "credited"),
)
DISPOSITIONS: Final = (
    *("to_bill", "covered_by_fixed_fee", "drawn_from_retainer"),
    *("over_cap", "written_off", "non_billable"),
)


def _number(name: str, *, default: bool = False, null: bool = False) -> Column[object]:
    return Column(name, Numeric, nullable=null, server_default=text("0") if default else None)


def _integer(name: str, default: int | None = None) -> Column[object]:
    server_default = None if default is None else text(str(default))
    return Column(name, Integer, nullable=False, server_default=server_default)


def _currency(name: str = "currency", *, key: bool = False) -> tuple[SchemaItem, ...]:
    column = Column(name, CHAR(3), primary_key=key, nullable=False)
    return column, CheckConstraint(f"{name} ~ '^[A-Z]{{3}}$'", name=f"{name}_is_iso")


def _serial() -> Column[object]:
    return Column("id", BigInteger, Identity(always=True), primary_key=True)


def _entry(*, key: bool = False) -> Column[object]:
    return Column("entry", BigInteger, primary_key=key, autoincrement=False, nullable=False)


def _to_entry() -> ForeignKeyConstraint:
    return ForeignKeyConstraint(["entry"], ["entry_versions.id"])


def _to_run() -> ForeignKeyConstraint:
    return ForeignKeyConstraint(["run_key"], ["billing_runs.run_key"])


entry_versions = Table(
    "entry_versions",
    metadata,
    _serial(),
    *_text("source"),
    *_text("kind"),
    *_text("entry_id"),
    *_text("version", 64),
    *_text("project_id"),
    *_text("task_id", empty=True),
    *_text("person_id", empty=True),
    *_text("submission_id", empty=True),
    *_text("adjusts", empty=True),
    *_text("receipt", REASON_MAX, empty=True),
    Column("service_date", Date, nullable=False),
    Column("minutes", Integer, nullable=True),
    _number("amount", null=True),
    *_currency(),
    Column("billable", Boolean, nullable=False),
    Column("state", Text, nullable=False),
    Column("approved_at", DateTime(timezone=True), nullable=False),
    _now("first_seen_at"),
    _integer("reading", 1),
    *_text("run_key", null=True),
    _time("handed_over_at"),
    _time("vanished_at"),
    # The id under which a vanished entry came back.
    *_text("superseded_by", null=True),
    *_text("because", REASON_MAX, empty=True),
    Column("standing", Text, Computed(STANDING, persisted=True), nullable=False),
    _one_of("kind", *KINDS),
    _one_of("state", *ENTRY_STATES),
    UniqueConstraint("source", "kind", "entry_id", "version"),
    CheckConstraint(
        "(state IN ('claimed', 'rated', 'placed')) = (run_key IS NOT NULL)", name="in_run_has_run"
    ),
    CheckConstraint("handed_over_at IS NULL OR state = 'placed'", name="handed_over_is_placed"),
    ForeignKeyConstraint(["run_key"], ["billing_runs.run_key"]),
    # Indexes name the standing, which stays while a run moves the version from state to state.
    Index(
        "uq_entry_versions_standing",
        *("source", "kind", "entry_id", "standing"),
        unique=True,
        postgresql_where=text("standing <> 'withdrawn'"),
    ),
    Index(
        "ix_entry_versions_claimable",
        *("source", "project_id", "approved_at", "entry_id", "kind"),
        postgresql_where=text("standing = 'live' AND run_key IS NULL"),
    ),
    Index("ix_entry_versions_project", "source", "project_id"),
    Index(
        "ix_entry_versions_natural",
        *("source", "submission_id", "person_id", "service_date", "task_id"),
        postgresql_where=text("submission_id <> ''"),
    ),
    Index(
        "ix_entry_versions_vanished",
        *("source", "submission_id"),
        postgresql_where=text("vanished_at IS NOT NULL AND superseded_by IS NULL"),
    ),
    Index("ix_entry_versions_run_key", "run_key", postgresql_where=text("run_key IS NOT NULL")),
    Index("ix_entry_versions_adjusts", "source", "adjusts", postgresql_where=text("adjusts <> ''")),
    Index(
        "ix_entry_versions_expenses",
        *("source", "project_id"),
        postgresql_where=text("kind = 'expense' AND standing = 'live'"),
    ),
    postgresql_with={"fillfactor": 50},
)

# The approved record as read, each time it became approved; encrypted where there is a cipher.
entry_evidence = Table(
    "entry_evidence",
    metadata,
    _entry(key=True),
    Column("reading", Integer, primary_key=True, autoincrement=False),
    Column("read_at", DateTime(timezone=True), nullable=False),
    Column("record", LargeBinary, nullable=False),
    Column("encrypted", Boolean, nullable=False),
    CheckConstraint("octet_length(record) <= 200000", name="record_length"),
    _to_entry(),
)

# By the entry, not its version: a hold outlives a correction.
holds = Table(
    "holds",
    metadata,
    _serial(),
    *_text("source"),
    *_text("kind"),
    *_text("entry_id"),
    *_text("reason"),
    *_text("owner"),
    *_text("because", REASON_MAX, empty=True),
    _now("since"),
    _time("released_at"),
    *_text("released_by", null=True),
    _one_of("kind", *KINDS),
    CheckConstraint("owner <> ''", name="owned_by_someone"),
    CheckConstraint("(released_at IS NULL) = (released_by IS NULL)", name="release_is_whole"),
    Index(
        "uq_holds_open",
        *("source", "kind", "entry_id", "reason"),
        unique=True,
        postgresql_where=text("released_at IS NULL"),
    ),
    Index("ix_holds_entry", "source", "kind", "entry_id"),
)

findings = Table(
    "findings",
    metadata,
    _serial(),
    *_text("finding"),
    *_text("source"),
    *_text("project_id"),
    *_text("kind"),
    *_text("entry_id"),
    *_text("detail", REASON_MAX, empty=True),
    _now("found_at"),
    _time("closed_at"),
    *_text("closed_by", empty=True),
    _one_of("kind", *KINDS),
    Index(
        "uq_findings_open",
        *("finding", "source", "kind", "entry_id"),
        unique=True,
        postgresql_where=text("closed_at IS NULL"),
    ),
    Index("ix_findings_entry", "source", "kind", "entry_id"),
    Index(
        "ix_findings_project", "source", "project_id", postgresql_where=text("closed_at IS NULL")
    ),
)

# Entries that a message named and that no run has read since.
changed_entries = Table(
    "changed_entries",
    metadata,
    *_text("psa", key=True),
    *_text("project_id", key=True),
    Column("kind", Text, primary_key=True),
    *_text("entry_id", key=True),
    Column("seq", BigInteger, Identity(always=False), nullable=False, unique=True),
    *_text("correlation_id", empty=True),
    _now("noted_at"),
    _one_of("kind", *KINDS),
    Index("ix_changed_entries_project", "psa", "project_id", "seq"),
)

billing_runs = Table(
    "billing_runs",
    metadata,
    *_text("run_key", key=True),
    *_text("psa"),
    *_text("project_id"),
    *_text("period"),
    _integer("number"),
    _integer("generation", 1),
    Column("state", Text, nullable=False, server_default=text("'opened'")),
    *_text("engagement", null=True),
    *_text("client_id", null=True),
    *_text("reservation", empty=True),
    _integer("entries", 0),
    *_text("content_hash", 64, empty=True),
    Column("warnings", JSONB, nullable=False, server_default=text("'[]'")),
    _now("opened_at"),
    _time("ended_at"),
    CheckConstraint("number > 0", name="number_counts_from_one"),
    CheckConstraint("generation > 0", name="generation_counts_from_one"),
    CheckConstraint("period ~ '^[0-9]{4}-[0-9]{2}$'", name="period_is_month"),
    _one_of("state", "opened", "claimed", "rated", "placed", "handed_over", "released"),
    CheckConstraint(
        "(state IN ('handed_over', 'released')) = (ended_at IS NOT NULL)", name="ended_has_time"
    ),
    UniqueConstraint("psa", "project_id", "period", "number"),
    Index("ix_billing_runs_reservation", "psa", "reservation"),
)

run_entries = Table(
    "run_entries",
    metadata,
    *_text("run_key", key=True),
    Column("generation", Integer, primary_key=True, autoincrement=False),
    _entry(key=True),
    # The claim order: caps and retainers are consumed by it.
    _integer("position"),
    Column("state", Text, nullable=False, server_default=text("'claimed'")),
    *_text("changed", null=True),
    _one_of("state", "claimed", "held", "released", "handed_over"),
    _one_of("changed", "unapproved", "superseded", "vanished"),
    UniqueConstraint("run_key", "generation", "position"),
    _to_run(),
    _to_entry(),
    Index("uq_run_entries_open", "entry", unique=True, postgresql_where=text("state = 'claimed'")),
    Index("ix_run_entries_entry", "entry"),
)

# What rating made of an entry; a rebill opens a further cycle for what it re-opens.
ratings = Table(
    "ratings",
    metadata,
    _entry(key=True),
    Column("cycle", Integer, primary_key=True, autoincrement=False, server_default=text("1")),
    *_text("run_key"),
    *_text("line"),
    *_text("legal_entity"),
    _number("amount"),
    *_currency(),
    _integer("minutes"),
    *_text("document", DOCUMENT_MAX),
    CheckConstraint("cycle > 0", name="cycle_counts_from_one"),
    _to_entry(),
    _to_run(),
    Index("ix_ratings_run_key", "run_key"),
)

# A charge or a cost in the ERP: prepared, then posted under our external id.
postings = Table(
    "postings",
    metadata,
    _serial(),
    *_text("run_key"),
    _integer("generation"),
    *_text("kind"),
    *_text("item"),
    _number("amount"),
    *_currency(),
    Column("state", Text, nullable=False, server_default=text("'prepared'")),
    *_text("external_id", null=True),
    _time("posted_at"),
    _time("removed_at"),
    _one_of("kind", "charges", "costs"),
    _one_of("state", "prepared", "live", "removed"),
    CheckConstraint("(state = 'prepared') = (external_id IS NULL)", name="posted_has_id"),
    CheckConstraint("(state = 'removed') = (removed_at IS NOT NULL)", name="removed_has_time"),
    UniqueConstraint("run_key", "generation", "kind", "item"),
    UniqueConstraint("external_id"),
    _to_run(),
)

# What a run posts, made once: a retry sends the same, whatever changed since.
posting_batches = Table(
    "posting_batches",
    metadata,
    *_text("run_key", key=True),
    Column("generation", Integer, primary_key=True, autoincrement=False),
    Column("kind", Text, primary_key=True),
    Column("number", Integer, primary_key=True, autoincrement=False),
    *_text("connection"),
    *_text("document", DOCUMENT_MAX),
    _one_of("kind", "charges", "costs"),
    _to_run(),
)

parts = Table(
    "parts",
    metadata,
    _serial(),
    _entry(),
    _integer("cycle", 1),
    _integer("number"),
    *_text("disposition"),
    _number("amount"),
    *_currency(),
    _integer("minutes", 0),
    *_text("cap", empty=True),
    Column("state", Text, nullable=False, server_default=text("'placed'")),
    *_text("run_key"),
    Column("posting", BigInteger, nullable=True),
    _one_of("disposition", *DISPOSITIONS),
    _one_of("state", *PART_STATES),
    CheckConstraint("number > 0 AND cycle > 0", name="numbers_count_from_one"),
    # Only what is to be billed goes further than its place.
    CheckConstraint(
        "disposition = 'to_bill' OR state IN ('approved', 'claimed', 'rated', 'placed')",
        name="only_to_bill_is_invoiced",
    ),
    CheckConstraint("posting IS NULL OR disposition <> 'written_off'", name="posting_is_due"),
    # With entry_versions: unique by source, entry, version, part and cycle.
    UniqueConstraint("entry", "cycle", "number"),
    ForeignKeyConstraint(["entry", "cycle"], ["ratings.entry", "ratings.cycle"]),
    ForeignKeyConstraint(["posting"], ["postings.id"]),
    _to_run(),
    Index("ix_parts_run_key", "run_key"),
    Index("ix_parts_posting", "posting", postgresql_where=text("posting IS NOT NULL")),
)

cost_track = Table(
    "cost_track",
    metadata,
    _serial(),
    _entry(),
    *_text("run_key"),
    Column("state", Text, nullable=False, server_default=text("'pending'")),
    *_text("legal_entity"),
    _number("amount"),
    *_currency(),
    _number("rate", null=True),
    *_text("rate_source", empty=True),
    Column("rate_from", Date, nullable=True),
    Column("posting", BigInteger, nullable=True),
    _one_of("state", "pending", "posted", "reversed"),
    CheckConstraint("state <> 'posted' OR posting IS NOT NULL", name="posted_has_posting"),
    _to_entry(),
    _to_run(),
    ForeignKeyConstraint(["posting"], ["postings.id"]),
    # Costed once: a further row only after the one before was reversed.
    Index("uq_cost_track_live", "entry", unique=True, postgresql_where=text("state <> 'reversed'")),
    Index("ix_cost_track_entry", "entry"),
    Index("ix_cost_track_run_key", "run_key"),
    Index("ix_cost_track_posting", "posting", postgresql_where=text("posting IS NOT NULL")),
)
