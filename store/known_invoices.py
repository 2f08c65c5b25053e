"""Which invoices Dealthread made, and which of them a payment is on: asked for many at once."""

from collections.abc import Collection

from sqlalchemy import text

from store.database import Database

_KNOWN = text("""
    SELECT id FROM invoices WHERE connection = :connection AND id = ANY(CAST(:ids AS text[]))
""")
_PAID_WITH = text("""
    SELECT DISTINCT reference, invoice FROM invoice_applications
    WHERE connection = :connection AND reference = ANY(CAST(:references AS text[]))
""")


class KnownInvoices:
    """Tells our invoices from all others of an issuing system."""

    def __init__(self, database: Database) -> None:
        """Ask this database."""
        self._database = database

    async def of(self, connection: str, ids: Collection[str]) -> frozenset[str]:
        """Return those of these record ids that a draft became."""
        values = {"connection": connection, "ids": sorted(ids)}
        return frozenset(str(row.id) for row in await self._database.rows(_KNOWN, values))

    async def paid_with(
        self, connection: str, references: Collection[str]
    ) -> dict[str, frozenset[str]]:
        """Return, by reference of a payment that was seen, the invoices that it was applied to."""
        values = {"connection": connection, "references": sorted(references)}
        found: dict[str, set[str]] = {}
        for row in await self._database.rows(_PAID_WITH, values):
            found.setdefault(str(row.reference), set()).add(str(row.invoice))
        return {reference: frozenset(invoices) for reference, invoices in found.items()}
