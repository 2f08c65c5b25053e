"""What people say of an invoice on its way to the client, where no system says it."""

from typing import Final

from canonical.invoicing import Delivery
from canonical.lifecycle import InvoiceState, TrackedInvoice
from operations.invoices import InvoiceDesk
from operations.people import Refused
from policies.credits import may_ask

ENDED: Final = frozenset({InvoiceState.VOIDED, InvoiceState.CREDITED, InvoiceState.GONE})


async def say_delivery(
    desk: InvoiceDesk, invoice: TrackedInvoice, delivery: Delivery, *, because: str, by: str
) -> TrackedInvoice:
    """Note that an invoice reached its client, or came back; the look tells it on.

    A rejection opens a work item, which the next transmission closes.

    Raises:
        Refused: the person may not, said no reason, or nothing of the invoice stands.
    """
    refused = may_ask(desk.people.get(by), by, because)
    if refused:
        raise Refused(f"{'; '.join(refused)}.")
    if invoice.state in ENDED:
        raise Refused(f"Invoice {invoice.number} is {invoice.state}: nothing of it is to be sent.")
    record = invoice.record
    found = await desk.store.invoices.delivered(
        record.system, record.id, delivery, because.strip(), by=by
    )
    await desk.look(invoice)
    return found
