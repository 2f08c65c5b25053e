"""What a deal came to, and the way from an invoice back to who worked."""

from datetime import date, timedelta
from decimal import Decimal

import pytest

from canonical.invoicing import CreditReason
from canonical.lifecycle import InvoiceState, SettledBy
from store import Store
from store.errors import NotFound
from tests.store.billing import time_entry, usd
from tests.store.invoicing import (
    LUCA,
    act,
    billed,
    billed_contract,
    deciding,
    fee,
    invoice_of,
    items_of,
    opened,
    release,
    written_down,
)
from tests.store.test_credits import credit, through

DEAL = "salesforce/006"
DUE = date(2026, 12, 30)


async def test_deal_adds_up(store: Store) -> None:
    await store.engagements.put(billed_contract())
    assert (await store.finances.of_deal(DEAL, DUE)).status == ""
    first, second, third = await billed(store, "1", "2", "3")
    draft = await opened(store, [first], [second])
    await act(store, draft.id, deciding("write_down", written_down(1, 20)))
    out = await release(store, draft.id)
    assert (await store.finances.of_deal(DEAL, DUE)).unbilled == usd(340)

    await store.invoices.posted(out.id, 1, invoice_of(out), items_of(out))
    paid = invoice_of(out, paid={"P1": 42})
    await store.invoices.observe(
        "netsuite", "9001", paid, InvoiceState.PART_SETTLED, SettledBy.CASH
    )

    found = await store.finances.of_deal(DEAL, DUE)
    assert (found.invoiced, found.unbilled) == (usd(220), usd(120))
    assert (found.outstanding, found.overdue) == (usd(200), usd(0))
    # Revenue 340, three hours at a cost of 95.
    assert found.margin_percent == Decimal("16.18")
    assert found.status == "INV-9001: part settled"
    assert (await store.finances.of_deal(DEAL, DUE + timedelta(days=1))).overdue == usd(200)
    assert third.ref in {each.ref for each in await store.drafts.billables()}


async def test_credits_are_taken_off_and_rebills_are_unbilled_again(store: Store) -> None:
    await store.engagements.put(billed_contract())
    first, second = await billed(store, "1", "2")
    out = await release(store, (await opened(store, [first], [second])).id)
    await store.invoices.posted(out.id, 1, invoice_of(out), items_of(out))

    await through(store, credit((1, first.ref, 120), reason=CreditReason.REBILL))

    found = await store.finances.of_deal(DEAL, DUE)
    assert (found.invoiced, found.unbilled) == (usd(120), usd(120))


async def test_unknown_deal_is_said_to_be_unknown(store: Store) -> None:
    with pytest.raises(NotFound):
        await store.finances.of_deal("salesforce/007", DUE)
    with pytest.raises(NotFound):
        await store.finances.invoice_trace("netsuite", "1")


async def test_trace_leads_to_people_approvals_and_rates(store: Store) -> None:
    await store.engagements.put(billed_contract())
    await store.fees.reserve("run", fee())
    await store.fees.hand_over("run")
    milestone, hours = await billed(store, "1")
    out = await release(store, (await opened(store, [milestone], [hours])).id)
    await store.invoices.posted(out.id, 1, invoice_of(out), items_of(out))

    trace = await store.finances.invoice_trace("netsuite", "9001")

    assert (trace.draft.released_by, trace.draft.released_hash) == (LUCA, out.content_hash)
    of_fee, of_hours = trace.lines
    assert of_fee.bills[0].fee == fee()
    assert of_fee.drafted == out.lines[0]
    (bill,) = of_hours.bills
    assert bill.entry == time_entry("1")
    assert bill.rated is not None
    assert (bill.rated.ref.id, bill.amount, bill.minutes) == ("1", usd(120), 60)
    assert (bill.entry.approved_by, bill.entry.person_email) == ("9", "maya.chen@example.com")
