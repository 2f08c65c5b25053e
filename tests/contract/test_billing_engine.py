"""Stripe in the role of a billing engine: what every issuing system does, and what is its own."""

import asyncio
from collections.abc import AsyncIterator
from datetime import date, datetime, timedelta
from decimal import Decimal

import pytest
import pytest_asyncio

from adapters.errors import Invalid, MissingMapping, NotFound, Rejected, UndoRefused
from canonical.ids import ExternalId
from canonical.invoicing import (
    Application,
    ApplicationKind,
    CreditLine,
    CreditReason,
    InvoiceLine,
    InvoiceStatus,
    Settlement,
)
from canonical.money import Money
from canonical.records import RecordRef, UndoResult
from simulators.kit import FaultKind
from simulators.kit.control import Control
from tests.contract.engine_role import (
    CLIENT,
    CLIENT_KEY,
    VENDOR,
    StripeAccount,
    opened,
)
from tests.contract.invoicing_role import (
    CREDIT_KEY,
    HOSTILE,
    INVOICE_KEY,
    LATER,
    LONG_AGO,
    POST_KEY,
    SECOND_CREDIT_KEY,
    VOID_KEY,
)
from tests.contract.invoicing_suites import ClerkSuite, CreditSuite, InvoiceSuite, SettlementSuite
from tests.contract.suite import open_scene

pytestmark = pytest.mark.contract

NEVER_RECALLED = ExternalId("dt-never-0000000000000000")
SECOND_KEY = ExternalId("dt-second-000000000000000")


@pytest_asyncio.fixture(loop_scope="session")
async def account(control: Control) -> AsyncIterator[StripeAccount]:
    async with open_scene(control, VENDOR) as fresh:
        yield await opened(fresh)


async def ours(account: StripeAccount, type_: str) -> list[str]:
    """Return the ids of all records that carry a key."""
    return [each["id"] for each in await account.scene.records(type_) if each["key"]]


def line(account: StripeAccount, item: str, amount: str, category: str = "") -> InvoiceLine:
    money = account.money(amount)
    return InvoiceLine(
        item=item, unit_price=money.amount, amount=money, tax_category=category, kind="fee"
    )


def part(account: StripeAccount, item: str, amount: str) -> CreditLine:
    return CreditLine(item=item, amount=account.money(amount), reason=CreditReason.REBILL)


async def applied(account: StripeAccount, invoice: RecordRef) -> tuple[Application, ...]:
    return (await account.port.read_invoice(invoice)).applications


class TestClients:
    async def test_a_client_is_made_found_and_removed(self, account: StripeAccount) -> None:
        before = await account.state()
        assert await account.port.find_client(CLIENT_KEY) is None

        record = await account.port.provision_client(CLIENT_KEY, CLIENT)

        assert record == account.reference_to("client", record.id)
        assert await account.port.find_client(CLIENT_KEY) == record
        kept = repr(await account.fields("customer", record.id))
        for said in (CLIENT.name, CLIENT.billing_email, "Floor 7", "10013", "'US'"):
            assert said in kept
        results = [(await account.port.remove_client(CLIENT_KEY, record)).result for _ in range(2)]
        assert results == [UndoResult.REMOVED, UndoResult.ABSENT]
        assert await account.port.find_client(CLIENT_KEY) is None
        assert await account.state() == before

    async def test_provisioning_twice_makes_one_client(self, account: StripeAccount) -> None:
        records = [await account.port.provision_client(CLIENT_KEY, CLIENT) for _ in range(2)]

        assert records[0] == records[1]
        assert await ours(account, "customer") == [records[0].id]

    async def test_a_client_removed_and_wanted_again_is_a_new_one(
        self, account: StripeAccount
    ) -> None:
        # The vendor still answers the first create by its key: with a record that is gone.
        removed = []
        for _ in range(3):
            record = await account.port.provision_client(CLIENT_KEY, CLIENT)
            assert record.id not in removed
            assert await account.port.find_client(CLIENT_KEY) == record
            await account.port.remove_client(CLIENT_KEY, record)
            removed.append(record.id)

    async def test_what_is_no_longer_in_the_latest_is_found_by_search(
        self, account: StripeAccount
    ) -> None:
        await account.scene.control.clock(account.scene.name, set="2026-01-05T00:00:00Z")
        record = await account.client()

        assert await account.port.find_client(CLIENT_KEY) == record

    async def test_a_search_that_lags_hides_nothing(self, account: StripeAccount) -> None:
        await account.scene.control.add_fault(
            VENDOR, account.scene.name, {}, FaultKind.STALE_SEARCH, key=str(CLIENT_KEY)
        )
        record = await account.client()

        assert await account.port.find_client(CLIENT_KEY) == record
        assert await account.port.provision_client(CLIENT_KEY, CLIENT) == record
        gone = await account.port.remove_client(CLIENT_KEY, None)

        assert gone.result is UndoResult.REMOVED
        assert await ours(account, "customer") == []

    async def test_a_client_with_invoices_is_kept_and_said_so(self, account: StripeAccount) -> None:
        record = await account.client()
        await account.scene.put(
            "invoiceitem", {"customer": record.id, "amount": 1, "currency": "eur"}
        )

        kept = await account.port.remove_client(CLIENT_KEY, record)

        assert kept.result is UndoResult.KEPT
        assert kept.residue
        assert await account.port.find_client(CLIENT_KEY) == record

    @pytest.mark.parametrize("name", HOSTILE.values(), ids=HOSTILE)
    async def test_hostile_names_are_kept_or_shortened(
        self, account: StripeAccount, name: str
    ) -> None:
        request = CLIENT.model_copy(update={"name": name})

        record = await account.port.provision_client(CLIENT_KEY, request)

        shown = str((await account.fields("customer", record.id))["name"])
        assert shown == name or (shown.endswith("…") and name.startswith(shown[:-1]))


class TestInvoices(InvoiceSuite):
    async def test_two_at_once_make_one_draft(self, account: StripeAccount) -> None:
        request = await account.wish()

        await asyncio.gather(
            *(account.port.provision_invoice(INVOICE_KEY, request) for _ in range(4)),
            return_exceptions=True,
        )

        made = await account.provision()
        assert await ours(account, "invoice") == [made.record.id]
        assert (len(made.lines), made.net) == (3, account.money("21000"))

    async def test_a_draft_is_completed_even_when_its_key_is_forgotten(
        self, account: StripeAccount
    ) -> None:
        await account.with_empty_draft()
        request = await account.wish()
        assert await account.port.find_invoice(INVOICE_KEY, request) is None
        await account.scene.control.clock(account.scene.name, advance_seconds=86_400 * 2)

        made = await account.port.provision_invoice(INVOICE_KEY, request)

        assert await ours(account, "invoice") == [made.record.id]
        assert (len(made.lines), made.net) == (3, account.money("21000"))

    async def test_pending_items_of_the_client_stay_off_the_draft(
        self, account: StripeAccount
    ) -> None:
        known = await account.client()
        await account.scene.put(
            "invoiceitem", {"customer": known.id, "amount": 1, "currency": "eur"}
        )

        assert (await account.provision()).net == account.money("21000")

    async def test_more_lines_than_the_vendor_shows_at_once(self, account: StripeAccount) -> None:
        lines = tuple(line(account, f"L-{n}", "1.01") for n in range(250))
        request = await account.wish(lines=lines)

        made = await account.port.provision_invoice(INVOICE_KEY, request)

        assert {each.item for each in made.lines} == {each.item for each in lines}
        assert made.gross == account.money("252.50")
        assert await account.port.find_invoice(INVOICE_KEY, request) == made

    async def test_the_vendor_refuses_a_line_more_than_the_port_says(
        self, account: StripeAccount, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        most = account.port.invoicing.lines_max
        assert most == 250
        lines = tuple(line(account, f"L-{n}", "1.01") for n in range(most + 1))
        request = await account.wish(lines=lines)
        with pytest.raises(Invalid, match="1 to 250 lines, not 251"):
            await account.port.provision_invoice(INVOICE_KEY, request)

        monkeypatch.setattr("adapters.stripe.mapping.LINES_MAX", most + 1)
        with pytest.raises(Rejected, match="at most 250"):
            await account.port.provision_invoice(INVOICE_KEY, request)

    @pytest.mark.parametrize(("currency", "amount"), [("JPY", "12345"), ("KWD", "12.340")])
    async def test_minor_units_are_the_currency_s_own(
        self, account: StripeAccount, currency: str, amount: str
    ) -> None:
        money = Money(amount=Decimal(amount), currency=currency)
        lines = (InvoiceLine(item="a", unit_price=money.amount, amount=money),)

        made = await account.provision(currency=currency, lines=lines)

        assert made.gross == made.lines[0].amount == money

    async def test_a_price_per_unit_is_computed_by_the_vendor(self, account: StripeAccount) -> None:
        product = await account.scene.put("product", {"name": "Consulting"})
        account.scene.adapter = await account.with_settings({"product": product})

        made = await account.provision()

        assert made.net == account.money("21000")
        kept = repr(await account.scene.records("invoiceitem"))
        assert "7.25" in kept
        assert "18500" in kept

    async def test_tax_is_the_vendor_s_and_read_back_by_line(self, account: StripeAccount) -> None:
        lines = (line(account, "a", "10.55", "standard"), line(account, "b", "5", "exempt"))

        made = await account.provision(lines=lines)

        taxes = {each.item: each.tax.amount for each in made.lines}
        assert taxes == {"a": Decimal("2.00"), "b": Decimal(0)}
        assert (made.net, made.tax, made.gross) == tuple(
            account.money(each) for each in ("15.55", "2", "17.55")
        )
        with pytest.raises(MissingMapping, match="other"):
            await account.provision(lines=(line(account, "a", "1", "other"),))

    async def test_a_rate_within_the_price_leaves_less_than_was_asked_for(
        self, account: StripeAccount
    ) -> None:
        rate = await account.scene.put(
            "tax_rate", {"display_name": "in", "percentage": "19", "inclusive": True}
        )
        account.scene.adapter = await account.with_settings({"tax_rates": {"standard": [rate]}})

        with pytest.raises(Rejected, match=r"a is 100\.00 EUR, not 119\.00 EUR"):
            await account.provision(lines=(line(account, "a", "119", "standard"),))

    async def test_what_cannot_be_sent_makes_no_call(self, account: StripeAccount) -> None:
        first, *_ = account.lines()
        requests = [
            await account.wish(lines=()),
            await account.wish(lines=(first, first)),
            await account.wish(currency="USD"),
            await account.wish(client=None),
            await account.wish(client_po="x" * 10_000),
            await account.wish(lines=(first.model_copy(update={"amount": account.money("1")}),)),
            *[
                await account.wish(client=account.reference_to("client", bad))
                for bad in account.bad_ids
            ],
        ]
        await account.scene.calls()

        for request in requests:
            with pytest.raises(Invalid):
                await account.port.provision_invoice(INVOICE_KEY, request)
        with pytest.raises(Invalid):
            await account.port.find_client(ExternalId("a' OR 'b"))
        assert await account.scene.calls() == []

    async def test_a_draft_of_nobody_is_absent_and_of_a_stranger_rejected(
        self, account: StripeAccount
    ) -> None:
        nobody = await account.wish(client=None)
        assert (await account.port.remove_invoice(INVOICE_KEY, nobody)).result is UndoResult.ABSENT
        stranger = account.reference_to("client", "cus_0000000000")

        with pytest.raises(Rejected):
            await account.provision(client=stranger)

    async def test_issuing_says_the_same_by_any_key(self, account: StripeAccount) -> None:
        issued = await account.issued()

        assert await account.port.post_invoice(NEVER_RECALLED, issued.record) == issued
        assert await account.port.find_invoice(INVOICE_KEY, await account.wish()) == issued

    async def test_the_invoice_date_is_the_one_asked_for(self, account: StripeAccount) -> None:
        account.scene.adapter = await account.with_settings({"time_zone": "Pacific/Auckland"})
        made = await account.provision(on=date(2026, 11, 2), payment_days=14)

        invoice = await account.port.post_invoice(POST_KEY, made.record)

        assert (invoice.on, invoice.due) == (date(2026, 11, 2), date(2026, 11, 16))

    async def test_what_was_paid_since_is_told_by_a_repeated_issue(
        self, account: StripeAccount
    ) -> None:
        invoice = await account.issued()
        await account.pay(invoice.record)

        again = await account.port.post_invoice(POST_KEY, invoice.record)

        assert again.status is InvoiceStatus.SETTLED
        assert again == await account.port.read_invoice(invoice.record)
        assert again.remaining == account.money("0")

    async def test_a_draft_made_again_after_a_void_is_a_new_one(
        self, account: StripeAccount
    ) -> None:
        invoice = await account.issued()
        for key in (VOID_KEY, VOID_KEY, NEVER_RECALLED):
            undone = await account.port.void_invoice(key, invoice.record)
            assert (undone.result, undone.record) == (UndoResult.REVERSED, invoice.record)
        voided = await account.port.read_invoice(invoice.record)
        assert (voided.status, voided.number) == (InvoiceStatus.VOID, invoice.number)

        made = await account.provision()

        assert made.record != invoice.record
        assert (made.status, made.net) == (InvoiceStatus.DRAFT, invoice.net)

    async def test_a_paid_invoice_is_not_voided_and_named(self, account: StripeAccount) -> None:
        invoice = await account.issued()
        await account.pay_outside(invoice.record)

        with pytest.raises(UndoRefused) as caught:
            await account.port.void_invoice(VOID_KEY, invoice.record)
        assert (caught.value.record_type, caught.value.record_id) == ("invoice", invoice.record.id)

    async def test_a_missing_invoice_is_not_found_and_nothing_to_void(
        self, account: StripeAccount
    ) -> None:
        absent = account.reference_to("invoice", account.absent_id)

        with pytest.raises(NotFound):
            await account.port.post_invoice(POST_KEY, absent)
        undone = await account.port.void_invoice(VOID_KEY, absent)
        assert undone.result is UndoResult.ABSENT


class TestClerks(ClerkSuite):
    async def test_a_line_that_a_person_took_off_is_added_again(
        self, account: StripeAccount
    ) -> None:
        made, request = await account.provision(), await account.wish()
        await account.remove("invoiceitem", await account.item("M-1"))
        assert await account.port.find_invoice(INVOICE_KEY, request) is None

        again = await account.port.provision_invoice(INVOICE_KEY, request)

        assert (again.record, again.net) == (made.record, made.net)

    async def test_a_line_that_a_person_added_is_pending_again(
        self, account: StripeAccount
    ) -> None:
        made = await account.provision()
        await account.add_line(made.record)

        again = await account.provision()

        assert again == made
        items = [each["fields"] for each in await account.scene.records("invoiceitem")]
        (extra,) = [each for each in items if each["description"] == "Extra"]
        assert extra["invoice"] is None

    async def test_a_draft_whose_sum_a_person_changed_is_not_issued(
        self, account: StripeAccount
    ) -> None:
        made = await account.provision()
        await account.edit_line(made.record, "1341.24")

        with pytest.raises(Rejected, match=r"its lines are 20,999\.99 EUR now"):
            await account.port.post_invoice(POST_KEY, made.record)

        assert not (await account.port.read_invoice(made.record)).issued

    async def test_a_correction_of_the_draft_is_issued(self, account: StripeAccount) -> None:
        made = await account.provision()
        await account.provision(lines=account.lines()[:2])

        issued = await account.port.post_invoice(POST_KEY, made.record)

        assert issued.net == account.money("21341.25")

    async def test_an_issued_invoice_is_not_brought_into_another_form(
        self, account: StripeAccount
    ) -> None:
        await account.issued()
        first, *others = account.lines()
        other = first.model_copy(update={"quantity": Decimal(1), "amount": account.money("185")})
        before = await account.state()

        with pytest.raises(Rejected, match=r"T-1 is 1,341\.25 EUR, not 185\.00 EUR"):
            await account.provision(lines=(other, *others))
        with pytest.raises(Rejected, match="N-1 is missing"):
            await account.provision(lines=(first, *others, line(account, "N-1", "1")))

        assert await account.state() == before

    async def test_a_draft_that_a_person_deleted_is_not_there(self, account: StripeAccount) -> None:
        made, request = await account.provision(), await account.wish()
        await account.delete(made.record)

        with pytest.raises(NotFound):
            await account.port.read_invoice(made.record)
        undone = await account.port.remove_invoice(INVOICE_KEY, request)
        assert undone.result is UndoResult.ABSENT
        assert (await account.provision()).record != made.record


class TestSettlement(SettlementSuite):
    async def test_what_is_paid_outside_settles_it(self, account: StripeAccount) -> None:
        issued = await account.issued()
        await account.pay(issued.record, "4990")
        await account.pay_outside(issued.record)

        invoice = await account.port.read_invoice(issued.record)

        assert (invoice.status, invoice.remaining) == (InvoiceStatus.SETTLED, account.money("0"))
        amounts = [each.amount.amount for each in invoice.applications]
        assert sorted(amounts) == [Decimal(4990), Decimal(20000)]

    async def test_a_part_paid_back_opens_that_part(self, account: StripeAccount) -> None:
        issued = await account.issued()
        payment = await account.pay(issued.record)
        refund = await account.refund(payment, "90")

        invoice = await account.port.read_invoice(issued.record)

        assert (invoice.status, invoice.remaining) == (InvoiceStatus.OPEN, account.money("90"))
        (back,) = [each for each in invoice.applications if each.amount.amount < 0]
        assert (back.id, back.kind, back.reference) == (refund, ApplicationKind.PAYMENT, payment)
        assert back.amount == account.money("-90")

    @pytest.mark.parametrize(("decision", "left"), [("", "24990"), ("lost", "24990"), ("won", "0")])
    async def test_a_dispute_takes_the_payment_back_until_it_is_won(
        self, account: StripeAccount, decision: str, left: str
    ) -> None:
        issued = await account.issued()
        payment = await account.pay(issued.record)
        dispute = await account.scene.put("dispute", {"payment_intent": payment})
        if decision:
            await account.patch("dispute", dispute, status=decision)

        invoice = await account.port.read_invoice(issued.record)

        assert invoice.remaining == account.money(left)
        ids = [each.id for each in invoice.applications if each.amount.amount < 0]
        assert ids == ([dispute] if left != "0" else [])

    async def test_what_was_paid_too_much_pays_the_next_invoice(
        self, account: StripeAccount
    ) -> None:
        issued = await account.issued()
        await account.pay(issued.record, "25000")
        assert (await account.port.read_invoice(issued.record)).remaining == account.money("0")
        lines = (line(account, "a", "100"),)
        made = await account.port.provision_invoice(SECOND_KEY, await account.wish(lines=lines))

        following = await account.port.post_invoice(POST_KEY, made.record)

        (used,) = following.applications
        assert (used.kind, used.amount) == (ApplicationKind.PAYMENT, account.money("10"))
        assert (following.status, following.remaining) == (
            InvoiceStatus.OPEN,
            account.money("90"),
        )

    async def test_an_uncollectible_invoice_is_told_and_can_still_be_paid(
        self, account: StripeAccount
    ) -> None:
        issued = await account.issued()
        await account.patch("invoice", issued.record.id, status="uncollectible")

        told = await account.port.read_invoice(issued.record)
        await account.pay_outside(issued.record)

        assert (told.status, told.remaining) == (InvoiceStatus.UNCOLLECTIBLE, issued.remaining)
        paid = await account.port.read_invoice(issued.record)
        assert paid.status is InvoiceStatus.SETTLED

    @pytest.mark.parametrize("what", ["refund", "dispute", "outside", "void", "uncollectible"])
    async def test_what_leaves_no_trace_on_the_invoice_surfaces_it_too(
        self, account: StripeAccount, what: str
    ) -> None:
        issued = await account.issued()
        payment = await account.pay(issued.record) if what in {"refund", "dispute"} else ""
        pages = [page async for page in account.port.list_changed_invoices(LONG_AGO)]
        ((change,),) = pages
        since: datetime = change.changed_at + timedelta(hours=1)
        await account.wait_a_day()
        match what:
            case "refund":
                await account.refund(payment, "1")
            case "dispute":
                await account.scene.put("dispute", {"payment_intent": payment})
            case "outside":
                await account.pay_outside(issued.record)
            case _:
                await account.patch("invoice", issued.record.id, status=what)

        changed = [
            each async for page in account.port.list_changed_invoices(since) for each in page
        ]

        assert [(each.record, each.external_id) for each in changed] == [
            (issued.record, INVOICE_KEY)
        ]


class TestCredits(CreditSuite):
    async def test_a_credit_made_again_after_a_void_is_a_new_one(
        self, account: StripeAccount
    ) -> None:
        first = await account.credited()
        request = account.credit_wish(first.invoice)
        await account.port.remove_credit(CREDIT_KEY, request)

        second = await account.port.provision_credit(CREDIT_KEY, request)

        assert second.record != first.record
        assert await account.port.find_credit(CREDIT_KEY, request) == second

    @pytest.mark.parametrize("settlement", Settlement)
    async def test_a_credit_of_what_is_paid_says_where_it_goes(
        self, account: StripeAccount, settlement: Settlement
    ) -> None:
        invoice = await account.issued()
        await account.pay(invoice.record)
        request = account.credit_wish(invoice.record, settlement=settlement)

        credit = await account.port.provision_credit(CREDIT_KEY, request)

        assert credit.gross == account.money("595")
        known = await account.fields("customer", (await account.client()).id)
        assert known["balance"] == (-59_500 if settlement is Settlement.BALANCE else 0)
        assert await account.port.provision_credit(CREDIT_KEY, request) == credit
        parts = {each.id: each.amount.amount for each in await applied(account, invoice.record)}
        place = "balance" if settlement is Settlement.BALANCE else "outside"
        assert parts[credit.record.id] == -parts[f"{credit.record.id}-{place}"] == 595
        with pytest.raises(UndoRefused):
            await account.port.remove_credit(CREDIT_KEY, request)

    async def test_a_credit_of_what_was_refunded_already_takes_the_refund(
        self, account: StripeAccount
    ) -> None:
        invoice = await account.issued()
        refund = await account.refund(await account.pay(invoice.record), "500")

        credit = await account.port.provision_credit(
            CREDIT_KEY, account.credit_wish(invoice.record)
        )

        there = await account.port.read_invoice(invoice.record)
        assert (there.status, there.remaining) == (InvoiceStatus.SETTLED, account.money("0"))
        parts = {each.id: each.amount.amount for each in there.applications}
        assert (parts[refund], parts[credit.record.id]) == (Decimal(-500), Decimal(595))
        assert parts[f"{credit.record.id}-balance"] == Decimal(-95)

    async def test_a_credit_of_what_was_lost_in_a_dispute_closes_it(
        self, account: StripeAccount
    ) -> None:
        invoice = await account.issued()
        payment = await account.pay(invoice.record)
        await account.scene.put("dispute", {"payment_intent": payment, "amount": 59_500})
        assert (await account.port.read_invoice(invoice.record)).remaining == account.money("595")

        request = account.credit_wish(invoice.record, settlement=Settlement.ELSEWHERE)
        await account.port.provision_credit(CREDIT_KEY, request)

        there = await account.port.read_invoice(invoice.record)
        assert (there.status, there.remaining) == (InvoiceStatus.SETTLED, account.money("0"))

    async def test_credits_take_their_share_of_the_tax(self, account: StripeAccount) -> None:
        made = await account.provision(lines=(line(account, "M-1", "1000.01", "standard"),))
        invoice = await account.port.post_invoice(POST_KEY, made.record)
        await account.pay(invoice.record)
        taken = []
        for key, net in ((CREDIT_KEY, "33.33"), (SECOND_CREDIT_KEY, "966.68")):
            request = account.credit_wish(invoice.record, lines=(part(account, "M-1", net),))
            taken.append(await account.port.provision_credit(key, request))

        assert [each.tax.amount for each in taken] == [Decimal("6.33"), Decimal("183.67")]
        assert sum(each.gross.amount for each in taken) == invoice.gross.amount

    async def test_each_line_s_reason_is_kept_with_it(self, account: StripeAccount) -> None:
        invoice = await account.issued()
        lines = tuple(
            CreditLine(item=item, amount=account.money("1"), reason=reason)
            for item, reason in (("M-1", CreditReason.REBILL), ("T-1", CreditReason.CONCESSION))
        )

        credit = await account.port.provision_credit(
            CREDIT_KEY, account.credit_wish(invoice.record, lines=lines)
        )

        kept = [each["fields"] for each in await account.scene.records("credit_note_line_item")]
        assert [each["metadata"] for each in kept] == [
            {"dealthread_reason": "rebill"},
            {"dealthread_reason": "concession"},
        ]
        note = await account.fields("credit_note", credit.record.id)
        assert note["reason"] is None

    async def test_what_is_no_credit_is_refused(self, account: StripeAccount) -> None:
        invoice = await account.issued()

        for item, amount in (("M-1", "20000.01"), ("Z-9", "1"), ("D-1", "1"), ("M-1", "-1")):
            request = account.credit_wish(invoice.record, lines=(part(account, item, amount),))
            with pytest.raises(Invalid):
                await account.port.provision_credit(CREDIT_KEY, request)
        twice = (part(account, "M-1", "1"), part(account, "M-1", "1"))
        with pytest.raises(Invalid):
            await account.port.provision_credit(
                CREDIT_KEY, account.credit_wish(invoice.record, lines=twice)
            )
        assert await account.scene.records("credit_note") == []

    async def test_a_credit_is_dated_as_asked(self, account: StripeAccount) -> None:
        credit = await account.credited()

        (told,) = await applied(account, credit.invoice)

        assert (credit.on, told.on, told.reference) == (LATER, LATER, credit.number)
