"""The demo's third part: the week's billable work becomes an invoice, and the client pays it.

Two people of finance meet in the billing queue: one words a line and may not release any more, the
other releases. All that is told is read from the draft, the ERP and the PSA.
"""

from decimal import Decimal
from typing import Final

from pydantic import BaseModel, JsonValue

from canonical.client_pos import ClientPo
from canonical.draft_acts import DraftAnswer, EditNarrative, Release, Review
from canonical.drafts import Draft, DraftState
from canonical.lifecycle import InvoiceState, TrackedInvoice
from canonical.money import Money
from embedded.configuration import ACCOUNT
from operations.cli.demo_week import until
from operations.composition import Office
from operations.queue import PREFIX
from simulators.kit.control import Control

REVIEWER: Final = "olivia"
CHANGER: Final = "frank"
RELEASER: Final = "fiona"
PAID: Final = "2026-12-18"


class Invoiced(BaseModel):
    """What became of the week's draft."""

    draft: str
    lines: int
    net: str
    refused: str
    """Why the first release was refused."""
    released_by: str
    number: str
    tax: str
    """As the ERP worked it out."""
    gross: str
    state: str
    paid: str
    confirmed: str
    """What the PSA says of the invoice."""
    shown: str
    """What the CRM shows of the deal."""


async def invoice_week(office: Office, control: Control, project_id: str) -> Invoiced:
    """Draft what was handed over, review it, release it, and let the client pay."""
    made = await office.queue.assemble(project_id=project_id)
    draft = await office.store.drafts.get(made.drafts[0])
    words = EditNarrative(by=CHANGER, line=1, narrative="Platform engineering, week 50")
    for act in (words, Review(by=REVIEWER)):
        _taken(await office.queue.act(draft.id, act))
    await _order(office, draft)
    refused = await _release(office, draft.id, CHANGER)
    _taken(await _release(office, draft.id, RELEASER))
    issued = await until(lambda: _issued(office, draft.id), f"the invoice of {draft.id}")
    await _pay(control, issued)
    settled = await until(lambda: _settled(office, issued), "the payment")
    return await _told(office, control, draft.id, settled, "; ".join(refused.reasons))


async def _order(office: Office, draft: Draft) -> None:
    """Import the client's purchase order: without it nothing is released."""
    if draft.client_po:
        ordered = ClientPo(
            client_id=draft.client_id,
            number=draft.client_po,
            amount=Money(amount=10 * draft.net.amount, currency=draft.currency),
            valid_from=draft.on.replace(month=1, day=1),
        )
        await office.store.client_pos.put(ordered, by=CHANGER)


def _taken(answer: DraftAnswer) -> None:
    if not answer.taken:
        raise RuntimeError(f"the demo was refused: {'; '.join(answer.reasons)}")


async def _release(office: Office, draft_id: str, by: str) -> DraftAnswer:
    """Release what stands there now, and return the answer."""
    draft = await office.store.drafts.get(draft_id)
    return await office.queue.act(draft_id, Release(by=by, content_hash=draft.content_hash))


async def _issued(office: Office, draft_id: str) -> TrackedInvoice | None:
    draft = await office.store.drafts.get(draft_id)
    if draft.state is not DraftState.INVOICED:
        return None
    key = await office.store.draft_sources.invoice_of(draft_id)
    if key is None:
        return None
    return await office.store.invoices.get(key.connection, key.invoice_id)


async def _pay(control: Control, invoice: TrackedInvoice) -> None:
    """Let a clerk enter the client's payment in the ERP."""
    record = next(
        each
        for each in await control.records("netsuite", ACCOUNT, type="invoice")
        if each["id"] == invoice.record.id
    )
    entity = record["fields"]["entity"]
    client = entity["id"] if isinstance(entity, dict) else entity
    whole = float(invoice.remaining.amount)
    line: dict[str, JsonValue] = {"doc": invoice.record.id, "apply": True, "amount": whole}
    fields: dict[str, JsonValue] = {
        "customer": client,
        "subsidiary": record["fields"]["subsidiary"],
        "currency": record["fields"]["currency"],
        "tranDate": PAID,
        "payment": whole,
        "apply": {"items": [line]},
    }
    await control.put_record("netsuite", ACCOUNT, "customerPayment", fields)


async def _settled(office: Office, invoice: TrackedInvoice) -> TrackedInvoice | None:
    """Return the invoice once it is settled and the CRM was told."""
    seen = await office.store.invoices.get(invoice.record.system, invoice.record.id)
    return seen if seen.state is InvoiceState.SETTLED else None


async def _told(
    office: Office, control: Control, draft_id: str, invoice: TrackedInvoice, refused: str
) -> Invoiced:
    draft = await office.store.drafts.get(draft_id)
    confirmed = await until(lambda: _mirror(control), "the confirmation in the PSA")
    deal = invoice.engagements[0].partition("/")[2]
    shown = await until(lambda: _shown(control, deal), "the deal's money in the CRM")
    paid = sum((each.amount.amount for each in invoice.applications), Decimal(0))
    return Invoiced(
        draft=draft.id.removeprefix(PREFIX),
        lines=len(draft.live_lines),
        net=str(invoice.net),
        refused=refused,
        released_by=draft.released_by,
        number=invoice.number,
        tax=str(invoice.tax),
        gross=str(invoice.gross),
        state=f"{invoice.state}, {invoice.settled_by}",
        paid=f"{paid:,} {invoice.currency}",
        confirmed=confirmed,
        shown=shown,
    )


async def _mirror(control: Control) -> str:
    """Return how the PSA's own invoice stands, once it is issued and paid there too."""
    for record in await control.records("kantata", ACCOUNT, type="invoices"):
        fields = record["fields"]
        if record["live"] and fields["status"] == "accepted payment":
            return f"{fields.get('user_invoice_title')}: {fields['status']}"
    return ""


async def _shown(control: Control, deal_id: str) -> str:
    """Return the deal's status of invoices, once the CRM has it."""
    for record in await control.records("salesforce", ACCOUNT, type="Opportunity"):
        if record["id"] == deal_id:
            return str(record["fields"].get("Dealthread_Invoice_Status__c") or "")
    return ""
