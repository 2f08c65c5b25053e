"""What a backfill does outside its workflow: read the source, judge, start, see what became of it.

What is started is started at a low priority and under the backfill's correlation id, by which its
own sagas are told from those that others had started.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from temporalio import activity
from temporalio.client import Client
from temporalio.common import (
    Priority,
    SearchAttributeKey,
    SearchAttributePair,
    TypedSearchAttributes,
    WorkflowIDConflictPolicy,
    WorkflowIDReusePolicy,
)
from temporalio.service import RPCError, RPCStatusCode

from activities.engaging import engaged
from activities.failures import again, detail_of, final
from activities.ports import Ports
from activities.registration import implements
from adapters.errors import AdapterError, RateLimited, Transient
from adapters.governor import call_priority
from adapters.http import correlation_id
from adapters.ports import Source
from canonical import activities as ref
from canonical.backfill import (
    ENDED,
    AdvanceBackfill,
    BackfillKind,
    BackfillOpened,
    Judged,
    NoteBackfill,
    OpenBackfill,
    ReadSource,
    SourceRead,
    SourceWindow,
    Standing,
)
from canonical.entries import EntryKind, EntryRef
from canonical.failures import StepFailed
from canonical.ids import time_to_billing_id
from canonical.milestone_to_invoice import MilestoneChanged, MilestoneInput
from canonical.model import CanonicalModel
from canonical.opportunity import OpportunityToProjectInput
from canonical.saga import Route
from canonical.time_to_billing import EntriesChanged, ProjectPeriod, TimeToBillingInput
from policies.backfilling import SAGA_IDS, judge_entry, judge_saga
from policies.bundle import Bundle
from policies.periods import billing_period
from store import Store
from store.backfills import Target

RETRY_SECONDS: Final = 5.0
"""Before a page is read again, where the vendor does not say."""
STARTED_AT_ONCE: Final = 8
BEAT_SECONDS: Final = 3.0
START_WITHIN: Final = timedelta(seconds=10)
SIGNAL_MAX: Final = 500
"""Entries that one signal carries at most (DESIGN 9)."""
STATE: Final = SearchAttributeKey.for_keyword("SagaState")
BUSINESS_KEY: Final = SearchAttributeKey.for_keyword("BusinessKey")
CORRELATION_ID: Final = SearchAttributeKey.for_keyword("CorrelationId")


@dataclass(frozen=True)
class JudgedPage:
    """A page of the source with what a backfill would do about each record."""

    judged: tuple[Judged, ...]
    next: str


def source_of(ports: Ports, window: SourceWindow) -> Source:
    """Return the system that has the records of a window."""
    if window.kind is BackfillKind.OPPORTUNITIES:
        return ports.crm(window.connection)
    return ports.psa(window.connection)


async def judged_page(
    store: Store, source: Source, window: SourceWindow, after: str = ""
) -> JudgedPage:
    """Read one page and judge it by what the store knows. Writes nothing: a dry run is this.

    Raises:
        AdapterError: the source can't be read.
    """
    page = await source.page_records(window, after)
    records, known = page.records, store.backfill_known
    if window.kind is BackfillKind.TIME:
        entries = await known.entries(window.connection, records)
        projects = sorted({record.target for record in records})
        billed = await known.billed(window.connection, projects)
        judged = tuple(
            judge_entry(record, entries.get(record.id), billed=record.target in billed)
            for record in records
        )
        return JudgedPage(judged, page.next)
    ids = [SAGA_IDS[window.kind](window.connection, record.target) for record in records]
    sagas = await known.sagas(ids)
    judged = tuple(
        judge_saga(window.kind, window.connection, record, sagas.get(id_))
        for record, id_ in zip(records, ids, strict=True)
    )
    return JudgedPage(judged, page.next)


@dataclass(frozen=True)
class SourceActivities:
    """Reads the source, on its connection's queue and budget."""

    store: Store
    ports: Ports

    @implements(ref.READ_SOURCE)
    async def read_source(self, wanted: ReadSource) -> SourceRead:
        """Read one page, judge and keep it. Key: backfill and record; a known one stays as it is.

        What passes is tried again for ever; what the source refuses ends the backfill.
        """
        correlation_id.set(f"{wanted.backfill}:read_source")
        call_priority.set(activity.info().priority.priority_key or 2)
        source = source_of(self.ports, wanted.window)
        try:
            async with _alive():
                page = await judged_page(self.store, source, wanted.window, wanted.after)
        except (Transient, RateLimited) as error:
            wait = getattr(error, "retry_after_seconds", None) or RETRY_SECONDS
            raise again(detail_of(error, wanted.window.connection), wait) from error
        except AdapterError as error:
            raise final(detail_of(error, wanted.window.connection)) from error
        await self.store.backfills.keep(wanted.backfill, page.judged)
        standing = await self.store.backfills.standing(wanted.backfill)
        return SourceRead(records=len(page.judged), next=page.next, standing=standing)


@dataclass(frozen=True)
class BackfillActivities:
    """Starts what is due and sees what became of it, beside the workflows."""

    store: Store
    client: Client
    task_queue: str
    priority: Priority
    """Of what is started: live sagas overtake it with all they do."""
    bundle: Callable[[str], Bundle]
    """By connection: the approved policy bundle."""
    route: Callable[[str], Route]
    now: Callable[[], datetime]

    @implements(ref.OPEN_BACKFILL)
    async def open_backfill(self, wanted: OpenBackfill) -> BackfillOpened:
        """Keep the backfill and return how its source is read. Idempotent."""
        await self.store.backfills.open(wanted.backfill, wanted.given)
        return BackfillOpened(route=self.route(wanted.given.window.connection))

    @implements(ref.NOTE_BACKFILL)
    async def note_backfill(self, wanted: NoteBackfill) -> None:
        """Keep how it stands and who steered it."""
        view = wanted.view
        await self.store.backfills.note(view, view.state in ENDED, wanted.acts)

    @implements(ref.ADVANCE_BACKFILL)
    async def advance_backfill(self, wanted: AdvanceBackfill) -> Standing:
        """See what became of what runs, and start more where rate and room allow.

        Key: a target is marked before it is started. One that an attempt left marked is started
        again, which changes nothing where it runs.
        """
        backfills, kind = self.store.backfills, wanted.window.kind
        async with _alive():
            changed = await backfills.see(wanted.backfill, kind)
            if wanted.give_up:
                changed += await backfills.give_up(wanted.backfill)
            taken = await backfills.take(wanted.backfill, wanted.start_max, wanted.in_flight_max)
            places = asyncio.Semaphore(STARTED_AT_ONCE)

            async def start(target: Target) -> None:
                async with places:
                    await self._start(wanted.backfill, wanted.window, target)

            await asyncio.gather(*map(start, taken))
        standing = await backfills.standing(wanted.backfill)
        counted = {"started": len(taken), "changed": changed + len(taken)}
        return standing.model_copy(update=counted)

    async def _start(self, backfill: str, window: SourceWindow, target: Target) -> None:
        starters: dict[BackfillKind, Callable[..., Awaitable[str]]] = {
            BackfillKind.OPPORTUNITIES: self._start_opportunity,
            BackfillKind.MILESTONES: self._start_milestone,
            BackfillKind.TIME: self._tell_period,
        }
        correlation = f"{backfill}/{target.id}"
        try:
            workflow_id = await starters[window.kind](window.connection, target, correlation)
        except StepFailed as error:
            await self.store.backfills.refuse(backfill, target.id, error.detail.message)
        except RPCError as error:
            if error.status is not RPCStatusCode.INVALID_ARGUMENT:
                raise  # Temporal is away: all wait
            await self.store.backfills.refuse(backfill, target.id, error.message)
        else:
            await self.store.backfills.started(backfill, target.id, workflow_id)

    async def _start_opportunity(self, crm: str, target: Target, correlation: str) -> str:
        given = OpportunityToProjectInput(
            crm=crm, opportunity_id=target.id, correlation_id=correlation
        )
        title = f"Opportunity {target.id} to project"
        return await self._run("OpportunityToProject", target.workflow_id, given, target.id, title)

    async def _start_milestone(self, psa: str, target: Target, correlation: str) -> str:
        given = MilestoneInput(psa=psa, milestone_id=target.id, correlation_id=correlation)
        title, told = "Milestone to invoice", MilestoneChanged(correlation_id=correlation)
        return await self._run(
            "MilestoneToInvoice", target.workflow_id, given, target.id, title, told
        )

    async def _tell_period(self, psa: str, target: Target, correlation: str) -> str:
        """Tell the project's open period of the entries, as the drain does.

        Raises:
            StepFailed: nothing bills the project.
        """
        bundle = self.bundle(psa)
        versions = await engaged(self.store, psa, target.id, bundle)
        terms = bundle.policies.billing.entities[versions[-1].lines[0].legal_entity]
        of = ProjectPeriod(psa=psa, project_id=target.id, period=billing_period(self.now(), terms))
        workflow_id = time_to_billing_id(of.psa, of.project_id, of.period)
        given = TimeToBillingInput(of=of, correlation_id=correlation)
        title = f"Approved time of project {of.project_id}, {of.period}"
        entries = _refs(target.records)
        for first in range(0, len(entries), SIGNAL_MAX):
            message = EntriesChanged(
                entries=entries[first : first + SIGNAL_MAX], correlation_id=correlation
            )
            await self._run("ApprovedTimeToBilling", workflow_id, given, target.id, title, message)
        return workflow_id

    async def _run(
        self,
        workflow: str,
        workflow_id: str,
        given: OpportunityToProjectInput | MilestoneInput | TimeToBillingInput,
        business_key: str,
        title: str,
        changed: CanonicalModel | None = None,
    ) -> str:
        await self.client.start_workflow(
            workflow,
            given,
            id=workflow_id,
            task_queue=self.task_queue,
            id_reuse_policy=WorkflowIDReusePolicy.ALLOW_DUPLICATE,
            id_conflict_policy=WorkflowIDConflictPolicy.USE_EXISTING,
            start_signal="changed" if changed is not None else None,
            start_signal_args=[changed] if changed is not None else [],
            static_summary=title,
            search_attributes=TypedSearchAttributes(
                [
                    SearchAttributePair(STATE, "running"),
                    SearchAttributePair(BUSINESS_KEY, business_key),
                    SearchAttributePair(CORRELATION_ID, given.correlation_id),
                ]
            ),
            priority=self.priority,
            rpc_timeout=START_WITHIN,
        )
        return workflow_id


@asynccontextmanager
async def _alive() -> AsyncIterator[None]:
    """Let the server know at once when this process is killed."""

    async def beat() -> None:
        while True:
            activity.heartbeat()
            await asyncio.sleep(BEAT_SECONDS)

    beating = asyncio.create_task(beat())
    try:
        yield
    finally:
        beating.cancel()


def _refs(records: Sequence[str]) -> tuple[EntryRef, ...]:
    split = (record.partition(":") for record in records)
    return tuple(EntryRef(kind=EntryKind(kind), id=id_) for kind, _, id_ in split)
