"""Exact money: a Decimal amount in the minor units of an ISO 4217 currency."""

from decimal import ROUND_HALF_UP, Decimal, InvalidOperation
from functools import cache
from typing import Self

from babel.core import get_global
from pydantic import model_validator

from canonical.model import CanonicalModel

AMOUNT_DIGITS = 15
AMOUNT_MAX = Decimal(10) ** AMOUNT_DIGITS
"""Above this no invoice is real; the limit keeps digits exact in every vendor's number type."""


@cache
def minor_digits(currency: str) -> int | None:
    """Return how many decimals `currency` (ISO 4217) has, or None where there is no such currency.

    Source: the CLDR data that Babel ships, which follows ISO 4217 (JPY 0, KWD 3, EUR 2).
    """
    if currency not in get_global("all_currencies"):
        return None
    fractions = get_global("currency_fractions")
    return int(fractions.get(currency, fractions["DEFAULT"])[0])


@cache
def _minor_unit(currency: str) -> Decimal | None:
    digits = minor_digits(currency)
    return None if digits is None else Decimal(1).scaleb(-digits)


class Money(CanonicalModel):
    """An amount in its currency's own minor units; anything finer or unknown is refused."""

    amount: Decimal
    currency: str

    @model_validator(mode="after")
    def _is_exact(self) -> Self:
        unit = _minor_unit(self.currency)
        if unit is None:
            raise ValueError(f"{self.currency!r} is no ISO 4217 currency")
        if self.amount.same_quantum(unit) and self.amount.adjusted() < AMOUNT_DIGITS:
            return self  # nearly every amount, told without computing one
        if not self.amount.is_finite() or abs(self.amount) > AMOUNT_MAX:
            raise ValueError(f"the amount {self.amount} is out of range")
        if self.amount != self.amount.quantize(unit):
            digits = minor_digits(self.currency)
            raise ValueError(f"{self.amount} has more than {digits} decimals of {self.currency}")
        return self

    @classmethod
    def rounded(cls, amount: Decimal, currency: str) -> Self:
        """Return `amount` rounded half-up, once, to the minor units of `currency`.

        Raises:
            ValueError: the currency does not exist, or the amount is no finite number.
        """
        unit = _minor_unit(currency)
        if unit is None:
            raise ValueError(f"{currency!r} is no ISO 4217 currency")
        try:
            exact = amount.quantize(unit, rounding=ROUND_HALF_UP)
        except InvalidOperation as error:
            raise ValueError(f"the amount {amount} is out of range") from error
        return cls(amount=exact, currency=currency)

    @property
    def minor_units(self) -> int:
        """The amount in whole minor units: cents for EUR, yen for JPY, fils for KWD."""
        return int(self.amount.scaleb(minor_digits(self.currency) or 0))

    def __add__(self, other: "Money") -> "Money":
        if other.currency != self.currency:
            raise ValueError(f"{self.currency} and {other.currency} cannot be added")
        return Money(amount=self.amount + other.amount, currency=self.currency)

    def __str__(self) -> str:
        return f"{self.amount:,.{minor_digits(self.currency) or 0}f} {self.currency}"
