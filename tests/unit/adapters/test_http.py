"""VendorHttp above the network: a small app behind httpx's own mock transport."""

import asyncio
import gzip
import inspect
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from decimal import Decimal

import aiohttp
import httpx
import pytest
from pydantic import SecretStr
from structlog.testing import capture_logs

from adapters.auth import Authenticator, BearerToken, OAuth2Token, Token
from adapters.errors import (
    AdapterError,
    ContractBroken,
    Duplicate,
    Forbidden,
    Invalid,
    NotFound,
    OutcomeUnknown,
    RateLimited,
    Rejected,
    Transient,
    Unsupported,
)
from adapters.governor import LocalGovernor, call_priority
from adapters.http import Classify, Reply, VendorHttp, correlation_id
from adapters.transport import FATES, Fate, fate_of, httpx_class
from tests.support.logs import every_level

NOW = datetime(2026, 11, 21, 10, 0, tzinfo=UTC)
App = Callable[[httpx.Request], httpx.Response]


@asynccontextmanager
async def vendor(
    app: App,
    *,
    auth: Authenticator | None = None,
    classify: Classify = lambda _: None,
    governor: LocalGovernor | None = None,
    answer_bytes_max: int = 1000,
) -> AsyncIterator[VendorHttp]:
    http = VendorHttp(
        vendor="acme",
        connection="acme-eu",
        base_url="https://acme.example/api",
        auth=auth or BearerToken(SecretStr("t0p")),
        classify=classify,
        governor=governor or LocalGovernor(4),
        transport=httpx.MockTransport(app),
        answer_bytes_max=answer_bytes_max,
        now=lambda: NOW,
    )
    try:
        yield http
    finally:
        await http.aclose()


async def failure(app: App, *, write: bool, classify: Classify = lambda _: None) -> AdapterError:
    async with vendor(app, classify=classify) as http:
        with pytest.raises(AdapterError) as caught:
            await http.request("POST", "things", operation="make a thing", write=write)
    return caught.value


def answering(status: int, **more: object) -> App:
    return lambda _: httpx.Response(status, **more)  # type: ignore[arg-type]


class TestRequest:
    async def test_sends_what_was_given_and_parses_decimals(self) -> None:
        seen: list[httpx.Request] = []

        def app(request: httpx.Request) -> httpx.Response:
            seen.append(request)
            return httpx.Response(201, text='{"a": 0.10}', headers={"content-type": "x/y+json"})

        token = correlation_id.set("deal/1:step é\r\nX-Evil: 1")
        async with vendor(app) as http:
            answer = await http.request(
                "POST",
                "things?x=1",
                operation="make a thing",
                write=True,
                json={"amount": Decimal("12345678901234567.89")},
                params={"q": "a b&c"},
                headers={"Prefer": "x"},
            )
        correlation_id.reset(token)

        assert answer.json == {"a": Decimal("0.10")}
        assert seen[0].content == b'{"amount":12345678901234567.89}'
        assert seen[0].url.path == "/api/things"
        assert dict(seen[0].url.params) == {"x": "1", "q": "a b&c"}
        assert seen[0].headers["Content-Type"] == "application/json"
        assert seen[0].headers["Authorization"] == "Bearer t0p"
        assert seen[0].headers["Prefer"] == "x"
        assert seen[0].headers["X-Correlation-Id"] == "deal/1:step%20%C3%A9%0D%0AX-Evil:%201"

    async def test_forms_keep_their_order_and_repeats(self) -> None:
        bodies: list[bytes] = []

        def app(request: httpx.Request) -> httpx.Response:
            bodies.append(request.content)
            return httpx.Response(204)

        async with vendor(app) as http:
            answer = await http.request(
                "POST", "x", operation="o", write=True, form=[("a[]", "1 2"), ("a[]", 3)]
            )

        assert bodies == [b"a%5B%5D=1+2&a%5B%5D=3"]
        assert (answer.json, answer.text) == (None, "")

    async def test_cookies_are_not_kept(self) -> None:
        seen: list[httpx.Headers] = []

        def app(request: httpx.Request) -> httpx.Response:
            seen.append(request.headers)
            return httpx.Response(200, headers={"set-cookie": "sid=1; Path=/"})

        async with vendor(app) as http:
            for _ in range(2):
                await http.request("GET", "x", operation="o", write=False)

        assert "cookie" not in seen[1]

    @pytest.mark.parametrize(
        ("path", "headers", "json"),
        [
            ("https://evil.example/x", {}, {}),
            ("http://acme.example/x", {}, {}),
            ("https://acme.example:8443/x", {}, {}),
            ("https://[bad/x", {}, {}),
            ("x", {"A": "b\r\nC: d"}, {}),
            ("x", {}, {"amount": 0.1}),
            ("x", {}, {"amount": Decimal("NaN")}),
        ],
    )
    async def test_what_must_not_be_sent_is_invalid_and_not_sent(
        self, path: str, headers: Mapping[str, str], json: Mapping[str, object]
    ) -> None:
        sent: list[httpx.Request] = []

        def app(request: httpx.Request) -> httpx.Response:
            sent.append(request)
            return httpx.Response(200)

        async with vendor(app) as http:
            with pytest.raises(Invalid) as caught:
                await http.request(
                    "POST", path, operation="o", write=True, headers=headers, json=json
                )

        assert sent == []
        assert (caught.value.vendor, caught.value.operation) == ("acme", "o")

    async def test_links_of_the_same_origin_are_followed_when_asked(self) -> None:
        seen: list[str] = []

        def app(request: httpx.Request) -> httpx.Response:
            seen.append(str(request.url))
            return httpx.Response(200)

        async with vendor(app) as http:
            await http.request(
                "GET", "https://acme.example:443/next?page=2", operation="o", write=False
            )

        assert seen == ["https://acme.example/next?page=2"]

    async def test_a_token_with_a_newline_is_forbidden_and_not_shown(self) -> None:
        async with vendor(answering(200), auth=BearerToken(SecretStr("t0p\n"))) as http:
            with pytest.raises(Forbidden) as caught:
                await http.request("GET", "x", operation="o", write=False)

        assert "t0p" not in str(caught.value)


STATUSES = [
    # status, on a read, on a write
    (204 + 96, ContractBroken, OutcomeUnknown),
    (301, ContractBroken, ContractBroken),
    (303, ContractBroken, OutcomeUnknown),
    (307, ContractBroken, ContractBroken),
    (400, Invalid, Invalid),
    (402, Rejected, Rejected),
    (403, Forbidden, Forbidden),
    (404, NotFound, NotFound),
    (405, Unsupported, Unsupported),
    (408, Transient, OutcomeUnknown),
    (409, Rejected, Rejected),
    (422, Invalid, Invalid),
    (423, Transient, Transient),
    (429, RateLimited, RateLimited),
    (500, Transient, OutcomeUnknown),
    (502, Transient, OutcomeUnknown),
    (503, Transient, OutcomeUnknown),
    (504, Transient, OutcomeUnknown),
]


class TestAnswers:
    @pytest.mark.parametrize(("status", "read", "write"), STATUSES)
    async def test_a_status_says_what_it_can(
        self, status: int, read: type[AdapterError], write: type[AdapterError]
    ) -> None:
        for is_write, expected in ((False, read), (True, write)):
            error = await failure(
                answering(status, text="because", headers={"request-id": "r-1"}), write=is_write
            )

            assert type(error) is expected
            assert (error.vendor, error.operation) == ("acme", "make a thing")
            assert (error.status, error.request_id) == (status, "r-1")

    async def test_the_vendors_word_comes_before_the_status(self) -> None:
        seen: list[Reply] = []

        def classify(reply: Reply) -> AdapterError | None:
            seen.append(reply)
            return Duplicate("taken", record_id="7", vendor_code="DUP")

        error = await failure(answering(500, json={"code": 1.5}), write=True, classify=classify)

        assert isinstance(error, Duplicate)
        assert (error.record_id, error.vendor_code, error.status) == ("7", "DUP", 500)
        assert seen[0].json == {"code": Decimal("1.5")}
        assert (seen[0].write, seen[0].path, seen[0].method) == (True, "/api/things", "POST")

    async def test_a_delay_is_read_from_the_header_also_for_the_vendors_own_code(self) -> None:
        headers = {"Retry-After": "Sat, 21 Nov 2026 10:00:30 GMT"}
        for status, classify in ((429, lambda _: None), (403, lambda _: RateLimited())):
            error = await failure(answering(status, headers=headers), write=True, classify=classify)

            assert isinstance(error, RateLimited)
            assert error.retry_after_seconds == 30.0

    @pytest.mark.parametrize(
        ("body", "headers"),
        [
            (b"{", {"content-type": "application/json"}),
            (b"[NaN]", {"content-type": "application/json"}),
            (b"x" * 1001, {}),
            (gzip.compress(b"x" * 1001, mtime=0), {"content-encoding": "gzip"}),  # as it unpacks
        ],
    )
    async def test_a_success_that_cannot_be_read_is_unknown_on_a_write(
        self, body: bytes, headers: dict[str, str]
    ) -> None:
        app = answering(200, content=body, headers=headers)

        assert type(await failure(app, write=True)) is OutcomeUnknown
        assert type(await failure(app, write=False)) is ContractBroken

    async def test_broken_json_of_a_refusal_does_not_hide_the_refusal(self) -> None:
        app = answering(400, content=b"{", headers={"content-type": "application/json"})

        assert type(await failure(app, write=True)) is Invalid

    async def test_a_body_that_does_not_unpack_is_unknown_on_a_write(self) -> None:
        def app(_: httpx.Request) -> httpx.Response:
            stream = httpx.ByteStream(b"no gzip")
            return httpx.Response(200, stream=stream, headers={"content-encoding": "gzip"})

        assert type(await failure(app, write=True)) is OutcomeUnknown
        assert type(await failure(app, write=False)) is Transient

    async def test_once_the_answer_began_no_error_means_never_sent(self) -> None:
        class Breaks(httpx.AsyncByteStream):
            async def __aiter__(self) -> AsyncIterator[bytes]:
                yield b"x"
                # What httpx-aiohttp 0.2 makes of an operating system's error in a body.
                raise httpx.ConnectTimeout("broken pipe")

        assert type(await failure(answering(200, stream=Breaks()), write=True)) is OutcomeUnknown


class Renewable:
    """Token `t<n>`; the app says which one is good."""

    def __init__(self) -> None:
        self.fetched = 0

    async def fetch(self) -> Token:
        self.fetched += 1
        await asyncio.sleep(0)
        return Token(SecretStr(f"t{self.fetched}"))


def only(good: str, status: int = 401, calls: list[str] | None = None) -> App:
    def app(request: httpx.Request) -> httpx.Response:
        token = request.headers["Authorization"].removeprefix("Bearer ")
        if calls is not None:
            calls.append(token)
        return httpx.Response(200 if token == good else status)

    return app


class TestExpiredCredentials:
    async def test_one_renewal_serves_all_calls_and_each_is_repeated_once(self) -> None:
        source, calls = Renewable(), list[str]()
        async with vendor(only("t2", calls=calls), auth=OAuth2Token(source.fetch)) as http:
            answers = await asyncio.gather(
                *(http.request("POST", "x", operation="o", write=True) for _ in range(4))
            )

        assert [answer.status for answer in answers] == [200] * 4
        assert source.fetched == 2
        assert sorted(calls) == ["t1"] * 4 + ["t2"] * 4

    async def test_refused_again_it_is_forbidden(self) -> None:
        source, calls = Renewable(), list[str]()
        async with vendor(only("never", calls=calls), auth=OAuth2Token(source.fetch)) as http:
            with pytest.raises(Forbidden):
                await http.request("POST", "x", operation="o", write=True)

        assert calls == ["t1", "t2"]

    async def test_what_cannot_be_renewed_is_not_repeated(self) -> None:
        calls: list[str] = []
        async with vendor(only("never", calls=calls)) as http:
            with pytest.raises(Forbidden):
                await http.request("POST", "x", operation="o", write=True)

        assert calls == ["t0p"]

    @pytest.mark.parametrize("expired", [True, False])
    async def test_the_vendor_may_say_expired_with_another_status(self, expired: bool) -> None:
        source, calls = Renewable(), list[str]()
        async with vendor(
            only("t2", 403, calls),
            auth=OAuth2Token(source.fetch),
            classify=lambda _: Forbidden(expired=expired),
        ) as http:
            request = http.request("POST", "x", operation="o", write=True)
            if expired:
                assert (await request).status == 200
            else:
                with pytest.raises(Forbidden):
                    await request

        assert calls == (["t1", "t2"] if expired else ["t1"])

    async def test_a_token_is_fetched_through_the_same_client_with_one_slot(self) -> None:
        def app(request: httpx.Request) -> httpx.Response:
            if request.url.host == "login.example":
                assert "Authorization" not in request.headers
                return httpx.Response(200, json={"access_token": "abc"})
            return httpx.Response(200, text=request.headers["Authorization"])

        async def fetch() -> Token:
            await http.request(
                "POST", "https://login.example/token", operation="sign in", write=False,
                form={"grant_type": "x"}, authenticated=False,
            )  # fmt: skip
            return Token(SecretStr("abc"))

        async with (
            vendor(app, auth=OAuth2Token(fetch), governor=LocalGovernor(1)) as http,
            asyncio.timeout(2),
        ):
            answer = await http.request("GET", "x", operation="o", write=False)

        assert answer.text == "Bearer abc"


class TestBudget:
    async def test_throttling_halves_and_success_restores(self) -> None:
        statuses = iter([429, 200])
        governor = LocalGovernor(4, restore_seconds=0)
        async with vendor(lambda _: httpx.Response(next(statuses)), governor=governor) as http:
            with pytest.raises(RateLimited):
                await http.request("GET", "x", operation="o", write=False)
            assert governor.limit == 2
            await http.request("GET", "x", operation="o", write=False)

        assert governor.limit == 3
        assert governor.in_flight == 0

    async def test_the_tasks_priority_decides_who_goes_first(self) -> None:
        order: list[str] = []

        def app(request: httpx.Request) -> httpx.Response:
            order.append(request.url.path[-1])
            return httpx.Response(200)

        governor = LocalGovernor(1)
        async with vendor(app, governor=governor) as http:

            async def call(path: str, priority: int) -> None:
                call_priority.set(priority)
                await http.request("GET", path, operation="o", write=False)

            async with governor.slot(1):
                tasks = [asyncio.create_task(call(str(p), p)) for p in (5, 2, 1)]
                await asyncio.sleep(0)
            await asyncio.gather(*tasks)

        assert order == ["1", "2", "5"]


class TestTelling:
    async def test_each_attempt_is_logged_once_and_masked(self) -> None:
        source = Renewable()
        token = correlation_id.set("deal/1")
        with every_level(), capture_logs() as logs:
            async with vendor(only("t2"), auth=OAuth2Token(source.fetch)) as http:
                await http.request(
                    "GET", "users/a@b.example?secret=1", operation="find", write=False
                )
        correlation_id.reset(token)

        first, second = logs
        assert first["event"] == "vendor_call"
        assert first["milliseconds"] >= 0
        assert first["error"] == "forbidden"
        assert (first["status"], first["attempt"]) == (401, 1)
        assert (second["status"], second["attempt"], second["error"]) == (200, 2, None)
        assert second["path"] == "/api/users/***"
        assert second["key"] == "deal/1"
        assert (second["vendor"], second["connection"]) == ("acme", "acme-eu")
        assert "secret" not in str(logs)
        assert "t2" not in str(logs)

    async def test_secrets_in_an_answer_are_not_in_the_error(self) -> None:
        error = await failure(answering(400, json={"access_token": "abc123"}), write=True)

        assert "abc123" not in str(error)


def classes(module: object, root: type[BaseException]) -> list[type[Exception]]:
    return [
        found
        for _, found in inspect.getmembers(module, inspect.isclass)
        if issubclass(found, root) and issubclass(found, Exception)
    ]


class TestFates:
    """Each foreign error is placed; the lists are complete, so a new class must be thought of."""

    NEVER_SENT = {"ConnectError", "ConnectTimeout", "PoolTimeout", "ProxyError"}
    UNUSABLE = {"UnsupportedProtocol", "LocalProtocolError", "InvalidURL", "CookieConflict"}
    SENT = {
        "CloseError", "DecodingError", "HTTPError", "HTTPStatusError", "NetworkError",
        "ProtocolError", "ReadError", "ReadTimeout", "RemoteProtocolError", "RequestError",
        "RequestNotRead", "ResponseNotRead", "StreamClosed", "StreamConsumed", "StreamError",
        "TimeoutException", "TooManyRedirects", "TransportError", "WriteError", "WriteTimeout",
    }  # fmt: skip

    def test_every_httpx_class_is_placed(self) -> None:
        found = {kind.__name__: kind for kind in classes(httpx, Exception)}

        assert set(found) == self.NEVER_SENT | self.UNUSABLE | self.SENT
        for name, kind in found.items():
            fate = fate_of(kind.__new__(kind))
            assert any(issubclass(kind, known) for known in FATES), name
            assert (fate is Fate.NEVER_SENT) == (name in self.NEVER_SENT), name
            assert (fate is Fate.UNUSABLE) == (name in self.UNUSABLE), name

    AIOHTTP_NEVER_SENT = {
        "ClientConnectorCertificateError", "ClientConnectorDNSError", "ClientConnectorError",
        "ClientConnectorSSLError", "ClientHttpProxyError", "ClientProxyConnectionError",
        "ClientSSLError", "ConnectionTimeoutError", "ServerFingerprintMismatch",
        "UnixClientConnectorError",
    }  # fmt: skip
    AIOHTTP_UNUSABLE = {
        "InvalidURL", "InvalidUrlClientError", "InvalidUrlRedirectClientError",
        "NonHttpUrlClientError", "NonHttpUrlRedirectClientError",
    }  # fmt: skip
    AIOHTTP_SENT = {
        "ClientConnectionError", "ClientConnectionResetError", "ClientError", "ClientOSError",
        "ClientPayloadError", "ClientResponseError", "ContentTypeError", "RedirectClientError",
        "ServerConnectionError", "ServerDisconnectedError", "ServerTimeoutError",
        "SocketTimeoutError", "TooManyRedirects", "UploadAbortedError", "WSServerHandshakeError",
    }  # fmt: skip

    def test_every_aiohttp_error_is_placed(self) -> None:
        found = {
            kind.__name__: kind for kind in classes(aiohttp.client_exceptions, aiohttp.ClientError)
        }

        assert set(found) == self.AIOHTTP_NEVER_SENT | self.AIOHTTP_UNUSABLE | self.AIOHTTP_SENT
        for name, kind in found.items():
            fate = fate_of(httpx_class(kind)("x"))
            assert (fate is Fate.NEVER_SENT) == (name in self.AIOHTTP_NEVER_SENT), name
            assert (fate is Fate.UNUSABLE) == (name in self.AIOHTTP_UNUSABLE), name
