"""Puts the gateway's two processes together from `dealthread.toml`.

The door receives. The drain sends on what the inbox holds, and reads the feeds of those that do not
push: a process of its own, so that none of its work makes a sender wait. They meet in the inbox
alone; each may be stopped, killed or run twice without the other.
"""

import asyncio
import os
from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager, aclosing, nullcontext
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

import structlog
from temporalio.client import Client

from adapters.registry import full_record_id
from canonical.ids import Role
from gateway.app import Parts, make_app
from gateway.backfill_api import BackfillParts
from gateway.callers import Callers
from gateway.client_holds import Holds
from gateway.drain import Drain, Rules
from gateway.kpi_api import KpiParts
from gateway.metrics import GatewayMetrics
from gateway.pages import Pages, Probe, pages_app
from gateway.pollers import Polled, Poller
from gateway.queue_api import QueueParts
from gateway.receivers import receivers_of
from gateway.reconcile_api import ReconcileParts
from gateway.router import EventRouter, OpenPeriod
from gateway.server import door_place, drain_place, listen, opened_store
from gateway.signals import TemporalSender
from gateway.temporal_link import TemporalLink, link_of
from gateway.trace_api import TraceParts
from gateway.work_api import WorkParts
from operations.backfill import BackfillDesk
from operations.config import Config
from operations.desks import saga_desk, worklist_of
from operations.kpis import kpi_desk
from operations.queue import QueueDesk
from operations.sagas import SagaDesk
from operations.servers import awaited, connect_temporal
from operations.trace.opening import tracer_of
from store import Store
from store.known_invoices import KnownInvoices

NICENESS: Final = 5
"""Of the drain: where it shares processors with the door, senders come first."""

_log = structlog.get_logger("dealthread.gateway")


@dataclass(frozen=True)
class Extensions:
    """What the composition adds to the drain."""

    open_period: Callable[[Store], OpenPeriod]
    polled: Callable[[Store], Sequence[Polled]]
    """The feeds to read."""
    holds: Callable[[Store], Holds] | None = None
    """Sees to clients that the CRM holds."""
    budgets: Callable[[Store], AbstractAsyncContextManager[object]] = lambda _store: nullcontext()
    """Holds this process's part of the vendors' budgets while it reads."""


async def serve_door(config: Config) -> None:
    """Receive events until SIGTERM or SIGINT.

    Raises:
        ConfigInvalid: the port can't be opened, or a key is wrong.
        Unreachable: PostgreSQL does not answer in time, or has no tables.
    """
    place = door_place(config)
    async with opened_store(config) as store:
        receivers = receivers_of(config)
        probes: dict[str, Probe] = {"store": store.database.check}
        callers, link = Callers(config.people), link_of(config)
        figures = kpi_desk(config, store)
        metrics = GatewayMetrics(figures)
        app = make_app(
            Parts(
                store.inbox,
                receivers,
                probes,
                queue=_queue(store, callers, link),
                trace=TraceParts(callers, tracer_of(config, store)),
                work=_work(config, store, callers, link),
                backfills=_backfills(config, store, callers, link),
                reconciliations=ReconcileParts(callers, store.reconciliation),
                kpis=KpiParts(callers, figures),
                metrics=metrics,
            )
        )
        _log.info("serving", address=place.url, connections=sorted(receivers))
        async with app.running(), aclosing(metrics):
            await listen(app, place)
    _log.info("stopped")


def _queue(store: Store, callers: Callers, link: TemporalLink) -> QueueParts:
    async def desk() -> QueueDesk:
        return QueueDesk(await link.client(), store)

    return QueueParts(callers, store.drafts, desk)


def _work(config: Config, store: Store, callers: Callers, link: TemporalLink) -> WorkParts:
    async def desk() -> SagaDesk:
        return saga_desk(config, await link.client(), store)

    return WorkParts(callers, worklist_of(config, store), desk)


def _backfills(config: Config, store: Store, callers: Callers, link: TemporalLink) -> BackfillParts:
    crms, psas = config.role(Role.CRM), config.role(Role.PSA)

    async def desk() -> BackfillDesk:
        return BackfillDesk(
            await link.client(),
            store,
            crm=next(iter(crms), ""),
            psa=next(iter(psas), ""),
            crms=frozenset(crms),
            psas=frozenset(psas),
        )

    return BackfillParts(callers, store, desk)


async def serve_drain(config: Config, extensions: Extensions) -> None:
    """Send events on, and read feeds, until SIGTERM or SIGINT.

    Raises:
        ConfigInvalid: the port of its health can't be opened, or a key is wrong.
        Unreachable: PostgreSQL or Temporal does not answer in time.
    """
    place = drain_place(config)
    os.nice(NICENESS)
    async with opened_store(config) as store:
        client = await awaited(lambda: connect_temporal(config), config.worker.start_seconds)
        metrics = GatewayMetrics()
        feeds = extensions.polled(store)
        probes: dict[str, Probe] = {
            "store": store.database.check,
            "temporal": client.service_client.check_health,
        }
        pages = Pages(store.inbox, metrics, probes, [polled.connection for polled in feeds])
        drain = _drain(config, store, client, metrics, extensions)
        pollers = [Poller(polled, store.inbox, store.poll_marks, metrics) for polled in feeds]
        work = [drain.run(), *(poller.run() for poller in pollers)]
        async with extensions.budgets(store):
            background = [asyncio.create_task(each) for each in work]
            _log.info("draining", health=f"{place.url}/healthz")
            try:
                await listen(pages_app(pages), place)
            finally:
                for task in background:
                    task.cancel()
                await asyncio.gather(*background, return_exceptions=True)
    _log.info("stopped")


def _drain(
    config: Config, store: Store, client: Client, metrics: GatewayMetrics, extensions: Extensions
) -> Drain:
    settings = config.gateway
    rules = Rules(
        tick_seconds=settings.drain_seconds,
        attempts=settings.attempts,
        keep=timedelta(days=settings.keep_days),
    )
    router = EventRouter(
        open_period=extensions.open_period(store),
        full_id=lambda crm, id_: full_record_id(config.connections[crm].vendor, id_),
        invoices=KnownInvoices(store.database),
        holds=extensions.holds(store) if extensions.holds is not None else None,
    )
    return Drain(store.inbox, router, TemporalSender(client), metrics, rules)
