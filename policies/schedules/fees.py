"""The fee of each month: indexed, prorated, rounded once at each."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date
from decimal import Decimal

from canonical.schedule_basics import FeeTerms
from canonical.schedule_facts import LineKind
from policies.arithmetic import HUNDRED
from policies.schedules.amounts import Basis, Lines, Service, Writer, part_of, plain
from policies.schedules.months import ServiceMonth, invoice_day, service_month, service_months


@dataclass(frozen=True)
class Fee:
    """What a month costs, and why."""

    month: ServiceMonth
    full: Decimal
    """Of a whole month, indexed."""
    amount: Decimal
    basis: Basis


def fees(terms: FeeTerms, writer: Writer, until: date) -> Lines:
    """Yield the fee lines to be invoiced before `until`."""
    for month in service_months(terms):
        day = invoice_day(terms, month)
        if day >= until:
            return
        fee = fee_of(terms, month, writer)
        if fee.amount:
            yield writer.write(
                f"fee/{month.name}",
                LineKind.FEE,
                fee.amount,
                day,
                Service(month.start, month.end),
                f"Fee for {month.name}" + ("" if month.whole else f", {_days(month)}"),
                fee.basis,
                priced=(Decimal(1), fee.amount),
            )


def fee_in(terms: FeeTerms, day: date, writer: Writer) -> Fee | None:
    """Return the fee of the month that a day lies in; None outside the term."""
    month = service_month(terms, day)
    return None if month is None else fee_of(terms, month, writer)


def fee_of(terms: FeeTerms, month: ServiceMonth, writer: Writer) -> Fee:
    """Return what a month costs: indexed step by step, then prorated."""
    full = terms.fee
    basis = [("fee per month", writer.words(full))]
    for label, percent, value in _indexed(terms, month, writer):
        full = value
        basis += [(label, f"{plain(percent)} %"), ("fee then", writer.words(full))]
    if month.whole:
        return Fee(month, full, full, tuple(basis))
    amount = part_of(full, month.days, month.of_days, writer.currency)
    basis += [("days of service", _days(month)), ("prorated", writer.words(amount))]
    return Fee(month, full, amount, tuple(basis))


def _indexed(
    terms: FeeTerms, month: ServiceMonth, writer: Writer
) -> Iterator[tuple[str, Decimal, Decimal]]:
    """Yield each step in force with the percentage that counts and the fee after it."""
    fee = terms.fee
    for step in terms.indexation:
        if step.valid_from > month.first:
            return
        percent, label = step.percent, f"indexation of {step.valid_from}"
        if step.cap_percent is not None and percent > step.cap_percent:
            label += f" ({plain(percent)} % capped)"
            percent = step.cap_percent
        fee = part_of(fee, HUNDRED + percent, HUNDRED, writer.currency)
        yield label, percent, fee


def _days(month: ServiceMonth) -> str:
    return f"{month.days} of {month.of_days} days"
