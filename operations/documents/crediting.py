"""Fills the printed credit note from the invoice's way back and from the credit, as issued.

Amounts are the issuing system's, positive as on its credit note. What each line takes back is said
down to entries and milestones; the hours behind them are the invoice's own backup.
"""

from collections.abc import Iterable

from canonical.documents import (
    DocumentKind,
    DocumentLine,
    InvoiceDocument,
    Provenance,
    TaxLine,
)
from canonical.drafts import BillableRef
from canonical.lifecycle import DraftedCreditLine, TrackedInvoice
from canonical.money import Money
from operations.documents.filling import approvals_of, client_of, locale_of, seller_of
from operations.documents.labels import labels
from operations.way_back import WayBack, WayLine
from policies.schema import Policies
from store.credits import CreditStanding, IssuedNote
from store.finances import TracedBill


def credit_document_of(
    way: WayBack, standing: CreditStanding, note: IssuedNote, policies: Policies
) -> InvoiceDocument:
    """Return the credit note as it is printed; `way` is the credited invoice's.

    Raises:
        ValueError: what the store has does not add up, so that it must not be printed.
    """
    draft, invoice = way.draft, _issued(way)
    bill_to = client_of(way)
    locale = locale_of(bill_to.address.country)
    tax = Money(amount=note.gross.amount - note.net.amount, currency=note.net.currency)
    lines = {line.number: line for line in way.lines}
    credited = standing.credit.lines
    return InvoiceDocument(
        kind=DocumentKind.CREDIT_NOTE,
        seller=seller_of(policies, draft.legal_entity),
        bill_to=bill_to,
        draft=standing.credit.id,
        number=note.number or note.id,
        credits=invoice.number,
        on=note.on or invoice.on,
        currency=draft.currency,
        client_po=draft.client_po,
        lines=tuple(
            _line(way, place, line, lines.get(line.line)) for place, line in enumerate(credited)
        ),
        taxes=(
            TaxLine(
                title=labels(locale.partition("_")[0])["total_tax"],
                base=note.net,
                amount=tax,
                estimated=False,
            ),
        ),
        net=note.net,
        tax=tax,
        gross=note.gross,
        notes=standing.credit.memo,
        provenance=tuple(
            _source(way, place, line, lines.get(line.line)) for place, line in enumerate(credited)
        ),
        draft_hash=draft.released_hash,
        locale=locale,
    )


def _issued(way: WayBack) -> TrackedInvoice:
    if way.invoice is None:
        raise ValueError(f"{way.draft.id} has not become an invoice: nothing of it is credited")
    return way.invoice


def _line(
    way: WayBack, place: int, line: DraftedCreditLine, billed: WayLine | None
) -> DocumentLine:
    project = billed.drafted.project_id if billed and billed.drafted else ""
    titles = {project_id: deal.title for deal in way.deals for project_id in deal.projects}
    return DocumentLine(
        id=_id(place),
        narrative=billed.narrative if billed else line.item,
        reason=line.reason.value,
        net=line.amount,
        project_code=project,
        project_name=titles.get(project, ""),
    )


def _source(
    way: WayBack, place: int, line: DraftedCreditLine, billed: WayLine | None
) -> Provenance:
    bills = list(_bills(billed, {part.bills for part in line.parts}))
    return Provenance(
        line=_id(place),
        milestone=", ".join(bill.fee.item for bill in bills if bill.fee),
        entries=tuple(bill.entry.ref for bill in bills if bill.entry),
        approvals=approvals_of(way, bills),
        policy_hash=way.draft.bundle,
        amount=line.amount,
    )


def _bills(billed: WayLine | None, refs: set[BillableRef]) -> Iterable[TracedBill]:
    return (bill for bill in (billed.bills if billed else ()) if bill.ref in refs)


def _id(place: int) -> str:
    """One invoice line may be credited twice, for two reasons: its number is no id here."""
    return f"credit-{place + 1}"
