"""Caps and retainers under concurrent runs, undone in any order: never exceeded, never negative."""

import asyncio
from collections.abc import Sequence
from decimal import Decimal

import pytest
from sqlalchemy import text

from canonical.drafts import LineState
from canonical.engagement import CapBase
from canonical.entries import Entry, EntryKind
from canonical.rating import Rated
from canonical.standing import Allocation, CapStanding, CapWarning, RetainerStanding
from store import Store
from store.database import Database
from store.errors import Conflict
from tests.store.billing import (
    DAY,
    PROJECT,
    PSA,
    SEEN,
    allocate,
    claim_and_rate,
    contract,
    hand_over,
    place,
    time_entry,
    usd,
)
from tests.store.invoicing import (
    act,
    billed,
    billed_contract,
    deciding,
    invoice_of,
    items_of,
    off,
    opened,
    release,
    written_down,
)

CAPS = text("SELECT * FROM caps ORDER BY id")
RETAINERS = text("SELECT *, prepaid - drawn AS balance FROM retainers")


def adjustment(entry_id: str, minutes: int, task: str = "100") -> Entry:
    return time_entry(entry_id, minutes, kind=EntryKind.ADJUSTMENT, adjusts="1", task_id=task)


async def dispositions(store: Store, key: str) -> dict[str, Decimal]:
    found: dict[str, Decimal] = {}
    for entry in await store.runs.placed(key):
        for part in entry.parts:
            found[part.disposition.value] = (
                found.get(part.disposition.value, Decimal(0)) + part.amount.amount
            )
    return found


async def test_excess_over_cap_is_its_own_part(store: Store, database: Database) -> None:
    await store.engagements.put(contract(cap=200))
    await store.entries.take_in([time_entry("1"), time_entry("2")], SEEN)

    key = await place(store)

    assert await dispositions(store, key) == {"to_bill": 200, "over_cap": 40}
    (cap,) = await database.rows(CAPS)
    assert (cap.reserved, cap.pending, cap.amount) == (200, 200, 200)


async def test_unplaced_run_gives_cap_and_retainer_back(store: Store, database: Database) -> None:
    await store.engagements.put(contract(cap=200, shared_cap=150, prepaid=100))
    await store.entries.take_in([time_entry("1"), time_entry("2", task_id="101")], SEEN)
    key = await place(store)
    assert await dispositions(store, key) == {
        "to_bill": 120,
        "drawn_from_retainer": 100,
        "over_cap": 20,
    }

    await store.runs.unplace(key)

    assert {cap.reserved for cap in await database.rows(CAPS)} == {0}
    (retainer,) = await database.rows(RETAINERS)
    assert (retainer.balance, retainer.pending) == (100, 0)


async def test_cap_shared_by_runs_placed_at_once_is_never_exceeded(
    store: Store, database: Database
) -> None:
    projects = [f"50{number:02}" for number in range(1, 9)]
    for number, project in enumerate(projects):
        await store.engagements.put(contract(shared_cap=1000, project=project))
        ids = [str(number * 10 + n) for n in range(1, 4)]
        await store.entries.take_in([time_entry(n, project_id=project) for n in ids], SEEN)
    keys = await asyncio.gather(*(claim_and_rate(store, 1, project) for project in projects))

    await asyncio.gather(*(store.runs.place(key, allocate, DAY) for key in keys))

    totals = [await dispositions(store, key) for key in keys]
    assert sum(total.get("to_bill", 0) for total in totals) == 1000
    assert sum(total.get("over_cap", 0) for total in totals) == 8 * 360 - 1000
    (cap,) = await database.rows(CAPS)
    assert cap.reserved == 1000


async def test_allocation_that_exceeds_cap_is_refused_by_database(store: Store) -> None:
    await store.engagements.put(contract(cap=100))
    await store.entries.take_in([time_entry("1")], SEEN)
    key = await claim_and_rate(store)

    def greedy(
        rated: Sequence[Rated],
        caps: Sequence[CapStanding],
        retainers: Sequence[RetainerStanding],
    ) -> Allocation:
        return allocate(rated, (), retainers)

    with pytest.raises(Conflict, match="not_exceeded"):
        await store.runs.place(key, greedy, DAY)


async def test_warnings_are_told_of_runs_that_stand(store: Store) -> None:
    await store.engagements.put(contract(cap=120))
    await store.entries.take_in([time_entry("1")], SEEN)
    key = await claim_and_rate(store)

    def warned(
        rated: Sequence[Rated],
        caps: Sequence[CapStanding],
        retainers: Sequence[RetainerStanding],
    ) -> Allocation:
        warning = CapWarning(cap="line", percent=80, ref=rated[0].ref, text="used to 80 %")
        return allocate(rated, caps, retainers).model_copy(update={"warnings": (warning,)})

    await store.runs.place(key, warned, DAY)
    (told,) = await store.subledger.warnings(PSA, PROJECT)
    assert (told.run_key, told.number, told.text) == (key, 1, "used to 80 %")
    assert await store.subledger.warnings(PSA, "another") == ()
    await store.runs.unplace(key)
    assert await store.subledger.warnings(PSA, PROJECT) == ()


async def test_what_a_run_gives_back_is_free_only_once_it_is_handed_over(
    store: Store, database: Database
) -> None:
    await store.engagements.put(contract(cap=120))
    await store.entries.take_in([time_entry("1")], SEEN)
    await hand_over(store, 1)
    await store.entries.take_in([adjustment("2", -30)], SEEN)
    giving = await place(store, 2)
    assert await dispositions(store, giving) == {"to_bill": -60}

    await store.entries.take_in([time_entry("3")], SEEN)
    taking = await place(store, 3)
    assert await dispositions(store, taking) == {"over_cap": 120}
    await store.runs.unplace(giving)
    await store.runs.place(giving, allocate, DAY)
    await store.runs.hand_over(giving)

    (cap,) = await database.rows(CAPS)
    assert (cap.reserved, cap.relieving) == (60, 0)
    await store.runs.unplace(taking)
    await store.runs.place(taking, allocate, DAY)
    assert await dispositions(store, taking) == {"to_bill": 60, "over_cap": 60}


async def test_what_is_written_off_counts_against_no_cap(store: Store, database: Database) -> None:
    await store.engagements.put(billed_contract(cap=240))
    first, second = await billed(store, "1", "2")
    draft = await opened(store, [first], [second])

    await act(store, draft.id, deciding("write_down", off(LineState.WRITTEN_OFF, 2)))

    (cap,) = await database.rows(CAPS)
    assert (cap.drafted, cap.reserved) == (120, 0)
    await store.entries.take_in([time_entry("3")], SEEN)
    assert await dispositions(store, await place(store, 2)) == {"to_bill": 120}


async def test_what_is_written_down_counts_until_its_invoice_is_issued(
    store: Store, database: Database
) -> None:
    await store.engagements.put(billed_contract(cap=120))
    draft = await opened(store, await billed(store, "1"))
    await act(store, draft.id, deciding("write_down", written_down(1, 20)))
    out = await release(store, draft.id)
    (cap,) = await database.rows(CAPS)
    assert (cap.drafted, cap.invoiced) == (120, 0)

    await store.invoices.posted(out.id, 1, invoice_of(out), items_of(out))

    (cap,) = await database.rows(CAPS)
    assert (cap.drafted, cap.invoiced) == (0, 100)
    assert (await store.fees.standing("salesforce/006", "TM")).taken == usd(100)
    await store.entries.take_in([time_entry("2")], SEEN)
    assert await dispositions(store, await place(store, 2)) == {"to_bill": 20, "over_cap": 100}


async def test_an_adjustment_on_its_way_keeps_what_it_gives_back(
    store: Store, database: Database
) -> None:
    await store.engagements.put(billed_contract(cap=120))
    draft = await opened(store, await billed(store, "1"))
    await store.entries.take_in([adjustment("2", -60)], SEEN)
    giving = await place(store, 2)
    assert await dispositions(store, giving) == {"to_bill": -120}

    await act(store, draft.id, deciding("write_down", off(LineState.WRITTEN_OFF, 1)))
    (cap,) = await database.rows(CAPS)
    assert (cap.reserved, cap.relieving) == (120, 120)
    await store.runs.hand_over(giving)

    (cap,) = await database.rows(CAPS)
    assert (cap.reserved, cap.relieving) == (0, 0)


async def test_nothing_is_given_back_that_may_still_be_undone(
    store: Store, database: Database
) -> None:
    await store.engagements.put(contract(prepaid=500))
    await store.entries.take_in([time_entry("1", task_id="101")], SEEN)
    drawing = await place(store, 1)
    await store.entries.take_in([adjustment("2", -60, "101")], SEEN)
    giving = await place(store, 2)
    assert await dispositions(store, giving) == {"over_cap": -120}

    await store.runs.unplace(drawing)
    await store.runs.hand_over(giving)

    (retainer,) = await database.rows(RETAINERS)
    assert (retainer.balance, retainer.drawn) == (500, 0)


async def test_retainer_movements_sum_to_its_balance(store: Store, database: Database) -> None:
    await store.engagements.put(contract(prepaid=500))
    await store.entries.take_in([time_entry("1", 120, task_id="101")], SEEN)
    await hand_over(store, 1)
    await store.entries.take_in([adjustment("2", -60, "101")], SEEN)
    await hand_over(store, 2)
    await store.entries.take_in([time_entry("3", task_id="101")], SEEN)
    await store.runs.unplace(await place(store, 3))
    await store.engagements.put(contract(prepaid=700))
    await store.entries.take_in([time_entry("4", task_id="101")], SEEN)
    await store.runs.release(await claim_and_rate(store, 4))
    await hand_over(store, 5)

    (row,) = await database.rows(text("SELECT sum(amount) AS sum FROM retainer_movements"))
    (retainer,) = await database.rows(RETAINERS)
    # Run 3 still holds its entry, unplaced: 500 - 240 + 120 + 200 - 120.
    assert row.sum == retainer.balance == 460


async def test_cap_of_fees_counts_no_expense(store: Store) -> None:
    engagement = contract(cap=100)
    (line, *rest) = engagement.lines
    fees = line.caps[0].model_copy(update={"base": CapBase.FEES})
    capped = line.model_copy(update={"caps": (fees,)})
    await store.engagements.put(engagement.model_copy(update={"lines": (capped, *rest)}))
    hotel = {"amount": "300.00", "currency": "USD"}
    entry = time_entry("1", 0, kind=EntryKind.EXPENSE, amount=hotel)
    await store.entries.take_in([entry, time_entry("2")], SEEN)

    assert await dispositions(store, await place(store)) == {"to_bill": 400, "over_cap": 20}


async def test_cap_lowered_below_what_is_consumed_lets_nothing_more_through(
    store: Store,
) -> None:
    await store.engagements.put(contract(cap=240))
    await store.entries.take_in([time_entry("1")], SEEN)
    await hand_over(store, 1)
    await store.engagements.put(contract(cap=50))
    await store.entries.take_in([time_entry("2")], SEEN)

    key = await place(store, 2)

    assert await dispositions(store, key) == {"over_cap": 120}
    assert await store.subledger.conservation(PROJECT)
    assert (await store.subledger.standing(PSA, PROJECT))[0].entries == 1
