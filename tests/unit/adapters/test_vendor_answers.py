"""Answers that a simulator never gives: further pages, missing ids, something else than JSON."""

import json
from collections.abc import Callable
from typing import Any

import httpx
import pytest
from pydantic import SecretStr

from adapters.auth import NoAuth
from adapters.errors import ContractBroken, OutcomeUnknown
from adapters.governor import LocalGovernor
from adapters.http import Classify, VendorHttp
from adapters.netsuite import client as netsuite
from adapters.netsuite.adapter import NetSuite
from adapters.netsuite.config import NetSuiteConfig, TokenBased
from adapters.salesforce import client as salesforce
from adapters.salesforce.adapter import Salesforce
from adapters.salesforce.config import ClientCredentials, SalesforceConfig
from canonical.ids import ExternalId
from canonical.provisioning import ProvisionClient

URL = "https://vendor.example"
DEAL = "006DT0000000001"
KEY = ExternalId("dt-client-1")
CLIENT = ProvisionClient(
    connection="netsuite", client_key="k", name="Acme", subsidiary="2", currency="USD"
)
SECRET = SecretStr("s")

Answer = Callable[[httpx.Request], httpx.Response]


def http(vendor: str, classify: Classify, answer: Answer) -> VendorHttp:
    return VendorHttp(
        vendor=vendor,
        connection=vendor,
        base_url=URL,
        auth=NoAuth(),
        classify=classify,
        governor=LocalGovernor(1),
        transport=httpx.MockTransport(answer),
    )


def crm(answer: Answer) -> Salesforce:
    auth = ClientCredentials(client_id="id", client_secret=SECRET)
    config = SalesforceConfig(base_url=URL, auth=auth)
    return Salesforce("salesforce", config, http("salesforce", salesforce.classify, answer))


def erp(answer: Answer) -> NetSuite:
    auth = TokenBased(
        account="1",
        consumer_key=SECRET,
        consumer_secret=SECRET,
        token_id=SECRET,
        token_secret=SECRET,
    )
    config = NetSuiteConfig(base_url=URL, auth=auth)
    return NetSuite("netsuite", config, http("netsuite", netsuite.classify, answer))


def answered(body: Any, status: int = 200, **headers: str) -> Answer:
    given = {"Content-Type": "application/json", **headers}
    content = body if isinstance(body, str) else json.dumps(body)
    return lambda _: httpx.Response(status, headers=given, content=content)


def page(rows: list[Any], following: str | None = None) -> dict[str, Any]:
    more = {"nextRecordsUrl": following} if following else {}
    return {"totalSize": 9, "done": following is None, "records": rows, **more}


async def test_lines_and_milestones_are_read_to_their_last_page() -> None:
    lines = [{"Id": f"00k{n}", "HasRevenueSchedule": True} for n in range(2)]
    deal = {"Id": DEAL, "OpportunityLineItems": page(lines[:1], "/services/data/q/lines-1")}
    dates = [{"Id": f"00o{n}", "OpportunityLineItemId": "00k1"} for n in range(2)]
    pages = {
        "/services/data/q/lines-1": page(lines[1:]),
        "/services/data/q/dates-1": page(dates[1:]),
    }

    def answer(request: httpx.Request) -> httpx.Response:
        first = (
            page([deal]) if "FROM OpportunityLineItems" in request.url.params.get("q", "") else None
        )
        body = pages.get(request.url.path) or first or page(dates[:1], "/services/data/q/dates-1")
        return httpx.Response(200, json=body)

    read = await crm(answer).read_deal(DEAL)

    assert [(line.id, len(line.milestones)) for line in read.lines] == [("00k0", 0), ("00k1", 2)]


async def test_pages_that_never_end_break_the_contract() -> None:
    with pytest.raises(ContractBroken, match="pages"):
        await crm(answered(page([], "/services/data/q/again"))).read_deal(DEAL)


@pytest.mark.parametrize("body", [[], {}, {"records": None}, "null", '"text"'])
async def test_a_query_that_is_not_answered_breaks_the_contract(body: Any) -> None:
    with pytest.raises(ContractBroken):
        await crm(answered(body)).read_deal(DEAL)
    with pytest.raises(ContractBroken):
        await erp(answered(body)).get_client("1")


@pytest.mark.parametrize("location", ["", f"{URL}/record/v1/customer/", f"{URL}/login"])
async def test_a_create_without_a_usable_location_is_looked_up(location: str) -> None:
    with pytest.raises(OutcomeUnknown):
        await erp(answered("", 204, Location=location)).provision_client(KEY, CLIENT)


@pytest.mark.parametrize("id_", [None, 7, "", "1; x", "abc"])
async def test_a_record_without_an_id_breaks_the_contract(id_: Any) -> None:
    with pytest.raises(ContractBroken):
        await erp(answered({"id": id_})).find_client(KEY)


async def test_a_create_sends_its_key_in_the_path_and_replaces_its_address() -> None:
    seen: list[httpx.Request] = []

    def answer(request: httpx.Request) -> httpx.Response:
        seen.append(request)
        return httpx.Response(204, headers={"Location": f"{URL}/record/v1/customer/7"})

    address = CLIENT.address.model_copy(update={"country": "US"})
    record = await erp(answer).provision_client(KEY, CLIENT.model_copy(update={"address": address}))

    assert record.id == "7"
    assert [(r.method, r.url.path, r.url.query) for r in seen] == [
        ("PUT", f"/services/rest/record/v1/customer/eid:{KEY}", b"replace=addressBook")
    ]
