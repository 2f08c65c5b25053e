"""The OpenAPI document, and what the gateway does with inputs made from it."""

from collections.abc import Iterator
from typing import Any

import httpx
import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, settings
from schemathesis import Case
from schemathesis.specs.openapi.checks import positive_data_acceptance

from gateway.app import Parts, make_app
from gateway.deliveries import Delivery
from gateway.description import CLOUDEVENT, OUTBOUND, STRIPE
from gateway.receivers import receiver
from store.inbox import NewEvent
from tests.gateway.scene import EVENTS, NOW, structured


class Memory:
    """An inbox for hundreds of requests a second, of which none should reach it unsigned."""

    def __init__(self) -> None:
        self.kept: list[NewEvent] = []

    async def put(self, events: list[NewEvent]) -> set[tuple[str, str]]:
        self.kept += events
        return {(event.connection, event.event_id) for event in events}

    async def waiting(self) -> tuple[int, None]:
        return 0, None

    async def dead(self) -> int:
        return 0


async def well() -> bool:
    return True


INBOX = Memory()
APP = make_app(
    Parts(
        inbox=INBOX,  # type: ignore[arg-type]  # stands in for it
        receivers={name: receiver(events) for name, events in EVENTS.items()},
        probes={"store": well},
    )
)
schema = schemathesis.openapi.from_asgi("/openapi.json", APP)


@pytest.fixture(autouse=True)
def nothing_kept() -> Iterator[None]:
    yield
    assert INBOX.kept == []


@schema.parametrize()
@settings(
    max_examples=60,
    deadline=None,
    derandomize=True,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=list(HealthCheck),
)
def test_whatever_is_sent_the_answer_is_one_that_is_documented(case: Case[Any]) -> None:
    # What is valid for one kind of sender is not for another, and nothing is without its proof.
    case.call_and_validate(excluded_checks=[positive_data_acceptance])


async def test_the_document_names_connections_refusals_and_examples() -> None:
    transport = httpx.ASGITransport(APP)
    async with httpx.AsyncClient(transport=transport, base_url="http://g", trust_env=False) as http:
        document = (await http.get("/openapi.json")).json()
    operation = document["paths"]["/events/{connection}"]["post"]
    assert operation["parameters"][0]["schema"]["enum"] == ["kantata", "salesforce", "stripe"]
    assert {"200", "202", "400", "401", "404", "408", "413", "415", "503"} <= {
        *operation["responses"]
    }
    content = operation["requestBody"]["content"]
    assert {media: each["example"] for media, each in content.items()} == {
        "application/json": STRIPE,
        "application/cloudevents+json": CLOUDEVENT,
        "text/xml": OUTBOUND,
    }
    for name in ("Received", "Problem", "CloudEvent", "Health"):
        assert name in document["components"]["schemas"]


def test_the_documents_examples_are_taken() -> None:
    verified = receiver(EVENTS["kantata"], lambda: NOW)
    request = structured(CLOUDEVENT)
    (event,) = verified.read(
        Delivery("kantata", "application/cloudevents+json", request.headers, {}, request.body)
    )
    assert event.event_id == "/psa/approvals 7c5b0a3e"
