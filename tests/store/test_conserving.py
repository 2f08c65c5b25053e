"""The conservation check finds what was planted past the triggers, and nothing in a sound store."""

from decimal import Decimal

import pytest
from sqlalchemy import text

from canonical.client_pos import PoLine
from canonical.reconciliation import Candidate, FindingCode
from store import Store
from store.reconciliation import Scope
from tests.store.billing import SEEN, usd
from tests.store.invoicing import billed, billed_contract, opened, po


async def worked(store: Store) -> None:
    """Make a draft of one hour; a second hour waits."""
    await store.engagements.put(billed_contract())
    first, _ = await billed(store, "1", "2")
    await opened(store, [first])


async def planted(store: Store, statement: str) -> None:
    """Change a row as nobody may: with the triggers off."""
    async with store.database.transaction() as session:
        for table in ("ratings", "parts", "draft_lines", "caps", "holds"):
            await session.execute(text(f"ALTER TABLE {table} DISABLE TRIGGER USER"))
        await session.execute(text(statement))


async def checked(store: Store) -> tuple[Candidate, ...]:
    run = await store.reconciliation.open(Scope(), now=SEEN, resume_since=SEEN, by="", heal=False)
    await store.conserving.check(run.run)
    return await store.staging.candidates(run.run, 0, 100)


async def test_a_sound_store_is_conserved_and_shows_where_the_money_is(store: Store) -> None:
    await worked(store)
    assert await checked(store) == ()
    (balance,) = await store.conserving.balances()
    assert (balance.entries, balance.rated, balance.difference) == (2, Decimal(240), Decimal(0))
    assert balance.to_bill == balance.billed + balance.queued + balance.held == Decimal(240)


async def test_what_is_held_is_shown_as_held(store: Store) -> None:
    await worked(store)
    hold = "INSERT INTO holds (source, kind, entry_id, reason, owner) VALUES {}"
    await planted(store, hold.format("('kantata', 'time', '2', 'manual', 'olivia')"))
    (balance,) = await store.conserving.balances()
    assert (balance.held, balance.queued) == (Decimal(120), Decimal(120))


@pytest.mark.parametrize(
    ("statement", "codes"),
    [
        ("UPDATE ratings SET amount = amount + 1", {FindingCode.DISPOSITIONS_DIFFER}),
        (
            "UPDATE parts SET state = 'released' WHERE state = 'drafted'",
            {FindingCode.PART_ASTRAY},
        ),
        ("UPDATE draft_lines SET amount = amount + 0.01", {FindingCode.LINE_DIFFERS}),
        ("UPDATE caps SET reserved = reserved + 1", {FindingCode.CAP_MISCOUNTED}),
        (
            (
                "INSERT INTO parts (entry, cycle, number, disposition, amount, currency, run_key) "
                "SELECT entry, cycle, 9, 'to_bill', 5, currency, run_key FROM parts LIMIT 1"
            ),
            {FindingCode.DISPOSITIONS_DIFFER, FindingCode.WIP_DIFFERS},
        ),
    ],
)
async def test_a_planted_row_is_found_as_what_it_breaks(
    store: Store, statement: str, codes: set[FindingCode]
) -> None:
    await store.engagements.put(billed_contract(cap=1_000))
    first, _ = await billed(store, "1", "2")
    await opened(store, [first])
    assert await checked(store) == ()
    await planted(store, statement)
    found = await checked(store)
    assert {each.code for each in found} == codes
    assert all(each.rows for each in found)


async def test_a_line_of_a_client_po_that_was_miscounted_is_found(store: Store) -> None:
    await store.engagements.put(billed_contract(client_po="PO-1"))
    line = PoLine(number="10", amount=usd(500), contract_lines=("TM",))
    await store.client_pos.put(po(1_000, lines=(line,)))
    await opened(store, await billed(store, "1"))
    assert await checked(store) == ()
    await planted(store, "UPDATE client_po_lines SET drafted = 1 WHERE place = 1")
    (found,) = await checked(store)
    assert found.code is FindingCode.PO_MISCOUNTED
    assert found.rows[0].note.endswith("take 120.00 of 500, line 10")
