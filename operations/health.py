"""The worker's health and metrics: `/healthz` for probes, `/metrics` for Prometheus."""

import asyncio
from collections.abc import AsyncIterator, Awaitable
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Final

import aiohttp
import structlog
from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST, REGISTRY, Gauge, generate_latest
from temporalio.client import Client

from operations.budgets import Shares
from operations.composition import House
from operations.config import Config, ConfigInvalid

PROBE_SECONDS: Final = 3.0
"""How long each server may take to give a sign of life; probes usually wait longer."""

OPEN_WORK_ITEMS = Gauge("dealthread_work_items_open", "Work items that wait for a person.")
PLACES = Gauge(
    "dealthread_connection_places",
    "Calls that this process may have under way at the vendor now.",
    ["connection"],
)
IN_FLIGHT = Gauge(
    "dealthread_connection_calls_in_flight", "Calls that are under way.", ["connection"]
)
THROTTLED = Gauge(
    "dealthread_connection_halvings", "How often the vendor made us halve.", ["connection"]
)

_log = structlog.get_logger("dealthread.health")


@asynccontextmanager
async def serving_health(
    config: Config, house: House, client: Client, shares: Shares, sdk_metrics_url: str
) -> AsyncIterator[None]:
    """Serve health and metrics on the configured host and port.

    Raises:
        ConfigInvalid: the port can't be opened.
    """
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(PROBE_SECONDS)) as http:
        pages = _Pages(house, client, shares, sdk_metrics_url, http)
        app = web.Application()
        app.add_routes([web.get("/healthz", pages.healthz), web.get("/metrics", pages.metrics)])
        runner = web.AppRunner(app, access_log=None)
        await runner.setup()
        host, port = config.worker.health_host, config.worker.health_port
        try:
            try:
                await web.TCPSite(runner, host, port).start()
            except OSError as error:
                raise ConfigInvalid(
                    f"worker.health_port: {host}:{port} can't be opened ({error.strerror}); "
                    "a second worker on this machine needs a port of its own."
                ) from error
            yield
        finally:
            await runner.cleanup()


class _Pages:
    def __init__(
        self,
        house: House,
        client: Client,
        shares: Shares,
        sdk_metrics_url: str,
        http: aiohttp.ClientSession,
    ) -> None:
        self._house = house
        self._client = client
        self._shares = shares
        self._sdk_metrics_url = sdk_metrics_url
        self._http = http

    async def healthz(self, _request: web.Request) -> web.Response:
        """Answer 200 while store and Temporal answer, else 503; always say which."""
        store, temporal = await asyncio.gather(
            _answers(self._house.store.database.check()),
            _answers(
                self._client.service_client.check_health(timeout=timedelta(seconds=PROBE_SECONDS))
            ),
        )
        healthy = store and temporal
        return web.json_response(
            {
                "status": "serving" if healthy else "unavailable",
                "store": "ok" if store else "does not answer",
                "temporal": "ok" if temporal else "does not answer",
                "connections": sorted(self._house.governors),
            },
            status=200 if healthy else 503,
        )

    async def metrics(self, _request: web.Request) -> web.Response:
        """Answer with our metrics and, after them, the SDK's; what can't be read is left out."""
        for name, places in self._shares.places().items():
            PLACES.labels(name).set(places)
        for name, governor in self._house.governors.items():
            IN_FLIGHT.labels(name).set(governor.in_flight)
            THROTTLED.labels(name).set(governor.halvings)
        try:
            async with asyncio.timeout(PROBE_SECONDS):
                OPEN_WORK_ITEMS.set(len(await self._house.store.work_items.list()))
        except Exception as error:
            OPEN_WORK_ITEMS.set(float("nan"))
            _log.warning("work_items_not_counted", error=type(error).__name__)
        return web.Response(
            body=generate_latest(REGISTRY) + await self._sdk_metrics(),
            headers={"Content-Type": CONTENT_TYPE_LATEST},
        )

    async def _sdk_metrics(self) -> bytes:
        try:
            async with self._http.get(self._sdk_metrics_url) as answer:
                return await answer.read()
        except (aiohttp.ClientError, TimeoutError) as error:
            _log.warning("sdk_metrics_not_read", error=type(error).__name__)
            return b""


async def _answers(probe: Awaitable[object]) -> bool:
    try:
        async with asyncio.timeout(PROBE_SECONDS):
            return await probe is not False
    except Exception as error:
        _log.warning("server_does_not_answer", error=type(error).__name__)
        return False
