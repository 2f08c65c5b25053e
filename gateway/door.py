"""`POST /events/{connection}`: the one path that is called hundreds of times a second.

Plain ASGI in front of the application and all its layers: routing, dependencies and validation of
a framework would cost more than all that is done here. The order of a delivery's checks is that of
their cost: connection, content type, size, proof, content; then the inbox, then the answer.
"""

import asyncio
from collections.abc import Callable, Mapping
from contextlib import AbstractAsyncContextManager
from typing import Final
from urllib.parse import parse_qsl

import structlog
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from gateway.answers import problem
from gateway.deliveries import Delivery, Receiver, Refusal, invalid
from gateway.metrics import GatewayMetrics
from gateway.writer import InboxWriter
from store.errors import Conflict, StoreError

PREFIX: Final = "/events/"
BODY_SECONDS: Final = 10
"""How long a body may take to arrive."""
QUERY_MAX: Final = 2_000
UNKNOWN: Final = "(unknown)"
"""What a connection that is not configured is counted under: names of strangers are no labels."""
NO_CONNECTION: Final = Refusal(404, "unknown_connection", "No such connection sends events here.")
NOT_BY_THIS_METHOD: Final = Refusal(405, "no_such_thing", "Events are sent by POST.")
NOT_STORABLE: Final = invalid("A value of the event can't be stored.")
UNAVAILABLE: Final = Refusal(503, "unavailable", "The inbox can't be reached: send it again.")
TOO_SLOW: Final = Refusal(408, "too_slow", "The body took too long to arrive.")
CUT_OFF: Final = invalid("The body is cut off.", "cut_off")

_log = structlog.get_logger("dealthread.gateway")


class EventsDoor:
    """Takes what is sent below `/events/`; all else goes on to the application behind."""

    def __init__(
        self,
        app: ASGIApp,
        receivers: Mapping[str, Receiver],
        writer: InboxWriter,
        metrics: GatewayMetrics,
    ) -> None:
        self._app = app
        self._receivers = receivers
        self._writer = writer
        self._metrics = metrics

    def running(self) -> AbstractAsyncContextManager[None]:
        """Write what is taken to the inbox until the block ends; what waits then is written."""
        return self._writer.running()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http" or not scope["path"].startswith(PREFIX):
            await self._app(scope, receive, send)
            return
        answer = await self._answer(scope, receive)
        await answer(scope, receive, send)

    async def _answer(self, scope: Scope, receive: Receive) -> Response:
        name = scope["path"].removeprefix(PREFIX)
        receiver = self._receivers.get(name)
        if receiver is None:
            return self._refused(UNKNOWN, NO_CONNECTION, problem)
        if scope["method"] != "POST":
            answer = self._refused(name, NOT_BY_THIS_METHOD, problem)
            answer.headers["Allow"] = "POST"
            return answer
        try:
            events = receiver.read(await _delivery(scope, receive, name, receiver))
            await self._writer.put(events)
        except Refusal as refusal:
            return self._refused(name, refusal, receiver.refused)
        except Conflict as error:
            _log.warning("event_not_storable", connection=name, error=str(error))
            return self._refused(name, NOT_STORABLE, receiver.refused)
        except StoreError as error:
            _log.error("inbox_unavailable", connection=name, error=str(error))
            return self._refused(name, UNAVAILABLE, receiver.refused)
        return receiver.accepted(events)

    def _refused(
        self, name: str, refusal: Refusal, answer: Callable[[Refusal], Response]
    ) -> Response:
        self._metrics.refused.labels(name, refusal.reason).inc()
        _log.info("delivery_refused", connection=name, reason=refusal.reason)
        return answer(refusal)


async def _delivery(scope: Scope, receive: Receive, name: str, receiver: Receiver) -> Delivery:
    """Read a request within its limits.

    Raises:
        Refusal: its type or size is not one that the sender may use.
    """
    headers = _headers(scope)
    media_type = headers.get("content-type", "").partition(";")[0].strip().lower()
    if media_type not in receiver.media_types:
        wanted = " or ".join(sorted(receiver.media_types))
        raise Refusal(415, "wrong_content_type", f"The content type must be {wanted}.")
    if headers.get("content-encoding", "identity").lower() != "identity":
        raise Refusal(415, "wrong_content_encoding", "The body must not be compressed.")
    limit = receiver.body_limit
    said = headers.get("content-length", "")
    if said.isdecimal() and int(said) > limit:
        raise _too_large(limit)
    body = await read_body(receive, limit)
    query = scope["query_string"].decode("latin-1")[:QUERY_MAX]
    return Delivery(name, media_type, headers, dict(parse_qsl(query)) if query else {}, body)


async def read_body(receive: Receive, limit: int) -> bytes:
    """Read a request's body within its limits.

    Raises:
        Refusal: it is too large, too slow, or cut off.
    """
    try:
        async with asyncio.timeout(BODY_SECONDS):
            return await _body(receive, limit)
    except TimeoutError:
        raise TOO_SLOW from None


async def _body(receive: Receive, limit: int) -> bytes:
    chunks: list[bytes] = []
    size = 0
    while True:
        message = await receive()
        if message["type"] != "http.request":
            raise CUT_OFF
        chunk = message.get("body", b"")
        size += len(chunk)
        if size > limit:
            raise _too_large(limit)
        chunks.append(chunk)
        if not message.get("more_body", False):
            return chunks[0] if len(chunks) == 1 else b"".join(chunks)


def _too_large(limit: int) -> Refusal:
    return Refusal(413, "too_large", f"The body is longer than {limit} bytes.")


def _headers(scope: Scope) -> dict[str, str]:
    """Return headers by name; one sent twice makes no second reading: both stand in it."""
    found: dict[str, str] = {}
    for raw_name, raw_value in scope["headers"]:
        name, value = raw_name.decode("latin-1"), raw_value.decode("latin-1")
        found[name] = f"{found[name]},{value}" if name in found else value
    return found
