"""simple-salesforce, unchanged, against the simulator.

It speaks https to `*.salesforce.com` only, so it is given a proxy which leads there, and an
authority which vouches for the simulator.
"""

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar, cast
from urllib.parse import urlsplit

import pytest
import requests
import trustme
from simple_salesforce.api import Salesforce, SFType
from simple_salesforce.exceptions import (
    SalesforceAuthenticationFailed,
    SalesforceMalformedRequest,
    SalesforceMoreThanOneRecord,
    SalesforceRefusedRequest,
    SalesforceResourceNotFound,
)
from simple_salesforce.format import format_external_id, format_soql

from simulators.kit import SimulatorStack
from simulators.kit.control import Control
from simulators.salesforce import VENDOR
from simulators.salesforce.ids import with_checksum

pytestmark = pytest.mark.thirdparty

DEAL_1 = with_checksum("006DT0000000001")
T = TypeVar("T")


@dataclass
class Gate:
    """A CONNECT proxy that leads everywhere to one port, and remembers where one wanted to go."""

    port: int
    hosts: list[str] = field(default_factory=list)
    address: str = ""
    open: int = 0
    quiet: asyncio.Event = field(default_factory=asyncio.Event)

    async def connect(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.open += 1
        self.quiet.clear()
        request = await reader.readuntil(b"\r\n\r\n")
        self.hosts.append(request.split()[1].decode())
        writer.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
        far_reader, far_writer = await asyncio.open_connection("127.0.0.1", self.port)
        await asyncio.gather(_pipe(reader, far_writer), _pipe(far_reader, writer))
        self.open -= 1
        if not self.open:
            self.quiet.set()


async def _pipe(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(ConnectionError):
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
    with contextlib.suppress(ConnectionError):
        writer.close()
        await writer.wait_closed()


@pytest.fixture(name="authority", scope="module")
def make_authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture(name="stack", scope="module")
async def make_stack(authority: trustme.CA) -> AsyncIterator[SimulatorStack]:
    certificate = authority.issue_cert("*.salesforce.com", "*.my.salesforce.com", "127.0.0.1")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    certificate.configure_cert(context)
    async with SimulatorStack(vendors=[VENDOR], tls=context) as stack:
        yield stack


@pytest.fixture(name="gate", scope="module")
async def make_gate(stack: SimulatorStack) -> AsyncIterator[Gate]:
    gate = Gate(urlsplit(stack.urls["salesforce"]).port or 0)
    server = await asyncio.start_server(gate.connect, "127.0.0.1", 0)
    gate.address = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    yield gate
    server.close()
    async with asyncio.timeout(5):
        await gate.quiet.wait()


@pytest.fixture(name="control")
async def make_control(stack: SimulatorStack) -> AsyncIterator[Control]:
    async with Control(stack.control_url) as control:
        await control.reset()
        await control.seed("standard")
        yield control


@pytest.fixture(name="session")
async def make_session(
    gate: Gate, authority: trustme.CA, tmp_path: Path
) -> AsyncIterator[requests.Session]:
    bundle = tmp_path / "authority.pem"
    authority.cert_pem.write_to_path(str(bundle))
    with requests.Session() as session:
        session.trust_env = False
        session.verify = str(bundle)
        session.proxies = {"https": gate.address}
        yield session


@pytest.fixture(name="sf")
async def make_client(control: Control, session: requests.Session) -> Salesforce:
    return await apart(lambda: by_assertion(session))


def by_assertion(session: requests.Session) -> Salesforce:
    given = VENDOR.credentials("default")
    return Salesforce(
        username=given["username"],
        consumer_key=given["client_id"],
        privatekey=given["private_key"],
        session=session,
    )


def table(sf: Salesforce, name: str) -> SFType:
    """Return the client's face of an object, which its types mix up with its bulk ones."""
    return cast(SFType, getattr(sf, name))


async def apart(call: Callable[[], T]) -> T:
    """Run the client's blocking calls beside the server's loop."""
    return await asyncio.to_thread(call)


async def test_it_signs_in_by_assertion_and_finds_its_instance(
    gate: Gate, sf: Salesforce, control: Control
) -> None:
    assert sf.sf_instance == "dealthread-default.my.salesforce.com"
    assert "login.salesforce.com:443" in gate.hosts
    limits: dict[str, Any] = await apart(sf.limits)
    assert limits["DailyApiRequests"]["Max"] == 100_000
    assert sf.api_usage["api-usage"].used == 1
    assert await apart(sf.is_sandbox) is False


async def test_it_signs_in_with_client_credentials_on_its_own_domain(
    control: Control, session: requests.Session
) -> None:
    given = VENDOR.credentials("default")

    def sign_in(secret: str) -> Salesforce:
        return Salesforce(
            consumer_key=given["client_id"],
            consumer_secret=secret,
            domain="acme.my",
            session=session,
        )

    sf = await apart(lambda: sign_in(given["client_secret"]))
    assert sf.sf_instance == "acme.my.salesforce.com"
    with pytest.raises(SalesforceAuthenticationFailed, match="invalid client credentials"):
        await apart(lambda: sign_in("wrong"))


async def test_it_reads_a_deal_with_parents_lines_and_pages(sf: Salesforce) -> None:
    text = format_soql(
        "SELECT Id, Account.Name, (SELECT ProductCode FROM OpportunityLineItems)"
        " FROM Opportunity WHERE Id = {}",
        DEAL_1,
    )
    (row,) = (await apart(lambda: sf.query(text)))["records"]
    assert row["Account"]["Name"] == "Northwind Robotics"
    assert row["OpportunityLineItems"]["records"][0]["ProductCode"] == "CONS-TM"


async def test_it_follows_pages_to_the_end(sf: Salesforce, control: Control) -> None:
    await control.seed("bulk", count=410)
    rows = await apart(
        lambda: sf.query_all(
            "SELECT Id FROM Opportunity",
            headers={"Sforce-Query-Options": "batchSize=200"},
        )
    )
    assert rows["totalSize"] == len({row["Id"] for row in rows["records"]}) == 433


async def test_it_writes_upserts_and_deletes(sf: Salesforce, control: Control) -> None:
    deals = table(sf, "Opportunity")
    assert await apart(lambda: deals.update(DEAL_1, {"ERP_Project_Id__c": "42"})) == 204
    assert (await apart(lambda: deals.get(DEAL_1)))["ERP_Project_Id__c"] == "42"
    accounts = table(sf, "Account")
    made = await apart(lambda: accounts.create({"Name": "Acme", "Legacy_Key__c": "L"}))
    assert made["success"]
    key = format_external_id("ERP_Key__c", "C/1")
    assert await apart(lambda: accounts.upsert(key, {"Name": "Bolt"})) == 201
    assert await apart(lambda: accounts.upsert(key, {"Phone": "1"})) == 200
    found = await apart(lambda: accounts.get_by_custom_id("ERP_Key__c", "C/1"))
    assert (found["Name"], found["Phone"]) == ("Bolt", "1")
    assert await apart(lambda: accounts.delete(made["id"])) == 204
    with pytest.raises(SalesforceResourceNotFound, match="entity is deleted"):
        await apart(lambda: accounts.get(made["id"]))


async def test_it_understands_every_refusal(sf: Salesforce, control: Control) -> None:
    accounts = table(sf, "Account")
    with pytest.raises(SalesforceMalformedRequest, match="REQUIRED_FIELD_MISSING"):
        await apart(lambda: accounts.create({}))
    with pytest.raises(SalesforceMalformedRequest, match="MALFORMED_QUERY"):
        await apart(lambda: sf.query("SELECT Id FRM Account"))
    for name in ("A", "B"):
        body = {"Name": name, "Legacy_Key__c": "L"}
        await apart(lambda body=body: accounts.create(body))  # type: ignore[misc]
    with pytest.raises(SalesforceMoreThanOneRecord):
        await apart(lambda: accounts.get_by_custom_id("Legacy_Key__c", "L"))
    await control.add_fault("salesforce", "default", {}, "rate_limit")
    with pytest.raises(SalesforceRefusedRequest, match="REQUEST_LIMIT_EXCEEDED"):
        await apart(sf.limits)


async def test_it_signs_in_anew_when_its_token_lapsed(sf: Salesforce, control: Control) -> None:
    before = sf.session_id
    await control.clock(advance_seconds=3 * 3600)
    assert (await apart(lambda: sf.query("SELECT COUNT() FROM Opportunity")))["totalSize"] == 23
    assert sf.session_id != before


async def test_it_reads_and_closes_a_case(sf: Salesforce) -> None:
    account = with_checksum("001DT0000000001")
    fields = {"AccountId": account, "Subject": "Rate of November", "Type": "Billing Dispute"}
    made: Any = await apart(lambda: table(sf, "Case").create(fields))
    text = format_soql(
        "SELECT CaseNumber, IsClosed, Account.Name FROM Case"
        " WHERE AccountId = {} AND IsClosed = false AND Type = {}",
        account,
        "Billing Dispute",
    )
    (row,) = (await apart(lambda: sf.query(text)))["records"]
    assert (row["CaseNumber"], row["IsClosed"]) == ("00001001", False)
    assert row["Account"]["Name"] == "Northwind Robotics"

    await apart(lambda: table(sf, "Case").update(made["id"], {"Status": "Closed"}))

    kept: Any = await apart(lambda: table(sf, "Case").get(made["id"]))
    assert kept["IsClosed"] is True
    assert kept["ClosedDate"]
    assert (await apart(lambda: sf.query(text)))["records"] == []


async def test_it_describes_objects(sf: Salesforce) -> None:
    body = await apart(table(sf, "Opportunity").describe)
    assert "PSA_Project_Id__c" in {entry["name"] for entry in body["fields"]}
    everything = await apart(sf.describe)
    assert everything is not None
    assert "Account" in {entry["name"] for entry in everything["sobjects"]}


async def test_it_sends_composites(sf: Salesforce) -> None:
    path = f"/services/data/v{sf.sf_version}/sobjects/Opportunity/{DEAL_1}"
    body = {
        "allOrNone": True,
        "compositeRequest": [
            {"method": "PATCH", "url": path, "referenceId": "a", "body": {"NextStep": "x"}},
            {"method": "GET", "url": path, "referenceId": "b"},
        ],
    }
    answer = await apart(lambda: sf.restful("composite", method="POST", json=body))
    assert answer is not None
    assert [part["httpStatusCode"] for part in answer["compositeResponse"]] == [204, 200]
    assert answer["compositeResponse"][1]["body"]["NextStep"] == "x"
