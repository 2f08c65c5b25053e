"""The router of Dealthread: which saga hears of what changed.

Deals and milestones start theirs, entries go to their project's, invoices get a look.
"""

import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Final

from pydantic import JsonValue, ValidationError
from temporalio.common import SearchAttributePair

from canonical.ids import (
    milestone_to_invoice_id,
    opportunity_to_project_id,
    time_to_billing_id,
)
from canonical.milestone_to_invoice import MilestoneChanged, MilestoneInput
from canonical.opportunity import OpportunityToProjectInput
from canonical.time_to_billing import EntriesChanged, ProjectPeriod, TimeToBillingInput
from gateway import client_holds, cloudevents, invoice_events, salesforce
from gateway.client_holds import Holds
from gateway.deliveries import Refusal as DeliveryRefusal
from gateway.invoice_events import Invoices
from gateway.parsing import json_object
from gateway.pollers import FEED
from gateway.routing import (
    ENTRIES_CHANGED,
    MILESTONES_CHANGED,
    EntriesChangedData,
    Refused,
    Routed,
    Target,
    Verdict,
    entries_data,
    entry_ref,
    milestones_data,
)
from operations.people import Refused as Unknown
from operations.sagas import SAGA_QUEUE
from store.inbox import InboxEvent, Taken
from workflows.board import BUSINESS_KEY, CORRELATION_ID, SAGA_STATE

OPPORTUNITY: Final = "Opportunity"
DEAL_WORKFLOW: Final = "OpportunityToProject"
MILESTONE_WORKFLOW: Final = "MilestoneToInvoice"
TIME_WORKFLOW: Final = "ApprovedTimeToBilling"
CHANGED: Final = "changed"

OpenPeriod = Callable[[str, str], Awaitable[str]]
"""Returns the billing period that is open for a PSA's project; raises `Refused` of people where
nobody knows the project."""
Asked = tuple[str, str]
"""PSA and project."""


KNOWN_SECONDS: Final = 5.0
"""How long a project's open period is believed without asking again."""
KNOWN_MAX: Final = 10_000


@dataclass(frozen=True)
class EventRouter:
    """Routes what Dealthread acts upon; all else is ignored, and stays in the inbox to be seen."""

    open_period: OpenPeriod
    full_id: Callable[[str, str], str] = lambda _crm, id_: id_
    """Returns the one form of a deal's id, for a CRM connection and an id."""
    invoices: Invoices | None = None
    """Which invoices are ours; without it none is."""
    holds: Holds | None = None
    """Sees to the holds of clients; without it nobody does."""
    known: dict[Asked, tuple[float, str]] = field(default_factory=dict)
    """Open periods, and until when each is believed. A project that nobody knows is asked for
    again with the next batch: it may be new."""

    async def route(self, events: Sequence[Taken]) -> Sequence[Routed | Refused]:
        """Return the answers for each event; see `Router`."""
        strangers: dict[Asked, Unknown] = {}
        found: list[Routed | Refused] = []
        of_invoices: list[Taken] = []
        of_clients: list[Taken] = []
        for each in events:
            if self.invoices is not None and invoice_events.concerns(each):
                of_invoices.append(each)
            elif self.holds is not None and client_holds.concerns(each):
                of_clients.append(each)
            elif each.event.kind == MILESTONES_CHANGED:
                found += _milestones(each)
            else:
                found.append(await self._one(each, strangers))
        if self.invoices is not None and of_invoices:
            found += await invoice_events.looks(of_invoices, self.invoices)
        if self.holds is not None and of_clients:
            found += await self.holds.told(of_clients)
        return found

    async def _one(self, taken: Taken, strangers: dict[Asked, Unknown]) -> Routed | Refused:
        event = taken.event
        if event.protocol == salesforce.PROTOCOL and event.kind == OPPORTUNITY:
            return Routed(event.id, self._deal(event))
        if event.kind == ENTRIES_CHANGED:
            return await self._entries(taken, strangers)
        return Refused(
            event.id, Verdict.IGNORED, "not_wanted", f"Nothing is done about {event.kind}."
        )

    async def _entries(self, taken: Taken, strangers: dict[Asked, Unknown]) -> Routed | Refused:
        event = taken.event
        try:
            data = entries_data(_data(taken))
        except (ValidationError, DeliveryRefusal):
            return _invalid(event)
        period = await self._period((event.connection, data.project), strangers)
        if isinstance(period, Unknown):
            return Refused(event.id, Verdict.DEAD, "unknown_project", str(period))
        return Routed(event.id, _project(event, data, data.period or period), data.entries)

    async def _period(self, asked: Asked, strangers: dict[Asked, Unknown]) -> str | Unknown:
        until, period = self.known.get(asked, (0.0, ""))
        if until > time.monotonic():
            return period
        if asked not in strangers:
            try:
                period = await self.open_period(*asked)
            except Unknown as error:
                strangers[asked] = error
            else:
                if len(self.known) >= KNOWN_MAX:
                    self.known.clear()
                self.known[asked] = (time.monotonic() + KNOWN_SECONDS, period)
                return period
        return strangers[asked]

    def _deal(self, event: InboxEvent) -> Target:
        id_ = self.full_id(event.connection, event.subject)
        workflow_id = opportunity_to_project_id(event.connection, id_)
        correlation_id = event.correlation_id or workflow_id
        return Target(
            workflow=DEAL_WORKFLOW,
            workflow_id=workflow_id,
            task_queue=SAGA_QUEUE,
            start=OpportunityToProjectInput(
                crm=event.connection, opportunity_id=id_, correlation_id=correlation_id
            ),
            summary=f"Opportunity {id_} to project",
            search_attributes=_attributes(id_, correlation_id),
        )


def _milestones(taken: Taken) -> list[Routed | Refused]:
    event = taken.event
    try:
        data = milestones_data(_data(taken))
    except (ValidationError, DeliveryRefusal):
        return [_invalid(event)]
    return [Routed(event.id, _milestone(event, each)) for each in dict.fromkeys(data.milestones)]


def _milestone(event: InboxEvent, milestone: str) -> Target:
    return Target(
        workflow=MILESTONE_WORKFLOW,
        workflow_id=milestone_to_invoice_id(event.connection, milestone),
        task_queue=SAGA_QUEUE,
        start=MilestoneInput(
            psa=event.connection, milestone_id=milestone, correlation_id=event.correlation_id
        ),
        signal=CHANGED,
        message=lambda _ids, correlation_id: MilestoneChanged(correlation_id=correlation_id),
        summary=f"Milestone {milestone} to invoice",
        search_attributes=_attributes(milestone, event.correlation_id),
    )


def _invalid(event: InboxEvent) -> Refused:
    detail = f"Its data are not those of {event.kind}."
    return Refused(event.id, Verdict.DEAD, "invalid_data", detail)


def _project(event: InboxEvent, data: EntriesChangedData, period: str) -> Target:
    of = ProjectPeriod(psa=event.connection, project_id=data.project, period=period)
    return Target(
        workflow=TIME_WORKFLOW,
        workflow_id=time_to_billing_id(of.psa, of.project_id, of.period),
        task_queue=SAGA_QUEUE,
        start=TimeToBillingInput(of=of, correlation_id=event.correlation_id),
        signal=CHANGED,
        message=lambda ids, correlation_id: EntriesChanged(
            entries=tuple(entry_ref(id_) for id_ in ids), correlation_id=correlation_id
        ),
        summary=f"Approved time of {of.project_id} in {of.period}",
        search_attributes=_attributes(of.project_id, event.correlation_id),
    )


def _attributes(key: str, correlation_id: str) -> tuple[SearchAttributePair[str], ...]:
    return (
        SearchAttributePair(SAGA_STATE, "running"),
        SearchAttributePair(BUSINESS_KEY, key),
        SearchAttributePair(CORRELATION_ID, correlation_id),
    )


def _data(taken: Taken) -> JsonValue:
    if taken.event.protocol == FEED:
        return json_object(taken.body)
    return cloudevents.data_of(taken)
