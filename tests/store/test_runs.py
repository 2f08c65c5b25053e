"""Runs: claim, rate, place, hand over, and back; each twice is once, two at once are apart."""

import asyncio
from datetime import date

import pytest
from sqlalchemy import event, text

from canonical.billing import ChargeBatch
from canonical.entries import EntryKind, HoldReason
from canonical.money import Money
from canonical.records import RecordRef
from canonical.time_to_billing import RatedRun
from store import Store
from store.database import Database
from store.errors import Conflict, GenerationClosed, NotFound, StoreError
from store.tracks import PartRef, PostingLine, PreparedBatch
from tests.store.billing import (
    DAY,
    PERIOD,
    PROJECT,
    PSA,
    SEEN,
    allocate,
    claim,
    claim_and_rate,
    contract,
    hand_over,
    place,
    rate,
    ref,
    run_key,
    time_entry,
    usd,
)


async def approve(store: Store, count: int = 3, project: str = PROJECT) -> None:
    entries = [time_entry(str(n), project_id=project) for n in range(1, count + 1)]
    await store.entries.take_in(entries, SEEN)


async def test_runs_of_period_count_from_one_and_asked_again_is_the_same(store: Store) -> None:
    numbers = [await store.runs.open(PSA, PROJECT, PERIOD, after) for after in (0, 0)]
    await claim(store, 1)

    assert numbers == [1, 1]
    assert await store.runs.open(PSA, PROJECT, PERIOD, 1) == 2
    assert await store.runs.last_number(PSA, PROJECT, PERIOD) == 2
    assert await store.runs.last_number(PSA, PROJECT, "2026-12") == 0


async def test_claim_takes_approved_entries_in_order_of_approval(store: Store) -> None:
    await approve(store)

    first = await store.runs.claim(run_key(), PSA, PROJECT, PERIOD)
    await store.entries.take_in([time_entry("4")], SEEN)
    again = await store.runs.claim(run_key(), PSA, PROJECT, PERIOD)

    assert (first.count, first.left) == (3, 0)
    assert (again.count, again.content_hash, again.left) == (3, first.content_hash, 1)
    assert [entry.id for entry in await store.runs.load(run_key())] == ["1", "2", "3"]


async def test_claim_up_to_limit_leaves_the_rest(store: Store) -> None:
    await approve(store, 5)

    claimed = await store.runs.claim(run_key(), PSA, PROJECT, PERIOD, limit=2)

    assert (claimed.count, claimed.left) == (2, 3)
    assert [entry.id for entry in await store.runs.load(run_key())] == ["1", "2"]


async def test_held_entry_is_not_claimed_until_released(store: Store) -> None:
    await approve(store, 2)
    await store.subledger.hold(PSA, [ref("1")], owner="maya@example.com")

    assert [e.id for e in await store.runs.load(await claim(store, 1))] == ["2"]

    assert await store.subledger.unhold(PSA, [ref("1")], by="sam@example.com") == 1
    assert [e.id for e in await store.runs.load(await claim(store, 2))] == ["1"]


async def test_held_while_claimed_is_seen_by_run(store: Store) -> None:
    await approve(store, 2)
    key = await claim(store)

    await store.subledger.hold(PSA, [ref("2")], owner="maya@example.com")

    assert await store.runs.changed(key) == (ref("2"),)


async def test_two_runs_claiming_at_once_share_nothing_and_leave_nothing(store: Store) -> None:
    await approve(store, 60)

    keys = await asyncio.gather(*(claim(store, number) for number in range(1, 5)))

    loaded = [entry.id for key in keys for entry in await store.runs.load(key)]
    assert len(loaded) == 60
    assert len(set(loaded)) == 60


async def test_release_twice_is_once_and_entries_are_free(store: Store) -> None:
    await approve(store)
    key = await claim_and_rate(store)

    assert (await store.runs.release(key)).released == 3
    assert (await store.runs.release(key)).released == 0
    assert len(await store.runs.load(await claim(store, 2))) == 3


async def test_released_generation_claims_nothing_and_next_one_does(store: Store) -> None:
    await approve(store)
    key = await claim(store)
    await store.runs.release(key)

    with pytest.raises(GenerationClosed):
        await claim(store)
    await claim(store, generation=2)
    assert len(await store.runs.load(key)) == 3
    assert (await store.runs.release(key, 1)).released == 0
    assert len(await store.runs.load(key)) == 3


async def test_release_before_claim_is_nothing(store: Store) -> None:
    assert (await store.runs.release(run_key())).released == 0


async def test_rated_entries_stay_and_held_ones_leave_with_the_reason(store: Store) -> None:
    await approve(store)
    key = await claim(store)
    rated = rate(await store.runs.load(key), {"2": HoldReason.NO_RATE})

    first = await store.runs.store_rated(key, rated)
    again = await store.runs.store_rated(key, rated)

    assert first == again == RatedRun(rated=2, held=1, amounts=(usd(240),))
    assert [entry.id for entry in await store.runs.load(key)] == ["1", "3"]
    why = await store.subledger.why(PSA, ref("2"))
    assert (why.state, why.holds[0].reason) == ("approved", HoldReason.NO_RATE)


async def test_rating_of_other_entries_is_refused(store: Store) -> None:
    await approve(store)
    key = await claim(store)

    with pytest.raises(Conflict):
        await store.runs.store_rated(key, rate([time_entry("1"), time_entry("2")]))
    with pytest.raises(Conflict):
        await store.runs.store_rated(
            key, rate([time_entry("1", 61), time_entry("2"), time_entry("3")])
        )


async def test_placed_twice_asks_policy_once(store: Store) -> None:
    await store.engagements.put(contract())
    await approve(store)
    key = await claim_and_rate(store)

    first = await store.runs.place(key, allocate, DAY)
    again = await store.runs.place(key, lambda *_: pytest.fail("asked again"), DAY)

    assert first == again
    assert [str(amount.amount) for amount in first.amounts] == ["360.00 USD"]
    assert [len(entry.parts) for entry in await store.runs.placed(key)] == [1, 1, 1]


async def test_place_without_engagement_says_so(store: Store) -> None:
    await store.engagements.put(contract(effective_from=date(2026, 12, 1)))
    await approve(store)

    with pytest.raises(NotFound, match="no engagement"):
        await place(store)


async def test_parts_that_are_not_the_rated_amount_are_refused_at_commit(store: Store) -> None:
    await store.engagements.put(contract())
    await approve(store)
    key = await claim_and_rate(store)

    def short(*given: object) -> object:
        allocation = allocate(*given)  # type: ignore[arg-type]
        part = allocation.parts[0][0].model_copy(update={"amount": usd("119.99")})
        return allocation.model_copy(update={"parts": ((part,), *allocation.parts[1:])})

    with pytest.raises(StoreError, match="rated amount"):
        await store.runs.place(key, short, DAY)  # type: ignore[arg-type]
    assert await store.runs.placed(key) == ()


async def test_unplaced_twice_and_placed_again(store: Store) -> None:
    await store.engagements.put(contract(cap=300))
    await approve(store)
    key = await place(store)
    before = await store.runs.placed(key)

    await store.runs.unplace(key)
    await store.runs.unplace(key)
    assert await store.runs.placed(key) == ()
    await store.runs.place(key, allocate, DAY)

    assert await store.runs.placed(key) == before


async def test_handed_over_run_goes_no_way_back(store: Store) -> None:
    await store.engagements.put(contract())
    await approve(store)
    key = await hand_over(store)

    with pytest.raises(Conflict):
        await store.runs.unplace(key)
    with pytest.raises(Conflict):
        await store.runs.release(key)


async def test_run_with_nothing_to_bill_is_handed_over_too(store: Store) -> None:
    key = await claim(store)
    await store.runs.store_rated(key, [])

    assert (await store.runs.hand_over(key)).amounts == ()


def prepared(*lines: PostingLine, kind: str = "charges") -> PreparedBatch:
    project = RecordRef(system="netsuite", type="project", id="7001")
    document = ChargeBatch(project=project, charges=()).model_dump_json()
    return PreparedBatch.model_validate(
        {
            "kind": kind,
            "number": 1,
            "connection": "netsuite",
            "document": document,
            "lines": lines,
        }
    )


def line(item: str, amount: Money, *ids: str, number: int = 1) -> PostingLine:
    parts = tuple(PartRef(entry=ref(each), number=number) for each in ids)
    return PostingLine(item=item, amount=amount, parts=parts)


async def test_charges_and_costs_are_posted_once_and_taken_back_before_their_parts(
    store: Store,
) -> None:
    await store.engagements.put(contract())
    await approve(store)
    key = await place(store)
    charges = prepared(line("a", usd(240), "1", "2"), line("b", usd(120), "3"))
    costs = prepared(line("c", usd(285), "1", "2", "3", number=0), kind="costs")
    await store.runs.prepare(key, [charges, costs])
    await store.runs.prepare(key, [charges])
    batch = await store.runs.batch(key, "charges", 1, ChargeBatch)
    assert batch.project.id == "7001"

    for _ in range(2):
        await store.runs.charges_posted(key, {"a": "dt-a", "b": "dt-b"})
        await store.runs.costs_posted(key, {"c": "dt-c"})

    (first, _) = await store.runs.lines(key, "charges")
    assert (first.external_id, [part.entry.id for part in first.parts]) == ("dt-a", ["1", "2"])
    trace = await store.subledger.trace(PSA, ref("1"))
    assert [cost.state for cost in trace.costs] == ["posted"]
    assert trace.parts[0].charge == "dt-a"
    with pytest.raises(StoreError, match="posted or handed over"):
        await store.runs.unplace(key)

    assert await store.runs.charges_removed(key) == 2
    await store.runs.unplace(key)
    with pytest.raises(Conflict, match="reversed first"):
        await store.runs.release(key)
    assert await store.runs.costs_reversed(key, ["dt-c"]) == 1
    assert await store.runs.costs_reversed(key, ["dt-c"]) == 0
    await store.runs.release(key)

    await place(store, 2)
    trace = await store.subledger.trace(PSA, ref("1"))
    assert [cost.state for cost in trace.costs] == ["reversed", "pending"]


async def test_line_that_is_not_the_sum_of_its_parts_is_refused(store: Store) -> None:
    await store.engagements.put(contract())
    await approve(store)
    key = await place(store)

    with pytest.raises(Conflict, match="sum"):
        await store.runs.prepare(key, [prepared(line("a", usd(241), "1", "2"))])
    with pytest.raises(Conflict, match="stands for"):
        await store.runs.prepare(
            key, [prepared(line("a", usd(120), "1"), line("b", usd(120), "1"))]
        )


async def test_wanted_people_and_terms_are_those_of_the_entries(store: Store) -> None:
    await store.engagements.put(contract())
    taxi = {"amount": "30.00", "currency": "EUR"}
    entries = [
        time_entry("1"),
        time_entry("2", service_date=date(2026, 10, 30), person_email="Sam@example.com"),
        time_entry("3", 0, kind=EntryKind.EXPENSE, amount=taxi),
    ]
    await store.entries.take_in(entries, SEEN)
    key = await claim(store)

    people = await store.runs.wanted_people(key)
    terms = await store.runs.wanted_terms(key)

    assert people.emails == ("maya.chen@example.com", "sam@example.com")
    assert (terms.days, terms.currencies) == ((date(2026, 10, 30), DAY), ("EUR", "USD"))


@pytest.mark.parametrize(
    "forbidden",
    [
        "UPDATE moves SET to_state = 'approved'",
        "DELETE FROM moves",
        "TRUNCATE moves",
        "DELETE FROM entry_versions",
        "UPDATE entry_evidence SET record = ''",
        "UPDATE entry_versions SET minutes = minutes + 1",
        "UPDATE entry_versions SET state = 'approved', run_key = NULL, handed_over_at = NULL",
        "UPDATE parts SET state = 'invoiced'",
        "UPDATE parts SET amount = amount + 1",
        "UPDATE parts SET disposition = 'written_off'",
        "DELETE FROM parts",
        "UPDATE cost_track SET state = 'posted', posting = NULL",
        "UPDATE cost_track SET amount = 0",
        "UPDATE ratings SET amount = amount + 1",
        "DELETE FROM retainers",
    ],
)
async def test_database_itself_refuses(store: Store, database: Database, forbidden: str) -> None:
    await store.engagements.put(contract())
    await approve(store)
    await hand_over(store)

    with pytest.raises(StoreError):
        await database.run(text(forbidden))


async def test_500_entries_take_as_few_statements_as_5(store: Store) -> None:
    await store.engagements.put(contract(cap=1_000_000))
    seen: list[object] = []
    engine = store.database.engine.sync_engine
    event.listen(engine, "before_cursor_execute", lambda *call: seen.append(call[2]))
    counts = []
    for number, size in ((1, 5), (2, 500)):
        entries = [time_entry(str(number * 1000 + n)) for n in range(size)]
        seen.clear()
        await store.entries.take_in(entries, SEEN)
        await hand_over(store, number)
        counts.append(len(seen))

    assert counts[0] == counts[1] < 60
