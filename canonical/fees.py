"""Fees: amounts that the contract itself makes due, and what is taken of its value."""

from datetime import date, datetime
from decimal import Decimal
from enum import StrEnum

from canonical.model import CanonicalModel
from canonical.money import Money


class FeeSource(StrEnum):
    """What makes a fee due."""

    MILESTONE = "milestone"
    SCHEDULE = "schedule"


class FeeState(StrEnum):
    """Where a fee stands; `handed_over` and beyond as for parts."""

    RESERVED = "reserved"
    HANDED_OVER = "handed_over"
    DRAFTED = "drafted"
    RELEASED = "released"
    INVOICED = "invoiced"
    CREDITED = "credited"
    RETURNED = "returned"
    """Given back before it was invoiced: un-approved, or rolled back."""


class Fee(CanonicalModel):
    """A milestone or a scheduled line that is being billed; once per billing cycle."""

    source: FeeSource
    item: str
    """`<psa>/<milestone id>`, or the occurrence of the schedule."""
    engagement: str
    line: str
    psa: str
    project_id: str
    client_id: str
    amount: Money
    period: str
    sequence: int = 0
    """Place among the milestones of its contract line, from 1; 0: none."""
    quantity: Decimal = Decimal(1)
    unit_price: Decimal
    narrative: str
    start: date
    end: date
    on: date
    """When it is to be invoiced."""
    approved_by: tuple[str, ...] = ()
    approved_at: datetime | None = None
    acceptance: str = ""
    evidence: str = ""
    """The record as read, or the derivation, as JSON."""
    warnings: tuple[str, ...] = ()
    """What does not keep it from being billed, and whoever releases its draft should know."""
    cycle: int = 1


class FeeStanding(CanonicalModel):
    """What is known of one fee of a contract line."""

    id: int
    fee: Fee
    state: FeeState
    run: str = ""
    """Workflow id of the saga that reserved it."""
    draft: str = ""
    """The draft that it is on, or was invoiced from."""
    invoice: str = ""
    paid: bool = False
    held: str = ""
    """Why it is not billed for now; empty: nothing holds it."""
    held_by: str = ""
    withdrawn: str = ""
    """Why it may not be billed any more; with `released` or beyond, that came too late."""


class ContractStanding(CanonicalModel):
    """What has been taken of a contract line's value, and by what; net, contract currency."""

    engagement: str
    line: str
    reserved: Money
    drafted: Money
    invoiced: Money
    credited: Money
    fees: tuple[FeeStanding, ...] = ()
    """In sequence order."""

    @property
    def taken(self) -> Money:
        """Everything that counts against the contract's value."""
        total = self.reserved.amount + self.drafted.amount + self.invoiced.amount
        return Money(amount=total - self.credited.amount, currency=self.invoiced.currency)
