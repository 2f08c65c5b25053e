"""The tables of the store, as SQLAlchemy metadata: the one description that migrations must equal.

Documents that are read back as models are kept as text, exactly as written; only what the audit
trail hashes is jsonb. Every text has a limit, every state a list of values, every time a zone.
"""

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    DateTime,
    Float,
    ForeignKeyConstraint,
    Identity,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    Numeric,
    Table,
    Text,
    UniqueConstraint,
    text,
)
from sqlalchemy.dialects.postgresql import ARRAY, JSONB
from sqlalchemy.schema import SchemaItem

NAME_MAX = 255
"""Characters of ids, names, codes: workflow ids are the longest of them."""
KEY_MAX = 400
"""Characters of a step's key: a workflow id, a generation, a step and an item."""
REASON_MAX = 2_000
"""Characters of what people and vendors say; longer ones are cut before they get here."""
DOCUMENT_MAX = 2_000_000
"""Characters of a document: what Temporal takes as one payload (TEMPORAL.md, pitfall P9)."""
BODY_MAX = 4_194_304
"""Bytes of an event's body as stored; the gateway's own limit lies well below."""
HEADERS_MAX = 20_000
"""Characters of the headers of an event that are kept."""

metadata = MetaData(
    naming_convention={
        "pk": "pk_%(table_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "fk": "fk_%(table_name)s_%(referred_table_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
    }
)


def _text(
    name: str,
    limit: int = NAME_MAX,
    *,
    key: bool = False,
    null: bool = False,
    empty: bool = False,
) -> tuple[SchemaItem, ...]:
    """Return a bounded text column: required, unless it may be null or is empty by default."""
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


saga_generations = Table(
    "saga_generations",
    metadata,
    *_text("workflow_id", key=True),
    Column("generation", Integer, primary_key=True, autoincrement=False),
    *_text("saga"),
    *_text("business_key", empty=True),
    *_text("correlation_id", empty=True),
    *_text("run_id", empty=True),
    Column("state", Text, nullable=False, server_default=text("'open'")),
    *_text("outcome", null=True),
    *_text("reason", REASON_MAX, empty=True),
    *_text("input_json", DOCUMENT_MAX, empty=True),
    *_text("bundle", empty=True),
    *_text("plan_json", DOCUMENT_MAX, empty=True),
    *_text("result_json", DOCUMENT_MAX, null=True),
    _now("opened_at"),
    _time("closed_at"),
    _time("ended_at"),
    CheckConstraint("generation > 0", name="generation_counts_from_one"),
    _one_of("state", "open", "closed", "ended"),
    _one_of(
        "outcome",
        "completed",
        "completed_with_residue",
        "rolled_back",
        "rolled_back_with_residue",
        "abandoned",
    ),
    CheckConstraint(
        "(state = 'ended') = (outcome IS NOT NULL AND result_json IS NOT NULL)",
        name="ended_has_outcome",
    ),
    Index(
        "ix_saga_generations_residue",
        "ended_at",
        postgresql_where=text("outcome IN ('rolled_back_with_residue', 'completed_with_residue')"),
    ),
    Index(
        "ix_saga_generations_unfinished",
        "workflow_id",
        postgresql_where=text("state <> 'ended'"),
    ),
    Index("ix_saga_generations_business_key", "business_key"),
)

step_ledger = Table(
    "step_ledger",
    metadata,
    *_text("key", KEY_MAX, key=True),
    Column("attempt", Integer, primary_key=True, autoincrement=False),
    # Claim order over all attempts: an undo goes by it.
    Column("seq", BigInteger, Identity(always=True), nullable=False),
    Column("round", Integer, nullable=False, server_default=text("0")),
    *_text("workflow_id"),
    Column("generation", Integer, nullable=False),
    *_text("step"),
    *_text("connection", empty=True),
    Column("state", Text, nullable=False),
    # An earlier try under this attempt number may have written: it never counts as not done.
    Column("doubtful", Boolean, nullable=False, server_default=text("false")),
    *_text("request_json", DOCUMENT_MAX),
    *_text("before_image", DOCUMENT_MAX, null=True),
    *_text("receipt_json", DOCUMENT_MAX, null=True),
    Column("seconds", Float, nullable=False, server_default=text("0")),
    *_text("reason", REASON_MAX, empty=True),
    _now("claimed_at"),
    _time("ended_at"),
    _time("undone_at"),
    *_text("undo_result", null=True),
    *_text("undo_json", DOCUMENT_MAX, null=True),
    CheckConstraint("attempt > 0", name="attempt_counts_from_one"),
    CheckConstraint("seconds >= 0", name="seconds_not_negative"),
    _one_of("state", "claimed", "unknown", "not_done", "done"),
    CheckConstraint("(state = 'done') = (receipt_json IS NOT NULL)", name="done_has_receipt"),
    CheckConstraint("(undone_at IS NULL) = (undo_json IS NULL)", name="undone_has_receipt"),
    ForeignKeyConstraint(
        ["workflow_id", "generation"],
        ["saga_generations.workflow_id", "saga_generations.generation"],
    ),
    Index("ix_step_ledger_workflow_id_generation", "workflow_id", "generation"),
)

cross_references = Table(
    "cross_references",
    metadata,
    *_text("key", KEY_MAX, key=True),
    # 0 is the step's record, 1.. the parts of an atomic write, in the order of the request.
    Column("position", Integer, primary_key=True, autoincrement=False),
    *_text("workflow_id"),
    Column("generation", Integer, nullable=False),
    *_text("step"),
    *_text("system"),
    *_text("record_type"),
    *_text("record_id"),
    *_text("outcome"),
    _now("recorded_at"),
    _time("undone_at"),
    Index("ix_cross_references_record", "system", "record_type", "record_id"),
    Index("ix_cross_references_workflow_id", "workflow_id"),
)

shared_records = Table(
    "shared_records",
    metadata,
    *_text("shared_key", KEY_MAX, key=True),
    *_text("connection", key=True),
    *_text("record_type", null=True),
    *_text("record_id", null=True),
    # Null: the record existed before Dealthread, or there is none yet.
    *_text("created_by_workflow", null=True),
    Column("created_by_generation", Integer, nullable=True),
    *_text("lease_owner", KEY_MAX, null=True),
    _time("lease_until"),
    _time("recorded_at"),
    CheckConstraint("(record_id IS NULL) = (record_type IS NULL)", name="record_is_whole"),
    CheckConstraint("(lease_owner IS NULL) = (lease_until IS NULL)", name="lease_is_whole"),
    CheckConstraint(
        "(created_by_workflow IS NULL) = (created_by_generation IS NULL)", name="creator_is_whole"
    ),
)

shared_record_uses = Table(
    "shared_record_uses",
    metadata,
    *_text("shared_key", KEY_MAX, key=True),
    *_text("connection", key=True),
    *_text("workflow_id", key=True),
    Column("generation", Integer, primary_key=True, autoincrement=False),
    Column("seq", BigInteger, Identity(always=True), nullable=False),
    _now("registered_at"),
    ForeignKeyConstraint(
        ["shared_key", "connection"],
        ["shared_records.shared_key", "shared_records.connection"],
    ),
)

work_items = Table(
    "work_items",
    metadata,
    *_text("id", key=True),
    *_text("workflow_id"),
    Column("generation", Integer, nullable=False),
    Column("park", Integer, nullable=False),
    *_text("kind"),
    *_text("step"),
    *_text("reason"),
    *_text("connection", empty=True),
    # Out of the document, to find, count and sort by.
    *_text("client_id", empty=True),
    *_text("project_code", empty=True),
    Column("legal_entities", ARRAY(Text), nullable=False, server_default=text("'{}'")),
    Column("amount", Numeric, nullable=True),
    *_text("currency", 3, null=True),
    *_text("item_json", DOCUMENT_MAX),
    Column("state", Text, nullable=False, server_default=text("'open'")),
    Column("opened_at", DateTime(timezone=True), nullable=False),
    Column("respond_by", DateTime(timezone=True), nullable=False),
    _time("escalated_at"),
    *_text("escalated_because", REASON_MAX, empty=True),
    _time("closed_at"),
    *_text("how", REASON_MAX, empty=True),
    *_text("decision_id", empty=True),
    _one_of("state", "open", "closed"),
    CheckConstraint("(state = 'closed') = (closed_at IS NOT NULL)", name="closed_has_time"),
    CheckConstraint("(amount IS NULL) = (currency IS NULL)", name="money_is_whole"),
    Index("ix_work_items_workflow_id", "workflow_id"),
    Index("ix_work_items_open", "respond_by", postgresql_where=text("state = 'open'")),
)

decisions = Table(
    "decisions",
    metadata,
    *_text("id", key=True),
    *_text("work_item_id"),
    Column("park", Integer, nullable=False),
    *_text("verb"),
    *_text("decision_json", DOCUMENT_MAX),
    *_text("decided_by"),
    Column("needs_second", Boolean, nullable=False),
    *_text("approved_by", empty=True),
    _now("proposed_at"),
    _time("approved_at"),
    _time("taken_at"),
    CheckConstraint("decided_by <> ''", name="decided_by_someone"),
    CheckConstraint("lower(approved_by) <> lower(decided_by)", name="second_person"),
    CheckConstraint(
        "taken_at IS NULL OR approved_at IS NOT NULL OR NOT needs_second",
        name="taken_after_approval",
    ),
    ForeignKeyConstraint(["work_item_id"], ["work_items.id"]),
    Index("ix_decisions_work_item_id", "work_item_id"),
    Index("ix_decisions_pending", "proposed_at", postgresql_where=text("taken_at IS NULL")),
)

outbox = Table(
    "outbox",
    metadata,
    Column("id", BigInteger, Identity(always=True), primary_key=True),
    *_text("kind"),
    *_text("subject", KEY_MAX),
    *_text("payload_json", DOCUMENT_MAX),
    _now("created_at"),
    _time("sent_at"),
    Index("ix_outbox_unsent", "id", postgresql_where=text("sent_at IS NULL")),
)

audit_trail = Table(
    "audit_trail",
    metadata,
    *_text("subject", KEY_MAX, key=True),
    Column("seq", BigInteger, primary_key=True, autoincrement=False),
    # All but actor, act and data are set by a trigger: the application cannot forge them.
    Column("at", DateTime(timezone=True), nullable=False),
    *_text("actor"),
    *_text("act"),
    Column("data", JSONB, nullable=False, server_default=text("'{}'")),
    *_text("prev_hash", 64),
    *_text("hash", 64),
    CheckConstraint("char_length(data::text) <= 100000", name="data_length"),
    Index("ix_audit_trail_at", "at"),
)

audit_seals = Table(
    "audit_seals",
    metadata,
    *_text("subject", KEY_MAX, key=True),
    Column("seq", BigInteger, primary_key=True, autoincrement=False),
    *_text("hash", 64),
    _now("sealed_at"),
    Index("ix_audit_seals_sealed_at", "sealed_at"),
)

connection_budgets = Table(
    "connection_budgets",
    metadata,
    *_text("connection", key=True),
    Column("ceiling", Integer, nullable=False),
    Column("current", Integer, nullable=False),
    _time("throttled_at"),
    _time("restored_at"),
    CheckConstraint("ceiling > 0", name="ceiling_is_positive"),
    CheckConstraint("current BETWEEN 1 AND ceiling", name="current_within_ceiling"),
)

budget_leases = Table(
    "budget_leases",
    metadata,
    *_text("connection", key=True),
    *_text("worker", key=True),
    Column("slots", Integer, nullable=False),
    Column("most", Integer),
    Column("expires_at", DateTime(timezone=True), nullable=False),
    CheckConstraint("slots >= 0", name="slots_not_negative"),
    CheckConstraint("most > 0", name="most_positive"),
    ForeignKeyConstraint(["connection"], ["connection_budgets.connection"]),
)

# Events in (DESIGN 9): the inbox is the truth for what arrived, and for what arrived twice.

event_inbox = Table(
    "event_inbox",
    metadata,
    # The order of arrival: the drain goes by it.
    Column("id", BigInteger, Identity(always=True), primary_key=True),
    *_text("connection"),
    *_text("event_id"),
    *_text("protocol"),
    *_text("kind", empty=True),
    *_text("subject", empty=True),
    Column("body", LargeBinary, nullable=False),
    Column("encrypted", Boolean, nullable=False, server_default=text("false")),
    *_text("headers_json", HEADERS_MAX, empty=True),
    *_text("correlation_id", empty=True),
    Column("state", Text, nullable=False, server_default=text("'received'")),
    Column("attempts", Integer, nullable=False, server_default=text("0")),
    # How often a person let a dead one try again.
    Column("replays", Integer, nullable=False, server_default=text("0")),
    *_text("reason", REASON_MAX, empty=True),
    *_text("workflow_id", empty=True),
    _now("received_at"),
    _now("next_attempt_at"),
    _time("ended_at"),
    UniqueConstraint("connection", "event_id"),
    _one_of("state", "received", "delivered", "ignored", "dead"),
    CheckConstraint(f"octet_length(body) <= {BODY_MAX}", name="body_length"),
    CheckConstraint("attempts >= 0", name="attempts_not_negative"),
    CheckConstraint("(state = 'received') = (ended_at IS NULL)", name="ended_has_time"),
    Index("ix_event_inbox_received", "id", postgresql_where=text("state = 'received'")),
    Index("ix_event_inbox_dead", "id", postgresql_where=text("state = 'dead'")),
)

poll_marks = Table(
    "poll_marks",
    metadata,
    *_text("connection", key=True),
    # All that a feed told before this moment is in the inbox.
    Column("mark", DateTime(timezone=True), nullable=False),
    _now("moved_at"),
)
