"""Amounts in a currency's minor units, and the rates between currencies.

One rounding, half-up; conversion takes the rate of the table that is valid on the day (vendor page,
5.9 and 5.12).
"""

from decimal import ROUND_HALF_UP, Decimal

from pydantic import JsonValue

from simulators.kit import Account
from simulators.netsuite import state
from simulators.netsuite.state import ref_id, text


def decimal(value: JsonValue, default: Decimal | None = None) -> Decimal:
    """Return a JSON number, or the default (else zero) where there is none."""
    if isinstance(value, int | float) and not isinstance(value, bool):
        return Decimal(str(value))
    return default if default is not None else Decimal(0)


def rounded(account: Account, value: Decimal, currency: str | None) -> Decimal:
    """Return an amount in the currency's minor units, half-up."""
    record = account.store.get("currency", currency or "")
    digits = decimal(record.fields.get("currencyPrecision")) if record is not None else Decimal(2)
    return value.quantize(Decimal(1).scaleb(-int(digits)), ROUND_HALF_UP)


def as_json(value: Decimal) -> float:
    """Return an amount as JSON carries it."""
    return float(value)


def base_currency(account: Account, subsidiary: str | None) -> str | None:
    """Return the currency of a subsidiary's books."""
    record = account.store.get("subsidiary", subsidiary or "")
    return ref_id(record.fields, "currency") if record is not None else None


def exchange_rate(account: Account, source: str | None, base: str | None, day: str) -> Decimal:
    """Return what one unit of `source` is worth in `base` on a day, by the newest rate until then.

    Where the table has no such pair, the two currencies' default rates decide (simulator choice).
    """
    if source is None or base is None or source == base:
        return Decimal(1)
    rates = [
        row
        for row in state.rates_of(account, source, base)
        if text(row.fields, "effectiveDate") <= day
    ]
    if rates:
        newest = max(rates, key=lambda row: (text(row.fields, "effectiveDate"), row.seq))
        return decimal(newest.fields.get("exchangeRate"))
    one, other = (account.store.get("currency", number) for number in (source, base))
    if one is None or other is None:
        return Decimal(1)
    ratio = decimal(one.fields.get("exchangeRate")) / decimal(
        other.fields.get("exchangeRate"), Decimal(1)
    )
    return ratio.quantize(Decimal("0.00000001"), ROUND_HALF_UP)
