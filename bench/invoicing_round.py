"""From approved milestones to posted invoices: the work of a month end, measured, and checked.

Each milestone's saga is started as an event about it does; then somebody assembles, reviews and
releases in bulk, by the same desk as the CLI. What stands in the store says how long each took.
"""

import asyncio
import sys
import time
import uuid
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from sqlalchemy import TextClause, text
from temporalio.client import WorkflowHandle, WorkflowUpdateRPCTimeoutOrCancelledError
from temporalio.common import WorkflowIDConflictPolicy, WorkflowIDReusePolicy
from temporalio.service import RPCError

from bench.billing_projects import ERP, PSA
from bench.invoicing_month import Flaw, Job
from bench.servers import Servers
from bench.sides import in_flight
from bench.throughput import IN_FLIGHT
from bench.usage import measured
from canonical.draft_acts import AnyAct, DraftAnswer, Review
from canonical.drafts import Draft, DraftState
from canonical.ids import milestone_to_invoice_id, posting_id
from canonical.milestone_to_invoice import MilestoneInput
from canonical.saga import Outcome, SagaResult
from embedded.processes import ROOT
from operations.people import Refused
from operations.queue import QueueDesk
from operations.sagas import SAGA_QUEUE
from operations.schedules import ensure_schedules
from store import Store, make_store
from workflows.milestone_to_invoice import MilestoneToInvoice

VENDORS = (PSA, ERP)
REVIEWERS = 20
ASKED_MAX = 100
ASSEMBLING = "assemble-invoice-drafts"
"""The Schedule that assembles every ten minutes."""
WAIT_SECONDS = 7_200.0
MILESTONE_SECONDS = 600.0
"""For the saga of one milestone; one that parks against expectation takes longer."""
LOOK_SECONDS = 0.5
ALL = 100_000
"""More than there are of anything."""
MANAGER, FINANCE = "olivia", "cara"
PEOPLE = f"""
[people.{MANAGER}]
roles = ["operator"]
email = "{MANAGER}@example.com"

[people.{FINANCE}]
roles = ["controller"]
email = "{FINANCE}@example.com"
"""
SHORT = "left (net), this needs"
"""Of the reason why a draft with a short client PO is not released."""

_ENDED = text("""
    SELECT count(*) AS n FROM saga_generations WHERE saga = :saga AND state = 'ended'
""")
_OPEN = text("SELECT count(*) AS n FROM work_items WHERE state = 'open'")
_UNWELL = text("""
    SELECT workflow_id, outcome, reason FROM saga_generations
    WHERE saga = :saga AND state = 'ended' AND outcome <> 'completed' LIMIT 1
""")
_PARKED = text("SELECT workflow_id, reason FROM work_items WHERE state = 'open'")
# Both are this machine's clock: the release as it was judged, the invoice as it was noted.
_WAITED = text("""
    SELECT extract(epoch FROM invoice.recorded_at
        - CAST(CAST(draft.document AS jsonb) ->> 'released_at' AS timestamptz)) AS seconds
    FROM invoices AS invoice JOIN drafts AS draft ON draft.id = invoice.draft
    WHERE draft.id = ANY(CAST(:drafts AS text[])) ORDER BY 1
""")
_BILLED = text("""
    SELECT fee.project_id, count(*) AS fees, count(DISTINCT invoice.id) AS invoices,
        sum(fee.amount) AS amount, min(invoice.net) AS net, min(invoice.id) AS invoice,
        min(mirror.net) AS mirrored, min(mirror.mirror) AS mirror
    FROM fees AS fee
    JOIN draft_members AS member ON member.fee = fee.id AND member.live
    JOIN invoices AS invoice ON invoice.draft = member.draft
    JOIN invoice_mirrors AS mirror ON mirror.connection = invoice.connection
        AND mirror.invoice = invoice.id AND mirror.project_id = fee.project_id
    WHERE fee.state = 'invoiced' GROUP BY fee.project_id
""")
_FEES = text("""
    SELECT project_id, state, count(*) AS n FROM fees WHERE state <> 'returned'
    GROUP BY project_id, state
""")


@dataclass
class Phase:
    """What one part of the month end took."""

    seconds: float
    cpu: Mapping[str, float]
    """Seconds by process."""
    peak: float
    """Of the worker, in MB."""
    calls: Counter[str] = field(default_factory=Counter)
    """Vendor calls by vendor; signing in counts."""

    def cost(self, process: str, count: int) -> float:
        """Return milliseconds of processor time for each of so many."""
        return 1_000 * self.cpu[process] / count


@dataclass(frozen=True)
class Posted:
    """A bulk release, carried to its last invoice."""

    phase: Phase
    released: int
    refused: int
    asked_again: int
    """Releases that were not answered within the desk's time, and were asked for again."""
    waits: tuple[float, ...]
    """Seconds from each draft's release to its invoice, rising."""
    draft_events: int
    """History events of DraftToInvoice, the longest."""
    posting_events: int


@dataclass(frozen=True)
class PatientDesk(QueueDesk):
    """The desk, used by somebody who asks again under the same id when no answer came in time."""

    asked_again: Counter[str] = field(default_factory=Counter)

    async def act(self, draft: str, act: AnyAct, act_id: str = "") -> DraftAnswer:
        """Send an act until it is answered: what was taken is answered the same.

        Raises:
            TimeoutError: it was not, after a hundred times.
        """
        act_id = act_id or f"{draft}#{uuid.uuid4()}"
        for _ in range(ASKED_MAX):
            try:
                return await super().act(draft, act, act_id)
            except Refused as error:
                if not isinstance(error.__cause__, WorkflowUpdateRPCTimeoutOrCancelledError):
                    raise
                self.asked_again[act.act] += 1
            except RPCError:  # a workflow task of the draft failed meanwhile: a busy machine
                self.asked_again[act.act] += 1
                await asyncio.sleep(LOOK_SECONDS)
        raise TimeoutError(f"{draft} was asked for {act.act} {ASKED_MAX} times, without an answer")


@dataclass
class Office:
    """An account with a month end to be invoiced, and a worker that serves it."""

    servers: Servers
    store: Store
    account: str
    milestones: dict[str, tuple[str, ...]] = field(default_factory=dict)
    """Approved ones by project, in their order."""
    counted: Counter[str] = field(default_factory=Counter)
    """Vendor calls that were counted so far."""

    @property
    def desk(self) -> PatientDesk:
        """What people work with."""
        return PatientDesk(self.servers.client, self.store)

    async def hand_over(self, jobs: Sequence[Job]) -> Phase:
        """Run the saga of every milestone; of a project one after another, as they are approved."""
        parked = await self._count(_OPEN)
        by_id = {job.project.id: job for job in jobs}

        async def one(project_id: str) -> None:
            job, ids = by_id[project_id], self.milestones[project_id]
            drafted = job.good + (job.flaw is Flaw.ORDER)
            for id_ in ids[:drafted]:
                async with asyncio.timeout(MILESTONE_SECONDS):
                    result = await (await self._start(id_)).result()
                assert result.outcome is Outcome.COMPLETED, result
            for id_ in ids[drafted:]:
                await self._start(id_)

        async def work() -> None:
            await in_flight(one, list(by_id), IN_FLIGHT)
            wanted = parked + sum(1 for job in jobs if job.flaw and not job.flaw.drafted)
            await self._until(_OPEN, {}, wanted, wanted)

        return await self._measured(work)

    async def assemble(self) -> tuple[Phase, list[str]]:
        """Make drafts of all that waits."""
        made: list[str] = []

        async def work() -> None:
            made.extend((await self.desk.assemble()).drafts)

        return await self._measured(work), made

    async def review(self, drafts: Sequence[str]) -> Phase:
        """Let the projects' manager pass all drafts."""

        async def one(draft: str) -> None:
            answer = await self.desk.act(draft, Review(by=MANAGER))
            assert answer.taken, answer.reasons

        return await self._measured(lambda: in_flight(one, drafts, REVIEWERS))

    async def post(self, drafts: Sequence[str], refused: int) -> Posted:
        """Release drafts in bulk and wait until each invoice is confirmed and was looked at.

        Raises:
            AssertionError: others than those whose client PO is short were refused.
        """
        wanted = set(drafts)
        queued = [
            draft
            for draft in await self.store.drafts.list((DraftState.QUEUED,), limit=ALL)
            if draft.id in wanted
        ]
        assert len(queued) == len(drafts), (len(queued), len(drafts))
        before = {
            saga: await self._count(_ENDED, {"saga": saga})
            for saga in ("PostInvoice", "TellInvoice")
        }
        parked, desk = await self._count(_OPEN), self.desk
        refusals: dict[str, tuple[str, ...]] = {}

        async def work() -> None:
            acted = await desk.release(queued, FINANCE)
            refusals.update(
                {each.draft: each.answer.reasons for each in acted if each.answer.reasons}
            )
            for saga, ended in before.items():
                await self._until(
                    _ENDED, {"saga": saga}, ended + len(acted) - len(refusals), parked
                )

        phase = await self._measured(work)
        assert len(refusals) == refused, refusals
        assert all(SHORT in why for (why,) in refusals.values()), refusals
        for saga in before:
            assert await self.store.database.first(_UNWELL, {"saga": saga}) is None
        posted = [draft for draft in queued if draft.id not in refusals]
        rows = await self.store.database.rows(_WAITED, {"drafts": [draft.id for draft in posted]})
        assert len(rows) == len(posted)
        return Posted(
            phase=phase,
            released=len(posted),
            refused=len(refusals),
            asked_again=desk.asked_again["release"],
            waits=tuple(float(row.seconds) for row in rows),
            draft_events=await self._longest([draft.id for draft in posted]),
            posting_events=await self._longest([posting_id(draft.id, 1) for draft in posted]),
        )

    async def assert_conserved(self, jobs: Sequence[Job]) -> None:
        """Assert that each good milestone is invoiced once, and each bad one held with its reason.

        Invoices agree to the cent in ERP, subledger and PSA, net; nothing else was invoiced.
        """
        billed = {row.project_id: row for row in await self.store.database.rows(_BILLED)}
        erp = await self._nets(ERP, "invoice", "subtotal")
        # Kantata's are in the smallest units of the currency.
        psa = await self._nets(PSA, "invoices", "total")
        good = [job for job in jobs if job.good]
        assert set(billed) == {job.project.id for job in good}
        for job in good:
            row = billed[job.project.id]
            assert (row.fees, row.invoices) == (job.good, 1), (job, row)
            assert row.amount == row.net == row.mirrored == job.net, (job, row)
            assert erp.pop(row.invoice) == job.net, (job, row)
            assert psa.pop(row.mirror) == job.money(job.net).minor_units, (job, row)
        assert not erp, erp
        assert not psa, psa
        await self._assert_held(jobs)

    async def _assert_held(self, jobs: Sequence[Job]) -> None:
        parked = {row.workflow_id: row.reason for row in await self.store.database.rows(_PARKED)}
        assert parked == {
            milestone_to_invoice_id(PSA, self.milestones[job.project.id][-1]): job.flaw.value
            for job in jobs
            if job.flaw in {Flaw.SEQUENCE, Flaw.VALUE}
        }, parked
        queued = await self.store.drafts.list((DraftState.QUEUED,), limit=ALL)
        short = {job.project.id: job for job in jobs if job.flaw is Flaw.ORDER}
        assert sorted(map(_project, queued)) == sorted(short)
        for draft in queued:
            job = short[_project(draft)]
            assert draft.net.amount == job.amount(job.count - 1), draft
            assert any(SHORT in problem for problem in draft.problems), draft

    async def _start(self, milestone: str) -> WorkflowHandle[Any, SagaResult]:
        return await self.servers.client.start_workflow(
            MilestoneToInvoice.run,
            MilestoneInput(psa=PSA, milestone_id=milestone),
            id=milestone_to_invoice_id(PSA, milestone),
            task_queue=SAGA_QUEUE,
            id_reuse_policy=WorkflowIDReusePolicy.ALLOW_DUPLICATE,
            id_conflict_policy=WorkflowIDConflictPolicy.USE_EXISTING,
        )

    async def _measured(self, work: Callable[[], Awaitable[None]]) -> Phase:
        await self._calls()
        async with measured(self.servers.children) as usage:
            started = time.perf_counter()
            await work()
            seconds = time.perf_counter() - started
        calls = await self._calls()
        return Phase(seconds, usage.cpu, usage.memory_peak["worker"], calls)

    async def _calls(self) -> Counter[str]:
        """Count the vendor calls since this was asked before; the log forgets the oldest."""
        made: Counter[str] = Counter()
        for vendor in VENDORS:
            known = self.counted[vendor]
            calls = await self.servers.control.calls(vendor, self.account, known)
            self.counted[vendor] = calls[-1]["n"] if calls else known
            made[vendor] = self.counted[vendor] - known
        return made

    async def _longest(self, workflows: Sequence[str]) -> int:
        lengths: list[int] = []

        async def one(workflow: str) -> None:
            handle = self.servers.client.get_workflow_handle(workflow)
            lengths.append((await handle.describe()).history_length)

        await in_flight(one, workflows, IN_FLIGHT)
        return max(lengths)

    async def _nets(self, vendor: str, type_: str, name: str) -> dict[str, Decimal]:
        records = await self.servers.control.records(vendor, self.account, type=type_)
        return {
            record["id"]: Decimal(str(record["fields"][name]))
            for record in records
            if record["live"]
        }

    async def _until(
        self, query: TextClause, values: Mapping[str, object], wanted: int, parked: int
    ) -> None:
        """Wait until so many rows are counted.

        Raises:
            AssertionError: more sagas parked than should.
        """
        async with asyncio.timeout(WAIT_SECONDS):
            while await self._count(query, values) < wanted:
                open_ = await self._count(_OPEN)
                assert open_ <= parked, await self.store.work_items.list(limit=3)
                await asyncio.sleep(LOOK_SECONDS)

    async def _count(self, query: TextClause, values: Mapping[str, object] | None = None) -> int:
        row = await self.store.database.first(query, values)
        assert row is not None
        return int(row.n)


@asynccontextmanager
async def running_office(
    servers: Servers, account: str, seed: Callable[[Store], Awaitable[dict[str, tuple[str, ...]]]]
) -> AsyncIterator[Office]:
    """Seed an account and serve it by a worker until the block ends."""
    config = await servers.configuration(account)
    config.write_text(config.read_text(encoding="utf-8") + PEOPLE, encoding="utf-8")
    store = make_store(servers.store_url, 4)
    # An operator's pause: a batch that is half handed over would become drafts of half of it.
    await ensure_schedules(servers.client)
    await servers.client.get_schedule_handle(ASSEMBLING).pause(note="the bench assembles")
    try:
        milestones = await seed(store)
        command = [sys.executable, str(ROOT / "worker.py"), "--config", str(config)]
        async with servers.worker(command):
            yield Office(servers, store, account, milestones)
    finally:
        await store.aclose()


def _project(draft: Draft) -> str:
    (project,) = {line.project_id for line in draft.lines}
    return project
