"""Which invoices at Stripe changed: by its log of events, and by a full list where that ends.

A list of invoices shows none that was paid, refunded, disputed or credited since: it knows when one
was created, and nothing of the last change. The log does, and is kept for 30 days.

Sources: vendor page section 6 (events, `created`, 30 days); their types, and which payments a
payment intent is on, as in PyPI stripe 16.1.0.
"""

from collections.abc import AsyncIterator, Callable
from datetime import datetime, timedelta
from typing import Final

from adapters.stripe.objects import PAGE, Objects, path_of
from adapters.stripe.rows import Row, id_of, inner, key_of, moment, reference, text, whole
from adapters.stripe.settlement import PAYMENTS
from canonical.invoicing import InvoiceChange
from canonical.records import RecordRef

EVENTS: Final = "/v1/events"
INVOICES: Final = "/v1/invoices"
LOG: Final = timedelta(days=29)
"""What the log surely remembers of its 30 days."""
MARGIN: Final = timedelta(hours=6)
"""Between looks of an account in which nothing happens, before it is listed in full again."""
ACT: Final = "look for changed invoices"
OF_INVOICES: Final = (
    "invoice.created",
    "invoice.finalized",
    "invoice.updated",
    "invoice.paid",
    "invoice.overpaid",
    "invoice.voided",
    "invoice.marked_uncollectible",
    "invoice.deleted",
)
OF_RECORDS: Final = (
    "invoice_payment.paid",
    "credit_note.created",
    "credit_note.updated",
    "credit_note.voided",
)
"""Of records that name their invoice."""
OF_MONEY: Final = (
    "refund.created",
    "refund.updated",
    "refund.failed",
    "charge.dispute.created",
    "charge.dispute.updated",
    "charge.dispute.closed",
    "charge.dispute.funds_withdrawn",
    "charge.dispute.funds_reinstated",
)
"""Of money that goes back: they name a payment intent, which is on invoices."""


class Changes:
    """The changed invoices of one account."""

    def __init__(self, objects: Objects, now: Callable[[], datetime]) -> None:
        """Use the account's objects."""
        self._objects = objects
        self._now = now

    async def since(self, time: datetime) -> AsyncIterator[tuple[InvoiceChange, ...]]:
        """Yield pages of the invoices that changed since a time, each once, oldest first.

        Before the log begins nobody can say when an invoice changed last: all are told then, as
        changed by the day the log begins.
        """
        begin = self._now().replace(minute=0, second=0, microsecond=0) - LOG
        keys: dict[str, str] = {}
        moments: dict[str, int] = {}
        if time < begin - MARGIN:
            for row in await self._objects.all(INVOICES, ACT, {}):
                keys[id_of(row)] = key_of(row)
                moments[id_of(row)] = int(begin.timestamp())
            time = begin
        for event in reversed(await self._events(time)):
            for id_ in await self._invoices_of(event, keys):
                moments[id_] = max(moments.get(id_, 0), whole(event, "created"))
        found = sorted(moments.items(), key=lambda each: (each[1], each[0]))
        for first in range(0, len(found), PAGE):
            page = found[first : first + PAGE]
            yield tuple([await self._change(id_, at, keys) for id_, at in page])

    async def _events(self, time: datetime) -> list[Row]:
        types = (*OF_INVOICES, *OF_RECORDS, *OF_MONEY)
        filters: dict[str, str | int] = {"created[gte]": int(time.timestamp())}
        filters |= {f"types[{number}]": type_ for number, type_ in enumerate(types)}
        return await self._objects.all(EVENTS, ACT, filters)

    async def _invoices_of(self, event: Row, keys: dict[str, str]) -> list[str]:
        """Return the invoices that an event is about; their keys are noted where it says them."""
        about = inner(inner(event, "data"), "object")
        type_ = text(event, "type")
        if type_ in OF_INVOICES:
            keys[id_of(about)] = key_of(about)
            return [id_of(about)]
        if type_ in OF_RECORDS:
            return [reference(about.get("invoice"))]
        intent = reference(about.get("payment_intent"))
        if not intent:
            return []
        filters: dict[str, str | int] = {
            "payment[type]": "payment_intent",
            "payment[payment_intent]": intent,
        }
        payments = await self._objects.all(PAYMENTS, ACT, filters)
        return [reference(payment.get("invoice")) for payment in payments]

    async def _change(self, id_: str, at: int, keys: dict[str, str]) -> InvoiceChange:
        if id_ not in keys:
            row = await self._objects.read_if_any(path_of("invoices", id_), ACT)
            keys[id_] = "" if row is None else key_of(row)
        ref = RecordRef(system=self._objects.connection, type="invoice", id=id_)
        return InvoiceChange(record=ref, external_id=keys[id_], changed_at=moment(at))
