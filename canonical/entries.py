"""Approved time and expenses as the PSA has them, and their versions."""

import hashlib
from datetime import date, datetime
from decimal import Decimal
from enum import StrEnum

from canonical.model import CanonicalModel
from canonical.money import Money


class EntryKind(StrEnum):
    """What was recorded."""

    TIME = "time"
    EXPENSE = "expense"
    ADJUSTMENT = "adjustment"
    """A correction of a billed time entry, with minutes or amount of either sign."""


class EntryRef(CanonicalModel):
    """One entry of one PSA."""

    kind: EntryKind
    id: str

    def __str__(self) -> str:
        return f"{self.kind}:{self.id}"


class Entry(CanonicalModel):
    """One entry exactly as read; nothing in it is judged yet."""

    source: str
    """Name of the PSA connection."""
    kind: EntryKind
    id: str
    project_id: str
    task_id: str = ""
    person_id: str = ""
    """The PSA's user id."""
    person_email: str = ""
    role: str = ""
    service_date: date
    minutes: int | None = None
    """Of time and adjustments of time."""
    amount: Money | None = None
    """Of expenses: gross, as incurred. Of adjustments of money: net."""
    tax: Money | None = None
    """Recoverable tax within `amount`, where known."""
    category: str = ""
    """Expense category, or the kind of hour: `overtime`, `travel`."""
    billable: bool = True
    psa_rate: Decimal | None = None
    """The PSA's own hourly bill rate, main units of `currency`."""
    currency: str
    """ISO 4217; of the PSA's rate, or of the expense."""
    notes: str = ""
    receipt: str = ""
    """Reference of the receipt, to see one expense recorded twice."""
    approved: bool = False
    approved_by: str = ""
    """Who approved: the e-mail address, in lower case, by which four eyes know a person (DESIGN 4);
    the PSA's user id only where the PSA gives no address. Empty: nobody, or nobody that it names,
    as of adjustments and of expenses that need no approval."""
    approved_at: datetime | None = None
    submission_id: str = ""
    """Timesheet or expense report."""
    reservation_id: str = ""
    """The PSA's invoice that it sits on, ours or not; empty while it is free."""
    adjusts: str = ""
    """Of adjustments: id of the time entry corrected."""
    updated_at: datetime | None = None

    @property
    def ref(self) -> EntryRef:
        """Which entry this is."""
        return EntryRef(kind=self.kind, id=self.id)

    @property
    def version(self) -> str:
        """Hash over what billing depends on (DESIGN 5): the same content is the same version."""
        facts = (
            self.service_date.isoformat(),
            self.minutes,
            self.amount,
            self.tax,
            self.person_id,
            self.role,
            self.task_id,
            self.billable,
            None if self.psa_rate is None else self.psa_rate.normalize(),
            self.currency,
            self.category,
            self.adjusts,
        )
        return hashlib.sha256("\x1f".join(map(str, facts)).encode()).hexdigest()[:24]


class HoldReason(StrEnum):
    """Why an entry waits for a person instead of being billed."""

    BY_HAND = "by_hand"
    NO_CONTRACT_LINE = "no_contract_line"
    NO_RATE = "no_rate"
    NO_COST_RATE = "no_cost_rate"
    NO_EXCHANGE_RATE = "no_exchange_rate"
    RATE_MISMATCH = "rate_mismatch"
    DUPLICATE_EXPENSE = "duplicate_expense"
    UNKNOWN_PERSON = "unknown_person"
    BILLED_OUTSIDE = "billed_outside"
    PERIOD_CLOSED = "period_closed"
    BAD_QUANTITY = "bad_quantity"
