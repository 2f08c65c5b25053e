"""The OpenAPI document, and what the gateway does with inputs made from it."""

import json
from collections.abc import Iterator
from datetime import date
from typing import Any

import httpx
import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, settings
from pydantic import SecretStr
from schemathesis import Case
from schemathesis.core.parameters import ParameterLocation
from schemathesis.specs.openapi.checks import negative_data_rejection, positive_data_acceptance

from canonical.draft_acts import AnyAct, DraftAnswer
from canonical.drafts import Draft, DraftState
from canonical.engagement import BillingMethod
from gateway.app import Parts, make_app
from gateway.callers import Callers
from gateway.deliveries import Delivery
from gateway.description import CLOUDEVENT, OUTBOUND, STRIPE
from gateway.queue_api import QueueParts
from gateway.queue_docs import ACTS, RELEASES
from gateway.queue_models import act_of, releases_of
from gateway.receivers import receiver
from operations.config import PersonConfig, PersonRole
from store.errors import NotFound
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


DRAFT = Draft(
    id="invoice-draft/US/6001/USD/project:5001/2026-11/1",
    state=DraftState.QUEUED,
    legal_entity="US",
    client_id="001",
    bill_to="6001",
    connection="netsuite",
    erp="netsuite",
    method=BillingMethod.ERP_LINES,
    currency="USD",
    group="project:5001",
    period="2026-11",
    on=date(2026, 11, 30),
    lines=(),
)


class Queue:
    """A queue and its desk: some drafts are there, and some acts are taken."""

    async def get(self, draft_id: str) -> Draft:
        if len(draft_id) % 2:
            raise NotFound(draft_id)
        return DRAFT

    async def list(self, *_: object, **__: object) -> tuple[Draft, ...]:
        return (DRAFT,)

    async def act(self, _draft: str, act: AnyAct, act_id: str = "") -> DraftAnswer:
        assert act.by == "ada"
        assert len(act_id) <= 255
        return DraftAnswer(
            taken=act.act == "release",
            reasons=() if act.act == "release" else ("no",),
            state=DraftState.QUEUED,
            content_hash=DRAFT.content_hash,
        )


QUEUE = Queue()
TOKEN = SecretStr("0123456789abcdef" * 2)
SIGNED_IN = {"Authorization": f"Bearer {TOKEN.get_secret_value()}"}


async def desk() -> Queue:
    return QUEUE


INBOX = Memory()
APP = make_app(
    Parts(
        inbox=INBOX,  # type: ignore[arg-type]  # stands in for it
        receivers={name: receiver(events) for name, events in EVENTS.items()},
        probes={"store": well},
        queue=QueueParts(
            Callers({"ada": PersonConfig(roles=frozenset({PersonRole.ADMIN}), token=TOKEN)}),
            QUEUE,
            desk,
        ),
    )
)
schema = schemathesis.openapi.from_asgi("/openapi.json", APP)
queue = schema.include(path_regex="^/queue")


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


@queue.parametrize()
@settings(
    max_examples=60,
    deadline=None,
    derandomize=True,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=list(HealthCheck),
)
def test_whatever_somebody_asks_of_the_queue_the_answer_is_documented(case: Case[Any]) -> None:
    # Which texts and amounts are sound, a schema can't say.
    excluded: list[Any] = [positive_data_acceptance]
    mode = case.meta.components.get(ParameterLocation.HEADER) if case.meta else None
    if mode is not None and mode.mode.is_negative:
        excluded.append(negative_data_rejection)  # the token that it left out is put back
    case.call_and_validate(headers=SIGNED_IN, excluded_checks=excluded)


def test_the_documents_acts_are_taken() -> None:
    for name, act in ACTS.items():
        assert act_of(json.dumps(act).encode(), "ada").act == name
    assert releases_of(json.dumps(RELEASES).encode())[0].draft == RELEASES[0]["draft"]


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
    acts = document["paths"]["/queue/{draft_id}/acts"]["post"]
    assert {"200", "401", "403", "404", "409", "422", "503"} <= {*acts["responses"]}
    assert acts["security"] == [{"HTTPBearer": []}]
    named = acts["requestBody"]["content"]["application/json"]["schema"]["oneOf"]
    assert all(each["$ref"].split("/")[-1] in document["components"]["schemas"] for each in named)
    for name in ("Received", "Problem", "CloudEvent", "Health"):
        assert name in document["components"]["schemas"]


def test_the_documents_examples_are_taken() -> None:
    verified = receiver(EVENTS["kantata"], lambda: NOW)
    request = structured(CLOUDEVENT)
    (event,) = verified.read(
        Delivery("kantata", "application/cloudevents+json", request.headers, {}, request.body)
    )
    assert event.event_id == "/psa/approvals 7c5b0a3e"
