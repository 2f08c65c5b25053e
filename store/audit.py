"""The append-only audit trail: a chain of hashes per subject, sealed from time to time.

The database computes number, time and hashes (trigger in migration 0001) and refuses updates,
deletes and truncation; `verify` computes the chain a second time, here. Who may disable triggers
can still rewrite a chain, but not the seals that were taken elsewhere: keep `Seal.digest` outside.
Run migrations as the owner of the tables and Dealthread as another role.
"""

import hashlib
import json
from collections.abc import Iterable
from datetime import UTC, datetime

from sqlalchemy import select, text

from canonical.model import CanonicalModel
from store.database import Database
from store.models import REASON_MAX, audit_seals, audit_trail

ENGINE = "dealthread"
"""The actor of what no person did."""


class AuditEntry(CanonicalModel):
    """One act on a subject, as it stands in the trail."""

    subject: str
    seq: int
    """Counts from 1 within the subject, without gaps."""
    at: datetime
    actor: str
    act: str
    data_json: str
    prev_hash: str
    hash: str


class Seal(CanonicalModel):
    """What one sealing covered."""

    sealed_at: datetime
    subjects: int
    digest: str
    """SHA-256 over all newly sealed heads, in hexadecimal: to be kept outside the database."""


def audit_data(**values: object) -> str:
    """Return `values` as the JSON text of an audit entry; long texts are cut, NUL is dropped."""
    kept = {
        name: value.replace("\x00", "")[:REASON_MAX] if isinstance(value, str) else value
        for name, value in values.items()
    }
    return json.dumps(kept, ensure_ascii=False, default=str)


_APPEND = text("""
    INSERT INTO audit_trail (subject, actor, act, data)
    VALUES (:subject, :actor, :act, CAST(:data AS jsonb))
    RETURNING subject, seq, at, actor, act, data::text AS data_json, prev_hash, hash
""")

_SEAL = text("""
    WITH heads AS (
        SELECT DISTINCT ON (subject) subject, seq, hash FROM audit_trail
        -- The hour before the last seal again: what was written then may have been committed later.
        WHERE at > coalesce((SELECT max(sealed_at) - interval '1 hour' FROM audit_seals),
                            '-infinity')
        ORDER BY subject, seq DESC
    )
    INSERT INTO audit_seals (subject, seq, hash, sealed_at)
    SELECT subject, seq, hash, now() FROM heads ORDER BY subject
    ON CONFLICT DO NOTHING
    RETURNING subject, seq, hash, sealed_at
""")


class AuditTrail:
    """Appends to the trail, reads it, and tells whether someone changed it."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def append(self, subject: str, actor: str, act: str, data_json: str) -> AuditEntry:
        """Add one act to the trail of `subject`; build the data with `audit_data`."""
        values = {"subject": subject, "actor": actor, "act": act, "data": data_json}
        (row,) = await self._database.rows(_APPEND, values)
        return AuditEntry.model_validate(row._mapping)

    async def trail(self, subject: str) -> tuple[AuditEntry, ...]:
        """Return all acts on `subject`, oldest first."""
        columns = [column for column in audit_trail.c if column.name != "data"]
        data = text("data::text AS data_json")
        query = (
            select(*columns, data)
            .where(audit_trail.c.subject == subject)
            .order_by(audit_trail.c.seq)
        )
        rows = await self._database.rows(query)
        return tuple(AuditEntry.model_validate(row._mapping) for row in rows)

    async def verify(self, subject: str) -> int | None:
        """Return the number of the first entry that is missing or was changed; None if all is well.

        An entry that a seal names has to be there with the sealed hash, so a chain that was cut
        off, or computed anew, shows too.
        """
        seals = await self._database.rows(
            select(audit_seals.c.seq, audit_seals.c.hash).where(audit_seals.c.subject == subject)
        )
        sealed = {row.seq: row.hash for row in seals}
        entries = await self.trail(subject)
        broken = _first_broken(entries, sealed)
        if broken is None and max(sealed, default=0) > len(entries):
            return len(entries) + 1
        return broken

    async def seal_heads(self) -> Seal:
        """Write down the newest hash of every subject that changed since it was last sealed."""
        rows = await self._database.rows(_SEAL)
        heads = sorted((row.subject, row.seq, row.hash) for row in rows)
        digest = hashlib.sha256(json.dumps(heads).encode()).hexdigest()
        sealed_at = rows[0].sealed_at if rows else datetime.now(UTC)
        return Seal(sealed_at=sealed_at, subjects=len(heads), digest=digest)


def _first_broken(entries: Iterable[AuditEntry], sealed: dict[int, str]) -> int | None:
    previous = ""
    for expected, entry in enumerate(entries, start=1):
        intact = (
            entry.seq == expected
            and entry.prev_hash == previous
            and entry.hash == _hash(entry)
            and sealed.get(expected, entry.hash) == entry.hash
        )
        if not intact:
            return expected
        previous = entry.hash
    return None


def _hash(entry: AuditEntry) -> str:
    """Return the hash that the database should have computed (migration 0001)."""
    at = entry.at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    parts = (
        entry.prev_hash,
        entry.subject,
        str(entry.seq),
        at,
        entry.actor,
        entry.act,
        entry.data_json,
    )
    octets = b"".join(b"%d:%s" % (len(part.encode()), part.encode()) for part in parts)
    return hashlib.sha256(octets).hexdigest()
