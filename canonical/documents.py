"""An invoice as its reader sees it, and all that proves it.

Owns both as data: the document with its parties, lines, taxes, sums and appendix; the evidence
with the records, rates, inputs, read-back and calls behind it. How the document looks is the
template's, how the evidence is packed the exporter's (`operations/documents`); final tax and the
number are the ERP's (DESIGN 1). A document that does not add up is refused, never printed.
"""

from datetime import date, datetime
from decimal import Decimal
from enum import StrEnum
from typing import Self

from pydantic import Field, model_validator

from canonical.deal import Address
from canonical.entries import Entry, EntryRef
from canonical.model import CanonicalModel
from canonical.money import Money
from canonical.provisioning import contract_value
from canonical.rating import Disposition, ExchangeRate, RateUsed
from canonical.records import RecordRef


class DocumentKind(StrEnum):
    """What the client is sent."""

    INVOICE = "invoice"
    CREDIT_NOTE = "credit_note"


class Watermark(StrEnum):
    """What is written across every page."""

    DRAFT = "draft"
    CREDIT_NOTE = "credit_note"


class Party(CanonicalModel):
    """A company named on the document: who sells, who pays, who was served."""

    name: str
    address: Address = Address()
    tax_id: str = ""
    email: str = ""


class DocumentLine(CanonicalModel):
    """One line; `quantity` times `unit_price`, rounded once, half-up, is `net`.

    A line that gathers amounts of several rates has neither quantity nor unit price: its backup
    shows them.
    """

    id: str
    """Id of the draft's line; backup and provenance name it."""
    narrative: str
    """As the project manager left it. Text, never markup."""
    quantity: Decimal | None = None
    unit: str = ""
    unit_price: Decimal | None = None
    """In the document's currency, with as many decimals as the rate has."""
    net: Money
    project_code: str = ""
    """Lines of one project stand together, with a sub-total."""
    project_name: str = ""

    @model_validator(mode="after")
    def _multiplies(self) -> Self:
        if (self.quantity is None) != (self.unit_price is None):
            raise ValueError(f"line {self.id} has a quantity or a unit price, not both")
        if self.quantity is not None and self.unit_price is not None:
            product = Money.rounded(self.quantity * self.unit_price, self.net.currency)
            if product != self.net:
                raise ValueError(f"line {self.id}: {product} by its quantity, but {self.net} net")
        return self


class TaxLine(CanonicalModel):
    """Tax of one kind over the document."""

    title: str
    rate_percent: Decimal | None = None
    base: Money
    amount: Money
    estimated: bool = True
    """Ours, from the determination inputs; False once the ERP's amount was read back."""


class BackupEntry(CanonicalModel):
    """One approved entry behind a line, as the client may read it."""

    line: str
    """Id of the document's line."""
    entry: EntryRef
    on: date
    """Service date."""
    person: str
    role: str = ""
    task: str = ""
    minutes: int | None = None
    """Billed minutes, shared out by part; None for an expense."""
    note: str = ""
    rate: Decimal | None = None
    amount: Money
    """What the line contains of this entry, net."""
    approved_by: str
    approved_at: datetime


class Approval(CanonicalModel):
    """Who said yes, and when."""

    by: str
    at: datetime


class Provenance(CanonicalModel):
    """One row of "where does this line come from"; a line may need several."""

    line: str
    milestone: str = ""
    """The PSA's milestone, for a line of a fixed fee."""
    entries: tuple[EntryRef, ...] = ()
    approvals: tuple[Approval, ...] = ()
    rate_source: str = ""
    """`contract:role=Principal`, `psa`, ... as `RateUsed.source` has it."""
    policy_hash: str = ""
    """Of the policy bundle that rated and grouped it."""
    amount: Money
    """What the line has from here; the rows of a line sum to its net amount."""


class ProjectTotal(CanonicalModel):
    """Net amount of one project's lines."""

    code: str
    name: str
    net: Money


class InvoiceDocument(CanonicalModel):
    """An invoice or a credit note as it is printed, draft or issued.

    Amounts are in `currency`. A credit note's amounts have the sign that the ERP gives them.

    Raises:
        ValueError: the sums do not add up, a currency differs, a row of the appendix names no
            line, or tax is called final on a document without a number.
    """

    kind: DocumentKind = DocumentKind.INVOICE
    seller: Party
    """The legal entity that bills."""
    bill_to: Party
    sold_to: Party | None = None
    """None where it is the bill-to."""
    draft: str
    """Id of the draft; printed as reference until there is a number."""
    number: str = ""
    """The ERP's, read back; empty makes it a draft."""
    credits: str = ""
    """Of a credit note: number of the invoice that it corrects."""
    on: date
    """Invoice date; of a draft the proposed one. The PDF is dated by it."""
    due: date | None = None
    terms: str = ""
    """`NET30`, or in words."""
    service_from: date | None = None
    service_to: date | None = None
    currency: str
    client_po: str = ""
    lines: tuple[DocumentLine, ...] = Field(min_length=1)
    taxes: tuple[TaxLine, ...] = ()
    net: Money
    tax: Money
    gross: Money
    payment_instructions: str = ""
    notes: str = ""
    """What law or contract wants said, such as the reason of a reverse charge."""
    backup: tuple[BackupEntry, ...] = ()
    provenance: tuple[Provenance, ...] = ()
    draft_hash: str = ""
    """Content hash of the draft that was, or is to be, released."""
    locale: str = "en_US"
    """CLDR locale of numbers, dates and words."""

    @property
    def is_draft(self) -> bool:
        """Whether the ERP has not numbered it yet."""
        return not self.number

    @property
    def tax_is_estimated(self) -> bool:
        """Whether any tax is still ours rather than the ERP's; always so on a draft."""
        return self.is_draft or any(tax.estimated for tax in self.taxes)

    @property
    def watermarks(self) -> tuple[Watermark, ...]:
        """What is written across its pages."""
        draft = (Watermark.DRAFT,) if self.is_draft else ()
        credit = (Watermark.CREDIT_NOTE,) if self.kind is DocumentKind.CREDIT_NOTE else ()
        return draft + credit

    @property
    def project_totals(self) -> tuple[ProjectTotal, ...]:
        """Sub-totals per project, in the order in which the lines first name them."""
        totals: dict[str, ProjectTotal] = {}
        for line in self.lines:
            known = totals.get(line.project_code)
            totals[line.project_code] = ProjectTotal(
                code=line.project_code,
                name=known.name if known else line.project_name,
                net=known.net + line.net if known else line.net,
            )
        return tuple(totals.values())

    @model_validator(mode="after")
    def _adds_up(self) -> Self:
        # Sums come first: Money refuses to add what is in another currency.
        lines = contract_value(tuple(line.net for line in self.lines), self.currency)
        if lines != self.net:
            raise ValueError(f"the lines sum to {lines}, but net is {self.net}")
        taxes = contract_value(tuple(tax.amount for tax in self.taxes), self.currency)
        if taxes != self.tax:
            raise ValueError(f"the taxes sum to {taxes}, but tax is {self.tax}")
        if self.net + self.tax != self.gross:
            raise ValueError(f"net and tax make {self.net + self.tax}, but gross is {self.gross}")
        if any(tax.base.currency != self.currency for tax in self.taxes):
            raise ValueError(f"a tax base is not in {self.currency}")
        if self.is_draft and not all(tax.estimated for tax in self.taxes):
            raise ValueError("tax is final only once the ERP has numbered the invoice")
        return self

    @model_validator(mode="after")
    def _appendix_fits(self) -> Self:
        nets = {line.id: line.net for line in self.lines}
        if len(nets) != len(self.lines):
            raise ValueError("two lines have one id")
        totals: dict[str, Money] = {}
        for row in self.provenance:
            totals[row.line] = totals[row.line] + row.amount if row.line in totals else row.amount
        if unknown := ({row.line for row in self.backup} | set(totals)) - set(nets):
            raise ValueError(f"the appendix names lines that are not there: {sorted(unknown)}")
        for line, total in totals.items():
            if total != nets[line]:
                raise ValueError(f"line {line} is {nets[line]}, its provenance sums to {total}")
        if any(row.amount.currency != self.currency for row in self.backup):
            raise ValueError(f"an amount of the backup is not in {self.currency}")
        return self


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
    expected: Money
    final: Money | None = None
    """The ERP's, read back."""


class ErpReadBack(CanonicalModel):
    """The invoice as the ERP had it when it was read back."""

    record: RecordRef
    at: datetime
    number: str
    on: date
    posting_period: str = ""
    net: Money
    tax: Money
    gross: Money
    body: str = ""
    """The vendor's answer as received, so that nothing is lost by our reading of it."""


class VendorCall(CanonicalModel):
    """One call to a connected system about this invoice, its secrets masked."""

    at: datetime
    connection: str
    key: str = ""
    """The step's key, under which the vendor knows the record."""
    method: str
    path: str
    status: int | None = None
    """None: no answer came."""
    outcome: str = ""
    """`created`, `updated`, `existing`, `not_done`, `unknown`; empty for reads."""
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
    lines: tuple[EvidenceLine, ...] = ()
    read_back: ErpReadBack | None = None
    vendor_calls: tuple[VendorCall, ...] = ()
    audit: tuple[AuditFact, ...] = ()
