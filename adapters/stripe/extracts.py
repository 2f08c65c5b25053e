"""What a Stripe account holds, listed: customers, items, invoices, credit notes and payments.

Lists give 100 objects a call, newest first, from a cursor (vendor page section 4), so that what is
new shifts no page. They can be asked for by the time of creation alone: invoices and credit notes
carry a date of their own (`effective_at`), and an invoice is paid after it was made, so more is
asked for on both sides, and what is outside of the window is left out here.
"""

from collections.abc import AsyncIterator, Sequence
from datetime import date, timedelta
from typing import Final

from adapters.errors import Unsupported
from adapters.stripe import extract_mapping as mapping
from adapters.stripe.applications import DISPUTED, REFUNDED
from adapters.stripe.changes import INVOICES
from adapters.stripe.client import VENDOR
from adapters.stripe.config import StripeConfig
from adapters.stripe.customers import CUSTOMERS
from adapters.stripe.invoices import Invoices
from adapters.stripe.mapping import last_second, seconds
from adapters.stripe.objects import Objects
from adapters.stripe.rows import Row, id_of, reference, text, whole
from adapters.stripe.settlement import CREDITS, DISPUTES, PAYMENTS, REFUNDS
from canonical.extracts import ExtractKind, ExtractRow, ExtractScope

Pages = AsyncIterator[tuple[ExtractRow, ...]]
Filters = dict[str, str | int]

ACT: Final = "list what is there"
ITEMS: Final = "/v1/invoiceitems"
INTENTS: Final = "/v1/payment_intents"
KINDS: Final = frozenset(
    {
        ExtractKind.CLIENT,
        ExtractKind.CHARGE,
        ExtractKind.INVOICE,
        ExtractKind.CREDIT,
        ExtractKind.PAYMENT,
    }
)
DATED_APART: Final = timedelta(days=100)
"""How far the date on an invoice or credit note may be from the day on which it was made."""
PAID_AFTER: Final = timedelta(days=400)
"""How long after its invoice a payment may come: the record of it is as old as the invoice."""
WITH_INVOICE: Final[Filters] = {"expand[0]": "data.invoice"}


class Listings:
    """The part of an adapter that lists; it sets what this works with."""

    _config: StripeConfig
    _objects: Objects
    _invoices: Invoices

    def extract_kinds(self) -> frozenset[ExtractKind]:
        """Return what Stripe holds; items stand for charges."""
        return KINDS

    def extract(self, scope: ExtractScope) -> Pages:
        """Yield the rows of a scope; Stripe cannot tell what changed, and lists all of a window.

        Raises:
            Unsupported: Stripe has no such records.
        """
        listings = {
            ExtractKind.CLIENT: self._list_clients,
            ExtractKind.CHARGE: self._list_items,
            ExtractKind.INVOICE: self._list_invoices,
            ExtractKind.CREDIT: self._list_credits,
            ExtractKind.PAYMENT: self._list_payments,
        }
        if scope.kind not in listings:
            text_ = f"Stripe has no records of the kind {scope.kind}."
            raise Unsupported(text_, vendor=VENDOR, operation=ACT)
        return listings[scope.kind](scope)

    async def _list_clients(self, scope: ExtractScope) -> Pages:
        del scope  # customers have no date of their own
        async for page in self._objects.pages(CUSTOMERS, ACT, {}):
            yield tuple(map(mapping.client_row, page))

    async def _list_items(self, scope: ExtractScope) -> Pages:
        filters = {**WITH_INVOICE, **self._made(scope)}
        async for page in self._objects.pages(ITEMS, ACT, filters):
            yield _within(scope, [mapping.item_row(row, self._config) for row in page])

    async def _list_invoices(self, scope: ExtractScope) -> Pages:
        reopened = {id_ for _, id_ in await self._given_back(scope) if id_}
        filters = self._made(scope, DATED_APART, DATED_APART)
        async for page in self._objects.pages(INVOICES, ACT, filters):
            rows = []
            for row in page:
                view = await self._invoices.view(row) if id_of(row) in reopened else None
                rows.append(mapping.invoice_row(row, view, self._config))
            yield _within(scope, rows)

    async def _list_credits(self, scope: ExtractScope) -> Pages:
        connection = self._objects.connection
        filters = self._made(scope, DATED_APART, DATED_APART)
        async for page in self._objects.pages(CREDITS, ACT, filters):
            yield _within(
                scope, [mapping.credit_row(row, connection, self._config) for row in page]
            )

    async def _list_payments(self, scope: ExtractScope) -> Pages:
        """Yield payments on invoices, then what went back, then what is on no invoice.

        What each payment intent has on invoices is kept meanwhile, since Stripe tells by neither
        side alone whether one is used up: a number for each payment.
        """
        used: dict[str, int] = {}
        filters = {**WITH_INVOICE, "status": "paid", **self._made(scope, PAID_AFTER, None)}
        async for page in self._objects.pages(PAYMENTS, ACT, filters):
            for row in page:
                if intent := mapping.payment_source(row):
                    used[intent] = used.get(intent, 0) + mapping.paid_units(row)
            yield _within(scope, [mapping.payment_row(row, self._config) for row in page])
        returned = await self._given_back(scope)
        for row, _ in returned:
            intent = reference(row.get("payment_intent"))
            used[intent] = used.get(intent, 0) + whole(row, "amount")
        rows = [mapping.returned_row(row, id_, self._config) for row, id_ in returned if id_]
        yield _within(scope, rows)
        async for page in self._objects.pages(INTENTS, ACT, self._made(scope)):
            yield _within(scope, self._unapplied(page, used))

    def _unapplied(self, page: Sequence[Row], used: dict[str, int]) -> list[ExtractRow]:
        left = ((row, whole(row, "amount_received") - used.get(id_of(row), 0)) for row in page)
        return [mapping.unapplied_row(row, rest, self._config) for row, rest in left if rest > 0]

    async def _given_back(self, scope: ExtractScope) -> list[tuple[Row, str]]:
        """Return the refunds and disputes since a window begins, each with its invoice.

        There are few: one call finds the invoice of each. Empty where its payment is on none.
        """
        since = self._made(scope, DATED_APART, None)
        found: list[tuple[Row, str]] = []
        for path, counted in ((REFUNDS, REFUNDED), (DISPUTES, DISPUTED)):
            async for page in self._objects.pages(path, ACT, since):
                for row in page:
                    if text(row, "status") in counted:
                        found.append((row, await self._invoice_of(row)))
        return found

    async def _invoice_of(self, row: Row) -> str:
        intent = reference(row.get("payment_intent"))
        if not intent:
            return ""
        filters: Filters = {
            "payment[type]": "payment_intent",
            "payment[payment_intent]": intent,
        }
        payments = await self._objects.all(PAYMENTS, ACT, filters)
        return reference(payments[-1].get("invoice")) if payments else ""

    def _made(
        self,
        scope: ExtractScope,
        before: timedelta = timedelta(),
        after: timedelta | None = timedelta(),
    ) -> Filters:
        """Return the filter for the days on which objects were made, widened on both sides.

        None as `after` leaves the end open.
        """
        filters: Filters = {}
        if scope.since is not None:
            filters["created[gte]"] = seconds(scope.since - before, self._config)
        if scope.until is not None and after is not None:
            filters["created[lte]"] = last_second(scope.until + after, self._config)
        return filters


def _within(scope: ExtractScope, rows: Sequence[ExtractRow]) -> tuple[ExtractRow, ...]:
    first, last = scope.since or date.min, scope.until or date.max
    return tuple(row for row in rows if row.date is None or first <= row.date <= last)
