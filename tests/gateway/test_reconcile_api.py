"""The API of reconciliation: runs and findings, for whoever has a token."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import httpx
import pytest_asyncio
from pydantic import SecretStr

from gateway.app import Parts, make_app
from gateway.callers import Callers
from gateway.reconcile_api import ReconcileParts
from operations.config import PersonConfig, PersonRole
from store import Store
from tests.store.test_reconciling import SCOPE, candidate, item, judgement

NOW = datetime(2026, 11, 30, 12, tzinfo=UTC)
TOKEN = "0123456789abcdef" * 2
SIGNED_IN = {"Authorization": f"Bearer {TOKEN}"}


@pytest_asyncio.fixture
async def api(store: Store) -> AsyncIterator[httpx.AsyncClient]:
    viewer = PersonConfig(roles=frozenset({PersonRole.VIEWER}), token=SecretStr(TOKEN))
    parts = ReconcileParts(Callers({"vera": viewer}), store.reconciliation)
    app = make_app(Parts(inbox=store.inbox, receivers={}, probes={}, reconciliations=parts))
    transport = httpx.ASGITransport(app)
    async with httpx.AsyncClient(transport=transport, base_url="http://g", trust_env=False) as http:
        yield http


async def asked(api: httpx.AsyncClient, path: str) -> Any:
    answer = await api.get(path, headers=SIGNED_IN)
    assert answer.status_code == 200, answer.text
    return answer.json()


async def test_runs_and_findings_are_listed(store: Store, api: httpx.AsyncClient) -> None:
    opened = await store.reconciliation.open(SCOPE, now=NOW, resume_since=NOW, by="", heal=False)
    both = [(candidate("P1"), judgement()), (candidate("P2", amount=Decimal(7)), judgement())]
    await store.reconciliation.put(opened.run, SCOPE, both, item, now=NOW, may_queue=9)
    (run,) = (await asked(api, "/reconciliations?entity=US"))["runs"]
    assert (run["id"], run["found"]) == (opened.run, {"mismatch": 2})
    assert (await asked(api, "/reconciliations?entity=DE"))["runs"] == []
    page = await asked(api, f"/reconciliations/{opened.run}/findings?limit=1")
    assert page["more"]
    assert [each["record_id"] for each in page["findings"]] == ["P2"]
    orphans = await asked(api, f"/reconciliations/{opened.run}/findings?class=orphan")
    assert orphans["findings"] == []


async def test_it_refuses_strangers_mistyped_filters_and_unknown_runs(
    api: httpx.AsyncClient,
) -> None:
    assert (await api.get("/reconciliations")).status_code == 401
    for path, status in (
        ("/reconciliations?entty=US", 422),
        ("/reconciliations/1/findings?code=nonsense", 422),
        ("/reconciliations/99/findings", 404),
        ("/reconciliations/zero/findings", 422),
    ):
        answer = await api.get(path, headers=SIGNED_IN)
        assert answer.status_code == status, path
        assert answer.headers["content-type"] == "application/problem+json"


async def test_the_document_tells_of_it(api: httpx.AsyncClient) -> None:
    document = (await api.get("/openapi.json")).json()
    findings = document["paths"]["/reconciliations/{run}/findings"]["get"]
    assert {"200", "401", "404", "422", "503"} <= {*findings["responses"]}
    assert "FindingList" in document["components"]["schemas"]
