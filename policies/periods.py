"""Which billing period is open, and on which day of the books work is posted.

Five dates stay apart: service date (when the work was done), rate date (the service date), tax
point and invoice date (the ERP's), and the posting date decided here.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from zoneinfo import ZoneInfo

from canonical.billing import AccountingPeriod
from canonical.entries import HoldReason
from canonical.rating import Rated
from policies.billing_schema import ClosedPeriod, EntityBilling
from policies.schema import Policies


def cutoff_of(period: str, terms: EntityBilling) -> datetime:
    """Return when a billing period `YYYY-MM` closes: the entity's day and time of the month after.

    Raises:
        ValueError: `period` is no month.
    """
    first = _first_of(period)
    after = _next_month(first)
    return datetime.combine(
        after.replace(day=terms.cutoff_day), terms.cutoff_time, ZoneInfo(terms.zone)
    )


def billing_period(now: datetime, terms: EntityBilling) -> str:
    """Return the billing period that is open for an entity at a moment, as `YYYY-MM`.

    Until its cutoff the month before is still open; at the cutoff itself the new one is.
    """
    first = now.astimezone(ZoneInfo(terms.zone)).date().replace(day=1)
    before = _month_of(_previous_month(first))
    # Both in UTC: moments of one zone are compared by its wall clock, which repeats an hour a year.
    still_open = now.astimezone(UTC) < cutoff_of(before, terms).astimezone(UTC)
    return before if still_open else _month_of(first)


@dataclass(frozen=True)
class Posting:
    """On which day work is posted, or why it is not."""

    on: date | None
    period: AccountingPeriod | None = None
    moved: bool = False
    """The service date's own period is closed."""
    problem: str = ""


def posting_date(
    terms: EntityBilling, service_date: date, periods: Sequence[AccountingPeriod]
) -> Posting:
    """Return the posting date of work done on `service_date`, never within a closed period.

    Args:
        terms: the entity's: does work of a closed period wait, or move on?
        service_date: stays as it is.
        periods: the entity's accounting periods, as far as they matter.
    """
    own = [each for each in periods if each.start <= service_date <= each.end]
    if not own:
        text = f"the ERP has no accounting period for {service_date}: finance adds it there"
        return Posting(on=None, problem=text)
    # A month lies within a quarter and a year: the shortest is what is posted to.
    period = min(own, key=lambda each: each.end - each.start)
    if period.open:
        return Posting(on=service_date, period=period)
    if terms.closed_period is ClosedPeriod.PARK:
        text = f"accounting period {period.name} is closed: finance opens it, or decides"
        return Posting(on=None, period=period, problem=text)
    later = [each for each in periods if each.open and each.start > period.end]
    if not later:
        text = f"accounting period {period.name} is closed, and no later one is open"
        return Posting(on=None, period=period, problem=f"{text}: finance opens one")
    following = min(later, key=lambda each: (each.start, each.end))
    return Posting(on=following.start, period=following, moved=True)


def held_if_closed(
    rated: Rated,
    service_date: date,
    policies: Policies,
    periods: Mapping[str, Sequence[AccountingPeriod]],
) -> Rated:
    """Return a rated entry, held if the books that it goes to are closed to it.

    Args:
        rated: as rated; one that is held already stays so.
        service_date: of the entry.
        policies: the bundle's.
        periods: by legal entity. Its biller's and its employer's have to take the entry.
    """
    if rated.hold is not None:
        return rated
    entities = {rated.legal_entity}
    if rated.cost is not None:
        entities.add(rated.cost.legal_entity)
    for code in sorted(entities):
        posting = posting_date(policies.billing.entities[code], service_date, periods.get(code, ()))
        if posting.on is None:
            return Rated(
                ref=rated.ref,
                version=rated.version,
                line=rated.line,
                billing_method=rated.billing_method,
                legal_entity=rated.legal_entity,
                minutes=rated.minutes,
                hold=HoldReason.PERIOD_CLOSED,
                hold_detail=f"{code}: {posting.problem}",
                flags=rated.flags,
                adjusts=rated.adjusts,
            )
    return rated


def _first_of(period: str) -> date:
    return datetime.strptime(f"{period}-01", "%Y-%m-%d").replace(tzinfo=UTC).date()


def _month_of(day: date) -> str:
    return f"{day.year:04d}-{day.month:02d}"


def _next_month(first: date) -> date:
    return date(first.year + first.month // 12, first.month % 12 + 1, 1)


def _previous_month(first: date) -> date:
    return date(first.year - (first.month == 1), (first.month - 2) % 12 + 1, 1)
