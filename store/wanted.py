"""What a run needs to know from others before it can rate: people, periods, currencies."""

from collections.abc import Iterable
from datetime import date

from canonical.engagement import Engagement
from canonical.entries import Entry
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


def wanted_people(entries: Iterable[Entry]) -> WantedPeople:
    """Return the e-mail addresses of entries, lower case, and the span of their dates."""
    known = list(entries)
    emails = sorted({entry.person_email.lower() for entry in known} - {""})
    if not emails:
        return WantedPeople()
    dates = [entry.service_date for entry in known]
    return WantedPeople(emails=tuple(emails), since=min(dates), until=max(dates))


def wanted_terms(entries: Iterable[Entry], engagements: Iterable[Engagement]) -> WantedTerms:
    """Return months and currencies that rating and posting these entries may need."""
    known = list(entries)
    if not known:
        return WantedTerms()
    dates = [entry.service_date for entry in known]
    months: dict[tuple[int, int], date] = {}
    for on in sorted(dates):
        months[on.year, on.month] = on
    currencies = {entry.currency for entry in known}
    currencies |= {entry.amount.currency for entry in known if entry.amount is not None}
    currencies |= {line.currency for engagement in engagements for line in engagement.lines}
    return WantedTerms(
        days=tuple(months.values()),
        currencies=tuple(sorted(currencies)),
        since=min(dates),
        until=max(dates),
    )
