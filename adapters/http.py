"""One call to a vendor: sent at most once, with a deadline, and its failure told apart.

Every vendor's client is built on `VendorHttp`. It owns timeouts, credentials, the account's
budget, correlation, logs, spans and the first sorting of errors; what a status or an error code
means at one vendor is said by that vendor's `classify`. It never retries: Temporal does. The one
replay is of a call refused for expired credentials, which is decided before any effect.
"""

import asyncio
import ssl
import time
from collections.abc import Callable, Container, Mapping, Sequence
from contextvars import ContextVar
from dataclasses import dataclass, field
from datetime import UTC, datetime
from http.cookiejar import CookieJar, DefaultCookiePolicy
from pathlib import Path
from typing import Final, TypeAlias
from urllib.parse import quote, urlencode

import httpx
import structlog
from opentelemetry import trace

from adapters.auth import Authenticator, Method, RequestFacts
from adapters.errors import AdapterError, Forbidden, Invalid, OutcomeUnknown, RateLimited, Transient
from adapters.governor import Governor, call_priority
from adapters.masking import mask
from adapters.statuses import Answer, Classify, Reply, default_error, unusable
from adapters.transport import FATES, Fate, fate_of, vendor_transport
from adapters.wire import JsonBody, JsonValue, dump_json, load_json, retry_after_seconds

__all__ = ["Answer", "Classify", "Reply", "Timeouts", "VendorHttp", "correlation_id"]

ANSWER_BYTES_MAX: Final = 16 * 1024 * 1024
CONNECTIONS_MAX: Final = 100
SUCCESS: Final = range(200, 300)
REQUEST_ID_HEADERS: Final = ("x-request-id", "request-id")

correlation_id: ContextVar[str] = ContextVar("correlation_id", default="")
"""Sent with every call of the current task; set by the activity layer."""

Params: TypeAlias = Mapping[str, str | int] | Sequence[tuple[str, str | int]]

_log = structlog.get_logger("dealthread.adapters.http")
_tracer = trace.get_tracer("dealthread.adapters")


@dataclass(frozen=True)
class Timeouts:
    """Seconds each part of a call may take; `total` bounds sending and reading together.

    Neither waiting for the governor nor fetching a token counts into `total`. A write that is
    slow to go out is bounded by `total`: the transport has no limit of its own for that part.
    `pool` covers waiting for a free connection and connecting, `connect` each try to connect.
    """

    connect: float = 5.0
    read: float = 30.0
    write: float = 30.0
    pool: float = 30.0
    total: float = 60.0


@dataclass(frozen=True)
class _Call:
    """One request, ready to be sent once or, after expired credentials, twice."""

    method: Method
    url: httpx.URL
    operation: str
    write: bool
    body: bytes
    headers: dict[str, str]
    expect: Container[int]
    authenticated: bool


@dataclass
class _Seen:
    """What log and span tell of one attempt."""

    attempt: int
    status: int | None = None
    error_type: str = ""
    started: float = field(default_factory=time.perf_counter)


class _TooLarge(Exception):
    """The answer is longer than we take."""


class VendorHttp:
    """The HTTP client of one connection.

    `base_url`: relative paths are appended to it, its own path included; absolute URLs, as
    vendors give them for the next page, must have its origin. `verify`: CA bundle or context,
    None for the usual CAs. `transport` replaces the network in tests.
    """

    def __init__(
        self,
        *,
        vendor: str,
        connection: str,
        base_url: str,
        auth: Authenticator,
        classify: Classify,
        governor: Governor,
        timeouts: Timeouts | None = None,
        verify: ssl.SSLContext | Path | None = None,
        transport: httpx.AsyncBaseTransport | None = None,
        answer_bytes_max: int = ANSWER_BYTES_MAX,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self.vendor = vendor
        self.connection = connection
        self._auth = auth
        self._classify = classify
        self._governor = governor
        self._timeouts = timeouts or Timeouts()
        self._answer_bytes_max = answer_bytes_max
        self._now = now
        seconds = self._timeouts
        self._client = httpx.AsyncClient(
            base_url=base_url,
            transport=transport or vendor_transport(verify, CONNECTIONS_MAX),
            timeout=httpx.Timeout(
                connect=seconds.connect,
                read=seconds.read,
                write=seconds.write,
                pool=seconds.pool,
            ),
            follow_redirects=False,
            trust_env=False,
            # A session cookie would carry one call's state into another's.
            cookies=CookieJar(DefaultCookiePolicy(allowed_domains=[])),
        )

    async def request(
        self,
        method: Method,
        path_or_url: str,
        *,
        operation: str,
        write: bool,
        json: JsonBody | None = None,
        form: Params | None = None,
        params: Params | None = None,
        headers: Mapping[str, str] | None = None,
        expect: Container[int] = SUCCESS,
        authenticated: bool = True,
    ) -> Answer:
        """Make one call and return its answer, or raise an `AdapterError`.

        `operation` names the business act, for logs and errors. `write` says that the call may
        have an effect, so that a missing answer is `OutcomeUnknown`. `authenticated=False` is for
        token endpoints (with `write=False`: asking twice does no harm): it adds no credentials,
        takes no slot of the governor, since the call that waits for the token holds one, and may
        go to another origin.
        """
        try:
            body, content_type = _encoded(json, form)
            call = _Call(
                method=method,
                url=self._url(path_or_url, params, authenticated),
                operation=operation,
                write=write,
                body=body,
                headers=_headers(content_type, headers or {}),
                expect=expect,
                authenticated=authenticated,
            )
        except (ValueError, TypeError, httpx.InvalidURL) as error:
            text = f"The request cannot be sent: {error}"
            raise Invalid(text, vendor=self.vendor, operation=operation) from error
        result, proof = await self._attempt(call, 1)
        if _is_expired(result) and authenticated and await self._auth.refresh(proof):
            result, _ = await self._attempt(call, 2)
        if isinstance(result, AdapterError):
            raise result
        return result

    async def aclose(self) -> None:
        """Close the connections; the client is not used afterwards."""
        await self._client.aclose()

    def _url(self, path_or_url: str, params: Params | None, authenticated: bool) -> httpx.URL:
        url = self._client.build_request("GET", path_or_url).url
        home = self._client.base_url
        if authenticated and (url.scheme, url.host, url.port) != (
            home.scheme,
            home.host,
            home.port,
        ):
            # A link in an answer must not carry our credentials elsewhere.
            raise ValueError(f"{url.host} is not the host of this connection")
        if not params:
            return url
        pairs = params.items() if isinstance(params, Mapping) else params
        return url.copy_merge_params(httpx.QueryParams([(k, str(v)) for k, v in pairs]))

    async def _attempt(
        self, call: _Call, number: int
    ) -> tuple[Answer | AdapterError, dict[str, str]]:
        if not call.authenticated:
            return await self._observed(call, {}, number), {}
        async with self._governor.slot(call_priority.get()):
            # Signed once the slot is there: a signature's timestamp must not age in the queue.
            proof = await self._auth.headers(RequestFacts(call.method, str(call.url), call.body))
            result = await self._observed(call, proof, number)
        if isinstance(result, RateLimited):
            self._governor.throttled(result.retry_after_seconds)
        elif isinstance(result, Answer) or (result.status and result.status < 500):
            self._governor.succeeded()
        return result, proof

    async def _observed(
        self, call: _Call, proof: dict[str, str], number: int
    ) -> Answer | AdapterError:
        seen = _Seen(number, error_type="cancelled")
        with _tracer.start_as_current_span(
            f"{self.vendor} {call.operation}",
            kind=trace.SpanKind.CLIENT,
            record_exception=False,  # texts of foreign errors are not masked
            set_status_on_exception=False,
        ) as span:
            try:
                answer = await self._exchange(call, proof, seen)
            except AdapterError as error:
                seen.error_type = str(error.reason)
                error.locate(
                    vendor=self.vendor,
                    operation=call.operation,
                    status=seen.status,
                    request_id=None,
                )
                return error
            else:
                seen.error_type = ""
                return answer
            finally:
                self._tell(call, seen, span)

    async def _exchange(self, call: _Call, proof: dict[str, str], seen: _Seen) -> Answer:
        try:
            headers = {**call.headers, **_checked(proof)}
        except ValueError as error:
            raise Forbidden(f"The credentials cannot be used: {error}") from error
        request = self._client.build_request(
            call.method, call.url, content=call.body or None, headers=headers
        )
        try:
            async with asyncio.timeout(self._timeouts.total):
                response = await self._client.send(request, stream=True)
                seen.status = response.status_code
                try:
                    content = await self._read(response)
                finally:
                    await response.aclose()
        except _TooLarge:
            raise unusable(call.write, "it is too large") from None
        except tuple(FATES) as error:
            raise _failure(call, error, answered=seen.status is not None) from error
        return self._judged(call, response, content)

    async def _read(self, response: httpx.Response) -> bytes:
        content = bytearray()
        async for chunk in response.aiter_bytes():
            content += chunk
            if len(content) > self._answer_bytes_max:
                raise _TooLarge
        return bytes(content)

    def _judged(self, call: _Call, response: httpx.Response, content: bytes) -> Answer:
        """Return the answer, or raise what the vendor, or else the status, says that it is."""
        status, headers = response.status_code, response.headers
        text, parsed, malformed = _decoded(response, content)
        if status in call.expect:
            if malformed:
                raise unusable(call.write, "it says that it is JSON and is not", text)
            return Answer(status, headers, parsed, text)
        reply = Reply(
            status=status,
            headers=headers,
            json=parsed,
            text=text,
            operation=call.operation,
            method=call.method,
            path=call.url.path,
            write=call.write,
            retry_after_seconds=retry_after_seconds(headers.get("Retry-After"), self._now()),
        )
        error = self._classify(reply) or default_error(reply)
        if isinstance(error, RateLimited) and error.retry_after_seconds is None:
            error.retry_after_seconds = reply.retry_after_seconds
        ids = (headers.get(name) for name in REQUEST_ID_HEADERS)
        error.locate(
            vendor=self.vendor,
            operation=call.operation,
            status=status,
            request_id=next((found for found in ids if found), None),
        )
        raise error

    def _tell(self, call: _Call, seen: _Seen, span: trace.Span) -> None:
        # The two that come from outside are masked, once: it is half the cost of this line.
        path, correlation = mask(call.url.path), mask(correlation_id.get())
        span.set_attribute("http.request.method", call.method)
        span.set_attribute("server.address", call.url.host)
        span.set_attribute("url.path", path)
        span.set_attribute("http.request.resend_count", seen.attempt - 1)
        span.set_attribute("dealthread.connection", self.connection)
        span.set_attribute("dealthread.correlation_id", correlation)
        if seen.status is not None:
            span.set_attribute("http.response.status_code", seen.status)
        if seen.error_type:
            span.set_attribute("error.type", seen.error_type)
            span.set_status(trace.StatusCode.ERROR)
        _log.info(
            "vendor_call",
            vendor=self.vendor,
            connection=self.connection,
            operation=call.operation,
            method=call.method,
            path=path,
            status=seen.status,
            milliseconds=round((time.perf_counter() - seen.started) * 1000, 1),
            attempt=seen.attempt,
            key=correlation,
            error=seen.error_type or None,
        )


def _failure(call: _Call, error: Exception, *, answered: bool) -> AdapterError:
    fate = Fate.SENT if answered else fate_of(error)
    what = str(error) or type(error).__name__
    if fate is Fate.UNUSABLE:
        return Invalid(f"The request cannot be sent: {what}")
    if fate is Fate.NEVER_SENT:
        return Transient(f"The system could not be reached: {what}")
    if call.write:
        return OutcomeUnknown(f"The write may have taken effect; no answer came: {what}")
    return Transient(f"No usable answer came: {what}")


def _is_expired(result: Answer | AdapterError) -> bool:
    """Return whether new credentials would help: a 401, or what the vendor calls expired."""
    if isinstance(result, Forbidden) and result.expired:
        return True
    return isinstance(result, AdapterError) and result.status == httpx.codes.UNAUTHORIZED


def _encoded(json: JsonBody | None, form: Params | None) -> tuple[bytes, str | None]:
    if json is not None:
        return dump_json(json).encode(), "application/json"
    if form is not None:
        pairs = form.items() if isinstance(form, Mapping) else form
        return urlencode(list(pairs)).encode(), "application/x-www-form-urlencoded"
    return b"", None


def _headers(content_type: str | None, extra: Mapping[str, str]) -> dict[str, str]:
    headers = {"Accept": "application/json"}
    if content_type:
        headers["Content-Type"] = content_type
    headers |= extra
    if correlation := correlation_id.get():
        headers["X-Correlation-Id"] = quote(correlation, safe="/:#@!$&'()*+,;=")
    return _checked(headers)


def _checked(headers: dict[str, str]) -> dict[str, str]:
    """Return the headers, or raise: a token file that ends in a newline is easily had."""
    for name, value in headers.items():
        if not (value.isascii() and value.isprintable()):
            raise ValueError(f"the header {name} has characters that a header cannot carry")
    return headers


def _decoded(response: httpx.Response, content: bytes) -> tuple[str, JsonValue, bool]:
    """Return text, parsed JSON, and whether it claims to be JSON and is not."""
    if "json" not in response.headers.get("Content-Type", "").lower():
        try:
            return content.decode(response.charset_encoding or "utf-8", "replace"), None, False
        except LookupError:
            return content.decode("utf-8", "replace"), None, False
    text = content.decode("utf-8", "replace")
    if not text.strip():
        return text, None, False
    try:
        return text, load_json(text), False
    except ValueError:
        return text, None, True
