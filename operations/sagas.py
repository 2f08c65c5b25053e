"""What people do to sagas: start, look, decide, cancel. The CLI and later the API call it."""

import re
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final
from urllib.parse import quote

import structlog
from temporalio.client import (
    Client,
    WorkflowExecutionStatus,
    WorkflowHandle,
    WorkflowQueryRejectedError,
    WorkflowUpdateFailedError,
    WorkflowUpdateRPCTimeoutOrCancelledError,
)
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
    Outcome,
    Preview,
    Resolve,
    Resolved,
    SagaResult,
    SagaView,
    Verb,
    WorkItem,
    WorkItemKind,
)
from operations.people import (
    ADMIN,
    FINANCE,
    check_decision,
    check_role,
    check_sense,
    financial,
    short,
)
from operations.people import Refused as Refused  # what this module raises
from operations.standing import stored_view
from policies.corrections import check_corrections, needs_second_person
from store import Store
from store.errors import SamePerson
from workflows.board import BUSINESS_KEY, CORRELATION_ID, SAGA_STATE
from workflows.opportunity_to_project import OpportunityToProject
from workflows.options import LIVE_PRIORITY

SAGA_QUEUE = "sagas"
SAGA_ID_PATTERN: Final = re.compile(r"[A-Za-z0-9_.@/\-]{1,255}")
ANSWER_WITHIN: Final = timedelta(seconds=5)
"""How long a saga may take to answer a query; without a worker it never does."""
TAKEN_WITHIN: Final = timedelta(seconds=20)
ANSWERING: Final = {WorkflowExecutionStatus.RUNNING, WorkflowExecutionStatus.COMPLETED}
"""A saga in another state was stopped from outside: what it says of itself is out of date."""

_log = structlog.get_logger("dealthread.sagas")


def deep_link(ui_base_url: str, namespace: str, workflow_id: str) -> str:
    """Return a workflow's page in the Temporal Web UI."""
    return f"{ui_base_url}/namespaces/{namespace}/workflows/{quote(workflow_id, safe='')}"


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
    full_id: Callable[[str, str], str] = lambda _crm, id_: id_
    """Returns the one form of a deal's id, for a CRM connection and what a person typed."""
    crms: frozenset[str] = frozenset()
    """The CRM connections there are; empty: any."""

    # Starting.

    async def start_opportunity(
        self, opportunity_id: str, *, crm: str = ""
    ) -> WorkflowHandle[OpportunityToProject, SagaResult]:
        """Start the saga of one deal, or return the one that runs.

        Raises:
            Refused: the id cannot be an opportunity's, or there is no such CRM.
        """
        self.check_opportunity(opportunity_id, crm)
        crm = crm or self.crm
        opportunity_id = self.full_id(crm, opportunity_id)
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

    def check_opportunity(self, opportunity_id: str, crm: str = "") -> None:
        """Refuse what cannot be started, before anything is.

        Raises:
            Refused: the id cannot be an opportunity's, or there is no such CRM.
        """
        if not VENDOR_ID_PATTERN.fullmatch(opportunity_id):
            raise Refused(
                f"{short(opportunity_id)} cannot be an opportunity id: "
                "use 1 to 64 letters, digits, '-', '_' or '.'."
            )
        if crm and self.crms and crm not in self.crms:
            raise Refused(
                f"There is no CRM connection {short(crm)} in dealthread.toml; "
                f"there are {', '.join(sorted(self.crms))}."
            )

    # Looking.

    def workflow_id(self, id_: str) -> str:
        """Return the workflow id for what a person typed: an opportunity id or the whole id.

        Raises:
            Refused: it can be neither.
        """
        if not SAGA_ID_PATTERN.fullmatch(id_):
            raise Refused(
                f"{short(id_)} is neither a work item, nor a saga's workflow id, "
                "nor an opportunity id."
            )
        if id_.startswith("time-to-billing/"):
            raise Refused(
                f"{short(id_)} gathers what was approved and is no saga: "
                "starter.py billing status PROJECT shows it."
            )
        if "/" in id_:
            return id_
        return opportunity_to_project_id(self.crm, self.full_id(self.crm, id_))

    async def view(self, id_: str) -> SagaView:
        """Return where a saga stands: told by itself, or by the store where it no longer can.

        The store answers for sagas beyond Temporal's retention, for terminated ones, and while no
        worker runs; it knows nothing of what a running saga waits for beside its work items.

        Raises:
            Refused: there is no such saga.
        """
        workflow_id = self.workflow_id(id_)
        handle = self.client.get_workflow_handle(workflow_id)
        try:
            status = (await handle.describe()).status
        except RPCError as error:
            if error.status is not RPCStatusCode.NOT_FOUND:
                raise
            return await self._stored_view(workflow_id, "gone from Temporal")
        if status not in ANSWERING:
            ended = status.name.lower() if status else "unknown"
            return await self._stored_view(workflow_id, f"{ended}; the sweep takes it up")
        try:
            view = await handle.query(OpportunityToProject.view, rpc_timeout=ANSWER_WITHIN)
        except (RPCError, WorkflowQueryRejectedError) as error:
            _log.warning("saga_does_not_answer", saga=workflow_id, error=str(error))
            return await self._stored_view(workflow_id, "no worker answers")
        # A deal that was complete already ends at once, and its run did nothing itself.
        return view if view.steps else await self._stored_view(workflow_id, view.state, view)

    async def _stored_view(
        self, workflow_id: str, state: str, fallback: SagaView | None = None
    ) -> SagaView:
        trace = await self.store.sagas.trace(workflow_id)
        if not trace.generations:
            if fallback is not None:
                return fallback
            raise Refused(f"There is no saga {workflow_id}.")
        items = await self.store.work_items.list(workflow_id=workflow_id)
        return stored_view(trace, tuple(stored.item for stored in items), state)

    async def stuck(self) -> list[WorkItem]:
        """Return every open work item, the most urgent first."""
        return [stored.item for stored in await self.store.work_items.list()]

    def deep_link(self, workflow_id: str) -> str:
        """Return the saga's page in the Temporal Web UI."""
        return deep_link(self.ui_base_url, self.client.namespace, workflow_id)

    async def work_item(self, id_: str, park: int | None = None) -> WorkItem:
        """Return the one open work item that a person means.

        `id_` is a work item's id, a saga's workflow id or an opportunity id.

        Raises:
            Refused: there is none, or more than one.
        """
        stored = await self.store.work_items.get(id_) if "\x00" not in id_ else None
        found = [stored.item] if stored is not None and stored.open else []
        if not found:
            listed = await self.store.work_items.list(workflow_id=self.workflow_id(id_))
            items = [each.item for each in listed]
            # What the watch found stands beside what waits for a decision.
            found = [item for item in items if item.verbs] or items
        if not found:
            raise Refused(await self._why_not_open(id_))
        if park is not None:
            now = ", ".join(str(item.park) for item in found)
            found = [item for item in found if item.park == park]
            if not found:
                raise Refused(
                    f"Park {park} of {id_} is over; it is at park {now} now: look again "
                    f"with `starter.py status {id_}`."
                )
        if len(found) > 1:
            choices = ", ".join(f"{item.id} ({item.step}, park {item.park})" for item in found)
            raise Refused(f"{id_} has several open work items; name one: {choices}.")
        return found[0]

    async def _why_not_open(self, id_: str) -> str:
        closed = await self.store.work_items.get(id_)
        if closed is not None:
            return f"{id_} is closed: {closed.how}."
        if await self.store.decisions.get(id_) is not None:
            return f"{id_} is a decision: approve it with `starter.py approve {id_} --as NAME`."
        generation = await self.store.sagas.state(self.workflow_id(id_))
        if generation is None:
            return f"There is no work item and no saga {id_}."
        return f"Nothing waits for a person at {id_}: it is {generation.outcome or 'under way'}."

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
        check_decision(self.people, item, verb, by, record_id=record_id, because=because)
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
            check_role(self.people, by, {FINANCE, ADMIN}, f"{verb} with these consequences")
        await self.store.decisions.propose(decision, needs_second=second)
        if second:
            return Proposal(decision=decision, taken=None)
        return Proposal(decision=decision, taken=await self._send(item, decision))

    async def effects(self, item: WorkItem, verb: Verb) -> tuple[Effect, ...]:
        """Return what a decision would do outside, without deciding it.

        Raises:
            Refused: the decision makes no sense now.
        """
        check_sense(item, verb)
        handle = self.client.get_workflow_handle(item.workflow_id)
        preview = Preview(work_item_id=item.id, verb=verb)
        return tuple(
            await handle.query(OpportunityToProject.effects, preview, rpc_timeout=ANSWER_WITHIN)
        )

    async def approve(self, id_: str, *, by: str) -> Proposal:
        """Approve as the second person a decision (`D-…`), or a gate (work item or saga).

        Raises:
            Refused: the person may not approve, or there is nothing to approve.
        """
        check_role(self.people, by, {FINANCE, ADMIN}, "approving")
        if await self.store.decisions.get(id_) is None:
            item = await self.work_item(id_)
            if item.kind is not WorkItemKind.GATE:
                raise Refused(f"{item.id} is no gate: use `resolve` with {', '.join(item.verbs)}.")
            return await self.resolve(item, Verb.APPROVE, by=by, corrections={})
        try:
            decision = (await self.store.decisions.approve(id_, by)).decision
        except SamePerson:
            raise Refused(
                f"{by} proposed {id_} and cannot approve it too: a second person with the role "
                f"finance has to, with `starter.py approve {id_} --as NAME`."
            ) from None
        item = await self.work_item(decision.work_item_id)
        return Proposal(decision=decision, taken=await self._send(item, decision))

    async def cancel(self, id_: str) -> str:
        """Ask a saga to roll back; return what becomes of the wish, in a sentence.

        Raises:
            Refused: there is no such saga, or it has ended.
        """
        view = await self.view(id_)
        workflow_id = view.workflow_id
        handle = self.client.get_workflow_handle(workflow_id)
        if view.state in set(Outcome) or not await self._runs(handle):
            raise Refused(f"{workflow_id} runs no more: {view.state}.")
        await handle.cancel()
        if view.pivot_passed:
            return f"{workflow_id} is past its pivot: the wish is noted, and it goes on."
        return f"{workflow_id} is asked to roll back."

    async def _runs(self, handle: WorkflowHandle[Any, Any]) -> bool:
        try:
            return (await handle.describe()).status is WorkflowExecutionStatus.RUNNING
        except RPCError as error:
            if error.status is RPCStatusCode.NOT_FOUND:
                return False
            raise

    async def _send(self, item: WorkItem, decision: Decision) -> Resolved:
        handle = self.client.get_workflow_handle(item.workflow_id)
        resolve = Resolve(
            decision_id=decision.id, work_item_id=item.id, park=item.park, verb=decision.verb
        )
        try:
            return await handle.execute_update(
                OpportunityToProject.resolve, resolve, id=decision.id, rpc_timeout=TAKEN_WITHIN
            )
        except WorkflowUpdateFailedError as error:
            cause = error.cause
            if isinstance(cause, ApplicationError):
                raise Refused(cause.message) from error
            raise
        except WorkflowUpdateRPCTimeoutOrCancelledError as error:
            raise Refused(
                f"No worker took {decision.id} in time: start one (worker.py), then decide again."
            ) from error
        except RPCError as error:
            if error.status is RPCStatusCode.NOT_FOUND:
                raise Refused(
                    f"{item.workflow_id} runs no more; if it was terminated, `starter.py sweep` "
                    "takes it up."
                ) from error
            raise
