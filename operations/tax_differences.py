"""A tax that the issuing system made otherwise than expected, accepted by a person of finance."""

from canonical.ids import invoice_id
from canonical.lifecycle import TrackedInvoice
from canonical.saga import CloseWorkItem, WorkItem, WorkItemKind
from operations.people import Refused
from policies.credits import may_accept_tax
from policies.queue_case import Actor
from store import Store
from store.audit import audit_data

ACCEPTED = "tax_accepted"
"""The act in the trail of the invoice."""


async def accept_tax(
    store: Store, actor: Actor | None, invoice: TrackedInvoice, *, by: str, because: str
) -> WorkItem:
    """Close the work item about an invoice's tax; who and why are in the invoice's audit trail.

    Raises:
        Refused: the person may not, said no reason, or no tax of the invoice waits.
    """
    refused = may_accept_tax(actor, by, because)
    if refused:
        raise Refused(f"{'; '.join(refused)}.")
    item = await open_difference(store, invoice)
    if item is None:
        raise Refused(f"No tax of invoice {invoice.number} waits to be accepted.")
    record, why = invoice.record, because.strip()
    data = audit_data(because=why, tax=str(invoice.tax), work_item=item.id)
    await store.audit.append(f"{record.system}/{record.id}", by, ACCEPTED, data)
    how = f"accepted by {by}: {why}"
    await store.work_items.close(CloseWorkItem(work_item_id=item.id, park=item.park, how=how))
    return item


async def open_difference(store: Store, invoice: TrackedInvoice) -> WorkItem | None:
    """Return the work item about the invoice's tax while it waits."""
    record = invoice.record
    waiting = await store.work_items.list(workflow_id=invoice_id(record.system, record.id))
    kinds = (each.item for each in waiting if each.item.kind is WorkItemKind.DIFFERENCE)
    return next(kinds, None)
