"""What clerks and outages break shows in an extract, as what it is; and nothing else changes.

It proves the acts of `tests.support.breakage`, on which the tests of reconciliation rest.
"""

from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import cast

import pytest
import pytest_asyncio

from adapters.ports import Crm, Extracts
from adapters.psa_port import Psa
from canonical.deal import DealLinks
from canonical.extracts import ExtractKind, ExtractRow, ExtractState
from canonical.records import RecordRef
from simulators.kit.control import Control
from tests.contract.extract_role import LISTERS, listed, money
from tests.contract.psa_role import PROJECT_KEY
from tests.contract.suite import Scene, open_scene
from tests.support.breakage import Clerk

pytestmark = pytest.mark.contract

Rows = dict[tuple[ExtractKind, str], ExtractRow]


class Account:
    """A healthy account, its clerk, and what its system lists."""

    def __init__(self, scene: Scene[Extracts]) -> None:
        self.scene = scene
        self.clerk = Clerk(scene.control, scene.name)
        self.before: Rows = {}

    async def rows(self) -> Rows:
        """Return all rows but for when they changed."""
        kinds = self.scene.adapter.extract_kinds()
        found = [row for kind in kinds for row in await listed(self.scene.adapter, kind)]
        return {(row.kind, row.id): row.model_copy(update={"changed_at": None}) for row in found}

    def id(self, kind: ExtractKind, *states: ExtractState) -> str:
        """Return the first row of a kind in one of these states."""
        found = (row.id for row in self.before.values() if row.kind is kind)
        return next(id_ for id_ in found if self.before[kind, id_].state in states)

    async def broken(self, act: Awaitable[RecordRef]) -> tuple[RecordRef, Rows, Rows, Rows]:
        """Break something; return what it was, and what came, went and changed by it."""
        ref = await act
        assert ref.system == self.scene.connection
        after = await self.rows()
        came = {key: row for key, row in after.items() if key not in self.before}
        gone = {key: row for key, row in self.before.items() if key not in after}
        changed = {
            key: row for key, row in after.items() if key in self.before and row != self.before[key]
        }
        assert came or gone or changed, "nothing shows"
        return ref, came, gone, changed


Opener = Callable[[str], Awaitable[Account]]


@pytest_asyncio.fixture(loop_scope="session")
async def opener(control: Control) -> AsyncIterator[Opener]:
    """What opens a healthy account of a vendor."""
    stacks = []

    async def opened(vendor: str) -> Account:
        context = open_scene(control, vendor)
        scene = await context.__aenter__()
        stacks.append(context)
        await LISTERS[vendor].open(scene)
        account = Account(scene)
        account.before = await account.rows()
        return account

    yield opened
    for context in stacks:
        await context.__aexit__(None, None, None)


@pytest_asyncio.fixture(loop_scope="session")
async def erp(opener: Opener) -> Account:
    return await opener("netsuite")


@pytest_asyncio.fixture(loop_scope="session")
async def psa(opener: Opener) -> Account:
    return await opener("kantata")


@pytest_asyncio.fixture(loop_scope="session")
async def engine(opener: Opener) -> Account:
    return await opener("stripe")


def key(ref: RecordRef) -> tuple[ExtractKind, str]:
    return ExtractKind(ref.type), ref.id


class TestErp:
    async def test_a_deleted_charge_is_gone(self, erp: Account) -> None:
        waiting = erp.id(ExtractKind.CHARGE, ExtractState.ON_HOLD)
        ref, came, gone, changed = await erp.broken(erp.clerk.delete_charge(waiting))
        assert (list(gone), came, changed) == ([key(ref)], {}, {})

    async def test_a_charge_that_was_billed_natively_names_an_invoice_without_our_key(
        self, erp: Account
    ) -> None:
        waiting = erp.id(ExtractKind.CHARGE, ExtractState.ON_HOLD)
        ref, came, gone, changed = await erp.broken(erp.clerk.bill_natively(waiting))
        (invoice,) = came.values()
        assert (invoice.kind, invoice.external_id) == (ExtractKind.INVOICE, "")
        assert changed[key(ref)].state is ExtractState.BILLED
        assert {row.invoice_id for row in changed.values()} == {invoice.id}
        assert not gone

    async def test_a_charge_of_somebody_elses_has_no_key(self, erp: Account) -> None:
        project = erp.id(ExtractKind.PROJECT, ExtractState.OPEN)
        ref, came, _, _ = await erp.broken(erp.clerk.make_charge(project))
        assert (list(came), came[key(ref)].external_id) == ([key(ref)], "")
        assert came[key(ref)].amount == money("99", "EUR")

    async def test_a_native_credit_has_no_key_and_names_the_invoice(self, erp: Account) -> None:
        invoice = erp.id(ExtractKind.INVOICE, ExtractState.PART_PAID)
        ref, came, _, changed = await erp.broken(erp.clerk.credit_natively(invoice))
        credit = came[key(ref)]
        assert (credit.external_id, credit.invoice_id) == ("", invoice)
        assert credit.amount == money("100", "EUR")
        assert list(changed) == [(ExtractKind.INVOICE, invoice)]

    async def test_a_payment_that_is_not_applied_says_what_is_left(self, erp: Account) -> None:
        invoice = erp.id(ExtractKind.INVOICE, ExtractState.PART_PAID)
        ref, came, _, changed = await erp.broken(erp.clerk.receive(invoice))
        payment = came[key(ref)]
        assert payment.state is ExtractState.UNAPPLIED
        assert payment.left == payment.amount == money("500", "EUR")
        assert (payment.invoice_id, changed) == ("", {})

    async def test_a_merged_client_is_gone_and_what_was_its_names_another(
        self, erp: Account
    ) -> None:
        project = erp.before[ExtractKind.PROJECT, erp.id(ExtractKind.PROJECT, ExtractState.OPEN)]
        ref, came, gone, changed = await erp.broken(erp.clerk.merge_client(project.client_id))
        (other,) = came.values()
        assert list(gone) == [key(ref)]
        assert other.external_id == ""
        assert changed
        assert {row.client_id for row in changed.values()} == {other.id}
        assert all(row.client_id != ref.id for row in (await erp.rows()).values())

    async def test_a_duplicate_project_notes_the_same_project_of_the_psa(
        self, erp: Account
    ) -> None:
        (noted,) = [row for row in erp.before.values() if row.links]
        ref, came, _, changed = await erp.broken(erp.clerk.duplicate_project(noted.id))
        copy = came[key(ref)]
        assert (copy.links, copy.client_id) == (noted.links, noted.client_id)
        assert (copy.external_id, changed) == ("", {})

    async def test_a_note_that_was_emptied_is_missing(self, erp: Account) -> None:
        (noted,) = [row for row in erp.before.values() if row.links]
        ref, _, _, changed = await erp.broken(erp.clerk.forget_psa_project(noted.id))
        assert {at: row.links for at, row in changed.items()} == {key(ref): ()}

    async def test_a_line_edited_by_a_cent_shows_in_the_net(self, erp: Account) -> None:
        invoice = erp.id(ExtractKind.INVOICE, ExtractState.PART_PAID)
        ref, came, gone, changed = await erp.broken(erp.clerk.edit_line(invoice))
        was, now = erp.before[key(ref)].amount, changed[key(ref)].amount
        assert was is not None
        assert now is not None
        assert now.amount - was.amount == Decimal("0.01")
        assert (list(changed), came, gone) == ([key(ref)], {}, {})

    async def test_a_charge_that_was_taken_off_its_invoice_is_ready(self, erp: Account) -> None:
        invoice = await self._billed_now(erp)
        ref, came, gone, changed = await erp.broken(erp.clerk.take_off_invoice(invoice.id))
        assert (list(changed), came, gone) == ([key(ref)], {}, {})
        assert changed[key(ref)].state is ExtractState.READY
        assert changed[key(ref)].invoice_id == ""

    async def test_the_charges_of_a_deleted_invoice_are_ready(self, erp: Account) -> None:
        invoice = await self._billed_now(erp)
        held = {at for at, row in erp.before.items() if row.invoice_id == invoice.id}
        ref, came, gone, changed = await erp.broken(erp.clerk.delete_invoice(invoice.id))
        assert (came, list(gone), set(changed)) == ({}, [key(ref)], held)
        assert {row.state for row in changed.values()} == {ExtractState.READY}

    async def _billed_now(self, erp: Account) -> ExtractRow:
        """Return an invoice made from charges, on which nothing was paid."""
        waiting = erp.id(ExtractKind.CHARGE, ExtractState.ON_HOLD)
        _, came, _, _ = await erp.broken(erp.clerk.bill_natively(waiting))
        erp.before = await erp.rows()
        (invoice,) = came.values()
        return invoice

    async def test_an_invoice_that_was_paid_or_voided_says_so(self, erp: Account) -> None:
        invoice = erp.id(ExtractKind.INVOICE, ExtractState.PART_PAID)
        ref, _, _, changed = await erp.broken(erp.clerk.pay(invoice))
        assert changed[key(ref)].state is ExtractState.PAID
        waiting = erp.id(ExtractKind.CHARGE, ExtractState.ON_HOLD)
        _, came, _, _ = await erp.broken(erp.clerk.bill_natively(waiting))
        (other,) = (row.id for row in came.values() if row.kind is ExtractKind.INVOICE)
        ref, came, _, changed = await erp.broken(erp.clerk.void(other))
        assert came[key(ref)].state is ExtractState.VOIDED
        assert changed[ExtractKind.CHARGE, waiting].state is ExtractState.READY


class TestPsa:
    async def test_an_entry_invoiced_by_hand_is_billed_by_an_invoice_without_our_key(
        self, psa: Account
    ) -> None:
        free = next(
            row.id
            for row in psa.before.values()
            if row.state is ExtractState.OPEN and row.id.startswith("time/")
        )
        act = psa.clerk.invoice_entry(free.partition("/")[2])
        ref, came, gone, changed = await psa.broken(act)
        (invoice,) = came.values()
        assert (invoice.kind, invoice.external_id) == (ExtractKind.INVOICE, "")
        assert list(changed) == [key(ref)]
        assert changed[key(ref)].state is ExtractState.BILLED
        assert changed[key(ref)].invoice_id == invoice.id
        assert not gone

    async def test_an_entry_leaves_our_reservation_for_a_persons_invoice(
        self, psa: Account
    ) -> None:
        held = next(
            row.id
            for row in psa.before.values()
            if row.state is ExtractState.RESERVED and row.id.startswith("time/")
        )
        ref, _, _, changed = await psa.broken(psa.clerk.invoice_entry(held.partition("/")[2]))
        assert changed[key(ref)].state is ExtractState.BILLED

    async def test_approved_time_that_the_feed_never_told_is_listed(self, psa: Account) -> None:
        like = next(row.id for row in psa.before.values() if row.id.startswith("time/"))
        heard = await self._feed(psa)
        act = psa.clerk.approve_unheard(like.partition("/")[2])
        ref, came, _, _ = await psa.broken(act)
        assert came[key(ref)].state is ExtractState.OPEN
        assert came[key(ref)].minutes == 90
        assert await self._feed(psa) == heard
        await psa.clerk.invoice_entry(ref.id.partition("/")[2])
        assert await self._feed(psa) > heard

    async def _feed(self, psa: Account) -> int:
        """Return how much the feed tells."""
        port, now = cast(Psa, psa.scene.adapter), datetime.now(UTC)
        told = port.read_changes(now - timedelta(days=1), now + timedelta(hours=1))
        return len([change async for change in told])

    async def test_a_mirror_that_was_cancelled_or_paid_says_so(self, psa: Account) -> None:
        mirror = psa.id(ExtractKind.INVOICE, ExtractState.OPEN)
        ref, _, _, changed = await psa.broken(psa.clerk.pay_mirror(mirror))
        paid = changed[key(ref)]
        assert paid.state is ExtractState.PAID
        assert paid.amount == psa.before[key(ref)].amount
        assert list(changed) == [key(ref)]

    async def test_a_cancelled_mirror_holds_nothing(self, psa: Account) -> None:
        mirror = psa.id(ExtractKind.INVOICE, ExtractState.OPEN)
        ref, _, _, changed = await psa.broken(psa.clerk.cancel_mirror(mirror))
        assert changed[key(ref)].state is ExtractState.VOIDED
        freed = [row for row in changed.values() if row.kind is ExtractKind.ENTRY]
        assert freed
        assert {(row.state, row.invoice_id) for row in freed} == {(ExtractState.OPEN, "")}

    async def test_a_reference_that_was_deleted_is_missing(self, psa: Account) -> None:
        (noted,) = [row for row in psa.before.values() if row.external_id == PROJECT_KEY]
        ref, _, _, changed = await psa.broken(psa.clerk.forget_erp_project(noted.id))
        assert {at: row.links for at, row in changed.items()} == {key(ref): ()}


class TestEngine:
    async def test_an_invoice_that_was_paid_outside_says_so(self, engine: Account) -> None:
        invoice = engine.id(ExtractKind.INVOICE, ExtractState.PART_PAID)
        ref, came, _, changed = await engine.broken(engine.clerk.pay_in_engine(invoice))
        assert changed[key(ref)].state is ExtractState.PAID
        (payment,) = came.values()
        assert payment.left is not None
        assert (payment.kind, payment.invoice_id) == (ExtractKind.PAYMENT, invoice)

    async def test_a_native_credit_has_no_key(self, engine: Account) -> None:
        invoice = engine.id(ExtractKind.INVOICE, ExtractState.PART_PAID)
        ref, came, _, _ = await engine.broken(engine.clerk.credit_in_engine(invoice))
        assert (came[key(ref)].external_id, came[key(ref)].invoice_id) == ("", invoice)

    async def test_a_payment_on_no_invoice_says_what_is_left(self, engine: Account) -> None:
        invoice = engine.id(ExtractKind.INVOICE, ExtractState.PART_PAID)
        ref, came, _, changed = await engine.broken(engine.clerk.receive_in_engine(invoice))
        assert came[key(ref)].state is ExtractState.UNAPPLIED
        assert came[key(ref)].left == money("500", "EUR")
        assert not changed

    async def test_money_that_went_back_opens_the_invoice_again(self, engine: Account) -> None:
        invoice = engine.id(ExtractKind.INVOICE, ExtractState.PART_PAID)
        left = engine.before[ExtractKind.INVOICE, invoice].left
        (payment,) = [row for row in engine.before.values() if row.kind is ExtractKind.PAYMENT]
        assert left is not None
        refund = await engine.scene.put("refund", {"payment_intent": payment.number})
        after = await engine.rows()
        again = after[ExtractKind.INVOICE, invoice].left
        assert again == left + money("100", "EUR")
        returned = after[ExtractKind.PAYMENT, refund]
        assert (returned.amount, returned.invoice_id) == (money("-100", "EUR"), invoice)
        unapplied = [row for row in after.values() if row.state is ExtractState.UNAPPLIED]
        assert unapplied == []


async def test_a_deal_can_forget_its_projects(control: Control) -> None:
    async with open_scene(control, "salesforce") as scene:
        crm = cast(Scene[Crm], scene)
        (deal, *_) = [record["id"] for record in await scene.records("Opportunity")]
        await crm.adapter.write_links(
            deal, DealLinks(psa_project_id="5001", erp_project_id="7001", erp_client_id="6001")
        )
        ref = await Clerk(control, scene.name).forget_deal(deal)
        links = await crm.adapter.read_links(deal)
    assert (ref.type, ref.id) == ("deal", deal)
    assert (links.psa_project_id, links.erp_project_id) == ("", "")
    assert links.erp_client_id == "6001"
