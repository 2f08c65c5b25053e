"""Issued invoices: one for each draft, and only what is new is noted, once."""

from datetime import date

import pytest
from sqlalchemy import text

from canonical.drafts import Draft, DraftState
from canonical.invoicing import (
    Application,
    ApplicationKind,
    Delivery,
    InvoiceStatus,
    IssuedLine,
)
from canonical.lifecycle import InvoiceState, SettledBy
from store import Store
from store.audit import ENGINE
from store.database import Database
from store.errors import Conflict, NotFound
from store.known_invoices import KnownInvoices
from tests.store.billing import PSA, ref, usd
from tests.store.invoicing import (
    MAYA,
    ON,
    billed,
    billed_contract,
    draft_of,
    fee,
    invoice_of,
    items_of,
    opened,
    release,
    states,
)


async def issued(store: Store, *ids: str) -> Draft:
    await store.engagements.put(billed_contract(cap=500))
    free = await billed(store, *(ids or ("1", "2")))
    draft = await opened(store, *([each] for each in free))
    out = await release(store, draft.id)
    await store.invoices.posted(out.id, 1, invoice_of(out), items_of(out))
    return await store.drafts.get(out.id)


async def test_posted_draft_is_invoiced_with_all_it_bills(store: Store, database: Database) -> None:
    draft = await issued(store)

    assert draft.state is DraftState.INVOICED
    refs = [ref_ for line in draft.lines for ref_ in line.bills]
    assert set((await states(store, refs)).values()) == {"invoiced"}
    (cap,) = await database.rows(text("SELECT reserved, drafted, invoiced FROM caps"))
    assert tuple(cap) == (0, 0, 240)
    invoice = await store.invoices.get("netsuite", "9001")
    assert (invoice.draft, invoice.number, invoice.change) == (draft.id, "INV-9001", 1)
    assert (invoice.net, invoice.gross, invoice.remaining) == (usd(240), usd(264), usd(264))
    assert invoice.engagements == ("salesforce/006",)
    assert [(line.number, line.item, line.bills) for line in invoice.lines] == [
        (1, "line-1", (refs[0],)),
        (2, "line-2", (refs[1],)),
    ]
    assert [e.act for e in await store.audit.trail("netsuite/9001")] == ["observe", "posted"]


async def test_posted_again_is_the_same_and_another_invoice_is_refused(store: Store) -> None:
    draft = await issued(store)

    again = await store.invoices.posted(draft.id, 1, invoice_of(draft), items_of(draft))

    assert again == await store.invoices.get("netsuite", "9001")
    with pytest.raises(Conflict, match="is invoice netsuite/9001 already"):
        await store.invoices.posted(draft.id, 1, invoice_of(draft, "9002"), items_of(draft))


async def test_only_a_released_draft_of_that_posting_is_posted(store: Store) -> None:
    await store.engagements.put(billed_contract())
    draft = await opened(store, await billed(store, "1"))
    with pytest.raises(Conflict, match="queued at posting 0"):
        await store.invoices.posted(draft.id, 1, invoice_of(draft), items_of(draft))
    await release(store, draft.id)
    with pytest.raises(Conflict, match="posting 2 is over"):
        await store.invoices.posted(draft.id, 2, invoice_of(draft), items_of(draft))
    with pytest.raises(NotFound):
        await store.invoices.posted("nothing", 1, invoice_of(draft), {})


async def test_foreign_line_bills_nothing_of_ours(store: Store) -> None:
    await store.engagements.put(billed_contract())
    draft = await opened(store, await billed(store, "1"))
    out = await release(store, draft.id)
    extra = IssuedLine(id="77", amount=usd(5), tax=usd(0))
    invoice = invoice_of(out)
    invoice = invoice.model_copy(update={"lines": (*invoice.lines, extra)})

    tracked = await store.invoices.posted(out.id, 1, invoice, items_of(out))

    assert [(line.number, line.expected) for line in tracked.lines] == [(1, usd(120)), (0, usd(0))]


async def test_same_look_is_no_change(store: Store) -> None:
    draft = await issued(store)

    noted = await store.invoices.observe("netsuite", "9001", invoice_of(draft), InvoiceState.ISSUED)

    assert noted.change == 0
    assert (await store.invoices.get("netsuite", "9001")).change == 1


async def test_payments_are_noted_once_and_reversals_as_negative(store: Store) -> None:
    draft = await issued(store)
    part, rest = InvoiceState.PART_SETTLED, SettledBy.CASH

    async def look(paid: dict[str, object], state: InvoiceState, by: SettledBy) -> object:
        seen = invoice_of(draft, paid=paid)
        noted = await store.invoices.observe("netsuite", "9001", seen, state, by)
        return noted.change, [(each.id, each.amount) for each in noted.new_applications]

    assert await look({"P1": 100}, part, rest) == (2, [("P1", usd(100))])
    assert await look({"P1": 100}, part, rest) == (0, [])
    both = await look({"P1": 100, "P2": 164}, InvoiceState.SETTLED, rest)
    assert both == (3, [("P2", usd(164))])
    assert await look({"P1": 60, "P2": 164}, part, rest) == (4, [("P1", usd(-40))])
    assert await look({"P1": 60}, part, rest) == (5, [("P2", usd(-164))])
    assert await look({"P1": 60, "P2": 164}, part, rest) == (6, [("P2", usd(164))])
    invoice = await store.invoices.get("netsuite", "9001")
    assert [(each.id, each.amount) for each in invoice.applications] == [
        ("P1", usd(60)),
        ("P2", usd(164)),
    ]
    assert (invoice.remaining, invoice.settled_by) == (usd(40), SettledBy.CASH)


async def test_native_credit_is_told_apart(store: Store) -> None:
    draft = await issued(store)
    ours = Application(
        id="C1", kind=ApplicationKind.CREDIT, amount=usd(10), on=ON, external_id="dt-1"
    )
    native = Application(id="C2", kind=ApplicationKind.CREDIT, amount=usd(5), on=ON)
    seen = invoice_of(draft, applications=(ours, native), remaining=usd(249))

    noted = await store.invoices.observe("netsuite", "9001", seen, InvoiceState.PART_SETTLED)

    assert noted.new_applications == (ours, native)
    assert noted.native_credits == (native,)
    assert noted.before is InvoiceState.ISSUED


async def test_gone_invoice_keeps_what_was_known(store: Store) -> None:
    await issued(store)

    noted = await store.invoices.observe("netsuite", "9001", None, InvoiceState.GONE)
    again = await store.invoices.observe("netsuite", "9001", None, InvoiceState.GONE)

    assert (noted.change, again.change) == (2, 0)
    invoice = await store.invoices.get("netsuite", "9001")
    assert (invoice.state, invoice.gross) == (InvoiceState.GONE, usd(264))
    with pytest.raises(NotFound):
        await store.invoices.observe("netsuite", "1", None, InvoiceState.GONE)


async def test_dispute_holds_the_client(store: Store) -> None:
    await issued(store, "1")
    await billed(store, "2", number=2)
    assert len(await store.drafts.billables()) == 1

    invoice = await store.invoices.dispute("netsuite", "9001", "wrong hours", by=MAYA)
    assert invoice.disputed == "wrong hours"
    assert await store.drafts.billables() == ()

    assert not (await store.invoices.undispute("netsuite", "9001", by=MAYA)).disputed
    assert len(await store.drafts.billables()) == 1


async def test_each_system_is_told_of_a_change_once(store: Store) -> None:
    await issued(store)

    assert await store.invoices.told("netsuite", "9001", 1, "psa")
    assert not await store.invoices.told("netsuite", "9001", 1, "psa")
    assert await store.invoices.told("netsuite", "9001", 1, "crm")
    with pytest.raises(Conflict):
        await store.invoices.told("netsuite", "9001", 2, "crm")


async def test_invoices_are_found(store: Store) -> None:
    await issued(store, "1")
    one = await store.invoices.get("netsuite", "9001")

    assert await store.invoices.by_number("INV-9001") == (one,)
    assert await store.invoices.of_entry(PSA, ref("1")) == (one,)
    assert await store.invoices.of_entry(PSA, ref("2")) == ()
    assert await store.invoices.list(client_id="C1", engagement="salesforce/006") == (one,)
    assert await store.invoices.list([InvoiceState.SETTLED]) == ()
    assert await store.invoices.list(legal_entity="DE") == ()


async def test_fee_knows_its_invoice_and_whether_it_is_paid(store: Store) -> None:
    await store.engagements.put(billed_contract())
    await store.fees.reserve("run", fee())
    await store.fees.hand_over("run")
    draft = await release(store, (await opened(store, await store.drafts.billables())).id)
    await store.invoices.posted(draft.id, 1, invoice_of(draft), items_of(draft))
    (standing,) = (await store.fees.standing("salesforce/006", "FIX")).fees
    assert (standing.invoice, standing.paid) == ("INV-9001", False)

    paid = invoice_of(draft, paid={"P1": 1100}, status=InvoiceStatus.SETTLED)
    await store.invoices.observe("netsuite", "9001", paid, InvoiceState.SETTLED, SettledBy.CASH)

    assert (await store.fees.get(standing.id)).paid


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE invoices SET state = 'settled'",
        "UPDATE invoices SET draft = 'another'",
        "UPDATE invoices SET change = 0",
        "DELETE FROM invoices",
        "DELETE FROM invoice_lines",
        "UPDATE invoice_changes SET state = 'settled'",
        "DELETE FROM invoice_applications",
        (
            'INSERT INTO invoices (connection, id, record_type, draft, posting, "on", currency,'
            " legal_entity, client_id, net, tax, gross, remaining, state, seen_at)"
            " SELECT connection, 'x', record_type, draft, 2, \"on\", currency, legal_entity,"
            " client_id, net, tax, gross, remaining, state, seen_at FROM invoices"
        ),
        "UPDATE parts SET state = 'released'",
        "UPDATE drafts SET state = 'queued'",
    ],
)
async def test_database_refuses(store: Store, database: Database, statement: str) -> None:
    await issued(store)

    with pytest.raises(Conflict):
        await database.run(text(statement))


async def test_draft_on_hold_is_not_posted_twice_at_once(store: Store) -> None:
    await store.engagements.put(billed_contract())
    (free,) = await billed(store, "1", service_date=date(2026, 11, 5))
    out = await release(store, (await opened(store, [free])).id)

    await store.invoices.posted(out.id, 1, invoice_of(out), items_of(out))

    assert await store.drafts.open([draft_of([free], number=2)]) == ()


async def test_what_is_said_of_a_delivery_is_noted_once(store: Store) -> None:
    await issued(store)
    key = ("netsuite", "9001")
    known = KnownInvoices(store.database)
    for _ in range(2):
        await known.transmitted("netsuite", {"9001": "evt_1"})
    sent = await store.invoices.get(*key)
    assert (sent.delivery, sent.delivery_word, sent.deliveries) == (
        Delivery.TRANSMITTED,
        "evt_1",
        1,
    )
    back = await store.invoices.delivered(*key, Delivery.REJECTED, "no such portal", by=MAYA)
    assert (back.delivery, back.delivery_because) == (Delivery.REJECTED, "no such portal")
    # An event that comes once more does not undo what a person said since; a new sending does.
    await known.transmitted("netsuite", {"9001": "evt_1"})
    assert (await store.invoices.get(*key)).delivery is Delivery.REJECTED
    await known.transmitted("netsuite", {"9001": "evt_2"})
    again = await store.invoices.get(*key)
    assert (again.delivery, again.deliveries) == (Delivery.TRANSMITTED, 3)
    acts = [(each.actor, each.act) for each in await store.audit.trail("netsuite/9001")]
    assert acts[-3:] == [(ENGINE, "delivered"), (MAYA, "delivered"), (ENGINE, "delivered")]
    with pytest.raises(NotFound):
        await store.invoices.delivered("netsuite", "9999", Delivery.TRANSMITTED)
