"""`/healthz` and `/metrics`, which both processes of the gateway serve."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from http import HTTPStatus
from typing import Final

import structlog
from prometheus_client import CONTENT_TYPE_LATEST
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from gateway.metrics import GatewayMetrics
from store.inbox import Inbox

PROBE_SECONDS: Final = 3.0

Probe = Callable[[], Awaitable[object]]
"""Asks a server for a sign of life; it raises, or returns False, where there is none."""

_log = structlog.get_logger("dealthread.gateway")


class Pages:
    """How a process is, and what it counts."""

    def __init__(
        self,
        inbox: Inbox,
        metrics: GatewayMetrics,
        probes: Mapping[str, Probe],
        connections: Sequence[str],
    ) -> None:
        self._inbox = inbox
        self._metrics = metrics
        self._probes = probes
        self._connections = connections

    async def healthz(self) -> Response:
        """Answer 200 while every server answers, else 503; always say which."""
        names = list(self._probes)
        answers = await asyncio.gather(*(_answers(probe) for probe in self._probes.values()))
        healthy = all(answers)
        found = {
            name: "ok" if answer else "does not answer"
            for name, answer in zip(names, answers, strict=True)
        }
        return JSONResponse(
            {
                "status": "serving" if healthy else "unavailable",
                "servers": found,
                "connections": list(self._connections),
            },
            HTTPStatus.OK if healthy else HTTPStatus.SERVICE_UNAVAILABLE,
        )

    async def metrics(self) -> Response:
        """Answer with what is counted here."""
        page = await self._metrics.page(self._inbox)
        return Response(page, headers={"Content-Type": CONTENT_TYPE_LATEST})


def pages_app(pages: Pages) -> Starlette:
    """Return an application of nothing but these pages."""

    async def healthz(_request: Request) -> Response:
        return await pages.healthz()

    async def metrics(_request: Request) -> Response:
        return await pages.metrics()

    return Starlette(routes=[Route("/healthz", healthz), Route("/metrics", metrics)])


async def _answers(probe: Probe) -> bool:
    try:
        async with asyncio.timeout(PROBE_SECONDS):
            return await probe() is not False
    except Exception as error:
        _log.warning("server_does_not_answer", error=type(error).__name__)
        return False
