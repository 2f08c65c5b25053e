"""A project with approved time and expenses, its contract, and its billing runs."""

from collections.abc import Sequence
from datetime import date
from decimal import Decimal
from typing import Any

from pydantic import JsonValue
from temporalio.client import WorkflowHandle
from temporalio.common import WorkflowIDConflictPolicy, WorkflowIDReusePolicy

from canonical.deal import ContractLineType
from canonical.engagement import (
    BillRate,
    Cap,
    CapBase,
    CapScope,
    ContractLine,
    Engagement,
    ExpenseRule,
)
from canonical.entries import EntryKind, EntryRef
from canonical.ids import billing_run_id, time_to_billing_id
from canonical.money import Money
from canonical.provisioning import Dimensions
from canonical.rating import Disposition
from canonical.saga import SagaResult
from canonical.time_to_billing import (
    BillingRunInput,
    EntriesChanged,
    ProjectPeriod,
    TimeToBillingInput,
    TimeToBillingResult,
)
from operations.sagas import SAGA_QUEUE
from tests.support.world import World
from workflows.billing_run import BillingRun
from workflows.time_to_billing import ApprovedTimeToBilling

NUMBER = 4
"""Of the seeded project: time and materials beside a fixed fee, in USD, with some expenses."""
AT_PROJECT = str(5001 + NUMBER)
JOB, CLIENT = str(7001 + NUMBER), str(6001 + NUMBER)
STORY = 100_000 + 10 * NUMBER
PERIOD = "2026-11"

RATES = {"Principal": 250, "Consultant": 200, "Engineer": 180, "Analyst": 120}


def engagement(
    account: str,
    *,
    cap: int = 1_000_000,
    crm: str = "salesforce",
    deal: str = f"time-{NUMBER}",
    **line: Any,
) -> Engagement:
    """Return the contract of the seeded project; `line` changes both of its lines."""
    terms: dict[str, Any] = {
        "currency": "USD",
        "legal_entity": "US",
        "erp": f"netsuite@{account}",
        "erp_project_id": JOB,
        "erp_client_id": CLIENT,
        "dimensions": Dimensions(department="10", business_class="20", location="30"),
        "rates": tuple(
            BillRate(rate=Decimal(rate), role=role, valid_from=date(2026, 1, 1))
            for role, rate in RATES.items()
        ),
        "expense_rules": (ExpenseRule(markup_percent=Decimal(5)),),
        **line,
    }
    return Engagement(
        id=f"{crm}@{account}/{deal}",
        client_id=f"client-{account}",
        title="Time project 0005",
        psa=f"kantata@{account}",
        project_id=AT_PROJECT,
        effective_from=date(2026, 1, 1),
        lines=(
            ContractLine(
                ref="L-TM",
                title="Consulting",
                type=ContractLineType.TIME_AND_MATERIALS,
                task_ids=(str(STORY), str(STORY + 2), str(STORY + 3)),
                caps=(
                    Cap(
                        id="fees",
                        scope=CapScope.LINE,
                        base=CapBase.FEES,
                        amount=Money(amount=Decimal(cap), currency="USD"),
                    ),
                ),
                **terms,
            ),
            ContractLine(
                ref="L-FF",
                title="Fixed scope",
                type=ContractLineType.FIXED_FEE,
                task_ids=(str(STORY + 1),),
                **terms,
            ),
        ),
    )


async def billed_account(
    world: World, *, cap: int = 1_000_000, scenario: str = "time-small"
) -> str:
    """Return a fresh account with the project's approved work, its contract kept, all noted.

    The scenario `time` has 500 entries, `time-small` 20.
    """
    account = await world.account(
        {"kantata": scenario, "netsuite": scenario, "workday": "standard"},
        count=NUMBER + 1,
    )
    await world.store.engagements.put(engagement(account, cap=cap))
    await world.store.changes.note(
        f"kantata@{account}", AT_PROJECT, await entries_of(world, account)
    )
    return account


async def entries_of(
    world: World, account: str, project_id: str = AT_PROJECT
) -> tuple[EntryRef, ...]:
    """Return every live entry of a project in the PSA."""
    kinds = {"time_entries": EntryKind.TIME, "expenses": EntryKind.EXPENSE}
    found = []
    for type_, kind in kinds.items():
        for record in await world.control.records("kantata", account, type=type_):
            if record["live"] and record["fields"]["workspace_id"] == project_id:
                found.append(EntryRef(kind=kind, id=record["id"]))
    return tuple(found)


def period_of(account: str, project_id: str = AT_PROJECT) -> ProjectPeriod:
    """Return the billing period of the seeded month."""
    return ProjectPeriod(psa=f"kantata@{account}", project_id=project_id, period=PERIOD)


async def start_run(
    world: World, account: str, project_id: str = AT_PROJECT, number: int = 1
) -> WorkflowHandle[BillingRun, SagaResult]:
    """Start a billing run, or return the one that runs."""
    of = period_of(account, project_id)
    return await world.env.client.start_workflow(
        BillingRun.run,
        BillingRunInput(of=of, number=number),
        id=billing_run_id(of.psa, of.project_id, of.period, number),
        task_queue=SAGA_QUEUE,
        id_reuse_policy=WorkflowIDReusePolicy.ALLOW_DUPLICATE,
        id_conflict_policy=WorkflowIDConflictPolicy.USE_EXISTING,
    )


async def tell(
    world: World, account: str, entries: Sequence[EntryRef], project_id: str = AT_PROJECT
) -> WorkflowHandle[ApprovedTimeToBilling, TimeToBillingResult]:
    """Signal that entries changed, as the drain does: the period is started if it sleeps."""
    of = period_of(account, project_id)
    return await world.env.client.start_workflow(
        ApprovedTimeToBilling.run,
        TimeToBillingInput(of=of),
        id=time_to_billing_id(of.psa, of.project_id, of.period),
        task_queue=SAGA_QUEUE,
        id_reuse_policy=WorkflowIDReusePolicy.ALLOW_DUPLICATE,
        id_conflict_policy=WorkflowIDConflictPolicy.USE_EXISTING,
        start_signal="changed",
        start_signal_args=[EntriesChanged(entries=tuple(entries))],
    )


async def run_ended(
    world: World, account: str, project_id: str = AT_PROJECT, number: int = 1
) -> None:
    """Wait until the period has heard of the end of its run."""
    of = period_of(account, project_id)
    handle = world.env.client.get_workflow_handle_for(
        ApprovedTimeToBilling.run, time_to_billing_id(of.psa, of.project_id, of.period)
    )
    run = billing_run_id(of.psa, of.project_id, of.period, number)

    async def ended() -> bool:
        known = await world.store.sagas.state(run)
        if known is None or known.outcome is None:
            return False
        return (await handle.query(ApprovedTimeToBilling.view)).open_run != number

    await world.eventually(ended, f"the end of {run}")


async def assert_billed(world: World, account: str, project_id: str = AT_PROJECT) -> None:
    """Assert that every entry was costed and placed once, equal to the cent in all systems."""
    psa = f"kantata@{account}"
    for each in await world.store.subledger.standing(psa, project_id):
        assert each.handed_over or each.held, each
    rows = [
        row
        for row in await world.store.subledger.conservation(project_id)
        if row.client_id == f"client-{account}"
    ]
    assert rows
    assert all(row.difference == 0 for row in rows), rows
    to_bill = sum(
        (row.placed.get(Disposition.TO_BILL, Decimal(0)) for row in rows), start=Decimal(0)
    )
    charges = await live(world, "netsuite", account, "charge")
    assert sum(amount(each["amount"]) for each in charges) == to_bill
    assert {each["stage"]["id"] for each in charges} == {"HOLD_FOR_BILLING"}
    refs = await entries_of(world, account, project_id)
    traced = [await world.store.subledger.trace(psa, ref) for ref in refs]
    handed = [each for each in traced if not any(h.released_at is None for h in each.holds)]
    costs = [cost for each in handed for cost in each.costs]
    assert len(costs) == len(handed)
    assert all(cost.state == "posted" for cost in costs), costs
    in_erp = await live(world, "netsuite", account, "timeBill")
    spent = sum(amount(each["cost"]) for each in in_erp)
    timed = [each for each in handed if each.ref.kind is EntryKind.TIME]
    assert spent == sum(cost.amount.amount for each in timed for cost in each.costs)
    (reservation,) = await live(world, "kantata", account, "invoices")
    reserved = {*reservation["time_entry_ids"], *reservation["expense_ids"]}
    assert reserved == {each.ref.id for each in handed}


async def assert_unbilled(world: World, account: str, project_id: str = AT_PROJECT) -> None:
    """Assert that a rolled-back run left nothing, and every entry free for the next."""
    psa = f"kantata@{account}"
    for each in await world.store.subledger.standing(psa, project_id):
        assert each.state == "approved", each
        assert not each.handed_over, each
    for vendor, type_ in (
        ("netsuite", "charge"),
        ("netsuite", "timeBill"),
        ("kantata", "invoices"),
    ):
        assert await live(world, vendor, account, type_) == []


async def live(world: World, vendor: str, account: str, type_: str) -> list[dict[str, Any]]:
    """Return the fields of a system's live records of one type."""
    records = await world.control.records(vendor, account, type=type_)
    return [dict(record["fields"]) for record in records if record["live"]]


def amount(value: JsonValue) -> Decimal:
    """Return an amount of a simulator exactly."""
    return Decimal(str(value))
