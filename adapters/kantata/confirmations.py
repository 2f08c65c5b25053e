"""Mirroring an issued invoice in Kantata: its entries and milestones are invoiced, at its net.

The mirror is an invoice of Kantata's own that nobody is told of. It is made as a draft, checked and
then issued. Additional items cannot be changed later (vendor page section 10.2), so the difference
to Kantata's own valuation is worked out before; where the draft does not come to the net all the
same, it is deleted. Each attempt begins by looking what an earlier one left: entries that have left
their reservation, a draft, an issued mirror.
"""

from collections.abc import Mapping
from typing import Final

from adapters.errors import Invalid, NotFound, OutcomeUnknown, Rejected
from adapters.kantata import confirmation_mapping as mapping
from adapters.kantata.client import Row, id_of, listing
from adapters.kantata.config import KantataConfig
from adapters.kantata.confirmation_mapping import COLLECTIONS, MILESTONES, Held, Ids
from adapters.kantata.mapping import CANCELLED, PAID, checked_id, checked_key
from adapters.kantata.milestone_mapping import invoiced_on, reference_of
from adapters.kantata.records import API, REFUSALS, Records, refused
from adapters.kantata.time import EVERYTHING
from canonical.ids import ExternalId
from canonical.invoicing import ConfirmInvoice, PsaInvoice
from canonical.money import Money
from canonical.records import UndoReceipt, UndoResult

WITH_ITEMS: Final = "time_entries,expenses,time_adjustments,billing_milestones"
ITEM_INCLUDES: Final[Mapping[str, str]] = {MILESTONES: "invoices"}


class Confirmations:
    """The invoices of one account that mirror issued ones."""

    def __init__(self, records: Records, config: KantataConfig) -> None:
        """Use the account's records."""
        self._records = records
        self._config = config

    async def find(self, external_id: ExternalId) -> PsaInvoice | None:
        """Return the issued mirror with our reference; a draft is an attempt under way."""
        issued = [row for row in await self._ours(external_id) if row.get("draft") is not True]
        return await self._read(issued[0]) if issued else None

    async def confirm(self, external_id: ExternalId, request: ConfirmInvoice) -> PsaInvoice:
        """Make the mirror, or complete it.

        Raises:
            Rejected: an item is on another invoice, is gone, or is in another currency; a person
                has issued a reservation; or the mirror does not come to the invoice's net.
            OutcomeUnknown: an earlier write of ours has landed since this looked.
        """
        asked = mapping.asked_ids(request)
        for row in await self._ours(external_id):
            if row.get("draft") is not True:
                return await self._read(row)
            if mapping.carries(row, asked) and mapping.balance_of(row) == request.net:
                return await self._issue(row, request)
            await self._discard(row)
        held = await self._reservations(request)
        found = await self._items(external_id, asked, held)
        difference = mapping.minus(request.net, mapping.worth(found, request.net.currency))
        await self._release(held, asked)
        draft = await self._draft(external_id, request, asked, difference)
        return await self._issue(draft, request)

    async def cancel(self, external_id: ExternalId) -> UndoReceipt:
        """Cancel the mirror; a draft is deleted. Both free what is on it.

        Raises:
            UndoRefused: it is paid, or Kantata refuses.
        """
        rows = await self._ours(external_id)
        if not rows:
            return UndoReceipt(result=UndoResult.ABSENT)
        for row in rows:
            if row.get("status") == PAID:
                raise refused("The invoice is paid in Kantata.", "invoice", id_of(row))
        drafts = [row for row in rows if row.get("draft") is True]
        receipt = await self._records.remove("invoices", drafts, "invoice")
        issued = [row for row in rows if row.get("draft") is not True]
        for row in issued:
            await self._cancel(row)
        if not issued:
            return receipt
        record = self._records.record("invoice", issued[0])
        return UndoReceipt(result=UndoResult.REVERSED, record=record)

    async def payments(self, invoice_id: str) -> list[Row]:
        """Return the payments on an invoice."""
        params = {"invoice_id": checked_id(invoice_id, "invoice")}
        act = "read the payments of an invoice"
        pages = self._records.pages("external_payments", params, act)
        rows = [row async for page in pages for row in page.rows]
        return [row for row in rows if str(row.get("invoice_id")) == invoice_id]

    async def _read(self, row: Row) -> PsaInvoice:
        payments = await self.payments(id_of(row))
        return mapping.invoice_from(row, payments, self._records.connection)

    async def _ours(self, external_id: ExternalId) -> list[Row]:
        found = await self._records.find(
            "invoices",
            [checked_key(external_id)],
            include=WITH_ITEMS,
            service=self._config.billing_service,
        )
        return [row for row in found.rows if row.get("status") != CANCELLED]

    async def _reservations(self, request: ConfirmInvoice) -> Held:
        """Return the reservations that still stand; one that is gone has freed its entries.

        Raises:
            Rejected: a person has issued one of them.
        """
        ids = list(dict.fromkeys(each.reservation.id for each in request.entries))
        found = await self._records.named(
            "invoices", ids, {"include": WITH_ITEMS}, "read the reservations"
        )
        standing = [row for row in found.rows if row.get("status") != CANCELLED]
        for row in standing:
            if row.get("draft") is not True:
                raise Rejected(
                    f"Somebody has issued the reservation draft {id_of(row)} in Kantata: cancel "
                    "that invoice there, which frees its entries, then retry."
                )
        return Held({id_of(row): row for row in standing})

    async def _items(
        self, external_id: ExternalId, asked: Ids, held: Held
    ) -> dict[str, tuple[Row, ...]]:
        """Return what is to go on the mirror, as Kantata has it.

        Raises:
            Rejected: an item is gone, or on another invoice than its reservation.
        """
        found = {}
        for name, ids in asked.items():
            params = {**EVERYTHING, "include": ITEM_INCLUDES.get(name, "active_invoice")}
            act = "read what was invoiced"
            page = await self._records.named(COLLECTIONS[name], ids, params, act)
            rows = {id_of(row): row for row in page.rows}
            for id_ in ids:
                words = mapping.WORDS[name]
                if id_ not in rows:
                    raise Rejected(f"The {words} {id_} is gone from Kantata.")
                row = rows[id_]
                on = invoiced_on(row, page) if name == MILESTONES else mapping.holder_of(row)
                if on and on not in held.drafts and not held.has(name, id_):
                    raise await self._on_another(f"The {words} {id_}", on, external_id)
            found[name] = tuple(rows[id_] for id_ in ids)
        return found

    async def _on_another(
        self, what: str, on: str, external_id: ExternalId
    ) -> Rejected | OutcomeUnknown:
        """Return what an item on another invoice means: it may be a mirror that a list missed."""
        if on == mapping.ANOTHER:
            return Rejected(f"{what} is on another invoice of Kantata already.")
        answer = await self._records.http.request(
            "GET",
            f"{API}/invoices/{checked_id(on, 'invoice')}",
            operation="read what is in the way",
            write=False,
            params={"include": "external_references"},
        )
        found = listing(answer)
        service = self._config.billing_service
        refs = [reference_of(row, found, service).get("service_model_ref") for row in found.rows]
        if external_id in refs:
            return OutcomeUnknown(f"{what} is on the mirror with our key, which was not found.")
        return Rejected(f"{what} is on invoice {on} of Kantata already.")

    async def _release(self, held: Held, asked: Ids) -> None:
        """Take the entries off their reservations; what else is on those stays (section 10.2)."""
        for id_, row in held.drafts.items():
            left = mapping.left_on(row, asked)
            if not any(left.values()):
                await self._records.delete("invoices", id_, "free the reserved entries")
            elif any(len(left[name]) != len(mapping.ids_on(row, name)) for name in left):
                await self._put(id_, {"invoice": left}, "free the reserved entries")

    async def _draft(
        self, external_id: ExternalId, request: ConfirmInvoice, asked: Ids, difference: Money
    ) -> Row:
        """Return a draft that comes to the net.

        Kantata may round lines in a way of its own: then it is made once more, with what the first
        one showed.

        Raises:
            Rejected: it comes to something else; no draft is left.
        """
        row = await self._create(external_id, request, asked, difference)
        off = await self._off(row, request.net)
        if off.amount and mapping.may_be_rounding(off, sum(map(len, asked.values()))):
            await self._discard(row)
            row = await self._create(external_id, request, asked, difference + off)
            off = await self._off(row, request.net)
        if off.amount:
            came = mapping.balance_of(row)
            await self._discard(row)
            raise Rejected(
                f"Kantata makes {came} of the invoice {request.number}, which came to "
                f"{request.net} net: see which rate, tax or default of the project adds to it."
            )
        return row

    async def _off(self, row: Row, net: Money) -> Money:
        came = mapping.balance_of(row)
        if came.currency != net.currency:
            await self._discard(row)
            raise Rejected(f"Kantata keeps the project in {came.currency}, not {net.currency}.")
        return mapping.minus(net, came)

    async def _create(
        self, external_id: ExternalId, request: ConfirmInvoice, asked: Ids, difference: Money
    ) -> Row:
        body = mapping.mirror_body(external_id, request, asked, difference, self._config)
        try:
            made = await self._records.create(
                "invoices", body, "mirror the invoice", include=WITH_ITEMS
            )
        except Invalid as error:
            if await self._ours(external_id):
                raise OutcomeUnknown("The mirror is there by now, with our key.") from error
            raise
        return made.rows[0]

    async def _issue(self, row: Row, request: ConfirmInvoice) -> PsaInvoice:
        body = mapping.issue_body(request, row)
        issued = await self._put(id_of(row), body, "issue the mirror")
        return mapping.invoice_from(issued, (), self._records.connection)

    async def _put(self, id_: str, body: Mapping[str, object], act: str) -> Row:
        answer = await self._records.http.request(
            "PUT",
            f"{API}/invoices/{checked_id(id_, 'invoice')}",
            operation=act,
            write=True,
            json=body,
            params={"include": WITH_ITEMS},
        )
        rows = listing(answer).rows
        if not rows:
            raise OutcomeUnknown("Kantata does not show the invoice that it changed.")
        return rows[0]

    async def _discard(self, row: Row) -> None:
        """Delete a draft of ours, which frees what is on it."""
        await self._records.delete("invoices", id_of(row), "take back the draft of the mirror")

    async def _cancel(self, row: Row) -> None:
        try:
            await self._records.http.request(
                "PUT",
                f"{API}/invoices/{id_of(row)}/cancel",
                operation="cancel the mirror",
                write=True,
                json={"invoice": {"suppress_emails": True}},
            )
        except NotFound:
            return
        except Rejected as error:
            if error.status not in REFUSALS:
                raise
            raise refused(error.message, "invoice", id_of(row), error) from error
