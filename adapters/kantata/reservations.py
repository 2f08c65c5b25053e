"""Reserving entries in Kantata: a draft invoice with them on it says that they are being billed.

There is no other mark: an entry is billed by sitting on an invoice, and one that sits on an invoice
which is not cancelled is refused on a second (vendor page section 10.2).
"""

from typing import Final

from adapters.errors import Invalid, OutcomeUnknown, Rejected
from adapters.kantata import time_mapping as mapping
from adapters.kantata.client import Row, id_of
from adapters.kantata.config import KantataConfig
from adapters.kantata.mapping import CANCELLED, PAID, checked_key
from adapters.kantata.records import API, REFUSALS, Records, refused
from canonical.billing import Reservation, ReserveEntries
from canonical.entries import EntryRef
from canonical.ids import ExternalId
from canonical.money import Money, minor_digits
from canonical.records import UndoReceipt, UndoResult

ON_IT: Final = "time_entries,expenses,time_adjustments"


class Reservations:
    """The draft invoices of one account that stand for billing runs."""

    def __init__(self, records: Records, config: KantataConfig) -> None:
        """Use the account's records."""
        self._records = records
        self._config = config

    async def find(self, external_id: ExternalId) -> Reservation | None:
        """Return the invoice that carries our reference; a cancelled one reserves nothing."""
        rows = await self._ours(external_id, ON_IT)
        return self._reservation(rows[0], mapping.reserved_entries(rows[0])) if rows else None

    async def reserve(self, external_id: ExternalId, request: ReserveEntries) -> Reservation:
        """Create the draft, all entries or none.

        Raises:
            Invalid: Kantata refuses an entry; it is on another invoice, not approved, or gone.
            OutcomeUnknown: an earlier write of ours has landed since the caller looked.
        """
        body = mapping.reservation_body(external_id, request, self._config)
        try:
            made = await self._records.create("invoices", body, "reserve the entries")
        except Invalid as error:
            if await self._ours(external_id):
                raise OutcomeUnknown("The reservation is there by now, with our key.") from error
            raise
        return self._reservation(made.rows[0], request.entries)

    async def remove(self, external_id: ExternalId) -> UndoReceipt:
        """Delete the draft; cancel it where a person has issued it. Both free the entries.

        Raises:
            UndoRefused: it was paid, or Kantata refuses.
        """
        rows = await self._ours(external_id)
        if not rows:
            return UndoReceipt(result=UndoResult.ABSENT)
        for row in rows:
            if row.get("status") == PAID:
                raise refused("The invoice was paid.", "reservation", id_of(row))
        drafts = [row for row in rows if row.get("draft") is True]
        receipt = await self._records.remove("invoices", drafts, "reservation")
        issued = [row for row in rows if row.get("draft") is not True]
        for row in issued:
            await self._cancel(row)
        if issued:
            record = self._records.record("reservation", issued[0])
            return UndoReceipt(result=UndoResult.REVERSED, record=record)
        return receipt

    async def _cancel(self, row: Row) -> None:
        try:
            await self._records.http.request(
                "PUT",
                f"{API}/invoices/{id_of(row)}/cancel",
                operation="cancel the invoice",
                write=True,
                json={"invoice": {"suppress_emails": True}},
            )
        except Rejected as error:
            if error.status not in REFUSALS:
                raise
            raise refused(error.message, "reservation", id_of(row), error) from error

    async def _ours(self, external_id: ExternalId, include: str = "") -> list[Row]:
        found = await self._records.find(
            "invoices",
            [checked_key(external_id)],
            include=include,
            service=self._config.billing_service,
        )
        return [row for row in found.rows if row.get("status") != CANCELLED]

    def _reservation(self, row: Row, entries: tuple[EntryRef, ...]) -> Reservation:
        draft = row.get("draft") is True
        return Reservation(
            record=self._records.record("reservation", row),
            entries=entries,
            draft=draft,
            amount=_net(row) if draft else None,
        )


def _net(row: Row) -> Money | None:
    """Return what a draft comes to: without tax, since none is asked for, and nothing is paid."""
    if "currency_base_unit" not in row and minor_digits(str(row.get("currency"))) is None:
        return None
    return mapping.money_of(row, "balance_in_cents")
