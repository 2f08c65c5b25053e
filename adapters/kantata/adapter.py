"""Kantata in the role of the PSA.

Scorecard: every create carries our key as an external reference in the same write, and projects,
clients and tasks in a unique custom field too, so that a second one is refused; milestones have
no such field. A reservation is a draft invoice: Kantata itself refuses an entry on a second one.
An issued invoice is mirrored by one of Kantata's own, at its net, which only looks; whether a
milestone is approved is the connection's rule, since Kantata has no such state.
Finds by that reference, archived records too. Deletes while nothing is logged or invoiced, else
says that it is refused; nothing is archived in place of a delete. Money is integer minor units,
on projects exact text.
"""

from collections.abc import AsyncIterator, Sequence
from datetime import datetime
from typing import Final

from adapters.auth import BearerToken
from adapters.errors import ContractBroken, Duplicate, OutcomeUnknown
from adapters.governor import Governor
from adapters.http import VendorHttp
from adapters.kantata import client as wire
from adapters.kantata import mapping
from adapters.kantata.checks import ConnectionCheck
from adapters.kantata.client import Listing, Row, id_of, listing
from adapters.kantata.config import KantataConfig
from adapters.kantata.confirmations import Confirmations
from adapters.kantata.extracts import Listings
from adapters.kantata.feed import ChangeFeed
from adapters.kantata.finances import ProjectFinances
from adapters.kantata.invoicing import MilestonesAndInvoices
from adapters.kantata.mapping import checked_id, checked_key
from adapters.kantata.milestones import Milestones
from adapters.kantata.payments import Payments
from adapters.kantata.records import API, Records, refused
from adapters.kantata.reservations import Reservations
from adapters.kantata.sources import WorkSource
from adapters.kantata.time import TimeReading
from adapters.ports import Check
from canonical.billing import PsaChange, Reservation, ReserveEntries
from canonical.entries import Entry, EntryRef
from canonical.ids import ExternalId
from canonical.provisioning import (
    ProvisionMilestones,
    ProvisionPsaClient,
    ProvisionPsaProject,
    ProvisionTasks,
)
from canonical.records import Receipt, RecordRef, UndoReceipt, UndoResult, WriteOutcome

LOGGED: Final = ("logged_billable_time_in_minutes", "logged_nonbillable_time_in_minutes")
"""Of a story; present where budgets are on (section 7)."""


class Kantata(MilestonesAndInvoices, Listings, WorkSource):
    """One Kantata account as a `Psa`; what it holds is listed as `Extracts`."""

    def __init__(self, connection: str, config: KantataConfig, http: VendorHttp) -> None:
        """Use an HTTP client that carries the token."""
        self._connection = connection
        self._config = config
        self._http = http
        self._records = Records(connection, config, http)
        self._time = TimeReading(self._records)
        self._milestones = Milestones(self._records, config)
        self._confirmations = Confirmations(self._records, config)
        self._payments = Payments(self._records)
        self._finances = ProjectFinances(self._records, config)
        self._feed = ChangeFeed(self._records)
        self._reservations = Reservations(self._records, config)

    @property
    def connection(self) -> str:
        """Name of the connection."""
        return self._connection

    def checks(self) -> tuple[Check, ...]:
        """Return the steps of the connection check."""
        return ConnectionCheck(self._records, self._config).steps()

    async def aclose(self) -> None:
        """Close the HTTP client."""
        await self._http.aclose()

    # Clients.

    async def find_client(self, external_id: ExternalId) -> RecordRef | None:
        """Return the workspace group with our reference."""
        return await self._first("workspace_groups", external_id, "client")

    async def provision_client(
        self, external_id: ExternalId, request: ProvisionPsaClient
    ) -> RecordRef:
        """Create the workspace group (section 6.4).

        Names are unique, in any case (the documentation of the POST; the vendor page says
        otherwise), so a client of someone else may be in the way.

        Raises:
            Duplicate: it is, with its id where a search finds it.
        """
        body = mapping.client_body(checked_key(external_id), request, self._config)
        try:
            made = await self._records.create("workspace_groups", body, "create the client")
        except Duplicate as error:
            if await self.find_client(external_id) is not None:
                # An earlier write of ours has landed since the caller looked.
                raise OutcomeUnknown("The client is there by now, with our key.") from error
            error.record_id = await self._records.group_named(mapping.client_name(request))
            raise
        return self._records.record("client", made.rows[0])

    async def remove_client(self, external_id: ExternalId, record: RecordRef | None) -> UndoReceipt:
        """Delete the workspace group; one with projects stays, they would lose their client."""
        del record  # whatever carries the key goes
        found = await self._records.find(
            "workspace_groups", [checked_key(external_id)], include="workspaces"
        )
        used = [row for row in found.rows if row.get("workspace_ids")]
        unused = [row for row in found.rows if not row.get("workspace_ids")]
        removed = await self._records.remove("workspace_groups", unused, "client")
        if used:
            kept = self._records.record("client", used[0])
            return UndoReceipt(result=UndoResult.KEPT, record=kept)
        return removed

    # Projects.

    async def find_project(self, external_id: ExternalId) -> RecordRef | None:
        """Return the workspace with our reference, an archived one too (section 6.3)."""
        return await self._first("workspaces", external_id, "project")

    async def provision_project(
        self, external_id: ExternalId, request: ProvisionPsaProject
    ) -> RecordRef:
        """Create the workspace from its template (section 6.2), once its manager is known.

        Raises:
            MissingMapping: the manager is no user, or the rate card is of another currency.
        """
        mapping.project_body(checked_key(external_id), request, "", self._config)  # may refuse
        if request.rate_card:
            await self._records.check_rate_card(request.rate_card, request.price.currency)
        manager = (
            await self._records.user_id(request.manager_email) if request.manager_email else ""
        )
        body = mapping.project_body(external_id, request, manager, self._config)
        made = await self._records.create("workspaces", body, "create the project")
        return self._records.record("project", made.rows[0])

    async def remove_project(
        self, external_id: ExternalId, record: RecordRef | None
    ) -> UndoReceipt:
        """Delete the workspace with all its stories, for good (section 6.3).

        Raises:
            UndoRefused: time, expenses or invoices are on it.
        """
        del record  # whatever carries the key goes
        found = await self._records.find("workspaces", [checked_key(external_id)])
        await self._records.refuse_if_used(found.rows)
        return await self._records.remove("workspaces", found.rows, "project")

    # Tasks.

    async def find_tasks(self, external_id: ExternalId, project: RecordRef) -> Receipt | None:
        """Return the deliverable with our reference, archived or not, and what is below it."""
        filters = {"workspace_id": checked_id(project.id), "show_archived": "true"}
        found = await self._records.find(
            "stories", [checked_key(external_id)], filters, "sub_stories"
        )
        return self._task_list(found.rows[0]) if found.rows else None

    async def provision_tasks(self, external_id: ExternalId, request: ProvisionTasks) -> Receipt:
        """Create the deliverable, its tasks and the milestones' in one call (section 7)."""
        body = mapping.tasks_body(checked_key(external_id), request, self._config)
        made = await self._records.create("stories", body, "create the tasks", "sub_stories")
        return self._task_list(made.rows[0])

    async def remove_tasks(self, external_id: ExternalId, record: RecordRef | None) -> UndoReceipt:
        """Delete the deliverable; what is below it goes with it (section 7).

        Raises:
            UndoRefused: time was logged on it, or on anything below it.
        """
        del record  # whatever carries the key goes
        filters = {"all_on_account": "true", "show_archived": "true"}
        found = await self._records.find(
            "stories", [checked_key(external_id)], filters, "descendants"
        )
        if any(row.get(name) for row in _with_descendants(found) for name in LOGGED):
            why = "Time was logged on one of the tasks."
            raise refused(why, "task_list", id_of(found.rows[0]))
        return await self._records.remove("stories", found.rows, "task_list")

    # Milestones.

    async def find_milestones(self, external_id: ExternalId, project: RecordRef) -> Receipt | None:
        """Return the billing milestones with our references, in their order."""
        found = await self._records.find("billing_milestones", mapping.milestone_refs(external_id))
        # A write that landed late may have doubled one: the oldest counts, a removal takes all.
        oldest = {found.refs[id_of(row)]: row for row in reversed(found.rows)}
        rows = [oldest[ref] for ref in dict.fromkeys(found.refs[id_of(row)] for row in found.rows)]
        return self._milestone_list(project, rows) if rows else None

    async def provision_milestones(
        self, external_id: ExternalId, request: ProvisionMilestones
    ) -> Receipt:
        """Create all billing milestones in one bulk call, all or none (section 10.1)."""
        project = mapping.known(request.project, "project")
        body = mapping.milestones_body(checked_key(external_id), request, self._config)
        made = await self._records.create("billing_milestones", body, "create the milestones")
        return self._milestone_list(project, made.rows)

    async def remove_milestones(
        self, external_id: ExternalId, project: RecordRef | None
    ) -> UndoReceipt:
        """Delete the billing milestones, one by one: there is no bulk delete (section 10.1).

        Raises:
            UndoRefused: one of them is on an invoice; then none is deleted.
        """
        found = await self._records.find("billing_milestones", mapping.milestone_refs(external_id))
        for row in found.rows:
            if row.get("invoice_id"):
                why = "A billing milestone is on an invoice."
                raise refused(why, "milestone", id_of(row))
        removed = await self._records.remove("billing_milestones", found.rows, "milestone")
        return removed.model_copy(update={"record": project})

    # Links and the pivot.

    async def read_erp_link(self, project: RecordRef) -> str:
        """Return what our reference of the ERP service says."""
        found = await self._records.references(project, self._config.erp_service)
        return str(found[0].get("service_model_ref") or "") if found else ""

    async def write_erp_link(self, project: RecordRef, erp_project_ids: str) -> RecordRef:
        """Upsert the reference; one subject has one per service (section 5)."""
        if not erp_project_ids:
            for row in await self._records.references(project, self._config.erp_service):
                await self._records.delete(
                    "external_references", id_of(row), "take the ERP projects off the project"
                )
            return project
        await self._http.request(
            "POST",
            f"{API}/external_references/create_or_update",
            operation="note the ERP projects",
            write=True,
            json=mapping.erp_link_body(checked_id(project.id), erp_project_ids, self._config),
        )
        return project

    async def is_open_for_time(self, project: RecordRef) -> bool:
        """Return the workspace's `time_trackable` (section 6.3).

        Raises:
            NotFound: there is no such project.
        """
        answer = await self._http.request(
            "GET",
            f"{API}/workspaces/{checked_id(project.id)}",
            operation="see whether the project is open for time",
            write=False,
            params={"include_archived": "true", "optional_fields": "time_trackable"},
        )
        rows = listing(answer).rows
        is_open = rows[0].get("time_trackable") if rows else None
        if not isinstance(is_open, bool):
            raise ContractBroken("Kantata does not say whether the project is open for time.")
        return is_open

    async def open_for_time(self, project: RecordRef) -> RecordRef:
        """Set `time_trackable` (section 6.3)."""
        await self._http.request(
            "PUT",
            f"{API}/workspaces/{checked_id(project.id)}",
            operation="open the project for time",
            write=True,
            json={"workspace": {"time_trackable": True}},
        )
        return project

    # Approved time and expenses.

    async def read_entries(self, refs: tuple[EntryRef, ...]) -> tuple[Entry, ...]:
        """Return the entries that exist, 200 a call (sections 8, 9)."""
        return await self._time.read(refs)

    def list_entries(
        self, project_id: str, updated_since: datetime | None = None
    ) -> AsyncIterator[tuple[Entry, ...]]:
        """Yield pages of a project's entries of every kind, archived projects too."""
        return self._time.of_project(project_id, updated_since)

    async def entries_of_submission(self, subject_type: str, subject_id: str) -> tuple[Entry, ...]:
        """Return the entries of a timesheet or expense report (sections 8.2, 9)."""
        return await self._time.of_submission(subject_type, subject_id)

    def read_changes(self, since: datetime, until: datetime) -> AsyncIterator[PsaChange]:
        """Yield the rows of the change feed in a window (section 14)."""
        return self._feed.read(since, until, self._milestones)

    async def find_reservation(self, external_id: ExternalId) -> Reservation | None:
        """Return the draft invoice with our reference (section 10.2)."""
        return await self._reservations.find(external_id)

    async def reserve_entries(
        self, external_id: ExternalId, request: ReserveEntries
    ) -> Reservation:
        """Put the entries on a draft invoice that nobody is told of (section 10.2)."""
        return await self._reservations.reserve(external_id, request)

    async def remove_reservation(
        self, external_id: ExternalId, record: RecordRef | None
    ) -> UndoReceipt:
        """Delete the draft invoice, or cancel the one that a person has issued."""
        del record  # whatever carries the key goes
        return await self._reservations.remove(external_id)

    async def _first(self, collection: str, key: ExternalId, type_: str) -> RecordRef | None:
        found = await self._records.find(collection, [checked_key(key)])
        return self._records.record(type_, found.rows[0]) if found.rows else None

    def _task_list(self, row: Row) -> Receipt:
        below = row.get("sub_story_ids")
        ids = [str(id_) for id_ in below] if isinstance(below, list) else []
        # Ids are numbers that grow (unverified), so this is the order of the request, however
        # people have sorted the tasks since.
        ids.sort(key=lambda id_: (len(id_), id_))
        return Receipt(
            record=self._records.record("task_list", row),
            outcome=WriteOutcome.CREATED,
            parts=tuple(RecordRef(system=self._connection, type="task", id=id_) for id_ in ids),
        )

    def _milestone_list(self, project: RecordRef, rows: Sequence[Row]) -> Receipt:
        return Receipt(
            record=RecordRef(system=self._connection, type="milestone_list", id=project.id),
            outcome=WriteOutcome.CREATED,
            parts=tuple(self._records.record("milestone", row) for row in rows),
        )


def _with_descendants(found: Listing) -> list[Row]:
    stories = found.included("stories")
    ids = [id_of(row) for row in found.rows]
    for row in found.rows:
        below = row.get("descendant_ids")
        ids += map(str, below if isinstance(below, list) else [])
    return [stories[id_] for id_ in ids if id_ in stories]


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
