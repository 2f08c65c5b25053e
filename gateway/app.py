"""The HTTP application: the door for events, the billing queue, health, metrics, OpenAPI document.

`make_app` takes what it works with; nothing here is global.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from fastapi import FastAPI, Request
from starlette.exceptions import HTTPException
from starlette.responses import Response
from starlette.routing import Route

from gateway.answers import problem
from gateway.backfill_api import BackfillApi, BackfillParts
from gateway.deliveries import Receiver, Refusal
from gateway.description import DESCRIPTION, HEALTH, METRICS, described
from gateway.door import EventsDoor
from gateway.kpi_api import KpiApi, KpiParts
from gateway.metrics import GatewayMetrics
from gateway.pages import Pages, Probe
from gateway.queue_api import QueueApi, QueueParts
from gateway.reconcile_api import ReconcileApi, ReconcileParts
from gateway.trace_api import TraceApi, TraceParts
from gateway.work_api import WorkApi, WorkParts
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
    trace: TraceParts | None = None
    """The API of the trace; None: there is none."""
    work: WorkParts | None = None
    """The API of the worklist; None: there is none."""
    backfills: BackfillParts | None = None
    """The API of backfills; None: there is none."""
    reconciliations: ReconcileParts | None = None
    """The API of reconciliation; None: there is none."""
    kpis: KpiParts | None = None
    """The API of the key figures and the close; None: there is none."""
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
    if parts.trace is not None:
        TraceApi(parts.trace).add_to(app)
    if parts.work is not None:
        WorkApi(parts.work).add_to(app)
    if parts.backfills is not None:
        BackfillApi(parts.backfills).add_to(app)
    if parts.reconciliations is not None:
        ReconcileApi(parts.reconciliations).add_to(app)
    if parts.kpis is not None:
        KpiApi(parts.kpis).add_to(app)
    described(app, sorted(parts.receivers))
    writer = InboxWriter(parts.inbox, parts.metrics)
    return EventsDoor(app, parts.receivers, writer, parts.metrics)


async def _no_such_thing(request: Request, error: Exception) -> Response:
    status = error.status_code if isinstance(error, HTTPException) else 500
    refusal = Refusal(status, "no_such_thing", "There is no such page, or not by this method.")
    answer = problem(refusal)
    if isinstance(error, HTTPException):
        answer.headers.update(error.headers or {})
    if status == 405:
        answer.headers["Allow"] = ", ".join(_methods(request))
    return answer


def _methods(request: Request) -> list[str]:
    """Return all methods of the page asked for: each has a route of its own."""
    found: set[str] = set()
    path = request.scope["route"].path
    for route in request.app.routes:
        if isinstance(route, Route) and route.path == path:
            found |= route.methods or set()
    return sorted(found)
