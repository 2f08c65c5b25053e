"""Money is exact in the minor units of its currency, or it is refused."""

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from canonical.money import AMOUNT_MAX, Money, minor_digits


@pytest.mark.parametrize(
    ("currency", "digits"), [("EUR", 2), ("USD", 2), ("JPY", 0), ("KWD", 3), ("EUX", None)]
)
def test_minor_digits_follow_iso_4217(currency: str, digits: int | None) -> None:
    assert minor_digits(currency) == digits


@pytest.mark.parametrize(
    ("amount", "currency", "why"),
    [
        ("1.005", "EUR", "more than 2 decimals"),
        ("0.5", "JPY", "more than 0 decimals"),
        ("1.0005", "KWD", "more than 3 decimals"),
        ("1", "EUX", "no ISO 4217 currency"),
        ("NaN", "EUR", "finite number"),
        ("Infinity", "EUR", "finite number"),
        (str(AMOUNT_MAX + 1), "EUR", "out of range"),
    ],
)
def test_what_is_not_exact_is_refused(amount: str, currency: str, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        Money(amount=Decimal(amount), currency=currency)


@pytest.mark.parametrize(
    ("amount", "currency", "rounded", "minor"),
    [
        ("1.005", "EUR", "1.01", 101),
        ("-1.005", "EUR", "-1.01", -101),
        ("0.5", "JPY", "1", 1),
        ("1.2345", "KWD", "1.235", 1235),
    ],
)
def test_rounding_is_half_up_once(amount: str, currency: str, rounded: str, minor: int) -> None:
    money = Money.rounded(Decimal(amount), currency)
    assert money.amount == Decimal(rounded)
    assert money.minor_units == minor


def test_currencies_do_not_mix() -> None:
    with pytest.raises(ValueError, match="EUR and USD cannot be added"):
        Money(amount=Decimal(1), currency="EUR") + Money(amount=Decimal(1), currency="USD")


@pytest.mark.property
@given(st.integers(-(10**16), 10**16))
def test_json_keeps_every_digit(cents: int) -> None:
    money = Money(amount=Decimal(cents).scaleb(-2), currency="EUR")
    assert Money.model_validate_json(money.model_dump_json()) == money
    assert money.minor_units == cents
