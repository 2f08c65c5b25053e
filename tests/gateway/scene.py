"""Senders as the gateway's tests need them: what each kind sends, and how it signs it."""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import httpx
from pydantic import SecretStr

from gateway.app import Parts, make_app
from gateway.cloudevents import signed_content
from gateway.receivers import receiver
from gateway.signatures import header_of
from operations.config import EventsConfig, EventsKind
from store.inbox import Inbox, InboxEvent

STRIPE_SECRET = SecretStr("whsec_test")
PSA_SECRET = SecretStr("psa-secret")
OLD_SECRET = SecretStr("psa-secret-before")
KEY = SecretStr("key-in-the-address")
ORGANIZATION = "00D000000000001EAA"
LIMIT = 1_048_576
NOW = int(time.time())
"""The gateway's clock stands still: requests made at import stay fresh, on a slow machine too."""

EVENTS = {
    "stripe": EventsConfig(kind=EventsKind.STRIPE, secret=STRIPE_SECRET),
    "salesforce": EventsConfig(
        kind=EventsKind.SALESFORCE_OUTBOUND, organization_id=ORGANIZATION, secret=KEY
    ),
    "kantata": EventsConfig(
        kind=EventsKind.CLOUDEVENTS, secret=PSA_SECRET, previous_secret=OLD_SECRET
    ),
}


async def until(condition: Callable[[], bool], seconds: float = 60) -> None:
    """Wait for a condition."""
    async with asyncio.timeout(seconds):
        while not condition():  # noqa: ASYNC110 - what is waited for has no event
            await asyncio.sleep(0.01)


async def well() -> bool:
    return True


@dataclass
class Gateway:
    """The application, called without a network."""

    http: httpx.AsyncClient
    inbox: Inbox
    parts: Parts

    async def events(self) -> tuple[InboxEvent, ...]:
        return tuple(reversed(await self.inbox.list(limit=1000)))

    async def send(self, request: "Request") -> httpx.Response:
        headers = [(name.encode(), text.encode()) for name, text in request.headers.items()]
        return await self.http.post(request.path, content=request.body, headers=headers)


@dataclass(frozen=True)
class Request:
    """What a sender sends."""

    path: str
    body: bytes
    headers: Mapping[str, str] = field(default_factory=dict)


@asynccontextmanager
async def running(inbox: Inbox) -> AsyncIterator[Gateway]:
    parts = Parts(
        inbox=inbox,
        receivers={name: receiver(events, lambda: NOW) for name, events in EVENTS.items()},
        probes={"store": well},
    )
    app = make_app(parts)
    async with (
        app.running(),
        httpx.AsyncClient(
            transport=httpx.ASGITransport(app), base_url="http://gateway", trust_env=False
        ) as http,
    ):
        yield Gateway(http, inbox, parts)


# Stripe.


def stripe_event(event_id: str = "evt_1", kind: str = "invoice.paid") -> bytes:
    content = {
        "id": event_id,
        "object": "event",
        "type": kind,
        "created": 1_795_262_400,
        "data": {"object": {"id": "in_1", "object": "invoice", "total": 120_000}},
    }
    return json.dumps(content).encode()


def stripe(
    body: bytes | None = None, *, secret: SecretStr = STRIPE_SECRET, age: int = 0, now: int = NOW
) -> Request:
    body = stripe_event() if body is None else body
    stamp = now - age
    headers = {
        "content-type": "application/json; charset=utf-8",
        "stripe-signature": header_of(secret, stamp, body),
    }
    return Request("/events/stripe", body, headers)


# Salesforce.


def outbound(
    notifications: Sequence[tuple[str, str]] = (("04l000000000001AAA", "006000000000001AAA"),),
    organization: str = ORGANIZATION,
) -> bytes:
    parts = "".join(
        f'<Notification><Id>{id_}</Id><sObject xsi:type="sf:Opportunity"'
        ' xmlns:sf="urn:sobject.enterprise.soap.sforce.com">'
        f"<sf:Id>{record}</sf:Id><sf:Name>Atlas &amp; Söhne</sf:Name></sObject></Notification>"
        for id_, record in notifications
    )
    return (
        '<?xml version="1.0" encoding="UTF-8"?><soapenv:Envelope'
        ' xmlns:soapenv="http://schemas.xmlsoap.org/soap/envelope/"'
        ' xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance"><soapenv:Body>'
        '<notifications xmlns="http://soap.sforce.com/2005/09/outbound">'
        f"<OrganizationId>{organization}</OrganizationId><ActionId>04k000000000001AAA</ActionId>"
        f'<SessionId xsi:nil="true"/>{parts}</notifications></soapenv:Body></soapenv:Envelope>'
    ).encode()


def salesforce(body: bytes | None = None, key: str | None = None) -> Request:
    key = KEY.get_secret_value() if key is None else key
    headers = {"content-type": "text/xml; charset=utf-8", "soapaction": '""'}
    path = f"/events/salesforce?key={key}" if key else "/events/salesforce"
    return Request(path, outbound() if body is None else body, headers)


# CloudEvents.


def cloudevent(**given: object) -> dict[str, object]:
    return {
        "specversion": "1.0",
        "id": "e-1",
        "source": "/psa",
        "type": "com.dealthread.entries.changed",
        "time": "2026-11-21T12:00:00Z",
        "data": {"project": "48213", "entries": ["time:1", "time:2"]},
    } | given


def structured(
    content: object = None,
    *,
    body: bytes | None = None,
    secret: SecretStr = PSA_SECRET,
    age: int = 0,
) -> Request:
    if body is None:
        body = json.dumps(cloudevent() if content is None else content).encode()
    headers = {
        "content-type": "application/cloudevents+json",
        "dealthread-signature": header_of(secret, NOW - age, body),
    }
    return Request("/events/kantata", body, headers)


def binary(data: object = None, *, tampered: Mapping[str, str] | None = None) -> Request:
    body = json.dumps(cloudevent()["data"] if data is None else data).encode()
    ce = {
        "ce-specversion": "1.0",
        "ce-id": "e-1",
        "ce-source": "/psa",
        "ce-type": "com.dealthread.entries.changed",
        "ce-subject": "48213",
    }
    signature = header_of(PSA_SECRET, NOW, signed_content(ce, body))
    headers = {**ce, "content-type": "application/json", "dealthread-signature": signature}
    return Request("/events/kantata", body, {**headers, **(tampered or {})})
