"""The gateway's processes: on real sockets, from the simulators, killed under load."""

import asyncio
import contextlib
import random
import signal
import socket
import sys
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

import httpx
import pytest_asyncio
from pydantic import JsonValue, SecretStr
from temporalio.testing import WorkflowEnvironment

from embedded.processes import ROOT, surroundings
from gateway.salesforce import PROTOCOL
from simulators.kit import SimulatorStack
from simulators.kit.control import Control
from simulators.registry import load_vendors
from store import Store
from store.database import Database
from store.inbox import EventState, Inbox, NewEvent
from tests.gateway.scene import LIMIT, STRIPE_SECRET, stripe, stripe_event, until
from tests.store.invoicing import billed, billed_contract, opened
from tests.support.postgres import PostgresForTests, new_name

READY_SECONDS = 90
NOBODY = "127.0.0.1:9"
"""Where no Temporal is: events are received all the same."""
DEALS = 40
TOKEN = "0123456789abcdef" * 2


def free_port() -> int:
    """Return a port that is free, as is the one above: below those that the system gives away."""
    while True:
        port = random.randrange(18_000, 30_000)
        with contextlib.suppress(OSError), socket.socket() as door, socket.socket() as drain:
            door.bind(("127.0.0.1", port))
            drain.bind(("127.0.0.1", port + 1))
            return port


@dataclass
class Running:
    """A process of the gateway that can be killed and started again."""

    folder: Path
    url: SecretStr
    organization: str = "00D000000000001"
    port: int = field(default_factory=free_port)
    process: asyncio.subprocess.Process | None = None
    command: str = "door"
    temporal: str = NOBODY
    start_seconds: int = 60

    @property
    def health(self) -> str:
        port = self.port + (self.command == "drain")
        return f"http://127.0.0.1:{port}/healthz"

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def start(self) -> None:
        for name in ("events", "api_key", "client_secret"):
            (self.folder / name).write_text(STRIPE_SECRET.get_secret_value())
        (self.folder / "token").write_text(TOKEN)
        config = self.folder / "dealthread.toml"
        config.write_text(
            f'[temporal]\naddress = "{self.temporal}"\n'
            f"[worker]\nstart_seconds = {self.start_seconds}\n[gateway]\n"
            f"port = {self.port}\n"
            '[people."ines.duarte"]\nroles = ["finance"]\n'
            'email = "ines.duarte@example.com"\ntoken_file = "token"\n'
            '[connections.stripe]\nvendor = "stripe"\nrole = "billing_engine"\n'
            'base_url = "http://x"\nsecret_files = {api_key = "api_key"}\n'
            '[connections.stripe.events]\nkind = "stripe"\nsecret_file = "events"\n'
            '[connections.salesforce]\nvendor = "salesforce"\nrole = "crm"\nbase_url = "http://x"\n'
            'secret_files = {client_secret = "client_secret"}\n'
            '[connections.salesforce.settings.auth]\nkind = "client_credentials"\n'
            'client_id = "x"\n'
            '[connections.salesforce.events]\nkind = "salesforce_outbound"\n'
            f'organization_id = "{self.organization}"\n'
        )
        environment = dict(surroundings().environment)
        environment["DEALTHREAD_STORE__URL"] = self.url.get_secret_value()
        with (self.folder / "gateway.log").open("ab") as log:
            self.process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "gateway", self.command, "--config", str(config)),
                cwd=ROOT,
                env=environment,
                stderr=log,
            )
        async with asyncio.timeout(READY_SECONDS), httpx.AsyncClient(trust_env=False) as http:
            while True:
                with contextlib.suppress(httpx.TransportError):
                    if (await http.get(self.health)).is_success:
                        return
                assert self.process.returncode is None, self.log()
                await asyncio.sleep(0.05)

    async def end(self, number: signal.Signals) -> int:
        assert self.process is not None
        with contextlib.suppress(ProcessLookupError):
            self.process.send_signal(number)
        return await self.process.wait()

    def log(self) -> str:
        return (self.folder / "gateway.log").read_text()


@pytest_asyncio.fixture
async def gateway(postgres: PostgresForTests, tmp_path: Path) -> AsyncIterator[Running]:
    name = new_name()
    running = Running(tmp_path, await postgres.create(name))
    yield running
    if running.process is not None and running.process.returncode is None:
        await running.end(signal.SIGKILL)
    await postgres.drop(name)


def reached(accepted: set[str], enough: int) -> bool:
    return len(accepted) >= enough


async def test_killed_under_load_it_loses_nothing_that_it_accepted(gateway: Running) -> None:
    await gateway.start()
    accepted: set[str] = set()
    stopped = asyncio.Event()

    async def sender(number: int) -> None:
        async with httpx.AsyncClient(trust_env=False, timeout=5) as http:
            count = 0
            while not stopped.is_set():
                count += 1
                request = stripe(stripe_event(f"evt_{number}x{count}"), now=int(time.time()))
                with contextlib.suppress(httpx.TransportError):
                    answer = await http.post(
                        gateway.address + request.path,
                        content=request.body,
                        headers=dict(request.headers),
                    )
                    if answer.status_code == 202:
                        accepted.add(answer.json()["received"][0])

    senders = [asyncio.create_task(sender(number)) for number in range(8)]
    for _ in range(3):
        enough = len(accepted) + random.randrange(20, 60)
        await until(partial(reached, accepted, enough))
        assert await gateway.end(signal.SIGKILL) == -signal.SIGKILL
        await gateway.start()
    stopped.set()
    await asyncio.gather(*senders)

    database = Database(gateway.url)
    kept = {event.event_id for event in await Inbox(database).list(limit=10_000)}
    await database.aclose()
    assert len(accepted) > 60
    assert accepted <= kept
    assert await gateway.end(signal.SIGTERM) == 0, gateway.log()
    assert "Traceback" not in gateway.log()


async def test_two_drains_of_which_one_is_killed_deliver_everything(
    gateway: Running, temporal: WorkflowEnvironment, tmp_path: Path
) -> None:
    gateway.command, gateway.temporal = "drain", temporal.client.service_client.config.target_host
    (tmp_path / "other").mkdir()
    other = replace(gateway, folder=tmp_path / "other", port=free_port())
    database = Database(gateway.url)
    inbox, test = Inbox(database), f"{random.randrange(10**6):06d}"
    deals = [f"006{test}{n:06d}AAA" for n in range(DEALS)]

    async def told(round_: int) -> None:
        """Every deal changed, in a message of its own."""
        await inbox.put(
            [
                NewEvent("salesforce", f"{round_}x{deal}", PROTOCOL, "Opportunity", deal, b"<x/>")
                for deal in deals
            ]
        )

    async def delivered(enough: int) -> None:
        async with asyncio.timeout(READY_SECONDS):
            while len(await inbox.list(state=EventState.DELIVERED, limit=10_000)) < enough:  # noqa: ASYNC110
                await asyncio.sleep(0.02)

    try:
        await gateway.start()
        await other.start()
        for round_ in (0, 2):
            await told(round_)
            await delivered(round_ * DEALS + 1)
            assert await gateway.end(signal.SIGKILL) == -signal.SIGKILL
            await told(round_ + 1)
            await gateway.start()
            await delivered((round_ + 2) * DEALS)
        for deal in deals:
            run = temporal.client.get_workflow_handle(f"opportunity-to-project/salesforce/{deal}")
            assert (await run.describe()).workflow_type == "OpportunityToProject"
            await run.terminate()
        assert await other.end(signal.SIGTERM) == 0, other.log()
        assert "Traceback" not in gateway.log() + other.log()
    finally:
        await database.aclose()
        if other.process is not None:
            await other.end(signal.SIGKILL)


async def test_the_queue_is_looked_at_without_temporal_and_acts_say_that_it_is_away(
    gateway: Running,
) -> None:
    await gateway.start()
    store = Store(Database(gateway.url))
    await store.engagements.put(billed_contract())
    draft = await opened(store, await billed(store, "1"))
    await store.aclose()
    async with httpx.AsyncClient(
        base_url=gateway.address, trust_env=False, headers={"authorization": f"Bearer {TOKEN}"}
    ) as http:
        assert (await http.get("/queue", headers={"authorization": ""})).status_code == 401
        (listed,) = (await http.get("/queue")).json()["drafts"]
        assert (listed["id"], listed["content_hash"]) == (draft.id, draft.content_hash)
        act = {"act": "release", "content_hash": draft.content_hash}
        acting = asyncio.create_task(http.post(f"/queue/{draft.id}/acts", json=act))
        # Meanwhile, events are received.
        request = stripe(stripe_event("evt_1"), now=int(time.time()))
        answer = await http.post(request.path, content=request.body, headers=dict(request.headers))
        assert answer.status_code == 202
        refused = await acting
        assert (refused.status_code, refused.json()["reason"]) == (503, "temporal_unavailable")
        assert (await http.get("/healthz")).is_success
    assert await gateway.end(signal.SIGTERM) == 0, gateway.log()
    assert TOKEN not in gateway.log()


async def test_a_drain_without_temporal_says_so_and_ends(gateway: Running) -> None:
    gateway.command, gateway.start_seconds = "drain", 1
    with contextlib.suppress(AssertionError):
        await gateway.start()
    assert gateway.process is not None
    assert await gateway.process.wait() == 1
    assert f"Temporal does not answer at {NOBODY}" in gateway.log()
    assert "Traceback" not in gateway.log()


async def test_sockets_too_large_cut_off_and_two_on_one_port(
    gateway: Running, tmp_path: Path
) -> None:
    await gateway.start()

    async def sent(head: str, body: bytes, *, cut: bool = False) -> bytes:
        reader, writer = await asyncio.open_connection("127.0.0.1", gateway.port)
        writer.write(f"POST /events/stripe HTTP/1.1\r\nHost: x\r\n{head}\r\n".encode() + body)
        await writer.drain()
        if cut:
            writer.write_eof()
        async with asyncio.timeout(10):
            answer = await reader.read()
        writer.close()
        return answer

    # Refused by what it says of itself: not one byte of the body was sent.
    head = "Content-Type: application/json\r\n"
    answer = await sent(f"{head}Content-Length: 10000000\r\n", b"")
    assert answer.startswith(b"HTTP/1.1 413")
    assert b"connection: close" in answer.lower()
    # Refused once it grows too large, whatever it did not say.
    chunk = b"40000\r\n" + b"x" * 0x40000 + b"\r\n"
    chunks = chunk * (LIMIT // 0x40000) + b"1\r\nx\r\n"
    answer = await sent(f"{head}Transfer-Encoding: chunked\r\n", chunks)
    assert answer.startswith(b"HTTP/1.1 413")
    # Cut off in the middle: nothing is kept, and nobody waits.
    await sent(f"{head}Content-Length: 100\r\n", b'{"id":', cut=True)
    database = Database(gateway.url)
    assert await Inbox(database).list() == ()
    await database.aclose()

    second = tmp_path / "second"
    second.mkdir()
    other = Running(second, gateway.url, port=gateway.port)
    with contextlib.suppress(AssertionError):
        await other.start()  # the first one may answer in its place
    assert other.process is not None
    assert await other.process.wait() == 1
    assert f"gateway.port: 127.0.0.1:{gateway.port} can't be opened" in other.log()
    assert "Traceback" not in other.log()


async def test_the_simulated_salesforce_gets_its_ack(gateway: Running) -> None:
    async with (
        SimulatorStack(vendors=load_vendors()) as stack,
        Control(stack.control_url) as control,
    ):
        await control.seed("standard", account="demo")
        credentials = await control.credentials("salesforce", "demo")
        gateway.organization = credentials["organization_id"]
        await gateway.start()
        deals = await control.records("salesforce", "demo", type="Opportunity")
        ids: list[JsonValue] = [deal["id"] for deal in deals[:5]]
        wish: dict[str, JsonValue] = {
            "url": f"{gateway.address}/events/salesforce",
            "ids": ids,
            "times": 2,
        }
        told = await control.emit("salesforce", "demo", wish)
    assert told["acknowledged"] == 2
    assert told["attempts"] == 2
    database = Database(gateway.url)
    events = await Inbox(database).list()
    await database.aclose()
    assert sorted(event.subject for event in events) == sorted(map(str, ids))
