"""A whole Dealthread in one process: real Temporal, PostgreSQL and sockets, simulated vendors.

Cases run side by side, each in an account of its own at every vendor: the connections of case `c7`
are `salesforce@c7`, `kantata@c7`, `netsuite@c7`.
"""

import asyncio
import contextlib
import itertools
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, timedelta
from typing import Any, TypeVar

import pytest_asyncio
from pydantic import JsonValue, SecretStr
from temporalio.api.enums.v1 import EventType
from temporalio.client import WorkflowHandle
from temporalio.service import RPCError, RPCStatusCode
from temporalio.testing import WorkflowEnvironment
from temporalio.worker import Worker

from activities.backfilling import BackfillActivities, SourceActivities
from activities.billing import BillingActivities
from activities.billing_calendar import CalendarActivities
from activities.credit_desk import CreditDeskActivities
from activities.crediting import CreditActivities
from activities.crm import CrmActivities
from activities.drafting import DraftActivities
from activities.engine import EngineActivities
from activities.erp import ErpActivities
from activities.extracting import ExtractActivities
from activities.following import FollowingActivities
from activities.issuing import IssuingActivities
from activities.milestones import MilestoneActivities
from activities.mirroring import MirrorActivities
from activities.people import HcmActivities
from activities.ports import Ports
from activities.postings import PostingActivities
from activities.psa import PsaActivities
from activities.reconciling import ReconcileActivities
from activities.registration import implementations
from activities.schedules import ScheduleActivities
from activities.steps import StepRunner
from activities.sweep import SweepActivities
from adapters.governor import LocalGovernor
from adapters.registry import build_adapter, full_record_id
from canonical.ids import Role
from canonical.saga import Route, SagaResult, Verb, WorkItem, WorkItemKind
from operations.billing import BillingDesk
from operations.composition import vendor_queue
from operations.invoices import InvoiceDesk
from operations.queue import QueueDesk
from operations.reconciliation import healer
from operations.sagas import SAGA_QUEUE, Refused, SagaDesk
from operations.workers import workflow_runner
from policies.bundle import Bundle, load_bundle
from policies.queue_case import Actor
from simulators.kit import SimulatorStack
from simulators.kit.control import Control
from simulators.registry import load_vendors
from store import Store
from tests.support.embedded_settings import connection_settings
from tests.support.postgres import PostgresForTests, new_name
from workflows.opportunity_to_project import OpportunityToProject
from workflows.options import BACKFILL_PRIORITY, priority_of
from workflows.registry import PIVOTS, WORKFLOWS

VENDORS = {
    "salesforce": "crm",
    "kantata": "psa",
    "netsuite": "erp",
    "workday": "hcm",
    "stripe": "billing_engine",
}
TRAILS = {("stripe", "event")}
"""What a vendor writes down of its own records; it never goes."""
TODAY = date(2026, 11, 21)
NOW = datetime(2026, 11, 30, 12, tzinfo=UTC)
"""When billing runs are planned: at the end of the seeded month."""
DEBOUNCE_SECONDS = 0.3
HTTP_SECONDS = 5.0
"""Long enough that load does not look like a fault."""
SETTLE_SECONDS = 1.5
WAIT_SECONDS = 180.0
PEOPLE = {
    "olivia": frozenset({"operator"}),
    "fiona": frozenset({"finance"}),
    "ada": frozenset({"admin"}),
    "cara": frozenset({"controller"}),
    "victor": frozenset({"viewer"}),
}
ACTORS = {name: Actor(name, roles, f"{name}@example.com") for name, roles in PEOPLE.items()}

T = TypeVar("T")


def vendor_of(connection: str) -> str:
    """Return the vendor of a connection `vendor@account`."""
    return connection.partition("@")[0]


@dataclass
class CasePorts(Ports):
    """Connects an account when a saga first asks for it."""

    urls: dict[str, str] = field(default_factory=dict)
    control: Control | None = None
    credentials: dict[str, dict[str, str]] = field(default_factory=dict)
    limits: dict[str, int] = field(default_factory=dict)
    """Calls in flight to a connection, where a case wants less than the usual."""
    lines: dict[str, int] = field(default_factory=dict)
    """Lines that an invoice of a connection takes, where a case wants fewer than its vendor."""
    settings: dict[str, dict[str, JsonValue]] = field(default_factory=dict)
    """Further settings of a connection, where a case wants other than the usual."""

    def crm(self, connection: str) -> Any:
        return self._connected(connection)

    def erp(self, connection: str) -> Any:
        return self._connected(connection)

    def psa(self, connection: str) -> Any:
        return self._connected(connection)

    def hcm(self, connection: str) -> Any:
        return self._connected(connection)

    def issuer(self, connection: str) -> Any:
        return self._connected(connection)

    def billing_engine(self, connection: str) -> Any:
        return self._connected(connection)

    def lines_max(self, connection: str) -> int | None:
        if connection in self.lines:
            return self.lines[connection]
        return super().lines_max(connection) if connection in self.credentials else None

    def extracts(self, connection: str) -> Any:
        return self._connected(connection)

    def _connected(self, connection: str) -> Any:
        if connection not in self.crms:
            vendor = vendor_of(connection)
            settings, secrets = connection_settings(vendor, self.credentials[connection])
            self.crms[connection] = build_adapter(  # type: ignore[assignment]
                vendor,
                connection,
                base_url=self.urls[vendor],
                settings={**settings, **self.settings.get(connection, {})},
                secrets={name: SecretStr(value) for name, value in secrets.items()},
                timeouts={"read_seconds": HTTP_SECONDS, "total_seconds": HTTP_SECONDS},
                ca_file=None,
                governor=LocalGovernor(self.limits.get(connection, 100)),
            )
        return self.crms[connection]


@dataclass
class World:
    """Everything that a case needs; made once per test process."""

    env: WorkflowEnvironment
    store: Store
    stack: SimulatorStack
    control: Control
    ports: CasePorts
    bundle: Bundle
    desk: SagaDesk
    billing: BillingDesk
    """For it, the seeded month is open; a case names its connection at each call."""
    queue: QueueDesk
    invoices: InvoiceDesk
    sweeper: SweepActivities
    route: dict[str, Any] = field(default_factory=dict)
    """What every route of new sagas gets: budgets, settle time, deadlines."""
    voiding: set[str] = field(default_factory=set)
    """Accounts whose legal entities let invoices be voided."""
    notes: dict[str, str] = field(default_factory=dict)
    """What a case has to remember of its account."""
    _numbers: Any = field(default_factory=itertools.count)

    async def account(self, scenario: str | Mapping[str, str] = "standard", count: int = 1) -> str:
        """Return a fresh account, seeded at every vendor, or by vendor."""
        name = f"c{next(self._numbers)}"
        if isinstance(scenario, str):
            await self.control.seed(scenario, count=count, account=name)
        else:
            for vendor, its_own in scenario.items():
                await self.control.seed(its_own, count=count, account=name, vendor=vendor)
        for vendor in VENDORS:
            self.ports.credentials[f"{vendor}@{name}"] = await self.control.credentials(
                vendor, name
            )
        return name

    async def deal_id(self, account: str, slug: str) -> str:
        """Return the opportunity of a seeded deal."""
        for record in await self.control.records("salesforce", account, type="Opportunity"):
            if record["fields"].get("Seed_Slug__c") == slug:
                return record["id"]
        raise LookupError(f"no seeded deal {slug!r}")

    async def start(
        self, account: str, slug: str
    ) -> WorkflowHandle[OpportunityToProject, SagaResult]:
        """Start the saga of a seeded deal."""
        return await self.desk.start_opportunity(
            await self.deal_id(account, slug), crm=f"salesforce@{account}"
        )

    async def parked(self, handle: WorkflowHandle[Any, Any], step: str = "") -> WorkItem:
        """Wait until the saga has an open work item, and return it.

        Raises:
            AssertionError: the saga ended instead.
        """

        async def item() -> WorkItem | None:
            for stored in await self.store.work_items.list(workflow_id=handle.id):
                if not step or stored.item.step == step:
                    return stored.item
            return None

        found: WorkItem = await self.eventually(item, f"a work item of {handle.id}")
        return found

    async def eventually(self, look: Callable[[], Any], what: str) -> Any:
        """Wait until `look` returns something."""
        try:
            async with asyncio.timeout(WAIT_SECONDS):
                while True:
                    found = await look()
                    if found:
                        return found
                    await asyncio.sleep(0.05)
        except TimeoutError:
            raise AssertionError(f"there was never {what}") from None

    async def decide(
        self,
        item: WorkItem,
        verb: Verb,
        *,
        by: str = "ada",
        second: str = "fiona",
        **given: Any,
    ) -> None:
        """Decide about a work item, with a second person where one is needed."""
        proposal = await self.desk.resolve(
            item, verb, by=by, corrections=given.pop("corrections", {}), **given
        )
        if proposal.taken is None:
            await self.desk.approve(proposal.decision.id, by=second)

    async def finished(self, handle: WorkflowHandle[Any, SagaResult]) -> SagaResult:
        """Return the result of a saga that only gates may hold up; they are approved."""
        ended = asyncio.create_task(self.result(handle))
        while not ended.done():
            for stored in await self.store.work_items.list(workflow_id=handle.id):
                if stored.item.kind is WorkItemKind.STUCK:
                    continue  # a remark of the watch holds nothing up
                assert stored.item.kind is WorkItemKind.GATE, stored.item.failure
                with contextlib.suppress(Refused):
                    await self.desk.approve(stored.item.id, by="fiona")
            await asyncio.wait({ended}, timeout=0.05)
        return await ended

    async def result(self, handle: WorkflowHandle[Any, SagaResult]) -> SagaResult:
        """Return the saga's result, in bounded time."""
        return await result_of(handle)

    async def live(self, account: str) -> dict[tuple[str, str, str], JsonValue]:
        """Return every live record of an account: (vendor, type, id) to its fields."""
        return {
            (vendor, record["type"], record["id"]): {"key": record["key"], **record["fields"]}
            for vendor in VENDORS
            for record in await self.control.records(vendor, account)
            if record["live"] and (vendor, record["type"]) not in TRAILS
        }


def quick(bundle: Bundle) -> Bundle:
    """Return the bundle with a short debounce, so that billing runs begin at once."""
    entities = {
        code: entity.model_copy(
            update={
                "debounce_seconds": DEBOUNCE_SECONDS,
                "longest_wait_seconds": 10 * DEBOUNCE_SECONDS,
            }
        )
        for code, entity in bundle.policies.billing.entities.items()
    }
    billing = bundle.policies.billing.model_copy(update={"entities": entities})
    return replace(bundle, policies=bundle.policies.model_copy(update={"billing": billing}))


def that_voids(bundle: Bundle) -> Bundle:
    """Return the bundle as that of a firm that voids invoices."""
    invoicing = bundle.policies.invoicing
    entities = {
        code: terms.model_copy(update={"void_allowed": True})
        for code, terms in invoicing.entities.items()
    }
    changed = invoicing.model_copy(update={"entities": entities})
    return replace(bundle, policies=bundle.policies.model_copy(update={"invoicing": changed}))


def case_bundle(bundle: Bundle, name: str) -> Bundle:
    """Return the bundle with the connections of one case, of which one is named."""
    account = name.partition("@")[2]
    return bundle.with_connections(
        crm=name if vendor_of(name) == "salesforce" else f"salesforce@{account}",
        psa=f"kantata@{account}",
        erp={"netsuite": f"netsuite@{account}"},
        hcm=f"workday@{account}",
        billing_engine=f"stripe@{account}",
    )


@asynccontextmanager
async def open_world(
    env: WorkflowEnvironment, store: Store, debounce: Callable[[Bundle], Bundle] = quick
) -> AsyncIterator[World]:
    """Run simulators and workers in this process; `debounce` sets that of billing periods."""
    async with AsyncExitStack() as exit_:
        stack = await exit_.enter_async_context(SimulatorStack(vendors=load_vendors()))
        control = await exit_.enter_async_context(Control(stack.control_url))
        ports = CasePorts(urls=stack.urls, control=control)
        exit_.push_async_callback(ports.aclose)
        bundle = load_bundle(None)
        overrides: dict[str, Any] = {
            "budget_seconds": 0.0,
            "settle_seconds": SETTLE_SECONDS,
            "attempt_seconds": 30.0,
            "retry_seconds": 0.1,
            "slow_retry_seconds": 3600.0,
        }

        def routed(route: Route) -> Route:
            queue = vendor_queue(vendor_of(route.connection))
            return route.model_copy(update={"queue": queue, **overrides})

        runner = StepRunner(store)
        engine = EngineActivities(
            store, lambda name: routed(case_bundle(bundle, name).route(Role.CRM, name))
        )
        calendar = CalendarActivities(store, lambda name: case_bundle(debounce(bundle), name))
        billing = BillingActivities(
            runner, ports, lambda name: case_bundle(bundle, name), lambda: NOW, routed
        )

        voiding: set[str] = set()

        def of_case(name: str) -> Bundle:
            found = case_bundle(bundle, name)
            return that_voids(found) if name.partition("@")[2] in voiding else found

        def route(name: str) -> Route:
            return routed(of_case(name).route(Role(VENDORS[vendor_of(name)]), name))

        drafts = DraftActivities(store, of_case, ACTORS, lambda: NOW, ports.lines_max)
        schedules = ScheduleActivities(store, of_case, lambda: NOW)
        credit_desk = CreditDeskActivities(store, of_case, ACTORS)
        crediting = CreditActivities(runner, ports, of_case, route, lambda: NOW)
        mirroring = MirrorActivities(runner, ports)
        issuing = IssuingActivities(runner, ports, of_case, route)
        following = FollowingActivities(
            runner, ports, of_case, route, lambda: NOW, lambda name: vendor_of(name) == "salesforce"
        )
        milestones = MilestoneActivities(runner, ports, of_case, lambda: NOW, routed)
        crm = CrmActivities(
            runner, ports, lambda name: case_bundle(bundle, name), lambda: TODAY, routed
        )
        sweeper = SweepActivities(store, env.client, SAGA_QUEUE, PIVOTS, priority_of)
        backfills = BackfillActivities(
            store, env.client, SAGA_QUEUE, BACKFILL_PRIORITY, of_case, route, lambda: NOW
        )
        invoice_desk = InvoiceDesk(env.client, store, ACTORS)
        billing_desk = BillingDesk(
            client=env.client,
            store=store,
            people=PEOPLE,
            open_period=_seeded_month,
            psas=ports.psa,
        )
        reconciling = ReconcileActivities(
            store, of_case, route, lambda: datetime.now(UTC), healer(billing_desk, invoice_desk)
        )
        holders: dict[str, list[object]] = {
            SAGA_QUEUE: [
                engine,
                sweeper,
                calendar,
                drafts,
                schedules,
                credit_desk,
                backfills,
                reconciling,
            ],
            vendor_queue("salesforce"): [
                crm,
                following,
                SourceActivities(store, ports),
                ExtractActivities(store, ports),
            ],
            vendor_queue("netsuite"): [
                ErpActivities(runner, ports),
                PostingActivities(runner, ports),
                issuing,
                following,
                crediting,
                mirroring,
                ExtractActivities(store, ports),
            ],
            vendor_queue("kantata"): [
                PsaActivities(runner, ports),
                SourceActivities(store, ports),
                billing,
                milestones,
                issuing,
                following,
                crediting,
                mirroring,
                ExtractActivities(store, ports),
            ],
            vendor_queue("workday"): [HcmActivities(runner, ports)],
            vendor_queue("stripe"): [
                ExtractActivities(store, ports),
                issuing,
                following,
                crediting,
                mirroring,
            ],
        }
        for queue, held in holders.items():
            await exit_.enter_async_context(
                Worker(
                    env.client,
                    task_queue=queue,
                    workflows=list(WORKFLOWS) if queue == SAGA_QUEUE else [],
                    activities=list(implementations(held).values()),
                    workflow_runner=workflow_runner(),
                    graceful_shutdown_timeout=timedelta(seconds=HTTP_SECONDS),
                )
            )
        desk = SagaDesk(
            client=env.client,
            store=store,
            people=PEOPLE,
            ui_base_url="http://ui",
            full_id=lambda crm, id_: full_record_id(vendor_of(crm), id_),
        )
        yield World(
            env,
            store,
            stack,
            control,
            ports,
            bundle,
            desk,
            billing_desk,
            QueueDesk(env.client, store),
            invoice_desk,
            sweeper,
            overrides,
            voiding,
        )


async def result_of(handle: WorkflowHandle[Any, T]) -> T:
    """Return what a workflow came to, in bounded time.

    Raises:
        AssertionError: it did not end; says what it waits for.
    """
    try:
        async with asyncio.timeout(WAIT_SECONDS):
            while True:
                try:
                    return await handle.result()
                except RPCError as error:
                    # What starts it may not have come to it yet.
                    if error.status is not RPCStatusCode.NOT_FOUND:
                        raise
                    await asyncio.sleep(0.1)
    except TimeoutError:
        raise AssertionError(f"{handle.id} did not end: {await _waits_for(handle)}") from None


async def _waits_for(handle: WorkflowHandle[Any, Any]) -> str:
    """Return how a workflow stands at the server: its task, its activities, its last events."""
    raw = (await handle.describe()).raw_description
    events = [event async for event in handle.fetch_history_events()]
    last = [EventType.Name(event.event_type) for event in events[-8:]]
    activities = [str(each) for each in raw.pending_activities]
    return (
        f"task {raw.pending_workflow_task}, activities {activities}, {len(events)} events, {last}"
    )


async def _seeded_month(_psa: str, _project_id: str) -> str:
    return NOW.strftime("%Y-%m")


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def world(temporal: WorkflowEnvironment, postgres: PostgresForTests) -> AsyncIterator[World]:
    """The process's world; cases differ by account."""
    from store.database import Database

    name = new_name()
    store = Store(Database(await postgres.create(name), pool_size=20))
    async with open_world(temporal, store) as opened:
        yield opened
    await store.aclose()
    await postgres.drop(name)
