"""Customers at Stripe by our key, which is in their metadata alone.

Sources: vendor page sections 4 (search), 5.1 (customer), 7 (compensation).
"""

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Final

from adapters.stripe.config import StripeConfig
from adapters.stripe.mapping import KEY, checked_key, customer_form
from adapters.stripe.objects import Objects, path_of
from adapters.stripe.rows import Row, id_of, key_of, record
from canonical.ids import ExternalId
from canonical.invoicing import Billee
from canonical.records import RecordRef, UndoReceipt, UndoResult

CUSTOMERS: Final = "/v1/customers"
SEARCH_LAG: Final = timedelta(hours=2)
"""A search may miss what is younger: usually a minute, up to an hour (section 4), and a margin
for clocks that differ."""
LOOK: Final = "look for the client"
USED_BY: Final = {
    "/v1/invoices": {},
    "/v1/subscriptions": {"status": "all"},
    "/v1/invoiceitems": {},
}
"""What keeps a customer: Stripe itself would delete it all the same (section 5.1)."""


class Customers:
    """The customers of one account."""

    def __init__(self, objects: Objects, config: StripeConfig, now: Callable[[], datetime]) -> None:
        """Use the account's objects."""
        self._objects = objects
        self._config = config
        self._now = now

    async def find(self, external_id: ExternalId) -> RecordRef | None:
        """Return the customer with our key: a search for old ones, a list of the latest."""
        rows = await self._searched(external_id) or await self._latest(external_id)
        return self._record(rows[0]) if rows else None

    async def create(self, external_id: ExternalId, request: Billee) -> RecordRef:
        """Create the customer."""
        key = checked_key(external_id)

        async def standing(earlier: Row | None) -> Row | None:
            if earlier is not None:
                return await self._objects.read_if_any(path_of("customers", id_of(earlier)), LOOK)
            rows = await self._searched(key) or await self._latest(key)
            return rows[0] if rows else None

        form = customer_form(key, request)
        row = await self._objects.write(CUSTOMERS, form, key, "create the client", standing)
        return self._record(row)

    async def remove(self, external_id: ExternalId) -> UndoReceipt:
        """Delete every customer with our key, unless it is used."""
        rows = [*await self._searched(external_id), *await self._latest(external_id)]
        receipt = UndoReceipt(result=UndoResult.ABSENT)
        for id_, row in {id_of(row): row for row in rows}.items():
            if used := await self._used_by(id_):
                return UndoReceipt(
                    result=UndoResult.KEPT,
                    record=self._record(row),
                    residue=f"the client has {used} at Stripe: kept",
                )
            if await self._objects.delete(path_of("customers", id_), "remove the client"):
                receipt = UndoReceipt(result=UndoResult.REMOVED, record=self._record(row))
        return receipt

    async def _used_by(self, customer: str) -> str:
        for path, filters in USED_BY.items():
            words = path.rpartition("/")[2].replace("invoiceitems", "invoice items")
            params = {"customer": customer, **filters}
            if await self._objects.has_any(path, f"look for {words} of the client", params):
                return words
        return ""

    async def _searched(self, external_id: ExternalId) -> list[Row]:
        """Return those that a search finds and that are still there: it may lag both ways."""
        if not self._config.search:
            return []
        query = f"metadata['{KEY}']:'{checked_key(external_id)}'"
        found = await self._objects.search(CUSTOMERS, LOOK, query)
        paths = (path_of("customers", id_of(row)) for row in found)
        rows = [await self._objects.read_if_any(path, LOOK) for path in paths]
        return [row for row in rows if row is not None and key_of(row) == external_id]

    async def _latest(self, external_id: ExternalId) -> list[Row]:
        """Return those that a search may still miss, oldest first; all where there is none."""
        since = int((self._now() - SEARCH_LAG).timestamp())
        filters = {"created[gte]": since} if self._config.search else {}
        rows = await self._objects.all(CUSTOMERS, LOOK, filters)
        return [row for row in reversed(rows) if key_of(row) == checked_key(external_id)]

    def _record(self, row: Row) -> RecordRef:
        return record(row, "client", self._objects.connection)
