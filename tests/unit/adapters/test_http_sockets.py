"""VendorHttp over real sockets: what was sent, how often, and what the failure is called."""

import asyncio
import re
import socket
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Literal

import pytest
import trustme
from oauthlib.oauth1 import SIGNATURE_HMAC_SHA256, Client
from pydantic import SecretStr

from adapters.auth import Authenticator, Method, NoAuth, OAuth1Signer
from adapters.errors import AdapterError, ContractBroken, OutcomeUnknown, Transient
from adapters.governor import LocalGovernor
from adapters.http import Timeouts, VendorHttp

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi"
SHORT = Timeouts(connect=2, read=0.3, write=2, pool=2, total=5)

Serve = Callable[[int, asyncio.StreamWriter], Awaitable[None]]


class Server:
    """Reads requests, notes them, and lets `serve` answer the n-th (from 1), or not."""

    def __init__(self, serve: Serve) -> None:
        self.serve = serve
        self.requests: list[str] = []
        self.connections = 0
        self.asked = asyncio.Event()
        self.closed = asyncio.Event()
        self.port = 0
        self.handling: dict[asyncio.Task[None], asyncio.StreamWriter] = {}

    async def handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        task = asyncio.current_task()
        assert task is not None
        self.handling[task] = writer
        try:
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode()
                length = re.search(r"content-length: (\d+)", head, re.IGNORECASE)
                await reader.readexactly(int(length[1]) if length else 0)
                self.requests.append(head)
                self.asked.set()
                await self.serve(len(self.requests), writer)
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass  # the client went away, or the test is over
        finally:
            writer.close()
            with suppress(ConnectionError):
                await writer.wait_closed()
            self.closed.set()


@asynccontextmanager
async def serving(serve: Serve, tls: ssl.SSLContext | None = None) -> AsyncIterator[Server]:
    server = Server(serve)
    listening = await asyncio.start_server(server.handle, "127.0.0.1", 0, ssl=tls)
    server.port = listening.sockets[0].getsockname()[1]
    try:
        yield server
    finally:
        listening.close()
        for writer in server.handling.values():
            writer.close()
        await asyncio.wait_for(asyncio.gather(*server.handling), 5)


@asynccontextmanager
async def client(
    port: int,
    *,
    timeouts: Timeouts = SHORT,
    auth: Authenticator | None = None,
    scheme: str = "http",
    verify: ssl.SSLContext | Path | None = None,
    answer_bytes_max: int = 1_000_000,
) -> AsyncIterator[VendorHttp]:
    http = VendorHttp(
        vendor="acme",
        connection="acme-eu",
        base_url=f"{scheme}://127.0.0.1:{port}",
        auth=auth or NoAuth(),
        classify=lambda _: None,
        governor=LocalGovernor(4),
        timeouts=timeouts,
        verify=verify,
        answer_bytes_max=answer_bytes_max,
    )
    try:
        yield http
    finally:
        await http.aclose()


async def failure(http: VendorHttp, *, write: bool, method: Method = "POST") -> AdapterError:
    with pytest.raises(AdapterError) as caught:
        await http.request(method, "/x", operation="act", write=write, json={"a": 1})
    return caught.value


async def answer_ok(_: int, writer: asyncio.StreamWriter) -> None:
    writer.write(OK)


async def close(_: int, writer: asyncio.StreamWriter) -> None:
    writer.close()


async def reset(_: int, writer: asyncio.StreamWriter) -> None:
    # Closing with linger 0 sends RST: the client sees ECONNRESET, not an end of file.
    sock = writer.get_extra_info("socket")
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\0\0\0\0\0\0\0")
    writer.transport.abort()


async def hang(_: int, writer: asyncio.StreamWriter) -> None:
    await writer.wait_closed()  # by the end of the test


async def half_head(_: int, writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 200 O")
    writer.close()


async def garbage(_: int, writer: asyncio.StreamWriter) -> None:
    writer.write(b"SSH-2.0-nonsense\r\n\r\n")
    writer.close()


async def half_body(_: int, writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhi")
    writer.close()


async def half_body_reset(n: int, writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhi")
    await writer.drain()
    await asyncio.sleep(0.05)  # the head must have been read before the reset overtakes it
    await reset(n, writer)


async def body_stalls(n: int, writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhi")
    await writer.drain()
    await hang(n, writer)


BROKEN = [close, reset, hang, half_head, garbage, half_body, half_body_reset, body_stalls]


class TestNeverSent:
    @pytest.mark.parametrize("write", [True, False])
    async def test_a_refused_connection_is_transient(self, write: bool) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        async with client(port) as http:
            assert type(await failure(http, write=write)) is Transient

    async def test_a_connection_that_is_not_accepted_in_time_is_transient(self) -> None:
        with socket.socket() as full:
            full.bind(("127.0.0.1", 0))
            full.listen(0)
            port = full.getsockname()[1]
            fillers = [socket.socket() for _ in range(4)]
            for filler in fillers:
                filler.setblocking(False)
                filler.connect_ex(("127.0.0.1", port))
            async with client(port, timeouts=Timeouts(connect=0.3)) as http:
                assert type(await failure(http, write=True)) is Transient
            for filler in fillers:
                filler.close()

    async def test_a_host_without_trusted_certificate_gets_nothing(self) -> None:
        ca, stranger = trustme.CA(), trustme.CA()
        tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        stranger.issue_cert("127.0.0.1").configure_cert(tls)
        trusted = ssl.create_default_context()
        ca.configure_trust(trusted)
        async with (
            serving(answer_ok, tls) as server,
            client(server.port, scheme="https", verify=trusted) as http,
        ):
            assert type(await failure(http, write=True)) is Transient
        assert server.requests == []

    async def test_a_ca_bundle_from_a_file_is_trusted(self, tmp_path: Path) -> None:
        ca = trustme.CA()
        ca.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
        tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        ca.issue_cert("127.0.0.1").configure_cert(tls)
        async with (
            serving(answer_ok, tls) as server,
            client(server.port, scheme="https", verify=tmp_path / "ca.pem") as http,
        ):
            answer = await http.request("GET", "/x", operation="act", write=False)
        assert answer.text == "hi"


class TestOutcomeUnknown:
    @pytest.mark.parametrize("serve", BROKEN)
    @pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE"])
    async def test_a_write_without_answer_is_unknown_and_sent_once(
        self, serve: Serve, method: Method
    ) -> None:
        async with serving(serve) as server, client(server.port) as http:
            assert type(await failure(http, write=True, method=method)) is OutcomeUnknown
            assert len(server.requests) == 1

    @pytest.mark.parametrize("serve", BROKEN)
    async def test_a_read_without_answer_is_transient(self, serve: Serve) -> None:
        async with serving(serve) as server, client(server.port) as http:
            assert type(await failure(http, write=False)) is Transient
            assert len(server.requests) == 1

    @pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE", "GET"])
    @pytest.mark.parametrize("how", [close, reset])
    async def test_a_reused_connection_that_breaks_is_not_sent_again(
        self, method: Method, how: Serve
    ) -> None:
        async def serve(n: int, writer: asyncio.StreamWriter) -> None:
            await (answer_ok if n == 1 else how)(n, writer)

        async with serving(serve) as server, client(server.port) as http:
            await http.request("GET", "/x", operation="act", write=False)
            error = await failure(http, write=method != "GET", method=method)

            assert type(error) is (Transient if method == "GET" else OutcomeUnknown)
            assert (len(server.requests), server.connections) == (2, 1)

    @pytest.mark.parametrize("method", ["POST", "PUT"])
    async def test_a_connection_closed_while_idle_never_sends_twice(self, method: Method) -> None:
        async def serve(n: int, writer: asyncio.StreamWriter) -> None:
            writer.write(OK)
            if n == 1:
                await writer.drain()
                writer.close()

        async with serving(serve) as server, client(server.port) as http:
            await http.request("GET", "/x", operation="act", write=False)
            await asyncio.wait_for(server.closed.wait(), 2)
            # Whether the end was noticed in time decides between a new connection and unknown.
            try:
                await http.request(method, "/x", operation="act", write=True, json={})
            except OutcomeUnknown:
                assert len(server.requests) == 1
            else:
                assert len(server.requests) == 2

    @pytest.mark.parametrize(("write", "error"), [(True, OutcomeUnknown), (False, Transient)])
    @pytest.mark.parametrize("part", ["head", "body"])
    async def test_an_answer_that_drips_ends_at_the_deadline(
        self, write: bool, error: type[AdapterError], part: Literal["head", "body"]
    ) -> None:
        async def drip(_: int, writer: asyncio.StreamWriter) -> None:
            head = b"HTTP/1.1 200 OK\r\n"
            writer.write(head if part == "head" else head + b"Content-Length: 9999\r\n\r\n")
            while not writer.is_closing():
                writer.write(b"X-A: b\r\n" if part == "head" else b"x")
                await writer.drain()
                await asyncio.sleep(0.05)

        timeouts = Timeouts(read=0.5, total=0.8)
        async with serving(drip) as server, client(server.port, timeouts=timeouts) as http:
            loop = asyncio.get_running_loop()
            started = loop.time()
            assert type(await asyncio.wait_for(failure(http, write=write), 4)) is error
            assert 0.7 < loop.time() - started < 3

    @pytest.mark.parametrize(("write", "error"), [(True, OutcomeUnknown), (False, ContractBroken)])
    async def test_an_endless_answer_is_cut_off(
        self, write: bool, error: type[AdapterError]
    ) -> None:
        async def flood(_: int, writer: asyncio.StreamWriter) -> None:
            writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
            while not writer.is_closing():
                writer.write(b"1000\r\n" + b"x" * 0x1000 + b"\r\n")
                await writer.drain()

        async with serving(flood) as server, client(server.port) as http:
            assert type(await failure(http, write=write)) is error


class TestConnections:
    async def test_one_connection_serves_many_calls(self) -> None:
        async with serving(answer_ok) as server, client(server.port) as http:
            for _ in range(5):
                await http.request("POST", "/x", operation="act", write=True, json={})

            assert (len(server.requests), server.connections) == (5, 1)

    async def test_a_redirect_is_not_followed(self) -> None:
        async def redirect(_: int, writer: asyncio.StreamWriter) -> None:
            writer.write(b"HTTP/1.1 307 T\r\nLocation: /elsewhere\r\nContent-Length: 0\r\n\r\n")

        async with serving(redirect) as server, client(server.port) as http:
            assert type(await failure(http, write=True)) is ContractBroken
            assert len(server.requests) == 1

    async def test_a_cancelled_call_gives_its_slot_back(self) -> None:
        async with serving(hang) as server, client(server.port, timeouts=Timeouts()) as http:
            task = asyncio.create_task(failure(http, write=True))
            await asyncio.wait_for(server.asked.wait(), 2)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            server.serve = answer_ok
            for _ in range(5):
                await http.request("GET", "/x", operation="act", write=False)

    @pytest.mark.parametrize(
        "query",
        ["SELECT Id FROM A WHERE N = 'O''B+r & (é)~*' AND X > 1", "a b+c%2B=d/e?f;g:h@i,j[k]|{l}"],
    )
    async def test_the_signature_fits_what_goes_over_the_wire(self, query: str) -> None:
        signer = OAuth1Signer(
            realm="1", consumer_key=SecretStr("ck"), consumer_secret=SecretStr("cs"),
            token_id=SecretStr("tk"), token_secret=SecretStr("ts"),
        )  # fmt: skip
        async with (
            serving(answer_ok) as server,
            client(server.port, auth=signer) as http,
        ):
            await http.request(
                "GET", "/x/a%20b", operation="act", write=False, params={"q": query, "limit": 5}
            )
        target = server.requests[0].split(" ")[1]
        part = dict(re.findall(r'(\w+)="([^"]*)"', server.requests[0]))
        again = Client(
            "ck", client_secret="cs", resource_owner_key="tk", resource_owner_secret="ts",
            signature_method=SIGNATURE_HMAC_SHA256,
            nonce=part["oauth_nonce"], timestamp=part["oauth_timestamp"],
        ).sign(f"http://127.0.0.1:{server.port}{target}", http_method="GET")  # fmt: skip

        assert part["oauth_signature"] in again[1]["Authorization"]
