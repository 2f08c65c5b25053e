"""NetSuite in the role of the ERP.

Scorecard: creates by `PUT eid:`, which is an upsert by our own key (vendor page section 6), so a
repeated or late create makes no second record; deletes while nothing hangs on a record, else
deactivates it; never changes what it did not create, save to add a subsidiary or a currency.
"""

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Final

from adapters.errors import ContractBroken, Invalid, NotFound, UndoRefused
from adapters.governor import Governor
from adapters.http import Answer, VendorHttp
from adapters.netsuite import client as wire
from adapters.netsuite import mapping
from adapters.netsuite.client import HasDependents
from adapters.netsuite.config import NetSuiteConfig
from adapters.ports import Check
from canonical.ids import ExternalId
from canonical.provisioning import (
    ErpClient,
    MatchClient,
    ProvisionClient,
    ProvisionErpProject,
)
from canonical.records import Receipt, RecordRef, UndoReceipt, UndoResult, WriteOutcome

RECORD: Final = "/services/rest/record/v1"
SUITEQL: Final = "/services/rest/query/v1/suiteql"
CLOCK_SKEW_SECONDS_MAX: Final = 120.0
RELATIONSHIP: Final = "customerSubsidiaryRelationship"


class NetSuite:
    """One NetSuite account as an `Erp`."""

    def __init__(self, connection: str, config: NetSuiteConfig, http: VendorHttp) -> None:
        """Use an HTTP client that signs by itself."""
        self._connection = connection
        self._config = config
        self._http = http

    @property
    def connection(self) -> str:
        """Name of the connection."""
        return self._connection

    # Clients.

    async def search_clients(
        self, request: MatchClient, external_id: ExternalId
    ) -> tuple[ErpClient, ...]:
        """Find candidates by SuiteQL, then read each whole (section 5.1)."""
        query = mapping.search_query(request, external_id)
        rows = await self._suiteql(query, "search clients")
        ids = [str(row["id"]) for row in rows][: mapping.CANDIDATES_MAX]
        return await self._clients(ids)

    async def get_client(self, record_id: str) -> ErpClient | None:
        """Return one customer, or None."""
        try:
            found = await self._clients([_record_id(record_id)])
        except NotFound:
            return None
        return found[0] if found else None

    async def _clients(self, ids: list[str]) -> tuple[ErpClient, ...]:
        if not ids:
            return ()
        related: dict[str, list[str]] = {}
        query = mapping.relationships_query(ids)
        for row in await self._suiteql(query, "read the clients' subsidiaries"):
            related.setdefault(str(row.get("entity")), []).append(str(row.get("subsidiary")))
        bodies = [await self._read("customer", id_, "read a client") for id_ in ids]
        return tuple(
            mapping.client_from(body, related.get(id_, ()), self._config, self._connection)
            for id_, body in zip(ids, bodies, strict=True)
        )

    async def find_client(self, external_id: ExternalId) -> RecordRef | None:
        """Return the customer with our external id."""
        return await self._find("customer", external_id, "client")

    async def provision_client(
        self, external_id: ExternalId, request: ProvisionClient
    ) -> RecordRef:
        """Create the customer by `PUT eid:` (section 5.1)."""
        body = mapping.client_body(request, self._config)
        return await self._put("customer", external_id, body, "client", "create the client")

    async def remove_client(self, external_id: ExternalId, record: RecordRef | None) -> UndoReceipt:
        """Delete the customer, else make it inactive (section 5.1)."""
        return await self._remove("customer", external_id, record, {"isInactive": True})

    async def find_client_entity(
        self, external_id: ExternalId, client: RecordRef, subsidiary: str
    ) -> Receipt | None:
        """Return the relationship with our external id, else the one that was there before."""
        ours = await self._find(RELATIONSHIP, external_id, "client_entity")
        if ours is not None:
            return Receipt(record=ours, outcome=WriteOutcome.CREATED)
        known = await self._clients([_record_id(client.id)])
        if not any(subsidiary in each.subsidiaries for each in known):
            return None
        there = RecordRef(system=self._connection, type="client_entity", id=subsidiary)
        return Receipt(record=there, outcome=WriteOutcome.EXISTING)

    async def add_client_entity(
        self, external_id: ExternalId, client: RecordRef, subsidiary: str
    ) -> RecordRef:
        """Create the relationship between customer and subsidiary (section 5.1)."""
        body: dict[str, object] = {
            "entity": {"id": client.id},
            "subsidiary": {"id": subsidiary},
            "isPrimarySub": False,
        }
        act = "open the client to a subsidiary"
        return await self._put(RELATIONSHIP, external_id, body, "client_entity", act)

    async def remove_client_entity(
        self, external_id: ExternalId, record: RecordRef | None
    ) -> UndoReceipt:
        """Delete the relationship; refused while transactions or projects need it."""
        return await self._remove(RELATIONSHIP, external_id, record, None)

    async def has_client_currency(self, client: RecordRef, currency: str) -> bool:
        """Return whether the currency is the customer's own or on its list."""
        body = await self._read("customer", client.id, "read the client's currencies")
        return self._currency(currency) in _currencies(body)

    async def add_client_currency(self, client: RecordRef, currency: str) -> RecordRef:
        """Append the currency: a sublist line without a key is added (section 4)."""
        line = {"currency": {"id": self._currency(currency)}}
        await self._http.request(
            "PATCH",
            f"{RECORD}/customer/{_record_id(client.id)}",
            operation="add a currency to the client",
            write=True,
            json={"currencyList": {"items": [line]}},
        )
        return RecordRef(system=self._connection, type="client_currency", id=currency)

    async def remove_client_currency(self, client: RecordRef, currency: str) -> UndoReceipt:
        """Replace the list by itself without the currency (`?replace=`, section 4)."""
        body = await self._read("customer", client.id, "read the client's currencies")
        unwanted = self._currency(currency)
        if unwanted not in mapping.currency_ids(body):
            return UndoReceipt(result=UndoResult.ABSENT)
        kept = [id_ for id_ in mapping.currency_ids(body) if id_ != unwanted]
        try:
            await self._http.request(
                "PATCH",
                f"{RECORD}/customer/{_record_id(client.id)}",
                operation="take a currency off the client",
                write=True,
                params={"replace": "currencyList"},
                json={"currencyList": {"items": [{"currency": {"id": id_}} for id_ in kept]}},
            )
        except (HasDependents, Invalid) as error:
            raise self._refused(error, "client_currency", currency) from error
        return UndoReceipt(result=UndoResult.REMOVED)

    # Projects.

    async def find_project(self, external_id: ExternalId) -> RecordRef | None:
        """Return the project with our external id."""
        return await self._find("job", external_id, "project")

    async def provision_project(
        self, external_id: ExternalId, request: ProvisionErpProject
    ) -> RecordRef:
        """Create the project by `PUT eid:` (section 5.2)."""
        body = mapping.project_body(request, self._config)
        return await self._put("job", external_id, body, "project", "create the project")

    async def remove_project(
        self, external_id: ExternalId, record: RecordRef | None
    ) -> UndoReceipt:
        """Delete the project, else close and deactivate it (section 5.2)."""
        closed = {"isInactive": True, "entityStatus": {"id": self._config.statuses.project_closed}}
        return await self._remove("job", external_id, record, closed)

    async def read_psa_link(self, project: RecordRef) -> str:
        """Return the custom field that holds the PSA project's id."""
        answer = await self._http.request(
            "GET",
            f"{RECORD}/job/{_record_id(project.id)}",
            operation="read the PSA project's id",
            write=False,
            params={"fields": self._config.psa_project_field},
        )
        value = _object(answer).get(self._config.psa_project_field)
        return value if isinstance(value, str) else ""

    async def write_psa_link(self, project: RecordRef, psa_project_id: str) -> RecordRef:
        """Set the custom field; null clears it."""
        await self._http.request(
            "PATCH",
            f"{RECORD}/job/{_record_id(project.id)}",
            operation="note the PSA project's id",
            write=True,
            json={self._config.psa_project_field: psa_project_id or None},
        )
        return project

    # The connection check.

    def checks(self) -> tuple[Check, ...]:
        """Return the steps of the connection check."""
        return (
            Check("reach", self._check_reach, "Check base_url: the account's SuiteTalk host."),
            Check(
                "sign in",
                self._check_sign_in,
                "Check the integration record, its token or certificate, the account id and the "
                "clock; the Login Audit Trail in NetSuite names the cause.",
            ),
            Check(
                "permission",
                self._check_permission,
                "Give the role REST Web Services, SuiteAnalytics Workbook, and View on customers.",
            ),
            Check(
                "fields",
                self._check_field,
                f"Create the entity field {self._config.psa_project_field} and apply it to "
                "projects.",
            ),
            Check("mappings", self._check_mappings, "Correct settings.currencies or .terms."),
        )

    async def aclose(self) -> None:
        """Close the HTTP client."""
        await self._http.aclose()

    async def _check_reach(self) -> str:
        try:
            answer = await self._http.request(
                "GET",
                f"{RECORD}/metadata-catalog",
                operation="reach NetSuite",
                write=False,
                authenticated=False,
                expect=range(200, 500),
            )
        except Invalid as error:
            raise ContractBroken(str(error)) from error
        stamp = answer.headers.get("Date")
        if stamp is None:
            return "reached"
        skew = abs((datetime.now(UTC) - parsedate_to_datetime(stamp)).total_seconds())
        if skew > CLOCK_SKEW_SECONDS_MAX:
            raise Invalid(f"This machine's clock is {skew:.0f} s away; signatures carry the time.")
        return f"reached; clocks {skew:.0f} s apart"

    async def _check_sign_in(self) -> str:
        await self._suiteql("SELECT id FROM currency ORDER BY id", "sign in")
        return f"signed in by {self._config.auth.kind}"

    async def _check_permission(self) -> str:
        rows = await self._suiteql("SELECT id FROM subsidiary ORDER BY id", "list subsidiaries")
        return f"{len(rows)} subsidiaries visible"

    async def _check_field(self) -> str:
        answer = await self._http.request(
            "GET",
            f"{RECORD}/metadata-catalog/job",
            operation="describe the project",
            write=False,
            headers={"Accept": "application/schema+json"},
        )
        if self._config.psa_project_field not in answer.text:
            raise Invalid(
                f"Projects have no field {self._config.psa_project_field}.",
                field=self._config.psa_project_field,
            )
        return f"{self._config.psa_project_field} is there"

    async def _check_mappings(self) -> str:
        known = {}
        for table in ("currency", "term"):
            rows = await self._suiteql(f"SELECT id FROM {table} ORDER BY id", f"list {table}")  # noqa: S608
            known[table] = {str(row.get("id")) for row in rows}
        wrong = [n for n, id_ in self._config.currencies.items() if id_ not in known["currency"]]
        wrong += [name for name, id_ in self._config.terms.items() if id_ not in known["term"]]
        if wrong:
            raise Invalid(f"These have ids that do not exist: {', '.join(wrong)}.", field=wrong[0])
        return "currencies and terms exist"

    # The wire.

    async def _suiteql(self, query: str, operation: str) -> list[Mapping[str, object]]:
        """Return up to 50 rows (`Prefer: transient` is mandatory, section 4.3)."""
        answer = await self._http.request(
            "POST",
            SUITEQL,
            operation=operation,
            write=False,
            params={"limit": 50, "offset": 0},
            headers={"Prefer": "transient"},
            json={"q": query},
        )
        items = _object(answer).get("items")
        if not isinstance(items, list):
            raise ContractBroken("SuiteQL answered without items.", raw=answer.text)
        return [row for row in items if isinstance(row, Mapping)]

    async def _read(self, type_: str, id_: str, operation: str) -> Mapping[str, object]:
        answer = await self._http.request(
            "GET",
            f"{RECORD}/{type_}/{_record_id(id_)}",
            operation=operation,
            write=False,
            params={"expandSubResources": "true"},
        )
        return _object(answer)

    async def _find(self, type_: str, external_id: ExternalId, kind: str) -> RecordRef | None:
        try:
            answer = await self._http.request(
                "GET",
                f"{RECORD}/{type_}/eid:{external_id}",
                operation=f"look for the {kind}",
                write=False,
                params={"fields": "id"},
            )
        except NotFound:
            return None
        return self._record(kind, _object(answer).get("id"))

    async def _put(
        self,
        type_: str,
        external_id: ExternalId,
        body: dict[str, object],
        kind: str,
        operation: str,
    ) -> RecordRef:
        """Upsert by external id; the id stands in Location alone (section 4)."""
        # A repeated upsert would append the address again (section 4, sublist update).
        replace = {"replace": "addressBook"} if "addressBook" in body else None
        answer = await self._http.request(
            "PUT",
            f"{RECORD}/{type_}/eid:{external_id}",
            operation=operation,
            write=True,
            params=replace,
            json=body,
        )
        return self._record(kind, answer.headers.get("Location", "").rpartition("/")[2])

    async def _remove(
        self,
        type_: str,
        external_id: ExternalId,
        record: RecordRef | None,
        inactive: dict[str, object] | None,
    ) -> UndoReceipt:
        path = f"{RECORD}/{type_}/eid:{external_id}"
        try:
            await self._http.request("DELETE", path, operation=f"remove the {type_}", write=True)
        except NotFound:
            return UndoReceipt(result=UndoResult.ABSENT)
        except HasDependents as error:
            if inactive is None:
                raise self._refused(error, type_, record.id if record else external_id) from error
            await self._http.request(
                "PATCH", path, operation=f"deactivate the {type_}", write=True, json=inactive
            )
            return UndoReceipt(
                result=UndoResult.DEACTIVATED,
                record=record,
                residue=f"the {type_} is in use: deactivated instead of deleted",
            )
        return UndoReceipt(result=UndoResult.REMOVED, record=record)

    def _record(self, kind: str, id_: object) -> RecordRef:
        if not isinstance(id_, str) or not re.fullmatch(r"[0-9]{1,18}", id_):
            raise ContractBroken(f"NetSuite gave no id for the {kind}: {str(id_)[:40]!r}.")
        return RecordRef(system=self._connection, type=kind, id=id_)

    def _currency(self, currency: str) -> str:
        return mapping.currency_id(currency, self._config)

    def _refused(self, error: Exception, record_type: str, record_id: str) -> UndoRefused:
        return UndoRefused(
            str(error),
            vendor=wire.VENDOR,
            operation="undo",
            record_type=record_type,
            record_id=record_id,
        )


def _currencies(body: Mapping[str, object]) -> set[str]:
    own = body.get("currency")
    primary = own.get("id") if isinstance(own, Mapping) else None
    return {*mapping.currency_ids(body), *([primary] if isinstance(primary, str) else [])}


def _record_id(id_: str) -> str:
    if not re.fullmatch(r"[0-9]{1,18}", id_):
        raise Invalid(
            f"{id_[:40]!r} is no NetSuite id: digits only.",
            vendor=wire.VENDOR,
            operation="check the id",
            field="record",
        )
    return id_


def _object(answer: Answer) -> Mapping[str, object]:
    if not isinstance(answer.json, Mapping):
        raise ContractBroken("NetSuite answered without a JSON object.", raw=answer.text)
    return answer.json


def build_netsuite(connection: str, config: NetSuiteConfig, governor: Governor) -> NetSuite:
    """Return the adapter of one account; nothing is sent before the first call."""
    http: VendorHttp

    def own_http() -> VendorHttp:
        return http

    http = VendorHttp(
        vendor=wire.VENDOR,
        connection=connection,
        base_url=config.base_url,
        auth=wire.authenticator(own_http, config),
        classify=wire.classify,
        governor=governor,
        timeouts=config.timeouts.limits(),
        verify=config.ca_file,
    )
    return NetSuite(connection, config, http)
