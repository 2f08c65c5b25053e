"""The API of the worklist: who gets in, what it shows, what people put down, many at once."""

import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest
import pytest_asyncio

from canonical.saga import OpenWorkItem, Verb
from gateway.app import Parts, make_app
from gateway.callers import Callers
from gateway.work_api import BODY_MAX, WorkParts
from gateway.work_docs import ACKNOWLEDGE, ASSIGN, BULK, COMMENT
from gateway.work_models import Acknowledgement, AskedBulk, Assignment, NewComment
from operations.sagas import SagaDesk
from operations.servers import Unreachable
from operations.worklist import Worklist
from policies.stuck import StuckRules
from store import Store
from tests.gateway.scene import well
from tests.gateway.test_queue_api import VIEWER, as_, people
from tests.sagas.scenes import break_step
from tests.store.build import work_item
from tests.store.test_worklist import left_behind
from tests.support.world import PEOPLE, World


async def nobody() -> SagaDesk:
    raise Unreachable("Temporal does not answer at 127.0.0.1:9")


@asynccontextmanager
async def opened(
    store: Store, desk: Callable[[], Awaitable[SagaDesk]] = nobody
) -> AsyncIterator[httpx.AsyncClient]:
    worklist = Worklist(store, PEOPLE, lambda id_: f"http://ui/{id_}", StuckRules)
    work = WorkParts(Callers(people()), worklist, desk)
    app = make_app(Parts(store.inbox, {}, {"store": well}, work=work))
    async with httpx.AsyncClient(
        transport=httpx.ASGITransport(app), base_url="http://gateway", trust_env=False
    ) as http:
        yield http


@pytest_asyncio.fixture
async def api(store: Store) -> AsyncIterator[httpx.AsyncClient]:
    """The API on a fresh database with one work item and one residue, without Temporal."""
    item = work_item("WI-1", workflow_id="opportunity-to-project/salesforce/007")
    update = {"amount": "1,000.00 USD", "connection": "netsuite", "client_id": "001"}
    await store.work_items.open(OpenWorkItem(item=item.model_copy(update=update)))
    await left_behind(store)
    async with opened(store) as http:
        yield http


async def residue(api: httpx.AsyncClient) -> str:
    answer = await api.get("/worklist?kind=residue", headers=as_("ada"))
    (work,) = answer.json()["work"]
    return str(work["id"])


@pytest.mark.parametrize(
    ("method", "where"),
    [
        ("GET", "/worklist"),
        ("GET", "/worklist/WI-1"),
        ("POST", "/worklist/WI-1/comments"),
        ("POST", "/worklist/WI-1/assign"),
        ("POST", "/worklist/WI-1/acknowledge"),
        ("POST", "/worklist/bulk"),
    ],
)
async def test_without_a_token_nobody_gets_in_and_a_viewer_only_looks(
    api: httpx.AsyncClient, method: str, where: str
) -> None:
    assert (await api.request(method, where)).status_code == 401
    answer = await api.request(method, where, headers=as_(VIEWER), json={})
    if method == "GET":
        assert answer.status_code == 200
    else:
        assert (answer.status_code, answer.json()["reason"]) == (403, "only_looks")


async def test_the_list_shows_filters_and_pages(api: httpx.AsyncClient) -> None:
    async def get(query: str) -> dict[str, Any]:
        answer = await api.get(f"/worklist{query}", headers=as_(VIEWER))
        assert answer.status_code == 200, answer.text
        return dict(answer.json())

    everything = await get("")
    work = {each["id"]: each for each in everything["work"]}
    assert set(work) == {"WI-1", await residue(api)}
    item = work["WI-1"]
    assert item["amount"] == {"amount": "1000.00", "currency": "USD"}
    assert (item["overdue"], item["owner"], item["comments"]) == (True, "", 0)
    assert item["link"] == "http://ui/opportunity-to-project/salesforce/007"
    assert item["actions"][0] == "starter.py resolve WI-1 retry --as NAME"
    assert [each["id"] for each in (await get("?connection=netsuite"))["work"]] == ["WI-1"]
    assert (await get("?client=nobody"))["work"] == []
    first, second = await get("?limit=1"), await get("?limit=1&offset=1")
    assert (first["more"], second["more"]) == (True, False)
    for wrong in ("?limit=0", "?sort=colour", "?connexion=netsuite", "?reason=%00", "?kind=lost"):
        answer = await api.get(f"/worklist{wrong}", headers=as_(VIEWER))
        assert answer.status_code == 422, wrong


async def test_comments_owner_and_acknowledgement_are_put_down(api: httpx.AsyncClient) -> None:
    taken = await api.post("/worklist/WI-1/assign", json={}, headers=as_("olivia"))
    assert taken.json()["work"]["owner"] == "olivia"
    given = await api.post("/worklist/WI-1/assign", json={"to": "fiona"}, headers=as_("olivia"))
    assert given.json()["work"]["owner"] == "fiona"
    said = await api.post("/worklist/WI-1/comments", json={"text": " asked "}, headers=as_("fiona"))
    assert [(each["by"], each["text"]) for each in said.json()["comments"]] == [("fiona", "asked")]

    where = f"/worklist/{await residue(api)}/acknowledge"
    seen = await api.post(where, json={"because": "removed"}, headers=as_("olivia"))
    assert (seen.status_code, seen.json()["work"]["kind"]) == (200, "residue")
    again = await api.post(where, json={"because": "removed"}, headers=as_("olivia"))
    assert (again.status_code, again.json()["reason"]) == (404, "no_such_work")


async def test_what_makes_no_sense_is_refused_with_the_reason(api: httpx.AsyncClient) -> None:
    async def refused(where: str, body: bytes, status: int, reason: str) -> str:
        answer = await api.post(where, content=body, headers=as_("ada"))
        assert (answer.status_code, answer.json()["reason"]) == (status, reason), answer.text
        return str(answer.json()["detail"])

    await refused("/worklist/WI-9/comments", b'{"text": "x"}', 404, "no_such_work")
    said = await refused("/worklist/WI-1/acknowledge", b'{"because": "x"}', 409, "refused")
    assert "by a decision: starter.py resolve WI-1 VERB" in said
    said = await refused("/worklist/WI-1/assign", b'{"to": "nobody"}', 409, "refused")
    assert "is not in dealthread.toml" in said
    await refused("/worklist/WI-1/comments", b'{"text": ""}', 422, "invalid_request")
    await refused("/worklist/WI-1/comments", b'{"text": "\\u0000"}', 422, "invalid_request")
    await refused("/worklist/WI-1/comments", b'{"text": "x", "by": "ada"}', 422, "invalid_request")
    await refused("/worklist/WI-1/comments", b"{", 400, "not_json")
    await refused("/worklist/WI-1/comments", b'"' + b"x" * BODY_MAX + b'"', 413, "too_large")
    await refused("/worklist/bulk", b'{"filter": {}}', 422, "invalid_request")
    wanted = b'{"filter": {"reason": "invalid"}}'
    await refused("/worklist/bulk", wanted, 503, "temporal_unavailable")
    for where in ("/worklist/bulk", "/worklist/WI-1/comments"):
        assert (await api.get(where, headers=as_("ada"))).status_code == 405


async def test_one_decision_over_many_answers_for_each(world: World) -> None:
    account = await world.account()
    netsuite = f"netsuite@{account}"
    await break_step(world, account, "provision_client", times=100)
    item = await world.parked(await world.start(account, "tm-us"), "provision_client")

    async def desk() -> SagaDesk:
        return world.desk

    async with opened(world.store, desk) as http:
        asked = {"filter": {"connection": netsuite}, "dry_run": True}
        would = await http.post("/worklist/bulk", json=asked, headers=as_("olivia"))
        assert (would.status_code, would.json()["results"][0]["state"]) == (207, "would")
        assert "provision_client" in would.json()["results"][0]["message"]
        await world.control.clear_faults("netsuite", account)
        taken = await http.post(
            "/worklist/bulk", json={**asked, "dry_run": False}, headers=as_("ada")
        )
        (result,) = taken.json()["results"]
        assert (result["id"], result["state"]) == (item.id, "taken")
        one_by_one = {**asked, "verb": Verb.ADOPT}
        answer = await http.post("/worklist/bulk", json=one_by_one, headers=as_("ada"))
        assert (answer.status_code, answer.json()["reason"]) == (409, "refused")


async def test_the_documents_examples_are_taken_and_its_schemas_are_there(store: Store) -> None:
    for model, example in (
        (NewComment, COMMENT),
        (Assignment, ASSIGN),
        (Acknowledgement, ACKNOWLEDGE),
        (AskedBulk, BULK),
    ):
        model.model_validate_json(json.dumps(example))
    async with opened(store) as http:
        document = (await http.get("/openapi.json")).json()
    schemas = document["components"]["schemas"]
    for path in (
        "/worklist",
        "/worklist/{work_id}",
        "/worklist/{work_id}/comments",
        "/worklist/bulk",
    ):
        assert path in document["paths"]
    for name in ("NewComment", "AskedBulk", "AskedFilter", "WorkItemKind", "Verb", "WorkPage"):
        assert name in schemas, name
