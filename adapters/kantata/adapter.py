"""Kantata in the role of the PSA.

Scorecard: every create carries our key as an external reference and, where the account has it, in a
unique custom field, so a second one is refused; finds by that reference, archived records too;
deletes while nothing is logged or invoiced, else says that it is refused.
"""

import re
from collections.abc import Mapping
from typing import Final

from adapters.auth import BearerToken
from adapters.errors import (
    ContractBroken,
    Forbidden,
    Invalid,
    MissingMapping,
    NotFound,
    Rejected,
    UndoRefused,
)
from adapters.governor import Governor
from adapters.http import VendorHttp
from adapters.kantata import client as wire
from adapters.kantata import mapping
from adapters.kantata.client import Row, included, rows
from adapters.kantata.config import KantataConfig
from adapters.ports import Check
from canonical.ids import ExternalId
from canonical.provisioning import (
    ProvisionMilestones,
    ProvisionPsaClient,
    ProvisionPsaProject,
    ProvisionTasks,
)
from canonical.records import Receipt, RecordRef, UndoReceipt, UndoResult, WriteOutcome

API: Final = "/api/v1"
PAGE: Final = 200


class Kantata:
    """One Kantata account as a `Psa`."""

    def __init__(self, connection: str, config: KantataConfig, http: VendorHttp) -> None:
        """Use an HTTP client that carries the token."""
        self._connection = connection
        self._config = config
        self._http = http

    @property
    def connection(self) -> str:
        """Name of the connection."""
        return self._connection

    # Clients.

    async def find_client(self, external_id: ExternalId) -> RecordRef | None:
        """Return the workspace group with our reference."""
        return await self._first("workspace_groups", [external_id], "client")

    async def provision_client(
        self, external_id: ExternalId, request: ProvisionPsaClient
    ) -> RecordRef:
        """Create the workspace group (section 6.4)."""
        body = mapping.client_body(external_id, request, self._config)
        created = await self._create("workspace_groups", body, "create the client")
        return self._record("client", created[0])

    async def remove_client(self, external_id: ExternalId, record: RecordRef | None) -> UndoReceipt:
        """Delete the workspace group; workspaces of others would stay, ungrouped (section 6.4)."""
        return await self._remove("workspace_groups", [external_id], record, "client")

    # Projects.

    async def find_project(self, external_id: ExternalId) -> RecordRef | None:
        """Return the workspace with our reference, an archived one too (section 6.3)."""
        return await self._first("workspaces", [external_id], "project")

    async def provision_project(
        self, external_id: ExternalId, request: ProvisionPsaProject
    ) -> RecordRef:
        """Create the workspace from its template (section 6.2), after looking up its manager."""
        manager = await self._user(request.manager_email) if request.manager_email else ""
        body = mapping.project_body(external_id, request, manager, self._config)
        created = await self._create("workspaces", body, "create the project")
        return self._record("project", created[0])

    async def remove_project(
        self, external_id: ExternalId, record: RecordRef | None
    ) -> UndoReceipt:
        """Delete the workspace; refused once time, expenses or invoices are on it (section 6.3)."""
        return await self._remove("workspaces", [external_id], record, "project")

    async def find_tasks(self, external_id: ExternalId, project: RecordRef) -> Receipt | None:
        """Return the deliverable with our reference, and its tasks."""
        found = await self._list(
            "stories", [external_id], {"workspace_id": project.id, "include": "sub_stories"}
        )
        return self._task_list(found[0]) if found else None

    async def provision_tasks(self, external_id: ExternalId, request: ProvisionTasks) -> Receipt:
        """Create the deliverable and its tasks in one call (section 7)."""
        body = mapping.tasks_body(external_id, request, self._config)
        created = await self._create("stories", body, "create the tasks")
        return self._task_list(created[0])

    async def remove_tasks(self, external_id: ExternalId, record: RecordRef | None) -> UndoReceipt:
        """Delete the deliverable; its tasks go with it (section 7)."""
        return await self._remove("stories", [external_id], record, "task_list")

    async def find_milestones(self, external_id: ExternalId, project: RecordRef) -> Receipt | None:
        """Return the billing milestones with our references, in their order."""
        found = await self._milestones(external_id, project)
        return self._milestone_list(project, found) if found else None

    async def provision_milestones(
        self, external_id: ExternalId, request: ProvisionMilestones
    ) -> Receipt:
        """Create all billing milestones in one bulk call, all or none (section 10.1)."""
        if len(request.milestones) > mapping.MILESTONES_MAX:
            raise Invalid(
                f"At most {mapping.MILESTONES_MAX} milestones go into one project.",
                field="milestones",
            )
        body = mapping.milestones_body(external_id, request, self._config)
        created = await self._create("billing_milestones", body, "create the milestones")
        if request.project is None:
            raise ContractBroken("Milestones were created without a project.")
        return self._milestone_list(request.project, created)

    async def remove_milestones(
        self, external_id: ExternalId, project: RecordRef | None
    ) -> UndoReceipt:
        """Delete each billing milestone; refused while one is on an invoice (section 10.1)."""
        if project is None:
            return UndoReceipt(result=UndoResult.ABSENT)
        found = await self._milestones(external_id, project)
        for row in found:
            await self._delete("billing_milestones", _id(row), "milestone")
        result = UndoResult.REMOVED if found else UndoResult.ABSENT
        return UndoReceipt(result=result, record=project)

    # Links and the pivot.

    async def read_erp_link(self, project: RecordRef) -> str:
        """Return what our reference of the ERP service says."""
        found = await self._references(project, self._config.erp_service)
        return str(found[0].get("service_model_ref", "")) if found else ""

    async def write_erp_link(self, project: RecordRef, erp_project_ids: str) -> RecordRef:
        """Upsert the reference; one subject has one per service (section 5)."""
        if not erp_project_ids:
            for row in await self._references(project, self._config.erp_service):
                await self._delete("external_references", _id(row), "reference")
            return project
        await self._http.request(
            "POST",
            f"{API}/external_references/create_or_update",
            operation="note the ERP projects",
            write=True,
            json={
                "external_reference": {
                    "subject_type": "Workspace",
                    "subject_id": project.id,
                    **mapping.reference(self._config.erp_service, "project", erp_project_ids),
                }
            },
        )
        return project

    async def is_open_for_time(self, project: RecordRef) -> bool:
        """Return the workspace's `time_trackable` (section 6.3)."""
        answer = await self._http.request(
            "GET",
            f"{API}/workspaces/{_valid(project.id)}",
            operation="see whether the project is open for time",
            write=False,
            params={"include_archived": "true", "optional_fields": "time_trackable"},
        )
        return rows(answer)[0].get("time_trackable") is True

    async def open_for_time(self, project: RecordRef) -> RecordRef:
        """Set `time_trackable` (section 6.3)."""
        await self._http.request(
            "PUT",
            f"{API}/workspaces/{_valid(project.id)}",
            operation="open the project for time",
            write=True,
            json={"workspace": {"time_trackable": True}},
        )
        return project

    # The connection check.

    def checks(self) -> tuple[Check, ...]:
        """Return the steps of the connection check."""
        return (
            Check("reach and sign in", self._check_me, "Check base_url and the token's secret."),
            Check(
                "permission",
                self._check_permission,
                "The token's user must be an account administrator with financial permission.",
            ),
            Check(
                "custom fields",
                self._check_fields,
                "Create the text fields 'Integration key' with the unique constraint, and put "
                "their ids under settings.integration_key_fields.",
            ),
        )

    async def aclose(self) -> None:
        """Close the HTTP client."""
        await self._http.aclose()

    async def _check_me(self) -> str:
        answer = await self._http.request(
            "GET", f"{API}/users/me", operation="sign in", write=False
        )
        return f"signed in as user {_id(rows(answer)[0])}"

    async def _check_permission(self) -> str:
        answer = await self._http.request(
            "GET",
            f"{API}/workspaces",
            operation="list projects",
            write=False,
            params={"per_page": 1},
        )
        return f"{len(rows(answer))} project read"

    async def _check_fields(self) -> str:
        answer = await self._http.request(
            "GET",
            f"{API}/custom_fields",
            operation="list custom fields",
            write=False,
            params={"per_page": PAGE},
        )
        unique = {_id(row) for row in rows(answer) if row.get("unique_constraint") is True}
        wanted = self._config.integration_key_fields.model_dump()
        missing = [f"{name} {id_}" for name, id_ in wanted.items() if id_ not in unique]
        if missing:
            raise Invalid(
                f"Not there, or without the unique constraint: {', '.join(missing)}.",
                field="integration_key_fields",
            )
        return f"{len(wanted)} unique key fields are there"

    # The wire.

    async def _create(
        self, collection: str, body: Mapping[str, object], operation: str
    ) -> list[Row]:
        answer = await self._http.request(
            "POST", f"{API}/{collection}", operation=operation, write=True, json=body
        )
        created = rows(answer)
        if not created:
            raise ContractBroken(f"Kantata created nothing in {collection}.", raw=answer.text)
        return created

    async def _list(
        self, collection: str, refs: list[str], filters: Mapping[str, str] | None = None
    ) -> list[Row]:
        """Return the rows that carry one of our references, the oldest first.

        Unknown filters are ignored by the server (section 3), so the references are compared
        here as well.
        """
        filters = dict(filters or {})
        include = ",".join(filter(None, ("external_references", filters.pop("include", ""))))
        answer = await self._http.request(
            "GET",
            f"{API}/{collection}",
            operation=f"look for {collection}",
            write=False,
            params={
                "external_reference_service_name": self._config.key_service,
                "external_reference_service_model_refs": ",".join(refs),
                "include": include,
                "include_archived": "true",
                "per_page": PAGE,
                "order": "created_at:asc",
                **filters,
            },
        )
        known = included(answer, "external_references")
        ours = {
            str(row.get("subject_id"))
            for row in known.values()
            if row.get("service_name") == self._config.key_service
            and row.get("service_model_ref") in refs
        }
        return [row for row in rows(answer) if _id(row) in ours]

    async def _first(self, collection: str, refs: list[str], kind: str) -> RecordRef | None:
        found = await self._list(collection, refs)
        return self._record(kind, found[0]) if found else None

    async def _milestones(self, external_id: ExternalId, project: RecordRef) -> list[Row]:
        refs = [f"{external_id}:{number}" for number in range(1, mapping.MILESTONES_MAX + 1)]
        return await self._list("billing_milestones", refs, {"workspace_id": project.id})

    async def _references(self, project: RecordRef, service: str) -> list[Row]:
        answer = await self._http.request(
            "GET",
            f"{API}/external_references",
            operation="read the references",
            write=False,
            params={"subject_type": "Workspace", "subject_id": project.id, "per_page": PAGE},
        )
        return [
            row
            for row in rows(answer)
            if row.get("service_name") == service and str(row.get("subject_id")) == project.id
        ]

    async def _user(self, email: str) -> str:
        """Return the id of the user with this e-mail address."""
        answer = await self._http.request(
            "GET",
            f"{API}/users",
            operation="look for the project manager",
            write=False,
            params={"on_my_account": "true", "by_email_address": email},
        )
        for row in rows(answer):
            if str(row.get("email_address", "")).casefold() == email.casefold():
                return _id(row)
        raise MissingMapping(
            "The project manager of the deal is no user of Kantata: correct the e-mail address, "
            "or invite the person.",
            field="project_manager_email",
        )

    async def _remove(
        self, collection: str, refs: list[str], record: RecordRef | None, kind: str
    ) -> UndoReceipt:
        found = await self._list(collection, refs)
        for row in found:
            await self._delete(collection, _id(row), kind)
        result = UndoResult.REMOVED if found else UndoResult.ABSENT
        return UndoReceipt(result=result, record=record)

    async def _delete(self, collection: str, id_: str, kind: str) -> None:
        try:
            await self._http.request(
                "DELETE",
                f"{API}/{collection}/{_valid(id_)}",
                operation=f"remove the {kind}",
                write=True,
            )
        except NotFound:
            return
        except (Invalid, Forbidden, Rejected) as error:
            raise UndoRefused(
                str(error),
                vendor=wire.VENDOR,
                operation="undo",
                record_type=kind,
                record_id=id_,
            ) from error

    def _record(self, kind: str, row: Row) -> RecordRef:
        return RecordRef(system=self._connection, type=kind, id=_id(row))

    def _task_list(self, row: Row) -> Receipt:
        subs = row.get("sub_story_ids")
        parts = tuple(
            RecordRef(system=self._connection, type="task", id=str(id_))
            for id_ in (subs if isinstance(subs, list) else [])
        )
        record = self._record("task_list", row)
        return Receipt(record=record, outcome=WriteOutcome.CREATED, parts=parts)

    def _milestone_list(self, project: RecordRef, found: list[Row]) -> Receipt:
        return Receipt(
            record=RecordRef(system=self._connection, type="milestone_list", id=project.id),
            outcome=WriteOutcome.CREATED,
            parts=tuple(self._record("milestone", row) for row in found),
        )


def _id(row: Row) -> str:
    value = row.get("id")
    if not isinstance(value, str | int) or isinstance(value, bool):
        raise ContractBroken("Kantata sent an object without an id.")
    return str(value)


def _valid(id_: str) -> str:
    if not re.fullmatch(r"[0-9]{1,18}", id_):
        raise Invalid(f"{id_[:40]!r} is no Kantata id: digits only.", field="record")
    return id_


def build_kantata(connection: str, config: KantataConfig, governor: Governor) -> Kantata:
    """Return the adapter of one account; nothing is sent before the first call."""
    http = VendorHttp(
        vendor=wire.VENDOR,
        connection=connection,
        base_url=config.base_url,
        auth=BearerToken(config.auth.token),
        classify=wire.classify,
        governor=governor,
        timeouts=config.timeouts.limits(),
        verify=config.ca_file,
    )
    return Kantata(connection, config, http)
