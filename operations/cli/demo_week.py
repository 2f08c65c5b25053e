"""The demo's second part: a team's week on a mixed contract, approved in the PSA, is billed.

People log and approve in the simulated PSA; its change feed tells the gateway; all else is read
from the subledger and from the systems themselves.
"""

import asyncio
import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from decimal import Decimal
from typing import Final, TypeVar

from pydantic import BaseModel, JsonValue

from activities.engaging import engaged
from canonical.deal import ContractLineType
from canonical.engagement import Engagement
from canonical.entries import EntryKind, EntryRef
from canonical.ids import billing_run_id, opportunity_to_project_id
from canonical.rating import Disposition
from embedded.configuration import ACCOUNT
from operations.composition import Office, load_policies
from simulators.kit.control import Control

T = TypeVar("T")

WAIT_SECONDS: Final = 60.0
LOOK_SECONDS: Final = 0.2
APPROVER: Final = "3"
T_AND_M, FIXED, MANAGED = (
    ContractLineType.TIME_AND_MATERIALS,
    ContractLineType.FIXED_FEE,
    ContractLineType.MANAGED_SERVICES,
)


@dataclass(frozen=True)
class Work:
    """What one person logs on one day."""

    who: str
    user_id: str
    day: str
    line: ContractLineType
    minutes: int = 0
    expense: int = 0
    """In whole units of the project's currency."""
    billable: bool = True


WEEK: Final = (
    Work("Aiko Tanaka", "5", "2026-12-07", T_AND_M, 480),
    Work("Aiko Tanaka", "5", "2026-12-08", T_AND_M, 450),
    Work("Aiko Tanaka", "5", "2026-12-09", FIXED, 360),
    Work("Aiko Tanaka", "5", "2026-12-10", T_AND_M, 60, billable=False),
    Work("Priya Nair", "6", "2026-12-08", T_AND_M, 133),
    Work("Priya Nair", "6", "2026-12-10", MANAGED, 180),
    Work("Maya Chen", "3", "2026-12-11", T_AND_M, 247),
    Work("Aiko Tanaka", "5", "2026-12-09", T_AND_M, expense=12_000),
)


class Billed(BaseModel):
    """What became of one entry."""

    entry: str
    who: str
    day: str
    logged: str
    becomes: str
    amount: str
    cost: str


class Week(BaseModel):
    """All that this part of the demo tells."""

    project: str
    project_id: str
    run: str
    outcome: str
    entries: list[Billed]
    to_bill: str
    charges: str
    """Sum of the charges on hold in the ERP."""
    equal: bool
    first_entry: str


async def bill_week(office: Office, control: Control, deal_id: str, name: str) -> Week:
    """Let a team log its week, approve it, and bill it by a run that is asked for."""
    project = await _project(control, deal_id)
    saga = opportunity_to_project_id(office.sagas.crm, deal_id)
    bundle = load_policies(office.config)
    (engagement, *_) = await engaged(office.store, office.psa, project, bundle)
    logged = await _log(control, project, engagement)
    await approve(control, project, logged)
    period = await until(lambda: _heard(office, project, len(logged)), f"the feed of {saga}")
    await office.billing.run(project, by="olivia")
    run = billing_run_id(office.psa, project, period, 1)
    outcome = await until(lambda: _ended(office, run), run)
    return await _told(office, control, (project, name), (run, outcome), logged)


async def _project(control: Control, deal_id: str) -> str:
    for record in await control.records("salesforce", ACCOUNT, type="Opportunity"):
        if record["id"] == deal_id:
            return str(record["fields"]["PSA_Project_Id__c"])
    raise LookupError(f"there is no opportunity {deal_id}")


async def _log(control: Control, project: str, engagement: Engagement) -> dict[EntryRef, Work]:
    """Log the week as people would, each entry on the task of its contract line."""
    tasks = {line.type: line.task_ids[0] for line in engagement.lines}
    found: dict[EntryRef, Work] = {}
    for work in WEEK:
        common: dict[str, JsonValue] = {
            "workspace_id": project,
            "user_id": work.user_id,
            "story_id": tasks[work.line],
        }
        if work.expense:
            spent: dict[str, JsonValue] = {
                "date": work.day,
                "category": "Travel",
                "amount_in_cents": work.expense,
            }
            made = await control.put_record("kantata", ACCOUNT, "expenses", {**common, **spent})
            found[EntryRef(kind=EntryKind.EXPENSE, id=made["id"])] = work
            continue
        hours: dict[str, JsonValue] = {
            "date_performed": work.day,
            "time_in_minutes": work.minutes,
            "billable": work.billable,
        }
        made = await control.put_record("kantata", ACCOUNT, "time_entries", {**common, **hours})
        found[EntryRef(kind=EntryKind.TIME, id=made["id"])] = work
    return found


async def approve(control: Control, project: str, logged: dict[EntryRef, Work]) -> None:
    """Submit each person's timesheet and expense report, and approve it."""
    sheets: dict[tuple[str, str], list[str]] = {}
    for ref, work in logged.items():
        type_ = (
            "expense_report_submissions"
            if ref.kind is EntryKind.EXPENSE
            else "timesheet_submissions"
        )
        sheets.setdefault((type_, work.user_id), []).append(ref.id)
    for (type_, user_id), ids in sheets.items():
        items: list[JsonValue] = [*ids]
        fields: dict[str, JsonValue] = {
            "workspace_id": project,
            "user_id": user_id,
            "line_item_ids": items,
        }
        made = await control.put_record("kantata", ACCOUNT, type_, fields)
        approved: dict[str, JsonValue] = {"status": "approved", "acting_user_id": APPROVER}
        await control.patch_record("kantata", ACCOUNT, type_, made["id"], approved)


async def _heard(office: Office, project: str, count: int) -> str:
    """Return the period once the feed, the inbox and the drain have told it of every entry."""
    view = await office.billing.view(project)
    return view.of.period if view is not None and view.waiting >= count else ""


async def _ended(office: Office, run: str) -> str:
    known = await office.store.sagas.state(run)
    return "" if known is None or known.outcome is None else known.outcome.value


async def until(look: Callable[[], Awaitable[T | None]], what: str) -> T:
    """Return what `look` finds, once it does.

    Raises:
        TimeoutError: it never did.
    """
    try:
        async with asyncio.timeout(WAIT_SECONDS):
            while True:
                if found := await look():
                    return found
                await asyncio.sleep(LOOK_SECONDS)
    except TimeoutError:
        raise TimeoutError(f"there was no end of waiting for {what}") from None


async def _told(
    office: Office,
    control: Control,
    project: tuple[str, str],
    run: tuple[str, str],
    logged: dict[EntryRef, Work],
) -> Week:
    entries = [await billed(office, ref, work) for ref, work in logged.items()]
    rows = await office.store.subledger.conservation(project[0])
    to_bill = sum((row.placed.get(Disposition.TO_BILL, Decimal(0)) for row in rows), Decimal(0))
    charges = sum(
        (
            Decimal(json.dumps(record["fields"]["amount"]))
            for record in await control.records("netsuite", ACCOUNT, type="charge")
            if record["live"]
        ),
        Decimal(0),
    )
    currency = rows[0].currency if rows else ""
    return Week(
        project=project[1],
        project_id=project[0],
        run=run[0],
        outcome=run[1],
        entries=entries,
        to_bill=f"{to_bill:,} {currency}",
        charges=f"{charges.normalize():,f} {currency}",
        equal=to_bill == charges,
        first_entry=next(iter(logged)).id,
    )


async def billed(office: Office, ref: EntryRef, work: Work) -> Billed:
    """Return what became of an entry, by the subledger."""
    traced = await office.store.subledger.trace(office.psa, ref)
    held = [hold for hold in traced.holds if hold.released_at is None]
    return Billed(
        entry=ref.id,
        who=work.who,
        day=work.day,
        logged=f"{work.minutes} min" if work.minutes else f"{work.expense:,}",
        becomes=", ".join(str(part.disposition) for part in traced.parts)
        or ", ".join(f"held: {hold.reason}" for hold in held),
        amount=" + ".join(str(part.amount) for part in traced.parts),
        cost=" + ".join(f"{cost.amount} ({cost.legal_entity})" for cost in traced.costs),
    )
