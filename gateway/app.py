"""The HTTP application: the door for events, health, metrics, the OpenAPI document.

`make_app` takes what it works with; nothing here is global.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Final

import structlog
from fastapi import FastAPI, Request
from prometheus_client import CONTENT_TYPE_LATEST
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse, Response

from gateway.answers import problem
from gateway.deliveries import Receiver, Refusal
from gateway.description import DESCRIPTION, HEALTH, METRICS, described
from gateway.door import EventsDoor
from gateway.metrics import GatewayMetrics
from gateway.writer import InboxWriter
from store.inbox import Inbox

PROBE_SECONDS: Final = 3.0

Probe = Callable[[], Awaitable[object]]

_log = structlog.get_logger("dealthread.gateway")


@dataclass(frozen=True)
class Parts:
    """What the application works with."""

    inbox: Inbox
    receivers: Mapping[str, Receiver]
    """By connection."""
    probes: Mapping[str, Probe]
    """Servers that have to answer for `/healthz` to be well."""
    metrics: GatewayMetrics = field(default_factory=GatewayMetrics)


def make_app(parts: Parts) -> FastAPI:
    """Return the application; it writes to the inbox while its lifespan lasts."""
    pages = _Pages(parts)
    writer = InboxWriter(parts.inbox, parts.metrics)

    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        async with writer.running():
            yield

    app = FastAPI(
        title="Dealthread gateway",
        version="1.0",
        description=DESCRIPTION,
        lifespan=lifespan,
        docs_url=None,  # their pages load scripts from elsewhere
        redoc_url=None,
    )
    app.add_middleware(EventsDoor, receivers=parts.receivers, writer=writer, metrics=parts.metrics)
    app.add_api_route("/healthz", pages.healthz, methods=["GET"], **HEALTH)
    app.add_api_route("/metrics", pages.metrics, methods=["GET"], **METRICS)
    app.add_exception_handler(HTTPException, _no_such_thing)
    described(app, sorted(parts.receivers))
    return app


class _Pages:
    def __init__(self, parts: Parts) -> None:
        self._parts = parts

    async def healthz(self) -> Response:
        """Answer 200 while every server answers, else 503; always say which."""
        names = list(self._parts.probes)
        answers = await asyncio.gather(*(_answers(probe) for probe in self._parts.probes.values()))
        healthy = all(answers)
        found = {
            name: "ok" if answer else "does not answer"
            for name, answer in zip(names, answers, strict=True)
        }
        return JSONResponse(
            {
                "status": "serving" if healthy else "unavailable",
                "servers": found,
                "connections": sorted(self._parts.receivers),
            },
            HTTPStatus.OK if healthy else HTTPStatus.SERVICE_UNAVAILABLE,
        )

    async def metrics(self) -> Response:
        """Answer with what is counted here."""
        page = await self._parts.metrics.page(self._parts.inbox)
        return Response(page, headers={"Content-Type": CONTENT_TYPE_LATEST})


async def _answers(probe: Probe) -> bool:
    try:
        async with asyncio.timeout(PROBE_SECONDS):
            return await probe() is not False
    except Exception as error:
        _log.warning("server_does_not_answer", error=type(error).__name__)
        return False


async def _no_such_thing(_request: Request, error: Exception) -> Response:
    status = error.status_code if isinstance(error, HTTPException) else 500
    refusal = Refusal(status, "no_such_thing", "There is no such page, or not by this method.")
    answer = problem(refusal)
    if isinstance(error, HTTPException):
        answer.headers.update(error.headers or {})
    return answer
