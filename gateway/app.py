"""The HTTP application: the door for events, the billing queue, health, metrics, OpenAPI document.

`make_app` takes what it works with; nothing here is global.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from fastapi import FastAPI, Request
from starlette.exceptions import HTTPException
from starlette.responses import Response

from gateway.answers import problem
from gateway.deliveries import Receiver, Refusal
from gateway.description import DESCRIPTION, HEALTH, METRICS, described
from gateway.door import EventsDoor
from gateway.metrics import GatewayMetrics
from gateway.pages import Pages, Probe
from gateway.queue_api import QueueApi, QueueParts
from gateway.writer import InboxWriter
from store.inbox import Inbox


@dataclass(frozen=True)
class Parts:
    """What the application works with."""

    inbox: Inbox
    receivers: Mapping[str, Receiver]
    """By connection."""
    probes: Mapping[str, Probe]
    """Servers that have to answer for `/healthz` to be well."""
    queue: QueueParts | None = None
    """The API of the billing queue; None: there is none."""
    metrics: GatewayMetrics = field(default_factory=GatewayMetrics)


def make_app(parts: Parts) -> EventsDoor:
    """Return the application; it takes events while its `running` lasts."""
    pages = Pages(parts.inbox, parts.metrics, parts.probes, sorted(parts.receivers))
    app = FastAPI(
        title="Dealthread gateway",
        version="1.0",
        description=DESCRIPTION,
        docs_url=None,  # their pages load scripts from elsewhere
        redoc_url=None,
    )
    app.add_api_route("/healthz", pages.healthz, methods=["GET"], **HEALTH)
    app.add_api_route("/metrics", pages.metrics, methods=["GET"], **METRICS)
    app.add_exception_handler(HTTPException, _no_such_thing)
    if parts.queue is not None:
        QueueApi(parts.queue).add_to(app)
    described(app, sorted(parts.receivers))
    writer = InboxWriter(parts.inbox, parts.metrics)
    return EventsDoor(app, parts.receivers, writer, parts.metrics)


async def _no_such_thing(_request: Request, error: Exception) -> Response:
    status = error.status_code if isinstance(error, HTTPException) else 500
    refusal = Refusal(status, "no_such_thing", "There is no such page, or not by this method.")
    answer = problem(refusal)
    if isinstance(error, HTTPException):
        answer.headers.update(error.headers or {})
    return answer
