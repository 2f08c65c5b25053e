"""Reconciliation on the real servers: a healthy world shows nothing, and each breakage its name."""

import asyncio
from dataclasses import dataclass

from canonical.ids import reconcile_id
from canonical.lifecycle import InvoiceState, TrackedInvoice
from canonical.reconciliation import Finding, FindingClass, FindingCode, Reconciled, ReconcileInput
from canonical.records import RecordRef
from canonical.saga import WorkItemKind
from operations.sagas import SAGA_QUEUE
from tests.support.billing import AT_PROJECT, CLIENT, JOB, PERIOD, live, run_ended
from tests.support.breakage import Clerk
from tests.support.invoicing import handed_over, invoiced, looked, seen_as
from tests.support.world import WAIT_SECONDS, World
from workflows.reconcile import Reconcile

US = "US"


@dataclass
class Case:
    """A healthy account whose work was billed and invoiced, and its clerk."""

    world: World
    account: str
    issued: TrackedInvoice | None = None

    @property
    def invoice(self) -> TrackedInvoice:
        assert self.issued is not None
        return self.issued

    @property
    def psa(self) -> str:
        return f"kantata@{self.account}"

    @property
    def clerk(self) -> Clerk:
        return Clerk(self.world.control, self.account)

    async def reconcile(self, **given: object) -> Reconciled:
        wanted = ReconcileInput.model_validate(
            {
                "psa": self.psa,
                "legal_entity": US,
                "period": PERIOD,
                "tolerance_seconds": 0,
                **given,
            }
        )
        async with asyncio.timeout(WAIT_SECONDS):
            return await self.world.env.client.execute_workflow(
                Reconcile.run,
                wanted,
                id=reconcile_id(self.psa, US, PERIOD),
                task_queue=SAGA_QUEUE,
            )

    async def findings(self) -> tuple[Finding, ...]:
        return await self.world.store.reconciliation.findings(psa=self.psa)


async def healthy(world: World) -> Case:
    account = await handed_over(world)
    invoice = await invoiced(world, account)
    await looked(world, invoice, 1)
    return Case(world, account, invoice)


async def test_a_healthy_world_shows_nothing(world: World) -> None:
    case = await healthy(world)
    ended = await case.reconcile()
    assert await case.findings() == ()
    assert (ended.findings, ended.failed) == (0, {})
    run = await world.store.reconciliation.run(ended.run)
    rows = {(each.connection.partition("@")[0], each.kind): each.rows for each in run.compared}
    assert rows["kantata", "entry"] > 15
    assert rows["netsuite", "charge"] > 5
    assert rows["netsuite", "invoice"] == 1


async def found(case: Case) -> set[tuple[FindingCode, str, str]]:
    """Return code, type and id of every open finding."""
    return {(each.code, each.record_type, each.record_id) for each in await case.findings()}


def names(*broken: tuple[FindingCode, RecordRef]) -> set[tuple[FindingCode, str, str]]:
    return {(code, ref.type, ref.id) for code, ref in broken}


async def test_what_breaks_before_the_invoice_is_found_as_what_it_is_and_nothing_else(
    world: World,
) -> None:
    account = await handed_over(world)
    case = Case(world, account)
    clerk = case.clerk
    records = await world.control.records("netsuite", account, type="charge")
    first, second, *_ = [each for each in records if each["live"]]
    entries = await world.control.records("kantata", account, type="time_entries")
    ours = [e for e in entries if e["live"] and e["fields"]["workspace_id"] == AT_PROJECT]
    await clerk.delete_charge(first["id"])
    natively = await clerk.bill_natively(second["id"])
    made = await clerk.make_charge(JOB)
    by_hand = await clerk.invoice_entry(ours[0]["id"])
    unheard = await clerk.approve_unheard(ours[1]["id"])
    twice = await clerk.duplicate_project(JOB)
    merged = await clerk.merge_client(CLIENT)
    ended = await case.reconcile()
    findings = await case.findings()
    outside = [each for each in findings if each.code is FindingCode.BILLED_OUTSIDE]
    by_row = {(row.type, row.id): each.record_type for each in outside for row in each.rows}
    assert by_row["charge", natively.id] == "invoice"
    assert by_row["entry", by_hand.id] == "invoice"
    assert by_row["charge", made.id] == "charge"
    assert len(outside) == 3
    others = await found(case) - {(each.code, each.record_type, each.record_id) for each in outside}
    assert others == names(
        (FindingCode.NEVER_TOLD, unheard),
        (FindingCode.DUPLICATE_PROJECT, twice),
        (FindingCode.CLIENT_MERGED, merged),
    ) | {(FindingCode.CHARGE_DELETED, "charge", first["key"])}
    assert ended.queued == len(findings)
    assert all(each.explanation and each.remedy for each in findings)
    for each in findings:
        stored = await world.store.work_items.get(each.work_item)
        assert stored is not None
        assert stored.open
        assert stored.item.kind is WorkItemKind.FINDING


async def test_what_breaks_after_the_invoice_is_found_as_what_it_is_and_nothing_else(
    world: World,
) -> None:
    case = await healthy(world)
    clerk, invoice = case.clerk, case.invoice
    (mirror,) = await world.store.draft_sources.mirrors(invoice.record)
    edited = await clerk.edit_line(invoice.record.id)
    received = await clerk.receive(invoice.record.id)
    cancelled = await clerk.cancel_mirror(mirror.record.id)
    credited = await clerk.credit_natively(invoice.record.id)
    await case.reconcile()
    assert await found(case) == names(
        (FindingCode.AMOUNT_DIFFERS, edited),
        (FindingCode.UNAPPLIED_PAYMENT, received),
        (FindingCode.MIRROR_DIFFERS, cancelled),
        (FindingCode.NATIVE_CREDIT, credited),
    )


async def test_ids_that_are_not_written_back_any_more_are_found(world: World) -> None:
    account = await world.account()
    handle = await world.start(account, "tm-us")
    result = await world.finished(handle)
    ids = {r.step: r.receipt.record.id for r in result.steps if r.receipt is not None}
    case = Case(world, account)
    await case.reconcile()
    assert [each.explanation for each in await case.findings()] == []
    erp = await case.clerk.forget_psa_project(ids["provision_erp_project"])
    psa = await case.clerk.forget_erp_project(ids["provision_psa_project"])
    crm = await case.clerk.forget_deal(ids["write_back"])
    await case.reconcile()
    assert await found(case) == names(
        (FindingCode.LINK_MISSING, erp),
        (FindingCode.LINK_MISSING, psa),
        (FindingCode.LINK_MISSING, crm),
    )
    (deal,) = [each for each in await case.findings() if each.record_type == "deal"]
    assert {(row.type, row.id) for row in deal.rows} == {
        ("deal", crm.id),
        ("project", ids["provision_erp_project"]),
        ("project", ids["provision_psa_project"]),
    }
    assert deal.work_item, "nothing writes it again by itself: a person does"


async def test_a_deal_that_names_another_project_is_found(world: World) -> None:
    account = await world.account()
    result = await world.finished(await world.start(account, "tm-us"))
    ids = {r.step: r.receipt.record.id for r in result.steps if r.receipt is not None}
    case, other = Case(world, account), {"PSA_Project_Id__c": "9999"}
    await world.control.patch_record(
        "salesforce", account, "Opportunity", ids["write_back"], {**other}
    )
    await case.reconcile()
    (finding,) = await case.findings()
    assert (finding.code, finding.record_id) == (FindingCode.LINK_DIFFERS, ids["write_back"])
    assert "psa_project:9999" in finding.explanation
    assert f"psa_project:{ids['provision_psa_project']}" in finding.explanation


async def test_what_was_never_told_is_told_and_the_next_run_closes_it(world: World) -> None:
    account = await handed_over(world)
    case = Case(world, account)
    (entry, *_) = [
        each["id"]
        for each in await world.control.records("kantata", account, type="time_entries")
        if each["live"] and each["fields"]["workspace_id"] == AT_PROJECT
    ]
    unheard = await case.clerk.approve_unheard(entry)
    ended = await case.reconcile(heal=True)
    assert (ended.findings, ended.healed, ended.queued) == (1, 1, 0)
    (finding,) = await case.findings()
    assert finding.record_id == unheard.id
    assert finding.healed_as
    await run_ended(world, account, number=2)
    ended = await case.reconcile()
    assert (ended.findings, ended.closed) == (0, 1)
    assert await case.findings() == ()


async def test_an_invoice_paid_there_and_open_here_is_looked_at(world: World) -> None:
    case = await healthy(world)
    paid = await case.clerk.pay(case.invoice.record.id)
    ended = await case.reconcile(heal=True)
    assert await found(case) == names((FindingCode.STATUS_DIFFERS, paid))
    assert ended.healed == 1
    await seen_as(world, case.invoice, InvoiceState.SETTLED)
    mirror = (await world.store.draft_sources.mirrors(case.invoice.record))[0].record.id

    async def told() -> bool:
        return bool(await live(world, "kantata", case.account, "external_payments"))

    await world.eventually(told, f"payment on mirror {mirror}")
    ended = await case.reconcile()
    assert (ended.findings, ended.closed) == (0, 1)


async def test_what_changed_just_now_is_a_gap_of_timing_and_waits_for_nobody(world: World) -> None:
    case = await healthy(world)
    await case.clerk.receive(case.invoice.record.id)
    ended = await case.reconcile(tolerance_seconds=None)
    (finding,) = await case.findings()
    assert finding.class_ is FindingClass.TIMING_GAP
    assert (finding.work_item, ended.queued) == ("", 0)


async def test_a_system_that_cannot_be_listed_holds_up_none_other(world: World) -> None:
    case = await healthy(world)
    received = await case.clerk.receive(case.invoice.record.id)
    await case.reconcile()
    erp = f"netsuite@{case.account}"
    await world.control.add_fault("netsuite", case.account, {"path": "suiteql"}, "reject", times=50)
    ended = await case.reconcile()
    assert list(ended.failed) == [erp]
    run = await world.store.reconciliation.run(ended.run)
    assert {each.connection for each in run.compared} == {
        case.psa,
        f"salesforce@{case.account}",
        f"stripe@{case.account}",
    }
    assert await found(case) == names((FindingCode.UNAPPLIED_PAYMENT, received))
