"""Lines of client POs: consumed for the contract lines that they name, and never exceeded."""

import asyncio
from decimal import Decimal

import pytest
from sqlalchemy import text

from activities.drafting import DraftActivities
from canonical.client_pos import ClientPo, PoBasis, PoLine, PoStanding
from canonical.draft_acts import ActOnDraft, Release
from canonical.drafts import Draft, LineState
from canonical.invoicing import CreditReason
from canonical.money import Money
from policies.bundle import load_bundle
from policies.po_lines import line_shortages
from policies.queue_case import Actor
from store import Store, migrations
from store.database import Database
from store.errors import Conflict
from tests.store.billing import usd
from tests.store.invoicing import (
    NOW,
    act,
    billed_contract,
    deciding,
    draft_of,
    fee,
    invoice_of,
    items_of,
    off,
    opened,
    po,
    release,
    released,
    returned,
    split_off,
)
from tests.store.test_credits import credit, through

LINES = ("TM", "FIX", "RET")
INES = Actor("ines", frozenset({"finance"}), "ines@example.com")


def po_line(number: str, amount: object, *contract_lines: str) -> PoLine:
    return PoLine(number=number, amount=usd(amount), contract_lines=contract_lines)


def lined(*lines: PoLine, amount: object = 10_000, **changes: object) -> ClientPo:
    return po(amount, lines=lines, **changes)  # type: ignore[arg-type]


async def standing_of(store: Store, number: str = "PO-1") -> PoStanding:
    standing = await store.client_pos.standing("C1", number)
    assert standing is not None
    return standing


async def figures(store: Store, number: str = "PO-1") -> dict[str, tuple[int | Decimal, ...]]:
    """Return drafted, released, invoiced, credited and left by PO line."""
    return {
        "+".join(line.numbers): (
            *(line.drafted.amount, line.released.amount, line.invoiced.amount),
            *(line.credited.amount, line.left.amount),
        )
        for line in (await standing_of(store, number)).lines
    }


async def drafted(store: Store, number: int = 1, **amounts: object) -> Draft:
    """Open a draft with one line for each contract line, as a milestone of that amount."""
    for line, amount in amounts.items():
        run = f"run-{number}-{line}"
        await store.fees.reserve(run, fee(f"kantata/{number}-{line}", amount, line=line))
        await store.fees.hand_over(run)
    free = {each.line: each for each in await store.drafts.billables()}
    await store.drafts.next_number(draft_of([*free.values()]).id.rpartition("/")[0])
    return await opened(store, *([free[line]] for line in amounts), number=number)


async def issued(store: Store, draft: Draft) -> Draft:
    out = await release(store, draft.id)
    await store.invoices.posted(draft.id, out.posting, invoice_of(out), items_of(out))
    return out


async def test_each_line_is_consumed_from_state_to_state(store: Store) -> None:
    await store.engagements.put(billed_contract(client_po="PO-1"))
    await store.client_pos.put(lined(po_line("10", 500, "TM"), po_line("20", 900, "FIX")))

    draft = await drafted(store, TM=120, FIX=800)
    assert await figures(store) == {
        "10": (120, 0, 0, 0, 500),
        "20": (800, 0, 0, 0, 900),
        "": (0, 0, 0, 0, 0),
    }
    await act(store, draft.id, deciding("hold", off(LineState.HELD, 2)))
    assert (await figures(store))["20"] == (0, 0, 0, 0, 900)
    out = await release(store, draft.id)
    assert (await figures(store))["10"] == (0, 120, 0, 0, 380)
    await store.invoices.posted(out.id, 1, invoice_of(out), items_of(out))
    assert (await figures(store))["10"] == (0, 0, 120, 0, 380)


async def test_a_returned_draft_gives_its_lines_back(store: Store) -> None:
    await store.engagements.put(billed_contract(client_po="PO-1"))
    await store.client_pos.put(lined(po_line("10", 500, "TM")))
    draft = await drafted(store, TM=120)
    await release(store, draft.id)

    await act(store, draft.id, deciding("returned", returned))

    assert (await figures(store))["10"] == (120, 0, 0, 0, 500)


async def test_contract_lines_that_no_line_names_share_one_pool(store: Store) -> None:
    await store.engagements.put(billed_contract(client_po="PO-1"))
    pool = (po_line("10", 200), po_line("30", 300))
    await store.client_pos.put(lined(pool[0], po_line("20", 900, "FIX"), pool[1]))

    draft = await drafted(store, TM=300, FIX=800, RET=200)
    await release(store, draft.id)

    assert await figures(store) == {"20": (0, 800, 0, 0, 100), "10+30": (0, 500, 0, 0, 0)}
    more = await drafted(store, 2, TM="0.01")
    with pytest.raises(Conflict, match="client_po_lines_not_exceeded"):
        await release(store, more.id)


async def test_a_line_is_never_exceeded_though_the_po_has_more(store: Store) -> None:
    await store.engagements.put(billed_contract(client_po="PO-1"))
    await store.client_pos.put(lined(po_line("10", 100, "TM"), po_line("20", 900)))
    draft = await drafted(store, TM=120)

    with pytest.raises(Conflict, match="client_po_lines_not_exceeded"):
        await act(store, draft.id, deciding("release", released))

    assert (await figures(store))["10"] == (120, 0, 0, 0, 100)


async def test_what_no_line_covers_is_not_released(store: Store) -> None:
    await store.engagements.put(billed_contract(client_po="PO-1"))
    await store.client_pos.put(lined(po_line("10", 500, "TM")))
    draft = await drafted(store, TM=120, FIX=1)

    with pytest.raises(Conflict, match="client_po_lines_not_exceeded"):
        await act(store, draft.id, deciding("release", released))

    answer = await act(store, draft.id, split_off(2))
    await release(store, draft.id)
    with pytest.raises(Conflict, match="client_po_lines_not_exceeded"):
        await act(store, answer.made[0], deciding("release", released))
    assert await figures(store) == {"10": (0, 120, 0, 0, 380), "": (1, 0, 0, 0, 0)}


async def test_who_releases_is_told_which_lines_are_short_until_the_po_suffices(
    store: Store,
) -> None:
    await store.engagements.put(billed_contract(client_po="PO-1"))
    await store.client_pos.put(lined(po_line("10", 100, "TM")))
    draft = await drafted(store, TM=120, FIX=1)
    bundle = load_bundle(None)
    desk = DraftActivities(store, lambda _erp: bundle, {INES.name: INES}, lambda: NOW)
    ask = Release(by=INES.name, content_hash=draft.content_hash)

    refused = await desk.act_on_draft(ActOnDraft(id="act-1", draft=draft.id, act=ask))
    short, uncovered = (each for each in refused.reasons if "client PO" in each)
    assert "line 10 of client PO PO-1 has 100.00 USD left (net), this needs 120.00 USD" in short
    assert uncovered.startswith("no line of client PO PO-1 covers contract line FIX")

    await store.client_pos.put(lined(po_line("10", 120, "TM"), po_line("20", 1)))
    answer = await desk.act_on_draft(ActOnDraft(id="act-2", draft=draft.id, act=ask))
    assert (answer.taken, answer.reasons) == (True, ())
    assert await figures(store) == {"10": (0, 120, 0, 0, 0), "20": (0, 1, 0, 0, 0)}


async def test_two_releases_at_once_over_one_line_let_one_pass(store: Store) -> None:
    await store.engagements.put(billed_contract(client_po="PO-1"))
    await store.client_pos.put(lined(po_line("10", 150, "TM"), po_line("20", 900)))
    drafts = [await drafted(store, number, TM=120) for number in (1, 2)]

    answers = await asyncio.gather(
        *(act(store, each.id, deciding("release", released)) for each in drafts),
        return_exceptions=True,
    )

    (refused,) = [each for each in answers if isinstance(each, BaseException)]
    assert isinstance(refused, Conflict)
    assert "client_po_lines_not_exceeded" in str(refused)
    assert (await figures(store))["10"] == (120, 120, 0, 0, 30)


async def test_a_credit_gives_its_line_back_and_a_rebill_takes_it_again(store: Store) -> None:
    await store.engagements.put(billed_contract(client_po="PO-1"))
    await store.client_pos.put(lined(po_line("10", 130, "TM"), po_line("20", 900, "FIX")))
    out = await issued(store, await drafted(store, TM=120, FIX=800))
    (tm,) = out.lines[0].bills

    (again,) = await through(store, credit((1, tm, 120), reason=CreditReason.REBILL))
    assert await figures(store) == {
        "10": (0, 0, 120, 120, 130),
        "20": (0, 0, 800, 0, 100),
        "": (0, 0, 0, 0, 0),
    }
    (free,) = await store.drafts.billables()
    assert free.ref == again
    rebill = await opened(store, [free], number=2)
    await release(store, rebill.id)
    assert (await figures(store))["10"] == (0, 120, 120, 120, 10)


async def test_a_gross_amount_is_shared_by_net_to_the_cent(store: Store) -> None:
    await store.engagements.put(billed_contract(client_po="PO-1"))
    lines = (po_line("10", 500, "TM"), po_line("20", 500, "FIX"), po_line("30", 500, "RET"))
    await store.client_pos.put(lined(*lines, basis=PoBasis.GROSS))

    # 110.01 gross: each rounded for itself, the shares would come to 110.00.
    out = await issued(store, await drafted(store, TM="33.34", FIX="33.33", RET="33.34"))

    found = await figures(store)
    assert [found[number][2] for number in ("10", "20", "30")] == [
        *(Decimal("36.67"), Decimal("36.67"), Decimal("36.67")),
    ]
    assert (await standing_of(store)).invoiced == usd("110.01")
    (fix,) = out.lines[1].bills
    await through(store, credit((2, fix, "30.00")))
    assert (await figures(store))["20"][3] == 33


async def test_what_is_told_before_is_what_the_database_refuses(store: Store) -> None:
    await store.engagements.put(billed_contract(client_po="PO-1"))
    wide = [po_line(name, 3000, name) for name in LINES]
    await store.client_pos.put(lined(*wide, basis=PoBasis.GROSS))
    draft = await drafted(store, TM="33.37", FIX="1000.01", RET="0.07")
    taxed = (
        line.model_copy(update={"expected_tax": usd(tax)})
        for line, tax in zip(draft.lines, ("6.34", "0.00", "0.01"), strict=True)
    )
    lines = tuple(taxed)
    await act(
        store, draft.id, deciding("adjust", lambda of: of.model_copy(update={"lines": lines}))
    )
    taken = {line.numbers[0]: line.drafted.amount for line in (await standing_of(store)).lines[:3]}
    assert (
        sum(taken.values()) == (await store.drafts.get(draft.id)).gross.amount == Decimal("1039.80")
    )

    for short in LINES:
        cent = {name: Decimal("0.01") if name == short else Decimal(0) for name in LINES}
        exact = [po_line(name, taken[name] - cent[name], name) for name in LINES]
        standing = await store.client_pos.put(lined(*exact, basis=PoBasis.GROSS))
        (told,) = line_shortages(await store.drafts.get(draft.id), standing)
        assert told.startswith(f"line {short} of client PO PO-1 has ")
        assert "0.01 USD more" in told
        with pytest.raises(Conflict, match="client_po_lines_not_exceeded"):
            await act(store, draft.id, deciding("release", released))

    exact = [po_line(name, taken[name], name) for name in LINES]
    standing = await store.client_pos.put(lined(*exact, basis=PoBasis.GROSS))
    assert list(line_shortages(await store.drafts.get(draft.id), standing)) == []
    await release(store, draft.id)
    assert {line.left.amount for line in (await standing_of(store)).lines} == {0}


async def test_a_replacement_takes_over_only_what_is_not_released(store: Store) -> None:
    await store.engagements.put(billed_contract(client_po="PO-1"))
    await store.client_pos.put(lined(po_line("10", 500, "TM")))
    await release(store, (await drafted(store, 1, TM=120)).id)
    await drafted(store, 2, TM=200)

    await store.client_pos.put(lined(po_line("1", 300, "TM"), number="PO-2", replaces="PO-1"))

    assert await figures(store) == {"10": (0, 120, 0, 0, 380), "": (0, 0, 0, 0, 0)}
    assert await figures(store, "PO-2") == {"1": (200, 0, 0, 0, 300), "": (0, 0, 0, 0, 0)}


async def test_a_line_that_was_lowered_lets_nothing_more_through(store: Store) -> None:
    await store.engagements.put(billed_contract(client_po="PO-1"))
    await store.client_pos.put(lined(po_line("10", 500, "TM")))
    await release(store, (await drafted(store, 1, TM=120)).id)

    lowered = lined(po_line("10", 50, "TM"), po_line("20", 900))
    standing = await store.client_pos.put(lowered)

    assert await store.client_pos.put(lowered) == standing
    assert standing.lines[0].left == usd(-70)
    other = await drafted(store, 2, TM="0.01")
    with pytest.raises(Conflict, match="client_po_lines_not_exceeded"):
        await act(store, other.id, deciding("release", released))


async def test_a_po_that_loses_its_lines_is_for_any_again(store: Store) -> None:
    await store.engagements.put(billed_contract(client_po="PO-1"))
    await store.client_pos.put(lined(po_line("10", 50, "TM")))
    draft = await drafted(store, TM=120)

    assert (await store.client_pos.put(po(1000))).lines == ()

    await release(store, draft.id)


@pytest.mark.parametrize(
    ("lines", "says"),
    [
        ((po_line("10", 600), po_line("20", "400.01")), "come to 1,000.01 USD, which is more than"),
        ((po_line("10", 1, "TM"), po_line("10", 1, "FIX")), "has line 10 twice"),
        ((po_line("10", 1, "TM"), po_line("20", 1, "FIX", "TM")), "name contract line TM"),
        ((po_line("10", -1),), "needs a number, and an amount of 0 or more"),
        ((po_line(" ", 1),), "needs a number, and an amount of 0 or more"),
        ((PoLine(number="10", amount=Money(amount=Decimal(1), currency="EUR")),), "is not in USD"),
    ],
)
async def test_lines_that_contradict_are_refused(
    store: Store, lines: tuple[PoLine, ...], says: str
) -> None:
    with pytest.raises(Conflict, match=says):
        await store.client_pos.put(lined(*lines, amount=1000))

    assert await store.client_pos.standing("C1", "PO-1") is None


async def test_lines_of_a_po_known_before_they_were_counted_are_counted_by_the_migration(
    store: Store, database: Database
) -> None:
    await store.engagements.put(billed_contract(client_po="PO-1"))
    await store.client_pos.put(lined(po_line("10", 500, "TM"), po_line("20", 9), po_line("30", 1)))
    await release(store, (await drafted(store, 1, TM=120, FIX=10)).id)
    await drafted(store, 2, TM=200)
    before = await standing_of(store)
    # As an older version let it through: more than the line has.
    document = before.po.model_copy(
        update={"lines": (po_line("10", 100, "TM"), po_line("20", 9), po_line("30", 1))}
    )
    keep = text("UPDATE client_pos SET document = :document")
    await database.run(keep, {"document": document.model_dump_json()})

    async with database.transaction() as connection:
        await connection.run_sync(migrations.downgrade, "0024")
    await database.migrate()

    assert await figures(store) == {"10": (200, 120, 0, 0, -20), "20+30": (0, 10, 0, 0, 0)}
    assert (await store.client_pos.put(document)).lines == (await standing_of(store)).lines
