"""The API of backfills: who gets in, what it shows, and that it steers what the CLI steers."""

import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest

from canonical.backfill import RecordState
from gateway.app import Parts, make_app
from gateway.backfill_api import BODY_MAX, BackfillParts
from gateway.backfill_docs import FASTER, NEW
from gateway.backfill_models import NewBackfill, NewRate
from gateway.callers import Callers
from operations.backfill import BackfillDesk
from operations.servers import Unreachable
from store import Store
from tests.gateway.scene import well
from tests.gateway.test_queue_api import VIEWER, as_, people
from tests.sagas.backfill_scenes import scene
from tests.support.world import World


async def nobody() -> BackfillDesk:
    raise Unreachable("Temporal does not answer at 127.0.0.1:9")


@asynccontextmanager
async def opened(
    store: Store, desk: Callable[[], Awaitable[BackfillDesk]] = nobody
) -> AsyncIterator[httpx.AsyncClient]:
    parts = BackfillParts(Callers(people()), store, desk)
    app = make_app(Parts(store.inbox, {}, {"store": well}, backfills=parts))
    async with httpx.AsyncClient(
        transport=httpx.ASGITransport(app), base_url="http://gateway", trust_env=False
    ) as http:
        yield http


def reason(answer: httpx.Response) -> tuple[int, str]:
    return answer.status_code, answer.json()["reason"]


@pytest.mark.parametrize(
    ("method", "where"),
    [
        ("GET", "/backfills"),
        ("POST", "/backfills"),
        ("GET", "/backfills/time/1"),
        ("GET", "/backfills/time/1/records"),
        ("POST", "/backfills/time/1/pause"),
        ("POST", "/backfills/time/1/rate"),
    ],
)
async def test_without_a_token_nobody_gets_in_and_finance_only_looks(
    store: Store, method: str, where: str
) -> None:
    async with opened(store) as api:
        assert (await api.request(method, where)).status_code == 401
        for name in (VIEWER, "fiona"):
            answer = await api.request(method, where, headers=as_(name), json={})
            if method == "POST":
                assert reason(answer) == (403, "only_looks")
            elif where == "/backfills":
                assert answer.json() == {"backfills": []}
            else:
                assert reason(answer) == (404, "no_such_backfill")


@pytest.mark.parametrize(
    "body",
    [
        {**NEW, "kind": "everything"},
        {**NEW, "rate": "0"},
        {**NEW, "in_flight_max": 0},
        {**NEW, "more": 1},
        {**NEW, "name": "a/b"},
        {**NEW, "since": "soon"},
        {"kind": "time"},
    ],
)
async def test_what_can_not_be_is_refused_by_its_field(store: Store, body: object) -> None:
    async with opened(store) as api:
        answer = await api.post("/backfills", json=body, headers=as_("olivia"))
    assert reason(answer) == (422, "invalid_request")


async def test_refusals_say_why(store: Store) -> None:
    olivia = as_("olivia")
    async with opened(store) as api:
        answer = await api.post("/backfills", json=NEW, headers=olivia)
        assert reason(answer) == (503, "temporal_unavailable")
        answer = await api.post("/backfills/time/none/pause", headers=olivia)
        assert reason(answer) == (404, "no_such_backfill")
        answer = await api.post("/backfills", content=b"x" * (BODY_MAX + 1), headers=olivia)
        assert answer.status_code == 413
        answer = await api.get("/backfills/time/1/records?afer=1", headers=olivia)
        assert reason(answer) == (422, "invalid_query")


def test_the_examples_of_the_document_are_what_is_taken() -> None:
    assert NewBackfill.model_validate_json(json.dumps(NEW))
    assert NewRate.model_validate_json(json.dumps(FASTER))


async def test_a_backfill_is_started_steered_and_reported(world: World) -> None:
    found = await scene(world, count=3)
    desk = BackfillDesk(world.env.client, world.store, crm=f"salesforce@{found.account}")

    async def there() -> BackfillDesk:
        return desk

    olivia = as_("olivia")
    async with opened(world.store, there) as api:
        body: dict[str, Any] = {
            "kind": "opportunities",
            "since": "2026-10-20",
            "until": "2026-10-20",
            "name": found.name("api"),
            "in_flight_max": 1,
        }
        answer = await api.post("/backfills", json=body, headers=olivia)
        assert answer.status_code == 202, answer.text
        id_ = answer.json()["id"]
        assert reason(await api.post("/backfills", json=body, headers=olivia)) == (409, "refused")
        backwards = {**body, "since": "2026-10-21", "name": ""}
        answer = await api.post("/backfills", json=backwards, headers=olivia)
        assert reason(answer) == (409, "refused")
        await found.when(id_, RecordState.UNDER_WAY, 1)
        paused = await api.post(f"/{id_.replace('backfill/', 'backfills/')}/pause", headers=olivia)
        assert (paused.status_code, paused.json()["state"]) == (200, "paused")
        where = f"/{id_.replace('backfill/', 'backfills/')}"
        assert reason(await api.post(f"{where}/pause", headers=olivia)) == (409, "refused")
        faster = await api.post(f"{where}/rate", json=FASTER, headers=olivia)
        assert (faster.json()["rate"], faster.json()["in_flight_max"]) == ("10", 40)
        assert (await api.post(f"{where}/resume", headers=olivia)).status_code == 200
        await found.ended(id_)
        shown = (await api.get(where, headers=as_(VIEWER))).json()
        assert (shown["state"], shown["begun_by"]) == ("finished", "olivia")
        first = (await api.get(f"{where}/records?limit=2", headers=as_(VIEWER))).json()
        rest = await api.get(f"{where}/records?after={first['next']}", headers=as_(VIEWER))
        records = [*first["records"], *rest.json()["records"]]
        assert [each["state"] for each in records] == ["completed"] * 3
        assert rest.json()["next"] is None
        listed = (await api.get("/backfills", headers=as_(VIEWER))).json()["backfills"]
        assert id_ in {each["id"] for each in listed}
