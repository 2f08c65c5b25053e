"""Amounts of scheduled lines: exact shares, rounded half-up once, and the words for them."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from decimal import Decimal, localcontext

from canonical.money import Money
from canonical.schedule_facts import LineKind, ScheduledLine
from policies.arithmetic import DIGITS, HUNDRED, product

ZERO = Decimal(0)
Basis = tuple[tuple[str, str], ...]
_TAXED_WHEN_INVOICED = frozenset({LineKind.RETENTION_RELEASE, LineKind.TOP_UP})
"""Money that moves apart from the service."""


def percent_of(amount: Decimal, percent: Decimal, currency: str) -> Decimal:
    """Return a percentage of an amount, rounded once."""
    return part_of(amount, percent, HUNDRED, currency)


def part_of(
    amount: Decimal, numerator: Decimal | int, denominator: Decimal | int, currency: str
) -> Decimal:
    """Return amount x numerator / denominator, rounded once."""
    with localcontext(prec=DIGITS):
        exact = product(amount, numerator) / denominator
    return Money.rounded(exact, currency).amount


def plain(number: Decimal) -> str:
    """Return a number without an exponent and without trailing zeros: `12.5`, `100`."""
    return f"{number.normalize():f}"


@dataclass(frozen=True)
class Service:
    """When the service of a line was, or will be, rendered; both days belong to it."""

    start: date
    end: date


@dataclass(frozen=True)
class Writer:
    """Writes the lines of one contract line, in its currency."""

    line: str
    currency: str

    def money(self, amount: Decimal) -> Money:
        """Return an amount that is exact already."""
        return Money(amount=amount, currency=self.currency)

    def words(self, amount: Decimal) -> str:
        """Return an amount as a basis shows it."""
        return str(self.money(amount))

    def write(
        self,
        item: str,
        kind: LineKind,
        net: Decimal,
        invoice_on: date,
        service: Service,
        narrative: str,
        basis: Sequence[tuple[str, str]],
        *,
        balance_effect: Decimal | None = None,
        priced: tuple[Decimal, Decimal] | None = None,
    ) -> ScheduledLine:
        """Return the line of an occurrence.

        Args:
            item: key of the occurrence.
            kind: what it is for.
            net: exact, in minor units.
            invoice_on: day from which it is to be invoiced.
            service: when the service is rendered.
            narrative: for the client.
            basis: how the amount came about.
            balance_effect: what it does to a balance.
            priced: quantity and unit price; left out where they do not come to the amount.
        """
        quantity, price = priced or (None, None)
        if quantity is not None and price is not None:
            worth = Money.rounded(product(quantity, price), self.currency).amount
            if worth != net:
                quantity = price = None
        return ScheduledLine(
            item=item,
            line=self.line,
            kind=kind,
            net=self.money(net),
            quantity=quantity,
            unit_price=price,
            service_start=service.start,
            service_end=service.end,
            invoice_on=invoice_on,
            tax_point=invoice_on if kind in _TAXED_WHEN_INVOICED else min(service.end, invoice_on),
            narrative=narrative,
            basis=tuple(basis),
            balance_effect=None if balance_effect is None else self.money(balance_effect),
        )


def days_after(day: date, days: int) -> date:
    """Return the day that many days later (negative: earlier)."""
    return day + timedelta(days=days)


Lines = Iterator[ScheduledLine]
