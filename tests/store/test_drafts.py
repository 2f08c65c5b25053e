"""Drafts: opened whole or not at all, changed once per act, never two for one amount."""

import asyncio
from datetime import date, timedelta
from decimal import Decimal
from typing import cast

import pytest
from sqlalchemy import text
from temporalio.client import Client

from canonical.drafts import BillableKind, DraftState, LineState
from canonical.fees import FeeSource
from operations.people import Refused
from operations.queue import QueueDesk
from store import Store
from store.database import Database
from store.draft_change import Change, LockedDrafts
from store.errors import Conflict, NotFound
from tests.store.billing import PERIOD, PROJECT, PSA, hand_over, place, ref, time_entry, usd
from tests.store.billing import SEEN as AT
from tests.store.invoicing import (
    LUCA,
    MAYA,
    ON,
    act,
    billed,
    billed_contract,
    change_of,
    deciding,
    draft_of,
    fee,
    merge,
    off,
    opened,
    refusing,
    release,
    returned,
    split_off,
    states,
    written_down,
)

RUN = "milestone-to-invoice/kantata/M1"
CAP = text("SELECT reserved, drafted, invoiced, credited FROM caps")


async def test_billable_tells_all_that_a_line_needs(store: Store) -> None:
    await store.engagements.put(billed_contract(client_po="PO-1"))

    (billable,) = await billed(store, "1")

    assert billable.ref.kind is BillableKind.PART
    assert (billable.engagement, billable.line, billable.client_id) == (
        "salesforce/006",
        "TM",
        "C1",
    )
    assert (billable.erp, billable.erp_client_id, billable.erp_project_id) == (
        *("netsuite", "501", "701"),
    )
    assert (billable.amount, billable.minutes, billable.kind) == (usd(120), 60, "time")
    assert (billable.person, billable.narrative) == (
        *("maya.chen@example.com", "Workshop with the client"),
    )
    assert (billable.approved_by, billable.client_po, billable.cycle) == (("9",), "PO-1", 1)
    assert billable.entry == ref("1")


async def test_billable_fee_comes_with_its_line(store: Store) -> None:
    await store.engagements.put(billed_contract())
    await store.fees.reserve(RUN, fee())
    assert await store.drafts.billables() == ()
    (id_,) = await store.fees.hand_over(RUN)

    (billable,) = await store.drafts.billables(psa=PSA, client_id="C1")

    assert (billable.ref.id, billable.kind, billable.fee) == (id_, "milestone", "kantata/M1")
    assert (billable.legal_entity, billable.erp, billable.amount) == ("US", "netsuite", usd(1000))
    assert await store.drafts.billables(client_id="another") == ()


async def test_only_what_is_handed_over_to_bill_and_free_is_billable(store: Store) -> None:
    await store.engagements.put(billed_contract(cap=100, prepaid=100))
    entries = [time_entry("1"), time_entry("2", task_id="101"), time_entry("3", task_id="102")]
    await store.entries.take_in(entries, AT)
    await place(store)
    assert await store.drafts.billables() == ()

    await store.runs.hand_over("billing-run/kantata/5001/2026-11/1")

    assert [each.amount for each in await store.drafts.billables()] == [usd(100)]
    await store.subledger.hold(PSA, [ref("1")], owner=MAYA)
    assert await store.drafts.billables() == ()


async def test_line_as_of_the_service_date_counts(store: Store) -> None:
    await store.engagements.put(billed_contract())
    later = billed_contract(effective_from=date(2026, 11, 4))
    lines = tuple(line.model_copy(update={"tax_category": "new"}) for line in later.lines)
    await store.engagements.put(later.model_copy(update={"lines": lines}))
    await store.entries.take_in([time_entry("1"), time_entry("2", service_date=ON)], AT)
    await hand_over(store)

    assert [each.tax_category for each in await store.drafts.billables()] == ["", "new"]


async def test_opened_draft_holds_its_amounts(store: Store, database: Database) -> None:
    await store.engagements.put(billed_contract(cap=500))
    first, second = await billed(store, "1", "2")

    draft = await opened(store, [first, second])

    assert await store.drafts.billables() == ()
    assert await store.drafts.get(draft.id) == draft
    assert set((await states(store, [first.ref, second.ref])).values()) == {"drafted"}
    (cap,) = await database.rows(CAP)
    assert tuple(cap) == (0, 240, 0, 0)
    assert [entry.act for entry in await store.audit.trail(draft.id)] == ["open"]
    assert await store.drafts.open([draft]) == (draft.id,)


async def test_draft_of_something_taken_is_skipped_whole(store: Store) -> None:
    await store.engagements.put(billed_contract())
    first, second, third = await billed(store, "1", "2", "3")

    created = await store.drafts.open(
        [
            draft_of([first], number=1),
            draft_of([first, second], number=2),
            draft_of([third], number=3),
        ]
    )

    assert [id_.rpartition("/")[2] for id_ in created] == ["1", "3"]
    assert [each.ref for each in await store.drafts.billables()] == [second.ref]


async def test_drafts_opened_at_once_share_nothing(store: Store) -> None:
    await store.engagements.put(billed_contract())
    free = await billed(store, *map(str, range(1, 7)))

    answers = await asyncio.gather(
        *(store.drafts.open([draft_of([free[n]], [free[n + 1]], number=n + 1)]) for n in range(5))
    )

    lines = [ref for ids in answers for id_ in ids
             for line in (await store.drafts.get(id_)).lines for ref in line.bills]  # fmt: skip
    assert len(lines) == len(set(lines)) >= 4


async def test_numbers_of_a_prefix_are_counted_once(store: Store) -> None:
    numbers = await asyncio.gather(
        *(store.drafts.next_number("invoice-draft/US") for _ in range(9))
    )

    assert sorted(numbers) == list(range(1, 10))
    assert await store.drafts.next_number("invoice-draft/DE") == 1


async def test_same_act_again_is_answered_the_same_and_changes_nothing(store: Store) -> None:
    await store.engagements.put(billed_contract())
    draft = await opened(store, await billed(store, "1"))
    decide = deciding("review", lambda each: each.model_copy(update={"title": "November"}))

    first = await store.drafts.change([draft.id], decide, act_id="A")
    again = await store.drafts.change([draft.id], decide, act_id="A")

    assert first == again
    assert (await store.drafts.get(draft.id)).version == 2
    assert [entry.act for entry in await store.audit.trail(draft.id)] == ["open", "review"]


async def test_refusal_is_kept_and_in_the_trail(store: Store) -> None:
    await store.engagements.put(billed_contract())
    draft = await opened(store, await billed(store, "1"))

    answer = await store.drafts.change([draft.id], refusing, act_id="A")
    again = await store.drafts.change(
        [draft.id], deciding("release", lambda each: each), act_id="A"
    )

    assert answer == again
    assert not again.taken
    assert await store.drafts.get(draft.id) == draft
    trail = await store.audit.trail(draft.id)
    assert [(entry.act, entry.actor) for entry in trail][1:] == [("release_refused", MAYA)]


async def test_held_line_is_held_until_released(store: Store, database: Database) -> None:
    await store.engagements.put(billed_contract(cap=500))
    first, second = await billed(store, "1", "2")
    draft = await opened(store, [first], [second])

    await act(store, draft.id, deciding("hold", off(LineState.HELD, 1)))

    assert await states(store, [first.ref, second.ref]) == {
        first.ref: "placed",
        second.ref: "drafted",
    }
    (hold,) = (await store.subledger.why(PSA, ref("1"))).holds
    assert (hold.owner, hold.because) == (LUCA, "asked for")
    (cap,) = await database.rows(CAP)
    assert tuple(cap) == (120, 120, 0, 0)
    assert await store.drafts.billables() == ()
    await store.subledger.unhold(PSA, [ref("1")], by=MAYA)
    assert [each.ref for each in await store.drafts.billables()] == [first.ref]


async def test_deferred_line_waits_for_its_day(store: Store) -> None:
    await store.engagements.put(billed_contract())
    draft = await opened(store, await billed(store, "1"))
    until = ON + timedelta(days=31)

    await act(store, draft.id, deciding("defer", off(LineState.DEFERRED, 1, until=until)))

    assert (await store.drafts.get(draft.id)).state is DraftState.EMPTY
    assert await store.drafts.billables(on=until - timedelta(days=1)) == ()
    assert len(await store.drafts.billables(on=until)) == 1


async def test_written_off_line_is_never_billed(store: Store) -> None:
    await store.engagements.put(billed_contract())
    first, second = await billed(store, "1", "2")
    draft = await opened(store, [first], [second])

    await act(store, draft.id, deciding("write_down", off(LineState.WRITTEN_OFF, 2)))

    assert await store.drafts.billables(on=ON + timedelta(days=999)) == ()
    assert await store.drafts.open([draft_of([second], number=2)]) == ()
    assert (await states(store, [second.ref]))[second.ref] == "placed"


async def test_write_down_is_shared_out_to_the_cent(store: Store, database: Database) -> None:
    await store.engagements.put(billed_contract())
    free = await billed(store, "1", "2", "3")
    draft = await opened(store, free)

    await act(store, draft.id, deciding("write_down", written_down(1, "100.01")))

    rows = await database.rows(text("SELECT amount, written_down FROM draft_members ORDER BY part"))
    assert [row.amount for row in rows] == [120, 120, 120]
    assert [row.written_down for row in rows] == [
        *(Decimal("33.34"), Decimal("33.34"), Decimal("33.33")),
    ]
    assert (await store.drafts.get(draft.id)).net == usd("259.99")


async def test_split_moves_lines_to_a_sibling(store: Store) -> None:
    await store.engagements.put(billed_contract())
    first, second = await billed(store, "1", "2")
    await store.drafts.next_number(draft_of([first]).id.rpartition("/")[0])
    draft = await opened(store, [first], [second])

    answer = await act(store, draft.id, split_off(2))

    (made,) = answer.made
    assert made == f"{draft.id.rpartition('/')[0]}/2"
    family = await store.drafts.family(draft.id)
    assert [(each.id, each.net, each.family) for each in family] == [
        (draft.id, usd(120), draft.id),
        (made, usd(120), draft.id),
    ]
    assert set((await states(store, [first.ref, second.ref])).values()) == {"drafted"}
    assert [entry.act for entry in await store.audit.trail(made)] == ["split"]


async def test_family_is_locked_and_shown_to_the_decision(store: Store) -> None:
    await store.engagements.put(billed_contract())
    first, second = await billed(store, "1", "2")
    draft = await opened(store, [first], [second])
    await store.drafts.next_number(draft.id.rpartition("/")[0])
    (made,) = (await act(store, draft.id, split_off(2))).made
    seen: list[LockedDrafts] = []

    def look(locked: LockedDrafts) -> Change:
        seen.append(locked)
        return refusing(locked)

    await act(store, made, look)

    assert [each.id for each in seen[0].drafts] == [made]
    assert [each.id for each in seen[0].family] == [draft.id, made]


async def test_merged_draft_ends_and_its_lines_go_over(store: Store) -> None:
    await store.engagements.put(billed_contract())
    first, second = await billed(store, "1", "2")
    one = await opened(store, [first], number=1)
    other = await opened(store, [second], number=2)

    await act(store, one.id, merge, other.id)

    assert (await store.drafts.get(one.id)).net == usd(240)
    assert (await store.drafts.get(other.id)).state is DraftState.MERGED
    assert set((await states(store, [first.ref, second.ref])).values()) == {"drafted"}


async def test_decision_sees_what_is_held_and_withdrawn_since(store: Store) -> None:
    await store.engagements.put(billed_contract())
    await store.fees.reserve(RUN, fee())
    await store.fees.hand_over(RUN)
    milestone, hours = await billed(store, "1")
    draft = await opened(store, [milestone], [hours])
    await store.subledger.hold(PSA, [ref("1")], owner=MAYA, because="disputed")
    await store.fees.withdraw(FeeSource.MILESTONE, "kantata/M1", "un-approved")
    seen: list[LockedDrafts] = []

    def look(locked: LockedDrafts) -> Change:
        seen.append(locked)
        return refusing(locked)

    await act(store, draft.id, look)

    assert seen[0].held == {
        hours.ref: "by_hand: disputed",
        milestone.ref: "withdrawn: un-approved",
    }


async def test_fee_held_by_a_draft_is_free_once_released(store: Store) -> None:
    await store.engagements.put(billed_contract())
    await store.fees.reserve(RUN, fee())
    await store.fees.hand_over(RUN)
    draft = await opened(store, await store.drafts.billables())

    await act(store, draft.id, deciding("hold", off(LineState.HELD, 1)))

    assert await store.drafts.billables() == ()
    item = (FeeSource.MILESTONE, "kantata/M1")
    assert await store.fees.unhold(*item, by=MAYA)
    assert not await store.fees.unhold(*item, by=MAYA)
    assert len(await store.drafts.billables()) == 1


async def test_release_and_return_move_what_is_billed(store: Store, database: Database) -> None:
    await store.engagements.put(billed_contract(cap=500))
    (first,) = await billed(store, "1")
    draft = await opened(store, [first])

    await release(store, draft.id)
    assert (await states(store, [first.ref]))[first.ref] == "released"
    await act(store, draft.id, deciding("returned", returned))

    assert (await states(store, [first.ref]))[first.ref] == "drafted"
    assert (await store.drafts.get(draft.id)).returned == "closed"
    (cap,) = await database.rows(CAP)
    assert tuple(cap) == (0, 120, 0, 0)


async def test_line_withdrawn_by_a_return_is_free_and_held(store: Store) -> None:
    await store.engagements.put(billed_contract())
    first, second = await billed(store, "1", "2")
    draft = await opened(store, [first], [second])
    await release(store, draft.id)

    await act(
        store,
        draft.id,
        deciding("returned", lambda each: off(LineState.HELD, 1)(returned(each))),
    )

    assert await states(store, [first.ref, second.ref]) == {
        first.ref: "placed",
        second.ref: "drafted",
    }


async def test_acts_at_once_are_taken_one_after_the_other(store: Store) -> None:
    await store.engagements.put(billed_contract())
    draft = await opened(store, await billed(store, "1"))
    decide = deciding("edit", lambda each: each.model_copy(update={"title": each.title + "x"}))

    await asyncio.gather(*(act(store, draft.id, decide) for _ in range(6)))

    after = await store.drafts.get(draft.id)
    assert (after.version, after.title) == (7, "xxxxxx")


async def test_drafts_are_listed_and_due(store: Store) -> None:
    await store.engagements.put(billed_contract())
    first, second = await billed(store, "1", "2")
    one = await opened(store, [first], number=1, state=DraftState.IN_REVIEW)
    two = await opened(store, [second], number=2)

    assert [each.id for each in await store.drafts.list()] == [one.id, two.id]
    assert await store.drafts.list([DraftState.QUEUED]) == (two,)
    assert await store.drafts.list(legal_entity="DE") == ()
    assert await store.drafts.list(reviewer=MAYA, limit=1, offset=1) == (two,)
    with pytest.raises(NotFound):
        await store.drafts.get("nothing")


async def test_decision_that_contradicts_itself_is_refused(store: Store) -> None:
    await store.engagements.put(billed_contract())
    first, second = await billed(store, "1", "2")
    draft = await opened(store, [first])
    more = draft_of([first], [second])

    def grabs(locked: LockedDrafts) -> Change:
        return change_of(locked, [more.model_copy(update={"version": 2})], "edit")

    def raises_amount(locked: LockedDrafts) -> Change:
        line = draft.lines[0].model_copy(update={"amount": usd(121)})
        return change_of(
            locked, [draft.model_copy(update={"lines": (line,), "version": 2})], "edit"
        )

    def same_version(locked: LockedDrafts) -> Change:
        return change_of(locked, [draft.model_copy(update={"title": "new"})], "edit")

    for decide, why in (
        (grabs, "was on none"),
        (raises_amount, "not the sum"),
        (same_version, "version"),
    ):
        with pytest.raises(Conflict, match=why):
            await act(store, draft.id, decide)
    assert await store.drafts.get(draft.id) == draft


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE parts SET state = 'placed' WHERE state = 'drafted'",
        "UPDATE parts SET state = 'released' WHERE state = 'drafted'",
        "UPDATE parts SET state = 'drafted' WHERE state = 'placed'",
        "UPDATE drafts SET state = 'released', released_hash = content_hash",
        "UPDATE drafts SET state = 'released'",
        "UPDATE drafts SET state = 'invoiced', released_hash = content_hash",
        "UPDATE drafts SET state = 'rejected'",
        "UPDATE drafts SET net = net + 1",
        "UPDATE drafts SET content_hash = 'x'",
        "UPDATE drafts SET version = 0",
        "UPDATE draft_lines SET amount = amount + 1",
        "UPDATE draft_lines SET written_down = 1",
        "UPDATE draft_lines SET state = 'held'",
        "UPDATE draft_members SET live = false",
        "UPDATE draft_members SET amount = amount + 1",
        "UPDATE draft_members SET credited = 500",
        (
            "INSERT INTO draft_members (draft, number, part, amount, live)"
            " SELECT draft, 2, part, amount, true FROM draft_members WHERE number = 1"
        ),
        "DELETE FROM draft_members",
        "DELETE FROM draft_lines",
        "DELETE FROM drafts",
        "UPDATE draft_acts SET answer = ''",
        "UPDATE draft_versions SET document = ''",
    ],
)
async def test_database_refuses(store: Store, database: Database, statement: str) -> None:
    await store.engagements.put(billed_contract())
    first, second, _third = await billed(store, "1", "2", "3")
    draft = await opened(store, [first], [second])
    await act(store, draft.id, deciding("edit", lambda each: each))

    with pytest.raises(Conflict):
        await database.run(text(statement))


async def test_five_thousand_billables_are_read_in_a_moment(store: Store) -> None:
    await store.engagements.put(billed_contract())
    await store.entries.take_in([time_entry(str(n)) for n in range(1, 1201)], AT)
    await hand_over(store)
    loop = asyncio.get_running_loop()
    began = loop.time()

    free = await store.drafts.billables()
    read = loop.time() - began
    draft = draft_of(*([each] for each in free[:1000]))
    assert await store.drafts.open([draft]) == (draft.id,)

    assert len(free) == 1200
    assert read < 3
    assert loop.time() - began < 10


async def test_a_draft_is_found_by_what_a_person_types_however_many_are_older(
    store: Store, database: Database
) -> None:
    await store.engagements.put(billed_contract())
    draft = await opened(store, await billed(store, "1"), number=7)
    await database.run(
        text("""
            INSERT INTO drafts (id, state, family, legal_entity, client_id, currency, period, net,
                gross, content_hash, document, made_at)
            SELECT 'invoice-draft/DE/9/EUR/old/2026-01/' || n, 'queued', 'old', 'DE', 'C9', 'EUR',
                '2026-01', 0, 0, 'x', jsonb_set(jsonb_set(CAST(document AS jsonb), '{title}',
                    to_jsonb('2026-01 old ' || n)), '{id}', to_jsonb('old/' || n)),
                now() - interval '1 day'
            FROM drafts, generate_series(100, 699) AS n
        """)
    )
    desk = QueueDesk(cast(Client, None), store)
    ending = f"project-{PROJECT}/{PERIOD}/7"

    assert await desk.find(ending) == draft
    assert (await desk.find("2026-01 old 699")).id == "old/699"
    with pytest.raises(Refused, match="There is no draft '2026-01 old 99'"):
        await desk.find("2026-01 old 99")
    assert len(await desk.list(tuple(DraftState), limit=1_000)) == 601
    with pytest.raises(Refused, match="There is no draft '%'"):
        await desk.find("%")
