"""What people do to sagas: start, look, decide, cancel. The CLI and later the API call it."""

import uuid
from dataclasses import dataclass
from urllib.parse import quote

from temporalio.client import Client, WorkflowHandle, WorkflowUpdateFailedError
from temporalio.common import (
    SearchAttributePair,
    TypedSearchAttributes,
    WorkflowIDConflictPolicy,
    WorkflowIDReusePolicy,
)
from temporalio.exceptions import ApplicationError
from temporalio.service import RPCError, RPCStatusCode

from canonical.ids import VENDOR_ID_PATTERN, opportunity_to_project_id
from canonical.opportunity import OpportunityToProjectInput
from canonical.saga import (
    Decision,
    Effect,
    Preview,
    Resolve,
    Resolved,
    SagaResult,
    SagaView,
    Verb,
    WorkItem,
    WorkItemKind,
)
from policies.corrections import check_corrections, needs_second_person
from store import Store
from workflows.board import BUSINESS_KEY, CORRELATION_ID, SAGA_STATE
from workflows.opportunity_to_project import OpportunityToProject
from workflows.options import LIVE_PRIORITY

SAGA_QUEUE = "sagas"
FINANCE, OPERATOR, ADMIN = "finance", "operator", "admin"


class Refused(Exception):
    """What a person asked for makes no sense now; the message says why and what would."""


@dataclass(frozen=True)
class Proposal:
    """What became of a decision: taken at once, or waiting for a second person."""

    decision: Decision
    taken: Resolved | None
    effects: tuple[Effect, ...] = ()


@dataclass(frozen=True)
class SagaDesk:
    """Everything that can be done to sagas, over one Temporal client and one store."""

    client: Client
    store: Store
    people: dict[str, frozenset[str]]
    """Roles by name, from `dealthread.toml`."""
    ui_base_url: str = ""
    crm: str = "salesforce"

    # Starting.

    async def start_opportunity(
        self, opportunity_id: str, *, crm: str = ""
    ) -> WorkflowHandle[OpportunityToProject, SagaResult]:
        """Start the saga of one deal, or return the one that runs.

        Raises:
            Refused: the id cannot be an opportunity's.
        """
        if not VENDOR_ID_PATTERN.fullmatch(opportunity_id):
            raise Refused(
                f"{opportunity_id[:80]!r} cannot be an opportunity id: "
                "use 1 to 64 letters, digits, '-', '_' or '.'."
            )
        crm = crm or self.crm
        workflow_id = opportunity_to_project_id(crm, opportunity_id)
        deal = OpportunityToProjectInput(
            crm=crm, opportunity_id=opportunity_id, correlation_id=workflow_id
        )
        return await self.client.start_workflow(
            OpportunityToProject.run,
            deal,
            id=workflow_id,
            task_queue=SAGA_QUEUE,
            id_reuse_policy=WorkflowIDReusePolicy.ALLOW_DUPLICATE,
            id_conflict_policy=WorkflowIDConflictPolicy.USE_EXISTING,
            static_summary=f"Opportunity {opportunity_id} to project",
            search_attributes=TypedSearchAttributes(
                [
                    SearchAttributePair(SAGA_STATE, "running"),
                    SearchAttributePair(BUSINESS_KEY, opportunity_id),
                    SearchAttributePair(CORRELATION_ID, workflow_id),
                ]
            ),
            priority=LIVE_PRIORITY,
        )

    # Looking.

    def workflow_id(self, id_: str) -> str:
        """Return the workflow id for what a person typed: an opportunity id or the whole id."""
        return id_ if "/" in id_ else opportunity_to_project_id(self.crm, id_)

    async def view(self, id_: str) -> SagaView:
        """Return where a saga stands.

        Raises:
            Refused: there is no such saga.
        """
        handle = self.client.get_workflow_handle(self.workflow_id(id_))
        try:
            return await handle.query(OpportunityToProject.view)
        except RPCError as error:
            if error.status is RPCStatusCode.NOT_FOUND:
                raise Refused(f"There is no saga {self.workflow_id(id_)}.") from error
            raise

    async def stuck(self) -> list[WorkItem]:
        """Return every open work item, the most urgent first."""
        return [stored.item for stored in await self.store.work_items.list()]

    def deep_link(self, workflow_id: str) -> str:
        """Return the saga's page in the Temporal Web UI."""
        namespace = self.client.namespace
        return f"{self.ui_base_url}/namespaces/{namespace}/workflows/{quote(workflow_id, safe='')}"

    async def work_item(self, id_: str, park: int | None = None) -> WorkItem:
        """Return the one open work item that a person means.

        `id_` is a work item's id, a saga's workflow id or an opportunity id.

        Raises:
            Refused: there is none, or more than one.
        """
        items = await self.stuck()
        found = [item for item in items if item.id == id_]
        if not found:
            workflow_id = self.workflow_id(id_)
            found = [item for item in items if item.workflow_id == workflow_id]
        if park is not None:
            found = [item for item in found if item.park == park]
        if not found:
            raise Refused(f"Nothing is open for {id_}{f' at park {park}' if park else ''}.")
        if len(found) > 1:
            choices = ", ".join(f"{item.id} ({item.step}, park {item.park})" for item in found)
            raise Refused(f"{id_} has several open work items; name one: {choices}.")
        return found[0]

    # Deciding.

    async def resolve(
        self,
        item: WorkItem,
        verb: Verb,
        *,
        by: str,
        corrections: dict[str, str],
        record_id: str = "",
        because: str = "",
    ) -> Proposal:
        """Store a person's decision and, unless a second person is needed, give it to the saga.

        Raises:
            Refused: the person may not, or the decision makes no sense now.
        """
        self._may_decide(item, verb, by, record_id=record_id, because=because)
        check_corrections(corrections)
        decision = Decision(
            id=f"D-{uuid.uuid4().hex[:12]}",
            work_item_id=item.id,
            park=item.park,
            verb=verb,
            corrections=corrections,
            record_id=record_id,
            because=because,
            decided_by=by,
        )
        second = needs_second_person(verb, corrections, financial(item))
        if second:
            self._needs_role(by, {FINANCE, ADMIN}, f"{verb} with these consequences")
        await self.store.decisions.propose(decision, needs_second=second)
        if second:
            return Proposal(decision=decision, taken=None)
        return Proposal(decision=decision, taken=await self._send(item, decision))

    async def effects(self, item: WorkItem, verb: Verb) -> tuple[Effect, ...]:
        """Return what a decision would do outside, without deciding it."""
        handle = self.client.get_workflow_handle(item.workflow_id)
        preview = Preview(work_item_id=item.id, verb=verb)
        return tuple(await handle.query(OpportunityToProject.effects, preview))

    async def approve(self, id_: str, *, by: str) -> Proposal:
        """Approve as the second person a decision (`D-…`), or a gate (work item or saga).

        Raises:
            Refused: the person may not approve, or there is nothing to approve.
        """
        self._needs_role(by, {FINANCE, ADMIN}, "approving")
        if await self.store.decisions.get(id_) is None:
            item = await self.work_item(id_)
            if item.kind is not WorkItemKind.GATE:
                raise Refused(f"{item.id} is no gate: use `resolve` with {', '.join(item.verbs)}.")
            return await self.resolve(item, Verb.APPROVE, by=by, corrections={})
        decision = (await self.store.decisions.approve(id_, by)).decision
        item = await self.work_item(decision.work_item_id)
        return Proposal(decision=decision, taken=await self._send(item, decision))

    async def cancel(self, id_: str) -> None:
        """Ask a saga to roll back; past its pivot it notes the wish and goes on."""
        await self.client.get_workflow_handle(self.workflow_id(id_)).cancel()

    async def _send(self, item: WorkItem, decision: Decision) -> Resolved:
        handle = self.client.get_workflow_handle(item.workflow_id)
        resolve = Resolve(
            decision_id=decision.id, work_item_id=item.id, park=item.park, verb=decision.verb
        )
        try:
            return await handle.execute_update(
                OpportunityToProject.resolve, resolve, id=decision.id
            )
        except WorkflowUpdateFailedError as error:
            cause = error.cause
            if isinstance(cause, ApplicationError):
                raise Refused(cause.message) from error
            raise

    def _may_decide(
        self, item: WorkItem, verb: Verb, by: str, *, record_id: str, because: str
    ) -> None:
        roles = {FINANCE, ADMIN} if item.kind is WorkItemKind.GATE else {OPERATOR, FINANCE, ADMIN}
        self._needs_role(by, roles, f"{verb} at {item.step}")
        if verb not in item.verbs:
            raise Refused(
                f"{verb} makes no sense at {item.step}; possible: {', '.join(item.verbs)}."
            )
        if verb is Verb.ADOPT and not record_id:
            raise Refused("adopt needs the record: add --record ID.")
        if verb in {Verb.SKIP, Verb.ACCEPT_RESIDUE, Verb.ABANDON} and not because:
            raise Refused(f'{verb} needs the evidence: add --because "…".')

    def _needs_role(self, person: str, roles: set[str], what: str) -> None:
        if person not in self.people:
            known = ", ".join(sorted(self.people)) or "nobody"
            raise Refused(
                f"{person!r} is not in dealthread.toml under [people]; known: {known}. "
                "Say who decides with --as NAME."
            )
        if not roles & self.people[person]:
            raise Refused(f"{person} has not the role for {what}: {' or '.join(sorted(roles))}.")


def financial(item: WorkItem) -> bool:
    """Return whether the item's step keeps a financial record: those of the ERP do."""
    return item.step in {
        "match_client",
        "provision_client",
        "add_client_entity",
        "add_client_currency",
        "provision_erp_project",
        "link_erp_project",
    }
