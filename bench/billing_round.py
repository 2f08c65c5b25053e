"""One round of billing: projects told to their periods, billed by the worker, and checked.

Every project is told as the gateway's drain tells it, and asked to run now rather than after its
debounce.
"""

import asyncio
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from decimal import Decimal
from typing import cast

from pydantic import JsonValue
from sqlalchemy import TextClause, text

from activities.ports import Ports
from bench.billing_projects import BLOCK, ERP, PSA, Project, calls_of, engagement, seeded
from bench.servers import Servers
from bench.sides import in_flight
from bench.usage import measured
from canonical.engagement import Engagement
from canonical.entries import EntryRef
from canonical.ids import billing_run_id, time_to_billing_id
from canonical.rating import Disposition
from canonical.saga import Outcome, SagaResult
from canonical.time_to_billing import ProjectPeriod
from embedded.processes import ROOT
from operations.billing import BillingDesk
from operations.composition import period_opener
from policies.bundle import Bundle, load_bundle
from store import Store, make_store

TELLERS = 20
WAIT_SECONDS = 3_000.0
LOOK_SECONDS = 0.2
THOUSAND = 1000
WHO = "fiona"

_HANDED_OVER = text("""
    SELECT count(*) AS n FROM billing_runs
    WHERE state = 'handed_over' AND run_key = ANY(CAST(:runs AS text[]))
""")
_COSTS_LEFT = text("SELECT count(*) AS n FROM cost_track WHERE state <> 'posted'")


@dataclass
class Round:
    """What billing some projects took; rounds of one size add up."""

    period: str = ""
    projects: int = 0
    entries: int = 0
    seconds: float = 0.0
    cpu: Counter[str] = field(default_factory=Counter)
    """Seconds by process."""
    peak: float = 0.0
    """Of the worker, in MB."""
    calls: Counter[tuple[str, str]] = field(default_factory=Counter)
    runs: list[int] = field(default_factory=list)
    """History events of each billing run."""
    periods: list[int] = field(default_factory=list)
    """History events of each project's period."""

    def add(self, other: "Round") -> None:
        """Count another round of the same size in."""
        self.period = other.period
        self.projects += other.projects
        self.entries += other.entries
        self.seconds += other.seconds
        self.cpu += other.cpu
        self.peak = max(self.peak, other.peak)
        self.calls += other.calls
        self.runs += other.runs
        self.periods += other.periods

    @property
    def per_second(self) -> float:
        """Entries per second."""
        return self.entries / self.seconds

    def cost(self, *processes: str) -> float:
        """Seconds of processor time per 1,000 entries."""
        return THOUSAND * sum(self.cpu[each] for each in processes) / self.entries


@dataclass
class Billing:
    """An account with approved work, and a worker that serves it."""

    servers: Servers
    store: Store
    bundle: Bundle
    account: str
    entries: dict[str, list[EntryRef]]

    @property
    def desk(self) -> BillingDesk:
        """What tells periods."""
        return BillingDesk(
            client=self.servers.client,
            store=self.store,
            people={WHO: frozenset({"finance"})},
            open_period=period_opener(self.store, lambda _psa: self.bundle),
            psas=Ports().psa,
            psa=PSA,
        )

    async def round(self, projects: Sequence[Project], name: str) -> Round:
        """Bill projects at once, and measure it from the first signal to the last end."""
        for project in projects:
            await self.store.engagements.put(contract(self.bundle, projects, project, name))
        before = await calls_of(self.servers.control, self.account)
        told: list[ProjectPeriod] = []

        async def tell(project_id: str) -> None:
            told.append(await self.desk.changed(project_id, self.entries[project_id]))
            await self.desk.run(project_id, by=WHO)

        async with measured(self.servers.children) as usage:
            started = time.perf_counter()
            await in_flight(tell, [project.id for project in projects], TELLERS)
            await self._ended(told)
            seconds = time.perf_counter() - started
        return Round(
            period=told[0].period,
            projects=len(projects),
            entries=sum(len(self.entries[of.project_id]) for of in told),
            seconds=seconds,
            cpu=Counter(usage.cpu),
            peak=usage.memory_peak["worker"],
            calls=await calls_of(self.servers.control, self.account) - before,
            runs=[await self._events(_run(of)) for of in told],
            periods=[
                await self._events(time_to_billing_id(of.psa, of.project_id, of.period))
                for of in told
            ],
        )

    async def _ended(self, told: Sequence[ProjectPeriod]) -> None:
        """Wait until the run of every project has ended well.

        Raises:
            AssertionError: a run parked, or did not complete.
        """
        runs = {"runs": [_run(of) for of in told]}
        async with asyncio.timeout(WAIT_SECONDS):
            while await self._count(_HANDED_OVER, runs) < len(told):
                stuck = await self.store.work_items.list(limit=1)
                assert not stuck, stuck
                await asyncio.sleep(LOOK_SECONDS)
            for of in told:
                handle = self.servers.client.get_workflow_handle(_run(of), result_type=SagaResult)
                result = await handle.result()
                assert result.outcome is Outcome.COMPLETED, result

    async def _events(self, workflow_id: str) -> int:
        handle = self.servers.client.get_workflow_handle(workflow_id)
        return (await handle.describe()).history_length

    async def assert_conserved(self, projects: Sequence[Project]) -> int:
        """Assert that each entry is billed once or held, equal to the cent in all systems.

        Returns how many are held.
        """
        billed = held = 0
        for project in projects:
            standing = await self.store.subledger.standing(PSA, project.id)
            assert all(each.handed_over or each.held for each in standing), standing
            billed += sum(each.entries for each in standing if each.handed_over)
            held += sum(each.entries for each in standing if not each.handed_over)
        assert billed + held == sum(len(self.entries[project.id]) for project in projects)
        rows = await self.store.subledger.conservation()
        assert all(row.difference == 0 for row in rows), rows
        assert sum(row.entries for row in rows) == billed
        to_bill = sum((row.placed.get(Disposition.TO_BILL, Decimal(0)) for row in rows), Decimal(0))
        charges = await self._fields(ERP, "charge")
        assert sum((Decimal(str(each["amount"])) for each in charges), Decimal(0)) == to_bill
        # Each cost was compared with the ERP's own as it was posted.
        assert await self._count(_COSTS_LEFT) == 0
        on_it = [
            str(id_)
            for invoice in await self._fields(PSA, "invoices")
            for name in ("time_entry_ids", "expense_ids", "time_adjustment_ids")
            for id_ in cast(list[str], invoice.get(name) or [])
        ]
        assert len(on_it) == len(set(on_it)) == billed
        return held

    async def _fields(self, vendor: str, type_: str) -> list[dict[str, JsonValue]]:
        records = await self.servers.control.records(vendor, self.account, type=type_)
        return [record["fields"] for record in records if record["live"]]

    async def _count(self, query: TextClause, values: Mapping[str, object] | None = None) -> int:
        row = await self.store.database.first(query, values)
        assert row is not None
        return int(row.n)


@asynccontextmanager
async def running_billing(
    servers: Servers, account: str, count: int, command: Sequence[str] = ()
) -> AsyncIterator[Billing]:
    """Seed an account with so many projects and serve it by a worker until the block ends."""
    entries = await seeded(servers, account, count)
    config = await servers.configuration(account)
    store = make_store(servers.store_url, 2)
    command = command or [sys.executable, str(ROOT / "worker.py")]
    try:
        async with servers.worker([*command, "--config", str(config)]):
            yield Billing(servers, store, load_bundle(None), account, entries)
    finally:
        await store.aclose()


def contract(bundle: Bundle, projects: Sequence[Project], project: Project, cap: str) -> Engagement:
    """Return a project's engagement; as many as bill under its cap at once share the ceiling."""
    sharing = sum(1 for each in projects if each.number % BLOCK == project.number % BLOCK)
    return engagement(project, bundle.policies, cap, sharing)


def _run(of: ProjectPeriod) -> str:
    return billing_run_id(of.psa, of.project_id, of.period, 1)
