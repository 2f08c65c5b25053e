"""Fills the evidence of an invoice from its way back: what proves each line, as it was read."""

from collections.abc import Iterable, Mapping
from datetime import datetime
from decimal import Decimal

from canonical.documents import Party
from canonical.drafts import DraftLine
from canonical.entries import Entry
from canonical.evidence import (
    AuditFact,
    ErpReadBack,
    EvidenceLine,
    EvidenceMilestone,
    EvidencePart,
    EvidenceRate,
    EvidenceTax,
    InvoiceEvidence,
    Release,
)
from canonical.invoicing import Invoice
from canonical.lifecycle import TrackedInvoice
from canonical.money import Money
from canonical.provisioning import contract_value
from canonical.rating import ExchangeRate
from operations.documents.filling import billed, client_of, line_id
from operations.way_back import WayBack, WayLine
from store.finances import TracedBill
from store.invoice_evidence import ReadBackKept


def evidence_of(
    way: WayBack,
    at: datetime,
    audit: Iterable[AuditFact],
    roles: Mapping[str, frozenset[str]],
    kept: ReadBackKept | None = None,
) -> InvoiceEvidence:
    """Return all that the store knows of an invoice, or of a draft, gathered at a time.

    `roles` says what the people of this installation may do, by name; `kept` is the invoice as it
    was read back.
    """
    draft, invoice = way.draft, way.invoice
    bills = [bill for line in way.lines for bill in line.bills]
    return InvoiceEvidence(
        draft=draft.id,
        number=invoice.number if invoice else "",
        legal_entity=draft.legal_entity,
        draft_hash=way.content_hash,
        policy_hash=draft.bundle,
        at=at,
        release=_release(way, roles),
        approved_records=tuple(_records(bills).values()),
        people=way.people,
        rates=tuple(_rates(bills).values()),
        fx=tuple(_fx(bills).values()),
        tax=tuple(_taxes(way, client_of(way))),
        milestones=tuple(_milestones(way)),
        lines=tuple(_line(place, line) for place, line in enumerate(way.lines)),
        read_back=_as_read(kept) if kept else _as_tracked(invoice) if invoice else None,
        vendor_calls=tuple(
            sorted((call for saga in way.sagas for call in saga.calls), key=lambda call: call.at)
        ),
        audit=tuple(audit),
    )


def _release(way: WayBack, roles: Mapping[str, frozenset[str]]) -> Release | None:
    draft = way.draft
    if not draft.released_by or draft.released_at is None:
        return None
    return Release(
        by=draft.released_by,
        role=", ".join(sorted(roles.get(draft.released_by, ()))),
        at=draft.released_at,
        draft_hash=draft.released_hash,
    )


def _records(bills: Iterable[TracedBill]) -> dict[tuple[str, str, str], Entry]:
    """Return each approved record once: several parts may bill one."""
    return {
        (entry.source, str(entry.ref), entry.version): entry
        for entry in (bill.entry for bill in bills)
        if entry is not None
    }


def _rates(bills: Iterable[TracedBill]) -> dict[tuple[str, str, int], EvidenceRate]:
    return {
        (str(rated.ref), bill.version, bill.cycle): EvidenceRate(
            entry=rated.ref,
            version=bill.version,
            minutes=rated.minutes,
            billed_minutes=rated.billed_minutes,
            rate=rated.rate,
            multiplier=rated.multiplier,
            amount=rated.amount or bill.amount,
            fx=rated.fx,
        )
        for bill in bills
        if (rated := bill.rated) is not None
    }


def _fx(bills: Iterable[TracedBill]) -> dict[str, ExchangeRate]:
    used = (bill.rated.fx for bill in bills if bill.rated and bill.rated.fx)
    return {fx.model_dump_json(): fx for fx in used}


def _taxes(way: WayBack, client: Party) -> Iterable[EvidenceTax]:
    currency = way.draft.currency
    nothing = Money(amount=Decimal(0), currency=currency)
    numbered = way.invoice is not None and bool(way.invoice.number)
    for place, line in enumerate(way.lines):
        drafted = line.drafted
        yield EvidenceTax(
            line=line_id(place, line),
            legal_entity=way.draft.legal_entity,
            category=drafted.tax_category if drafted else "",
            ship_to=client.address,
            client_tax_id=client.tax_id,
            treatment=_treatment(drafted),
            percent=drafted.tax_percent if drafted else None,
            expected=(drafted.expected_tax if drafted else None) or nothing,
            final=contract_value(tuple(each.tax for each in line.issued), currency)
            if numbered
            else None,
        )


def _treatment(drafted: DraftLine | None) -> str:
    if drafted is None or drafted.tax_percent is None:
        return ""
    return "taxed" if drafted.tax_percent else "zero_or_exempt"


def _milestones(way: WayBack) -> Iterable[EvidenceMilestone]:
    for place, line in enumerate(way.lines):
        for fee in (bill.fee for bill in line.bills if bill.fee):
            yield EvidenceMilestone(
                line=line_id(place, line),
                item=fee.item,
                source=fee.source,
                engagement=fee.engagement,
                contract_line=fee.line,
                amount=fee.amount,
                approved_by=fee.approved_by,
                approved_at=fee.approved_at,
                acceptance=fee.acceptance,
                record=fee.evidence,
            )


def _line(place: int, line: WayLine) -> EvidenceLine:
    drafted = line.drafted
    charges = [bill.charge for bill in line.bills if bill.charge]
    charges += [charge for each in line.issued for charge in each.charges]
    return EvidenceLine(
        line=line_id(place, line),
        narrative=line.narrative,
        original_narrative=drafted.original_narrative if drafted else "",
        net=line.net,
        milestone=next((bill.fee.item for bill in line.bills if bill.fee), ""),
        parts=tuple(
            EvidencePart(
                entry=bill.entry.ref,
                version=bill.version,
                cycle=bill.cycle,
                number=bill.number,
                minutes=bill.minutes,
                amount=billed(bill),
            )
            for bill in line.bills
            if bill.entry is not None
        ),
        external_ids=tuple(dict.fromkeys((*(each.id for each in line.issued), *charges))),
    )


def _as_read(kept: ReadBackKept) -> ErpReadBack:
    invoice = Invoice.model_validate_json(kept.body)
    return ErpReadBack(
        record=invoice.record,
        at=kept.at,
        number=invoice.number,
        on=invoice.on,
        posting_period=invoice.period,
        net=invoice.net,
        tax=invoice.tax,
        gross=invoice.gross,
        lines=invoice.lines,
        body=kept.body,
    )


def _as_tracked(invoice: TrackedInvoice) -> ErpReadBack:
    """Return what is known of an invoice whose answer was not kept."""
    return ErpReadBack(
        record=invoice.record,
        at=invoice.seen_at,
        number=invoice.number,
        on=invoice.on,
        posting_period=invoice.period,
        net=invoice.net,
        tax=invoice.tax,
        gross=invoice.gross,
        lines=tuple(line.issued for line in invoice.lines),
    )
