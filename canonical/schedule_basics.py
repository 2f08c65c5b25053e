"""What the terms of all schedules share: types, currency, months, fees and their indexation."""

from collections.abc import Iterator
from datetime import date
from decimal import Decimal
from enum import StrEnum
from itertools import pairwise
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from canonical.model import CanonicalModel
from canonical.money import minor_digits

Amount = Annotated[Decimal, Field(ge=0, le=Decimal(10) ** 15)]
Percent = Annotated[Decimal, Field(ge=0, le=100, decimal_places=6)]
Price = Annotated[Decimal, Field(ge=0, max_digits=16, decimal_places=6)]
"""Per unit: finer than the currency's minor units where it has to be."""
Quantity = Annotated[Decimal, Field(ge=0, max_digits=18, decimal_places=6)]
Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.:\-]{0,63}$")]
"""Part of an occurrence's key, so without spaces and slashes."""

WHOLE = Decimal(100)


class Terms(CanonicalModel):
    """What all schedules share."""

    currency: str
    """Of the contract line."""

    def amounts(self) -> Iterator[tuple[str, Decimal | None]]:
        """Yield every amount of money with the name of its field."""
        yield from ()

    @model_validator(mode="after")
    def _is_in_minor_units(self) -> Self:
        digits = minor_digits(self.currency)
        if digits is None:
            raise ValueError(f"currency: {self.currency!r} is no ISO 4217 currency such as EUR")
        unit = Decimal(1).scaleb(-digits)
        for field, amount in self.amounts():
            if amount is not None and amount != amount.quantize(unit):
                raise ValueError(
                    f"{field}: {amount} has more than {digits} decimals of {self.currency}; "
                    "round it as the contract says"
                )
        return self


class Timing(StrEnum):
    """On which side of the service a fee is invoiced."""

    IN_ADVANCE = "in_advance"
    """On the first day that the invoice covers."""
    IN_ARREARS = "in_arrears"
    """On the last day that the invoice covers."""


class Proration(StrEnum):
    """What a first or last month that is not whole costs."""

    CALENDAR_DAYS = "calendar_days"
    """Days of service over the days of that month."""
    THIRTY_DAYS = "thirty_days"
    """Every month has 30 days; the month's last day counts as the 30th."""
    NONE = "none"
    """A begun month costs a whole one."""


class IndexationStep(CanonicalModel):
    """A change of the fee, from the first month that begins on or after a day."""

    valid_from: date
    percent: Annotated[Decimal, Field(gt=-100, le=1000, decimal_places=6)]
    cap_percent: Percent | None = None
    """The most that this step may raise the fee."""


class MonthlyTerms(Terms):
    """What all schedules share that go by calendar months."""

    start: date
    end: date | None = None
    """Last day of service; None: open."""
    proration: Proration = Proration.CALENDAR_DAYS
    shift_days: Annotated[int, Field(ge=-60, le=60)] = 0
    """Days by which fees are invoiced later than `timing` says, or earlier (negative)."""

    @model_validator(mode="after")
    def _ends_after_it_starts(self) -> Self:
        if self.end is not None and self.end < self.start:
            raise ValueError(f"end: {self.end} is before the start {self.start}; correct one")
        return self


class FeeTerms(MonthlyTerms):
    """A fee per calendar month."""

    fee: Amount
    timing: Timing = Timing.IN_ADVANCE
    invoice_every_months: Literal[1, 2, 3, 4, 6, 12] = 1
    """Months invoiced together, counted from the first; each stays a line of its own."""
    indexation: tuple[IndexationStep, ...] = ()

    def amounts(self) -> Iterator[tuple[str, Decimal | None]]:
        """Yield every amount of money with the name of its field."""
        yield "fee", self.fee

    @model_validator(mode="after")
    def _indexation_is_in_order(self) -> Self:
        days = [each.valid_from for each in self.indexation]
        if days and days[0] <= self.start:
            text = f"indexation.0.valid_from: {days[0]} is not after the start {self.start}"
            raise ValueError(f"{text}; write the raised price as the fee")
        if any(one >= other for one, other in pairwise(days)):
            raise ValueError("indexation: the days do not ascend; put them in order, each once")
        return self
