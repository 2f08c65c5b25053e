"""Puts the parts together: configuration in; store, policies, adapters, activities, desk out.

The one place, with `operations.workers`, that knows all packages.
"""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Any

from activities.crm import CrmActivities
from activities.engine import EngineActivities
from activities.erp import ErpActivities
from activities.ports import Ports
from activities.psa import PsaActivities
from activities.registration import implementations
from activities.steps import StepRunner
from activities.sweep import SweepActivities
from adapters.governor import LocalGovernor
from adapters.registry import build_adapter, full_record_id
from canonical.ids import Role
from operations.config import Config, ConfigInvalid, find_config, load_config
from operations.sagas import SAGA_QUEUE, SagaDesk
from operations.servers import check_store
from operations.servers import connect_temporal as connect_temporal  # composition roots
from policies.bundle import Bundle, load_bundle
from store import Store, make_store
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

    def engine_activities(self) -> dict[str, Callable[..., Any]]:
        """Return what runs beside the workflows: the engine's own, store only."""
        engine = EngineActivities(
            self.store,
            lambda connection: self.bundle(connection).route(self.roles[connection], connection),
        )
        return implementations([engine])

    def vendor_activities(self, role: Role) -> dict[str, Callable[..., Any]]:
        """Return what runs on the queue of a connection of this role."""
        runner = StepRunner(self.store)
        holders: dict[Role, object] = {
            Role.CRM: CrmActivities(runner, self.ports, self.bundle, _today),
            Role.ERP: ErpActivities(runner, self.ports),
            Role.PSA: PsaActivities(runner, self.ports),
        }
        return implementations([holders[role]])

    async def aclose(self) -> None:
        """Close connections, outermost first."""
        await self.ports.aclose()
        await self.store.aclose()


def _today() -> date:
    return datetime.now(UTC).date()


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
    store = make_store(config.store.secret_url, config.store.pool_size)
    ports, governors = Ports(), {}
    by_role: dict[Role, dict[str, Any]] = {
        Role.CRM: ports.crms,
        Role.ERP: ports.erps,
        Role.PSA: ports.psas,
        Role.HCM: ports.hcms,
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
    roles = {name: connection.role for name, connection in config.connections.items()}
    return House(store, ports, lambda _crm: bundle, governors, roles)


@dataclass(frozen=True)
class Office:
    """What the CLI works with."""

    config: Config
    store: Store
    sagas: SagaDesk
    sweeper: SweepActivities


@asynccontextmanager
async def open_office(config_path: str | None) -> AsyncIterator[Office]:
    """Connect to Temporal and the store for one command.

    Raises:
        ConfigInvalid: something in the configuration is wrong.
        Unreachable: Temporal or PostgreSQL does not answer.
    """
    config = load_config(find_config(config_path))
    store = make_store(config.store.secret_url, 2)
    try:
        await check_store(store, config)
        client = await connect_temporal(config)
        crms = list(config.role(Role.CRM))
        if not crms:
            raise ConfigInvalid("There is no CRM among the connections of dealthread.toml.")
        desk = SagaDesk(
            client=client,
            store=store,
            people=config.people_roles(),
            ui_base_url=config.ui.base_url,
            crm=crms[0],
            full_id=lambda crm, id_: full_record_id(config.connections[crm].vendor, id_),
            crms=frozenset(crms),
        )
        yield Office(config, store, desk, SweepActivities(store, client, SAGA_QUEUE, PIVOTS))
    finally:
        await store.aclose()
