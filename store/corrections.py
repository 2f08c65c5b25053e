"""What earlier runs and people say about the entries of a claim: corrected ones, accepted holds."""

from collections.abc import Mapping, Sequence

from sqlalchemy import text

from canonical.entries import Entry, EntryKind, EntryRef, HoldReason
from canonical.money import Money
from canonical.rating import Disposition, Part
from store.audit import ENGINE
from store.database import Database
from store.evidence import Cipher, Evidence
from store.subledger_session import ref_rows

# The live version of each corrected time entry, and the adjustments that earlier runs placed.
_CORRECTED = text("""
    SELECT evidence.record, evidence.encrypted FROM entry_versions AS version
    JOIN entry_evidence AS evidence ON evidence.entry = version.id
        AND evidence.reading = version.reading
    WHERE version.source = :source AND version.state IN ('approved', 'claimed', 'rated', 'placed')
        AND (version.kind = 'time' AND version.entry_id = ANY(CAST(:ids AS text[]))
            OR version.kind = 'adjustment' AND version.adjusts = ANY(CAST(:ids AS text[]))
                AND version.handed_over_at IS NOT NULL)
    ORDER BY version.kind DESC, version.approved_at, version.entry_id
""")

# Net of earlier adjustments: what a corrected entry's parts still come to, where they stand.
_ORIGINS = text("""
    SELECT coalesce(nullif(version.adjusts, ''), version.entry_id) AS entry_id, part.disposition,
        part.cap, part.currency, sum(part.amount) AS amount, min(part.number) AS number
    FROM entry_versions AS version JOIN parts AS part ON part.entry = version.id
    WHERE version.source = :source AND version.handed_over_at IS NOT NULL
        AND version.state = 'placed'
        AND (version.kind = 'time' AND version.entry_id = ANY(CAST(:ids AS text[]))
            OR version.kind = 'adjustment' AND version.adjusts = ANY(CAST(:ids AS text[])))
    GROUP BY 1, part.disposition, part.cap, part.currency
    HAVING sum(part.amount) > 0 ORDER BY 1, 6
""")

_ACCEPTED = text("""
    SELECT DISTINCT hold.kind, hold.entry_id, hold.reason FROM holds AS hold
    JOIN jsonb_to_recordset(CAST(:refs AS jsonb)) AS given(kind text, entry_id text)
        USING (kind, entry_id)
    WHERE hold.source = :source AND hold.released_by IS NOT NULL
        AND hold.released_by <> ALL(CAST(:machines AS text[]))
        AND hold.reason IN ('duplicate_expense', 'rate_mismatch')
""")

MACHINES = (ENGINE, "rating", "intake")
"""Who releases holds without having looked at them: a cause went away."""


class Corrections:
    """Questions that rating and placing ask about the past."""

    def __init__(self, database: Database, cipher: Cipher | None = None) -> None:
        self._database = database
        self._evidence = Evidence(cipher)

    async def entries(self, source: str, claimed: Sequence[Entry]) -> tuple[Entry, ...]:
        """Return the time entries that adjustments of a claim correct, and earlier adjustments."""
        ids = _corrected(claimed)
        if not ids:
            return ()
        rows = await self._database.rows(_CORRECTED, {"source": source, "ids": ids})
        return tuple(self._evidence.open(row.record, row.encrypted) for row in rows)

    async def origins(
        self, source: str, corrected: Sequence[EntryRef]
    ) -> Mapping[EntryRef, tuple[Part, ...]]:
        """Return what the parts of corrected entries come to, net of earlier adjustments."""
        ids = sorted({ref.id for ref in corrected})
        found: dict[EntryRef, tuple[Part, ...]] = {}
        if not ids:
            return found
        for row in await self._database.rows(_ORIGINS, {"source": source, "ids": ids}):
            ref = EntryRef(kind=EntryKind.TIME, id=row.entry_id)
            earlier = found.get(ref, ())
            part = Part(
                number=len(earlier) + 1,
                disposition=Disposition(row.disposition),
                amount=Money(amount=row.amount, currency=row.currency),
                cap=row.cap,
            )
            found[ref] = (*earlier, part)
        return found

    async def accepted(
        self, source: str, claimed: Sequence[EntryRef]
    ) -> frozenset[tuple[EntryRef, HoldReason]]:
        """Return which holds of rating a person has looked at and released."""
        values = {"source": source, "refs": ref_rows(claimed), "machines": list(MACHINES)}
        return frozenset(
            (EntryRef(kind=EntryKind(row.kind), id=row.entry_id), HoldReason(row.reason))
            for row in await self._database.rows(_ACCEPTED, values)
        )


def _corrected(claimed: Sequence[Entry]) -> list[str]:
    return sorted({entry.adjusts for entry in claimed if entry.adjusts})
