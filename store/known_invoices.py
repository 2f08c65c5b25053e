"""Which invoices Dealthread made, which of them a payment is on, and which were sent: for many."""

from collections.abc import Collection, Mapping

from sqlalchemy import text

from canonical.invoicing import Delivery
from store.database import Database
from store.invoices import InvoiceStore

_KNOWN = text("""
    SELECT id FROM invoices WHERE connection = :connection AND id = ANY(CAST(:ids AS text[]))
""")
_PAID_WITH = text("""
    SELECT DISTINCT reference, invoice FROM invoice_applications
    WHERE connection = :connection AND reference = ANY(CAST(:references AS text[]))
""")


_TOLD_BY = text("""
    SELECT id FROM invoices WHERE connection = :connection AND id = :id AND delivery_word = :word
""")


class KnownInvoices:
    """Tells our invoices from all others of an issuing system."""

    def __init__(self, database: Database) -> None:
        """Ask this database."""
        self._database = database
        self._invoices = InvoiceStore(database)

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

    async def transmitted(self, connection: str, sent: Mapping[str, str]) -> None:
        """Note which invoices were sent to their clients, each with the event that says so.

        The same event again changes nothing that was said since.
        """
        for id_, event in sorted(sent.items()):
            key = {"connection": connection, "id": id_, "word": event}
            if await self._database.first(_TOLD_BY, key) is None:
                said = f"sent by {connection}"
                await self._invoices.delivered(
                    connection, id_, Delivery.TRANSMITTED, said, word=event
                )
