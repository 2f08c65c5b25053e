"""The HTTP application: `POST /events/{connection}`, health, metrics, the OpenAPI document.

`make_app` takes what it works with; nothing here is global. The order of a delivery's checks is
that of their cost: connection, content type, size, signature, content; then the inbox, then the
answer.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Final

import structlog
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from prometheus_client import CONTENT_TYPE_LATEST
from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.responses import JSONResponse, Response

from gateway.answers import problem
from gateway.deliveries import Delivery, Receiver, Refusal, invalid
from gateway.description import DESCRIPTION, EVENTS, HEALTH, METRICS, described
from gateway.metrics import GatewayMetrics
from gateway.writer import InboxWriter
from store.errors import Conflict, StoreError
from store.inbox import Inbox

BODY_SECONDS: Final = 10
"""How long a body may take to arrive."""
PROBE_SECONDS: Final = 3.0
UNKNOWN: Final = "(unknown)"
"""What a connection that is not configured is counted under: names of strangers are no labels."""

NO_CONNECTION: Final = Refusal(404, "unknown_connection", "No such connection sends events here.")
NOT_STORABLE: Final = invalid("A value of the event can't be stored.")
UNAVAILABLE: Final = Refusal(503, "unavailable", "The inbox can't be reached: send it again.")

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
    gateway = _Gateway(parts)

    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        async with gateway.writer.running():
            yield

    app = FastAPI(
        title="Dealthread gateway",
        version="1.0",
        description=DESCRIPTION,
        lifespan=lifespan,
        docs_url=None,  # their pages load scripts from elsewhere
        redoc_url=None,
    )
    # Plain routes: nothing is validated by signature, since nothing is believed before its proof.
    app.add_api_route("/events/{connection}", gateway.receive, methods=["POST"], **EVENTS)
    app.add_api_route("/healthz", gateway.healthz, methods=["GET"], **HEALTH)
    app.add_api_route("/metrics", gateway.page, methods=["GET"], **METRICS)
    app.add_exception_handler(HTTPException, _no_such_thing)
    app.add_exception_handler(RequestValidationError, _not_understood)
    described(app, sorted(parts.receivers))
    return app


class _Gateway:
    def __init__(self, parts: Parts) -> None:
        self.writer = InboxWriter(parts.inbox, parts.metrics)
        self._parts = parts

    async def receive(self, request: Request) -> Response:
        """Take what a connected system tells."""
        name = request.path_params["connection"]
        receiver = self._parts.receivers.get(name)
        if receiver is None:
            return self._refused(UNKNOWN, NO_CONNECTION, problem)
        try:
            events = receiver.read(await _delivery(request, name, receiver))
            await self.writer.put(events)
        except Refusal as refusal:
            return self._refused(name, refusal, receiver.refused)
        except Conflict as error:
            _log.warning("event_not_storable", connection=name, error=str(error))
            return self._refused(name, NOT_STORABLE, receiver.refused)
        except StoreError as error:
            _log.error("inbox_unavailable", connection=name, error=str(error))
            return self._refused(name, UNAVAILABLE, receiver.refused)
        return receiver.accepted(events)

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

    async def page(self) -> Response:
        """Answer with what is counted here."""
        page = await self._parts.metrics.page(self._parts.inbox)
        return Response(page, headers={"Content-Type": CONTENT_TYPE_LATEST})

    def _refused(
        self, name: str, refusal: Refusal, answer: Callable[[Refusal], Response]
    ) -> Response:
        self._parts.metrics.refused.labels(name, refusal.reason).inc()
        _log.info("delivery_refused", connection=name, reason=refusal.reason)
        return answer(refusal)


async def _delivery(request: Request, name: str, receiver: Receiver) -> Delivery:
    """Read a request within its limits.

    Raises:
        Refusal: its type or size is not one that the sender may use.
    """
    headers = request.headers
    media_type = headers.get("content-type", "").partition(";")[0].strip().lower()
    if media_type not in receiver.media_types:
        wanted = " or ".join(sorted(receiver.media_types))
        raise Refusal(415, "wrong_content_type", f"The content type must be {wanted}.")
    if headers.get("content-encoding", "identity").lower() != "identity":
        raise Refusal(415, "wrong_content_encoding", "The body must not be compressed.")
    body = await _body(request, receiver.body_limit)
    return Delivery(name, media_type, _single(headers), request.query_params, body)


async def _body(request: Request, limit: int) -> bytes:
    said = request.headers.get("content-length", "")
    if said.isdecimal() and int(said) > limit:
        raise _too_large(limit)
    chunks: list[bytes] = []
    size = 0
    try:
        async with asyncio.timeout(BODY_SECONDS):
            async for chunk in request.stream():
                size += len(chunk)
                if size > limit:
                    raise _too_large(limit)
                chunks.append(chunk)
    except TimeoutError:
        raise Refusal(408, "too_slow", "The body took too long to arrive.") from None
    except ClientDisconnect:
        raise invalid("The body is cut off.", "cut_off") from None
    return b"".join(chunks)


def _too_large(limit: int) -> Refusal:
    return Refusal(413, "too_large", f"The body is longer than {limit} bytes.")


def _single(headers: Headers) -> dict[str, str]:
    """Return headers by name; one sent twice makes no second reading: both stand in it."""
    found: dict[str, str] = {}
    for name, value in headers.items():
        found[name] = f"{found[name]},{value}" if name in found else value
    return found


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


async def _not_understood(_request: Request, _error: Exception) -> Response:
    return problem(invalid("The request can't be understood."))
