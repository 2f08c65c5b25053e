"""Workday in the role of the HCM; it is only read.

Scorecard: reads two custom reports as a service, since neither the employee id nor whether someone
is active is in the REST lists (vendor page, section 3). A report is one response without pages, as
of a day: versions are found by walking back from change to change. Names, addresses and costs may
be missing; a worker without an e-mail address is listed and joins nothing.
"""

from collections.abc import AsyncIterator
from datetime import date
from typing import Final

from adapters.auth import OAuth2Token
from adapters.governor import Governor
from adapters.http import VendorHttp
from adapters.ports import Check
from adapters.workday import mapping
from adapters.workday.checks import ConnectionCheck
from adapters.workday.client import ANSWER_BYTES_MAX, VENDOR, SignIn, classify
from adapters.workday.config import WorkdayConfig
from adapters.workday.history import History
from adapters.workday.mapping import Version
from adapters.workday.reports import Reports
from canonical.people import CostCenter, Worker

PAGE_ROWS: Final = 500
"""Workers that `list_workers` hands over at a time; the report itself comes at once."""


class Workday:
    """One Workday tenant as an `Hcm`."""

    def __init__(
        self, connection: str, config: WorkdayConfig, http: VendorHttp, sign_in: SignIn
    ) -> None:
        """Use an HTTP client that signs in by itself."""
        self._connection = connection
        self._config = config
        self._http = http
        self._sign_in = sign_in
        self._reports = Reports(http, config)

    @property
    def connection(self) -> str:
        """Name of the connection."""
        return self._connection

    def checks(self) -> tuple[Check, ...]:
        """Return the steps of the connection check."""
        return ConnectionCheck(self._reports, self._sign_in, self._config).steps()

    async def aclose(self) -> None:
        """Close the HTTP client."""
        await self._http.aclose()

    async def read_workers(
        self, emails: tuple[str, ...], since: date, until: date
    ) -> tuple[Worker, ...]:
        """Return every version of these workers in force at any time in the range.

        An earlier version carries the address by which its worker was asked for, so that a change
        of address breaks no history. People without an address on the last day are looked for on
        the first one. Per change within the range one more report is read.

        Raises:
            ContractBroken: the report lacks a column, or has a value that cannot be read.
        """
        wanted = {found for email in emails if (found := mapping.usable_email(email))}
        if not wanted or since > until:
            return ()
        history = History(self._reports, self._config)
        people = await history.people(wanted, since, until)
        renamed = (
            Version(each.wid, each.worker.model_copy(update={"email": people[each.wid]}))
            for each in await history.versions(people, since, until)
        )
        return mapping.one_person(renamed)

    async def list_workers(self, on: date) -> AsyncIterator[tuple[Worker, ...]]:
        """Yield all workers as of a day, terminated ones inactive; who is hired later is absent."""
        workers = mapping.one_person(await self._reports.workers(on))
        for start in range(0, len(workers), PAGE_ROWS):
            yield workers[start : start + PAGE_ROWS]

    async def list_cost_centers(self) -> tuple[CostCenter, ...]:
        """Return every cost center, inactive ones too, by id."""
        rows = await self._reports.cost_centers()
        columns, companies = self._config.cost_center_columns, self._config.companies
        found = (mapping.cost_center(row, columns, companies) for row in rows)
        return tuple(sorted(found, key=lambda each: each.id))


def build_workday(connection: str, config: WorkdayConfig, governor: Governor) -> Workday:
    """Return the adapter of one tenant; nothing is sent before the first call."""
    sign_in = SignIn(config.auth)
    http = VendorHttp(
        vendor=VENDOR,
        connection=connection,
        base_url=config.base_url,
        auth=OAuth2Token(sign_in.fetch),
        classify=classify,
        governor=governor,
        timeouts=config.timeouts.limits(),
        verify=config.ca_file,
        answer_bytes_max=ANSWER_BYTES_MAX,
    )
    sign_in.http = http
    return Workday(connection, config, http, sign_in)
