"""What people ask: why is it not billed, what happened to it, do the sums hold."""

from decimal import Decimal

from canonical.entries import HoldReason
from canonical.rating import Disposition
from store import Store
from tests.store.billing import (
    PROJECT,
    PSA,
    SEEN,
    claim,
    contract,
    hand_over,
    ref,
    run_key,
    time_entry,
    usd,
)


async def test_why_tells_state_hold_run_and_contract(store: Store) -> None:
    assert (await store.subledger.why(PSA, ref("1"))).state == "unknown"
    await store.entries.take_in([time_entry("1")], SEEN)
    assert (await store.subledger.why(PSA, ref("1"))).engagement is None
    await store.engagements.put(contract())
    key = await claim(store)
    await store.subledger.hold(PSA, [ref("1")], owner="maya@example.com", because="disputed")

    why = await store.subledger.why(PSA, ref("1"))

    assert (why.state, why.run_key, why.run_state) == ("claimed", key, "claimed")
    assert (why.period, why.engagement) == ("2026-11", "salesforce/006")
    assert [(hold.reason, hold.owner) for hold in why.holds] == [
        (HoldReason.BY_HAND, "maya@example.com")
    ]


async def test_trace_tells_every_move_with_its_run(store: Store) -> None:
    await store.engagements.put(contract())
    await store.entries.take_in([time_entry("1")], SEEN)
    await hand_over(store)

    trace = await store.subledger.trace(PSA, ref("1"))

    assert [(move.track, move.to_state, move.act) for move in trace.moves] == [
        ("entry", "approved", "take_in"),
        ("entry", "claimed", "claim"),
        ("entry", "rated", "rate"),
        ("cost", "pending", "rate"),
        ("part", "placed", "place"),
        ("entry", "placed", "place"),
    ]
    assert {move.run_key for move in trace.moves[1:]} == {run_key()}
    assert trace.approved_as == (time_entry("1"),)
    assert [(part.disposition, part.amount) for part in trace.parts] == [
        (Disposition.TO_BILL, usd(120))
    ]
    assert trace.costs[0].rate_source == "hcm:E1003"
    assert trace.versions[0].handed_over_at is not None


async def test_holds_released_are_kept_in_the_history(store: Store) -> None:
    await store.entries.take_in([time_entry("1")], SEEN)
    assert await store.subledger.hold(PSA, [ref("1")], owner="maya@example.com") == 1
    assert await store.subledger.hold(PSA, [ref("1")], owner="luca@example.com") == 0
    await store.subledger.unhold(PSA, [ref("1")], by="luca@example.com")
    await store.subledger.hold(PSA, [ref("1")], owner="sam@example.com")

    trace = await store.subledger.trace(PSA, ref("1"))

    assert [(hold.owner, hold.released_by) for hold in trace.holds] == [
        ("maya@example.com", "luca@example.com"),
        ("sam@example.com", None),
    ]


async def test_conservation_names_every_disposition(store: Store) -> None:
    await store.engagements.put(contract(cap=100, prepaid=100))
    entries = [
        time_entry("1"),
        time_entry("2", task_id="101"),
        time_entry("3", task_id="102"),
        time_entry("4", billable=False),
    ]
    await store.entries.take_in(entries, SEEN)
    await hand_over(store)

    (row,) = await store.subledger.conservation(PROJECT)

    assert (row.client_id, row.legal_entity, row.currency) == ("C1", "US", "USD")
    assert row.entries == 4
    assert (row.rated, row.difference) == (Decimal(480), Decimal(0))
    assert row.placed == {
        Disposition.TO_BILL: 100,
        Disposition.DRAWN_FROM_RETAINER: 100,
        Disposition.OVER_CAP: 40,
        Disposition.COVERED_BY_FIXED_FEE: 120,
        Disposition.NON_BILLABLE: 120,
    }
    assert await store.subledger.conservation("another") == ()
    assert await store.subledger.conservation() == (row,)


async def test_standing_counts_by_state_and_hold(store: Store) -> None:
    await store.entries.take_in([time_entry(str(n)) for n in range(1, 4)], SEEN)
    await store.subledger.hold(PSA, [ref("1")], owner="maya@example.com")

    standing = await store.subledger.standing(PSA, PROJECT)

    assert [(each.state, each.held, each.entries) for each in standing] == [
        ("approved", False, 2),
        ("approved", True, 1),
    ]
