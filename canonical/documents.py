"""An invoice as its reader sees it: parties, lines, taxes, sums and appendix.

How it looks is the template's (`operations/documents`), what proves it `canonical/evidence.py`;
final tax and the number are the ERP's (DESIGN 1). A document that does not add up is refused,
never printed.
"""

from datetime import date, datetime
from decimal import Decimal
from enum import StrEnum
from typing import Self

from pydantic import Field, model_validator

from canonical.deal import Address
from canonical.entries import EntryRef
from canonical.model import CanonicalModel
from canonical.money import Money
from canonical.provisioning import contract_value


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
    reason: str = ""
    """Of a credit note's line: why it is credited, `rebill` and so on, as the labels word it."""
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
    approved_at: datetime | None


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
