"""Requests and messages of ApprovedTimeToBilling and BillingRun; bulk travels by reference."""

from datetime import date, datetime
from decimal import Decimal
from enum import StrEnum

from canonical.entries import EntryRef
from canonical.model import CanonicalModel
from canonical.money import Money
from canonical.provisioning import Dimensions, StepRequest
from canonical.records import RecordRef


class AccountingPeriod(CanonicalModel):
    """A posting period of a legal entity in its ERP."""

    id: str
    name: str
    start: date
    end: date
    open: bool


class ChargeStage(StrEnum):
    """Whether the ERP may bill a charge."""

    HOLD = "hold"
    READY = "ready"
    NON_BILLABLE = "non_billable"


class Charge(CanonicalModel):
    """One billable amount in the ERP: an entry's part, or several of one rate, by policy.

    `quantity` times `rate`, rounded once, is `amount`.
    """

    item: str
    """Tells charges of one run apart; part of the external id."""
    quantity: Decimal
    rate: Decimal
    amount: Money
    on: date
    kind: str = "time"
    """`time` or `expense`."""
    description: str = ""
    dimensions: Dimensions = Dimensions()


class PostedCharge(CanonicalModel):
    """A charge as the ERP has it."""

    record: RecordRef
    external_id: str
    amount: Money
    stage: ChargeStage
    invoice_id: str = ""


class ChargeBatch(CanonicalModel):
    """Up to 1,000 charges for one ERP project; loaded from the store by its key."""

    project: RecordRef
    client: RecordRef | None = None
    subsidiary: str = ""
    charges: tuple[Charge, ...]


class CostItem(CanonicalModel):
    """Hours or an expense as project cost in the ERP, in the employing entity."""

    item: str
    person_email: str
    on: date
    minutes: int = 0
    """Of time; the ERP computes the cost from its own labour cost."""
    amount: Money | None = None
    """Of an expense: its net cost."""
    expected_cost: Money
    """What the cost track says; compared with what the ERP computed."""
    category: str = ""
    description: str = ""
    dimensions: Dimensions = Dimensions()


class PostedCost(CanonicalModel):
    """A cost posting as the ERP has it."""

    record: RecordRef
    external_id: str
    cost: Money


class CostBatch(CanonicalModel):
    """Up to 1,000 cost postings for one ERP project."""

    project: RecordRef
    subsidiary: str = ""
    items: tuple[CostItem, ...]


class ReserveEntries(StepRequest):
    """Say in the PSA that these entries are being billed, so that nobody else changes them."""

    project: RecordRef
    entries: tuple[EntryRef, ...] = ()
    """Filled in by the activity from the store; empty in history."""
    on: date
    title: str = ""


class Reservation(CanonicalModel):
    """The PSA's record of entries being billed."""

    record: RecordRef
    entries: tuple[EntryRef, ...]
    draft: bool
    amount: Money | None = None
    """What the PSA makes of the entries by its own rates, net."""


class PsaChange(CanonicalModel):
    """One row of a PSA's change feed; says that something changed, never what is true."""

    event_id: str
    subject_type: str
    """`timesheet`, `time_entry`, `expense`, `expense_report`, `adjustment`, `invoice`,
    `milestone`, `task`, `project`."""
    subject_id: str
    action: str
    """`created`, `updated`, `deleted`."""
    occurred_at: datetime
    own: bool = False
    """Made by the integration's own user."""


def charge_id(key: str, item: str) -> str:
    """Return the step key of one charge or cost posting of a batch."""
    return f"{key}/{item}"
