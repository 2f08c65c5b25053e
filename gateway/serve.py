"""Puts the gateway together from `dealthread.toml` and runs it until it is asked to stop."""

import asyncio
import contextlib
import signal
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

import structlog
import uvicorn
from fastapi import FastAPI
from temporalio.client import Client

from adapters.registry import full_record_id
from gateway.app import Parts, make_app
from gateway.drain import Drain, Rules
from gateway.metrics import GatewayMetrics
from gateway.pollers import Polled, Poller
from gateway.receivers import receivers_of
from gateway.router import EventRouter, OpenPeriod
from gateway.routing import Router
from gateway.signals import TemporalSender
from operations.codec import record_cipher
from operations.config import Config, ConfigInvalid
from operations.people import Refused
from operations.servers import Unreachable, awaited, check_store, connect_temporal
from store import Store, make_store

GRACE_SECONDS: Final = 10
"""How long a stop waits for deliveries under way."""
CONNECTIONS_MAX: Final = 1_000
"""Beyond it senders get 503: what they hold in memory has a limit."""
BACKLOG: Final = 1_024
KEEP_ALIVE_SECONDS: Final = 30
RETRY_SECONDS: Final = 5.0
"""Between two tries to reach Temporal: events are received meanwhile."""

_log = structlog.get_logger("dealthread.gateway")


@dataclass(frozen=True)
class Extensions:
    """What the composition adds; all of it has a default."""

    open_period: Callable[[Store], OpenPeriod] | None = None
    """None: the calendar month, for projects that have an engagement."""
    polled: Callable[[Store], Sequence[Polled]] = lambda _store: ()
    """The feeds to read."""


NOTHING: Final = Extensions()


async def serve(config: Config, extensions: Extensions = NOTHING) -> None:
    """Receive, drain and poll until SIGTERM or SIGINT.

    Raises:
        ConfigInvalid: the port can't be opened, or a key is wrong.
        Unreachable: PostgreSQL does not answer in time, or has no tables.
    """
    cipher = record_cipher(config.worker.codec_key)
    store = make_store(config.store.secret_url, config.store.pool_size, cipher)
    try:
        await awaited(lambda: check_store(store, config), config.worker.start_seconds)
        await _serve(config, store, extensions)
    finally:
        await store.aclose()


async def _serve(config: Config, store: Store, extensions: Extensions) -> None:
    metrics = GatewayMetrics()
    parts = Parts(
        inbox=store.inbox,
        receivers=receivers_of(config),
        probes={"store": store.database.check},
        metrics=metrics,
    )
    server = _Server(_uvicorn(config, make_app(parts)))
    background = [
        asyncio.create_task(_drained(config, store, metrics, extensions)),
        *(
            asyncio.create_task(Poller(polled, store.inbox, store.poll_marks, metrics).run())
            for polled in extensions.polled(store)
        ),
    ]
    _log.info("serving", address=address(config), connections=sorted(parts.receivers))
    try:
        with _stopping(server):
            await server.serve()
    except SystemExit:
        gateway = config.gateway
        raise ConfigInvalid(
            f"gateway.port: {gateway.host}:{gateway.port} can't be opened; "
            "a second gateway on this machine needs a port of its own."
        ) from None
    finally:
        for task in background:
            task.cancel()
        await asyncio.gather(*background, return_exceptions=True)
        _log.info("stopped")


def address(config: Config) -> str:
    """Return where the gateway listens."""
    return f"http://{config.gateway.host}:{config.gateway.port}"


async def _drained(
    config: Config, store: Store, metrics: GatewayMetrics, extensions: Extensions
) -> None:
    """Drain the inbox once Temporal answers; receiving does not wait for that."""
    client = await _temporal(config)
    settings = config.gateway
    rules = Rules(
        tick_seconds=settings.drain_seconds,
        attempts=settings.attempts,
        keep=timedelta(days=settings.keep_days),
    )
    period = extensions.open_period
    router = make_router(config, store, None if period is None else period(store))
    await Drain(store.inbox, router, TemporalSender(client), metrics, rules).run()


async def _temporal(config: Config) -> Client:
    while True:
        try:
            return await connect_temporal(config)
        except Unreachable as error:
            _log.warning("temporal_not_reached", error=str(error))
        await asyncio.sleep(RETRY_SECONDS)


def make_router(config: Config, store: Store, open_period: OpenPeriod | None = None) -> Router:
    """Return the router of a configuration."""
    return EventRouter(
        open_period=open_period or calendar_month(store),
        full_id=lambda crm, id_: full_record_id(config.connections[crm].vendor, id_),
    )


def calendar_month(store: Store) -> OpenPeriod:
    """Return a rule by which a project's open period is the month in UTC.

    A project is known by its engagement.
    """

    async def period(psa: str, project: str) -> str:
        if not await store.engagements.of_project(psa, project):
            raise Refused(f"No engagement has a project {project} in {psa}.")
        return f"{datetime.now(UTC):%Y-%m}"

    return period


class _Server(uvicorn.Server):
    """Leaves signals to us: uvicorn would raise them again, and end the process in the middle."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


@contextlib.contextmanager
def _stopping(server: uvicorn.Server) -> Iterator[None]:
    loop = asyncio.get_running_loop()

    def stop() -> None:
        server.should_exit = True

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop)
    try:
        yield
    finally:
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.remove_signal_handler(number)


def _uvicorn(config: Config, app: FastAPI) -> uvicorn.Config:
    return uvicorn.Config(
        app,
        host=config.gateway.host,
        port=config.gateway.port,
        log_config=None,
        access_log=False,
        server_header=False,
        backlog=BACKLOG,
        limit_concurrency=CONNECTIONS_MAX,
        timeout_keep_alive=KEEP_ALIVE_SECONDS,
        timeout_graceful_shutdown=GRACE_SECONDS,
    )
