"""The tables of issued invoices and credits, on the store's metadata (DESIGN 4, InvoiceLifecycle).

What is applied to an invoice is kept as differences, append-only: what stands of a payment or a
credit is their sum, and a reversal is a negative one.
"""

from typing import Final

from sqlalchemy import (
    BigInteger,
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
from store.subledger_models import _currency, _integer, _number, _serial

INVOICE_STATES: Final = (
    *("issued", "transmitted", "delivery_rejected", "part_settled", "settled"),
    *("overdue", "disputed", "credited", "voided", "gone"),
)
SETTLED_BY: Final = ("", "cash", "credit", "write_off", "withholding", "several")
APPLICATIONS: Final = ("payment", "credit", "write_off", "withholding")
REASONS: Final = ("rebill", "concession", "service_credit", "cancelled")


def _to_invoice() -> ForeignKeyConstraint:
    return ForeignKeyConstraint(["connection", "invoice"], ["invoices.connection", "invoices.id"])


invoices = Table(
    "invoices",
    metadata,
    *_text("connection", key=True),
    *_text("id", key=True),
    *_text("record_type"),
    *_text("draft"),
    _integer("posting"),
    *_text("external_id", empty=True),
    *_text("number", empty=True),
    Column("on", Date, nullable=False),
    Column("due", Date, nullable=True),
    *_text("period", empty=True),
    *_currency(),
    *_text("legal_entity"),
    *_text("client_id"),
    *_text("client_po", empty=True),
    _number("net"),
    _number("tax"),
    _number("gross"),
    _number("remaining"),
    Column("state", Text, nullable=False),
    Column("settled_by", Text, nullable=False, server_default=text("''")),
    *_text("disputed", REASON_MAX, empty=True),
    # What became of it on its way to the client, and what the issuing system said of that last.
    *_text("delivery", empty=True),
    *_text("delivery_because", REASON_MAX, empty=True),
    *_text("delivery_word", empty=True),
    # How often something was said of it.
    _integer("deliveries", 0),
    # Number of the last change that was noted.
    _integer("change", 0),
    Column("seen_at", DateTime(timezone=True), nullable=False),
    _now("recorded_at"),
    _one_of("state", *INVOICE_STATES),
    _one_of("settled_by", *SETTLED_BY),
    _one_of("delivery", "", "transmitted", "delivery_rejected"),
    CheckConstraint("change >= 0", name="change_counts"),
    ForeignKeyConstraint(["draft"], ["drafts.id"]),
    # One invoice for each draft, for good.
    UniqueConstraint("draft"),
    Index("ix_invoices_number", "number"),
    Index("ix_invoices_client", "client_id", "client_po"),
    Index("ix_invoices_state", "state"),
)

invoice_lines = Table(
    "invoice_lines",
    metadata,
    *_text("connection", key=True),
    *_text("invoice", key=True),
    Column("position", Integer, primary_key=True, autoincrement=False),
    # Of the draft's line; 0: somebody added it in the issuing system.
    _integer("number"),
    *_text("item", empty=True),
    _number("expected"),
    *_text("issued", DOCUMENT_MAX),
    _to_invoice(),
)

invoice_changes = Table(
    "invoice_changes",
    metadata,
    *_text("connection", key=True),
    *_text("invoice", key=True),
    Column("change", Integer, primary_key=True, autoincrement=False),
    *_text("before", empty=True),
    *_text("state"),
    _number("remaining"),
    _now("at"),
    CheckConstraint("change > 0", name="change_counts_from_one"),
    _to_invoice(),
)

# How what is applied by one record changed; the sum by id is what stands.
invoice_applications = Table(
    "invoice_applications",
    metadata,
    _serial(),
    *_text("connection"),
    *_text("invoice"),
    _integer("change"),
    *_text("application"),
    *_text("kind"),
    _number("amount"),
    Column("on", Date, nullable=False),
    *_text("reference", empty=True),
    *_text("external_id", empty=True),
    _one_of("kind", *APPLICATIONS),
    CheckConstraint("amount <> 0", name="amount_says_something"),
    UniqueConstraint("connection", "invoice", "change", "application"),
    ForeignKeyConstraint(
        ["connection", "invoice", "change"],
        ["invoice_changes.connection", "invoice_changes.invoice", "invoice_changes.change"],
    ),
)

# Which system was told of which change: each once.
invoice_deliveries = Table(
    "invoice_deliveries",
    metadata,
    *_text("connection", key=True),
    *_text("invoice", key=True),
    Column("change", Integer, primary_key=True, autoincrement=False),
    *_text("system", key=True),
    _now("at"),
    ForeignKeyConstraint(
        ["connection", "invoice", "change"],
        ["invoice_changes.connection", "invoice_changes.invoice", "invoice_changes.change"],
    ),
)

credits_ = Table(
    "credits",
    metadata,
    *_text("id", key=True),
    *_text("connection"),
    *_text("invoice"),
    Column("state", Text, nullable=False, server_default=text("'asked'")),
    _number("net"),
    *_currency(),
    *_text("asked_by"),
    *_text("approved_by", empty=True),
    *_text("because", REASON_MAX, empty=True),
    *_text("document", DOCUMENT_MAX),
    # The credit note as issued.
    *_text("note_id", null=True),
    *_text("note_number", empty=True),
    _number("note_net", null=True),
    _number("note_gross", null=True),
    Column("note_on", Date, nullable=True),
    _now("asked_at"),
    _time("credited_at"),
    _one_of("state", "asked", "approved", "refused", "credited"),
    CheckConstraint("net > 0", name="net_is_positive"),
    CheckConstraint("(state IN ('approved', 'credited')) = (approved_by <> '')", name="approved"),
    CheckConstraint("approved_by <> asked_by", name="approved_by_another"),
    CheckConstraint("(state = 'credited') = (note_id IS NOT NULL)", name="credited_has_note"),
    _to_invoice(),
    Index("ix_credits_invoice", "connection", "invoice"),
    Index(
        "uq_credits_note",
        *("connection", "note_id"),
        unique=True,
        postgresql_where=text("note_id IS NOT NULL"),
    ),
)

credit_parts = Table(
    "credit_parts",
    metadata,
    _serial(),
    *_text("credit"),
    _integer("number"),
    *_text("item"),
    Column("member", BigInteger, nullable=False),
    _number("amount"),
    *_text("reason"),
    # The part or the fee of the next billing cycle that it opened.
    Column("opened_part", BigInteger, nullable=True),
    Column("opened_fee", BigInteger, nullable=True),
    _one_of("reason", *REASONS),
    CheckConstraint("amount > 0", name="amount_is_positive"),
    CheckConstraint(
        "reason = 'rebill' OR (opened_part IS NULL AND opened_fee IS NULL)",
        name="only_a_rebill_opens",
    ),
    UniqueConstraint("credit", "number", "member", "reason"),
    ForeignKeyConstraint(["credit"], ["credits.id"]),
    ForeignKeyConstraint(["member"], ["draft_members.id"]),
    ForeignKeyConstraint(["opened_part"], ["parts.id"]),
    ForeignKeyConstraint(["opened_fee"], ["fees.id"]),
    Index("ix_credit_parts_member", "member"),
    Index(
        "ix_credit_parts_opened_part",
        "opened_part",
        postgresql_where=text("opened_part IS NOT NULL"),
    ),
    Index(
        "ix_credit_parts_opened_fee", "opened_fee", postgresql_where=text("opened_fee IS NOT NULL")
    ),
)
