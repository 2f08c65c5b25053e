"""Invoices and credit notes at Stripe: drafted in two writes, issued, voided, credited.

Sources: vendor page sections 5.3 (invoice), 5.4 (credit note), 7 (undo of each step).
"""

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, time, timedelta
from typing import Final

from adapters.errors import Invalid, NotFound, Rejected
from adapters.stripe import mapping, views
from adapters.stripe.client import VENDOR
from adapters.stripe.config import StripeConfig
from adapters.stripe.mapping import checked_id, checked_key, known
from adapters.stripe.objects import Objects, Standing, path_of, refused, rows_of
from adapters.stripe.views import Row, id_of, is_void, key_of
from canonical.engine_invoices import (
    CreditInvoice,
    DraftInvoice,
    EngineCredit,
    EngineInvoice,
    EngineInvoiceStatus,
)
from canonical.ids import ExternalId
from canonical.records import RecordRef, UndoReceipt, UndoResult

INVOICES: Final = "/v1/invoices"
CREDITS: Final = "/v1/credit_notes"
ISSUED: Final = frozenset({"open", "paid", "uncollectible"})
CLOCK_MARGIN: Final = timedelta(days=1)
"""Between our day and Stripe's seconds, whatever the zones."""


class Invoices:
    """The invoices and credit notes of one account."""

    def __init__(self, objects: Objects, config: StripeConfig) -> None:
        """Use the account's objects."""
        self._objects = objects
        self._config = config

    async def find(self, external_id: ExternalId, request: DraftInvoice) -> EngineInvoice | None:
        """Return the first invoice with our key that has all the lines asked for."""
        for row in await self._ours(external_id, request):
            invoice = await self.view(row)
            if not mapping.missing_lines(request, invoice):
                return invoice
        return None

    async def create(self, external_id: ExternalId, request: DraftInvoice) -> EngineInvoice:
        """Create the draft unless an earlier attempt did, then add the lines it lacks.

        A draft belongs to the first attempt's body; its lines are added in one call.
        """
        key = checked_key(external_id)
        mapping.check_lines(request, self._config)
        form = mapping.invoice_form(key, request, self._config)
        ours = await self._ours(key, request)
        if ours:
            row = ours[0]
        else:
            standing = self._standing(lambda: self._ours(key, request), "invoices")
            row = await self._objects.write(INVOICES, form, key, "create the draft", standing)
        invoice = await self.view(row)
        if mapping.missing_lines(request, invoice):
            invoice = await self._complete(key, request, invoice)
        mapping.check_amounts(request, invoice)
        return invoice

    async def _complete(
        self, key: ExternalId, request: DraftInvoice, invoice: EngineInvoice
    ) -> EngineInvoice:
        lines = mapping.missing_lines(request, invoice)
        if invoice.status is not EngineInvoiceStatus.DRAFT:
            raise Rejected(
                f"The invoice was issued without {len(lines)} of its lines.",
                vendor=VENDOR,
                operation="add the lines",
            )
        path = path_of("invoices", invoice.record.id)

        async def standing(_earlier: Row | None) -> Row | None:
            row = await self._objects.read(path, "look for the lines")
            there = await self.view(row)
            return None if mapping.missing_lines(request, there) else row

        form = mapping.lines_form(lines, self._config)
        row = await self._objects.write(
            f"{path}/add_lines", form, f"{key}.lines", "add the lines", standing
        )
        return await self.view(row)

    async def remove(self, external_id: ExternalId, request: DraftInvoice) -> UndoReceipt:
        """Delete every draft with our key; its items go with it (section 7, unverified)."""
        receipt = UndoReceipt(result=UndoResult.ABSENT)
        for row in await self._ours(external_id, request) if request.client else []:
            if row.get("status") != EngineInvoiceStatus.DRAFT:
                raise refused("The invoice was issued.", "invoice", id_of(row))
            try:
                path = path_of("invoices", id_of(row))
                removed = await self._objects.delete(path, "remove the draft")
            except Invalid as error:
                raise refused(error.message, "invoice", id_of(row), error) from error
            if removed:
                ref = views.record(row, "invoice", self._objects.connection)
                receipt = UndoReceipt(result=UndoResult.REMOVED, record=ref)
        return receipt

    async def finalize(self, external_id: ExternalId, invoice: RecordRef) -> EngineInvoice:
        """Issue a draft; in the wrong state Stripe says 400, and the state is read again."""
        path = path_of("invoices", invoice.id)

        async def issued(_earlier: Row | None = None) -> Row | None:
            row = await self._objects.read(path, "read the invoice")
            return row if row.get("status") in ISSUED else None

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
        if row.get("status") not in ISSUED:
            raise Rejected(_why_not_issued(row), vendor=VENDOR, operation=act)
        return await self.view(row)

    async def read(self, invoice: RecordRef) -> EngineInvoice:
        """Return an invoice with all its lines."""
        return await self.view(
            await self._objects.read(path_of("invoices", invoice.id), "read the invoice")
        )

    async def void(self, external_id: ExternalId, invoice: RecordRef) -> UndoReceipt:
        """Void an issued invoice; see `finalize`."""
        try:
            row = await self._void(path_of("invoices", invoice.id), external_id, "invoice")
        except NotFound:
            return UndoReceipt(result=UndoResult.ABSENT)
        return self._reversed(row, "invoice")

    async def find_credit(
        self, external_id: ExternalId, request: CreditInvoice
    ) -> EngineCredit | None:
        """Return the first credit note with our key that is not void."""
        rows = await self._credits(external_id, request)
        return views.credit_view(rows[0], self._objects.connection) if rows else None

    async def credit(self, external_id: ExternalId, request: CreditInvoice) -> EngineCredit:
        """Credit lines of an invoice: one look at it, for its lines and what is still to pay."""
        key = checked_key(external_id)
        path = path_of("invoices", known(request.invoice, "invoice"))
        invoice = await self.view(await self._objects.read(path, "read the invoice"))
        form = mapping.credit_form(key, request, invoice)
        standing = self._standing(lambda: self._credits(key, request), "credit_notes")
        row = await self._objects.write(CREDITS, form, key, "credit the invoice", standing)
        return views.credit_view(row, self._objects.connection)

    async def void_credit(self, external_id: ExternalId, request: CreditInvoice) -> UndoReceipt:
        """Void every credit note with our key."""
        receipt = UndoReceipt(result=UndoResult.ABSENT)
        for row in await self._credits(external_id, request) if request.invoice else []:
            voided = await self._void(
                path_of("credit_notes", id_of(row)), external_id, "credit_note"
            )
            receipt = self._reversed(voided, "credit_note")
        return receipt

    async def _void(self, path: str, external_id: ExternalId, type_: str) -> Row:
        words = type_.replace("_", " ")

        async def voided(_earlier: Row | None = None) -> Row | None:
            row = await self._objects.read(path, f"read the {words}")
            return row if is_void(row) else None

        key = f"{checked_key(external_id)}.void"
        act = f"void the {words}"
        try:
            return await self._objects.write(f"{path}/void", {}, key, act, voided)
        except Invalid as error:
            there = await voided()
            if there is None:
                raise refused(error.message, type_, path.rpartition("/")[2], error) from error
            return there

    def _reversed(self, row: Row, type_: str) -> UndoReceipt:
        ref = views.record(row, type_, self._objects.connection)
        return UndoReceipt(result=UndoResult.REVERSED, record=ref)

    async def view(self, row: Row) -> EngineInvoice:
        """Return an invoice with all its lines: those that it does not show are listed."""
        page = row.get("lines")
        if isinstance(page, dict) and page.get("has_more") is False:
            rows = rows_of(page)
        else:
            path = f"{path_of('invoices', id_of(row))}/lines"
            rows = await self._objects.all(path, "read the invoice's lines", {})
        return views.invoice_view(row, rows, self._objects.connection, self._config)

    async def _ours(self, external_id: ExternalId, request: DraftInvoice) -> list[Row]:
        """Return the invoices of the client with our key, oldest first; void ones are gone."""
        filters: dict[str, str | int] = {"customer": known(request.client)}
        if request.since is not None:
            since = datetime.combine(request.since, time(), UTC) - CLOCK_MARGIN
            filters["created[gte]"] = int(since.timestamp())
        return await self._carrying(INVOICES, external_id, filters)

    async def _credits(self, external_id: ExternalId, request: CreditInvoice) -> list[Row]:
        return await self._carrying(
            CREDITS, external_id, {"invoice": known(request.invoice, "invoice")}
        )

    async def _carrying(
        self, path: str, external_id: ExternalId, filters: dict[str, str | int]
    ) -> list[Row]:
        key = checked_key(external_id)
        rows = await self._objects.all(path, f"look in {path.rpartition('/')[2]}", filters)
        return [row for row in reversed(rows) if key_of(row) == key and not is_void(row)]

    def _standing(self, ours: Callable[[], Awaitable[list[Row]]], collection: str) -> Standing:
        """Return what asks for a record that an earlier call made: by its id, or by our key."""

        async def standing(earlier: Row | None) -> Row | None:
            if earlier is None:
                rows = await ours()
                return rows[0] if rows else None
            path = path_of(collection, checked_id(id_of(earlier)))
            row = await self._objects.read_if_any(path, f"look in {collection}")
            return None if row is None or is_void(row) else row

        return standing


def _why_not_issued(row: Row) -> str:
    error = row.get("last_finalization_error")
    said = error.get("message") if isinstance(error, dict) else None
    return f"Stripe did not issue the invoice: {said or 'it is ' + str(row.get('status'))}."
