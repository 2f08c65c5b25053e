"""What each sender sends, what it is answered, and all that is refused: nothing of it is kept."""

import asyncio
import json
import re
import time

import httpx
import pytest
import stripe as stripe_sdk
from defusedxml.ElementTree import fromstring
from pydantic import SecretStr
from sqlalchemy import text

from gateway.app import Parts, make_app
from operations.codec import RecordCipher
from store.database import Database
from store.errors import StoreUnavailable
from store.inbox import EventState, Inbox
from tests.gateway.scene import (
    LIMIT,
    NOW,
    OLD_SECRET,
    STRIPE_SECRET,
    Gateway,
    Request,
    binary,
    cloudevent,
    outbound,
    running,
    salesforce,
    stripe,
    stripe_event,
    structured,
)

NAMESPACE = "{http://soap.sforce.com/2005/09/outbound}"


def ack(text: str) -> str | None:
    found: str | None = fromstring(text).findtext(
        f".//{NAMESPACE}notificationsResponse/{NAMESPACE}Ack"
    )
    return found


# What is taken.


@pytest.mark.parametrize(
    ("request_", "ids", "kind", "subject"),
    [
        (stripe(), ["evt_1"], "invoice.paid", "in_1"),
        (structured(), ["/psa e-1"], "com.dealthread.entries.changed", ""),
        (binary(), ["/psa e-1"], "com.dealthread.entries.changed", "48213"),
        (structured(secret=OLD_SECRET), ["/psa e-1"], "com.dealthread.entries.changed", ""),
    ],
    ids=["stripe", "structured", "binary", "the secret before"],
)
async def test_an_event_lies_in_the_inbox_before_the_answer_and_once(
    gateway: Gateway, request_: Request, ids: list[str], kind: str, subject: str
) -> None:
    first = await gateway.send(request_)
    (event,) = await gateway.events()
    second = await gateway.send(request_)

    assert (first.status_code, first.json()) == (202, {"received": ids})
    assert (second.status_code, second.content) == (first.status_code, first.content)
    assert await gateway.events() == (event,)
    assert (event.event_id, event.kind, event.subject) == (ids[0], kind, subject)
    assert event.state is EventState.RECEIVED
    taken = await gateway.inbox.get(event.id)
    assert taken is not None
    assert taken.body == request_.body


async def test_an_outbound_message_is_acknowledged_whole(gateway: Gateway) -> None:
    pairs = [(f"04l{n:012d}AAA", f"006{n:012d}AAA") for n in range(100)]
    request = salesforce(outbound(pairs))
    for _ in range(2):
        answer = await gateway.send(request)
        assert (answer.status_code, ack(answer.text)) == (200, "true")
        assert answer.headers["content-type"].startswith("text/xml")
    events = await gateway.events()
    assert [(event.event_id, event.subject) for event in events] == pairs
    assert {event.kind for event in events} == {"Opportunity"}
    # One that was there and one that is new: acknowledged too.
    answer = await gateway.send(
        salesforce(outbound([pairs[0], ("04l000000000999AAA", "006000000000999AAA")]))
    )
    assert ack(answer.text) == "true"
    assert len(await gateway.events()) == 101


async def test_the_same_event_many_times_at_once_is_one(gateway: Gateway) -> None:
    answers = await asyncio.gather(*(gateway.send(stripe()) for _ in range(50)))
    assert {answer.status_code for answer in answers} == {202}
    assert len(await gateway.events()) == 1


async def test_stripes_own_library_signs_what_is_taken(gateway: Gateway) -> None:
    body, stamp = stripe_event(), NOW
    secret = STRIPE_SECRET.get_secret_value()
    sign = stripe_sdk.WebhookSignature._compute_signature
    right = sign(f"{stamp}.{body.decode()}", secret)
    # While a secret is rolled there are several v1, and an old v0 besides.
    header = f"t={stamp},v1={'0' * 64},v1={right},v0={'1' * 64}"
    request = Request(
        "/events/stripe", body, {"content-type": "application/json", "stripe-signature": header}
    )
    assert (await gateway.send(request)).status_code == 202
    stripe_sdk.Webhook.construct_event(
        body.decode(), stripe(body, now=int(time.time())).headers["stripe-signature"], secret
    )


# What is refused.

DEEP = b'{"id":' + b"[" * 200_000 + b"]" * 200_000 + b"}"
LAUGHS = b"""<?xml version="1.0"?><!DOCTYPE lolz [<!ENTITY lol "lol">
<!ENTITY lol2 "&lol;&lol;&lol;&lol;&lol;&lol;&lol;&lol;&lol;&lol;">
<!ENTITY lol3 "&lol2;&lol2;&lol2;&lol2;&lol2;&lol2;&lol2;&lol2;&lol2;&lol2;">]>
<x>&lol3;</x>"""
EXTERNAL = (
    b"""<?xml version="1.0"?><!DOCTYPE x [<!ENTITY f SYSTEM "file:///etc/passwd">]><x>&f;</x>"""
)


def data(**given: object) -> dict[str, object]:
    return cloudevent(data={"project": "48213", "entries": ["time:1"]} | given)


def without(name: str) -> dict[str, object]:
    return {key: value for key, value in cloudevent().items() if key != name}


def changed(request: Request, **headers: str | None) -> Request:
    """Return a request with other headers; None takes one away."""
    merged: dict[str, str | None] = {**request.headers}
    merged |= {name.replace("_", "-"): value for name, value in headers.items()}
    kept = {name: value for name, value in merged.items() if value is not None}
    return Request(request.path, request.body, kept)


REFUSED: dict[str, tuple[Request, int, str]] = {
    "stripe, wrong secret": (stripe(secret=SecretStr("other")), 401, "wrong_signature"),
    "stripe, replayed later": (stripe(age=301), 401, "stale_signature"),
    "stripe, from the future": (stripe(age=-400), 401, "stale_signature"),
    "stripe, no signature": (changed(stripe(), stripe_signature=None), 401, "no_signature"),
    "stripe, half a signature": (changed(stripe(), stripe_signature="t=,v1="), 401, "no_signature"),
    "stripe, not ASCII": (changed(stripe(), stripe_signature="t=1,v1=ä"), 401, "no_signature"),
    "stripe, changed body": (
        Request("/events/stripe", stripe_event("evt_2"), stripe().headers),
        401,
        "wrong_signature",
    ),
    "stripe, truncated": (stripe(stripe_event()[:-20]), 400, "not_json"),
    "stripe, empty": (stripe(b""), 400, "not_json"),
    "stripe, no object": (stripe(b"[1]"), 400, "not_json"),
    "stripe, NaN": (stripe(b'{"id":"evt_1","type":"a","x":NaN}'), 400, "not_json"),
    "stripe, too large a number": (stripe(b'{"id":"evt_1","x":1e999}'), 400, "not_json"),
    "stripe, too long a number": (stripe(b'{"x":' + b"9" * 6000 + b"}"), 400, "not_json"),
    "stripe, not UTF-8": (stripe(b'{"id":"\xff"}'), 400, "not_json"),
    "stripe, nested": (stripe(DEEP), 400, "not_json"),
    "stripe, nested within the parser's limit": (
        stripe(b'{"id":' + b"[" * 500 + b"]" * 500 + b"}"),
        400,
        "not_json",
    ),
    "stripe, no id": (stripe(b'{"type":"invoice.paid"}'), 400, "invalid"),
    "stripe, NUL in the id": (stripe(rb'{"id":"evt_\u0000","type":"a"}'), 400, "invalid"),
    "stripe, too long an id": (stripe(stripe_event("evt_" + "x" * 300)), 400, "invalid"),
    "stripe, XML": (changed(stripe(), content_type="text/xml"), 415, "wrong_content_type"),
    "stripe, no type": (changed(stripe(), content_type=""), 415, "wrong_content_type"),
    "stripe, compressed": (
        changed(stripe(), content_encoding="gzip"),
        415,
        "wrong_content_encoding",
    ),
    "stripe, 10 MB": (stripe(b" " * 10_000_000), 413, "too_large"),
    "stripe, one byte too many": (stripe(b" " * (LIMIT + 1)), 413, "too_large"),
    "cloudevents, wrong secret": (structured(secret=SecretStr("x")), 401, "wrong_signature"),
    "cloudevents, replayed later": (structured(age=301), 401, "stale_signature"),
    "cloudevents, signed for the other mode": (
        changed(structured(), content_type="application/json"),
        401,
        "wrong_signature",
    ),
    "cloudevents, replayed under another id": (
        binary(tampered={"ce-id": "e-2"}),
        401,
        "wrong_signature",
    ),
    "cloudevents, an attribute more": (binary(tampered={"ce-x": "1"}), 401, "wrong_signature"),
    "cloudevents, truncated": (structured(body=b'{"specversion":"1.0"'), 400, "not_json"),
    "cloudevents, of another version": (
        structured(cloudevent(specversion="0.3")),
        400,
        "not_a_cloudevent",
    ),
    "cloudevents, a number as id": (structured(cloudevent(id=7)), 400, "not_a_cloudevent"),
    "cloudevents, NUL in the id": (structured(cloudevent(id="a\0b")), 400, "not_a_cloudevent"),
    "cloudevents, half a surrogate": (
        structured(cloudevent(subject="\ud800")),
        400,
        "not_a_cloudevent",
    ),
    "cloudevents, base64": (structured(cloudevent(data_base64="eA==")), 400, "not_a_cloudevent"),
    "cloudevents, no time": (structured(cloudevent(time="noon")), 400, "not_a_cloudevent"),
    "cloudevents, local time": (
        structured(cloudevent(time="2026-11-21T12:00:00")),
        400,
        "not_a_cloudevent",
    ),
    "cloudevents, text data": (
        structured(cloudevent(datacontenttype="text/plain")),
        400,
        "not_a_cloudevent",
    ),
    **{
        f"cloudevents, without {name}": (structured(without(name)), 400, "not_a_cloudevent")
        for name in ("specversion", "id", "source", "type")
    },
    "entries, no data": (structured(without("data")), 400, "invalid_data"),
    "entries, NaN hours": (
        structured(body=json.dumps(data(hours=float("nan"))).encode()),
        400,
        "not_json",
    ),
    "entries, negative hours": (structured(data(hours=-2)), 400, "invalid_data"),
    "entries, an unknown field": (structured(data(rate="150")), 400, "invalid_data"),
    "entries, none": (structured(data(entries=[])), 400, "invalid_data"),
    "entries, a number": (structured(data(entries=[17])), 400, "invalid_data"),
    "entries, no id": (structured(data(entries=["time:../x"])), 400, "invalid_data"),
    "entries, no kind": (structured(data(entries=["invoice:1"])), 400, "invalid_data"),
    "entries, too many": (
        structured(data(entries=[f"time:{n}" for n in range(501)])),
        400,
        "invalid_data",
    ),
    "entries, no project": (structured(data(project="a/b")), 400, "invalid_data"),
    "entries, no period": (structured(data(period="2026-13")), 400, "invalid_data"),
    "entries, binary": (binary({"project": "1"}), 400, "invalid_data"),
    "nobody": (Request("/events/nobody", b"{}"), 404, "unknown_connection"),
    "no name": (Request("/events/", b"{}"), 404, "unknown_connection"),
    "a path": (Request("/events/..%2fetc", b"{}"), 404, "unknown_connection"),
    "another page": (Request("/event", b"{}"), 404, "no_such_thing"),
}


@pytest.mark.parametrize("case", REFUSED)
async def test_bad_input_gets_its_4xx_and_leaves_nothing(gateway: Gateway, case: str) -> None:
    request, status, reason = REFUSED[case]
    answer = await gateway.send(request)
    assert (answer.status_code, answer.json()["reason"]) == (status, reason)
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["status"] == status
    assert await gateway.events() == ()


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        (salesforce(key=""), 401),
        (salesforce(key="wrong"), 401),
        (salesforce(outbound(organization="00D000000000002EAA")), 401),
        (salesforce(outbound(organization="")), 401),
        (salesforce(outbound(())), 400),
        (salesforce(outbound([("04l000000000001AAA", "006000000000001AAA")] * 101)), 400),
        (salesforce(outbound([("", "006000000000001AAA")])), 400),
        (salesforce(outbound([("04l000000000001AAA", "006' OR 1=1")])), 400),
        (salesforce(outbound()[:-40]), 400),
        (salesforce(b""), 400),
        (salesforce(b"<x/>"), 400),
        (salesforce(LAUGHS), 400),
        (salesforce(EXTERNAL), 400),
        (salesforce(b"<?xml version='1.0' encoding='nonsense'?><x/>"), 400),
        (salesforce(b"<a>" * 100_000 + b"</a>" * 100_000), 400),
        (salesforce(b" " * 10_000_000), 413),
        (changed(salesforce(), content_type="application/json"), 415),
    ],
    ids=[
        *("no key", "wrong key", "another organisation", "no organisation", "none", "101"),
        *("no id", "no record id", "truncated", "empty", "no envelope", "billion laughs"),
        *("external entity", "unknown encoding", "nested", "10 MB", "JSON"),
    ],
)
async def test_a_bad_outbound_message_is_not_acknowledged(
    gateway: Gateway, request_: Request, status: int
) -> None:
    answer = await gateway.send(request_)
    assert (answer.status_code, ack(answer.text)) == (status, "false")
    assert await gateway.events() == ()


async def test_a_bad_notification_takes_the_whole_message_with_it(gateway: Gateway) -> None:
    pairs = [("04l000000000001AAA", "006000000000001AAA"), ("04l000000000002AAA", "x")]
    answer = await gateway.send(salesforce(outbound(pairs)))
    assert (answer.status_code, ack(answer.text)) == (400, "false")
    assert await gateway.events() == ()


@pytest.mark.parametrize(
    "request_",
    [stripe(), salesforce(), structured()],
    ids=["stripe", "salesforce", "cloudevents"],
)
async def test_without_the_database_senders_come_again(
    gateway: Gateway, request_: Request, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def away(*_: object) -> set[tuple[str, str]]:
        raise StoreUnavailable("connection refused")

    with monkeypatch.context() as patched:
        patched.setattr(gateway.inbox, "put", away)
        answer = await gateway.send(request_)
        assert answer.status_code == 503
        assert int(answer.headers["retry-after"]) > 0
    assert (await gateway.send(request_)).status_code in {200, 202}


async def test_a_value_that_the_database_refuses_harms_no_neighbour(
    gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    # As if a check at the door had a hole.
    monkeypatch.setattr("gateway.stripe.EVENT_ID", re.compile(r"(?s).*"))
    bad = stripe(rb'{"id":"evt_\u0000","type":"invoice.paid"}')
    good = [stripe(stripe_event(f"evt_{n}")) for n in range(5)]
    answers = await asyncio.gather(*(gateway.send(each) for each in [*good[:2], bad, *good[2:]]))
    assert [answer.status_code for answer in answers] == [202, 202, 400, 202, 202, 202]
    assert len(await gateway.events()) == 5


async def test_wrong_methods_pages_and_health(gateway: Gateway) -> None:
    answer = await gateway.http.get("/events/stripe")
    assert (answer.status_code, answer.headers["allow"]) == (405, "POST")
    health = await gateway.http.get("/healthz")
    assert health.json() == {
        "status": "serving",
        "servers": {"store": "ok"},
        "connections": ["kantata", "salesforce", "stripe"],
    }
    await gateway.send(stripe())
    await gateway.send(stripe())
    await gateway.send(stripe(secret=SecretStr("x")))
    page = (await gateway.http.get("/metrics")).text
    assert 'dealthread_events_received_total{connection="stripe",new="yes"} 1.0' in page
    assert 'dealthread_events_received_total{connection="stripe",new="no"} 1.0' in page
    assert (
        'dealthread_events_refused_total{connection="stripe",reason="wrong_signature"} 1.0' in page
    )
    assert "dealthread_inbox_waiting 1.0" in page


async def test_health_says_which_server_is_away(gateway: Gateway) -> None:
    async def away() -> bool:
        raise StoreUnavailable("connection refused")

    app = make_app(Parts(gateway.inbox, {}, {"store": away}))
    transport = httpx.ASGITransport(app)
    async with httpx.AsyncClient(transport=transport, base_url="http://g", trust_env=False) as http:
        answer = await http.get("/healthz")
    assert answer.status_code == 503
    assert answer.json()["servers"] == {"store": "does not answer"}


async def test_bodies_are_encrypted_where_there_is_a_key(database: Database) -> None:
    key = b"k" * 32
    async with running(Inbox(database, RecordCipher(key))) as gateway:
        await gateway.send(stripe())
        (event,) = await gateway.events()
    rows = await database.rows(text("SELECT body FROM event_inbox"))
    assert b"evt_1" not in bytes(rows[0].body)
    readable = await Inbox(database, RecordCipher(key)).get(event.id)
    assert readable is not None
    assert readable.body == stripe_event()
    for cipher, said in ((None, "no key is configured"), (RecordCipher(b"x" * 32), "another key")):
        other = await Inbox(database, cipher).get(event.id)
        assert other is not None
        assert said in other.unreadable
