"""`python -m bench.gateway_load PLAN`: the load generator, a process of its own.

Open loop: every request has a moment at which it is due, and its latency counts from there, so that
a gateway that falls behind cannot hide it. Requests are made and signed before the clock starts.
"""

import asyncio
import json
import random
import sys
import time
from collections.abc import Iterator, Sequence
from statistics import quantiles

import uvloop
from pydantic import BaseModel, SecretStr

from gateway.cloudevents import signed_content
from gateway.description import OUTBOUND
from gateway.signatures import header_of

CONNECTIONS = 64
"""Kept alive, as vendors do."""
ENTRIES = 5
"""In one CloudEvent."""
GIVE_UP_SECONDS = 30


class Plan(BaseModel):
    """What to send."""

    host: str
    port: int
    rate: float
    """Requests a second."""
    seconds: float
    seed: int
    projects: int
    deals: int
    organization: str
    crm: str
    """Name of the connection that Salesforce sends to."""
    secret: SecretStr


class Found(BaseModel):
    """What came of it."""

    sent: int
    accepted: int
    seconds: float
    """From the first request's due time to the last answer."""
    p50_ms: float
    p95_ms: float
    p99_ms: float
    ids: list[str]
    """Of the accepted events, as the inbox knows them: `<connection> <event id>`."""


Made = tuple[str, bytes]
"""The id of an event and the bytes of its request."""


def requests(plan: Plan, secret: str) -> Iterator[Made]:
    """Make requests of the three kinds in turn; CloudEvents in both modes."""
    number = random.Random(plan.seed)
    for n in range(int(plan.rate * plan.seconds)):
        kind = ("stripe", "kantata", "salesforce")[n % 3]
        unique = f"{plan.seed}x{n}"
        if kind == "stripe":
            yield f"stripe evt_{unique}", _stripe(plan, unique, secret)
        elif kind == "kantata":
            project = f"p{number.randrange(plan.projects)}"
            yield f"kantata /bench {unique}", _cloudevent(plan, unique, project, secret, n % 2 == 0)
        else:
            notification = f"04l{plan.seed % 1000:03d}{n:09d}AAA"
            deal = f"006{number.randrange(plan.deals):012d}AAA"
            yield f"{plan.crm} {notification}", _salesforce(plan, notification, deal)


def _stripe(plan: Plan, unique: str, secret: str) -> bytes:
    body = json.dumps(
        {
            "id": f"evt_{unique}",
            "object": "event",
            "type": "invoice.paid",
            "data": {"object": {"id": f"in_{unique}", "lines": ["x" * 60] * 30}},
        }
    ).encode()
    signature = header_of(SecretStr(secret), int(time.time()), body)
    return _request(plan, "stripe", body, "application/json", f"Stripe-Signature: {signature}\r\n")


def _cloudevent(plan: Plan, unique: str, project: str, secret: str, binary: bool) -> bytes:
    data = {"project": project, "entries": [f"time:{unique}-{i}" for i in range(ENTRIES)]}
    attributes = {
        "specversion": "1.0",
        "id": unique,
        "source": "/bench",
        "type": "com.dealthread.entries.changed",
    }
    key, stamp = SecretStr(secret), int(time.time())
    if binary:
        body = json.dumps(data).encode()
        ce = {f"ce-{name}": value for name, value in attributes.items()}
        signature = header_of(key, stamp, signed_content(ce, body))
        lines = "".join(f"{name}: {value}\r\n" for name, value in ce.items())
        media = "application/json"
    else:
        body = json.dumps(attributes | {"data": data}).encode()
        signature, lines, media = header_of(key, stamp, body), "", "application/cloudevents+json"
    return _request(plan, "kantata", body, media, f"Dealthread-Signature: {signature}\r\n{lines}")


def _salesforce(plan: Plan, notification: str, deal: str) -> bytes:
    text = (
        OUTBOUND.replace("00D000000000001EAA", plan.organization)
        .replace("04l000000000001AAA", notification)
        .replace("006000000000001AAA", deal)
    )
    return _request(plan, plan.crm, text.encode(), "text/xml; charset=utf-8", "")


def _request(plan: Plan, name: str, body: bytes, media: str, lines: str) -> bytes:
    head = (
        f"POST /events/{name} HTTP/1.1\r\nHost: {plan.host}:{plan.port}\r\n"
        f"Content-Type: {media}\r\nContent-Length: {len(body)}\r\n{lines}\r\n"
    )
    return head.encode() + body


async def load(plan: Plan) -> Found:
    """Send everything and wait for all answers; a connection that breaks is made anew."""
    made = list(requests(plan, plan.secret.get_secret_value()))
    loop = asyncio.get_running_loop()
    latencies: list[float] = []
    accepted: list[str] = []
    waiting = iter(enumerate(made))
    start = loop.time() + 0.2

    async def sender() -> None:
        reader = writer = None
        for n, (id_, content) in waiting:
            due = start + n / plan.rate
            if due > loop.time():
                await asyncio.sleep(due - loop.time())
            try:
                if reader is None or writer is None:
                    reader, writer = await asyncio.open_connection(plan.host, plan.port)
                writer.write(content)
                status = await _status(reader)
            except (OSError, EOFError, ValueError):
                reader = writer = None
                continue
            if status in {200, 202}:
                latencies.append(loop.time() - due)
                accepted.append(id_)
        if writer is not None:
            writer.close()

    async with asyncio.timeout(plan.seconds + GIVE_UP_SECONDS):
        await asyncio.gather(*(sender() for _ in range(CONNECTIONS)))
    return _found(len(made), accepted, latencies, loop.time() - start)


async def _status(reader: asyncio.StreamReader) -> int:
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").lower()
    length = head.split("content-length:", 1)[1].split("\r\n", 1)[0]
    await reader.readexactly(int(length))
    return int(head.split(" ", 2)[1])


def _found(sent: int, accepted: list[str], latencies: Sequence[float], seconds: float) -> Found:
    cuts = quantiles(latencies, n=100) if len(latencies) > 1 else [0.0] * 99
    p50, p95, p99 = (1000 * cuts[at - 1] for at in (50, 95, 99))
    return Found(
        sent=sent,
        accepted=len(accepted),
        seconds=seconds,
        p50_ms=p50,
        p95_ms=p95,
        p99_ms=p99,
        ids=accepted,
    )


def main() -> None:
    """Load as the first argument says, JSON of a `Plan`; print a `Found`."""
    plan = Plan.model_validate_json(sys.argv[1])
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        sys.stdout.write(runner.run(load(plan)).model_dump_json())


if __name__ == "__main__":
    main()
