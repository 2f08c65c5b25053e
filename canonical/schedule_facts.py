"""What happens under a schedule, and the lines to invoice that come of it (F11).

Facts are recorded once and never change: a correction is a later fact. Each is stamped with the
day on which it was recorded, and counts from that day on; so what an earlier day made of the
earlier facts stays as it was.
"""

from datetime import date
from decimal import Decimal, localcontext
from enum import StrEnum
from typing import Annotated, Literal, Self, TypeAlias

from pydantic import Field, model_validator

from canonical.model import CanonicalModel
from canonical.money import Money
from canonical.schedule_basics import Name, Percent, Quantity

Month = Annotated[str, Field(pattern=r"^\d{4}-(0[1-9]|1[0-2])$")]
"""`YYYY-MM`."""


class Fact(CanonicalModel):
    """Something that happened."""

    id: Name
    """Of the record that says so; the same however often it is told."""
    recorded_on: date
    """Day on which Dealthread learnt of it, in the legal entity's zone."""


class Acceptance(CanonicalModel):
    """Who accepted a result, when, and where that is written."""

    by: str
    on: date
    document: str
    """Reference of the signed paper or record."""


class ProgressFact(Fact):
    """How far the work of a fixed fee has come, counted from its beginning."""

    kind: Literal["progress"] = "progress"
    percent: Percent
    """Less than before bills nothing: what was billed is taken back by credit note only."""
    as_of: date | None = None
    """Last day of the work counted; None: the day recorded."""


class MilestoneFact(Fact):
    """A milestone was reached, and accepted."""

    kind: Literal["milestone"] = "milestone"
    milestone: Name
    """Id in the terms."""
    acceptance: Acceptance | None = None


class ReleaseFact(Fact):
    """A share of the retention is free."""

    kind: Literal["release"] = "release"
    release: Annotated[int, Field(ge=1)]
    """Place in the terms' `retention.releases`, from 1."""
    acceptance: Acceptance | None = None


class DrawFact(Fact):
    """Work done out of a retainer."""

    kind: Literal["draw"] = "draw"
    service_date: date
    """Day of the work; it counts in that month, or in the first one not closed when recorded."""
    amount: Money
    """Its worth; negative: work taken back, within its month."""


class TopUp(Fact):
    """The client orders more balance."""

    kind: Literal["top_up"] = "top_up"
    amount: Money


class UsageFact(Fact):
    """Units used in a month, in all; a later fact of the same month and metric replaces it."""

    kind: Literal["usage"] = "usage"
    month: Month
    metric: Name
    quantity: Quantity


class ServiceLevelFact(Fact):
    """The level reached in a month; a later fact of the same month and metric replaces it."""

    kind: Literal["service_level"] = "service_level"
    month: Month
    metric: Name
    reached: Quantity


class MeasuredValue(Fact):
    """A measured result; a later one of the same name replaces it. Unaccepted it bills nothing."""

    kind: Literal["measured_value"] = "measured_value"
    name: Name
    """Of the measurement, such as `2026-Q4`."""
    value: Annotated[Decimal, Field(max_digits=18, decimal_places=6)]
    acceptance: Acceptance | None = None
    service_start: date | None = None
    service_end: date | None = None


ScheduleFact: TypeAlias = Annotated[
    ProgressFact
    | MilestoneFact
    | ReleaseFact
    | DrawFact
    | TopUp
    | UsageFact
    | ServiceLevelFact
    | MeasuredValue,
    Field(discriminator="kind"),
]
"""Any fact; `kind` says which."""


class LineKind(StrEnum):
    """What a scheduled line is for."""

    FEE = "fee"
    """Of a month; indexation is in it."""
    PROGRESS = "progress"
    MILESTONE = "milestone"
    ADVANCE = "advance"
    ADVANCE_OFFSET = "advance_offset"
    RETENTION = "retention"
    RETENTION_RELEASE = "retention_release"
    DEPOSIT = "deposit"
    TOP_UP = "top_up"
    OVERAGE = "overage"
    EXPIRY = "expiry"
    """Nothing to invoice: a balance ends."""
    REFUND = "refund"
    TRUE_UP = "true_up"
    SERVICE_CREDIT = "service_credit"
    OUTCOME = "outcome"


class ScheduledLine(CanonicalModel):
    """One occurrence of a schedule that fell due."""

    item: str
    """Key of the occurrence within its contract line: `fee/2026-11`, `progress/P-7/retention`. The
    same whenever it is computed."""
    line: str = ""
    """Ref of the contract line."""
    kind: LineKind
    net: Money
    """Negative for deductions and credits; nil for an expiry."""
    quantity: Decimal | None = None
    unit_price: Decimal | None = None
    """Where given, quantity times price, rounded once, is `net`; else it is one piece."""
    service_start: date
    service_end: date
    invoice_on: date
    """Day from which it is to be invoiced."""
    tax_point: date
    """A hint: the end of the service, or the invoice day if that is earlier. The ERP decides."""
    narrative: str
    basis: tuple[tuple[str, str], ...]
    """How the amount came about, as pairs of label and value: enough to compute it again."""
    balance_effect: Money | None = None
    """What it adds to the balance that it keeps (advance to work off, retention, retainer), or
    takes from it."""

    @model_validator(mode="after")
    def _comes_to_its_amount(self) -> Self:
        if (self.quantity is None) != (self.unit_price is None):
            raise ValueError("quantity, unit_price: give both or none")
        if self.quantity is None or self.unit_price is None:
            return self
        with localcontext(prec=80):
            worth = self.quantity * self.unit_price
        if Money.rounded(worth, self.net.currency) != self.net:
            text = f"quantity: {self.quantity} x {self.unit_price} is {worth}, not {self.net}"
            raise ValueError(f"{text}; leave quantity and unit_price out")
        return self
