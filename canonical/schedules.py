"""The terms by which a contract line is billed without counting hours (F11).

One model per kind of schedule; `ScheduleTerms` is their union, told apart by `type`. Amounts are
net, in `currency`, which is the contract line's. What happens under the terms (progress, usage,
measured values) and the lines that come of it are in `schedule_facts`; what falls due when is
decided in `policies/schedules`. Imports nothing of `engagement`, which may carry these terms.
"""

from collections.abc import Iterator
from datetime import date
from decimal import Decimal, localcontext
from enum import StrEnum
from itertools import pairwise
from typing import Annotated, Literal, Self, TypeAlias

from pydantic import Field, model_validator

from canonical.model import CanonicalModel
from canonical.money import Money
from canonical.schedule_basics import (
    WHOLE,
    Amount,
    FeeTerms,
    MonthlyTerms,
    Name,
    Percent,
    Price,
    Quantity,
    Terms,
)

# Fixed fee.


class Advance(CanonicalModel):
    """An invoice ahead of the work, worked off by the instalments that follow."""

    due: date
    """Day of its invoice."""
    amount: Amount | None = None
    percent: Percent | None = None
    """Of the value; give this or `amount`."""
    offset_percent: Percent | None = None
    """Share of each instalment that works it off; None: in proportion, gone with the last one."""

    @model_validator(mode="after")
    def _has_one_size(self) -> Self:
        if (self.amount is None) == (self.percent is None):
            raise ValueError("amount, percent: give one of the two")
        return self


class Instalment(CanonicalModel):
    """A milestone of the contract, invoiced when it is accepted, or on a day."""

    id: Name
    title: str = ""
    amount: Amount | None = None
    percent: Percent | None = None
    """Of the value; give this or `amount`, the same for all."""
    due: date | None = None
    """Invoiced on this day without being accepted; None: when it is."""

    @model_validator(mode="after")
    def _has_one_size(self) -> Self:
        if (self.amount is None) == (self.percent is None):
            raise ValueError("amount, percent: give one of the two")
        return self


class RetentionRelease(CanonicalModel):
    """A share of the retention that is paid out."""

    percent: Annotated[Decimal, Field(gt=0, le=100, decimal_places=6)] = WHOLE
    """Of what was withheld by then; those of all releases sum to 100."""
    due: date | None = None
    """Released on this day; None: when somebody records that it is."""


class Retention(CanonicalModel):
    """What the client keeps back of each instalment."""

    percent: Percent
    limit: Amount | None = None
    """Most that is withheld in all."""
    releases: tuple[RetentionRelease, ...] = (RetentionRelease(),)

    @model_validator(mode="after")
    def _is_all_released(self) -> Self:
        total = sum(each.percent for each in self.releases)
        if total != WHOLE:
            raise ValueError(f"releases: the percentages sum to {total}; make them sum to 100")
        return self


class FixedFeeTerms(Terms):
    """One value, invoiced by percent complete, or by milestones where there are any."""

    type: Literal["fixed_fee"] = "fixed_fee"
    value: Annotated[Decimal, Field(gt=0, le=Decimal(10) ** 15)]
    start: date
    """First day of service."""
    advance: Advance | None = None
    milestones: tuple[Instalment, ...] = ()
    """In order; with percentages the last one takes what rounding left."""
    retention: Retention | None = None

    def amounts(self) -> Iterator[tuple[str, Decimal | None]]:
        """Yield every amount of money with the name of its field."""
        yield "value", self.value
        if self.advance is not None:
            yield "advance.amount", self.advance.amount
        if self.retention is not None:
            yield "retention.limit", self.retention.limit
        for number, each in enumerate(self.milestones):
            yield f"milestones.{number}.amount", each.amount

    @model_validator(mode="after")
    def _adds_up(self) -> Self:
        if self.advance is not None and (self.advance.amount or 0) > self.value:
            text = f"advance.amount: {self.advance.amount} is more than the value {self.value}"
            raise ValueError(f"{text}; lower it")
        if not self.milestones:
            return self
        if len({each.id for each in self.milestones}) < len(self.milestones):
            raise ValueError("milestones: two have the same id; give each its own")
        percents = [each.percent for each in self.milestones if each.percent is not None]
        amounts = [each.amount for each in self.milestones if each.amount is not None]
        if percents and amounts:
            raise ValueError("milestones: some have an amount, some a percent; use one for all")
        total, due = (sum(percents), WHOLE) if percents else (sum(amounts), self.value)
        if total != due:
            what = "percentages" if percents else "amounts"
            raise ValueError(f"milestones: the {what} sum to {total}; make them sum to {due}")
        if percents and self.milestone_amounts()[-1] < 0:
            text = "milestones: the shares round to more than the value"
            raise ValueError(f"{text}; make them fewer, or give amounts")
        return self

    def milestone_amounts(self) -> tuple[Decimal, ...]:
        """Return what each milestone is worth; shares are rounded, the last takes the rest."""
        with localcontext(prec=80):
            exact = [
                each.amount if each.amount is not None else self.value * (each.percent or 0) / WHOLE
                for each in self.milestones
            ]
        worth = [Money.rounded(each, self.currency).amount for each in exact]
        return (*worth[:-1], self.value - sum(worth[:-1], start=Decimal(0))) if worth else ()


# Fees by the month.


class MonthlyFeeTerms(FeeTerms):
    """A fee per month, and nothing else."""

    type: Literal["monthly_fee"] = "monthly_fee"


class UsageTerms(CanonicalModel):
    """What one measured use costs beyond what the fee includes."""

    metric: Name
    included: Quantity = Decimal(0)
    """Units per whole month that the fee covers; prorated as the fee is."""
    unit_price: Price
    """Of each unit above."""
    credit_price: Price = Decimal(0)
    """What each unit below gives back; at most the month's fee in all."""


class CreditTier(CanonicalModel):
    """A service credit for service below a level."""

    below: Quantity
    percent: Annotated[Decimal, Field(gt=0, le=100, decimal_places=6)]
    """Of the month's fee."""


class ServiceLevel(CanonicalModel):
    """A promised level, and what missing it gives back."""

    metric: Name
    credits: tuple[CreditTier, ...]
    """The highest percentage that applies counts."""


class ManagedServicesTerms(FeeTerms):
    """A monthly fee, usage trued up against what it includes, and service credits."""

    type: Literal["managed_services"] = "managed_services"
    usage: tuple[UsageTerms, ...] = ()
    service_levels: tuple[ServiceLevel, ...] = ()
    credit_cap_percent: Percent = WHOLE
    """Most that all service credits of a month give back, of its fee."""

    @model_validator(mode="after")
    def _metrics_are_told_apart(self) -> Self:
        for field in ("usage", "service_levels"):
            metrics = [each.metric for each in getattr(self, field)]
            if len(set(metrics)) < len(metrics):
                raise ValueError(f"{field}: a metric is there twice; keep one")
        return self


# Retainer.


class Overage(StrEnum):
    """How work is billed that the retainer does not cover; one way only."""

    ENTRIES = "entries"
    """As its own entries (disposition `to_bill`); the schedule bills none."""
    SCHEDULE = "schedule"
    """As one line at the month's close; the entries reach no invoice."""
    NONE = "none"
    """Not at all."""


class Rollover(CanonicalModel):
    """What of an unused balance outlives its month."""

    months: Annotated[int, Field(ge=1, le=120)]
    """How many later months may use it."""
    limit: Amount | None = None
    """Most that one month hands to the next."""


class AutomaticTopUp(CanonicalModel):
    """Refills the balance at a month's close."""

    below: Amount
    """Where the next month would begin with less."""
    to: Amount
    """It is refilled to this."""

    @model_validator(mode="after")
    def _refills(self) -> Self:
        if self.to < self.below:
            raise ValueError(f"to: {self.to} is less than below {self.below}; raise it")
        return self


class RetainerTerms(MonthlyTerms):
    """A prepaid balance that work draws from, oldest money first; it never goes negative."""

    type: Literal["retainer"] = "retainer"
    amount: Amount
    """Deposit per whole month, or once, invoiced in advance."""
    deposit: Literal["monthly", "once"] = "monthly"
    rollover: Rollover | None = None
    """None: what a month leaves expires at its close."""
    top_up: AutomaticTopUp | None = None
    overage: Overage = Overage.ENTRIES
    overage_percent: Annotated[Decimal, Field(gt=0, le=1000, decimal_places=6)] = WHOLE
    """What uncovered work costs, of its worth; with `overage: schedule`."""
    at_end: Literal["expire", "refund"] = "expire"
    """What becomes at the last close of a balance that could have rolled over."""
    close_days: Annotated[int, Field(ge=0, le=27)] = 0
    """Days after a month's last in which draws for it are still taken; then it is closed."""

    def amounts(self) -> Iterator[tuple[str, Decimal | None]]:
        """Yield every amount of money with the name of its field."""
        yield "amount", self.amount
        if self.rollover is not None:
            yield "rollover.limit", self.rollover.limit
        if self.top_up is not None:
            yield "top_up.below", self.top_up.below
            yield "top_up.to", self.top_up.to

    @model_validator(mode="after")
    def _keeps_what_is_left(self) -> Self:
        if self.rollover is None and (self.deposit == "once" or self.at_end == "refund"):
            field = "at_end" if self.deposit == "monthly" else "deposit"
            text = f"{field}: without rollover all that is left expires with its month"
            raise ValueError(f"{text}; add rollover")
        return self


# Outcome.


class OutcomeTier(CanonicalModel):
    """What a gain earns from a mark on; exactly one of percent, per_unit and fixed."""

    above: Quantity = Decimal(0)
    """Gain from which it counts."""
    percent: Percent | None = None
    """Of the gain between this mark and that of the next share; the value is money then."""
    per_unit: Price | None = None
    """For each unit of the gain between this mark and that of the next share."""
    fixed: Amount | None = None
    """Once the gain reaches the mark, beside what the shares earn."""

    @model_validator(mode="after")
    def _earns_one_way(self) -> Self:
        if [self.percent, self.per_unit, self.fixed].count(None) != 2:
            raise ValueError("percent, per_unit, fixed: give exactly one of the three")
        return self


class OutcomeTerms(Terms):
    """A fee by accepted results: shares of a measured gain over a baseline."""

    type: Literal["outcome_based"] = "outcome_based"
    start: date
    baseline: Annotated[Decimal, Field(max_digits=18, decimal_places=6)] = Decimal(0)
    gain_is: Literal["above", "below"] = "above"
    """`below`: less is better, as with costs."""
    tiers: tuple[OutcomeTier, ...]
    floor: Amount | None = None
    """Least that an accepted measurement earns."""
    cap: Amount | None = None
    """Most that one measurement earns."""
    total_cap: Amount | None = None
    """Most that all measurements earn together."""

    def amounts(self) -> Iterator[tuple[str, Decimal | None]]:
        """Yield every amount of money with the name of its field."""
        yield "floor", self.floor
        yield "cap", self.cap
        yield "total_cap", self.total_cap
        for number, each in enumerate(self.tiers):
            yield f"tiers.{number}.fixed", each.fixed

    @model_validator(mode="after")
    def _makes_sense(self) -> Self:
        marks = [each.above for each in self.tiers]
        if not marks:
            raise ValueError("tiers: there is none; say what a gain earns")
        if any(one >= other for one, other in pairwise(marks)):
            raise ValueError("tiers: the marks in `above` do not ascend; put them in order")
        if self.floor is not None and self.cap is not None and self.floor > self.cap:
            raise ValueError(f"floor: {self.floor} is more than the cap {self.cap}; lower it")
        return self


ScheduleTerms: TypeAlias = Annotated[
    FixedFeeTerms | RetainerTerms | ManagedServicesTerms | MonthlyFeeTerms | OutcomeTerms,
    Field(discriminator="type"),
]
"""The terms of any schedule; `type` says which."""
