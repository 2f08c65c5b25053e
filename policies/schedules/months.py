"""Calendar months of a term: which are whole, what share the others cost, when each is invoiced."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, timedelta

from canonical.schedule_basics import FeeTerms, MonthlyTerms, Proration, Timing


@dataclass(frozen=True)
class ServiceMonth:
    """The part of a calendar month that lies within a term."""

    first: date
    """Of the calendar month."""
    start: date
    end: date
    days: int
    """Of service, as the proration counts them."""
    of_days: int
    """That a whole month has, likewise."""

    @property
    def name(self) -> str:
        """`YYYY-MM`."""
        return name_of(self.first)

    @property
    def whole(self) -> bool:
        """Whether it costs a whole month."""
        return self.days == self.of_days


def name_of(day: date) -> str:
    """Return the calendar month of a day as `YYYY-MM`."""
    return f"{day.year:04d}-{day.month:02d}"


def months_on(first: date, months: int) -> date:
    """Return the first day of the month that many months after the one of `first`."""
    count = first.year * 12 + first.month - 1 + months
    return date(count // 12, count % 12 + 1, 1)


def last_of(first: date) -> date:
    """Return the last day of the month of `first`."""
    return months_on(first, 1) - timedelta(days=1)


def service_month(terms: MonthlyTerms, day: date) -> ServiceMonth | None:
    """Return the service month that a day lies in; None where no service is rendered in it."""
    first = day.replace(day=1)
    start, end = max(first, terms.start), last_of(first)
    if terms.end is not None:
        end = min(end, terms.end)
    if end < start:
        return None
    days, of_days = _counted(first, start, end, terms.proration)
    return ServiceMonth(first, start, end, days, of_days)


def service_months(terms: MonthlyTerms) -> Iterator[ServiceMonth]:
    """Yield the months of the term in order, without end where the term is open."""
    month = service_month(terms, terms.start)
    while month is not None:
        yield month
        month = service_month(terms, months_on(month.first, 1))


def invoice_day(terms: FeeTerms, month: ServiceMonth) -> date:
    """Return when a month is invoiced, with the others of its invoice."""
    begin = terms.start.replace(day=1)
    number = (month.first.year - begin.year) * 12 + month.first.month - begin.month
    every = terms.invoice_every_months
    block = months_on(begin, number // every * every)
    if terms.timing is Timing.IN_ADVANCE:
        day = max(block, terms.start)
    else:
        day = last_of(months_on(block, every - 1))
        if terms.end is not None:
            day = min(day, terms.end)
    return day + timedelta(days=terms.shift_days)


def _counted(first: date, start: date, end: date, proration: Proration) -> tuple[int, int]:
    """Return the days of service and those of a whole month."""
    last = last_of(first)
    if proration is Proration.NONE:
        return 1, 1
    if proration is Proration.CALENDAR_DAYS:
        return (end - start).days + 1, last.day
    until = 30 if end == last else min(end.day, 30)
    return until - min(start.day, 30) + 1, 30
