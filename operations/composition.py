"""Puts the parts together: configuration in; store, policies, adapters, activities, desk out.

The one place, with `operations.workers`, that knows all packages.
"""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import ExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Any

from temporalio.client import Client

from activities.backfilling import BackfillActivities, SourceActivities, source_of
from activities.billing import BillingActivities
from activities.billing_calendar import CalendarActivities
from activities.credit_desk import CreditDeskActivities
from activities.crediting import CreditActivities
from activities.crm import CrmActivities
from activities.drafting import DraftActivities
from activities.engaging import engaged
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
from adapters.ports import Source
from adapters.psa_port import Psa
from adapters.registry import build_adapter
from canonical.backfill import SourceWindow
from canonical.failures import StepFailed
from canonical.ids import Role
from canonical.saga import Route
from operations.backfill import BackfillDesk
from operations.billing import BillingDesk
from operations.codec import record_cipher
from operations.config import Config, find_config, load_config
from operations.desks import saga_desk, worklist_of
from operations.invoices import InvoiceDesk
from operations.kpis import KpiDesk, kpi_desk
from operations.people import Refused
from operations.queue import QueueDesk
from operations.reconciliation import ReconciliationDesk, healer
from operations.sagas import SAGA_QUEUE, SagaDesk
from operations.servers import check_store
from operations.servers import connect_temporal as connect_temporal  # composition roots
from operations.tracing import tracing
from operations.worklist import Worklist
from policies.bundle import Bundle, load_bundle
from policies.periods import billing_period
from policies.queue_case import Actor
from store import Store, make_store
from workflows.options import BACKFILL_PRIORITY, priority_of
from workflows.registry import PIVOTS


def vendor_queue(connection: str) -> str:
    """Return the task queue of a connection."""
    return f"vendor.{connection}"


@dataclass(frozen=True)
class House:
    """Everything that activities need, built from one configuration."""

    store: Store
    ports: Ports
    bundle: Callable[[str], Bundle]
    governors: dict[str, LocalGovernor]
    roles: dict[str, Role]
    """What each connection is."""
    people: dict[str, Actor]
    """Who may act on drafts, by name."""

    def engine_activities(self) -> dict[str, Callable[..., Any]]:
        """Return what runs beside the workflows: the engine's own, store only."""
        engine = EngineActivities(self.store, self.route)
        drafts = DraftActivities(self.store, self.bundle, self.people, _now, self.ports.lines_max)
        schedules = ScheduleActivities(self.store, self.bundle, _now)
        calendar = CalendarActivities(self.store, self.bundle)
        credits_ = CreditDeskActivities(self.store, self.bundle, self.people)
        return implementations([engine, calendar, drafts, schedules, credits_])

    def route(self, connection: str) -> Route:
        """Return how calls to a connection are made."""
        return self.bundle(connection).route(self.roles[connection], connection)

    def backfills(self, client: Client) -> BackfillActivities:
        """Return what starts backfilled sagas beside the workflows."""
        return BackfillActivities(
            self.store, client, SAGA_QUEUE, BACKFILL_PRIORITY, self.bundle, self.route, _now
        )

    def reconciling(self, client: Client) -> ReconcileActivities:
        """Return what compares, judges and mends, beside the workflows."""
        psa = next((name for name, role in self.roles.items() if role is Role.PSA), "")
        crm = next((name for name, role in self.roles.items() if role is Role.CRM), "")
        billing = BillingDesk(
            client=client,
            store=self.store,
            people={},
            open_period=period_opener(self.store, self.bundle),
            psas=self.ports.psa,
            psa=psa,
        )
        invoices = InvoiceDesk(client, self.store, self.people)
        return ReconcileActivities(
            self.store,
            self.bundle,
            self.route,
            _now,
            healer(billing, invoices),
            psa,
            crm,
            frozenset(self.roles),
        )

    def _is_crm(self, connection: str) -> bool:
        return self.roles.get(connection) is Role.CRM

    def vendor_activities(self, role: Role) -> dict[str, Callable[..., Any]]:
        """Return what runs on the queue of a connection of this role."""
        runner = StepRunner(self.store)
        issuing = IssuingActivities(runner, self.ports, self.bundle, self.route)
        following = FollowingActivities(
            runner, self.ports, self.bundle, self.route, _now, self._is_crm
        )
        crediting = CreditActivities(runner, self.ports, self.bundle, self.route, _now)
        mirroring = MirrorActivities(runner, self.ports)
        extracting = ExtractActivities(self.store, self.ports)
        holders: dict[Role, list[object]] = {
            Role.CRM: [
                CrmActivities(runner, self.ports, self.bundle, _today),
                following,
                SourceActivities(self.store, self.ports),
                extracting,
            ],
            Role.ERP: [
                ErpActivities(runner, self.ports),
                PostingActivities(runner, self.ports),
                issuing,
                following,
                crediting,
                mirroring,
                extracting,
            ],
            Role.PSA: [
                PsaActivities(runner, self.ports),
                BillingActivities(runner, self.ports, self.bundle, _now),
                MilestoneActivities(runner, self.ports, self.bundle, _now),
                SourceActivities(self.store, self.ports),
                issuing,
                following,
                mirroring,
                extracting,
            ],
            Role.HCM: [HcmActivities(runner, self.ports)],
            Role.BILLING_ENGINE: [issuing, following, crediting, mirroring, extracting],
        }
        return implementations(holders.get(role, []))

    async def aclose(self) -> None:
        """Close connections, outermost first."""
        await self.ports.aclose()
        await self.store.aclose()


def _now() -> datetime:
    return datetime.now(UTC)


def _today() -> date:
    return _now().date()


def load_policies(config: Config) -> Bundle:
    """Return the policy bundle that the configuration names.

    Raises:
        BundleInvalid: with every problem, by file, line and field.
    """
    return load_bundle(config.policies.bundle)


def build_house(config: Config) -> House:
    """Connect everything that the configuration names; nothing is sent yet.

    Raises:
        ConfigInvalid, BundleInvalid: something in it is wrong.
    """
    bundle = load_policies(config)
    cipher = record_cipher(config.worker.codec_key)
    store = make_store(config.store.secret_url, config.store.pool_size, cipher)
    ports, governors = connect_ports(config)
    roles = {name: connection.role for name, connection in config.connections.items()}
    people = actors(config)
    return House(store, ports, lambda _connection: bundle, governors, roles, people)


def actors(config: Config) -> dict[str, Actor]:
    """Return the people of the configuration as those who act on drafts, by name."""
    roles = config.people_roles()
    return {name: Actor(name, roles[name], person.email) for name, person in config.people.items()}


def connect_ports(config: Config) -> tuple[Ports, dict[str, LocalGovernor]]:
    """Build the adapter of every connection, with the governor of its budget; nothing is sent.

    Raises:
        SettingsInvalid: the settings of a connection do not fit its vendor.
    """
    ports, governors = Ports(), {}
    by_role: dict[Role, dict[str, Any]] = {
        Role.CRM: ports.crms,
        Role.ERP: ports.erps,
        Role.PSA: ports.psas,
        Role.HCM: ports.hcms,
        Role.BILLING_ENGINE: ports.billing_engines,
    }
    for name, connection in config.connections.items():
        governors[name] = LocalGovernor(connection.concurrency)
        by_role[connection.role][name] = build_adapter(
            connection.vendor,
            name,
            base_url=connection.base_url,
            settings=connection.settings,
            secrets=connection.secrets,
            timeouts=connection.http.model_dump(),
            ca_file=connection.ca_file,
            governor=governors[name],
        )
    return ports, governors


@dataclass(frozen=True)
class Office:
    """What the CLI works with."""

    config: Config
    store: Store
    sagas: SagaDesk
    sweeper: SweepActivities
    billing: BillingDesk
    queue: QueueDesk
    invoices: InvoiceDesk
    psa: str
    """The PSA meant where none is named; empty: none is connected."""
    worklist: Worklist
    backfills: BackfillDesk
    reconciliation: ReconciliationDesk
    kpis: KpiDesk


@asynccontextmanager
async def open_office(config_path: str | None) -> AsyncIterator[Office]:
    """Connect to Temporal and the store for one command.

    Raises:
        ConfigInvalid: something in the configuration is wrong.
        Unreachable: Temporal or PostgreSQL does not answer.
    """
    config = load_config(find_config(config_path))
    store = make_store(config.store.secret_url, 2, record_cipher(config.worker.codec_key))
    ports = _LazyPorts(config)
    traces = ExitStack()
    try:
        traces.enter_context(tracing(config, "cli"))
        await check_store(store, config)
        client = await connect_temporal(config)
        desk = saga_desk(config, client, store)
        psa = next(iter(config.role(Role.PSA)), "")
        billing = BillingDesk(
            client=client,
            store=store,
            people=config.people_roles(),
            open_period=period_opener(store, lambda _psa: load_policies(config)),
            psas=ports.psa,
            psa=psa,
        )
        sweeper = SweepActivities(store, client, SAGA_QUEUE, PIVOTS, priority_of)
        queue = QueueDesk(client, store)
        invoices = InvoiceDesk(client, store, actors(config))
        backfills = BackfillDesk(client, store, ports.source, desk.crm, psa)
        worklist = worklist_of(config, store)
        reconciliation = ReconciliationDesk(client, store, psa)
        yield Office(
            config,
            store,
            desk,
            sweeper,
            billing,
            queue,
            invoices,
            psa,
            worklist,
            backfills,
            reconciliation,
            kpi_desk(config, store),
        )
    finally:
        await ports.aclose()
        await store.aclose()
        traces.close()


class _LazyPorts:
    """The connected systems, for the few commands that ask one: others need no vendor's secrets."""

    def __init__(self, config: Config) -> None:
        self._config = config
        self._ports: Ports | None = None

    def psa(self, connection: str) -> Psa:
        """Return the PSA of this name."""
        return self._connected().psa(connection)

    def source(self, window: SourceWindow) -> Source:
        """Return the system that has what a backfill carries over."""
        return source_of(self._connected(), window)

    def _connected(self) -> Ports:
        if self._ports is None:
            self._ports, _ = connect_ports(self._config)
        return self._ports

    async def aclose(self) -> None:
        """Close what was connected."""
        if self._ports is not None:
            await self._ports.aclose()


def period_opener(
    store: Store, bundle: Callable[[str], Bundle]
) -> Callable[[str, str], Awaitable[str]]:
    """Return what tells which billing period is open for a PSA's project now.

    It raises `Refused` where nothing bills the project.
    """

    async def open_period(psa: str, project_id: str) -> str:
        policies = bundle(psa)
        try:
            versions = await engaged(store, psa, project_id, policies)
        except StepFailed as error:
            raise Refused(error.detail.message) from error
        entity = versions[-1].lines[0].legal_entity
        return billing_period(_now(), policies.policies.billing.entities[entity])

    return open_period
