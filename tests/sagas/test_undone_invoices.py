"""Invoices that somebody voided or deleted in the issuing system: seen, explained, billed again."""

import pytest

from canonical.invoicing import CreditReason
from canonical.lifecycle import UNDONE, InvoiceState, TrackedInvoice
from canonical.saga import WorkItem
from operations.people import Refused
from tests.sagas.test_credits import (
    assert_equal_to_the_cent,
    mirrors,
    native_item,
    rebilled,
    saga,
    unexplained,
)
from tests.sagas.test_reconcile_engine import healthy
from tests.support.invoicing import drafted, handed_over, invoiced, look, seen_as
from tests.support.world import World


async def deleted(world: World) -> tuple[str, TrackedInvoice, WorkItem]:
    """Let a clerk delete an issued invoice in the ERP, and wait until it is seen."""
    account = await handed_over(world)
    invoice = await invoiced(world, account)
    await world.control.delete_record("netsuite", account, "invoice", invoice.record.id)
    await look(world, invoice)
    seen = await seen_as(world, invoice, InvoiceState.GONE)
    assert (seen.net, seen.gross, seen.remaining.amount) == (invoice.net, invoice.gross, 0)
    return account, seen, await unexplained(world, invoice)


async def test_a_deleted_invoice_waits_for_its_reason_and_is_billed_again(world: World) -> None:
    account, invoice, item = await deleted(world)
    assert "was deleted" in item.failure.message
    assert f"invoice explain {invoice.number} {UNDONE}" in item.failure.message
    assert item.amount == str(invoice.gross)
    shown = await world.invoices.show(f"{invoice.record.system}/{invoice.record.id}")
    assert [each.id for each in shown.unexplained] == [UNDONE]
    rebill = CreditReason.REBILL
    with pytest.raises(Refused, match="olivia has not the role"):
        await world.invoices.explain(invoice, UNDONE, [], rebill, by="olivia")
    for _ in range(2):
        told = await world.invoices.explain(invoice, UNDONE, [], rebill, by="fiona")
        assert (told.state, told.credit.net) == ("credited", invoice.net)
    assert (await world.result(saga(world, told.credit.id))).outcome == "completed"
    assert await mirrors(world, account) == []
    assert await native_item(world, invoice) is None
    await rebilled(world, account, invoice.net)
    await assert_equal_to_the_cent(world, account, invoice.net)
    with pytest.raises(Refused, match="explained otherwise"):
        await world.invoices.explain(invoice, UNDONE, [], CreditReason.CANCELLED, by="fiona")


async def test_a_deleted_invoice_that_was_wrong_is_not_billed_again(world: World) -> None:
    account, invoice, item = await deleted(world)
    await world.invoices.explain(invoice, UNDONE, [], CreditReason.CANCELLED, by="fiona")
    stored = await world.store.work_items.get(item.id)
    assert stored is not None
    assert (stored.open, stored.how) == (False, "explained by fiona: cancelled")
    assert await drafted(world, account) == []
    assert not (
        await world.invoices.show(f"{invoice.record.system}/{invoice.record.id}")
    ).unexplained


async def test_an_invoice_voided_in_the_billing_engine_is_explained(world: World) -> None:
    case = await healthy(world)
    await case.clerk.void_in_engine(case.invoice.record.id)
    await look(world, case.invoice)
    voided = await seen_as(world, case.invoice, InvoiceState.VOIDED)
    assert voided.net == case.invoice.net
    item = await unexplained(world, voided)
    assert "was voided" in item.failure.message
    told = await world.invoices.explain(voided, UNDONE, [], CreditReason.CANCELLED, by="fiona")
    assert told.credit.net == case.invoice.net
    assert await native_item(world, voided) is None
