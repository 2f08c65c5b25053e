"""Invoices at Stripe: drafted in two writes, made whole again, issued, voided.

Sources: vendor page sections 5.3 (invoice), 7 (undo of each step).
"""

from collections.abc import Callable
from datetime import UTC, datetime, time, timedelta
from typing import Final

from adapters.errors import Invalid, NotFound, Rejected
from adapters.stripe import mapping, views
from adapters.stripe.applications import Settled
from adapters.stripe.changes import INVOICES
from adapters.stripe.client import VENDOR
from adapters.stripe.config import StripeConfig
from adapters.stripe.mapping import checked_key, known
from adapters.stripe.objects import Objects, path_of, refused, rows_of, standing, void
from adapters.stripe.rows import Row, id_of, inner, is_void, record, text
from adapters.stripe.settlement import settled
from canonical.ids import ExternalId
from canonical.invoicing import Invoice, ProvisionInvoice
from canonical.records import RecordRef, UndoReceipt, UndoResult

CLOCK_MARGIN: Final = timedelta(days=1)
"""Between our day and Stripe's seconds, whatever the zones."""


class Invoices:
    """The invoices of one account."""

    def __init__(self, objects: Objects, config: StripeConfig) -> None:
        """Use the account's objects."""
        self._objects = objects
        self._config = config

    async def find(self, external_id: ExternalId, request: ProvisionInvoice) -> Invoice | None:
        """Return the first invoice with our key that has all the lines asked for.

        A draft has those alone, and as they were asked for: else it is not the one.
        """
        for row in await self._ours(external_id, request):
            invoice = await self.view(row)
            edited = not invoice.issued and mapping.surplus_lines(request, invoice)
            if not edited and not mapping.missing_lines(request, invoice):
                return invoice
        return None

    async def create(self, external_id: ExternalId, request: ProvisionInvoice) -> Invoice:
        """Create the draft unless an earlier attempt did, then see that it has its lines alone.

        A draft belongs to the first attempt's body; its lines are added in one call.
        """
        key = checked_key(external_id)
        mapping.check_lines(request, self._config)
        form = mapping.invoice_form(key, request, self._config)
        ours = await self._ours(key, request)
        if ours:
            row = ours[0]
        else:
            left = standing(self._objects, lambda: self._ours(key, request), "invoices")
            row = await self._objects.write(INVOICES, form, key, "create the draft", left)
        invoice = await self.view(row)
        if not invoice.issued:
            invoice = await self._made_whole(key, request, invoice)
        mapping.check_amounts(request, invoice)
        return invoice

    async def _made_whole(
        self, key: ExternalId, request: ProvisionInvoice, invoice: Invoice
    ) -> Invoice:
        """Take lines off the draft that were not asked for, and add those that it lacks.

        Where one of ours is wrong or missing all are made anew, so that their order stays.
        """
        net: mapping.Form = {"invoice_metadata": mapping.asked_net(request)}
        surplus = mapping.surplus_lines(request, invoice)
        if mapping.missing_lines(request, invoice) or any(line.item for line in surplus):
            surplus = invoice.lines
        if surplus:
            ids = {line.id for line in surplus}
            form = {**mapping.surplus_form(surplus), **net}
            invoice = await self._change_lines(
                key, invoice, "remove", form, lambda now: not ids & {line.id for line in now.lines}
            )
        if lines := mapping.missing_lines(request, invoice):
            form = {**mapping.lines_form(lines, self._config), **net}
            invoice = await self._change_lines(
                key, invoice, "add", form, lambda now: not mapping.missing_lines(request, now)
            )
        return invoice

    async def _change_lines(
        self,
        key: ExternalId,
        invoice: Invoice,
        verb: str,
        form: mapping.Form,
        done: Callable[[Invoice], bool],
    ) -> Invoice:
        path = path_of("invoices", invoice.record.id)

        async def changed(_earlier: Row | None) -> Row | None:
            row = await self._objects.read(path, "look for the lines")
            return row if done(await self.view(row)) else None

        row = await self._objects.write(
            f"{path}/{verb}_lines", form, f"{key}.{verb}", f"{verb} the lines", changed
        )
        return await self.view(row)

    async def remove(self, external_id: ExternalId, request: ProvisionInvoice) -> UndoReceipt:
        """Delete every draft with our key; its items go with it (section 7, unverified)."""
        receipt = UndoReceipt(result=UndoResult.ABSENT)
        for row in await self._ours(external_id, request) if request.client else []:
            if text(row, "status") != views.DRAFT:
                raise refused("The invoice was issued.", "invoice", id_of(row))
            try:
                path = path_of("invoices", id_of(row))
                removed = await self._objects.delete(path, "remove the draft")
            except Invalid as error:
                raise refused(error.message, "invoice", id_of(row), error) from error
            if removed:
                ref = record(row, "invoice", self._objects.connection)
                receipt = UndoReceipt(result=UndoResult.REMOVED, record=ref)
        return receipt

    async def post(self, external_id: ExternalId, invoice: RecordRef) -> Invoice:
        """Issue a draft that is as it was asked for; one that is issued already is as good.

        In the wrong state Stripe says 400, and the state is read again.
        """
        path = path_of("invoices", invoice.id)

        async def issued(_earlier: Row | None = None) -> Row | None:
            row = await self._objects.read(path, "read the invoice")
            return row if _is_issued(row) else None

        draft = await self._objects.read(path, "read the invoice")
        if _is_issued(draft):
            return await self.view(draft)
        asked = text(inner(draft, "metadata"), mapping.NET)
        if not is_void(draft):
            mapping.check_issue(await self.view(draft), asked)
        key = f"{checked_key(external_id)}.finalize"
        act = "issue the invoice"
        form: mapping.Form = {"auto_advance": False}
        try:
            row = await self._objects.write(f"{path}/finalize", form, key, act, issued)
        except Invalid:
            there = await issued()
            if there is None:
                raise
            row = there
        if not _is_issued(row):
            raise Rejected(_why_not_issued(row), vendor=VENDOR, operation=act)
        return await self.view(row)

    async def read(self, invoice: RecordRef) -> Invoice:
        """Return an invoice with all its lines."""
        return await self.view(
            await self._objects.read(path_of("invoices", invoice.id), "read the invoice")
        )

    async def void(self, external_id: ExternalId, invoice: RecordRef) -> UndoReceipt:
        """Void an issued invoice; see `objects.void`."""
        if not self._config.voids:
            text_ = "Invoices are not voided here (settings.voids): credit it instead."
            raise refused(text_, "invoice", invoice.id)
        path = path_of("invoices", invoice.id)
        try:
            return await void(self._objects, path, external_id, "invoice")
        except NotFound:
            return UndoReceipt(result=UndoResult.ABSENT)

    async def view(self, row: Row, applied: Settled | None = None) -> Invoice:
        """Return an invoice with all its lines, and what was applied to it, unless that is known.

        Lines that it does not show are listed.
        """
        page = row.get("lines")
        if isinstance(page, dict) and page.get("has_more") is False:
            rows = rows_of(page)
        else:
            path = f"{path_of('invoices', id_of(row))}/lines"
            rows = await self._objects.all(path, "read the invoice's lines", {})
        if applied is None:
            applied = await settled(self._objects, row)
        return views.invoice_view(row, rows, applied, self._objects.connection, self._config)

    async def _ours(self, external_id: ExternalId, request: ProvisionInvoice) -> list[Row]:
        """Return the invoices of the client with our key, oldest first; void ones are gone."""
        filters: dict[str, str | int] = {"customer": known(request.client)}
        if request.since is not None:
            since = datetime.combine(request.since, time(), UTC) - CLOCK_MARGIN
            filters["created[gte]"] = int(since.timestamp())
        return await self._objects.carrying(INVOICES, checked_key(external_id), filters)


def _is_issued(row: Row) -> bool:
    return text(row, "status") in {"open", "paid", "uncollectible"}


def _why_not_issued(row: Row) -> str:
    error = row.get("last_finalization_error")
    said = error.get("message") if isinstance(error, dict) else None
    return f"Stripe did not issue the invoice: {said or 'it is ' + str(row.get('status'))}."
