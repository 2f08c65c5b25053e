"""What the APIs over the store do with inputs made from the document: work, trace, backfills, …

The gateway listens in a thread of its own, over a real database with some of each kind in it.
"""

import asyncio
import threading
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from typing import Any, cast

import pytest_asyncio
import schemathesis
import uvicorn
from hypothesis import HealthCheck, Phase, settings
from pydantic import SecretStr
from schemathesis import Case
from schemathesis.core.parameters import ParameterLocation
from schemathesis.specs.openapi.checks import negative_data_rejection, positive_data_acceptance

from canonical.backfill import BackfillInput, BackfillView, ChangeRate, Steer
from canonical.saga import OpenWorkItem
from gateway.app import Parts, make_app
from gateway.backfill_api import BackfillParts
from gateway.callers import Callers
from gateway.door import EventsDoor
from gateway.kpi_api import KpiParts
from gateway.reconcile_api import ReconcileParts
from gateway.trace_api import TraceParts
from gateway.work_api import WorkParts
from operations.backfill import BackfillDesk
from operations.config import PersonConfig, PersonRole
from operations.kpis import KpiDesk
from operations.people import Refused
from operations.sagas import SagaDesk
from operations.trace.thread import Tracer
from operations.worklist import Worklist
from policies.stuck import StuckRules
from store import Store, make_store
from tests.gateway.scene import well
from tests.store.billing import PROJECT
from tests.store.build import work_item
from tests.store.invoicing import billed, billed_contract, opened
from tests.store.test_reconciling import NOW, SCOPE, candidate, item, judgement
from tests.store.test_worklist import left_behind
from tests.support.postgres import PostgresForTests, new_name

TOKEN = SecretStr("0123456789abcdef" * 2)
SIGNED_IN = {"Authorization": f"Bearer {TOKEN.get_secret_value()}"}
ADMIN = frozenset({PersonRole.ADMIN})
PATHS = "^/(work|trace|reconciliations|backfills|kpis|close)(/|$)"
KNOWN = {"work_id": "WI-1", "id": "006", "entity": "US", "period": "2026-11"}
"""Something that is there, by the name in the path."""


class Steered(BackfillDesk):
    """Backfills of which the rows are kept and no workflow runs."""

    async def _start(self, id_: str, given: BackfillInput) -> None:
        await self.store.backfills.open(id_, given)

    async def _steer(self, id_: str, update: str, wish: Steer | ChangeRate) -> BackfillView:
        del update, wish
        raise Refused(f"{id_} runs no more.")


class Nobody:
    """Sagas of which none answers."""

    async def work_item(self, *_: object) -> None:
        raise Refused("nobody answers")


def app_over(store: Store) -> EventsDoor:
    """Return the application with all that looks into a store."""
    callers = Callers({"ada": PersonConfig(roles=ADMIN, token=TOKEN)})
    worklist = Worklist(store, {"ada": ADMIN}, lambda id_: f"http://ui/{id_}", StuckRules)

    async def sagas() -> SagaDesk:
        return cast(SagaDesk, Nobody())

    async def backfills() -> BackfillDesk:
        return Steered(cast(Any, None), store)

    return make_app(
        Parts(
            store.inbox,
            {},
            {"store": well},
            trace=TraceParts(callers, Tracer(store)),
            work=WorkParts(callers, worklist, sagas),
            backfills=BackfillParts(callers, store, backfills),
            reconciliations=ReconcileParts(callers, store.reconciliation),
            kpis=KpiParts(callers, KpiDesk(store, lambda: {"US": "US", "DE": "DE"}, lambda: NOW)),
        )
    )


def document() -> dict[str, Any]:
    """Return the OpenAPI document; no store is asked for it."""
    nowhere = make_store(SecretStr("postgresql://127.0.0.1:9/none"), 1)
    return schemathesis.openapi.from_asgi("/openapi.json", app_over(nowhere)).raw_schema


schema = schemathesis.openapi.from_dict(document()).include(path_regex=PATHS)


async def filled(url: SecretStr) -> None:
    """Put some of each kind into a database."""
    store = make_store(url, 2)
    await store.engagements.put(billed_contract())
    await opened(store, await billed(store, PROJECT, "2", "3"))
    waiting = work_item("WI-1", workflow_id="opportunity-to-project/salesforce/007")
    await store.work_items.open(OpenWorkItem(item=waiting))
    await left_behind(store)
    run = await store.reconciliation.open(SCOPE, now=NOW, resume_since=NOW, by="", heal=False)
    found = [(candidate("P1"), judgement())]
    await store.reconciliation.put(run.run, SCOPE, found, item, now=NOW, may_queue=9)
    await store.aclose()


@contextmanager
def listening(url: SecretStr) -> Iterator[str]:
    """Serve the application over a database, in a thread with a loop of its own."""
    servers: list[uvicorn.Server] = []

    async def serve() -> None:
        store = make_store(url, 5)
        try:
            config = uvicorn.Config(app_over(store), port=0, log_config=None, access_log=False)
            servers.append(uvicorn.Server(config))
            await servers[0].serve()
        finally:
            await store.aclose()

    thread = threading.Thread(target=lambda: asyncio.run(serve()))
    thread.start()
    while thread.is_alive() and not (servers and servers[0].started):
        time.sleep(0.01)
    try:
        port = servers[0].servers[0].sockets[0].getsockname()[1]
        yield f"http://127.0.0.1:{port}"
    finally:
        servers[0].should_exit = True
        thread.join()


@pytest_asyncio.fixture(scope="module")
async def gateway(postgres: PostgresForTests) -> AsyncIterator[str]:
    name = new_name()
    url = await postgres.create(name)
    await filled(url)
    with listening(url) as address:
        yield address
    await postgres.drop(name)


@schema.parametrize()
@settings(
    max_examples=25,
    deadline=None,
    derandomize=True,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=list(HealthCheck),
)
def test_whatever_somebody_asks_the_answer_is_documented(case: Case[Any], gateway: str) -> None:
    # Which texts, days and conditions are sound, a schema can't say.
    excluded: list[Any] = [positive_data_acceptance]
    components = case.meta.components if case.meta else {}
    negative = [place for place, made in components.items() if made.mode.is_negative]
    if ParameterLocation.HEADER in negative:
        excluded.append(negative_data_rejection)  # the token that it left out is put back
    if ParameterLocation.PATH not in negative:
        for name, value in case.path_parameters.items():
            if name in KNOWN and len(str(value)) % 2:
                case.path_parameters[name] = KNOWN[name]
    case.call_and_validate(base_url=gateway, headers=SIGNED_IN, excluded_checks=excluded)
