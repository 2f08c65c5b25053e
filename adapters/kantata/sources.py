"""Approved time with expenses, and approved milestones, for a backfill.

Sources: vendor page sections 3 (lists), 8.1 (time entries and their filters), 9 (expenses), 10.1
(milestones).
Kantata pages by position, so that a list that changes may repeat or skip a row. Time is therefore
read week by week, in the order of creation, and a record that comes twice is the same one.
"""

import re
from collections.abc import Mapping
from datetime import date, timedelta
from decimal import Decimal
from typing import Final

from adapters.errors import Invalid, Unsupported
from adapters.kantata.client import VENDOR
from adapters.kantata.extracts import DAYS
from adapters.kantata.milestones import Milestones
from adapters.kantata.records import PAGE, Records
from adapters.kantata.time import TimeReading
from canonical.backfill import BackfillKind, SourcePage, SourceRecord, SourceWindow
from canonical.entries import Entry, EntryKind
from canonical.invoicing import PsaMilestone
from canonical.money import Money

WEEK: Final = timedelta(days=7)
KINDS: Final = (EntryKind.TIME, EntryKind.EXPENSE)
"""Of a week first the time, then the expenses. Adjustments are not listed: nobody approves them."""
FILTERS: Final[Mapping[BackfillKind, frozenset[str]]] = {
    BackfillKind.TIME: frozenset({"project", "person"}),
    BackfillKind.MILESTONES: frozenset({"project"}),
}
CONDITION: Final = re.compile(r"\s*([a-z]+)\s*=\s*([0-9]{1,20})\s*(?:,|\bAND\b|$)")
HOUR: Final = Decimal(60)


class WorkSource:
    """The part of an adapter that lists approved work; it sets what this works with."""

    _connection: str
    _records: Records
    _time: TimeReading
    _milestones: Milestones

    async def page_records(self, window: SourceWindow, after: str = "") -> SourcePage:
        """Return the next 200 time entries, expenses or milestones that are approved in the window.

        Raises:
            Unsupported: a PSA has no opportunities.
            Invalid: the condition is none of `project=ID` and, of time, `person=ID`.
        """
        match window.kind:
            case BackfillKind.TIME:
                return await self._time_page(window, after)
            case BackfillKind.MILESTONES:
                return await self._milestone_page(window, after)
            case _:
                raise Unsupported(
                    f"{self._connection} has no {window.kind}.",
                    vendor=VENDOR,
                    operation="list records",
                )

    async def _time_page(self, window: SourceWindow, after: str) -> SourcePage:
        wanted = conditions_of(window)
        first, kind, number = _place(after, window.since)
        last = min(first + WEEK - timedelta(days=1), window.until)
        params = {DAYS[kind]: f"{first.isoformat()}:{last.isoformat()}", "page": str(number)}
        if kind is EntryKind.TIME:  # an expense does not say so itself (section 9)
            params["approved"] = "true"
        for name, column in (("project", "workspace_id"), ("person", "user_id")):
            if name in wanted:
                params[column] = wanted[name]
        entries, listed, count = await self._time.work_page(kind, params)
        records = tuple(
            entry_record(entry)
            for entry in entries
            # Filters that the list does not know are ignored silently (section 3).
            if entry.approved and first <= entry.service_date <= last and _is_of(entry, wanted)
        )
        if listed and (number - 1) * PAGE + listed < count:
            return SourcePage(records=records, next=_cursor(first, kind, number + 1))
        if kind is not KINDS[-1]:
            following_kind = KINDS[KINDS.index(kind) + 1]
            return SourcePage(records=records, next=_cursor(first, following_kind, 1))
        following = last + timedelta(days=1)
        more = following <= window.until
        return SourcePage(records=records, next=_cursor(following, KINDS[0], 1) if more else "")

    async def _milestone_page(self, window: SourceWindow, after: str) -> SourcePage:
        wanted = conditions_of(window)
        number = int(after or "1")
        found, listed, count = await self._milestones.page(number, wanted.get("project", ""))
        records = tuple(
            milestone_record(each, on)
            for each in found
            if each.approved and window.since <= (on := approved_on(each, window)) <= window.until
        )
        more = listed and (number - 1) * PAGE + listed < count
        return SourcePage(records=records, next=str(number + 1) if more else "")


def conditions_of(window: SourceWindow) -> dict[str, str]:
    """Return the filters of a condition: `project=5001 AND person=12`.

    Raises:
        Invalid: it is something else; the message names the place.
    """
    found: dict[str, str] = {}
    known, place, typed = FILTERS[window.kind], 0, window.where
    while typed[place:].strip():
        match = CONDITION.match(typed, place)
        if match is None or match[1] not in known or match[1] in found:
            names = " and ".join(f"{name}=ID" for name in sorted(known, reverse=True))
            raise Invalid(
                f"The condition can't be used, at character {place + 1}: there may be {names} "
                "once each, joined by AND.",
                vendor=VENDOR,
                operation="read the condition",
                field="where",
            )
        found[match[1]] = match[2]
        place = match.end()
    return found


def approved_on(milestone: PsaMilestone, window: SourceWindow) -> date:
    """Return the day of the approval; where nobody says when, the day that it is due."""
    if milestone.approved_at is not None:
        return milestone.approved_at.date()
    return milestone.due or window.since


def entry_record(entry: Entry) -> SourceRecord:
    """Return an entry as a record: time at the PSA's own rate, an expense as incurred."""
    reserved = f"is on invoice {entry.reservation_id} of the PSA, which is none of ours"
    return SourceRecord(
        id=str(entry.ref),
        target=entry.project_id,
        on=entry.service_date,
        amount=_value(entry),
        version=entry.version,
        linked=reserved if entry.reservation_id else "",
    )


def milestone_record(milestone: PsaMilestone, on: date) -> SourceRecord:
    """Return a milestone as a record."""
    invoiced = f"is on invoice {milestone.invoiced_on} of the PSA, which is none of ours"
    return SourceRecord(
        id=milestone.record.id,
        target=milestone.record.id,
        on=on,
        amount=milestone.amount,
        linked=invoiced if milestone.invoiced_on else "",
    )


def _value(entry: Entry) -> Money | None:
    if not entry.billable:
        return None
    if entry.kind is EntryKind.EXPENSE:
        return entry.amount
    if entry.psa_rate is None or entry.minutes is None:
        return None
    return Money.rounded(entry.psa_rate * entry.minutes / HOUR, entry.currency)


def _is_of(entry: Entry, wanted: Mapping[str, str]) -> bool:
    return (
        wanted.get("project", entry.project_id) == entry.project_id
        and wanted.get("person", entry.person_id) == entry.person_id
    )


def _cursor(first: date, kind: EntryKind, number: int) -> str:
    return f"{first.isoformat()}/{kind}/{number}"


def _place(after: str, since: date) -> tuple[date, EntryKind, int]:
    """Return the week, the kind and the page to go on with."""
    if not after:
        return since, KINDS[0], 1
    day, kind, number = after.split("/")
    return date.fromisoformat(day), EntryKind(kind), int(number)
