"""Reconciliation where two systems tell of one document: voided there, paid here, cost gone."""

from canonical.reconciliation import FindingCode
from tests.sagas.test_reconcile import Case, found, healthy, names
from tests.support.invoicing import SUBSIDIARY, handed_over
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
