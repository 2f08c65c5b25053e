"""Client POs: consumed as drafts go on, never exceeded once released, replaced by others."""

import asyncio

import pytest
from sqlalchemy import text

from canonical.client_pos import PoBasis
from canonical.drafts import LineState
from canonical.invoicing import BillingHold
from store import Store
from store.database import Database
from store.draft_change import Change, LockedDrafts
from store.errors import Conflict
from tests.store.billing import usd
from tests.store.invoicing import (
    MAYA,
    act,
    billed,
    billed_contract,
    deciding,
    draft_of,
    invoice_of,
    items_of,
    off,
    opened,
    po,
    refusing,
    release,
    released,
    returned,
)


async def figures(store: Store, number: str = "PO-1") -> tuple[object, ...]:
    standing = await store.client_pos.standing("C1", number)
    assert standing is not None
    sums = (standing.drafted, standing.released, standing.invoiced, standing.left)
    return tuple(each.amount for each in sums)


async def test_po_is_consumed_from_state_to_state(store: Store) -> None:
    await store.engagements.put(billed_contract(client_po="PO-1"))
    await store.client_pos.put(po(1000))
    first, second = await billed(store, "1", "2")

    draft = await opened(store, [first], [second])
    assert await figures(store) == (240, 0, 0, 1000)
    await act(store, draft.id, deciding("hold", off(LineState.HELD, 2)))
    assert await figures(store) == (120, 0, 0, 1000)
    out = await release(store, draft.id)
    assert await figures(store) == (0, 120, 0, 880)
    await store.invoices.posted(draft.id, 1, invoice_of(out), items_of(out))
    assert await figures(store) == (0, 0, 120, 880)


async def test_returned_draft_gives_the_po_back(store: Store) -> None:
    await store.engagements.put(billed_contract(client_po="PO-1"))
    await store.client_pos.put(po(1000))
    draft = await opened(store, await billed(store, "1"))
    await release(store, draft.id)

    await act(store, draft.id, deciding("returned", returned))

    assert await figures(store) == (120, 0, 0, 1000)


async def test_gross_po_counts_tax(store: Store) -> None:
    await store.engagements.put(billed_contract(client_po="PO-1"))
    await store.client_pos.put(po(1000, basis=PoBasis.GROSS))
    out = await opened(store, await billed(store, "1"))
    out = await release(store, out.id)

    await store.invoices.posted(out.id, 1, invoice_of(out), items_of(out))

    assert await figures(store) == (0, 0, 132, 868)


async def test_release_beyond_a_po_is_refused_by_the_database(store: Store) -> None:
    await store.engagements.put(billed_contract(client_po="PO-1"))
    await store.client_pos.put(po(100))
    draft = await opened(store, await billed(store, "1"))

    with pytest.raises(Conflict, match="not_exceeded"):
        await act(store, draft.id, deciding("release", released))

    assert await figures(store) == (120, 0, 0, 100)


async def test_releases_at_once_never_exceed_a_po(store: Store) -> None:
    await store.engagements.put(billed_contract(client_po="PO-1"))
    await store.client_pos.put(po(300))
    free = await billed(store, *map(str, range(1, 6)))
    drafts = [await opened(store, [each], number=n) for n, each in enumerate(free, 1)]

    answers = await asyncio.gather(
        *(act(store, each.id, deciding("release", released)) for each in drafts),
        return_exceptions=True,
    )

    assert sum(isinstance(each, Conflict) for each in answers) == 3
    assert await figures(store) == (360, 240, 0, 60)


async def test_decision_sees_the_po_under_lock(store: Store) -> None:
    await store.engagements.put(billed_contract(client_po="PO-1"))
    await store.client_pos.put(po(300))
    draft = await opened(store, await billed(store, "1"))
    await store.client_holds.put(BillingHold(client_id="C1", source="case/7", reason="angry"))
    seen: list[LockedDrafts] = []

    def look(locked: LockedDrafts) -> Change:
        seen.append(locked)
        return refusing(locked)

    await act(store, draft.id, look)

    assert seen[0].pos["PO-1"].drafted == usd(120)
    assert seen[0].client_holds == ("case/7: angry",)


async def test_replacing_po_takes_unreleased_drafts_over(store: Store) -> None:
    await store.engagements.put(billed_contract(client_po="PO-1"))
    await store.client_pos.put(po(1000))
    first, second, _third = await billed(store, "1", "2", "3")
    out = await opened(store, [first], number=1)
    await release(store, out.id)
    waiting = await opened(store, [second], number=2)

    standing = await store.client_pos.put(po(500, "PO-2", replaces="PO-1"))

    assert standing.drafted == usd(120)
    assert await figures(store) == (0, 120, 0, 880)
    moved = await store.drafts.get(waiting.id)
    assert (moved.client_po, moved.version) == ("PO-2", 2)
    assert moved.content_hash != waiting.content_hash
    assert (await store.drafts.get(out.id)).client_po == "PO-1"
    assert [each.client_po for each in await store.drafts.billables()] == ["PO-2"]
    assert [each.po.number for each in await store.client_pos.list("C1")] == ["PO-2"]
    assert len(await store.client_pos.list(replaced=True)) == 2
    assert [e.act for e in await store.audit.trail(waiting.id)] == ["open", "put_po"]


async def test_po_known_late_counts_what_was_drafted(store: Store) -> None:
    await store.engagements.put(billed_contract(client_po="PO-1"))
    await opened(store, await billed(store, "1"))

    assert await store.client_pos.standing("C1", "PO-1") is None
    assert (await store.client_pos.put(po(100))).drafted == usd(120)


async def test_lowered_po_lets_nothing_more_through(store: Store) -> None:
    await store.engagements.put(billed_contract(client_po="PO-1"))
    await store.client_pos.put(po(1000))
    first, second = await billed(store, "1", "2")
    out = await opened(store, [first], number=1)
    await release(store, out.id)

    standing = await store.client_pos.put(po(50))
    again = await store.client_pos.put(po(50))

    assert (standing.left, again) == (usd(-70), standing)
    other = await opened(store, [second], number=2)
    with pytest.raises(Conflict, match="not_exceeded"):
        await act(store, other.id, deciding("release", released))
    acts = [entry.act for entry in await store.audit.trail("C1/PO-1")]
    assert acts == ["put_po", "put_po"]


async def test_held_client_is_not_billable(store: Store) -> None:
    await store.engagements.put(billed_contract())
    (free,) = await billed(store, "1")
    hold = BillingHold(client_id="C1", source="case/7", reason="angry")

    assert await store.client_holds.put(hold)
    assert not await store.client_holds.put(hold)

    assert await store.drafts.billables() == ()
    assert [each.source for each in await store.client_holds.open("C1")] == ["case/7"]
    assert await store.client_holds.release("C1", "case/7", by=MAYA)
    assert not await store.client_holds.release("C1", "case/7", by=MAYA)
    assert [each.ref for each in await store.drafts.billables()] == [free.ref]
    assert await store.drafts.open([draft_of([free])])


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE client_pos SET released = 301",
        "UPDATE client_pos SET credited = 1",
        "UPDATE client_pos SET amount = -1",
        "DELETE FROM client_pos",
        "DELETE FROM client_holds",
        "UPDATE client_holds SET released_at = now()",
    ],
)
async def test_database_refuses(store: Store, database: Database, statement: str) -> None:
    await store.client_pos.put(po(300))
    await store.client_holds.put(BillingHold(client_id="C1", source="case/7"))

    with pytest.raises(Conflict):
        await database.run(text(statement))
