"""The API of the key figures, and what Prometheus gets of them."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from typing import Any

import httpx
import pytest_asyncio
from prometheus_client import CollectorRegistry, generate_latest
from pydantic import SecretStr

from canonical.kpis import KpiBy, KpiQuery, KpiReport
from gateway.app import Parts, make_app
from gateway.callers import Callers
from gateway.kpi_api import KpiParts
from gateway.kpi_metrics import REFRESH_SECONDS, KpiMetrics
from gateway.metrics import GatewayMetrics
from operations.config import PersonConfig, PersonRole
from operations.kpis import KpiDesk
from store import Store
from store.errors import StoreUnavailable
from store.kpi_table import KPIS
from tests.store.kpi_month import NOW, small_month

TOKEN = "0123456789abcdef" * 2
SIGNED_IN = {"Authorization": f"Bearer {TOKEN}"}


def regions() -> Mapping[str, str]:
    return {"US": "US", "DE": "DE"}


def desk_on(store: Store) -> KpiDesk:
    return KpiDesk(store, regions, lambda: NOW)


@pytest_asyncio.fixture
async def api(store: Store) -> AsyncIterator[httpx.AsyncClient]:
    viewer = PersonConfig(roles=frozenset({PersonRole.VIEWER}), token=SecretStr(TOKEN))
    desk = desk_on(store)
    metrics = GatewayMetrics(desk)
    parts = KpiParts(Callers({"vera": viewer}), desk)
    app = make_app(Parts(store.inbox, {}, {}, kpis=parts, metrics=metrics))
    transport = httpx.ASGITransport(app)
    async with httpx.AsyncClient(transport=transport, base_url="http://g", trust_env=False) as http:
        yield http
    await metrics.aclose()


async def asked(api: httpx.AsyncClient, path: str) -> Any:
    answer = await api.get(path, headers=SIGNED_IN)
    assert answer.status_code == 200, answer.text
    return answer.json()


async def test_figures_and_the_close_are_told(store: Store, api: httpx.AsyncClient) -> None:
    await small_month(store)
    listed = (await asked(api, "/kpis"))["kpis"]
    assert [each["name"] for each in listed] == list(KPIS)
    one = await asked(api, "/kpis/unbilled_approved_time?by=region&from=2026-11-01&to=2026-11-30")
    assert [(row["group"], row["currency"], row["value"]) for row in one["rows"]] == [
        ("DE", "EUR", "100.10"),
        ("US", "USD", "580.00"),
    ]
    closed = await asked(api, "/close/DE/2026-11")
    assert closed["blocked"]
    assert (closed["lines"][0]["what"], closed["lines"][0]["amount"]) == ("unbilled", "100.10")
    assert not (await asked(api, "/close/DE/2025-01"))["lines"][0]["ages"]


async def test_it_refuses_strangers_and_what_makes_no_sense(api: httpx.AsyncClient) -> None:
    assert (await api.get("/kpis")).status_code == 401
    assert (await api.get("/close/US/2026-11")).status_code == 401
    for path, status in (
        ("/kpis/forecast_variance", 404),
        ("/kpis/dso?by=week", 422),
        ("/kpis/dso?by=person", 422),
        ("/kpis/dso?form=2026-11-01", 422),
        ("/kpis?from=yesterday", 422),
        ("/kpis?from=2026-11-30&to=2026-11-01", 422),
        ("/close/XX/2026-11", 404),
        ("/close/US/2026-13", 422),
        ("/close/US/9999-12", 422),
        ("/close/US/2026-11?entity=DE", 422),
    ):
        answer = await api.get(path, headers=SIGNED_IN)
        assert answer.status_code == status, path
        assert answer.headers["content-type"] == "application/problem+json"


async def test_the_document_tells_of_it(api: httpx.AsyncClient) -> None:
    document = (await api.get("/openapi.json")).json()
    one = document["paths"]["/kpis/{name}"]["get"]
    assert {"200", "401", "404", "422", "503"} <= {*one["responses"]}
    assert {"KpiReport", "CloseReport"} <= {*document["components"]["schemas"]}


async def test_prometheus_gets_them_with_bounded_labels(
    store: Store, api: httpx.AsyncClient
) -> None:
    await small_month(store)
    page = ""
    async with asyncio.timeout(60):
        while "dealthread_kpi_sync_latency" not in page:
            page = (await api.get("/metrics")).text
    for line in (
        'dealthread_kpi_unbilled_approved_time_amount{currency="USD",entity="US"} 580.0',
        'dealthread_kpi_time_to_project_hours{currency="",entity="US",quantile="0.9"} 22.2',
        'dealthread_kpi_unbilled_labor_percent{currency="USD",entity="US"} 72.5',
        'dealthread_kpi_replays_by_flow{currency="",flow="from kantata"} 2.0',
    ):
        assert line in page.splitlines(), page
    assert "C1" not in page


class Figures:
    """Counts how often it is asked; it can be away."""

    def __init__(self) -> None:
        self.asked = 0
        self.away = False
        self.go = asyncio.Event()

    async def report(self, name: str, query: KpiQuery) -> KpiReport:
        await self.go.wait()
        if self.away:
            raise StoreUnavailable("away")
        self.asked += query.by is KpiBy.ENTITY and name == "dso"
        rows = ({"group": "US", "currency": "USD", "value": "3", "count": 1},)
        kpi = KPIS[name]
        fields = {"name": name, "title": kpi.title, "unit": kpi.unit, "meaning": kpi.meaning}
        return KpiReport.model_validate(
            {**fields, "by": query.by, "since": None, "until": NOW, "rows": rows}
        )


async def test_they_are_worked_out_once_a_minute_beside_the_page() -> None:
    figures, registry, clock = Figures(), CollectorRegistry(), [1000.0]
    metrics = KpiMetrics(figures, registry, lambda: clock[0])

    async def page() -> bytes:
        await asyncio.sleep(0)
        assert metrics.work is not None
        await metrics.work
        return generate_latest(registry)

    metrics.wanted()
    assert b"kpi" not in generate_latest(registry)  # and nobody waited
    clock[0] += 2 * REFRESH_SECONDS
    metrics.wanted()  # one at a time
    figures.go.set()
    assert b'dealthread_kpi_dso_days{currency="USD",entity="US"} 3.0' in await page()
    assert figures.asked == 1
    metrics.wanted()
    await page()
    assert figures.asked == 2
    clock[0] += REFRESH_SECONDS - 1
    metrics.wanted()
    await page()
    assert figures.asked == 2
    # Figures of before the outage would look like ones of now.
    clock[0], figures.away = clock[0] + 1, True
    metrics.wanted()
    assert b"kpi" not in await page()
