"""Invoices under contract: what each act does, and what people do beside it."""

import asyncio
from collections.abc import Callable
from datetime import UTC, date, datetime
from decimal import Decimal

import pytest

from adapters.errors import (
    ClosedPeriod,
    Invalid,
    NotFound,
    Rejected,
    UndoRefused,
)
from canonical.invoicing import (
    ApplicationKind,
    CreditLine,
    CreditReason,
    InvoiceStatus,
    PostMode,
)
from canonical.records import RecordRef, UndoResult
from simulators.kit import FaultKind
from tests.contract.invoicing_role import (
    CREDIT_KEY,
    HOSTILE,
    INVOICE_KEY,
    LATER,
    LONG_AGO,
    ON,
    POST_KEY,
    SECOND_CREDIT_KEY,
    VOID_KEY,
    InvoicingAccount,
)


class InvoiceSuite:
    """Drafts and invoices."""

    async def test_an_invoice_is_made_once_and_found_again(self, account: InvoicingAccount) -> None:
        request = await account.wish()
        assert await account.adapter.find_invoice(INVOICE_KEY, request) is None

        made = await account.adapter.provision_invoice(INVOICE_KEY, request)

        once = await account.state()
        assert await account.adapter.provision_invoice(INVOICE_KEY, request) == made
        assert await account.state() == once
        assert await account.adapter.find_invoice(INVOICE_KEY, request) == made
        assert await account.adapter.read_invoice(made.record) == made
        assert made.external_id == INVOICE_KEY
        assert [(line.item, line.amount) for line in made.lines] == [
            (line.item, line.amount) for line in account.lines()
        ]
        assert made.net == account.money("21000")
        assert made.gross == account.gross("1341.25", "20000", "-341.25")
        assert made.tax.amount == sum(line.tax.amount for line in made.lines)
        assert request.client is not None
        assert (made.client_id, made.client_po) == (request.client.id, "PO-4711")
        assert (made.on, made.due) == (ON, date(2027, 1, 4))

    async def test_it_is_a_draft_where_the_account_has_drafts(
        self, account: InvoicingAccount
    ) -> None:
        made = await account.provision()

        assert made.issued is not account.drafts
        assert (account.adapter.invoicing.post is PostMode.IMPLICIT) is not account.drafts
        if account.drafts:
            assert (made.status, made.number, made.period) == (InvoiceStatus.DRAFT, "", "")

    async def test_it_is_issued_once(self, account: InvoicingAccount) -> None:
        made = await account.provision()

        posted = await account.adapter.post_invoice(POST_KEY, made.record)

        once = await account.state()
        assert await account.adapter.post_invoice(POST_KEY, made.record) == posted
        assert await account.state() == once
        assert posted.status is InvoiceStatus.OPEN
        assert posted.number
        assert bool(posted.period) is account.has_periods
        assert posted.remaining == posted.gross == made.gross
        assert posted.lines == made.lines

    async def test_a_draft_is_removed_once_and_an_invoice_never(
        self, account: InvoicingAccount
    ) -> None:
        request = await account.wish()
        before = await account.state()
        await account.adapter.provision_invoice(INVOICE_KEY, request)
        if not account.drafts:
            with pytest.raises(UndoRefused):
                await account.adapter.remove_invoice(INVOICE_KEY, request)
            assert await account.adapter.find_invoice(INVOICE_KEY, request) is not None
            return

        first, second = [
            await account.adapter.remove_invoice(INVOICE_KEY, request) for _ in range(2)
        ]

        assert (first.result, second.result) == (UndoResult.REMOVED, UndoResult.ABSENT)
        assert await account.state() == before
        await account.issued()
        with pytest.raises(UndoRefused):
            await account.adapter.remove_invoice(INVOICE_KEY, request)

    async def test_a_closed_period_creates_nothing(self, account: InvoicingAccount) -> None:
        if not account.has_periods:
            pytest.skip("no ledger")
        await account.client()
        await account.close_period(ON)
        before = await account.state()

        with pytest.raises(ClosedPeriod):
            await account.provision()

        assert await account.state() == before

    async def test_a_period_closed_before_the_draft_is_issued_leaves_it_a_draft(
        self, account: InvoicingAccount
    ) -> None:
        if not (account.drafts and account.has_periods):
            pytest.skip("no drafts, or no ledger")
        made = await account.provision()
        await account.close_period(ON)

        with pytest.raises(ClosedPeriod):
            await account.adapter.post_invoice(POST_KEY, made.record)

        assert (await account.adapter.read_invoice(made.record)).status is InvoiceStatus.DRAFT

    async def test_a_period_closed_between_check_and_write_creates_nothing_issued(
        self, account: InvoicingAccount
    ) -> None:
        if account.drafts or not account.has_periods:
            pytest.skip("a draft posts nothing")
        await account.client()
        fault = await account.scene.fault(FaultKind.HOLD, write=True, effect="after")
        at_work = asyncio.create_task(account.provision())
        await account.scene.control.wait_for_fault(account.scene.vendor, account.scene.name, fault)
        await account.close_period(ON)
        await account.scene.control.release(account.scene.vendor, account.scene.name)

        with pytest.raises(ClosedPeriod):
            await at_work

        assert await account.record_id(account.invoice_type, INVOICE_KEY) == ""

    @pytest.mark.parametrize("how", ["hold", "inactive"])
    async def test_a_client_that_may_not_be_billed_is_named(
        self, account: InvoicingAccount, how: str
    ) -> None:
        name = await account.block_client(how)

        with pytest.raises(Rejected, match=name):
            await account.provision()

        assert await account.record_id(account.invoice_type, INVOICE_KEY) == ""

    @pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE)
    async def test_texts_come_back_as_they_went_as_far_as_they_fit(
        self, account: InvoicingAccount, text: str
    ) -> None:
        first, *others = account.lines()
        lines = (first.model_copy(update={"description": text}), *others)

        made = await account.provision(lines=lines, title=text)

        assert text.startswith(made.lines[0].description[:100])
        assert len(made.lines[0].description) >= min(len(text), 200)

    async def test_what_is_no_id_or_not_there_is_refused(self, account: InvoicingAccount) -> None:
        for id_ in account.bad_ids:
            with pytest.raises(Invalid):
                await account.adapter.read_invoice(
                    RecordRef(system=account.scene.connection, type="invoice", id=id_)
                )
        with pytest.raises(NotFound):
            await account.adapter.read_invoice(
                RecordRef(system=account.scene.connection, type="invoice", id=account.absent_id)
            )


class ClerkSuite:
    """What people do to our invoices in the vendor's own screens."""

    async def test_a_draft_that_was_edited_is_not_found_and_is_made_whole_again(
        self, account: InvoicingAccount
    ) -> None:
        if not account.drafts:
            pytest.skip("no drafts")
        made = await account.provision()
        request = await account.wish()
        for edit in (account.edit_line(made.record, "1.00"), account.add_line(made.record)):
            await edit
            assert await account.adapter.find_invoice(INVOICE_KEY, request) is None
            again = await account.adapter.provision_invoice(INVOICE_KEY, request)
            assert again.record == made.record
            assert (again.net, again.tax) == (made.net, made.tax)
            assert [line.item for line in again.lines] == [line.item for line in made.lines]

    async def test_a_line_that_is_not_ours_is_not_issued(self, account: InvoicingAccount) -> None:
        if not account.drafts:
            pytest.skip("no drafts")
        made = await account.provision()
        await account.add_line(made.record)

        with pytest.raises(Rejected, match="line"):
            await account.adapter.post_invoice(POST_KEY, made.record)

        assert not (await account.adapter.read_invoice(made.record)).issued

    async def test_a_draft_that_an_approver_refused_is_gone_and_can_come_again(
        self, account: InvoicingAccount
    ) -> None:
        if not account.drafts:
            pytest.skip("no drafts")
        made, request = await account.provision(), await account.wish()
        await account.refuse(made.record)

        read = await account.adapter.read_invoice(made.record)
        assert (read.status, read.issued) == (InvoiceStatus.REJECTED, False)
        assert await account.adapter.find_invoice(INVOICE_KEY, request) is None
        with pytest.raises(Rejected):
            await account.adapter.post_invoice(POST_KEY, made.record)
        again = await account.adapter.provision_invoice(INVOICE_KEY, request)
        assert again.status is InvoiceStatus.DRAFT
        await account.refuse(again.record)
        undone = await account.adapter.remove_invoice(INVOICE_KEY, request)
        assert undone.result is UndoResult.REMOVED

    async def test_an_edited_invoice_is_shown_as_it_is_and_not_written_over(
        self, account: InvoicingAccount
    ) -> None:
        issued, request = await account.issued(), await account.wish()
        await account.edit_line(issued.record, "1000.00")
        edited = await account.state()

        found = await account.adapter.find_invoice(INVOICE_KEY, request)
        with pytest.raises(Rejected, match="T-1"):
            await account.adapter.provision_invoice(INVOICE_KEY, request)

        assert found is not None
        assert found.lines[0].amount == account.money("1000")
        assert found == await account.adapter.read_invoice(issued.record)
        assert await account.state() == edited

    async def test_a_deleted_invoice_is_not_there(self, account: InvoicingAccount) -> None:
        issued, request = await account.issued(), await account.wish()
        await account.delete(issued.record)

        with pytest.raises(NotFound):
            await account.adapter.read_invoice(issued.record)
        assert await account.adapter.find_invoice(INVOICE_KEY, request) is None
        undone = await account.adapter.remove_invoice(INVOICE_KEY, request)
        assert undone.result is UndoResult.ABSENT
        assert (await account.issued()).record != issued.record

    async def test_a_native_credit_is_told_from_ours_and_from_payments(
        self, account: InvoicingAccount
    ) -> None:
        issued = (await account.credited()).invoice
        await account.credit_natively(issued, "100")
        await account.pay(issued, "1000")

        invoice = await account.adapter.read_invoice(issued)

        told = sorted((a.kind, a.external_id, a.amount.amount) for a in invoice.applications)
        assert told == [
            (ApplicationKind.CREDIT, "", account.gross("100").amount),
            (ApplicationKind.CREDIT, CREDIT_KEY, account.gross("500").amount),
            (ApplicationKind.PAYMENT, "", Decimal(1000)),
        ]
        taken = sum(amount for _, _, amount in told)
        assert invoice.remaining.amount == invoice.gross.amount - taken
        assert all(a.reference and a.on >= ON for a in invoice.applications)


class SettlementSuite:
    """Payments, their reversal, and how a change is noticed."""

    async def test_payments_settle_it_and_a_reversal_opens_it_again(
        self, account: InvoicingAccount
    ) -> None:
        issued = await account.issued()
        first = await account.pay(issued.record, "4990")
        part = await account.adapter.read_invoice(issued.record)
        second = await account.pay(issued.record)
        paid = await account.adapter.read_invoice(issued.record)
        await account.unapply(second, issued.record)
        reopened = await account.adapter.read_invoice(issued.record)
        await account.delete_payment(first)
        unpaid = await account.adapter.read_invoice(issued.record)

        assert (part.status, paid.status) == (InvoiceStatus.OPEN, InvoiceStatus.SETTLED)
        assert part.remaining.amount == issued.gross.amount - 4990
        assert paid.remaining == account.money("0")
        assert {a.kind for a in paid.applications} == {ApplicationKind.PAYMENT}
        assert [a.amount for a in part.applications] == [account.money("4990")]
        for seen, left in ((reopened, part.remaining), (unpaid, issued.gross)):
            assert (seen.status, seen.remaining) == (InvoiceStatus.OPEN, left)
            applied = sum(a.amount.amount for a in seen.applications)
            assert applied == seen.gross.amount - left.amount

    async def test_more_than_is_owed_settles_it_and_no_more(
        self, account: InvoicingAccount
    ) -> None:
        issued = await account.issued()
        await account.pay(issued.record, "30000")

        invoice = await account.adapter.read_invoice(issued.record)

        assert invoice.status is InvoiceStatus.SETTLED
        assert invoice.remaining.amount <= 0
        applied = sum(a.amount.amount for a in invoice.applications)
        assert applied == invoice.gross.amount - invoice.remaining.amount

    async def test_a_credit_alone_settles_it_too(self, account: InvoicingAccount) -> None:
        issued = await account.issued()
        await account.credit_natively(issued.record, "21000")

        invoice = await account.adapter.read_invoice(issued.record)

        assert invoice.status is InvoiceStatus.SETTLED
        assert {a.kind for a in invoice.applications} == {ApplicationKind.CREDIT}

    async def test_whatever_happens_to_an_invoice_surfaces_it(
        self, account: InvoicingAccount
    ) -> None:
        async def changed() -> list[str]:
            pages = [page async for page in account.adapter.list_changed_invoices(since)]
            found = [change for page in pages for change in page]
            assert found == sorted(found, key=lambda each: each.changed_at)
            assert all(each.changed_at.tzinfo for each in found)
            return [each.external_id for each in found]

        since = LONG_AGO
        issued = await account.issued()
        assert await changed() == [INVOICE_KEY]
        request = account.credit_wish(issued.record)
        acts: tuple[Callable[[], object], ...] = (
            lambda: account.pay(issued.record, "100"),
            lambda: account.credit_natively(issued.record, "10"),
            lambda: account.adapter.provision_credit(CREDIT_KEY, request),
        )
        for act in acts:
            invoice = await account.adapter.read_invoice(issued.record)
            await account.wait_a_day()
            assert invoice.changed_at is not None
            latest = [c async for p in account.adapter.list_changed_invoices(since) for c in p]
            since = datetime.fromtimestamp(
                max(each.changed_at for each in latest).timestamp() + 3600, UTC
            )
            assert await changed() == []
            await act()  # type: ignore[misc]
            assert await changed() == [INVOICE_KEY]


class CreditSuite:
    """Credit notes and voiding."""

    async def test_a_credit_is_made_once_and_taken_back_once(
        self, account: InvoicingAccount
    ) -> None:
        issued = await account.issued()
        request = account.credit_wish(issued.record)
        before = await account.adapter.read_invoice(issued.record)
        assert await account.adapter.find_credit(CREDIT_KEY, request) is None

        made = await account.adapter.provision_credit(CREDIT_KEY, request)

        once = await account.state()
        assert await account.adapter.provision_credit(CREDIT_KEY, request) == made
        assert await account.state() == once
        assert await account.adapter.find_credit(CREDIT_KEY, request) == made
        assert (made.external_id, made.invoice, made.on) == (CREDIT_KEY, issued.record, LATER)
        assert (made.net, made.gross) == (account.money("500"), account.gross("500"))
        assert made.number
        left = (await account.adapter.read_invoice(issued.record)).remaining.amount
        assert left == before.remaining.amount - made.gross.amount
        first, second = [await account.adapter.remove_credit(CREDIT_KEY, request) for _ in range(2)]
        assert first.result in {UndoResult.REMOVED, UndoResult.REVERSED}
        assert second.result in {UndoResult.ABSENT, first.result}
        assert await account.adapter.find_credit(CREDIT_KEY, request) is None
        after = await account.adapter.read_invoice(issued.record)
        assert (after.remaining, after.applications) == (before.remaining, before.applications)

    async def test_no_more_is_credited_than_was_invoiced(self, account: InvoicingAccount) -> None:
        issued = await account.issued()
        reason = CreditReason.REBILL
        all_of_it = (
            CreditLine(item="M-1", amount=account.money("20000"), reason=reason),
            CreditLine(item="T-1", amount=account.money("0.01"), reason=reason),
        )
        too_much = (CreditLine(item="T-1", amount=account.money("1341.26"), reason=reason),)
        nowhere = (CreditLine(item="X-9", amount=account.money("1"), reason=reason),)
        for lines in (too_much, nowhere):
            with pytest.raises(Rejected, match=lines[0].item):
                await account.adapter.provision_credit(
                    CREDIT_KEY, account.credit_wish(issued.record, lines=lines)
                )
        made = await account.adapter.provision_credit(
            CREDIT_KEY, account.credit_wish(issued.record, lines=all_of_it)
        )
        assert made.net == account.money("20000.01")

        with pytest.raises(Rejected, match="M-1"):
            await account.adapter.provision_credit(
                SECOND_CREDIT_KEY, account.credit_wish(issued.record)
            )

        request = account.credit_wish(issued.record)
        assert await account.adapter.find_credit(SECOND_CREDIT_KEY, request) is None

    async def test_a_paid_invoice_can_be_credited(self, account: InvoicingAccount) -> None:
        issued = await account.issued()
        await account.pay(issued.record)

        made = await account.adapter.provision_credit(
            CREDIT_KEY, account.credit_wish(issued.record)
        )

        assert made.gross == account.gross("500")
        assert made.invoice == issued.record
        assert (await account.adapter.read_invoice(issued.record)).status is InvoiceStatus.SETTLED

    async def test_a_draft_is_not_credited(self, account: InvoicingAccount) -> None:
        if not account.drafts:
            pytest.skip("no drafts")
        made = await account.provision()

        with pytest.raises(Rejected, match="draft"):
            await account.adapter.provision_credit(CREDIT_KEY, account.credit_wish(made.record))

    async def test_a_credit_is_dated_in_an_open_period_and_stays_in_a_closed_one(
        self, account: InvoicingAccount
    ) -> None:
        if not account.has_periods:
            pytest.skip("no ledger")
        issued = await account.issued()
        request = account.credit_wish(issued.record, on=ON)
        await account.close_period(ON)
        with pytest.raises(ClosedPeriod):
            await account.adapter.provision_credit(CREDIT_KEY, request)
        assert await account.adapter.find_credit(CREDIT_KEY, request) is None

        open_request = account.credit_wish(issued.record, on=LATER)
        await account.adapter.provision_credit(CREDIT_KEY, open_request)
        await account.close_period(LATER)

        with pytest.raises(UndoRefused):
            await account.adapter.remove_credit(CREDIT_KEY, open_request)
        assert await account.adapter.find_credit(CREDIT_KEY, open_request) is not None

    async def test_voiding_is_offered_only_where_it_works(self, account: InvoicingAccount) -> None:
        issued, request = await account.issued(), await account.wish()
        without = await account.voiding(False)
        assert not without.invoicing.voids
        with pytest.raises(UndoRefused, match="credit"):
            await without.void_invoice(VOID_KEY, issued.record)
        able = await account.voiding(True)
        assert able.invoicing.voids

        results = [(await able.void_invoice(VOID_KEY, issued.record)).result for _ in range(2)]

        assert results == [UndoResult.REVERSED] * 2
        void = await able.read_invoice(issued.record)
        assert (void.status, void.remaining) == (InvoiceStatus.VOID, account.money("0"))
        assert await able.find_invoice(INVOICE_KEY, request) is None
        with pytest.raises(Rejected):
            await able.provision_credit(CREDIT_KEY, account.credit_wish(issued.record))
        assert (await able.remove_invoice(INVOICE_KEY, request)).result is UndoResult.ABSENT

    async def test_a_paid_invoice_or_a_draft_is_not_voided(self, account: InvoicingAccount) -> None:
        able = await account.voiding(True)
        made = await account.provision()
        if account.drafts:
            with pytest.raises(UndoRefused):
                await able.void_invoice(VOID_KEY, made.record)
        issued = await account.issued()
        await account.pay(issued.record, "100")

        with pytest.raises(UndoRefused):
            await able.void_invoice(VOID_KEY, issued.record)

        assert (await able.read_invoice(issued.record)).status is InvoiceStatus.OPEN
