"""The tables of fees, drafts and client POs, on the store's metadata (DESIGN 4, 5).

What a constraint can say, a constraint says here; legal moves, sums and the agreement of members
with what they bill are triggers of migration 0011. Documents are kept as text, exactly as written;
the columns beside them are what the database itself counts and searches by.
"""

from typing import Final

from sqlalchemy import (
    ARRAY,
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    Date,
    DateTime,
    ForeignKeyConstraint,
    Index,
    Integer,
    Table,
    Text,
    UniqueConstraint,
    text,
)

from store.models import DOCUMENT_MAX, REASON_MAX, _now, _one_of, _text, _time, metadata
from store.subledger_models import _currency, _integer, _number, _serial, parts

FEE_STATES: Final = (
    *("reserved", "handed_over", "drafted", "released"),
    *("invoiced", "credited", "returned"),
)
DRAFT_STATES: Final = (
    *("in_review", "queued", "released", "invoiced"),
    *("rejected", "merged", "empty"),
)
LINE_STATES: Final = ("in", "held", "deferred", "written_off", "moved")
_ONE = "(part IS NULL) <> (fee IS NULL)"

# What waits to be drafted, found without looking at all that was ever billed.
Index(
    "ix_parts_free",
    parts.c.entry,
    postgresql_where=text("state = 'placed' AND disposition = 'to_bill'"),
)

# Amounts that the contract itself makes due: milestones and scheduled lines.
fees = Table(
    "fees",
    metadata,
    _serial(),
    *_text("source"),
    *_text("item"),
    _integer("cycle", 1),
    *_text("engagement"),
    *_text("line"),
    *_text("psa"),
    *_text("project_id"),
    *_text("client_id"),
    *_text("period"),
    _number("amount"),
    *_currency(),
    Column("state", Text, nullable=False, server_default=text("'reserved'")),
    *_text("run"),
    *_text("document", DOCUMENT_MAX),
    # Why it may not be billed any more, though it is on its way.
    *_text("withdrawn", REASON_MAX, empty=True),
    # Why a person keeps it off invoices, and who.
    *_text("held", REASON_MAX, empty=True),
    *_text("held_by", empty=True),
    _now("reserved_at"),
    _now("moved_at"),
    _one_of("source", "milestone", "schedule"),
    _one_of("state", *FEE_STATES),
    CheckConstraint("cycle > 0", name="cycle_counts_from_one"),
    CheckConstraint("(held = '') = (held_by = '')", name="hold_is_whole"),
    Index(
        "uq_fees_live",
        *("source", "item", "cycle"),
        unique=True,
        postgresql_where=text("state <> 'returned'"),
    ),
    Index("ix_fees_line", "engagement", "line"),
    Index("ix_fees_run", "run"),
    Index("ix_fees_free", "psa", "project_id", postgresql_where=text("state = 'handed_over'")),
)

drafts = Table(
    "drafts",
    metadata,
    *_text("id", key=True),
    _integer("version", 1),
    *_text("state"),
    *_text("family"),
    *_text("legal_entity"),
    *_text("client_id"),
    *_text("client_po", empty=True),
    *_currency(),
    *_text("period"),
    *_text("reviewer", empty=True),
    _time("review_until"),
    _integer("posting", 0),
    _number("net"),
    _number("gross"),
    *_text("content_hash", 64),
    *_text("released_hash", 64, empty=True),
    *_text("document", DOCUMENT_MAX),
    _now("made_at"),
    _now("changed_at"),
    _one_of("state", *DRAFT_STATES),
    CheckConstraint("version > 0 AND posting >= 0", name="numbers_count"),
    # Any change of what the client would see voids a release.
    CheckConstraint(
        "state NOT IN ('released', 'invoiced') OR released_hash = content_hash",
        name="released_as_it_is",
    ),
    Index("ix_drafts_family", "family"),
    Index("ix_drafts_state", "state", "id"),
    Index("ix_drafts_client_po", "client_id", "client_po"),
    Index(
        "ix_drafts_due",
        "review_until",
        postgresql_where=text("state = 'in_review' AND review_until IS NOT NULL"),
    ),
)

# Every version as it was, for what a reviewer saw and a releaser released.
draft_versions = Table(
    "draft_versions",
    metadata,
    *_text("draft", key=True),
    Column("version", Integer, primary_key=True, autoincrement=False),
    *_text("content_hash", 64),
    *_text("document", DOCUMENT_MAX),
    *_text("by"),
    _now("at"),
    ForeignKeyConstraint(["draft"], ["drafts.id"]),
)

draft_lines = Table(
    "draft_lines",
    metadata,
    *_text("draft", key=True),
    Column("number", Integer, primary_key=True, autoincrement=False),
    *_text("state"),
    *_text("engagement"),
    *_text("line"),
    *_text("project_id"),
    _number("amount"),
    _number("written_down", default=True),
    _one_of("state", *LINE_STATES),
    CheckConstraint("number > 0", name="number_counts_from_one"),
    CheckConstraint("written_down >= 0", name="written_down_not_negative"),
    ForeignKeyConstraint(["draft"], ["drafts.id"]),
    Index("ix_draft_lines_engagement", "engagement"),
)

# What a line bills, or billed before it went elsewhere: `live` rows hold it.
draft_members = Table(
    "draft_members",
    metadata,
    _serial(),
    *_text("draft"),
    _integer("number"),
    Column("part", BigInteger, nullable=True),
    Column("fee", BigInteger, nullable=True),
    _number("amount"),
    # Its share of what the line was written down by.
    _number("written_down", default=True),
    _number("credited", default=True),
    Column("live", Boolean, nullable=False),
    CheckConstraint(_ONE, name="bills_one_thing"),
    CheckConstraint(
        "written_down BETWEEN 0 AND greatest(amount, 0)", name="written_down_within_amount"
    ),
    CheckConstraint(
        "credited BETWEEN 0 AND greatest(amount - written_down, 0)", name="credited_within_billed"
    ),
    ForeignKeyConstraint(["draft", "number"], ["draft_lines.draft", "draft_lines.number"]),
    ForeignKeyConstraint(["part"], ["parts.id"]),
    ForeignKeyConstraint(["fee"], ["fees.id"]),
    UniqueConstraint("draft", "number", "part"),
    UniqueConstraint("draft", "number", "fee"),
    # Billed once per billing cycle: a part, and a fee, is of one cycle.
    Index("uq_draft_members_part", "part", unique=True, postgresql_where=text("live")),
    Index("uq_draft_members_fee", "fee", unique=True, postgresql_where=text("live")),
    Index("ix_draft_members_part", "part"),
    Index("ix_draft_members_fee", "fee"),
)

# The answer to each act, so that the same act again is answered the same.
draft_acts = Table(
    "draft_acts",
    metadata,
    *_text("act_id", key=True),
    *_text("draft"),
    *_text("act"),
    *_text("by"),
    *_text("answer", DOCUMENT_MAX),
    _now("at"),
    Index("ix_draft_acts_draft", "draft"),
)

draft_numbers = Table(
    "draft_numbers",
    metadata,
    *_text("prefix", key=True),
    _integer("last"),
    CheckConstraint("last > 0", name="last_counts_from_one"),
)

# Amounts that a draft gave back, but not to be drafted at once: until a day, or never.
set_asides = Table(
    "set_asides",
    metadata,
    _serial(),
    *_text("kind"),
    Column("part", BigInteger, nullable=True),
    Column("fee", BigInteger, nullable=True),
    Column("until", Date, nullable=True),
    *_text("draft"),
    _integer("number"),
    *_text("because", REASON_MAX, empty=True),
    *_text("by"),
    _now("at"),
    _one_of("kind", "deferred", "written_off"),
    CheckConstraint(_ONE, name="sets_one_thing_aside"),
    CheckConstraint("(kind = 'deferred') = (until IS NOT NULL)", name="deferred_has_day"),
    ForeignKeyConstraint(["draft", "number"], ["draft_lines.draft", "draft_lines.number"]),
    ForeignKeyConstraint(["part"], ["parts.id"]),
    ForeignKeyConstraint(["fee"], ["fees.id"]),
    Index("ix_set_asides_part", "part", postgresql_where=text("part IS NOT NULL")),
    Index("ix_set_asides_fee", "fee", postgresql_where=text("fee IS NOT NULL")),
)

client_pos = Table(
    "client_pos",
    metadata,
    *_text("client_id", key=True),
    *_text("number", key=True),
    _integer("version", 1),
    # What may be taken of it: its amount, or what was taken before it was lowered.
    _number("amount"),
    *_currency(),
    *_text("basis"),
    *_text("replaced_by", empty=True),
    _number("drafted", default=True),
    _number("released", default=True),
    _number("invoiced", default=True),
    _number("credited", default=True),
    *_text("document", DOCUMENT_MAX),
    _now("recorded_at"),
    _one_of("basis", "net", "gross"),
    CheckConstraint("version > 0", name="version_counts_from_one"),
    CheckConstraint("released + invoiced - credited <= amount", name="not_exceeded"),
    CheckConstraint("credited <= invoiced", name="credits_what_was_invoiced"),
)

# Lines of client POs as they are counted: those that name no contract lines as one.
client_po_lines = Table(
    "client_po_lines",
    metadata,
    *_text("client_id", key=True),
    *_text("number", key=True),
    Column("place", Integer, primary_key=True, autoincrement=False),
    Column("numbers", ARRAY(Text), nullable=False),
    # None: for what no other line names.
    Column("contract_lines", ARRAY(Text), nullable=False),
    # What it comes to; and what may be taken: that, or what was taken before it was lowered.
    _number("given"),
    _number("amount"),
    # Decimals of the currency: shares of a gross amount are rounded to them.
    _integer("digits"),
    _number("drafted", default=True),
    _number("released", default=True),
    _number("invoiced", default=True),
    _number("credited", default=True),
    CheckConstraint("place > 0", name="place_counts_from_one"),
    CheckConstraint("released + invoiced - credited <= amount", name="not_exceeded"),
    ForeignKeyConstraint(
        ["client_id", "number"],
        ["client_pos.client_id", "client_pos.number"],
    ),
)

# Somebody asks that a client is not billed for now.
client_holds = Table(
    "client_holds",
    metadata,
    _serial(),
    *_text("client_id"),
    *_text("source"),
    *_text("reason", REASON_MAX, empty=True),
    Column("since", DateTime(timezone=True), nullable=False, server_default=text("now()")),
    _time("released_at"),
    *_text("released_by", null=True),
    CheckConstraint("(released_at IS NULL) = (released_by IS NULL)", name="release_is_whole"),
    Index(
        "uq_client_holds_open",
        *("client_id", "source"),
        unique=True,
        postgresql_where=text("released_at IS NULL"),
    ),
)

# Every move of a fee, a draft, an invoice or a credit; written by triggers, never changed.
billing_moves = Table(
    "billing_moves",
    metadata,
    _serial(),
    _now("at"),
    *_text("track"),
    *_text("subject", 400),
    *_text("from_state", empty=True),
    *_text("to_state"),
    _number("amount", null=True),
    *_text("act", empty=True),
    _one_of("track", "fee", "draft", "invoice", "credit"),
    Index("ix_billing_moves_subject", "track", "subject"),
)
