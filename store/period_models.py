"""The ERP's posting periods as billing runs read them."""

from sqlalchemy import Boolean, Column, Date, Table

from store.models import _now, _text, metadata

posting_periods = Table(
    "posting_periods",
    metadata,
    *_text("run", key=True),
    *_text("connection", key=True),
    *_text("subsidiary", key=True),
    *_text("period_id", key=True),
    *_text("name"),
    Column("first_day", Date, nullable=False),
    Column("last_day", Date, nullable=False),
    Column("open", Boolean, nullable=False),
    _now("read_at"),
)
"""The posting periods as a run read them; what the ERP says at the post itself counts."""
