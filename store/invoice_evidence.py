"""Issued invoices as they were read back, sealed and kept for good (DESIGN 5, Evidence).

What the issuing system says of an invoice changes: payments, edits. What it said when the posting
read it back is kept beside, and its digest stands in the audit trail's chain.
"""

import hashlib
from datetime import datetime
from typing import Final

from sqlalchemy import (
    Boolean,
    CheckConstraint,
    Column,
    DateTime,
    ForeignKeyConstraint,
    LargeBinary,
    Table,
    text,
)
from sqlalchemy.ext.asyncio import AsyncConnection

from canonical.invoicing import Invoice
from canonical.model import CanonicalModel
from store.evidence import Evidence
from store.models import _text, metadata

RECORD_MAX: Final = 4_000_000
"""Bytes; 1,000 lines are a fifth of it."""

invoice_evidence = Table(
    "invoice_evidence",
    metadata,
    *_text("connection", key=True),
    *_text("invoice", key=True),
    Column("read_at", DateTime(timezone=True), nullable=False),
    Column("record", LargeBinary, nullable=False),
    Column("encrypted", Boolean, nullable=False),
    CheckConstraint(f"octet_length(record) <= {RECORD_MAX}", name="record_length"),
    ForeignKeyConstraint(["connection", "invoice"], ["invoices.connection", "invoices.id"]),
)

_KEEP = text("""
    INSERT INTO invoice_evidence (connection, invoice, read_at, record, encrypted)
    VALUES (:connection, :invoice, :read_at, :record, :encrypted)
""")
_KEPT = text("""
    SELECT read_at, record, encrypted FROM invoice_evidence
    WHERE connection = :connection AND invoice = :invoice
""")


class ReadBackKept(CanonicalModel):
    """An invoice as it was read back."""

    at: datetime
    body: str
    """Canonical JSON of the `Invoice`, character for character as it was digested."""


def digest_of(body: str) -> str:
    """Return the SHA-256 of a kept text, hexadecimal, as the audit trail has it."""
    return hashlib.sha256(body.encode()).hexdigest()


async def keep(
    session: AsyncConnection, evidence: Evidence, invoice: Invoice, read_at: datetime
) -> str:
    """Keep an invoice as it was read, and return the digest for the audit trail."""
    values = {
        "connection": invoice.record.system,
        "invoice": invoice.record.id,
        "read_at": read_at,
        "record": evidence.seal(invoice),
        "encrypted": evidence.encrypted,
    }
    await session.execute(_KEEP, values)
    return digest_of(invoice.model_dump_json())


async def kept(
    session: AsyncConnection, evidence: Evidence, connection: str, id_: str
) -> ReadBackKept | None:
    """Return an invoice as it was read back; None: it was issued before that was kept.

    Raises:
        StoreError: it is encrypted, and there is no key or another one.
    """
    key = {"connection": connection, "invoice": id_}
    row = (await session.execute(_KEPT, key)).first()
    if row is None:
        return None
    body = evidence.text(bytes(row.record), row.encrypted)
    return ReadBackKept(at=row.read_at, body=body)
