"""Salesforce in the role of the CRM.

Scorecard: reads one deal in one call, two where lines have a revenue schedule; writes only the
fields that Dealthread owns, one PATCH for its links and one for the deal's money; restores them by
the same PATCH. No idempotency key is
needed: a PATCH of the same values changes nothing (vendor page section 14).
"""

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Final

from adapters.errors import ContractBroken, Invalid, NotFound, Rejected
from adapters.governor import Governor
from adapters.http import Answer, VendorHttp
from adapters.ports import Check
from adapters.salesforce import client as wire
from adapters.salesforce import finances
from adapters.salesforce.config import SalesforceConfig
from adapters.salesforce.extracts import Listings
from adapters.salesforce.mapping import (
    ID_PATTERN,
    TEXT_MAX,
    Row,
    account_query,
    cases_query,
    deal_from,
    deal_query,
    has_milestones,
    links_from,
    links_to,
    milestones_query,
)
from adapters.salesforce.sources import OpportunitySource
from canonical.deal import Deal, DealLinks
from canonical.invoicing import BillingHold, DealFinances
from canonical.records import RecordRef

CLOCK_SKEW_SECONDS_MAX: Final = 120.0
NO_DEAL: Final = "006000000000000"
NO_CLIENT: Final = "001000000000000"


class Salesforce(OpportunitySource, Listings):
    """One Salesforce org as a `Crm`."""

    def __init__(self, connection: str, config: SalesforceConfig, http: VendorHttp) -> None:
        """Use an HTTP client that signs in by itself."""
        self._connection = connection
        self._config = config
        self._http = http
        self._data = f"/services/data/{config.api_version}"

    @property
    def connection(self) -> str:
        """Name of the connection."""
        return self._connection

    async def read_deal(self, deal_id: str) -> Deal:
        """Return the opportunity with account, lines and milestones (section 9, typical read)."""
        self._valid(deal_id, "read the deal")
        rows = await self._query(deal_query(deal_id, self._config), "read the deal")
        if not rows:
            raise NotFound(
                f"There is no opportunity {deal_id} in {self._connection}, or it is deleted.",
                vendor=wire.VENDOR,
                operation="read the deal",
            )
        lines = await self._children(rows[0].get("OpportunityLineItems"), "read the deal's lines")
        milestones: list[Row] = []
        if has_milestones(lines):
            milestones = await self._query(milestones_query(deal_id), "read the milestones")
        return deal_from(rows[0], lines, milestones, self._config, self._connection)

    async def read_links(self, deal_id: str) -> DealLinks:
        """Return the fields that Dealthread owns."""
        self._valid(deal_id, "read the ids")
        own = self._config.opportunity
        names = ",".join(getattr(own, name) for name in DealLinks.model_fields)
        answer = await self._http.request(
            "GET",
            f"{self._data}/sobjects/Opportunity/{deal_id}",
            operation="read the ids",
            write=False,
            params={"fields": names},
        )
        return links_from(_object(answer), self._config)

    async def write_links(self, deal_id: str, links: DealLinks) -> RecordRef:
        """Set the fields that are not None; 204 without a body (section 5)."""
        self._valid(deal_id, "write the ids back")
        body = links_to(links, self._config)
        for name, value in body.items():
            if value is not None and len(value) > TEXT_MAX:
                raise Invalid(
                    f"{name} takes {TEXT_MAX} characters, the value has {len(value)}.",
                    vendor=wire.VENDOR,
                    operation="write the ids back",
                    field=name,
                )
        await self._http.request(
            "PATCH",
            f"{self._data}/sobjects/Opportunity/{deal_id}",
            operation="write the ids back",
            write=True,
            json=body,
        )
        return RecordRef(system=self._connection, type="deal", id=deal_id)

    async def read_finances(self, deal_id: str) -> DealFinances | None:
        """Return what was shown of the deal's money last; None where nothing was."""
        self._valid(deal_id, "read the deal's money")
        answer = await self._http.request(
            "GET",
            f"{self._data}/sobjects/Opportunity/{deal_id}",
            operation="read the deal's money",
            write=False,
            params={"fields": finances.columns(self._config.finances)},
        )
        return finances.finances_from(_object(answer), self._config.finances)

    async def write_finances(self, deal_id: str, shown: DealFinances) -> RecordRef:
        """Set all the fields of the deal's money in one PATCH (section 5)."""
        self._valid(deal_id, "show the deal's money")
        await self._http.request(
            "PATCH",
            f"{self._data}/sobjects/Opportunity/{deal_id}",
            operation="show the deal's money",
            write=True,
            json=finances.finances_to(shown, self._config.finances),
        )
        return RecordRef(system=self._connection, type="deal", id=deal_id)

    async def read_billing_holds(self, client_id: str) -> tuple[BillingHold, ...]:
        """Return the account's open cases that hold billing, and its checkbox (section 7).

        Raises:
            NotFound: there is no such account; asked only where the org has the checkbox.
        """
        act = "read the client's billing holds"
        self._valid(client_id, act, "client_id")
        holds = self._config.billing_holds
        held: tuple[BillingHold, ...] = ()
        if query := account_query(client_id, holds):
            rows = await self._query(query, act)
            if not rows:
                raise NotFound(
                    f"There is no account {client_id} in {self._connection}, or it is deleted.",
                    vendor=wire.VENDOR,
                    operation=act,
                )
            held = finances.account_holds(rows, client_id, holds)
        if query := cases_query(client_id, holds):
            rows = await self._query(query, act)
            held = (*held, *(finances.case_hold(row, client_id) for row in rows))
        return held

    def checks(self) -> tuple[Check, ...]:
        """Return the steps of the connection check."""
        return (
            Check("reach", self._check_reach, "Check base_url: the org's My Domain host."),
            Check(
                "clock", self._check_clock, "Set this machine's clock (NTP): tokens carry times."
            ),
            Check(
                "sign in",
                self._check_sign_in,
                "Check the app's key or secret, its pre-authorised or run-as user, the audience.",
            ),
            Check(
                "fields",
                self._check_fields,
                "Create the missing fields, or name yours under settings.opportunity/account/line/"
                "finances/billing_holds; "
                "grant the integration user read access, and edit on those it owns.",
            ),
            Check(
                "read",
                self._check_read,
                "Grant the integration user read access to opportunities, their products and "
                "schedules, accounts and cases. A missing column names a feature to turn on: "
                "several currencies, state and country picklists, or revenue schedules.",
            ),
        )

    async def aclose(self) -> None:
        """Close the HTTP client."""
        await self._http.aclose()

    async def _query(self, soql: str, operation: str) -> list[Row]:
        """Return all rows of a query."""
        answer = await self._http.request(
            "GET", f"{self._data}/query", operation=operation, write=False, params={"q": soql}
        )
        return await self._pages(_object(answer), operation)

    async def _children(self, page: object, operation: str) -> list[Row]:
        """Return all rows of a child sub-select; without children it is null (section 7)."""
        return await self._pages(page, operation) if isinstance(page, Mapping) else []

    async def _pages(self, page: Mapping[str, object], operation: str) -> list[Row]:
        """Return the rows of this page and, until one is the last, of those that follow it."""
        rows: list[Row] = []
        for _ in range(wire.PAGES_MAX):
            records = page.get("records")
            if not isinstance(records, list):
                raise ContractBroken("A query answered without records.", raw=str(page))
            rows += records
            following = page.get("nextRecordsUrl")
            if page.get("done") is True or not isinstance(following, str):
                return rows
            answer = await self._http.request("GET", following, operation=operation, write=False)
            page = _object(answer)
        raise ContractBroken(f"A query has more than {wire.PAGES_MAX} pages.")

    def _valid(self, id_: str, operation: str, field: str = "opportunity_id") -> None:
        if not re.fullmatch(ID_PATTERN, id_):
            raise Invalid(
                f"{id_[:40]!r} is no Salesforce id: 15 or 18 letters and digits.",
                vendor=wire.VENDOR,
                operation=operation,
                field=field,
            )

    async def _versions(self) -> Answer:
        return await self._http.request(
            "GET",
            "/services/data/",
            operation="list the API versions",
            write=False,
            authenticated=False,
        )

    async def _check_reach(self) -> str:
        try:
            versions = (await self._versions()).json
        except Rejected as error:
            raise ContractBroken(f"Something else than Salesforce answers: {error}") from error
        rows = versions if isinstance(versions, list) else []
        known = [row.get("version") for row in rows if isinstance(row, Mapping)]
        wanted = self._config.api_version.removeprefix("v")
        if wanted not in known:
            raise ContractBroken(f"The org does not offer API version {wanted}: {known}.")
        return f"API version {wanted} is offered"

    async def _check_clock(self) -> str:
        stamp = (await self._versions()).headers.get("Date")
        if stamp is None:
            return "the org sent no time"
        skew = abs((datetime.now(UTC) - parsedate_to_datetime(stamp)).total_seconds())
        if skew > CLOCK_SKEW_SECONDS_MAX:
            raise Invalid(f"This machine's clock is {skew:.0f} s away from the org's.")
        return f"{skew:.0f} s apart"

    async def _check_sign_in(self) -> str:
        await self._http.request("GET", f"{self._data}/limits", operation="sign in", write=False)
        return f"signed in by {self._config.auth.kind}"

    async def _check_fields(self) -> str:
        wanted = {
            "Opportunity": {
                **self._config.opportunity.model_dump(),
                **{f"finances.{n}": c for n, c in self._config.finances.model_dump().items()},
            },
            "Account": {**self._config.account.model_dump(), **self._hold_field()},
            "OpportunityLineItem": self._config.line.model_dump(),
        }
        missing = []
        for type_, names in wanted.items():
            known = await self._described(type_)
            missing += [f"{type_}.{name}" for name in names.values() if name not in known]
            owned = names.values() if type_ == "Opportunity" else ()
            missing += [
                f"{type_}.{name} (not editable)"
                for name in owned
                if name in known and name in self._owned() and not known[name]
            ]
        if missing:
            raise Invalid(f"Missing: {', '.join(missing)}.", field=missing[0])
        return f"{sum(len(names) for names in wanted.values())} custom fields are there"

    def _owned(self) -> set[str]:
        own = self._config.opportunity
        links = {getattr(own, name) for name in DealLinks.model_fields}
        return links.union(self._config.finances.model_dump().values())

    def _hold_field(self) -> dict[str, str]:
        name = self._config.billing_holds.account_field
        return {"billing_hold": name} if name else {}

    async def _described(self, type_: str) -> dict[str, bool]:
        """Return the fields of an object, and whether the user may update them."""
        answer = await self._http.request(
            "GET",
            f"{self._data}/sobjects/{type_}/describe",
            operation="describe the fields",
            write=False,
        )
        fields = _object(answer).get("fields")
        rows = fields if isinstance(fields, list) else []
        return {
            str(row.get("name")): row.get("updateable") is True
            for row in rows
            if isinstance(row, Mapping)
        }

    async def _check_read(self) -> str:
        """Ask the queries of `read_deal` and of the holds about records that cannot exist."""
        await self._query(deal_query(NO_DEAL, self._config), "read a deal")
        await self._query(milestones_query(NO_DEAL), "read milestones")
        if query := cases_query(NO_CLIENT, self._config.billing_holds):
            await self._query(query, "read cases")
        return "deals, lines, milestones and cases can be read"


def _object(answer: Answer) -> Mapping[str, object]:
    if not isinstance(answer.json, Mapping):
        raise ContractBroken("Salesforce answered without a JSON object.", raw=answer.text)
    return answer.json


def build_salesforce(connection: str, config: SalesforceConfig, governor: Governor) -> Salesforce:
    """Return the adapter of one org; nothing is sent before the first call."""
    http: VendorHttp

    def own_http() -> VendorHttp:
        return http

    http = VendorHttp(
        vendor=wire.VENDOR,
        connection=connection,
        base_url=config.base_url,
        auth=wire.token_source(own_http, config),
        classify=wire.classify,
        governor=governor,
        timeouts=config.timeouts.limits(),
        verify=config.ca_file,
    )
    return Salesforce(connection, config, http)
