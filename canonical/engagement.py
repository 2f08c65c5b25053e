"""An engagement with its contract lines: what one contract fixes about billing (DESIGN 5, 10).

Amounts are net, in the contract's currency; rates are per hour with up to 6 decimals.
"""

from datetime import date
from decimal import Decimal
from enum import StrEnum

from canonical.deal import ContractLineType
from canonical.model import CanonicalModel
from canonical.money import Money
from canonical.provisioning import Dimensions
from canonical.schedules import ScheduleTerms


class RatingMode(StrEnum):
    """Whose rate counts (DESIGN 5)."""

    CONTRACT = "contract"
    PSA = "psa"
    COMPARE = "compare"
    """Contract's rate, held as `rate_mismatch` where the PSA's amount differs beyond tolerance."""


class BillingMethod(StrEnum):
    """How a contract line reaches an invoice; one at a time, so that nothing is billed twice."""

    ERP_CHARGES = "erp_charges"
    ERP_LINES = "erp_lines"
    BILLING_ENGINE = "billing_engine"


class BillRate(CanonicalModel):
    """An hourly rate for whoever fits; the most specific one in force on the service date wins.

    Specific before general: person, then role with employee class, then role, then employee class,
    then the rate for everybody. Of equally specific ones the latest `valid_from` wins.
    """

    rate: Decimal
    person: str = ""
    """E-mail, lower case; empty: anybody."""
    role: str = ""
    employee_class: str = ""
    valid_from: date
    valid_to: date | None = None
    """Last day in force."""


class Multipliers(CanonicalModel):
    """What a kind of hour costs relative to a normal one."""

    overtime: Decimal = Decimal(1)
    travel: Decimal = Decimal(1)


class ExpenseTreatment(StrEnum):
    """What an expense is to the client."""

    RECHARGE = "recharge"
    """Our own supply: cost net of recoverable tax, plus markup."""
    DISBURSEMENT = "disbursement"
    """Paid on the client's behalf: the gross amount as incurred, never marked up."""
    NOT_BILLABLE = "not_billable"


class ExpenseRule(CanonicalModel):
    """How expenses of one category (empty: of any other category) are billed."""

    category: str = ""
    treatment: ExpenseTreatment = ExpenseTreatment.RECHARGE
    markup_percent: Decimal = Decimal(0)
    ceiling: Decimal | None = None
    """Most that one item may bill, in the contract's currency, after markup; the rest is
    `over_cap`."""
    per_diem: Decimal | None = None
    """A fixed amount per item in the contract's currency, whatever was incurred."""


class CapScope(StrEnum):
    """What counts towards a cap."""

    ENGAGEMENT = "engagement"
    LINE = "line"
    PERIOD = "period"
    """One contract line within one billing period."""


class CapBase(StrEnum):
    """Which amounts a cap counts."""

    FEES = "fees"
    EXPENSES = "expenses"
    ALL = "all"


class Cap(CanonicalModel):
    """The most that may be billed; what exceeds it is its own part, `over_cap`."""

    id: str
    scope: CapScope = CapScope.LINE
    base: CapBase = CapBase.ALL
    amount: Money
    warn_at_percent: tuple[int, ...] = (80, 90)


class Retainer(CanonicalModel):
    """A balance prepaid once, that work draws from; it never goes negative.

    A line whose schedule is a retainer's has none: the schedule keeps its balance.
    """

    balance: Money
    """What was prepaid in all, net."""
    overage: str = "to_bill"
    """Disposition of what the balance does not cover: `to_bill` or `over_cap`."""


class ContractLine(CanonicalModel):
    """Where type, price basis, currency, caps and rules of billing live."""

    ref: str
    """Id of the line in the CRM."""
    title: str = ""
    type: ContractLineType
    currency: str
    legal_entity: str
    value: Money | None = None
    """The most that it may bill, accepted amendments included; None: no such limit."""
    billing_method: BillingMethod = BillingMethod.ERP_CHARGES
    rating: RatingMode = RatingMode.CONTRACT
    rates: tuple[BillRate, ...] = ()
    multipliers: Multipliers = Multipliers()
    increment_minutes: int = 1
    """Time is billed in whole increments of this, each entry rounded up."""
    minimum_minutes: int = 0
    """An entry bills at least this."""
    tolerance: Decimal = Decimal("0.01")
    """In `compare`: how far PSA and contract amounts of an entry may differ, contract currency."""
    expense_rules: tuple[ExpenseRule, ...] = ()
    caps: tuple[Cap, ...] = ()
    """Caps of scope `line` and `period`."""
    retainer: Retainer | None = None
    schedule: ScheduleTerms | None = None
    """How it is billed without counting hours; None: by hours, expenses and milestones alone."""
    client_po: str = ""
    tax_category: str = ""
    task_ids: tuple[str, ...] = ()
    """PSA tasks whose time and expenses belong to this line."""
    dimensions: Dimensions = Dimensions()
    erp: str = ""
    """Connection that keeps the legal entity's books."""
    erp_project_id: str = ""
    erp_client_id: str = ""


class Engagement(CanonicalModel):
    """A contract as billing needs it; versions replace one another from `effective_from`."""

    id: str
    """`<crm>/<opportunity id>` of the deal that began it."""
    client_id: str
    title: str = ""
    psa: str
    project_id: str
    """The PSA project."""
    effective_from: date
    lines: tuple[ContractLine, ...]
    caps: tuple[Cap, ...] = ()
    """Caps of scope `engagement`."""
    default_line: str = ""
    """Line for work on tasks that no line names; empty: such work is held."""
