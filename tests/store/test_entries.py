"""Taking in: every version once, one of them live, and what the PSA changes at a bad moment."""

import asyncio
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import text

from canonical.entries import Entry, EntryKind, HoldReason
from canonical.time_to_billing import TakenIn
from store import Store
from store.database import Database
from store.errors import StoreError
from store.tracks import PartRef, PostingLine, PreparedBatch
from tests.store.billing import (
    DAY,
    PSA,
    SEEN,
    allocate,
    claim,
    contract,
    hand_over,
    place,
    ref,
    time_entry,
    usd,
)

LATER = SEEN + timedelta(hours=1)


async def states(store: Store, entry_id: str = "1") -> list[str]:
    trace = await store.subledger.trace(PSA, ref(entry_id))
    return [version.state for version in trace.versions]


def unapproved(entry: Entry) -> Entry:
    return entry.model_copy(update={"approved": False, "approved_at": None})


async def test_same_version_taken_in_twice_changes_nothing(store: Store) -> None:
    first = await store.entries.take_in([time_entry("1")], SEEN)
    again = await store.entries.take_in([time_entry("1"), time_entry("1")], LATER)

    assert first == TakenIn(read=1, approved=1)
    assert again == TakenIn(read=2, unchanged=1)
    assert len((await store.subledger.trace(PSA, ref("1"))).moves) == 1


async def test_newer_version_before_billing_supersedes_older(store: Store) -> None:
    await store.entries.take_in([time_entry("1", 60)], SEEN)

    taken = await store.entries.take_in([time_entry("1", 90)], LATER)

    assert taken == TakenIn(read=1, approved=1, superseded=1)
    assert await states(store) == ["withdrawn", "approved"]


async def test_older_content_that_comes_back_is_the_same_version_again(store: Store) -> None:
    for minutes in (60, 90, 60):
        await store.entries.take_in([time_entry("1", minutes)], SEEN)

    assert await states(store) == ["approved", "withdrawn"]
    assert len((await store.subledger.trace(PSA, ref("1"))).approved_as) == 3


async def test_unapproved_before_billing_is_withdrawn_and_approved_again_is_back(
    store: Store,
) -> None:
    await store.entries.take_in([time_entry("1")], SEEN)

    gone = await store.entries.take_in([unapproved(time_entry("1"))], LATER)
    assert gone == TakenIn(read=1, withdrawn=1)
    assert (await store.subledger.why(PSA, ref("1"))).state == "withdrawn"

    back = await store.entries.take_in([time_entry("1")], LATER)
    assert back.approved == 1
    assert await states(store) == ["approved"]


async def test_unapproved_while_claimed_is_seen_by_run_and_withdrawn_once_released(
    store: Store,
) -> None:
    await store.entries.take_in([time_entry("1"), time_entry("2")], SEEN)
    key = await claim(store)

    await store.entries.take_in([unapproved(time_entry("1"))], LATER)
    assert await store.runs.changed(key) == (ref("1"),)
    assert await states(store) == ["claimed"]

    released = await store.runs.release(key)
    assert (released.released, released.withdrawn) == (1, 1)
    assert await states(store) == ["withdrawn"]


async def test_unapproved_and_approved_again_while_claimed_is_as_claimed(store: Store) -> None:
    await store.entries.take_in([time_entry("1")], SEEN)
    key = await claim(store)
    await store.entries.take_in([unapproved(time_entry("1"))], LATER)

    await store.entries.take_in([time_entry("1")], LATER)

    assert await store.runs.changed(key) == ()


async def test_newer_version_while_claimed_waits_until_run_lets_go(store: Store) -> None:
    await store.entries.take_in([time_entry("1", 60)], SEEN)
    key = await claim(store)

    await store.entries.take_in([time_entry("1", 90)], LATER)
    assert await states(store) == ["claimed", "waiting"]
    assert await store.runs.changed(key) == (ref("1"),)

    await store.runs.release(key)
    assert await states(store) == ["withdrawn", "approved"]


async def test_change_after_billing_is_finding_and_moves_nothing(store: Store) -> None:
    await store.engagements.put(contract())
    await store.entries.take_in([time_entry("1", 60)], SEEN)
    await hand_over(store)

    taken = await store.entries.take_in([time_entry("1", 90)], LATER)
    again = await store.entries.take_in([time_entry("1", 90)], LATER)

    assert (taken.findings, again.findings) == (1, 0)
    (finding,) = await store.subledger.findings(PSA)
    assert finding.finding == "changed_after_billing"
    assert await states(store) == ["placed"]


async def test_changed_between_verify_and_hand_over_is_finding_not_second_billing(
    store: Store,
) -> None:
    await store.engagements.put(contract())
    await store.entries.take_in([time_entry("1", 60)], SEEN)
    key = await place(store)
    await store.entries.take_in([time_entry("1", 90)], LATER)

    await store.runs.hand_over(key)

    assert await states(store) == ["placed", "withdrawn"]
    assert len(await store.subledger.findings(PSA)) == 1


async def test_entry_on_foreign_invoice_is_held_and_free_again_when_invoice_is_gone(
    store: Store,
) -> None:
    billed = time_entry("1", reservation_id="INV-77")

    taken = await store.entries.take_in([billed], SEEN)
    why = await store.subledger.why(PSA, ref("1"))
    assert (taken.approved, taken.findings) == (1, 1)
    assert [hold.reason for hold in why.holds] == [HoldReason.BILLED_OUTSIDE]
    assert (await store.runs.load(await claim(store))) == ()

    await store.entries.take_in([time_entry("1")], LATER)
    why = await store.subledger.why(PSA, ref("1"))
    assert (why.holds, why.findings) == ((), ())


async def test_hold_for_an_invoice_in_the_erp_outlives_a_reading_in_the_psa(store: Store) -> None:
    key, item = await posted(store)
    assert await store.runs.billed_outside(key, "netsuite", {item: "INV-9"}) == (ref("1"),)
    await store.runs.billed_outside(key, "netsuite", {item: "INV-9"})
    await store.runs.charges_removed(key)
    await store.runs.unplace(key)
    await store.runs.release(key)

    await store.entries.take_in([time_entry("1")], LATER)
    why = await store.subledger.why(PSA, ref("1"))
    assert [hold.reason for hold in why.holds] == [HoldReason.BILLED_OUTSIDE]
    assert [each.detail[:27] for each in why.findings] == ["on invoice INV-9 of netsuit"]

    await store.subledger.unhold(PSA, [ref("1")], by="fiona")
    await store.entries.take_in([time_entry("1")], LATER)
    why = await store.subledger.why(PSA, ref("1"))
    assert (why.holds, why.findings) == ((), ())


async def test_charge_that_is_free_again_frees_its_entries(store: Store) -> None:
    key, item = await posted(store)
    await store.runs.billed_outside(key, "netsuite", {item: "INV-9"})

    await store.runs.billed_here(key, [item])

    why = await store.subledger.why(PSA, ref("1"))
    assert (why.holds, why.findings) == ((), ())


async def posted(store: Store) -> tuple[str, str]:
    """Place one entry and prepare its charge; return the run and the charge's item."""
    await store.engagements.put(contract())
    await store.entries.take_in([time_entry("1")], SEEN)
    key = await place(store)
    line = PostingLine(item="1", amount=usd(120), parts=(PartRef(entry=ref("1"), number=1),))
    batch = PreparedBatch(
        kind="charges", number=1, connection="netsuite", document="{}", lines=(line,)
    )
    await store.runs.prepare(key, [batch])
    await store.runs.charges_posted(key, {"1": "dt-1"})
    return key, "1"


async def test_another_address_of_the_same_person_is_the_same_version_read_again(
    store: Store,
) -> None:
    await store.entries.take_in([time_entry("1", person_email="maia@example.com")], SEEN)
    await store.subledger.hold(PSA, [ref("1")], owner="rating", reason=HoldReason.UNKNOWN_PERSON)

    for _ in range(2):
        await store.entries.take_in([time_entry("1", person_email="maya@example.com")], LATER)

    trace = await store.subledger.trace(PSA, ref("1"))
    assert [each.person_email for each in trace.approved_as] == [
        "maia@example.com",
        "maya@example.com",
    ]
    assert [each.state for each in trace.versions] == ["approved"]
    assert (await store.subledger.why(PSA, ref("1"))).holds == ()
    (entry,) = await store.runs.load(await claim(store))
    assert entry.person_email == "maya@example.com"


async def test_entry_on_our_own_reservation_is_no_finding(store: Store) -> None:
    await store.entries.take_in([time_entry("1")], SEEN)
    await store.runs.reserved(await claim(store), "INV-1")

    taken = await store.entries.take_in(
        [time_entry("1", reservation_id="INV-1"), time_entry("2", reservation_id="INV-1")], LATER
    )

    assert taken.findings == 0


async def test_hold_by_hand_goes_over_to_newer_version_and_hold_by_rating_does_not(
    store: Store,
) -> None:
    await store.entries.take_in([time_entry("1", 60), time_entry("2", 60)], SEEN)
    await store.subledger.hold(PSA, [ref("1")], owner="maya@example.com", because="disputed")
    await store.subledger.hold(PSA, [ref("2")], owner="rating", reason=HoldReason.BAD_QUANTITY)

    await store.entries.take_in([time_entry("1", 90), time_entry("2", 90)], LATER)

    assert len((await store.subledger.why(PSA, ref("1"))).holds) == 1
    assert (await store.subledger.why(PSA, ref("2"))).holds == ()


async def test_vanished_before_billing_is_withdrawn_and_its_hold_follows_the_work(
    store: Store,
) -> None:
    await store.entries.take_in([time_entry("1")], SEEN)
    await store.subledger.hold(PSA, [ref("1")], owner="maya@example.com")
    await store.entries.vanished(PSA, [ref("1")], LATER)

    await store.entries.take_in([time_entry("9")], LATER)

    assert await states(store) == ["withdrawn"]
    assert len((await store.subledger.why(PSA, ref("9"))).holds) == 1
    assert (await store.subledger.trace(PSA, ref("1"))).versions[0].superseded_by == "9"


@pytest.mark.parametrize("new_first", [True, False])
async def test_work_billed_under_vanished_id_is_held_under_new_one(
    store: Store, new_first: bool
) -> None:
    await store.engagements.put(contract())
    await store.entries.take_in([time_entry("1")], SEEN)
    await hand_over(store)
    if new_first:
        await store.entries.take_in([time_entry("9")], LATER)
        await store.entries.vanished(PSA, [ref("1")], LATER)
    else:
        await store.entries.vanished(PSA, [ref("1")], LATER)
        await store.entries.take_in([time_entry("9")], LATER)

    (hold,) = (await store.subledger.why(PSA, ref("9"))).holds
    assert hold.reason is HoldReason.BILLED_OUTSIDE
    assert "time:1" in hold.because
    assert await store.runs.load(await claim(store, 2)) == ()


async def test_adjustment_names_what_it_adjusts(store: Store) -> None:
    adjustment = time_entry("5", -30, kind=EntryKind.ADJUSTMENT, adjusts="1")
    await store.entries.take_in([time_entry("1"), adjustment], SEEN)

    trace = await store.subledger.trace(PSA, ref("1"))

    assert trace.adjusted_by == (ref("5", EntryKind.ADJUSTMENT),)


async def test_two_take_the_same_in_at_once_one_version_stands(store: Store) -> None:
    entries = [time_entry(str(number)) for number in range(40)]

    taken = await asyncio.gather(*(store.entries.take_in(entries, SEEN) for _ in range(4)))

    assert sum(each.approved for each in taken) == 40
    assert sum(each.unchanged for each in taken) == 120


async def test_known_expenses_are_live_ones(store: Store) -> None:
    expense: dict[str, Any] = {"kind": EntryKind.EXPENSE, "receipt": "R-1"}
    lunch = {"amount": "41.50", "currency": "EUR"}
    await store.entries.take_in([time_entry("1", **expense, amount=lunch)], SEEN)

    (known,) = await store.entries.known_expenses(PSA, "5001")

    assert (str(known.amount), known.receipt) == ("41.50 EUR", "R-1")


class Reversed:
    """A cipher that anybody could break."""

    def encrypt(self, data: bytes) -> bytes:
        return data[::-1]

    def decrypt(self, data: bytes) -> bytes:
        return data[::-1]


async def test_evidence_is_encrypted_and_read_back_as_it_was(database: Database) -> None:
    store = Store(database, Reversed())
    await store.entries.take_in([time_entry("1")], SEEN)

    (row,) = await database.rows(text("SELECT record FROM entry_evidence"))
    assert b"Workshop" not in row.record
    assert await store.runs.load(await claim(store)) == (time_entry("1"),)
    with pytest.raises(StoreError, match="no key"):
        await Store(database).subledger.trace(PSA, ref("1"))


async def test_entry_that_moves_to_another_project_is_billed_there_only(store: Store) -> None:
    await store.entries.take_in([time_entry("1")], SEEN)

    await store.entries.take_in([time_entry("1", project_id="5002")], LATER)

    assert await store.runs.load(await claim(store)) == ()
    moved = await store.runs.load(await claim(store, 1, "5002"))
    assert [(entry.id, entry.project_id) for entry in moved] == [("1", "5002")]


async def test_entry_gone_from_one_project_stays_where_it_went(store: Store) -> None:
    await store.entries.take_in([time_entry("1", project_id="5002")], SEEN)

    taken = await store.entries.vanished(PSA, [ref("1")], LATER, "5001")

    assert (taken.withdrawn, await states(store)) == (0, ["approved"])


async def test_change_noted_again_while_it_is_read_stays_on_list(store: Store) -> None:
    await store.changes.note(PSA, "5001", [ref("1"), ref("2"), ref("1")])
    noted = await store.changes.noted(PSA, "5001")
    await store.changes.note(PSA, "5001", [ref("1")])

    await store.changes.forget(PSA, "5001", noted.until)

    assert noted.entries == (ref("1"), ref("2"))
    assert (await store.changes.noted(PSA, "5001")).entries == (ref("1"),)


async def test_handed_over_twice_says_the_same(store: Store) -> None:
    await store.engagements.put(contract())
    await store.entries.take_in([time_entry("1")], SEEN)
    key = await hand_over(store)

    assert await store.runs.hand_over(key) == await store.runs.place(key, allocate, DAY)
