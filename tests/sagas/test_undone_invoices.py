"""Invoices that somebody voided or deleted in the issuing system: seen, explained, billed again."""

from decimal import Decimal

import pytest

from canonical.credit_invoice import CreditAnswer
from canonical.invoicing import CreditReason
from canonical.lifecycle import UNDONE, InvoiceState, TrackedInvoice
from canonical.saga import WorkItem
from operations.invoice_files import InvoiceFiles
from operations.mistakes import Mistake
from operations.people import Refused
from tests.sagas.test_credits import (
    approve,
    assert_equal_to_the_cent,
    billed_again,
    mirrors,
    native_item,
    rebilled,
    saga,
    unexplained,
    usd,
)
from tests.sagas.test_reconcile import Case
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
    assert (seen.net, seen.gross, seen.remaining) == (invoice.net, invoice.gross, usd(0))
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
    cancelled = CreditReason.CANCELLED
    told = await world.invoices.explain(invoice, UNDONE, [], cancelled, by="fiona")
    stored = await world.store.work_items.get(item.id)
    assert stored is not None
    assert (stored.open, stored.how) == (False, "explained by fiona: cancelled")
    assert (await world.result(saga(world, told.credit.id))).outcome == "completed"
    (kept,) = await mirrors(world, account)
    assert Decimal(kept["total"]) == 0
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


async def issued_by_stripe(world: World) -> Case:
    """Return a case of a firm that voids invoices."""
    case = await healthy(world)
    world.voiding.add(case.account)
    return case


async def void(world: World, invoice: TrackedInvoice, reason: CreditReason) -> CreditAnswer:
    return await world.invoices.credit(
        invoice, (), reason, because="wrong client", by="olivia", void=True
    )


async def test_an_invoice_is_voided_by_two_people_and_billed_again(world: World) -> None:
    case = await issued_by_stripe(world)
    invoice = case.invoice
    asked = await void(world, invoice, CreditReason.REBILL)
    assert (asked.taken, asked.net) == (True, invoice.net), asked.reasons
    assert (await approve(world, asked.credit)).taken
    assert (await world.result(saga(world, asked.credit))).outcome == "completed"
    voided = await seen_as(world, invoice, InvoiceState.VOIDED)
    assert (voided.net, voided.remaining) == (invoice.net, usd(0))
    standing = await world.store.credits.get_credit(asked.credit)
    assert (standing.state, standing.note_number) == ("credited", UNDONE)
    assert await native_item(world, voided) is None
    assert len(await billed_again(world, case.account)) == 1
    files = InvoiceFiles(world.store, world.bundle.policies, {})
    with pytest.raises(Mistake, match="no credit note"):
        await files.credit_note(await files.way(voided), standing)


async def test_what_is_credited_in_part_is_not_voided(world: World) -> None:
    case = await issued_by_stripe(world)
    await case.clerk.credit_in_engine(case.invoice.record.id)
    refused = await void(world, case.invoice, CreditReason.CANCELLED)
    assert not refused.taken
    assert "left" in refused.reasons[0]
    assert await billed_again(world, case.account) == ()


async def test_a_firm_whose_policy_voids_no_invoices_is_told_to_credit(world: World) -> None:
    case = await healthy(world)
    refused = await void(world, case.invoice, CreditReason.CANCELLED)
    assert not refused.taken
    assert "void_allowed" in refused.reasons[0]
