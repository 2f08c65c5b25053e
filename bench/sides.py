"""The two sides of a comparison, the engine and the bare workflow: starting them, giving deals."""

import asyncio
import sys
import uuid
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, cast

from temporalio.client import WorkflowHandle

from adapters.governor import LocalGovernor
from adapters.ports import Crm
from adapters.registry import build_adapter
from bench.bare_worker import QUEUE
from bench.bare_workflow import BareDeal, BareOpportunityToProject, Shape
from bench.servers import Servers, crm_of
from canonical.ids import Role
from canonical.saga import Outcome, SagaResult
from embedded.processes import ROOT, Child
from operations.config import load_config
from operations.sagas import SagaDesk
from policies.bundle import load_bundle
from policies.planning import plan_opportunity
from simulators.kit.calls import CallView
from store import Store, make_store

WARM_UP = 10
"""Deals before the clock starts: connections, tokens and code are warm then."""
WAIT_SECONDS = 120.0
"""For one deal."""
VENDORS = ("salesforce", "kantata", "netsuite")
ENGINE = "engine"
SIDES = (ENGINE, Shape.STEP, Shape.CALL)

Work = Callable[[str], Awaitable[None]]


@dataclass
class Side:
    """One side with its worker running, in an account of its own at every vendor."""

    name: str
    account: str
    servers: Servers
    store: Store
    deals: list[str]
    """Opportunities not used yet, in the order of their numbers."""
    plans: dict[str, BareDeal]

    @property
    def desk(self) -> SagaDesk:
        """What starts the engine's sagas."""
        return SagaDesk(self.servers.client, self.store, {}, crm=crm_of(self.account))

    def take(self, count: int) -> list[str]:
        """Return deals that nobody worked on."""
        taken, self.deals = self.deals[:count], self.deals[count:]
        return taken

    async def start(self, deal: str) -> WorkflowHandle[Any, Any]:
        """Start one deal."""
        if self.name == ENGINE:
            return await self.desk.start_opportunity(deal)
        return await self.servers.client.start_workflow(
            BareOpportunityToProject.run,
            self.plans[deal],
            id=f"bare/{self.account}/{deal}/{uuid.uuid4().hex[:6]}",
            task_queue=QUEUE,
        )

    async def run(self, deal: str) -> None:
        """Carry one deal to its end.

        Raises:
            AssertionError: it did not get there.
        """
        async with asyncio.timeout(WAIT_SECONDS):
            result = await (await self.start(deal)).result()
        if isinstance(result, SagaResult):
            assert result.outcome is Outcome.COMPLETED, result

    async def calls(self) -> dict[str, list[CallView]]:
        """Return all calls of this side's account, by vendor."""
        control = self.servers.control
        return {vendor: await control.calls(vendor, self.account) for vendor in VENDORS}

    async def shape(self) -> Counter[tuple[str, str]]:
        """Count the calls by vendor and method; signing in does not count."""
        return Counter(
            (vendor, call["method"])
            for vendor, calls in (await self.calls()).items()
            for call in calls
            if "oauth2" not in call["path"]
        )


@asynccontextmanager
async def running_side(
    servers: Servers, name: str, account: str, count: int
) -> AsyncIterator[Side]:
    """Seed `count` deals and as many as warm up, start the side's worker and warm it."""
    await servers.control.seed("bulk", count=count + WARM_UP, account=account)
    config = await servers.configuration(account)
    store = make_store(servers.store_url, 2)
    deals = await _deals(servers, account)
    plans = {} if name == ENGINE else await _plans(config, account, deals, Shape(name))
    command = (
        [sys.executable, str(ROOT / "worker.py"), "--config", str(config)]
        if name == ENGINE
        else [sys.executable, "-m", "bench.bare_worker", "--config", str(config)]
    )
    try:
        async with servers.worker(command) as worker:
            side = Side(name, account, servers, store, deals, plans)
            await _warmed(side, worker)
            yield side
    finally:
        await store.aclose()
        await servers.control.reset(account)


async def _warmed(side: Side, worker: Child) -> None:
    """Carry the first deals to their ends.

    Raises:
        StackError: the worker died.
    """
    ended = asyncio.ensure_future(worker.process.wait())
    warming = asyncio.create_task(in_flight(side.run, side.take(WARM_UP), WARM_UP))
    await asyncio.wait((ended, warming), return_when=asyncio.FIRST_COMPLETED)
    if ended.done():
        warming.cancel()
        raise worker.death()
    ended.cancel()
    await warming


async def in_flight(work: Work, deals: Iterable[str], limit: int) -> None:
    """Do something for each deal, so many at a time."""
    places = asyncio.Semaphore(limit)

    async def one(deal: str) -> None:
        async with places:
            await work(deal)

    async with asyncio.TaskGroup() as group:
        for deal in deals:
            group.create_task(one(deal))


async def _deals(servers: Servers, account: str) -> list[str]:
    records = await servers.control.records("salesforce", account, type="Opportunity")
    return [record["id"] for record in records]


async def _plans(path: Path, account: str, deals: list[str], shape: Shape) -> dict[str, BareDeal]:
    """Plan all deals beforehand, with the engine's own policies."""
    config, bundle, name = load_config(path), load_bundle(None), crm_of(account)
    connection = config.role(Role.CRM)[name]
    crm = cast(
        Crm,
        build_adapter(
            connection.vendor,
            name,
            base_url=connection.base_url,
            settings=connection.settings,
            secrets=connection.secrets,
            timeouts=connection.http.model_dump(),
            ca_file=None,
            governor=LocalGovernor(4),
        ),
    )
    today = datetime.now(UTC).date()
    plans: dict[str, BareDeal] = {}

    async def plan(deal: str) -> None:
        planned = plan_opportunity(await crm.read_deal(deal), bundle, corrections={}, today=today)
        plans[deal] = BareDeal(shape=shape, crm=name, plan=planned)

    await in_flight(plan, deals, 4)
    await crm.aclose()
    return plans
