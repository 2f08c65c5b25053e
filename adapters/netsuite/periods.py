"""NetSuite's posting periods and exchange rates; never cached, since a period can close any time.

Source: vendor page section 5.12.
"""

from collections.abc import Iterable
from datetime import date, timedelta
from typing import Final

from adapters.errors import ClosedPeriod
from adapters.netsuite import billing_mapping as mapping
from adapters.netsuite.client import VENDOR
from adapters.netsuite.config import NetSuiteConfig
from adapters.netsuite.records import RecordService
from canonical.billing import AccountingPeriod
from canonical.rating import ExchangeRate

RATE_AGE_DAYS_MAX: Final = 400
"""How long a rate may be in force before the range begins: a firm that sets them once a year."""


class Periods:
    """The books of one account."""

    def __init__(self, records: RecordService, config: NetSuiteConfig) -> None:
        """Use the account's records."""
        self._records = records
        self._config = config

    async def of(self, on: date) -> AccountingPeriod | None:
        """Return the month that a date falls into. All subsidiaries share the periods."""
        found = await self._read(on, on)
        return next((each for each in found if each.start <= on <= each.end), None)

    async def next_open(self, on: date) -> AccountingPeriod | None:
        """Return the first open period that ends on or after a date."""
        return next((each for each in await self._read(on, None) if each.open), None)

    async def refuse_closed(self, days: Iterable[date], act: str) -> None:
        """Look at the periods of a batch before it goes, since its items are written one by one.

        Raises:
            ClosedPeriod: one of them is closed, or not there.
        """
        wanted = sorted(set(days))
        periods = await self._read(wanted[0], wanted[-1])
        for day in wanted:
            own = next((each for each in periods if each.start <= day <= each.end), None)
            if own is None or not own.open:
                name = own.name if own else "of that date, which does not exist,"
                text = f"The accounting period {name} is not open for {day.isoformat()}."
                raise ClosedPeriod(text, vendor=VENDOR, operation=act)

    async def rates(
        self, currencies: tuple[str, ...], since: date, until: date
    ) -> tuple[ExchangeRate, ...]:
        """Return the rates between currencies in force at any time in a range.

        A currency that the configuration does not name is one that this ERP has no rates of.
        """
        ids = [
            self._config.currencies[each]
            for each in dict.fromkeys(currencies)
            if each in self._config.currencies
        ]
        if len(ids) < 2:
            return ()
        begin = since - timedelta(days=RATE_AGE_DAYS_MAX)
        query = mapping.rate_query(ids, begin, until)
        rows = await self._records.query_all(query, "read exchange rates")
        return mapping.rates_in_force(rows, since, self._records.connection, self._config)

    async def _read(self, since: date, until: date | None) -> list[AccountingPeriod]:
        rows = await self._records.query(
            mapping.period_query(since, until), "read accounting periods"
        )
        return [mapping.period_from(row, self._config) for row in rows]
