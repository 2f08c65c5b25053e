"""Invoices, credits and payments of the NetSuite simulator (vendor page, 5.9 to 5.11)."""

from collections.abc import AsyncIterator

import httpx
import pytest
from pydantic import JsonValue

from simulators.kit import SimulatorStack
from simulators.kit.control import Control, ControlRefused
from simulators.netsuite import VENDOR
from tests.simulators.netsuite_account import (
    RECORD,
    SUITEQL,
    Body,
    at,
    closed,
    created,
    details,
    id_of,
    queried,
    ready,
    ref,
    shown,
    signed,
)


@pytest.fixture(name="stack")
async def make_stack() -> AsyncIterator[SimulatorStack]:
    async with SimulatorStack(vendors=[VENDOR]) as stack:
        yield stack


@pytest.fixture(name="control")
async def make_control(stack: SimulatorStack) -> AsyncIterator[Control]:
    async with Control(stack.control_url) as control:
        await control.seed("time-small", count=4)
        yield control


@pytest.fixture(name="client")
async def make_client(stack: SimulatorStack, control: Control) -> AsyncIterator[httpx.AsyncClient]:
    async with signed(stack) as client:
        yield client


BILL = f"{RECORD}/job/7002/!transform/invoice"
RESTLET = "/app/site/hosting/restlet.nl?script=customscript_x&deploy=customdeploy_x"


async def billed(client: httpx.AsyncClient, **changes: JsonValue) -> str:
    """Make an invoice over one charge of 1,000.00 EUR net, 1,190.00 gross."""
    await created(client, "charge", ready("7002", quantity=10, rate=100))
    return id_of(await client.post(BILL, json={"tranDate": "2026-11-30", **changes}))


async def credited(client: httpx.AsyncClient, invoice: str, body: Body) -> str:
    return id_of(await client.post(f"{RECORD}/invoice/{invoice}/!transform/creditMemo", json=body))


class TestBilling:
    async def test_a_project_becomes_an_invoice_over_its_ready_charges(
        self, client: httpx.AsyncClient
    ) -> None:
        held = await created(client, "charge", {**ready("7002"), "stage": ref("HOLD_FOR_BILLING")})
        first = await created(client, "charge", ready("7002", quantity=10, rate=100))
        number = await billed(client, externalId="draft-1", otherRefNum="PO-1")
        body = await shown(client, "invoice/eid:draft-1")
        assert (body["id"], body["otherRefNum"]) == (number, "PO-1")
        assert (body["subtotal"], body["taxTotal"], body["total"]) == (2000.0, 380.0, 2380.0)
        assert (body["tranId"], body["exchangeRate"]) == ("INV00001", 1.0)
        assert (at(body, "status", "id"), body["amountRemaining"]) == ("A", 2380.0)
        assert body["dueDate"] == "2026-12-30"
        lines = at(body, "item", "items")
        assert isinstance(lines, list)
        assert at(lines, 0, "charges") == first
        assert (await shown(client, f"charge/{first}"))["invoiceLine"] == 1
        assert "invoice" not in await shown(client, f"charge/{held}")
        nothing = await client.post(BILL)
        assert "at least one line item" in details(nothing)["detail"]

    async def test_only_charges_up_to_the_date_are_taken(self, client: httpx.AsyncClient) -> None:
        await created(client, "charge", ready("7002", chargeDate="2026-12-01"))
        number = await billed(client, whichChargesToAdd=ref("TRANSACTION_DATE"))
        assert (await shown(client, f"invoice/{number}"))["subtotal"] == 1000.0

    async def test_a_line_may_name_the_charges_that_it_bills(
        self, client: httpx.AsyncClient
    ) -> None:
        ids = [await created(client, "charge", ready("7002")) for _ in range(2)]
        line: Body = {"item": ref("301"), "amount": 2700, "charges": ",".join(ids)}
        body: Body = {"entity": ref("6002"), "tranDate": "2026-11-30", "item": {"items": [line]}}
        number = await created(client, "invoice", body)
        for charge in ids:
            assert at(await shown(client, f"charge/{charge}"), "invoice", "id") == number
        again = await client.post(f"{RECORD}/invoice", json=body)
        assert "not ready for billing" in details(again)["detail"]
        foreign = {**body, "entity": ref("6003")}
        assert (await client.post(f"{RECORD}/invoice", json=foreign)).status_code == 400

    async def test_a_deleted_invoice_frees_its_charges(self, client: httpx.AsyncClient) -> None:
        number = await billed(client)
        assert (await client.delete(f"{RECORD}/invoice/{number}")).status_code == 204
        assert await queried(client, f"SELECT id FROM charge WHERE invoice = {number}") == []
        assert (await client.post(BILL, json={"tranDate": "2026-11-30"})).status_code == 204

    async def test_a_person_runs_native_billing(
        self, client: httpx.AsyncClient, control: Control
    ) -> None:
        await created(client, "charge", ready("7002", quantity=10, rate=100))
        fields: Body = {"job": "7002", "tranDate": "2026-11-30"}
        made = await control.put_record("netsuite", "default", "billingRun", fields)
        assert (made["type"], made["fields"]["total"]) == ("invoice", 1190.0)
        with pytest.raises(ControlRefused, match="at least one line item"):
            await control.put_record("netsuite", "default", "billingRun", fields)

    async def test_yen_have_no_decimals_and_a_foreign_currency_has_its_rate(
        self, client: httpx.AsyncClient
    ) -> None:
        yen: Body = {"entity": ref("7004"), "tranDate": "2026-11-30"}
        yen["item"] = {"items": [{"item": ref("301"), "quantity": 1.5, "rate": 3333}]}
        body = await shown(client, f"invoice/{await created(client, 'invoice', yen)}")
        assert (body["subtotal"], body["taxTotal"], body["total"]) == (5000, 500, 5500)
        pound = {**yen, "entity": ref("7003")}
        body = await shown(client, f"invoice/{await created(client, 'invoice', pound)}")
        assert (body["exchangeRate"], body["total"]) == (1.170507, 5949.41)

    async def test_with_approval_routing_it_posts_when_it_is_approved(
        self, client: httpx.AsyncClient, control: Control
    ) -> None:
        setting: Body = {"invoiceApprovalRouting": True}
        await control.patch_record("netsuite", "default", "governance", "1", setting)
        number = await billed(client)
        body = await shown(client, f"invoice/{number}")
        assert at(body, "status", "id") == "D"
        pay = f"{RECORD}/invoice/{number}/!transform/customerPayment"
        assert "not open" in details(await client.post(pay))["detail"]
        await closed(control, "210")
        url = f"{RECORD}/invoice/{number}"
        late = await client.patch(url, json={"approvalStatus": ref("2")})
        assert "open accounting period" in details(late)["detail"]
        move: Body = {"approvalStatus": ref("2"), "tranDate": "2026-12-01"}
        assert (await client.patch(url, json=move)).status_code == 204
        body = await shown(client, f"invoice/{number}")
        assert (at(body, "status", "id"), at(body, "postingPeriod", "id")) == ("A", "211")


class TestSettlement:
    async def test_payments_and_credits_settle_an_invoice(self, client: httpx.AsyncClient) -> None:
        number = await billed(client)
        pay = f"{RECORD}/invoice/{number}/!transform/customerPayment"
        part = await client.post(pay, json={"payment": 190, "tranDate": "2026-12-05"})
        body = await shown(client, f"invoice/{number}")
        assert (body["amountPaid"], body["amountRemaining"]) == (190.0, 1000.0)
        memo = await credited(client, number, {"externalId": "cm-1", "tranDate": "2026-12-06"})
        credit = await shown(client, f"creditMemo/{memo}")
        assert (credit["total"], credit["applied"], credit["unapplied"]) == (1190.0, 1000.0, 190.0)
        assert at(credit, "createdFrom", "id") == number
        body = await shown(client, f"invoice/{number}")
        assert (at(body, "status", "id"), body["amountRemaining"]) == ("B", 0.0)
        q = (
            "SELECT l.nextdoc, l.foreignamount, t.tranid, t.type FROM nexttransactionlinelink l "
            f"JOIN transaction t ON t.id = l.nextdoc WHERE l.previousdoc = {number} "
            "AND l.linktype = 'Payment' ORDER BY l.nextdoc"
        )
        assert await queried(client, q) == [
            {
                "nextdoc": id_of(part),
                "foreignamount": "190",
                "tranid": "PYMT00001",
                "type": "CustPymt",
            },
            {"nextdoc": memo, "foreignamount": "1000", "tranid": "CM00001", "type": "CustCred"},
        ]
        assert "dependent" in details(await client.delete(f"{RECORD}/invoice/{number}"))["detail"]

    async def test_an_unapplied_payment_opens_the_invoice_again(
        self, client: httpx.AsyncClient
    ) -> None:
        number = await billed(client)
        pay = f"{RECORD}/invoice/{number}/!transform/customerPayment"
        payment = id_of(await client.post(pay))
        assert at(await shown(client, f"invoice/{number}"), "status", "id") == "B"
        line: Body = {"doc": ref(number), "apply": False}
        url = f"{RECORD}/customerPayment/{payment}"
        assert (await client.patch(url, json={"apply": {"items": [line]}})).status_code == 204
        assert (await shown(client, f"invoice/{number}"))["amountRemaining"] == 1190.0
        assert (await client.delete(url)).status_code == 204

    async def test_no_more_is_applied_than_there_is(self, client: httpx.AsyncClient) -> None:
        number = await billed(client)
        line: Body = {"doc": ref(number), "apply": True, "amount": 1190.01}
        body: Body = {"customer": ref("6002"), "payment": 2000, "apply": {"items": [line]}}
        answer = await client.post(f"{RECORD}/customerPayment", json=body)
        assert details(answer)["o:errorPath"] == "apply"
        foreign = await client.post(
            f"{RECORD}/customerPayment", json={**body, "customer": ref("6003")}
        )
        assert foreign.status_code == 400

    async def test_a_closed_invoice_is_credited_in_an_open_period(
        self, client: httpx.AsyncClient, control: Control
    ) -> None:
        number = await billed(client)
        await closed(control, "210")
        url = f"{RECORD}/invoice/{number}/!transform/creditMemo"
        early = await client.post(url, json={"tranDate": "2026-11-30"})
        assert "open accounting period" in details(early)["detail"]
        await credited(client, number, {"tranDate": "2026-12-01"})
        assert at(await shown(client, f"invoice/{number}"), "status", "id") == "B"
        (row,) = await queried(client, f"SELECT id FROM charge WHERE invoice = {number}")
        assert row["id"]  # a credit memo frees no charge

    async def test_the_script_voids_what_is_open(
        self, client: httpx.AsyncClient, control: Control
    ) -> None:
        number = await billed(client)
        ask: Body = {"type": "invoice", "id": number}
        assert (await client.post(RESTLET, json=ask)).json() == {"voided": True}
        body = await shown(client, f"invoice/{number}")
        assert (at(body, "status", "id"), body["total"]) == ("V", 0.0)
        again = await client.post(RESTLET, json=ask)
        assert (again.status_code, "already" in again.json()["error"]["message"]) == (400, True)

    async def test_in_a_closed_period_a_reversing_journal_voids_where_the_account_allows(
        self, client: httpx.AsyncClient, control: Control
    ) -> None:
        await control.clock(set="2026-12-02T10:00:00Z")
        number = await billed(client)
        await closed(control, "210")
        ask: Body = {"type": "invoice", "id": number}
        async with httpx.AsyncClient(base_url=client.base_url) as bare:
            assert (await bare.post(RESTLET, json=ask)).status_code == 401
        refused = await client.post(RESTLET, json=ask)
        assert "open accounting period" in refused.json()["error"]["message"]
        setting: Body = {"voidByReversingJournal": True}
        await control.patch_record("netsuite", "default", "governance", "1", setting)
        journal = (await client.post(RESTLET, json=ask)).json()["reversingJournalId"]
        body = await shown(client, f"journalEntry/{journal}")
        assert at(body, "postingPeriod", "id") == "211"
        assert [at(body, "line", "items", n, "account", "id") for n in (0, 1)] == ["123", "119"]


class TestLedger:
    async def test_transactions_and_their_lines_are_read_by_key(
        self, client: httpx.AsyncClient
    ) -> None:
        await billed(client, externalId="draft-1")
        q = (
            "SELECT type, recordtype, BUILTIN.CF(status) AS code, BUILTIN.DF(status) AS shown, "
            "foreigntotal, foreignamountunpaid, trandate, postingperiod FROM transaction "
            "WHERE externalid IN ('draft-1', 'draft-2')"
        )
        assert await queried(client, q) == [
            {
                "type": "CustInvc",
                "recordtype": "invoice",
                "code": "CustInvc:A",
                "shown": "Invoice : Open",
                "foreigntotal": "1190",
                "foreignamountunpaid": "1190",
                "trandate": "11/30/2026",
                "postingperiod": "210",
            }
        ]
        q = (
            "SELECT l.mainline, l.taxline, l.quantity, l.foreignamount FROM transactionline l "
            "JOIN transaction t ON t.id = l.transaction WHERE t.externalid = 'draft-1' "
            "ORDER BY l.linesequencenumber"
        )
        assert [tuple(row.values()) for row in await queried(client, q)] == [
            ("T", "F", "1190"),
            ("F", "F", "-10", "-1000"),
            ("F", "T", "-190"),
        ]

    async def test_a_journal_balances_in_each_entity(self, client: httpx.AsyncClient) -> None:
        def line(account: str, side: str, amount: float, subsidiary: str) -> JsonValue:
            own: Body = {"account": ref(account), side: amount}
            return {**own, "lineSubsidiary": ref(subsidiary)}

        both = [
            line("121", "debit", 468.75, "3"),
            line("124", "credit", 468.75, "3"),
            line("126", "debit", 508.59, "2"),
            line("122", "credit", 508.59, "2"),
        ]
        head: Body = {"subsidiary": ref("3"), "toSubsidiary": ref("2"), "tranDate": "2026-11-30"}
        await created(client, "journalEntry", {**head, "line": {"items": both}})
        for lines in (both[:3], [both[0], both[3]]):
            answer = await client.post(
                f"{RECORD}/journalEntry", json={**head, "line": {"items": lines}}
            )
            assert "must balance" in details(answer)["detail"]

    async def test_expenses_are_converted_on_their_date(self, client: httpx.AsyncClient) -> None:
        line: Body = {"category": ref("1"), "currency": ref("2"), "foreignAmount": 100}
        line["customer"] = ref("7002")
        body: Body = {"entity": ref("103"), "tranDate": "2026-11-30", "expense": {"items": [line]}}
        report = await shown(
            client, f"expenseReport/{await created(client, 'expenseReport', body)}"
        )
        assert (at(report, "currency", "id"), report["total"]) == ("1", 108.5)


class TestPreferences:
    @pytest.mark.parametrize(
        ("fields", "says"),
        [({"creditHoldOverride": "ON"}, "credit hold"), ({"isInactive": True}, "entity")],
    )
    async def test_a_customer_on_hold_or_inactive_gets_no_new_invoice(
        self, client: httpx.AsyncClient, control: Control, fields: Body, says: str
    ) -> None:
        number = await billed(client)
        await created(client, "charge", ready("7002"))
        await control.patch_record("netsuite", "default", "customer", "6002", fields)
        assert says in details(await client.post(BILL))["detail"]
        url = f"{RECORD}/invoice/{number}"
        assert (await client.patch(url, json={"memo": "Paid soon"})).status_code == 204

    async def test_ready_charges_come_unasked_where_the_account_adds_them(
        self, client: httpx.AsyncClient, control: Control
    ) -> None:
        mine, other = [await created(client, "charge", ready("7002")) for _ in range(2)]
        line: Body = {"item": ref("301"), "amount": 1350, "charges": mine}
        body: Body = {"entity": ref("7002"), "tranDate": "2026-11-30", "item": {"items": [line]}}
        number = await created(client, "invoice", body)
        assert at(await shown(client, f"invoice/{number}"), "subtotal") == 1350.0
        assert (await client.delete(f"{RECORD}/invoice/{number}")).status_code == 204
        setting: Body = {"invoiceAddsReadyCharges": True}
        await control.patch_record("netsuite", "default", "governance", "1", setting)
        lines = at(
            await shown(client, f"invoice/{await created(client, 'invoice', body)}"),
            "item",
            "items",
        )
        assert isinstance(lines, list)
        assert [at(each, "charges") for each in lines] == [mine, other]

    @pytest.mark.parametrize("touches", [True, False])
    async def test_a_payment_changes_the_invoice_s_date_or_not(
        self, client: httpx.AsyncClient, control: Control, touches: bool
    ) -> None:
        setting: Body = {"settlementTouchesInvoice": touches}
        await control.patch_record("netsuite", "default", "governance", "1", setting)
        await control.clock(set="2026-12-02T10:00:00Z", freeze=True)
        number = await billed(client)
        await control.clock(set="2026-12-03T10:00:00Z", freeze=True)
        pay = f"{RECORD}/invoice/{number}/!transform/customerPayment"
        assert (await client.post(pay)).status_code == 204
        q = (
            "SELECT type, TO_CHAR(lastmodifieddate, 'YYYY-MM-DD HH24:MI:SS') AS changed "
            "FROM transaction WHERE lastmodifieddate >= "
            "TO_DATE('2026-12-03 09:59:59', 'YYYY-MM-DD HH24:MI:SS') ORDER BY id"
        )
        when = "2026-12-03 10:00:00"
        paid: Body = {"type": "CustPymt", "changed": when}
        invoiced: Body = {"type": "CustInvc", "changed": when}
        assert await queried(client, q) == ([invoiced, paid] if touches else [paid])

    async def test_a_moment_is_shown_as_a_date_and_compared_with_one(
        self, client: httpx.AsyncClient, control: Control
    ) -> None:
        await control.clock(set="2026-12-02T10:00:00Z", freeze=True)
        number = await billed(client)
        for day, rows in (("2026-12-02", 1), ("2026-12-03", 0)):
            q = (
                f"SELECT lastmodifieddate FROM transaction WHERE id = {number} "
                f"AND lastmodifieddate >= TO_DATE('{day}', 'YYYY-MM-DD')"
            )
            assert await queried(client, q) == [{"lastmodifieddate": "12/2/2026"}] * rows
        wrong = (
            "SELECT id FROM transaction "
            "WHERE lastmodifieddate > TO_DATE('x', 'YYYY-MM-DD HH24:MI:SS')"
        )
        answer = await client.post(SUITEQL, json={"q": wrong}, headers={"Prefer": "transient"})
        assert answer.status_code == 400

    async def test_the_custom_column_stays_with_its_line(self, client: httpx.AsyncClient) -> None:
        line: Body = {"item": ref("410"), "rate": 100, "custcol_dealthread_item": "M-1"}
        body: Body = {"entity": ref("6002"), "tranDate": "2026-11-30", "item": {"items": [line]}}
        number = await created(client, "invoice", body)
        memo = await credited(client, number, {"tranDate": "2026-12-01"})
        for path in (f"invoice/{number}", f"creditMemo/{memo}"):
            found = at(await shown(client, path), "item", "items", 0, "custcol_dealthread_item")
            assert found == "M-1"
        q = (
            "SELECT l.transaction, l.custcol_dealthread_item AS item FROM transactionline l "
            f"WHERE l.createdfrom = {number} AND l.mainline = 'F' AND l.taxline = 'F'"
        )
        assert await queried(client, q) == [{"transaction": memo, "item": "M-1"}]
