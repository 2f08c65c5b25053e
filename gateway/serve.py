"""Puts the gateway's two processes together from `dealthread.toml`.

The door receives. The drain sends on what the inbox holds, and reads the feeds of those that do not
push: a process of its own, so that none of its work makes a sender wait. They meet in the inbox
alone; each may be stopped, killed or run twice without the other.
"""

import asyncio
import os
from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager, nullcontext
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

import structlog
from temporalio.client import Client

from adapters.registry import full_record_id
from gateway.app import Parts, make_app
from gateway.callers import Callers
from gateway.client_holds import Holds
from gateway.drain import Drain, Rules
from gateway.metrics import GatewayMetrics
from gateway.pages import Pages, Probe, pages_app
from gateway.pollers import Polled, Poller
from gateway.queue_api import QueueParts
from gateway.receivers import receivers_of
from gateway.router import EventRouter, OpenPeriod
from gateway.server import door_place, drain_place, listen, opened_store
from gateway.signals import TemporalSender
from gateway.temporal_link import link_of
from operations.config import Config
from operations.queue import QueueDesk
from operations.servers import awaited, connect_temporal
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
        app = make_app(Parts(store.inbox, receivers, probes, queue=_queue(config, store)))
        _log.info("serving", address=place.url, connections=sorted(receivers))
        async with app.running():
            await listen(app, place)
    _log.info("stopped")


def _queue(config: Config, store: Store) -> QueueParts:
    link = link_of(config)

    async def desk() -> QueueDesk:
        return QueueDesk(await link.client(), store)

    return QueueParts(Callers(config.people), store.drafts, desk)


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
