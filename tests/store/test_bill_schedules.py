"""What contracts make due by themselves: caught up after an outage, never twice, refusals told."""

from datetime import UTC, date, datetime
from decimal import Decimal

import pytest

from activities.schedules import ScheduleActivities
from canonical.bill_schedules import BilledSchedules, BillProject
from canonical.engagement import Engagement
from canonical.saga import WorkItem, WorkItemKind
from canonical.schedules import MonthlyFeeTerms
from policies.bundle import load_bundle
from policies.schedules.due import due as really_due
from store import Store
from tests.store.billing import PROJECT, PSA, usd
from tests.store.invoicing import billed_contract

BUNDLE = load_bundle(None)
OF = BillProject(project=f"{PSA}/{PROJECT}")


def contract(value: int, **fee: object) -> Engagement:
    """Return a contract whose two fixed lines have a monthly fee of 100 each."""
    terms = MonthlyFeeTerms.model_validate(
        {
            "currency": "USD",
            "fee": Decimal(100),
            "start": date(2026, 1, 1),
            "timing": "in_advance",
            **fee,
        }
    )
    made = billed_contract()
    fixed = next(line for line in made.lines if line.ref == "FIX")
    lines = tuple(
        fixed.model_copy(update={"ref": ref, "schedule": terms, "value": usd(worth)})
        for ref, worth in (("FIX", value), ("FIX2", 10_000))
    )
    return made.model_copy(update={"lines": lines, "effective_from": date(2026, 1, 1)})


async def bill(store: Store, *, on: date) -> BilledSchedules:
    now = datetime(on.year, on.month, on.day, 12, tzinfo=UTC)
    return await ScheduleActivities(store, lambda _psa: BUNDLE, lambda: now).bill_schedule(OF)


async def waiting(store: Store) -> list[WorkItem]:
    return [stored.item for stored in await store.work_items.list()]


async def test_an_outage_is_caught_up_and_nothing_billed_twice(store: Store) -> None:
    await store.engagements.put(contract(10_000))
    assert (await bill(store, on=date(2026, 1, 15))).fees == 2
    assert (await bill(store, on=date(2026, 4, 15))).fees == 6
    assert (await bill(store, on=date(2026, 4, 16))).fees == 0
    free = await store.drafts.billables(on=date(2026, 5, 1))
    assert len({each.fee for each in free}) == len(free) == 8
    assert await waiting(store) == []


async def test_a_line_beyond_its_contract_waits_for_a_person_until_it_is_amended(
    store: Store,
) -> None:
    await store.engagements.put(contract(150))
    billed = await bill(store, on=date(2026, 2, 15))
    assert billed.fees == 3
    assert [each.partition(":")[0] for each in billed.refused] == [f"{PSA}/{PROJECT} line FIX"]
    (item,) = await waiting(store)
    assert item.kind is WorkItemKind.SCHEDULE
    assert "Line FIX of contract" in item.failure.message
    assert (item.client_id, item.project_code) == ("C1", PROJECT)

    assert (await bill(store, on=date(2026, 2, 16))).refused
    assert await waiting(store) == [item]

    await store.engagements.put(contract(1_000))
    assert (await bill(store, on=date(2026, 2, 17))).fees == 1
    assert await waiting(store) == []

    await store.engagements.put(contract(150))
    await bill(store, on=date(2026, 3, 15))
    (again,) = await waiting(store)
    assert again.id != item.id


async def test_a_line_that_cannot_be_worked_out_holds_up_none_other(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    await store.engagements.put(contract(10_000))

    def due(*args: object, line: str) -> object:
        if line == "FIX":
            raise KeyError("a defect")
        return really_due(*args, line=line)  # type: ignore[arg-type]

    monkeypatch.setattr("activities.schedules.due", due)
    billed = await bill(store, on=date(2026, 1, 15))
    assert billed.fees == 1
    assert "can't be worked out (KeyError" in billed.refused[0]
    assert len(await waiting(store)) == 1
