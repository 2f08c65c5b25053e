"""From a released draft to what the issuing system is asked for, and whether its answer agrees."""

from collections.abc import Iterable, Mapping
from decimal import Decimal

from canonical.draft_to_invoice import IssueInvoice, ProjectShare
from canonical.drafts import Draft, DraftLine
from canonical.engagement import BillingMethod
from canonical.invoicing import Invoice, InvoiceLine, ProvisionInvoice
from canonical.money import Money
from canonical.records import RecordRef

WRITE_DOWN = "down"
"""Ending of the item of the deduction that writes a charge down."""


def provision_of(draft: Draft, request: IssueInvoice) -> ProvisionInvoice:
    """Return the invoice that a draft asks its issuing system for.

    A charge is billed at what it was posted with; where its line was written down, a deduction of
    its own follows it.
    """
    return ProvisionInvoice(
        connection=request.connection,
        item=request.item,
        method=request.method,
        client=request.client,
        subsidiary=request.subsidiary,
        currency=request.currency,
        lines=lines_of(draft),
        on=request.on,
        payment_days=request.payment_days,
        title=request.title,
        client_po=request.client_po,
    )


def lines_of(draft: Draft) -> tuple[InvoiceLine, ...]:
    """Return the lines that a draft asks its issuing system for."""
    return tuple(part for line in draft.live_lines for part in _lines(line, draft))


def items_of(draft: Draft) -> dict[str, int]:
    """Return which line of the draft each item of the invoice belongs to."""
    return {part.item: line.number for line in draft.live_lines for part in _lines(line, draft)}


def charges_of(draft: Draft) -> tuple[str, ...]:
    """Return the external ids of the charges that a draft bills, in the order of its lines."""
    if draft.method is not BillingMethod.ERP_CHARGES:
        return ()
    return tuple(line.charge for line in draft.live_lines if line.charge)


def shares_of(draft: Draft, psas: Mapping[str, str]) -> tuple[ProjectShare, ...]:
    """Return what a draft bills of each project; `psas` says which PSA has the engagement."""
    sums: dict[tuple[str, str], Decimal] = {}
    for line in draft.live_lines:
        key = (psas[line.engagement], line.project_id)
        sums[key] = sums.get(key, Decimal(0)) + line.amount.amount
    return tuple(
        ProjectShare(psa=psa, project_id=project, net=Money(amount=amount, currency=draft.currency))
        for (psa, project), amount in sorted(sums.items())
    )


def differences(asked: Iterable[InvoiceLine], invoice: Invoice) -> tuple[str, ...]:
    """Return how an issued invoice differs from what was released, net, line by line.

    Lines are told by item; where the issuing system keeps none, by the charges that they bill.
    """
    by_item = {line.item: line for line in invoice.lines if line.item}
    by_charges = {frozenset(line.charges): line for line in invoice.lines if line.charges}
    found: list[str] = []
    seen: set[str] = set()
    for line in asked:
        issued = by_item.get(line.item) or by_charges.get(frozenset(line.charges))
        if issued is None:
            found.append(f"line {line.item} is not on it")
            continue
        seen.add(issued.id)
        if issued.amount != line.amount:
            found.append(f"line {line.item} is {issued.amount}, released was {line.amount}")
    found += [
        f"{each.amount} ({each.description or each.id}) was added there"
        for each in invoice.lines
        if each.id not in seen and each.amount.amount
    ]
    return tuple(found)


def head_differences(draft: Draft, invoice: Invoice) -> tuple[str, ...]:
    """Return how an issued invoice's currency, date and totals differ from what was released.

    A billing engine dates its invoices itself.
    """
    if invoice.currency != draft.currency:
        return (f"it is in {invoice.currency}, released was {draft.currency}",)
    found: list[str] = []
    dated_by_us = draft.method is not BillingMethod.BILLING_ENGINE
    if dated_by_us and invoice.on is not None and invoice.on != draft.on:
        found.append(f"it is dated {invoice.on}, released was {draft.on}")
    if invoice.net.amount + invoice.tax.amount != invoice.gross.amount:
        found.append(f"net {invoice.net} and tax {invoice.tax} do not come to {invoice.gross}")
    return tuple(found)


def _lines(line: DraftLine, draft: Draft) -> tuple[InvoiceLine, ...]:
    charged = draft.method is BillingMethod.ERP_CHARGES and bool(line.charge)
    project = (
        RecordRef(system=draft.erp, type="project", id=line.erp_project_id)
        if line.erp_project_id
        else None
    )
    whole = InvoiceLine(
        item=str(line.number),
        description=line.narrative,
        quantity=line.quantity,
        unit_price=line.unit_price,
        amount=line.amount,
        kind=line.kind,
        start=line.start,
        end=line.end,
        tax_category=line.tax_category,
        project=project,
        charges=(line.charge,) if charged else (),
        dimensions=line.dimensions,
    )
    if not charged or line.written_down is None:
        return (whole,)
    posted = line.amount + line.written_down
    less = Money(amount=-line.written_down.amount, currency=draft.currency)
    return (
        whole.model_copy(
            update={"quantity": Decimal(1), "unit_price": posted.amount, "amount": posted}
        ),
        whole.model_copy(
            update={
                "item": f"{line.number}-{WRITE_DOWN}",
                "quantity": Decimal(1),
                "unit_price": less.amount,
                "amount": less,
                "charges": (),
                "kind": "fee",
            }
        ),
    )
