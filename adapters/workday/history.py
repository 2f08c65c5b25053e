"""Who has which address, and what they were in a range of days, out of reports as of one day.

A report shows one row for each worker, with the day from which it holds: the row before it is the
one as of the day before. So reading goes back from change to change.
"""

import asyncio
from collections.abc import Iterable, Mapping
from datetime import date, timedelta
from typing import Final

from adapters.workday.config import WorkdayConfig
from adapters.workday.mapping import Version
from adapters.workday.reports import Reports

ONE_DAY: Final = timedelta(days=1)


class History:
    """One reading; what a report has shown for a day is not asked for again."""

    def __init__(self, reports: Reports, config: WorkdayConfig) -> None:
        """Read from these reports."""
        self._reports = reports
        self._prompts = config.worker_prompts
        self._one_by_one_max = config.prompted_workers_max
        self._whole: dict[date, tuple[Version, ...]] = {}
        self._seen: dict[tuple[date, str], Version] = {}

    async def people(self, emails: Iterable[str], since: date, until: date) -> dict[str, str]:
        """Return WID -> address of those who have one of the addresses.

        Those who cannot be asked for one by one, or are not found so (whether a prompt minds the
        case is unverified), are looked for in the whole report: of the last day, and then of the
        first, since an address may be taken away from those who leave.
        """
        missing, found = set(emails), dict[str, str]()
        if len(missing) <= self._one_by_one_max:
            rows = await self._ask_each(until, self._prompts.email, missing)
            missing -= _claim(found, rows, missing)
        for day in (until, since):
            if missing:
                missing -= _claim(found, await self._everyone(day), missing)
        return found

    async def versions(self, wids: Iterable[str], since: date, until: date) -> tuple[Version, ...]:
        """Return every version of these workers in force at any time in the range."""
        found: dict[tuple[str, date], Version] = {}
        open_, day = set(wids), until
        while open_:
            rows = await self._of(open_, day)
            found |= {(each.wid, each.worker.valid_from): each for each in rows}
            starts = {each.wid: each.worker.valid_from for each in rows}
            open_ = {wid for wid, start in starts.items() if start > since}
            day = max((starts[wid] for wid in open_), default=day) - ONE_DAY
        return tuple(found.values())

    async def _of(self, wids: set[str], day: date) -> list[Version]:
        unseen = {wid for wid in wids if (day, wid) not in self._seen}
        if day not in self._whole and unseen:
            if len(unseen) <= self._one_by_one_max:
                await self._ask_each(day, self._prompts.wid, unseen)
            else:
                await self._everyone(day)
        return [self._seen[day, wid] for wid in sorted(wids) if (day, wid) in self._seen]

    async def _ask_each(self, day: date, prompt: str, values: Iterable[str]) -> list[Version]:
        asked = (self._reports.workers_where(day, prompt, value) for value in sorted(values))
        return self._note(day, [row for rows in await asyncio.gather(*asked) for row in rows])

    async def _everyone(self, day: date) -> tuple[Version, ...]:
        if day not in self._whole:
            self._whole[day] = await self._reports.workers(day)
            self._note(day, self._whole[day])
        return self._whole[day]

    def _note(self, day: date, rows: Iterable[Version]) -> list[Version]:
        noted = list(rows)
        self._seen |= {(day, each.wid): each for each in noted}
        return noted


def _claim(found: dict[str, str], rows: Iterable[Version], emails: set[str]) -> set[str]:
    """Note who has one of the addresses, whatever else a report shows; return those addresses."""
    here: Mapping[str, str] = {
        each.wid: each.worker.email for each in rows if each.worker.email in emails
    }
    for wid, email in here.items():
        found.setdefault(wid, email)
    return set(here.values())
