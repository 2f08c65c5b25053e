"""Credits: by two people, never more than was billed; a rebill opens the next cycle."""

import asyncio
from decimal import Decimal

import pytest
from sqlalchemy import text

from canonical.drafts import BillableRef, Draft
from canonical.fees import FeeState
from canonical.invoicing import CreditNote, CreditReason
from canonical.lifecycle import CreditPart, DraftedCredit, DraftedCreditLine
from canonical.records import RecordRef
from store import Store
from store.database import Database
from store.errors import Conflict, NotFound, SamePerson
from tests.store.billing import usd
from tests.store.invoicing import (
    LUCA,
    MAYA,
    act,
    billed,
    billed_contract,
    deciding,
    fee,
    invoice_of,
    item,
    items_of,
    opened,
    po,
    release,
    states,
    written_down,
)

INVOICE = RecordRef(system="netsuite", type="invoice", id="9001")
CAP = text("SELECT reserved, drafted, invoiced, credited FROM caps")


def credit(
    *parts: tuple[int, BillableRef, object],
    reason: CreditReason = CreditReason.CONCESSION,
    number: int = 1,
) -> DraftedCredit:
    """Take back an amount of each (line, part)."""
    lines = tuple(
        DraftedCreditLine(
            line=line,
            item=item(line),
            amount=usd(amount),
            reason=reason,
            parts=(CreditPart(bills=ref, amount=usd(amount)),),
        )
        for line, ref, amount in parts
    )
    id_ = f"credit/netsuite/9001/{number}"
    return DraftedCredit(id=id_, invoice=INVOICE, lines=lines, asked_by=MAYA)


def issued_as(of: DraftedCredit, id_: str = "7001") -> CreditNote:
    net = of.net.amount
    return CreditNote(
        record=RecordRef(system="netsuite", type="credit_note", id=id_),
        invoice=INVOICE,
        number=f"CM-{id_}",
        net=usd(net),
        tax=usd(net / 10),
        gross=usd(net * Decimal("1.1")),
    )


async def issued(store: Store, *ids: str) -> Draft:
    await store.engagements.put(billed_contract(cap=500, client_po="PO-1"))
    await store.client_pos.put(po(1000))
    free = await billed(store, *(ids or ("1", "2")))
    draft = await opened(store, *([each] for each in free))
    out = await release(store, draft.id)
    await store.invoices.posted(out.id, 1, invoice_of(out), items_of(out))
    return await store.drafts.get(out.id)


async def through(
    store: Store, asked: DraftedCredit, note: str = "7001"
) -> tuple[BillableRef, ...]:
    """Ask, approve and issue a credit; return what it opened."""
    await store.credits.open_credit(asked)
    await store.credits.approve_credit(asked.id, by=LUCA)
    return (await store.credits.credited(asked.id, issued_as(asked, note))).opened


async def test_concession_credits_and_opens_nothing(store: Store, database: Database) -> None:
    draft = await issued(store)
    (one,), (two,) = (line.bills for line in draft.lines)

    assert await through(store, credit((1, one, 120))) == ()

    assert await states(store, [one, two]) == {one: "credited", two: "invoiced"}
    (cap,) = await database.rows(CAP)
    assert tuple(cap) == (0, 0, 240, 120)
    assert await store.drafts.billables() == ()
    standing = await store.client_pos.standing("C1", "PO-1")
    assert standing is not None
    assert (standing.invoiced, standing.credited, standing.left) == (usd(240), usd(120), usd(880))
    invoice = await store.invoices.get("netsuite", "9001")
    assert [line.credited for line in invoice.lines] == [usd(120), usd(0)]
    taken = await store.fees.standing("salesforce/006", "TM")
    assert (taken.invoiced, taken.credited, taken.taken) == (usd(240), usd(120), usd(120))


async def test_partial_credits_add_up_to_the_whole(store: Store) -> None:
    draft = await issued(store, "1")
    (one,) = draft.lines[0].bills

    await through(store, credit((1, one, 50)))
    assert (await states(store, [one]))[one] == "invoiced"
    await through(store, credit((1, one, 70), number=2), "7002")

    assert (await states(store, [one]))[one] == "credited"
    assert [each.state for each in await store.credits.of_invoice("netsuite", "9001")] == [
        *("credited", "credited"),
    ]


async def test_rebill_opens_the_next_cycle_in_review(store: Store, database: Database) -> None:
    draft = await issued(store)
    (one,), (two,) = (line.bills for line in draft.lines)
    asked = credit((1, one, 120), (2, two, 20), reason=CreditReason.REBILL)

    opened_ = await through(store, asked)

    free = await store.drafts.billables()
    assert tuple(each.ref for each in free) == opened_
    assert [(each.amount, each.cycle, each.in_review, each.minutes) for each in free] == [
        (usd(120), 2, True, 60),
        (usd(20), 2, True, 10),
    ]
    (cap,) = await database.rows(CAP)
    assert tuple(cap) == (140, 0, 240, 140)
    again = await opened(store, [free[0]], [free[1]], number=2)
    out = await release(store, again.id)
    await store.invoices.posted(out.id, 1, invoice_of(out, "9002"), items_of(out))
    (cap,) = await database.rows(CAP)
    assert tuple(cap) == (0, 0, 380, 140)
    assert [row.difference for row in await store.subledger.conservation()] == [0]


async def test_rebilled_fee_is_handed_over_in_its_next_cycle(store: Store) -> None:
    await store.engagements.put(billed_contract())
    await store.fees.reserve("run", fee())
    await store.fees.hand_over("run")
    draft = await release(store, (await opened(store, await store.drafts.billables())).id)
    await store.invoices.posted(draft.id, 1, invoice_of(draft), items_of(draft))
    (billed_fee,) = draft.lines[0].bills

    asked = credit((1, billed_fee, 1000), reason=CreditReason.REBILL)
    (again,) = await through(store, asked)

    assert (await store.fees.get(billed_fee.id)).state is FeeState.CREDITED
    found = await store.fees.get(again.id)
    assert (found.state, found.fee.cycle, found.run) == (FeeState.HANDED_OVER, 2, asked.id)
    (free,) = await store.drafts.billables()
    assert (free.ref, free.in_review, free.amount) == (again, True, usd(1000))
    assert (await store.fees.standing("salesforce/006", "FIX")).taken == usd(1000)


async def test_written_down_part_is_credited_whole_at_what_was_billed(store: Store) -> None:
    await store.engagements.put(billed_contract())
    draft = await opened(store, await billed(store, "1"))
    await act(store, draft.id, deciding("write_down", written_down(1, 20)))
    out = await release(store, draft.id)
    await store.invoices.posted(out.id, 1, invoice_of(out), items_of(out))
    (one,) = out.lines[0].bills

    with pytest.raises(Conflict, match=r"100\.00 USD of part .* not 101\.00 USD"):
        await store.credits.open_credit(credit((1, one, 101)))
    await through(store, credit((1, one, 100)))

    assert (await states(store, [one]))[one] == "credited"


async def test_credit_needs_a_second_person(store: Store) -> None:
    draft = await issued(store, "1")
    asked = credit((1, draft.lines[0].bills[0], 10))
    await store.credits.open_credit(asked)

    with pytest.raises(SamePerson):
        await store.credits.approve_credit(asked.id, by=MAYA)
    with pytest.raises(Conflict, match="is asked"):
        await store.credits.credited(asked.id, issued_as(asked))
    first = await store.credits.approve_credit(asked.id, by=LUCA)
    again = await store.credits.approve_credit(asked.id, by=LUCA)

    assert first == again
    assert first.credit.approved_by == LUCA
    assert [(e.act, e.actor) for e in await store.audit.trail(asked.id)] == [
        ("ask_credit", MAYA),
        ("approve_credit_refused", MAYA),
        ("approve_credit", LUCA),
    ]


async def test_issued_again_changes_nothing(store: Store) -> None:
    draft = await issued(store, "1")
    asked = credit((1, draft.lines[0].bills[0], 10), reason=CreditReason.REBILL)
    await through(store, asked)

    again = await store.credits.credited(asked.id, issued_as(asked))

    assert (again.state, again.opened) == ("credited", ())
    assert len(await store.drafts.billables()) == 1
    with pytest.raises(Conflict, match="was issued as 7001"):
        await store.credits.credited(asked.id, issued_as(asked, "7002"))
    assert await store.credits.open_credit(asked) == again
    with pytest.raises(Conflict, match="another credit"):
        await store.credits.open_credit(credit((1, draft.lines[0].bills[0], 11)))


async def test_credits_at_once_never_exceed_what_was_billed(store: Store) -> None:
    draft = await issued(store, "1")
    (one,) = draft.lines[0].bills

    answers = await asyncio.gather(
        *(store.credits.open_credit(credit((1, one, 50), number=n)) for n in range(1, 6)),
        return_exceptions=True,
    )

    assert sum(isinstance(each, Conflict) for each in answers) == 3


async def test_refused_credit_frees_what_it_asked_for(store: Store) -> None:
    draft = await issued(store, "1")
    (one,) = draft.lines[0].bills
    await store.credits.open_credit(credit((1, one, 120)))
    with pytest.raises(Conflict, match="can be credited"):
        await store.credits.open_credit(credit((1, one, 1), number=2))

    refused = await store.credits.refuse_credit("credit/netsuite/9001/1", by=LUCA, because="no")

    assert (refused.state, refused.because) == ("refused", "no")
    assert (await store.credits.open_credit(credit((1, one, 1), number=2))).state == "asked"


async def test_credit_of_what_is_not_billed_is_refused(store: Store) -> None:
    draft = await issued(store)
    (one,), (two,) = (line.bills for line in draft.lines)

    with pytest.raises(Conflict, match="does not bill"):
        await store.credits.open_credit(credit((1, two, 10)))
    wrong = credit((1, one, 10))
    line = wrong.lines[0].model_copy(update={"amount": usd(11)})
    with pytest.raises(Conflict, match="not its parts' sum"):
        await store.credits.open_credit(wrong.model_copy(update={"lines": (line,)}))
    with pytest.raises(NotFound):
        elsewhere = INVOICE.model_copy(update={"id": "1"})
        await store.credits.open_credit(wrong.model_copy(update={"invoice": elsewhere}))
    with pytest.raises(NotFound):
        await store.credits.get_credit("nothing")


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE credits SET state = 'credited', note_id = 'x'",
        "UPDATE credits SET state = 'approved', approved_by = asked_by",
        "UPDATE credits SET state = 'approved'",
        "UPDATE credits SET net = net + 1",
        "UPDATE credit_parts SET amount = amount + 1",
        "UPDATE credit_parts SET opened_part = 1",
        "UPDATE draft_members SET credited = 1",
        "DELETE FROM credits",
        "DELETE FROM credit_parts",
    ],
)
async def test_database_refuses(store: Store, database: Database, statement: str) -> None:
    draft = await issued(store, "1")
    await store.credits.open_credit(credit((1, draft.lines[0].bills[0], 10)))

    with pytest.raises(Conflict):
        await database.run(text(statement))
