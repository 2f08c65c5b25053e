"""All that proves an invoice: records, rates, inputs, read-back, writes and acts behind it.

How it is packed into one file is the exporter's (`operations/documents/evidence.py`).
"""

from datetime import date, datetime
from decimal import Decimal

from canonical.deal import Address
from canonical.entries import Entry, EntryRef
from canonical.fees import FeeSource
from canonical.invoicing import IssuedLine
from canonical.model import CanonicalModel
from canonical.money import Money
from canonical.rating import Disposition, ExchangeRate, RateUsed
from canonical.records import RecordRef


class Release(CanonicalModel):
    """Who let the draft go, and exactly which one."""

    by: str
    role: str = ""
    at: datetime
    draft_hash: str
    """Content hash that the releaser named; any change voids the release (DESIGN 4)."""


class EvidencePerson(CanonicalModel):
    """Somebody whose work is on the invoice, or who approved it."""

    id: str
    """The PSA's user id, as the approved records have it."""
    email: str = ""
    name: str = ""
    role: str = ""
    legal_entity: str = ""


class EvidenceRate(CanonicalModel):
    """How one entry version was rated."""

    entry: EntryRef
    version: str
    minutes: int = 0
    """As recorded."""
    billed_minutes: int = 0
    """After increments and minimum."""
    rate: RateUsed | None = None
    """None for expenses."""
    multiplier: Decimal = Decimal(1)
    amount: Money
    """Rated, net, contract currency."""
    fx: ExchangeRate | None = None


class EvidencePart(CanonicalModel):
    """A part of an entry version that the line bills."""

    entry: EntryRef
    version: str
    cycle: int = 1
    number: int = 1
    disposition: Disposition = Disposition.TO_BILL
    minutes: int = 0
    amount: Money


class EvidenceMilestone(CanonicalModel):
    """A milestone or an occurrence of a schedule that a line bills, with what made it due."""

    line: str
    item: str
    """`<psa>/<milestone id>`, or the occurrence of the schedule."""
    source: FeeSource
    engagement: str
    contract_line: str
    amount: Money
    """Whole, net, before any write-down."""
    approved_by: tuple[str, ...] = ()
    approved_at: datetime | None = None
    acceptance: str = ""
    """The client's, as the PSA names it; empty: none was needed."""
    record: str = ""
    """The record as read, or the derivation, as JSON."""


class EvidenceLine(CanonicalModel):
    """A line of the invoice with the parts or the milestone that make it up."""

    line: str
    narrative: str
    original_narrative: str = ""
    """Before the project manager edited it; empty where nobody did."""
    net: Money
    milestone: str = ""
    """For a line of a fixed fee: then no part has to be there."""
    parts: tuple[EvidencePart, ...] = ()
    external_ids: tuple[str, ...] = ()
    """Of its charges or lines in the ERP or the billing engine."""


class EvidenceTax(CanonicalModel):
    """What was sent to determine the tax of a line, what we expected, and what came back."""

    line: str
    legal_entity: str
    category: str = ""
    ship_to: Address = Address()
    client_tax_id: str = ""
    treatment: str = ""
    """Expected: `standard`, `reverse_charge`, ..."""
    percent: Decimal | None = None
    """Expected rate; None where the policies name none."""
    expected: Money
    final: Money | None = None
    """The ERP's, read back."""


class ErpReadBack(CanonicalModel):
    """The invoice as the ERP, or the billing engine, had it when its posting read it back."""

    record: RecordRef
    at: datetime
    number: str
    on: date | None = None
    posting_period: str = ""
    net: Money
    tax: Money
    gross: Money
    lines: tuple[IssuedLine, ...] = ()
    """Its lines, with tax, as they were read."""
    body: str = ""
    """The whole answer in canonical JSON, as kept since; its SHA-256 is in the audit trail's act
    `posted`. Empty where the invoice was issued before that was kept."""


class VendorCall(CanonicalModel):
    """One write to a connected system about this invoice: an attempt of a saga's step.

    The step ledger keeps steps, keys and records, not HTTP: `method`, `path` and what follows them
    are there only where somebody adds them from another source.
    """

    at: datetime
    """When it was claimed, just before it was sent."""
    ended_at: datetime | None = None
    connection: str
    saga: str = ""
    """Workflow id of the saga that made it."""
    step: str = ""
    attempt: int = 1
    key: str = ""
    """The step's key, under which the vendor knows the record."""
    outcome: str = ""
    """`created`, `updated`, `existing`, `skipped`, `not_done`, `unknown`."""
    records: tuple[RecordRef, ...] = ()
    """What it made or changed."""
    undone_at: datetime | None = None
    undo: str = ""
    """What its undo came to; empty where it stands."""
    reason: str = ""
    """Why it failed, in words."""
    method: str = ""
    path: str = ""
    status: int | None = None
    request: str = ""
    response: str = ""
    request_id: str = ""


class AuditFact(CanonicalModel):
    """One act of the audit trail, with its place in the chain of hashes of its subject."""

    subject: str
    seq: int
    at: datetime
    actor: str
    act: str
    data_json: str
    prev_hash: str
    hash: str


class InvoiceEvidence(CanonicalModel):
    """All that proves an invoice; what is not known yet is empty, and the export says so."""

    draft: str
    number: str = ""
    legal_entity: str
    draft_hash: str
    policy_hash: str
    at: datetime
    """When it was gathered; the export carries no other time, so that it can be repeated."""
    release: Release | None = None
    approved_records: tuple[Entry, ...] = ()
    """As read when they were approved."""
    people: tuple[EvidencePerson, ...] = ()
    rates: tuple[EvidenceRate, ...] = ()
    fx: tuple[ExchangeRate, ...] = ()
    tax: tuple[EvidenceTax, ...] = ()
    milestones: tuple[EvidenceMilestone, ...] = ()
    lines: tuple[EvidenceLine, ...] = ()
    read_back: ErpReadBack | None = None
    vendor_calls: tuple[VendorCall, ...] = ()
    audit: tuple[AuditFact, ...] = ()
