"""Invoices that did not reach the client: a work item each, until they are sent again."""

import hashlib
from datetime import datetime, timedelta

from canonical.failures import FailureDetail, FailureKind
from canonical.ids import invoice_id
from canonical.invoicing import Delivery
from canonical.lifecycle import InvoiceState, TrackedInvoice
from canonical.saga import CloseWorkItem, OpenWorkItem, WorkItem, WorkItemKind
from store import Store

SEND_WITHIN = timedelta(days=1)
OVER = frozenset(
    {InvoiceState.SETTLED, InvoiceState.CREDITED, InvoiceState.VOIDED, InvoiceState.GONE}
)
"""Who paid has it, and nothing else of these is to be sent."""


async def note_rejected_delivery(store: Store, invoice: TrackedInvoice, now: datetime) -> None:
    """Have a work item open while the delivery stands as rejected, and none afterwards."""
    record = invoice.record
    item = rejected_delivery_item(invoice, now)
    waits = invoice.delivery is Delivery.REJECTED and invoice.state not in OVER
    if waits:
        await store.work_items.open(OpenWorkItem(item=item))
    for stored in await store.work_items.list(workflow_id=invoice_id(record.system, record.id)):
        known = stored.item
        if known.kind is WorkItemKind.DELIVERY and not (waits and known.id == item.id):
            how = f"the invoice is {invoice.delivery or invoice.state}"
            closing = CloseWorkItem(work_item_id=known.id, park=known.park, how=how)
            await store.work_items.close(closing)


def rejected_delivery_item(invoice: TrackedInvoice, now: datetime) -> WorkItem:
    """Return the work item about a delivery; one that is rejected for another reason is another.

    Its id counts what was said of deliveries, so that a second rejection after a sending is anew.
    """
    record = invoice.record
    workflow_id = invoice_id(record.system, record.id)
    key = f"{workflow_id}/delivery"
    about = f"{key}/{invoice.delivery_because}/{invoice.deliveries}"
    return WorkItem(
        id=f"WI-delivery-{hashlib.sha256(about.encode()).hexdigest()[:12]}",
        workflow_id=workflow_id,
        generation=1,
        step="send_invoice",
        key=key,
        park=1,
        kind=WorkItemKind.DELIVERY,
        failure=FailureDetail(
            kind=FailureKind.REJECTED,
            reason="delivery_rejected",
            message=(
                f"Invoice {invoice.number} did not reach the client: {invoice.delivery_because}. "
                f"Send it again from {record.system}, then say so with "
                f"starter.py invoice transmitted {invoice.number} --because REASON."
            ),
            system=record.system,
        ),
        title=f"Delivery of invoice {invoice.number}",
        client_id=invoice.client_id,
        legal_entities=(invoice.legal_entity,),
        amount=str(invoice.gross),
        connection=record.system,
        opened_at=now,
        respond_by=now + SEND_WITHIN,
    )
