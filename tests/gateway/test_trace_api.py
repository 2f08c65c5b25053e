"""The API of the trace: who gets in, what an id comes to, and how it refuses."""

from collections.abc import AsyncIterator
from urllib.parse import quote

import httpx
import pytest
import pytest_asyncio
from pydantic import SecretStr

from gateway.app import Parts, make_app
from gateway.callers import Callers
from gateway.trace_api import TraceParts
from operations.trace.graph import TraceGraph
from operations.trace.thread import Tracer
from store import Store, make_store
from tests.gateway.scene import well
from tests.gateway.test_queue_api import VIEWER, as_, people
from tests.store.billing import PROJECT
from tests.store.invoicing import billed, billed_contract, opened


@pytest_asyncio.fixture
async def api(store: Store) -> AsyncIterator[httpx.AsyncClient]:
    """The API on a fresh database with some hours on a draft."""
    await store.engagements.put(billed_contract())
    hours = await billed(store, PROJECT, "2", "3")
    await opened(store, hours)
    async with serving(store) as http:
        yield http


def serving(store: Store) -> httpx.AsyncClient:
    parts = TraceParts(Callers(people()), Tracer(store))
    app = make_app(Parts(store.inbox, {}, {"store": well}, trace=parts))
    transport = httpx.ASGITransport(app)
    return httpx.AsyncClient(transport=transport, base_url="http://gateway", trust_env=False)


async def test_somebody_who_only_looks_gets_the_same_graph_as_the_command(
    api: httpx.AsyncClient, store: Store
) -> None:
    answer = await api.get("/trace/006", headers=as_(VIEWER))
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "application/json"
    assert TraceGraph.model_validate_json(answer.content) == await Tracer(store).trace("006")
    money = answer.json()["nodes"][-1]["amounts"][0]["money"]["amount"]
    assert isinstance(money, str), "decimals are strings"


async def test_ids_with_colons_and_slashes_depth_and_limit(api: httpx.AsyncClient) -> None:
    for id_ in (f"time:kantata/{PROJECT}", quote(f"time:kantata/{PROJECT}", safe="")):
        answer = await api.get(f"/trace/{id_}?depth=1&limit=1", headers=as_(VIEWER))
        graph = TraceGraph.model_validate_json(answer.content)
        assert graph.focus == f"time:kantata/{PROJECT}"
        assert (graph.depth, graph.limit) == (1, 1)
        assert {node.kind.value for node in graph.nodes} == {"time", "timesheet", "run", "draft"}


async def test_nobody_gets_in_without_a_token(api: httpx.AsyncClient) -> None:
    for headers in ({}, {"authorization": "Bearer nobody"}):
        answer = await api.get("/trace/006", headers=headers)
        assert answer.status_code == 401
        assert answer.headers["www-authenticate"] == "Bearer"


@pytest.mark.parametrize(
    ("path", "status", "reason"),
    [
        ("nothing", 404, "nothing_called_so"),
        (PROJECT, 409, "ambiguous"),
        ("006?depth=-1", 422, "invalid_query"),
        ("006?limit=0", 422, "invalid_query"),
        ("006?dept=1", 422, "invalid_query"),
        ("a%00b", 422, "invalid_id"),
        ("x" * 256, 422, "invalid_id"),
    ],
    ids=lambda value: str(value)[:20],
)
async def test_refusals_are_problems(
    api: httpx.AsyncClient, path: str, status: int, reason: str
) -> None:
    answer = await api.get(f"/trace/{path}", headers=as_(VIEWER))
    assert (answer.status_code, answer.json()["reason"]) == (status, reason)
    assert answer.headers["content-type"] == "application/problem+json"
    if status == 409:
        assert f"project:kantata/{PROJECT} or time:kantata/{PROJECT}" in answer.json()["detail"]


async def test_without_postgresql_it_is_unavailable() -> None:
    store = make_store(SecretStr("postgresql://nobody@127.0.0.1:9/nothing"))
    async with serving(store) as http:
        answer = await http.get("/trace/006", headers=as_(VIEWER))
    assert answer.status_code == 503
    await store.aclose()


async def test_the_document_describes_it(api: httpx.AsyncClient) -> None:
    document = (await api.get("/openapi.json")).json()
    operation = document["paths"]["/trace/{id}"]["get"]
    assert {"200", "401", "404", "409", "422", "503"} == {*operation["responses"]}
    assert operation["security"] == [{"HTTPBearer": []}]
    schema = operation["responses"]["200"]["content"]["application/json"]["schema"]
    assert schema["$ref"].endswith("/TraceGraph")
    assert "edges" in document["components"]["schemas"]["TraceGraph"]["properties"]
