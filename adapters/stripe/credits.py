"""Credit notes at Stripe: created, found, voided.

Sources: vendor page sections 5.4 (credit note), 7 (undo of each step).
"""

from collections.abc import Awaitable, Callable

from adapters.stripe import views
from adapters.stripe.applications import Settled, unlinked
from adapters.stripe.config import StripeConfig
from adapters.stripe.credit_mapping import Creditable, credit_form
from adapters.stripe.mapping import checked_key, known
from adapters.stripe.objects import Objects, path_of, rows_of, standing, void
from adapters.stripe.rows import Row, id_of, inner, is_void, key_of, text, whole
from adapters.stripe.settlement import CREDITS, settled
from canonical.ids import ExternalId
from canonical.invoicing import CreditNote, Invoice, ProvisionCredit
from canonical.records import UndoReceipt, UndoResult


class Credits:
    """The credit notes of one account."""

    def __init__(
        self,
        objects: Objects,
        config: StripeConfig,
        view: Callable[[Row, Settled], Awaitable[Invoice]],
    ) -> None:
        """Use the account's objects, and what reads an invoice whole."""
        self._objects = objects
        self._config = config
        self._view = view

    async def find(self, external_id: ExternalId, request: ProvisionCredit) -> CreditNote | None:
        """Return the first credit note with our key that is not void."""
        rows = await self._ours(external_id, request)
        return self._shown(rows[0]) if rows else None

    async def create(self, external_id: ExternalId, request: ProvisionCredit) -> CreditNote:
        """Credit lines of an invoice: by a look at its lines, and at what was credited before."""
        key = checked_key(external_id)
        path = path_of("invoices", known(request.invoice, "invoice"))
        invoice = await self._objects.read(path, "read the invoice")
        there = await settled(self._objects, invoice)
        for note in there.notes:
            if key_of(note) == key and not is_void(note):
                return self._shown(note)
        of = Creditable(
            invoice=await self._view(invoice, there),
            remaining=whole(invoice, "amount_remaining"),
            credited=await self._credited(there),
            refunds=unlinked(there),
        )
        form = credit_form(key, request, of, self._config)
        left = standing(self._objects, lambda: self._ours(key, request), "credit_notes")
        row = await self._objects.write(CREDITS, form, key, "credit the invoice", left)
        return self._shown(row)

    async def _credited(self, there: Settled) -> dict[str, int]:
        """Return what is credited of each line, net, by line id."""
        credited: dict[str, int] = {}
        for note in there.notes:
            for line in [] if is_void(note) else await self._lines(note):
                of = text(line, "invoice_line_item")
                credited[of] = credited.get(of, 0) + whole(line, "amount")
        return credited

    async def _lines(self, note: Row) -> list[Row]:
        page = inner(note, "lines")
        if page.get("has_more") is False:
            return rows_of(page)
        path = f"{path_of('credit_notes', id_of(note))}/lines"
        return await self._objects.all(path, "read the credit note's lines", {})

    async def remove(self, external_id: ExternalId, request: ProvisionCredit) -> UndoReceipt:
        """Void every credit note with our key."""
        receipt = UndoReceipt(result=UndoResult.ABSENT)
        for row in await self._ours(external_id, request) if request.invoice else []:
            path = path_of("credit_notes", id_of(row))
            receipt = await void(self._objects, path, external_id, "credit_note")
        return receipt

    async def _ours(self, external_id: ExternalId, request: ProvisionCredit) -> list[Row]:
        invoice = known(request.invoice, "invoice")
        return await self._objects.carrying(CREDITS, checked_key(external_id), {"invoice": invoice})

    def _shown(self, row: Row) -> CreditNote:
        return views.credit_view(row, self._objects.connection, self._config)
