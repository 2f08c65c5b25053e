"""The tables of alerts, on the store's metadata: rules' states, silences, deliveries."""

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    DateTime,
    ForeignKeyConstraint,
    Identity,
    Index,
    Integer,
    Table,
    Text,
    text,
)

from store.models import REASON_MAX, _now, _one_of, _text, _time, metadata

DELIVERY_STATES = ("waiting", "sent", "given_up", "moot")

# When a rule was measured last, and what went wrong then.
alert_rounds = Table(
    "alert_rounds",
    metadata,
    *_text("rule", key=True),
    Column("judged_at", DateTime(timezone=True), nullable=False),
    *_text("error", REASON_MAX, empty=True),
)

# Whether a rule's alert is up at a legal entity; an empty one is none.
alert_states = Table(
    "alert_states",
    metadata,
    *_text("rule", key=True),
    *_text("entity", key=True),
    Column("standing", Text, nullable=False),
    _time("turning_since"),
    Column("told", Boolean, nullable=False, server_default=text("false")),
    _time("raised_at"),
    _time("cleared_at"),
    # What was measured last, as an alert.
    *_text("document", 100_000),
    _one_of("standing", "quiet", "raised"),
    CheckConstraint("standing <> 'raised' OR raised_at IS NOT NULL", name="raised_has_time"),
)

alert_silences = Table(
    "alert_silences",
    metadata,
    Column("id", BigInteger, Identity(always=True), primary_key=True),
    *_text("rule"),
    # Empty: at all of them.
    *_text("entity", empty=True),
    Column("until", DateTime(timezone=True), nullable=False),
    *_text("by"),
    *_text("because", REASON_MAX),
    _now("at"),
    CheckConstraint("by <> '' AND because <> ''", name="silenced_for_a_reason"),
    Index("ix_alert_silences_until", "until"),
)

# Who is told of a message of the outbox, and whether they were.
alert_deliveries = Table(
    "alert_deliveries",
    metadata,
    Column("message", BigInteger, primary_key=True, autoincrement=False),
    *_text("channel", key=True),
    Column("state", Text, nullable=False, server_default=text("'waiting'")),
    Column("attempts", Integer, nullable=False, server_default=text("0")),
    # Nobody takes it before; who takes it moves this ahead.
    _now("due_at"),
    *_text("error", REASON_MAX, empty=True),
    _now("made_at"),
    _time("ended_at"),
    _one_of("state", *DELIVERY_STATES),
    CheckConstraint("(state = 'waiting') = (ended_at IS NULL)", name="ended_has_time"),
    ForeignKeyConstraint(["message"], ["outbox.id"], ondelete="CASCADE"),
    Index(
        "ix_alert_deliveries_waiting",
        *("channel", "message"),
        postgresql_where=text("state = 'waiting'"),
    ),
)
