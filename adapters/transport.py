"""The transport below httpx, and what each of its failures says: never sent, or outcome unknown?

`httpx-aiohttp` is several times as fast as httpx's own transport, but two things of it would be
wrong for writes, and are put right here (aiohttp 3.14, httpx-aiohttp 0.2, both proved in tests):

* aiohttp silently repeats PUT and DELETE when a reused connection turns out to be closed;
* httpx-aiohttp reports a connection that breaks after sending as `ConnectTimeout`.
"""

import ssl
from enum import Enum
from pathlib import Path
from typing import Final

import aiohttp
import httpx
from httpx_aiohttp import AiohttpTransport

KEEPALIVE_SECONDS: Final = 15.0
"""An idle connection is given up early: vendors close theirs after 20 s or more (unverified)."""


class Fate(Enum):
    """How far a failed request came."""

    NEVER_SENT = "never sent"
    SENT = "sent, no usable answer"
    UNUSABLE = "cannot be sent as it is"


FATES: Final[dict[type[Exception], Fate]] = {
    httpx.ConnectError: Fate.NEVER_SENT,
    httpx.ConnectTimeout: Fate.NEVER_SENT,
    httpx.PoolTimeout: Fate.NEVER_SENT,
    httpx.ProxyError: Fate.NEVER_SENT,
    httpx.UnsupportedProtocol: Fate.UNUSABLE,
    httpx.LocalProtocolError: Fate.UNUSABLE,
    httpx.InvalidURL: Fate.UNUSABLE,
    httpx.CookieConflict: Fate.UNUSABLE,
    # All that is left happens once bytes may have gone out, or is too vague to say.
    httpx.HTTPError: Fate.SENT,
    httpx.StreamError: Fate.SENT,
    aiohttp.ClientError: Fate.SENT,
    OSError: Fate.SENT,
}

_NEVER_SENT: Final = (
    aiohttp.ClientConnectorError,
    aiohttp.ConnectionTimeoutError,
    aiohttp.ServerFingerprintMismatch,
    aiohttp.ClientHttpProxyError,
)
_UNUSABLE: Final = (aiohttp.InvalidURL, aiohttp.NonHttpUrlClientError)


def fate_of(error: Exception) -> Fate:
    """Return how far the request came; the nearest class in the table decides."""
    return next((FATES[kind] for kind in type(error).__mro__ if kind in FATES), Fate.SENT)


def httpx_class(kind: type[Exception]) -> type[httpx.TransportError]:
    """Return the httpx class that says the same as aiohttp's (or the system's) class."""
    if issubclass(kind, aiohttp.ConnectionTimeoutError):
        return httpx.ConnectTimeout
    if issubclass(kind, _NEVER_SENT):
        return httpx.ConnectError
    if issubclass(kind, _UNUSABLE):
        return httpx.UnsupportedProtocol
    return httpx.ReadTimeout if issubclass(kind, TimeoutError) else httpx.ReadError


def vendor_transport(
    verify: ssl.SSLContext | Path | None, connections: int
) -> httpx.AsyncBaseTransport:
    """Return a transport that keeps connections, sends each request once and follows nothing.

    `verify`: the CA bundle or context to check certificates with; None for the usual CAs.
    """
    context = ssl_context(verify)

    def session() -> aiohttp.ClientSession:
        return aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(
                limit=connections, ssl=context, keepalive_timeout=KEEPALIVE_SECONDS
            ),
            cookie_jar=aiohttp.DummyCookieJar(),
            middlewares=(_send_once,),
            trust_env=False,
        )

    return AiohttpTransport(verify=context, client=session)


def ssl_context(verify: ssl.SSLContext | Path | None) -> ssl.SSLContext:
    """Return a context that always checks certificates and host names."""
    if isinstance(verify, ssl.SSLContext):
        return verify
    if verify is None:
        return httpx.create_ssl_context()
    return ssl.create_default_context(cafile=str(verify))


async def _send_once(
    request: aiohttp.ClientRequest, handler: aiohttp.ClientHandlerType
) -> aiohttp.ClientResponse:
    """Turn failures into httpx's own here, below the place where aiohttp would send again."""
    try:
        return await handler(request)
    except (aiohttp.ClientError, OSError) as error:
        raise httpx_class(type(error))(f"{type(error).__name__}: {error}") from error
