"""The subledger's first half: engagements, entry versions with their evidence, holds, runs."""

from typing import Final

from alembic import op
from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    Date,
    DateTime,
    ForeignKeyConstraint,
    Identity,
    Index,
    Integer,
    LargeBinary,
    Numeric,
    Text,
    UniqueConstraint,
    text,
)
from sqlalchemy.dialects.postgresql import CHAR, JSONB
from sqlalchemy.schema import SchemaItem

revision: str = "0003"
down_revision: str | None = "0002"
branch_labels: str | None = None
depends_on: str | None = None

NAME_MAX = 255
REASON_MAX = 2_000
KEY_MAX = 400

KINDS: Final = ("time", "expense", "adjustment")
ENTRY_STATES: Final = ("waiting", "approved", "claimed", "rated", "placed", "withdrawn")
"""`waiting`: a newer version, read while an older one is in a run."""
PART_STATES: Final = (
    *("approved", "claimed", "rated", "placed"),
    *("drafted", "released", "invoiced", "credited"),
)
DISPOSITIONS: Final = (
    *("to_bill", "covered_by_fixed_fee", "drawn_from_retainer"),
    *("over_cap", "written_off", "non_billable"),
)


def _text(
    name: str,
    limit: int = NAME_MAX,
    *,
    key: bool = False,
    null: bool = False,
    empty: bool = False,
) -> tuple[SchemaItem, ...]:
    default = text("''") if empty else None
    column = Column(name, Text, primary_key=key, nullable=null, server_default=default)
    return column, CheckConstraint(f"char_length({name}) <= {limit}", name=f"{name}_length")


def _one_of(column: str, *values: str) -> CheckConstraint:
    allowed = ", ".join(f"'{value}'" for value in values)
    return CheckConstraint(f"{column} IN ({allowed})", name=f"{column}_known")


def _now(name: str) -> Column[object]:
    return Column(name, DateTime(timezone=True), nullable=False, server_default=text("now()"))


def _time(name: str) -> Column[object]:
    return Column(name, DateTime(timezone=True), nullable=True)


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


TABLES = (
    "engagements",
    "billing_runs",
    "entry_versions",
    "entry_evidence",
    "run_entries",
    "holds",
    "findings",
    "changed_entries",
    "workers",
    "exchange_rates",
)


def upgrade() -> None:
    """Create the tables."""
    _create_engagements()
    _create_runs()
    _create_entries()
    _create_evidence()
    _create_desk()
    _create_master()


def downgrade() -> None:
    """Drop them, data included."""
    for table in reversed(TABLES):
        op.drop_table(table)


def _create_engagements() -> None:
    op.create_table(
        "engagements",
        *_text("id", key=True),
        *_text("psa", key=True),
        *_text("project_id", key=True),
        Column("effective_from", Date, primary_key=True),
        *_text("client_id"),
        *_text("title", REASON_MAX, empty=True),
        *_text("default_line", empty=True),
        Column("lines", JSONB, nullable=False),
        Column("caps", JSONB, nullable=False),
        _now("recorded_at"),
        CheckConstraint("char_length(lines::text) <= 2000000", name="lines_length"),
        # One contract at a time bills a project.
        UniqueConstraint("psa", "project_id", "effective_from"),
    )


def _create_runs() -> None:
    op.create_table(
        "billing_runs",
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


def _entry_indexes() -> tuple[Index, ...]:
    return (
        Index(
            "uq_entry_versions_live",
            *("source", "kind", "entry_id"),
            unique=True,
            postgresql_where=text("state NOT IN ('waiting', 'withdrawn')"),
        ),
        Index(
            "uq_entry_versions_waiting",
            *("source", "kind", "entry_id"),
            unique=True,
            postgresql_where=text("state = 'waiting'"),
        ),
        Index(
            "ix_entry_versions_claimable",
            *("source", "project_id", "approved_at", "entry_id", "kind"),
            postgresql_where=text("state = 'approved'"),
        ),
        Index("ix_entry_versions_project", "source", "project_id", "state"),
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
        Index(
            "ix_entry_versions_adjusts", "source", "adjusts", postgresql_where=text("adjusts <> ''")
        ),
        Index(
            "ix_entry_versions_expenses",
            *("source", "project_id"),
            postgresql_where=text("kind = 'expense' AND state NOT IN ('waiting', 'withdrawn')"),
        ),
    )


def _create_entries() -> None:
    op.create_table(
        "entry_versions",
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
        _one_of("kind", *KINDS),
        _one_of("state", *ENTRY_STATES),
        UniqueConstraint("source", "kind", "entry_id", "version"),
        CheckConstraint(
            "(state IN ('claimed', 'rated', 'placed')) = (run_key IS NOT NULL)",
            name="in_run_has_run",
        ),
        CheckConstraint("handed_over_at IS NULL OR state = 'placed'", name="handed_over_is_placed"),
        ForeignKeyConstraint(["run_key"], ["billing_runs.run_key"]),
        *_entry_indexes(),
    )


def _create_evidence() -> None:
    # The approved record as read, each time it became approved; encrypted where there is a cipher.
    op.create_table(
        "entry_evidence",
        _entry(key=True),
        Column("reading", Integer, primary_key=True, autoincrement=False),
        Column("read_at", DateTime(timezone=True), nullable=False),
        Column("record", LargeBinary, nullable=False),
        Column("encrypted", Boolean, nullable=False),
        CheckConstraint("octet_length(record) <= 200000", name="record_length"),
        _to_entry(),
    )
    op.create_table(
        "run_entries",
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
        Index(
            "uq_run_entries_open", "entry", unique=True, postgresql_where=text("state = 'claimed'")
        ),
        Index("ix_run_entries_entry", "entry"),
    )


def _create_desk() -> None:
    # By the entry, not its version: a hold outlives a correction.
    op.create_table(
        "holds",
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
    op.create_table(
        "findings",
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
            "ix_findings_project",
            "source",
            "project_id",
            postgresql_where=text("closed_at IS NULL"),
        ),
    )
    # Entries that a message named and that no run has read since.
    op.create_table(
        "changed_entries",
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


def _create_master() -> None:
    op.create_table(
        "workers",
        *_text("email", key=True),
        Column("valid_from", Date, primary_key=True),
        *_text("source"),
        *_text("worker_id"),
        *_text("name"),
        *_text("role", empty=True),
        *_text("employee_class", empty=True),
        *_text("legal_entity", empty=True),
        *_text("cost_center", empty=True),
        _number("cost_rate", null=True),
        *_text("cost_currency", 3, empty=True),
        Column("active", Boolean, nullable=False),
        _now("read_at"),
        CheckConstraint("email = lower(email)", name="email_is_lower_case"),
        CheckConstraint("cost_rate IS NULL OR cost_rate >= 0", name="cost_rate_not_negative"),
    )
    op.create_table(
        "exchange_rates",
        *_currency("from_currency", key=True),
        *_currency("to_currency", key=True),
        Column("valid_from", Date, primary_key=True),
        _number("rate"),
        *_text("source", KEY_MAX),
        _now("read_at"),
        CheckConstraint("rate > 0", name="rate_is_positive"),
    )
