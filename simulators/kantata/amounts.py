"""What line items are worth, in the smallest unit of their currency.

The vendor's own rounding is not documented (section 8.1). Here each line is rounded by itself,
half away from zero, to a whole unit; what is not billable is worth nothing. Taxes are reckoned
on the sum of what is taxable and rounded once. All three are choices of this simulator.
"""

from decimal import ROUND_HALF_UP, Decimal

from simulators.kantata.values import CURRENCIES, integer_in
from simulators.kit import Record

_MINUTES_PER_HOUR = 60
_TO_USD = {
    "USD": Decimal(1),
    "EUR": Decimal("1.085"),
    "GBP": Decimal("1.27"),
    "JPY": Decimal("0.00665"),
    "KWD": Decimal("3.25"),
    "CHF": Decimal("1.12"),
    "CAD": Decimal("0.72"),
    "AUD": Decimal("0.65"),
}
"""The account's exchange rates, the same all year."""


def of_time(minutes: int, rate: int) -> int:
    """Return what minutes are worth at a rate per hour; both may be negative."""
    worth = Decimal(minutes * rate) / _MINUTES_PER_HOUR
    return int(worth.quantize(Decimal(1), ROUND_HALF_UP))


def of_record(record: Record) -> int:
    """Return what a time entry, an adjustment, an expense or a milestone is worth on an invoice."""
    if record.type == "billing_milestones":
        return integer_in(record.fields, "amount_in_cents")
    return full(record) if record.fields.get("billable") is True else 0


def full(record: Record) -> int:
    """Return what a line item is worth, whether it is billable or not."""
    fields = record.fields
    match record.type:
        case "time_entries":
            return of_time(integer_in(fields, "time_in_minutes"), integer_in(fields, _RATE))
        case "time_adjustments":
            return of_time(integer_in(fields, "time"), integer_in(fields, "bill_rate_in_cents"))
        case _:
            return integer_in(fields, "amount_in_cents")


def tax(net: int, percent: Decimal) -> int:
    """Return the tax on a net amount."""
    return int((net * percent / 100).quantize(Decimal(1), ROUND_HALF_UP))


def converted(value: Decimal, source: str, target: str) -> int:
    """Return an amount in main units of one currency as the smallest units of another."""
    main = value * _TO_USD[source] / _TO_USD[target]
    return int((main * CURRENCIES[target][1]).quantize(Decimal(1), ROUND_HALF_UP))


_RATE = "rate_in_cents"
