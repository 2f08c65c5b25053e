"""A draft as a firm would send it, the evidence behind it, and the picture of it in the docs.

`python -m tests.unit.operations.document_samples` draws that picture anew.
"""

import hashlib
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

from canonical.deal import Address
from canonical.documents import (
    Approval,
    BackupEntry,
    DocumentLine,
    InvoiceDocument,
    Party,
    Provenance,
    TaxLine,
)
from canonical.entries import Entry, EntryKind, EntryRef
from canonical.evidence import (
    AuditFact,
    ErpReadBack,
    EvidenceLine,
    EvidencePart,
    EvidencePerson,
    EvidenceRate,
    EvidenceTax,
    InvoiceEvidence,
    Release,
    VendorCall,
)
from canonical.invoicing import Invoice, InvoiceStatus
from canonical.money import Money
from canonical.rating import ExchangeRate, RateUsed
from canonical.records import RecordRef
from operations.documents.render import render_pages

APPROVED = datetime(2026, 11, 30, 9, 12, tzinfo=UTC)
RELEASED = datetime(2026, 12, 1, 14, 30, 7, tzinfo=UTC)
POLICY = hashlib.sha256(b"policy").hexdigest()
DRAFT_HASH = hashlib.sha256(b"draft").hexdigest()
DRAFT = "invoice-draft/DE/hansewerk/EUR/5001/2026-11/1"
SELLER = Party(
    name="Dealthread Demo GmbH",
    address=Address(street="Torstraße 12", city="Berlin", postal_code="10119", country="DE"),
    tax_id="DE811907980",
    email="billing@dealthread.example",
)
CLIENT = Party(
    name="Hansewerk Logistik GmbH",
    address=Address(
        street="Am Sandtorkai 40\nAccounts payable",
        city="Hamburg",
        postal_code="20457",
        country="DE",
    ),
    tax_id="DE129273398",
)
WORK = (
    ("Maya Chen", "Principal", "Workshop with the shift leads: slotting rules, open points", 450),
    ("Luca Rossi", "Principal", "Telegrams of the conveyor control, error cases", 480),
    ("Zoë Ångström", "Principal", "Review of the replenishment rules", 390),
)


def euro(amount: str | Decimal) -> Money:
    return Money(amount=Decimal(amount), currency="EUR")


def backup(rows: int) -> tuple[BackupEntry, ...]:
    """Time at 185 an hour; every row is a multiple of 30 minutes."""
    return tuple(
        BackupEntry(
            line="l1",
            entry=EntryRef(kind=EntryKind.TIME, id=str(4711 + row)),
            on=date(2026, 11, 2) + timedelta(days=row % 28),
            person=WORK[row % 3][0],
            role=WORK[row % 3][1],
            task="Interface specification",
            minutes=WORK[row % 3][3],
            note=WORK[row % 3][2],
            rate=Decimal(185),
            amount=euro(Decimal(185) * WORK[row % 3][3] / 60),
            approved_by="Anna Schmidt",
            approved_at=APPROVED,
        )
        for row in range(rows)
    )


def draft(rows: int = 12, **changed: Any) -> InvoiceDocument:
    """Two projects, three kinds of lines, one estimated tax; sums follow from `rows`."""
    work = backup(rows)
    quantity = Decimal(sum(row.minutes or 0 for row in work)) / 60
    time = euro(quantity * 185)
    net = time + euro("100000") + euro("412.30")
    tax = Money.rounded(net.amount * Decimal("0.19"), "EUR")
    project: dict[str, Any] = {"project_code": "5001", "project_name": "Warehouse automation"}
    approval = (Approval(by="Anna Schmidt", at=APPROVED),)
    sources: tuple[dict[str, Any], ...] = (
        {"entries": tuple(row.entry for row in work), "rate_source": "contract:role=Principal"},
        {"milestone": "Interface accepted (7702)", "rate_source": "schedule: 2 of 3"},
        {"entries": (EntryRef(kind=EntryKind.EXPENSE, id="9001"),), "rate_source": "at cost"},
    )
    lines = (
        DocumentLine(
            id="l1",
            narrative="Process design and integration, November 2026: workshops on slotting and"
            " replenishment, interface specification of the conveyor control",
            quantity=quantity,
            unit="h",
            unit_price=Decimal(185),
            net=time,
            **project,
        ),
        DocumentLine(
            id="l2", narrative="Milestone 2 of 3: interface accepted", net=euro("100000"), **project
        ),
        DocumentLine(
            id="l3",
            narrative="Travel Hamburg–Berlin, recharged at cost",
            net=euro("412.30"),
            project_code="5002",
            project_name="Support desk",
        ),
    )
    values: dict[str, Any] = {
        "seller": SELLER,
        "bill_to": CLIENT,
        "draft": DRAFT,
        "on": date(2026, 11, 30),
        "due": date(2026, 12, 30),
        "terms": "NET30",
        "service_from": date(2026, 11, 1),
        "service_to": date(2026, 11, 30),
        "currency": "EUR",
        "client_po": "PO-2026-4471",
        "lines": lines,
        "taxes": (TaxLine(title="VAT", rate_percent=Decimal(19), base=net, amount=tax),),
        "net": net,
        "tax": tax,
        "gross": net + tax,
        "payment_instructions": "IBAN DE89 3704 0044 0532 0130 00\nPlease name the invoice number.",
        "backup": work,
        "provenance": tuple(
            Provenance(
                line=line.id, approvals=approval, policy_hash=POLICY, amount=line.net, **source
            )
            for line, source in zip(lines, sources, strict=True)
        ),
        "draft_hash": DRAFT_HASH,
    }
    return InvoiceDocument.model_validate({**values, **changed})


def record(number: str, minutes: int = 60) -> Entry:
    return Entry(
        source="kantata",
        kind=EntryKind.TIME,
        id=number,
        project_id="5001",
        person_id="3",
        person_email="maya.chen@example.com",
        role="Principal",
        service_date=date(2026, 11, 2),
        minutes=minutes,
        currency="EUR",
        psa_rate=Decimal("185.00"),
        approved=True,
        approved_by="Anna Schmidt",
        approved_at=APPROVED,
    )


def act(subject: str, seq: int, prev_hash: str, name: str, data: str = "{}") -> AuditFact:
    at = RELEASED.strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    fields = (prev_hash, subject, str(seq), at, "finance@example.com", name, data)
    octets = b"".join(b"%d:%s" % (len(each.encode()), each.encode()) for each in fields)
    return AuditFact(
        subject=subject,
        seq=seq,
        at=RELEASED,
        actor="finance@example.com",
        act=name,
        data_json=data,
        prev_hash=prev_hash,
        hash=hashlib.sha256(octets).hexdigest(),
    )


def as_read() -> Invoice:
    """The invoice as its posting read it back."""
    return Invoice(
        record=RecordRef(system="netsuite", type="invoice", id="901"),
        status=InvoiceStatus.OPEN,
        number="INV-10077",
        currency="EUR",
        on=date(2026, 11, 30),
        net=euro("100277.50"),
        tax=euro("19052.72"),
        gross=euro("119330.22"),
        remaining=euro("119330.22"),
    )


def evidence(**changed: Any) -> InvoiceEvidence:
    """An issued invoice over two time entries and a milestone, with nothing missing."""
    records = (record("4711"), record("47/12", 30))
    amounts = {"4711": euro("185.00"), "47/12": euro("92.50")}
    used = RateUsed(rate=Decimal(185), currency="EUR", source="contract:role=Principal")
    first = act(DRAFT, 1, "", "drafted")
    second = act(DRAFT, 2, first.hash, "released")
    read = as_read()
    body = read.model_dump_json()
    digest = hashlib.sha256(body.encode()).hexdigest()
    third = act(DRAFT, 3, second.hash, "posted", f'{{"read_back": "{digest}"}}')
    values: dict[str, Any] = {
        "draft": DRAFT,
        "number": "INV-10077",
        "legal_entity": "DE",
        "draft_hash": DRAFT_HASH,
        "policy_hash": POLICY,
        "at": RELEASED,
        "release": Release(by="finance@example.com", at=RELEASED, draft_hash=DRAFT_HASH),
        "approved_records": records,
        "people": (EvidencePerson(id="3", email="maya.chen@example.com", name="Maya Chen"),),
        "rates": tuple(
            EvidenceRate(entry=each.ref, version=each.version, rate=used, amount=amounts[each.id])
            for each in records
        ),
        "fx": (
            ExchangeRate(
                from_currency="USD",
                to_currency="EUR",
                rate=Decimal("0.921500"),
                valid_from=date(2026, 11, 1),
                source="netsuite:currencyrate/77",
            ),
        ),
        "tax": (
            EvidenceTax(line="l1", legal_entity="DE", expected=euro("52.73"), final=euro("52.72")),
        ),
        "lines": (
            EvidenceLine(
                line="l1",
                narrative="Process design",
                net=euro("277.50"),
                parts=tuple(
                    EvidencePart(entry=each.ref, version=each.version, amount=amounts[each.id])
                    for each in records
                ),
            ),
            EvidenceLine(line="l2", narrative="Milestone", net=euro("100000"), milestone="7702"),
        ),
        "read_back": ErpReadBack(
            record=read.record,
            at=RELEASED,
            number=read.number,
            on=read.on,
            net=read.net,
            tax=read.tax,
            gross=read.gross,
            body=body,
        ),
        "vendor_calls": (
            VendorCall(
                at=RELEASED, connection="netsuite", method="POST", path="/invoice", status=204
            ),
            VendorCall(at=RELEASED, connection="netsuite", method="GET", path="/invoice/901"),
        ),
        "audit": (first, second, third),
    }
    return InvoiceEvidence.model_validate({**values, **changed})


def main() -> None:
    """Draw the picture in the docs."""
    picture = Path(__file__).parents[3] / "docs" / "images" / "invoice-draft.png"
    picture.write_bytes(render_pages(draft())[0])


if __name__ == "__main__":
    main()
