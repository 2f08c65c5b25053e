"""A worker that is killed inside a reconciliation: another finishes it, and finds each thing once.

The run's worker is a process of its own, which ends by SIGKILL while it lists; so that it dies in
the middle of a kind, the ERP holds an answer back, and gives two rows at a time.
"""

import asyncio
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

from sqlalchemy import text

from canonical.ids import reconcile_id
from canonical.reconciliation import Finding, FindingCode, Reconciled, ReconcileInput
from embedded.processes import ROOT, surroundings
from tests.sagas.test_reconcile import US, Case
from tests.support.billing import PERIOD
from tests.support.invoicing import handed_over
from tests.support.reconciling_worker import Workplace
from tests.support.world import VENDORS, WAIT_SECONDS, World
from workflows.reconcile import Reconcile

HELD_ANSWER: Final = 7
"""Of the ERP's answers: one in the middle of its charges."""
HOLD_SECONDS: Final = 60
SCRATCH: Final = ("reconciliation_extracts", "reconciliation_rows", "reconciliation_candidates")


@asynccontextmanager
async def worker(world: World, account: str, queue: str) -> AsyncIterator[Process]:
    """Run a worker process for one account; it is killed at the end at the latest."""
    names = [f"{vendor}@{account}" for vendor in VENDORS]
    place = Workplace(
        temporal=world.env.client.service_client.config.target_host,
        store=world.store.database.engine.url.render_as_string(hide_password=False),
        queue=queue,
        urls=world.stack.urls,
        credentials={name: world.ports.credentials[name] for name in names},
    )
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tests.support.reconciling_worker"),
        cwd=ROOT,
        env=dict(surroundings().environment),
        stdin=PIPE,
    )
    assert process.stdin is not None
    process.stdin.write(place.model_dump_json().encode())
    process.stdin.close()
    try:
        yield process
    finally:
        await killed(process)


async def killed(process: Process) -> None:
    if process.returncode is None:
        process.kill()
    await process.wait()


async def listed(world: World, run: int, account: str) -> dict[str, tuple[bool, int]]:
    """Return the ERP's kinds that are begun: whether listed whole, and how many rows there are."""
    found = await world.store.database.rows(
        text("""
            SELECT kind, listed_at IS NOT NULL AS whole, (SELECT count(*) FROM reconciliation_rows
                WHERE run = :run AND connection = :connection AND kind = extract.kind) AS rows
            FROM reconciliation_extracts AS extract
            WHERE run = :run AND connection = :connection
        """),
        {"run": run, "connection": f"netsuite@{account}"},
    )
    return {row.kind: (row.whole, row.rows) for row in found}


async def scratch(world: World, run: int) -> dict[str, int]:
    """Return how many rows the scratch tables have of a run."""
    return {
        table: len(
            await world.store.database.rows(
                text(f"SELECT 1 FROM {table} WHERE run = :run"),
                {"run": run},
            )
        )
        for table in SCRATCH
    }


async def open_run(world: World, psa: str) -> int | None:
    row = await world.store.database.first(
        text("SELECT id FROM reconciliation_runs WHERE psa = :psa AND state = 'open'"), {"psa": psa}
    )
    return None if row is None else int(row.id)


def said(findings: tuple[Finding, ...]) -> list[tuple[object, ...]]:
    """Return what findings say, but for when and in which run."""
    return sorted(
        (each.code, each.record_id, each.amount, each.opens, each.explanation, len(each.rows))
        for each in findings
    )


async def test_a_run_whose_worker_was_killed_while_it_lists_is_finished_by_another(
    world: World,
) -> None:
    account = await handed_over(world)
    case, queue = Case(world, account), f"reconcile-{account}"
    first, second, *_ = await world.control.records("netsuite", account, type="charge")
    await case.clerk.delete_charge(second["id"])
    await case.clerk.bill_natively(first["id"])
    held = await world.control.add_fault(
        "netsuite",
        account,
        {"path": "suiteql", "nth": HELD_ANSWER},
        "hold",
        release_after_seconds=HOLD_SECONDS,
    )

    async with worker(world, account, queue) as process:
        handle = await world.env.client.start_workflow(
            Reconcile.run,
            ReconcileInput(psa=case.psa, legal_entity=US, period=PERIOD, tolerance_seconds=0),
            id=reconcile_id(case.psa, US, PERIOD),
            task_queue=queue,
        )
        await world.control.wait_for_fault("netsuite", account, held, timeout_seconds=60)
        run = await open_run(world, case.psa)
        assert run is not None
        await killed(process)
        kinds = await listed(world, run, account)
    whole, charges = kinds.pop("charge")
    assert not whole
    assert charges > 0, "it dies within the charges"
    assert all(done for done, _ in kinds.values())
    assert await case.findings() == ()

    async with worker(world, account, queue), asyncio.timeout(WAIT_SECONDS):
        ended: Reconciled = await handle.result()
    assert (ended.run, ended.failed) == (run, {})
    findings = await case.findings()
    assert sorted(each.code for each in findings) == [
        FindingCode.BILLED_OUTSIDE,
        FindingCode.CHARGE_DELETED,
    ]
    assert (ended.findings, ended.queued) == (2, 2)
    items = await world.store.work_items.list(workflow_id=handle.id)
    assert {each.item.id for each in items} == {each.work_item for each in findings}
    assert await scratch(world, run) == dict.fromkeys(SCRATCH, 0)

    again = await case.reconcile()
    assert again.run != run
    assert (again.queued, again.closed) == (0, 0)
    assert said(await case.findings()) == said(findings), "an undisturbed run finds the same"
    ours, undisturbed = [await world.store.reconciliation.run(id_) for id_ in (run, again.run)]
    assert ours.compared == undisturbed.compared
