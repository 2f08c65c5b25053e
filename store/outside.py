"""Entries of a run whose charges are on an ERP's invoice before they were handed over.

The ERP's own billing job took them. They are held and found until that invoice lets go of them, so
that nothing is billed twice, whatever becomes of the run.
"""

from collections.abc import Mapping, Sequence
from typing import Final

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from canonical.entries import EntryKind, EntryRef
from store.database import AnyRow, Database
from store.holds import close_findings, find, put_holds, release_holds
from store.intake import BILLED_OUTSIDE
from store.run_rows import locked_run

BILLING_JOB: Final = "dealthread:erp-invoice"
"""Owner of these holds: reading the entry in the PSA, where it is free, does not release them."""

_ENTRIES = text("""
    SELECT DISTINCT posting.item, version.kind, version.entry_id, version.project_id
    FROM postings AS posting
    JOIN billing_runs AS run USING (run_key, generation)
    JOIN parts AS part ON part.posting = posting.id
    JOIN entry_versions AS version ON version.id = part.entry
    WHERE posting.run_key = :run_key AND posting.kind = 'charges'
        AND posting.item = ANY(CAST(:items AS text[]))
    ORDER BY version.kind, version.entry_id, posting.item
""")

_HELD = text("""
    SELECT EXISTS (SELECT FROM holds
        WHERE source = :source AND owner = :owner AND released_at IS NULL)
""")


class RunOutside:
    """What a run learns of invoices that it did not make."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def billed_outside(
        self, run_key: str, connection: str, invoices: Mapping[str, str]
    ) -> tuple[EntryRef, ...]:
        """Hold and find the entries behind charges that are on an invoice: its id by item.

        The same twice is once. Returns the entries, each once.
        """
        async with self._database.transaction() as session:
            run = await locked_run(session, "billed_outside", run_key)
            if run is None:
                return ()
            rows = await _entries(session, run_key, list(invoices))
            details = {
                _ref(row): f"on invoice {invoices[row.item]} of {connection}, made there by hand "
                "or by its own billing job"
                for row in rows
            }
            projects = {_ref(row): str(row.project_id) for row in rows}
            await find(session, run.psa, BILLED_OUTSIDE, details, projects)
            await put_holds(session, run.psa, BILLING_JOB, BILLED_OUTSIDE, details)
        return tuple(details)

    async def billed_here(self, run_key: str, items: Sequence[str]) -> None:
        """Put down that no invoice has these charges, or has them any more: nothing holds them."""
        async with self._database.transaction() as session:
            run = await locked_run(session, "billed_here", run_key)
            if run is None:
                return
            ours = {"source": run.psa, "owner": BILLING_JOB}
            if not (await session.execute(_HELD, ours)).scalar_one():
                return
            refs = [_ref(row) for row in await _entries(session, run_key, items)]
            await release_holds(
                session, run.psa, refs, owner=BILLING_JOB, by=BILLING_JOB, reason=BILLED_OUTSIDE
            )
            await close_findings(session, run.psa, BILLED_OUTSIDE, refs, unless_held=True)


async def _entries(
    session: AsyncConnection, run_key: str, items: Sequence[str]
) -> Sequence[AnyRow]:
    return (await session.execute(_ENTRIES, {"run_key": run_key, "items": list(items)})).all()


def _ref(row: AnyRow) -> EntryRef:
    return EntryRef(kind=EntryKind(row.kind), id=row.entry_id)
