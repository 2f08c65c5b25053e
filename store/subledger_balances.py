"""The subledger's tables of contracts, balances, master data and the trail (DESIGN 5).

A run can be undone until it is handed over. What it reserves counts at once (`pending` says how
much of `reserved` may still be undone); what it gives back, by adjustments, counts only once it is
handed over (`relieving`), and only against consumption that cannot be undone any more. So neither
order of two runs, one of them undone, ever exceeds a cap or overdraws a retainer.
"""

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    Date,
    ForeignKeyConstraint,
    Index,
    Integer,
    Table,
    UniqueConstraint,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB

from store.models import KEY_MAX, REASON_MAX, _now, _one_of, _text, metadata
from store.subledger_models import _currency, _number, _serial, _to_run

engagements = Table(
    "engagements",
    metadata,
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

caps = Table(
    "caps",
    metadata,
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
cap_uses = Table(
    "cap_uses",
    metadata,
    Column("part", BigInteger, primary_key=True, autoincrement=False),
    Column("cap", BigInteger, primary_key=True, autoincrement=False),
    _number("amount"),
    ForeignKeyConstraint(["part"], ["parts.id"], ondelete="CASCADE"),
    ForeignKeyConstraint(["cap"], ["caps.id"]),
    Index("ix_cap_uses_cap", "cap"),
)

retainers = Table(
    "retainers",
    metadata,
    _serial(),
    *_text("engagement"),
    *_text("line"),
    _number("prepaid"),
    _number("drawn", default=True),
    *_currency(),
    _number("pending", default=True),
    _number("relieving", default=True),
    # Its schedule decides at a month's close what is drawn: nothing is counted here meanwhile.
    Column("by_schedule", Boolean, nullable=False, server_default=text("false")),
    UniqueConstraint("engagement", "line"),
    CheckConstraint("prepaid - drawn >= 0", name="balance_not_negative"),
    CheckConstraint("drawn >= 0 AND pending >= 0 AND relieving >= 0", name="not_negative"),
    CheckConstraint("relieving <= drawn - pending", name="relieves_what_is_settled"),
)

retainer_movements = Table(
    "retainer_movements",
    metadata,
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

workers = Table(
    "workers",
    metadata,
    *_text("source", key=True),
    *_text("email", key=True),
    Column("valid_from", Date, primary_key=True),
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

exchange_rates = Table(
    "exchange_rates",
    metadata,
    *_currency("from_currency", key=True),
    *_currency("to_currency", key=True),
    Column("valid_from", Date, primary_key=True),
    _number("rate"),
    *_text("source", KEY_MAX),
    _now("read_at"),
    CheckConstraint("rate > 0", name="rate_is_positive"),
)

# Who leads a project, as its PSA said last; empty: it names nobody.
project_leads = Table(
    "project_leads",
    metadata,
    *_text("psa", key=True),
    *_text("project_id", key=True),
    *_text("email", empty=True),
    _now("read_at"),
    CheckConstraint("email = lower(email)", name="email_is_lower_case"),
)

# Every move of an entry version, a part or a cost; written by triggers, never changed.
moves = Table(
    "moves",
    metadata,
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
