"""Reconciliation where two systems tell of one document: voided there, paid here, cost gone."""

from pydantic import JsonValue

from canonical.lifecycle import InvoiceState
from canonical.reconciliation import Finding, FindingCode
from canonical.saga import Verb
from simulators.kit.records import RecordState
from tests.sagas.invoicing_scenes import refuse
from tests.sagas.test_credits import approve, ask, credited, saga
from tests.sagas.test_reconcile import Case, found, healthy, names
from tests.support.billing import JOB, amount
from tests.support.invoicing import SUBSIDIARY, handed_over, look, seen_as
from tests.support.world import World


async def test_an_invoice_voided_in_the_erp_is_found(world: World) -> None:
    case = await healthy(world)
    voided = await case.clerk.void(case.invoice.record.id)
    await case.reconcile()
    assert await found(case) == names((FindingCode.STATUS_DIFFERS, voided))
    (finding,) = await case.findings()
    assert "voided" in finding.explanation


async def test_a_mirror_that_is_paid_while_its_invoice_is_open_is_found(world: World) -> None:
    case = await healthy(world)
    (mirror,) = await world.store.draft_sources.mirrors(case.invoice.record)
    paid = await case.clerk.pay_mirror(mirror.record.id)
    await case.reconcile()
    assert await found(case) == names((FindingCode.MIRROR_DIFFERS, paid))


async def test_a_mirror_that_a_credit_could_not_lower_is_found(world: World) -> None:
    case = await healthy(world)
    await credited(world, case.invoice, (1, "20.00"))
    await look(world, case.invoice)
    await case.reconcile()
    assert await found(case) == set()

    await refuse(world, case.account, "kantata", "cancel_mirror")
    asked = await ask(world, case.invoice, (1, "50.00"))
    assert (await approve(world, asked.credit)).taken
    item = await world.parked(saga(world, asked.credit), "cancel_mirror")
    await world.decide(item, Verb.SKIP, because="later")
    assert (await world.result(saga(world, asked.credit))).outcome == "completed"
    await look(world, case.invoice)
    (mirror,) = await world.store.draft_sources.mirrors(case.invoice.record)
    await case.reconcile()
    assert await found(case) == names((FindingCode.AMOUNT_DIFFERS, mirror.record))


async def test_project_cost_that_a_clerk_deleted_is_found(world: World) -> None:
    account = await handed_over(world)
    case = Case(world, account)
    costs = await world.control.records("netsuite", account, type="timeBill")
    # The cost of another company's people is compared when that company is.
    first = next(
        each
        for each in costs
        if each["live"]
        and str(each["key"]).startswith("dt-")
        and each["fields"]["subsidiary"] == {"id": SUBSIDIARY}
    )
    await case.clerk.delete_cost(first["id"])
    await case.reconcile()
    assert await found(case) == {(FindingCode.COST_DELETED, "cost", first["key"])}


async def test_a_charge_that_is_free_though_its_line_was_invoiced_is_found(world: World) -> None:
    case = await healthy(world)
    loose = await case.clerk.take_off_invoice(case.invoice.record.id)
    charge = await _charge(case, loose.id)
    await case.reconcile()
    assert await found(case) == names((FindingCode.CHARGE_UNBILLED, loose))
    (finding,) = await case.findings()
    assert finding.amount == amount(charge["fields"]["amount"])
    assert [(row.type, row.id) for row in finding.rows] == [
        ("charge", loose.id),
        ("invoice", case.invoice.number),
        ("posting", charge["key"]),
    ]
    assert f"invoice {case.invoice.number}" in finding.explanation
    assert finding.work_item


async def test_charges_of_a_deleted_invoice_are_found_as_freed_until_they_are_dealt_with(
    world: World,
) -> None:
    case = await healthy(world)
    invoice = case.invoice
    charges = await _billed(case)
    deleted = await case.clerk.delete_invoice(invoice.record.id)
    expected = names((FindingCode.INVOICE_GONE, deleted), (FindingCode.CHARGES_FREED, deleted))
    await case.reconcile()
    assert await found(case) == expected
    freed = await _freed(case)
    assert freed.amount == invoice.net.amount
    assert sum(row.amount or 0 for row in freed.rows if row.type == "charge") == freed.amount
    assert {row.id for row in freed.rows if row.type == "charge"} == {
        each["id"] for each in charges
    }
    assert invoice.number in freed.explanation

    await look(world, invoice)
    await seen_as(world, invoice, InvoiceState.GONE)
    await case.reconcile()
    (mirror,) = await world.store.draft_sources.mirrors(invoice.record)
    astray = names((FindingCode.MIRROR_DIFFERS, mirror.record))
    assert await found(case) == astray | names((FindingCode.CHARGES_FREED, deleted))
    for each in charges:
        stage: dict[str, JsonValue] = {"stage": {"id": "NON_BILLABLE"}}
        await world.control.patch_record("netsuite", case.account, "charge", each["id"], stage)
    await case.reconcile()
    assert await found(case) == astray


async def test_what_others_invoice_is_theirs_however_it_stands(world: World) -> None:
    account = await handed_over(world)
    case = Case(world, account)
    own = await case.clerk.make_charge(JOB)
    await case.clerk.bill_natively(own.id)
    (invoice,) = await world.control.records("netsuite", account, type="invoice")
    await case.clerk.pay(invoice["id"])
    await case.reconcile()
    outside = (FindingCode.BILLED_OUTSIDE, "invoice", invoice["id"])
    assert await found(case) == {outside}, "paid or not, only what it bills is ours to tell of"


async def _charges(case: Case) -> list[RecordState]:
    rows = await case.world.control.records("netsuite", case.account, type="charge")
    return [each for each in rows if each["live"]]


async def _charge(case: Case, id_: str) -> RecordState:
    return next(each for each in await _charges(case) if each["id"] == id_)


async def _billed(case: Case) -> list[RecordState]:
    """Return the charges that the case's invoice has."""
    on_it = {"id": case.invoice.record.id}
    return [each for each in await _charges(case) if each["fields"].get("invoice") == on_it]


async def _freed(case: Case) -> Finding:
    freed = FindingCode.CHARGES_FREED
    (finding,) = [each for each in await case.findings() if each.code is freed]
    return finding
