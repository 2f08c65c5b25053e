"""The subledger's second half: ratings, parts, costs, postings, caps, retainers, the trail."""

from typing import Final

from alembic import op
from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Column,
    Date,
    DateTime,
    ForeignKeyConstraint,
    Identity,
    Index,
    Integer,
    Numeric,
    Text,
    UniqueConstraint,
    text,
)
from sqlalchemy.dialects.postgresql import CHAR
from sqlalchemy.schema import SchemaItem

revision: str = "0003a"
down_revision: str | None = "0003"
branch_labels: str | None = None
depends_on: str | None = None

NAME_MAX = 255
REASON_MAX = 2_000
DOCUMENT_MAX = 2_000_000

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
    "postings",
    "posting_batches",
    "ratings",
    "parts",
    "cost_track",
    "caps",
    "cap_uses",
    "retainers",
    "retainer_movements",
    "moves",
)


def upgrade() -> None:
    """Create the tables."""
    _create_ratings()
    _create_parts()
    _create_costs()
    _create_caps()
    _create_retainers()
    _create_moves()


def downgrade() -> None:
    """Drop them, data included."""
    for table in reversed(TABLES):
        op.drop_table(table)


def _create_ratings() -> None:
    # A charge or a cost in the ERP: prepared, then posted under our external id.
    op.create_table(
        "postings",
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
    op.create_table(
        "posting_batches",
        *_text("run_key", key=True),
        Column("generation", Integer, primary_key=True, autoincrement=False),
        Column("kind", Text, primary_key=True),
        Column("number", Integer, primary_key=True, autoincrement=False),
        *_text("connection"),
        *_text("document", DOCUMENT_MAX),
        _one_of("kind", "charges", "costs"),
        _to_run(),
    )
    # What rating made of an entry; a rebill opens a further cycle for what it re-opens.
    op.create_table(
        "ratings",
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


def _create_parts() -> None:
    op.create_table(
        "parts",
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


def _create_costs() -> None:
    op.create_table(
        "cost_track",
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
        Index(
            "uq_cost_track_live", "entry", unique=True, postgresql_where=text("state <> 'reversed'")
        ),
        Index("ix_cost_track_entry", "entry"),
        Index("ix_cost_track_run_key", "run_key"),
        Index("ix_cost_track_posting", "posting", postgresql_where=text("posting IS NOT NULL")),
    )


def _create_caps() -> None:
    op.create_table(
        "caps",
        _serial(),
        *_text("engagement"),
        # Empty: of the whole engagement; period likewise: of no single period.
        *_text("line", empty=True),
        *_text("cap"),
        *_text("period", empty=True),
        *_text("scope"),
        *_text("base"),
        _number("amount"),
        *_currency(),
        _number("reserved", default=True),
        _number("drafted", default=True),
        _number("invoiced", default=True),
        _number("credited", default=True),
        _number("pending", default=True),
        _number("relieving", default=True),
        _one_of("scope", "engagement", "line", "period"),
        _one_of("base", "fees", "expenses", "all"),
        UniqueConstraint("engagement", "line", "cap", "period"),
        CheckConstraint("(scope = 'engagement') = (line = '')", name="scope_has_line"),
        CheckConstraint("(scope = 'period') = (period <> '')", name="scope_has_period"),
        CheckConstraint(
            "reserved + drafted + invoiced - credited BETWEEN 0 AND amount", name="not_exceeded"
        ),
        CheckConstraint("pending >= 0 AND relieving >= 0", name="open_not_negative"),
        CheckConstraint(
            "relieving <= reserved + drafted + invoiced - credited - pending",
            name="relieves_what_is_settled",
        ),
    )
    # Which caps a part counts towards, so that each follows it from state to state.
    op.create_table(
        "cap_uses",
        Column("part", BigInteger, primary_key=True, autoincrement=False),
        Column("cap", BigInteger, primary_key=True, autoincrement=False),
        _number("amount"),
        ForeignKeyConstraint(["part"], ["parts.id"], ondelete="CASCADE"),
        ForeignKeyConstraint(["cap"], ["caps.id"]),
        Index("ix_cap_uses_cap", "cap"),
    )


def _create_retainers() -> None:
    op.create_table(
        "retainers",
        _serial(),
        *_text("engagement"),
        *_text("line"),
        _number("prepaid"),
        _number("drawn", default=True),
        *_currency(),
        _number("pending", default=True),
        _number("relieving", default=True),
        UniqueConstraint("engagement", "line"),
        CheckConstraint("prepaid - drawn >= 0", name="balance_not_negative"),
        CheckConstraint("drawn >= 0 AND pending >= 0 AND relieving >= 0", name="not_negative"),
        CheckConstraint("relieving <= drawn - pending", name="relieves_what_is_settled"),
    )
    op.create_table(
        "retainer_movements",
        _serial(),
        Column("retainer", BigInteger, nullable=False),
        *_text("movement"),
        _number("amount"),
        *_text("run_key", null=True),
        _now("at"),
        _one_of("movement", "prepaid", "drawn", "returned", "undone"),
        ForeignKeyConstraint(["retainer"], ["retainers.id"]),
        _to_run(),
        Index("ix_retainer_movements_retainer", "retainer"),
    )


def _create_moves() -> None:
    # Every move of an entry version, a part or a cost; written by triggers, never changed.
    op.create_table(
        "moves",
        _serial(),
        _now("at"),
        *_text("track"),
        Column("entry", BigInteger, nullable=False),
        Column("cycle", Integer, nullable=True),
        Column("part", Integer, nullable=True),
        *_text("from_state", empty=True),
        *_text("to_state"),
        _number("amount", null=True),
        *_text("run_key", null=True),
        *_text("act", empty=True),
        *_text("because", 2_000, empty=True),
        _one_of("track", "entry", "part", "cost"),
        Index("ix_moves_entry", "entry"),
        Index("ix_moves_run_key", "run_key", postgresql_where=text("run_key IS NOT NULL")),
    )
