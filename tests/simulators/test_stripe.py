"""Stripe on the wire: sign-in, forms, idempotency, lists, searches, limits, faults, webhooks."""

import asyncio
import base64
import hashlib
import hmac
import json
import time
from collections.abc import AsyncIterator
from itertools import count

import httpx
import pytest
import pytest_asyncio
from pydantic import JsonValue

from simulators.kit import Clock, SimulatorStack
from simulators.kit.control import Control, ControlRefused
from simulators.stripe import VENDOR
from simulators.stripe.forms import decode
from tests.simulators.stripe_account import NAME, Client, Receiver, receiving, shown

KEY = "run-1:draft:m-1"
_numbers = count(1)


@pytest_asyncio.fixture(scope="module", name="stack")
async def make_stack() -> AsyncIterator[SimulatorStack]:
    async with SimulatorStack(vendors=[VENDOR]) as running:
        yield running


@pytest_asyncio.fixture(name="client")
async def make_client(stack: SimulatorStack) -> AsyncIterator[Client]:
    async with Control(stack.control_url) as control:
        client = Client(stack, control, f"wire-{next(_numbers)}")
        yield client
        await client.http.aclose()


@pytest_asyncio.fixture(name="receiver")
async def make_receiver() -> AsyncIterator[Receiver]:
    async with receiving() as receiver:
        yield receiver


async def made(client: Client, kind: str = "customer") -> int:
    return len(await client.control.records(NAME, client.account, type=kind))


def verified(delivery: tuple[bytes, str], secret: str) -> dict[str, object]:
    body, header = delivery
    parts = [part.split("=", 1) for part in header.split(",")]
    moment = dict(parts)["t"]
    wanted = hmac.new(secret.encode(), moment.encode() + b"." + body, hashlib.sha256).hexdigest()
    assert wanted in [value for name, value in parts if name == "v1"]
    event: dict[str, object] = json.loads(body)
    return event


@pytest.mark.parametrize(
    ("text", "tree"),
    [
        ("a=1&b=", {"a": "1", "b": ""}),
        ("m[x][y]=1&m[x][z]=2", {"m": {"x": {"y": "1", "z": "2"}}}),
        ("l[1][a]=2&l[0][a]=1", {"l": [{"a": "1"}, {"a": "2"}]}),
        ("e[]=a&e[]=b", {"e": ["a", "b"]}),
        ("i[][p]=a&i[][q]=1&i[][p]=b", {"i": [{"p": "a", "q": "1"}, {"p": "b"}]}),
        ("metadata[0]=x", {"metadata": {"0": "x"}}),
        ("l[0][metadata][1]=y", {"l": [{"metadata": {"1": "y"}}]}),
        ("n=%C3%9Cber+uns%5B%5D", {"n": "Über uns[]"}),
    ],
)  # fmt: skip
def test_forms_nest_by_brackets(text: str, tree: JsonValue) -> None:
    assert decode(text) == tree


async def test_only_the_accounts_own_keys_let_in(client: Client, stack: SimulatorStack) -> None:
    known = client.known
    basic = base64.b64encode(f"{known['api_key']}:".encode()).decode()
    for header in (f"Bearer {known['restricted_key']}", f"Basic {basic}"):
        answer = await client.http.get("/v1/customers", headers={"Authorization": header})
        assert answer.status_code == 200
    assert answer.headers["Request-Id"].startswith("req_")
    assert answer.headers["Stripe-Version"] == "2026-10-28.endive"
    wrong = known["api_key"][:-1] + ("0" if known["api_key"][-1] != "0" else "1")
    answer = await client.http.get("/v1/customers", headers={"Authorization": f"Bearer {wrong}"})
    error = answer.json()["error"]
    assert (answer.status_code, error["type"]) == (401, "invalid_request_error")
    assert error["message"] == f"Invalid API Key provided: sk_test_************{wrong[-4:]}"
    async with httpx.AsyncClient(base_url=stack.urls[NAME], verify=False) as nobody:
        answer = await nobody.get("/v1/customers")
    assert "You did not provide an API key" in answer.json()["error"]["message"]
    answer = await client.http.get("/v1/nothing")
    assert answer.status_code == 404
    assert "Unrecognized request URL (GET: /v1/nothing)" in answer.json()["error"]["message"]


@pytest.mark.parametrize(
    ("path", "params", "code", "param"),
    [
        ("invoiceitems", {"amount": 1}, "parameter_missing", "customer"),
        ("customers", {"nmae": "x"}, "parameter_unknown", "nmae"),
        ("customers", {"balance": "1.5"}, "parameter_invalid_integer", "balance"),
        ("customers", {"address": {"town": "x"}}, "parameter_unknown", "address[town]"),
        ("customers", {"balance": ""}, "parameter_invalid_empty", "balance"),
        ("invoices", {"customer": "cus_none"}, "resource_missing", "customer"),
        ("customers", {"metadata": {"k" * 41: "v"}}, None, f"metadata[{'k' * 41}]"),
        ("products", {}, "parameter_missing", "name"),
        ("webhook_endpoints", {"url": "ftp://x", "enabled_events": ["*"]}, None, "url"),
    ],
)  # fmt: skip
async def test_wrong_parameters_are_named(
    client: Client, path: str, params: dict[str, JsonValue], code: str | None, param: str
) -> None:
    error = await client.refused(path, **params)
    assert (error["status"], error["type"]) == (400, "invalid_request_error")
    assert (error.get("code"), error["param"]) == (code, param)


async def test_json_is_no_form(client: Client) -> None:
    answer = await client.http.post("/v1/customers", json={"name": "x"})
    assert answer.status_code == 400
    assert "x-www-form-urlencoded" in answer.json()["error"]["message"]


async def test_the_same_key_gives_the_same_answer_for_a_day(client: Client) -> None:
    first = await client.send("POST", "customers", KEY, name="Acme", email="a@b.test")
    again = await client.send("POST", "customers", KEY, email="a@b.test", name="Acme")
    assert first.json() == again.json()
    assert first.headers["Idempotency-Key"] == KEY
    assert "Idempotent-Replayed" not in first.headers
    assert again.headers["Idempotent-Replayed"] == "true"
    assert again.headers["Original-Request"] == first.headers["Request-Id"]
    for path, params in (("customers", {"name": "Bolt"}), ("products", {"name": "Acme"})):
        error = await client.refused(path, KEY, **params)
        assert (error["status"], error["type"]) == (400, "idempotency_error")
    assert await made(client) == 1
    assert await client.effects() == [("create", "customer", None)]
    await client.control.clock(client.account, advance_seconds=86_400)
    later = await client.send("POST", "customers", KEY, name="Bolt")
    assert later.json()["name"] == "Bolt"
    assert await made(client) == 2


async def test_a_refusal_is_kept_once_it_was_executed(client: Client) -> None:
    invoice = await client.open(100)
    path = f"invoices/{invoice['id']}/pay"
    bad: dict[str, JsonValue] = {"payment_method": "pm_card_chargeDeclined"}
    for _ in range(2):
        assert (await client.refused(path, "pay-1", **bad))["code"] == "card_declined"
    assert (await client.get(f"invoices/{invoice['id']}"))["attempt_count"] == 1
    again = await client.send("POST", f"invoices/{invoice['id']}/finalize", "fin-1")
    replay = await client.send("POST", f"invoices/{invoice['id']}/finalize", "fin-1")
    assert (again.status_code, replay.json()) == (400, again.json())
    assert replay.headers["Idempotent-Replayed"] == "true"
    # A refused parameter is not kept: the same key may come with the right one.
    assert (await client.refused("customers", "c-1", nmae="x"))["status"] == 400
    assert (await client.post("customers", "c-1", name="x"))["name"] == "x"


async def test_a_key_in_use_is_refused_until_its_request_is_done(client: Client) -> None:
    fault = await client.control.add_fault(NAME, client.account, {"key": KEY}, "hold")
    first = asyncio.create_task(client.send("POST", "customers", KEY, name="Acme"))
    await client.control.wait_for_fault(NAME, client.account, fault)
    second = await client.send("POST", "customers", KEY, name="Acme")
    assert second.status_code == 409
    assert second.json()["error"]["code"] == "idempotency_key_in_use"
    await client.control.release(NAME, client.account)
    assert (await first).status_code == 200
    third = await client.send("POST", "customers", KEY, name="Acme")
    assert third.json() == (await first).json()
    assert await made(client) == 1


async def test_an_answer_held_back_is_given_again(client: Client) -> None:
    fault = await client.control.add_fault(
        NAME, client.account, {"key": KEY}, "hold", effect="before"
    )
    first = asyncio.create_task(client.send("POST", "customers", KEY, name="Acme"))
    await client.control.wait_for_fault(NAME, client.account, fault)
    second = await client.send("POST", "customers", KEY, name="Acme")
    assert second.headers["Idempotent-Replayed"] == "true"
    await client.control.release(NAME, client.account)
    assert (await first).json() == second.json()


async def test_lists_go_from_new_to_old_by_cursor(client: Client) -> None:
    ids = [await client.customer(name=f"c{n}") for n in range(5)][::-1]
    page = await client.get("customers", limit=2)
    assert (page["object"], page["url"], page["has_more"]) == ("list", "/v1/customers", True)
    assert [row["id"] for row in page["data"]] == ids[:2]
    page = await client.get("customers", limit=3, starting_after=ids[1])
    assert ([row["id"] for row in page["data"]], page["has_more"]) == (ids[2:], False)
    page = await client.get("customers", limit=2, ending_before=ids[3])
    assert ([row["id"] for row in page["data"]], page["has_more"]) == (ids[1:3], True)
    for wrong in ({"limit": 101}, {"limit": 0}, {"starting_after": "cus_none"}, {"nmae": "x"}):
        answer = await client.send("GET", "customers", **wrong)
        assert answer.status_code == 400, answer.text


async def test_lists_are_filtered(client: Client) -> None:
    customer = await client.customer()
    open_one = await client.open(5, customer=customer)
    draft = await client.draft(5, customer=customer)
    await client.draft(5)
    found = await client.get("invoices", customer=customer, status="draft")
    assert [row["id"] for row in found["data"]] == [draft["id"]]
    since = open_one["created"]
    found = await client.get("invoices", created={"gte": since, "lt": since + 600}, limit=50)
    assert len(found["data"]) == 3
    assert (await client.get("invoices", created={"gt": since + 600}))["data"] == []


async def test_objects_are_expanded_along_a_path(client: Client) -> None:
    invoice = await client.open(5)
    shown_ = await client.get(f"invoices/{invoice['id']}", expand=["customer", "payments"])
    assert (shown_["customer"]["object"], shown_["payments"]["data"]) == ("customer", [])
    found = await client.get("invoices", expand=["data.customer"])
    assert found["data"][0]["customer"]["name"] == "Acme"
    for path in ("total", "nothing", "customer.nothing"):
        answer = await client.send("GET", f"invoices/{invoice['id']}", expand=[path])
        assert "cannot be expanded" in answer.json()["error"]["message"]


async def test_searches_ask_metadata_and_fields(client: Client) -> None:
    one = await client.draft(5, metadata={"dealthread_key": "m'1", "kind": "a"})
    await client.open(5, metadata={"dealthread_key": "m2", "kind": "a"})

    async def found(query: str) -> list[str | None]:
        page = await client.get("invoices/search", query=query)
        assert (page["object"], page["url"]) == ("search_result", "/v1/invoices/search")
        return [row["metadata"].get("dealthread_key") for row in page["data"]]

    assert await found(r"metadata['dealthread_key']:'m\'1'") == ["m'1"]
    assert await found("metadata['kind']:'a' AND status:'open'") == ["m2"]
    assert await found('status:"open" OR status:"draft"') == ["m2", "m'1"]
    assert await found("-status:'open' AND total>4") == ["m'1"]
    assert await found(f"customer:'{one['customer']}'") == ["m'1"]
    first = await client.get("invoices/search", query="total<=5", limit=1)
    rest = await client.get("invoices/search", query="total<=5", limit=1, page=first["next_page"])
    assert [first["has_more"], rest["has_more"], len(rest["data"])] == [True, False, 1]
    for wrong in ("status=open", "colour:'x'", "status:'open' AND total>1 OR total<9", ""):
        answer = await client.send("GET", "invoices/search", query=wrong)
        assert answer.status_code == 400, wrong


async def test_searches_lag_while_lists_do_not(client: Client) -> None:
    query = "metadata['dealthread_key']:'x'"
    fault = await client.control.add_fault(NAME, client.account, {}, "stale_search")
    await client.draft(metadata={"dealthread_key": "x"})
    assert (await client.get("invoices/search", query=query))["data"] == []
    assert len((await client.get("invoices"))["data"]) == 1
    await client.control.wait_for_fault(NAME, client.account, fault)
    await client.control.release(NAME, client.account)
    assert len((await client.get("invoices/search", query=query))["data"]) == 1
    await client.set(search_lag_seconds=60)
    assert (await client.get("invoices/search", query=query))["data"] == []
    await client.control.clock(client.account, advance_seconds=61)
    assert len((await client.get("invoices/search", query=query))["data"]) == 1


async def test_limits_answer_429_once_they_are_set(client: Client) -> None:
    await client.set(requests_per_second=3, endpoint_requests_per_second=2)
    answers = [await client.send("GET", "customers") for _ in range(3)]
    assert [answer.status_code for answer in answers] == [200, 200, 429]
    refused = answers[-1]
    assert refused.headers["Stripe-Rate-Limited-Reason"] == "endpoint-rate"
    assert "Stripe-Should-Retry" not in refused.headers
    assert "Retry-After" not in refused.headers
    assert refused.json()["error"]["code"] == "rate_limit"
    others = [(await client.send("GET", name)).status_code for name in ("prices", "products")]
    assert 429 in others
    await client.set(requests_per_second=None, endpoint_requests_per_second=None)
    assert (await client.send("GET", "customers")).status_code == 200
    await client.set(search_requests_per_second=1)
    searches = [
        await client.send("GET", "customers/search", query="name:'x'") for _ in range(2)
    ]  # fmt: skip
    assert [answer.status_code for answer in searches] == [200, 429]


@pytest.mark.parametrize(
    ("kind", "options", "status", "wanted", "effects"),
    [
        ("reject", {}, 400, {"type": "invalid_request_error"}, 0),
        ("reject", {"decline_code": "do_not_honor"}, 402, {"type": "card_error"}, 0),
        ("reject", {"code": "lock_timeout", "status": 409}, 409, {"code": "lock_timeout"}, 0),
        ("fail_before", {}, 500, {"type": "api_error"}, 0),
        ("fail_after", {"status": 503}, 503, {"type": "api_error"}, 1),
        ("rate_limit", {"should_retry": True}, 429, {"code": "rate_limit"}, 0),
        ("rate_limit", {"code": "lock_timeout"}, 429, {"code": "lock_timeout"}, 0),
        ("expire_auth", {}, 401, {"code": "api_key_expired"}, 0),
    ],
)  # fmt: skip
async def test_faults_speak_stripes_language(
    client: Client,
    kind: str,
    options: dict[str, JsonValue],
    status: int,
    wanted: dict[str, str],
    effects: int,
) -> None:
    match: dict[str, JsonValue] = {"method": "POST", "path": "^/v1/customers$", "key": "c-1"}
    await client.control.add_fault(NAME, client.account, match, kind, options=options)
    metadata: JsonValue = {"dealthread_key": "c-1"}
    answer = await client.send("POST", "customers", KEY, name="Acme", metadata=metadata)
    assert answer.status_code == status
    assert wanted.items() <= answer.json()["error"].items()
    assert answer.headers["Request-Id"].startswith("req_")
    retry = answer.headers.get("Stripe-Should-Retry")
    assert retry == ("true" if options.get("should_retry") else None)
    assert await made(client) == effects
    again = await client.send("POST", "customers", KEY, name="Acme", metadata=metadata)
    assert again.status_code == 200
    assert ("Idempotent-Replayed" in again.headers) == bool(effects)
    assert await made(client) == 1


@pytest.mark.parametrize(("kind", "effects"), [("drop_before", 0), ("drop_after", 1)])
async def test_a_dropped_connection_leaves_its_effect_or_none(
    client: Client, kind: str, effects: int
) -> None:
    await client.control.add_fault(NAME, client.account, {"method": "POST"}, kind)
    with pytest.raises(httpx.RemoteProtocolError):
        await client.send("POST", "customers", KEY, name="Acme")
    assert await made(client) == effects
    await client.post("customers", KEY, name="Acme")
    assert await made(client) == 1


async def test_a_stored_500_comes_again_for_its_key(client: Client) -> None:
    await client.control.add_fault(
        NAME, client.account, {"method": "POST"}, "fail_after", options={"stored": True}
    )
    answers = [await client.send("POST", "customers", KEY, name="Acme") for _ in range(2)]
    assert [answer.status_code for answer in answers] == [500, 500]
    assert answers[1].headers["Idempotent-Replayed"] == "true"
    assert await made(client) == 1


async def test_requests_are_told_apart_by_their_keys(client: Client) -> None:
    invoice = await client.draft(metadata={"dealthread_key": "inv-1"})
    lines: JsonValue = [{"amount": 1, "metadata": {"dealthread_key": "line-1"}}]
    before = len(await client.control.calls(NAME, client.account))
    for key in ("line-1", "k-9"):
        match: dict[str, JsonValue] = {"path": "add_lines", "key": key}
        await client.control.add_fault(NAME, client.account, match, "reject")
        answer = await client.send(
            "POST", f"invoices/{invoice['id']}/add_lines", "k-9", lines=lines
        )
        assert answer.status_code == 400
    await client.post(f"invoices/{invoice['id']}/add_lines", "k-9", lines=lines)
    assert await client.effects(before) == [
        ("create", "invoiceitem", "line-1"),
        ("update", "invoice", "inv-1"),
    ]
    await client.control.add_fault(NAME, client.account, {"key": "inv-1"}, "reject")
    assert (await client.refused(f"invoices/{invoice['id']}/finalize"))["status"] == 400
    call = (await client.control.calls(NAME, client.account))[-1]
    assert (call["fault"], call["key"]) == ("reject", "inv-1")


async def test_registered_endpoints_get_signed_events(client: Client, receiver: Receiver) -> None:
    endpoint = await client.post(
        "webhook_endpoints", url=receiver.url, enabled_events=["customer.created", "invoice.paid"]
    )
    assert endpoint["secret"].startswith("whsec_")
    assert "secret" not in await client.get(f"webhook_endpoints/{endpoint['id']}")
    receiver.statuses = [500]  # so it is sent again
    answer = await client.send("POST", "customers", KEY, name="Acme")
    await receiver.wait(2)
    events = [verified(delivery, endpoint["secret"]) for delivery in receiver.got]
    assert events[0]["id"] == events[1]["id"]
    event = shown(await client.send("GET", f"events/{events[0]['id']}"))
    assert event == events[0]
    assert (event["type"], event["pending_webhooks"]) == ("customer.created", 1)
    assert event["request"] == {"id": answer.headers["Request-Id"], "idempotency_key": KEY}
    assert event["data"]["object"] == answer.json()
    await client.post(f"webhook_endpoints/{endpoint['id']}", disabled=True)
    await client.customer()
    await client.post(f"webhook_endpoints/{endpoint['id']}", disabled=False)
    last = await client.customer()
    await receiver.wait(3)
    assert json.loads(receiver.got[2][0])["data"]["object"]["id"] == last


async def test_an_update_tells_what_was_before(client: Client) -> None:
    customer = await client.customer()
    await client.post(f"customers/{customer}", name="Bolt")
    (event,) = (await client.get("events", type="customer.updated"))["data"]
    assert event["data"]["previous_attributes"] == {"name": "Acme"}
    await client.post(f"customers/{customer}", name="Bolt")
    assert len((await client.get("events", types=["customer.updated", "x"]))["data"]) == 1


async def test_an_invoice_has_at_most_250_items_however_they_come(client: Client) -> None:
    customer = await client.customer()
    draft = await client.draft(customer=customer)
    lines: JsonValue = [{"amount": 1}] * 250
    path = f"invoices/{draft['id']}"
    await client.post(f"{path}/add_lines", lines=lines)

    one_more: JsonValue = [{"amount": 1}]
    for refused in (
        await client.refused(f"{path}/add_lines", lines=one_more),
        await client.refused(
            "invoiceitems", customer=customer, invoice=draft["id"], amount=1, currency="usd"
        ),
    ):
        assert "at most 250 invoice items" in str(refused)
    assert (await client.get(path))["total"] == 250


async def test_nothing_is_told_of_what_was_refused(client: Client) -> None:
    customer = await client.customer()
    lines: JsonValue = [{"amount": 1}, {"amount": 2, "tax_rates": ["txr_none"]}]
    draft = await client.draft(customer=customer)
    before = len((await client.get("events", limit=100))["data"])
    await client.refused(f"invoices/{draft['id']}/add_lines", lines=lines)
    assert len((await client.get("events", limit=100))["data"]) == before


async def test_deliveries_come_twice_and_in_reverse_when_told(
    client: Client, receiver: Receiver
) -> None:
    await client.set(webhooks={"times": 2, "reverse": True, "delay_seconds": 0.01})
    wanted: JsonValue = ["invoice.finalized", "invoice.paid"]
    await client.post("webhook_endpoints", url=receiver.url, enabled_events=wanted)
    await client.open()
    await receiver.wait(4)
    types = [json.loads(body)["type"] for body, _ in receiver.got]
    assert types == ["invoice.paid", "invoice.finalized"] * 2


async def test_a_person_makes_it_notify(client: Client, receiver: Receiver) -> None:
    control, account = client.control, client.account
    invoice = await client.open()
    wish: dict[str, JsonValue] = {"type": "invoice.paid", "id": invoice["id"], "url": receiver.url}
    sent = await control.emit(NAME, account, {**wish, "times": 2})
    assert (sent["deliveries"], sent["acknowledged"]) == (2, 2)
    event = verified(receiver.got[0], client.known["webhook_secret"])
    assert receiver.got[0][0] == receiver.got[1][0]
    rolled: JsonValue = ["whsec_old", "whsec_new"]
    again: dict[str, JsonValue] = {"events": [event["id"]], "url": receiver.url}  # type: ignore[list-item]
    await control.emit(NAME, account, {**again, "secrets": rolled})
    assert verified(receiver.got[2], "whsec_old") == verified(receiver.got[2], "whsec_new")
    await control.emit(NAME, account, {**again, "forged": True, "age_seconds": 600})
    with pytest.raises(AssertionError):
        verified(receiver.got[3], client.known["webhook_secret"])
    stamp = int(receiver.got[3][1].split(",")[0].removeprefix("t="))
    assert 590 <= time.time() - stamp <= 610
    late = await control.emit(NAME, account, {**again, "delay_seconds": 0.01})
    assert late["scheduled"] == 1
    await receiver.wait(5)
    for wrong in ({}, {"events": ["evt_none"]}, {"type": "invoice.paid", "id": "in_none"}):
        with pytest.raises(ControlRefused):
            await control.emit(NAME, account, {**wrong, "url": receiver.url})  # type: ignore[dict-item]
    with pytest.raises(ControlRefused, match="no registered endpoint"):
        await control.emit(NAME, account, {"events": again["events"]})


def test_state_survives_in_the_state_file() -> None:
    account = VENDOR.new_account("kept", Clock())
    twin = VENDOR.new_account("kept", Clock())
    VENDOR.seed(account, "standard", 1, 1)
    twin.load(json.loads(json.dumps(account.dump())))
    assert twin.dump() == account.dump()
