"""Reconciliation of what the billing engine holds: what breaks there is found as what it is."""

from canonical.engagement import BillingMethod
from canonical.lifecycle import InvoiceState
from canonical.reconciliation import Finding, FindingCode, Reconciled
from tests.sagas.test_reconcile import Case, found, names
from tests.support.invoicing import NO_CRM, invoiced, looked, milestone_handed_over, seen_as
from tests.support.world import World


async def healthy(world: World) -> Case:
    """Return an account with an invoice that the billing engine issued."""
    method = BillingMethod.BILLING_ENGINE
    account = await milestone_handed_over(world, crm=NO_CRM, billing_method=method)
    invoice = await invoiced(world, account)
    await looked(world, invoice, 1)
    assert invoice.record.system == f"stripe@{account}"
    return Case(world, account, invoice)


async def reconcile(case: Case, **given: object) -> Reconciled:
    """Compare the engine alone: the project's time waits to be billed."""
    return await case.reconcile(connections=(f"stripe@{case.account}",), **given)


async def test_what_breaks_in_the_engine_is_found_as_what_it_is_and_nothing_else(
    world: World,
) -> None:
    case = await healthy(world)
    ended = await reconcile(case)
    assert (ended.findings, ended.failed) == (0, {})
    run = await world.store.reconciliation.run(ended.run)
    assert {each.kind: each.rows for each in run.compared} == {
        "client": 1,
        "charge": 1,
        "invoice": 1,
        "credit": 0,
        "payment": 0,
    }
    clerk, invoice = case.clerk, case.invoice.record
    credited = await clerk.credit_in_engine(invoice.id)
    received = await clerk.receive_in_engine(invoice.id)
    copied = await clerk.copy_in_engine(invoice.id)
    await reconcile(case)
    assert await found(case) == names(
        (FindingCode.NATIVE_CREDIT, credited),
        (FindingCode.BALANCE_DIFFERS, invoice),
        (FindingCode.UNAPPLIED_PAYMENT, received),
        (FindingCode.UNKNOWN_CHARGE, copied),
    )


async def _one(case: Case) -> Finding:
    (finding,) = await case.findings()
    return finding


async def test_an_invoice_paid_in_the_engine_is_looked_at_and_the_next_run_closes_it(
    world: World,
) -> None:
    case = await healthy(world)
    paid = await case.clerk.pay_in_engine(case.invoice.record.id)
    ended = await reconcile(case, heal=True)
    assert (ended.findings, ended.healed) == (1, 1)
    assert await found(case) == names((FindingCode.STATUS_DIFFERS, paid))
    await seen_as(world, case.invoice, InvoiceState.SETTLED)
    ended = await reconcile(case)
    assert (ended.findings, ended.closed) == (0, 1)


async def test_an_invoice_voided_in_the_engine_is_found(world: World) -> None:
    case = await healthy(world)
    voided = await case.clerk.void_in_engine(case.invoice.record.id)
    await reconcile(case)
    assert await found(case) == names((FindingCode.STATUS_DIFFERS, voided))
    finding = await _one(case)
    assert "voided" in finding.explanation
    assert finding.work_item
