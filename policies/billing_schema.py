"""The shape of `billing.yaml`: what the firm decides about billing beside its contracts.

What one contract fixes (rates, caps, increments) is data of its engagement; this file says with
what an engagement begins, and what belongs to the firm itself: calendars, detail, transfer prices.
"""

from collections.abc import Iterator
from datetime import time
from decimal import Decimal
from enum import StrEnum
from typing import Annotated, Literal
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import AfterValidator, Field

from canonical.deal import ContractLineType
from canonical.engagement import BillingMethod, CapBase, ExpenseTreatment, RatingMode
from policies.schema_types import Code, Currency, Name, Seconds, Strict


def _known_zone(name: str) -> str:
    try:
        ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise ValueError(
            f"{name[:40]!r} is no time zone; allowed are IANA names such as Europe/Berlin"
        ) from None
    return name


Zone = Annotated[str, AfterValidator(_known_zone)]
Percent = Annotated[Decimal, Field(ge=0, le=1000)]
Rate = Annotated[Decimal, Field(ge=0, max_digits=16, decimal_places=6)]
Minutes = Annotated[int, Field(ge=0, le=24 * 60)]


class ClosedPeriod(StrEnum):
    """What becomes of work whose accounting period is closed."""

    PARK = "park"
    """It is held until a person opens the period or decides."""
    MOVE = "move"
    """It is posted on the first day of the next open period; the service date stays."""


class Detail(StrEnum):
    """How much of the hours the ERP sees."""

    ENTRY = "entry"
    DAY = "day"
    """One charge per line, person, day and rate."""
    PERIOD = "period"
    """One charge per line, rate and month of posting."""


class EntityBilling(Strict):
    """How a legal entity bills."""

    zone: Zone
    """Its own time zone: cutoffs are meant in it."""
    cutoff_day: Annotated[int, Field(ge=1, le=28)]
    """Day of the following month on which a billing period closes."""
    cutoff_time: time
    closed_period: ClosedPeriod = ClosedPeriod.PARK
    detail: Detail = Detail.ENTRY
    debounce_seconds: Seconds = 60.0
    """Quiet time after the last approval before a run begins."""
    longest_wait_seconds: Seconds = 900.0
    """A run begins this long after the first approval, however many follow."""


class MultiplierTerms(Strict):
    """What a kind of hour costs relative to a normal one."""

    overtime: Rate = Decimal(1)
    travel: Rate = Decimal(1)


class ExpenseTerms(Strict):
    """How expenses of one category (empty: of any other) are billed."""

    category: str = ""
    treatment: ExpenseTreatment = ExpenseTreatment.RECHARGE
    markup_percent: Percent = Decimal(0)


class LineTerms(Strict):
    """What a new contract line begins with; what is left out comes from the more general terms."""

    billing_method: BillingMethod | None = None
    rating: RatingMode | None = None
    increment_minutes: Annotated[int, Field(ge=1, le=24 * 60)] | None = None
    minimum_minutes: Minutes | None = None
    tolerance: Annotated[Decimal, Field(ge=0)] | None = None
    multipliers: MultiplierTerms | None = None
    expense_rules: tuple[ExpenseTerms, ...] | None = None
    cap_base: CapBase | None = None
    warn_at_percent: tuple[Annotated[int, Field(gt=0, le=100)], ...] | None = None
    retainer_overage: Literal["to_bill", "over_cap"] | None = None


class LinePolicy(Strict):
    """Terms by line type and legal entity; the entity's come before the type's."""

    default: LineTerms = LineTerms()
    types: dict[ContractLineType, LineTerms] = {}
    entities: dict[Code, LineTerms] = {}

    def terms(self, type_: ContractLineType, entity: str) -> LineTerms:
        """Return what a line of this type and entity begins with."""
        levels = (self.default, self.types.get(type_), self.entities.get(entity))
        given = {
            name: value
            for level in levels
            if level is not None
            for name in LineTerms.model_fields
            if (value := getattr(level, name)) is not None
        }
        return LineTerms.model_construct(**given)


class TransferBase(StrEnum):
    """What a transfer price is reckoned from."""

    COST = "cost"
    BILL_RATE = "bill_rate"


class TransferRule(Strict):
    """What the employing entity charges the billing one for an hour, in its own currency."""

    of: TransferBase
    percent: Percent = Decimal(100)
    """Share of cost or bill rate."""
    markup_percent: Percent = Decimal(0)
    """On top of that."""


class IntercompanyPolicy(Strict):
    """Transfer prices by employing entity, then billing entity."""

    default: TransferRule
    pairs: dict[Code, dict[Code, TransferRule]] = {}

    def rule(self, employer: str, biller: str) -> TransferRule:
        """Return the rule of a pair of entities."""
        return self.pairs.get(employer, {}).get(biller, self.default)


class Billing(Strict):
    """The file `billing.yaml`."""

    entities: dict[Code, EntityBilling] = Field(min_length=1)
    lines: LinePolicy = LinePolicy()
    standard_rates: dict[Currency, dict[Name, Rate]]
    """Bill rates per hour by currency and role, for engagements that bring none of their own."""
    intercompany: IntercompanyPolicy


def billing_disagreements(
    billing: Billing, entities: frozenset[str], sold: frozenset[str]
) -> Iterator[tuple[tuple[str, ...], str]]:
    """Yield where `billing.yaml` contradicts the legal entities and the currencies they sell in."""
    known = ", ".join(sorted(entities))
    for code in sorted(entities - billing.entities.keys()):
        yield ("billing", "entities"), f"{code} is missing; needed: {known}"
    named = [
        *(("entities", code) for code in billing.entities),
        *(("lines", "entities", code) for code in billing.lines.entities),
        *(("intercompany", "pairs", code) for code in billing.intercompany.pairs),
        *(
            ("intercompany", "pairs", employer, code)
            for employer, rules in billing.intercompany.pairs.items()
            for code in rules
        ),
    ]
    for where in named:
        if where[-1] not in entities:
            text = f"there is no legal entity {where[-1]}; allowed: {known}"
            yield ("billing", *where), text
    for currency in sorted(sold - billing.standard_rates.keys()):
        text = f"{currency} is missing; a legal entity sells in it"
        yield ("billing", "standard_rates"), text
