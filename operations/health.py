"""The worker's health and metrics: `/healthz` for probes, `/metrics` for Prometheus."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST, REGISTRY, Gauge, generate_latest

from operations.composition import House
from operations.config import Config

OPEN_WORK_ITEMS = Gauge("dealthread_work_items_open", "Work items that wait for a person.")
GOVERNOR_LIMIT = Gauge(
    "dealthread_connection_places", "Calls that may be under way now.", ["connection"]
)


@asynccontextmanager
async def serving_health(config: Config, house: House) -> AsyncIterator[None]:
    """Serve health and metrics on the configured host and port."""

    async def healthz(_request: web.Request) -> web.Response:
        await house.store.database.check()
        return web.json_response({"status": "serving", "connections": sorted(house.governors)})

    async def metrics(_request: web.Request) -> web.Response:
        OPEN_WORK_ITEMS.set(len(await house.store.work_items.list()))
        for name, governor in house.governors.items():
            GOVERNOR_LIMIT.labels(name).set(governor.limit)
        return web.Response(
            body=generate_latest(REGISTRY), headers={"Content-Type": CONTENT_TYPE_LATEST}
        )

    app = web.Application()
    app.add_routes([web.get("/healthz", healthz), web.get("/metrics", metrics)])
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    try:
        await web.TCPSite(runner, config.worker.health_host, config.worker.health_port).start()
        yield
    finally:
        await runner.cleanup()
