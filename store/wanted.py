"""What a run needs to know from others before it can rate: people, periods, currencies."""

from collections.abc import Iterable, Sequence
from datetime import date

from canonical.engagement import Engagement
from canonical.model import CanonicalModel


class WantedPeople(CanonicalModel):
    """Whom the run's entries name, and over which service dates."""

    emails: tuple[str, ...] = ()
    since: date = date.min
    until: date = date.min


class WantedTerms(CanonicalModel):
    """Which posting periods and exchange rates the run's entries touch."""

    days: tuple[date, ...] = ()
    """The last service date of each month."""
    currencies: tuple[str, ...] = ()
    """Of the entries and of the contract."""
    since: date = date.min
    until: date = date.min


def wanted_people(addresses: Iterable[str], dates: Sequence[date]) -> WantedPeople:
    """Return the e-mail addresses that entries name, lower case, and the span of their dates."""
    emails = sorted({address.lower() for address in addresses} - {""})
    if not emails:
        return WantedPeople()
    return WantedPeople(emails=tuple(emails), since=min(dates), until=max(dates))


def wanted_terms(
    dates: Sequence[date], currencies: Iterable[str], engagements: Iterable[Engagement]
) -> WantedTerms:
    """Return months and currencies that rating and posting entries may need.

    `dates` and `currencies` are those of the entries.
    """
    if not dates:
        return WantedTerms()
    months: dict[tuple[int, int], date] = {}
    for on in sorted(dates):
        months[on.year, on.month] = on
    wanted = {*currencies}
    wanted |= {line.currency for engagement in engagements for line in engagement.lines}
    return WantedTerms(
        days=tuple(months.values()),
        currencies=tuple(sorted(wanted)),
        since=min(dates),
        until=max(dates),
    )
