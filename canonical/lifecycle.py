"""The life of an issued invoice, and of what is credited on it (DESIGN 4, InvoiceLifecycle)."""

from datetime import date, datetime
from decimal import Decimal
from enum import StrEnum
from typing import Final

from canonical.drafts import BillableRef
from canonical.invoicing import Application, CreditReason, Delivery, IssuedLine
from canonical.model import CanonicalModel
from canonical.money import Money
from canonical.records import RecordRef

UNDONE: Final = "undone"
"""What a person calls all that an invoice lost when it was voided or deleted in its system."""


class InvoiceState(StrEnum):
    """Where an issued invoice stands."""

    ISSUED = "issued"
    TRANSMITTED = "transmitted"
    DELIVERY_REJECTED = "delivery_rejected"
    PART_SETTLED = "part_settled"
    SETTLED = "settled"
    OVERDUE = "overdue"
    DISPUTED = "disputed"
    CREDITED = "credited"
    """Credited in full: nothing of it stands."""
    VOIDED = "voided"
    GONE = "gone"
    """Deleted in the issuing system, which should not be possible: a work item."""


LOST: Final = frozenset({InvoiceState.VOIDED, InvoiceState.GONE})
"""Nothing of these stands, and nobody owes it."""


class SettledBy(StrEnum):
    """What settled an invoice, or the part of it that is settled."""

    NOTHING = ""
    CASH = "cash"
    CREDIT = "credit"
    WRITE_OFF = "write_off"
    WITHHOLDING = "withholding"
    SEVERAL = "several"


class InvoicedLine(CanonicalModel):
    """A line of an issued invoice with what it bills, for the way back to entries and people."""

    number: int
    """Of the draft's line; 0 for a line that somebody added in the issuing system."""
    item: str
    issued: IssuedLine
    expected: Money
    """Net, as it was released."""
    bills: tuple[BillableRef, ...] = ()
    credited: Money
    """Net, so far."""


class TrackedInvoice(CanonicalModel):
    """An issued invoice as Dealthread last saw it."""

    record: RecordRef
    draft: str
    posting: int = 0
    """Number of the draft's release that became it."""
    external_id: str
    number: str
    on: date
    due: date | None = None
    period: str = ""
    currency: str
    legal_entity: str
    client_id: str
    net: Money
    tax: Money
    gross: Money
    remaining: Money
    state: InvoiceState
    settled_by: SettledBy = SettledBy.NOTHING
    disputed: str = ""
    """Why, while somebody disputes it."""
    delivery: Delivery = Delivery.UNKNOWN
    delivery_because: str = ""
    """Of a rejection: why; else what a person said of it."""
    delivery_word: str = ""
    """What the issuing system said last: the same again does not undo what a person said since."""
    deliveries: int = 0
    """How often something new was said of it."""
    applications: tuple[Application, ...] = ()
    engagements: tuple[str, ...] = ()
    lines: tuple[InvoicedLine, ...] = ()
    change: int = 0
    """Number of the last change that was noted; each is told to PSA and CRM once."""
    seen_at: datetime


class InvoiceChangeNoted(CanonicalModel):
    """What one look at an invoice came to; `change` 0: nothing is new."""

    change: int
    state: InvoiceState
    before: InvoiceState | None = None
    new_applications: tuple[Application, ...] = ()
    """Payments and credits, and reversals of known ones as negative amounts, not seen before."""
    native_credits: tuple[Application, ...] = ()
    """Of those, credits that Dealthread did not make: each wants a reason from a person."""


class CreditPart(CanonicalModel):
    """How much of one billed amount a credit note takes back; net and positive."""

    bills: BillableRef
    amount: Money


class LeftToCredit(CanonicalModel):
    """One amount that an invoice bills, and what credits took of it; net."""

    line: int
    """Number of the invoiced line."""
    bills: BillableRef
    billed: Money
    taken: Money
    """By credits that were asked for and not refused."""
    project_id: str = ""
    """Of the line: what is deducted there is taken off its own project first."""

    @property
    def open(self) -> Decimal:
        """How much of it can still be credited; of a deduction, nothing."""
        return max(self.billed.amount - self.taken.amount, Decimal(0))


class DraftedCreditLine(CanonicalModel):
    """A part of an invoice line to be credited, with its reason."""

    line: int
    """Number of the invoiced line."""
    item: str
    amount: Money
    reason: CreditReason
    parts: tuple[CreditPart, ...]
    """They sum to the amount."""


class DraftedCredit(CanonicalModel):
    """A credit note that somebody asked for; approved by another person before it is issued."""

    id: str
    """Also the workflow id: `credit/<connection>/<invoice id>/<n>`."""
    invoice: RecordRef
    lines: tuple[DraftedCreditLine, ...]
    memo: str = ""
    asked_by: str
    approved_by: str = ""

    @property
    def net(self) -> Money:
        """Sum of its lines, positive."""
        currency = self.lines[0].amount.currency
        total = sum((line.amount.amount for line in self.lines), Decimal(0))
        return Money(amount=total, currency=currency)
