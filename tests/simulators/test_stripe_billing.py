"""Stripe Billing's objects: customers, invoices, tax, credit notes, meters, subscriptions."""

from collections.abc import AsyncIterator
from itertools import count

import pytest
import pytest_asyncio
from pydantic import JsonValue

from simulators.kit import SimulatorStack
from simulators.kit.control import Control, ControlRefused
from simulators.stripe import VENDOR
from tests.simulators.stripe_account import NAME, Client, Shown

DAY = 86_400
_numbers = count(1)


@pytest_asyncio.fixture(scope="module", name="stack")
async def make_stack() -> AsyncIterator[SimulatorStack]:
    async with SimulatorStack(vendors=[VENDOR]) as running:
        yield running


@pytest_asyncio.fixture(name="client")
async def make_client(stack: SimulatorStack) -> AsyncIterator[Client]:
    async with Control(stack.control_url) as control:
        client = Client(stack, control, f"billing-{next(_numbers)}")
        yield client
        await client.http.aclose()


async def rate(client: Client, percentage: str, inclusive: bool = False) -> str:
    made = await client.post(
        "tax_rates", display_name="VAT", percentage=percentage, inclusive=inclusive
    )
    return str(made["id"])


def money(invoice: Shown) -> tuple[int, int, int, int]:
    names = ("subtotal", "total", "amount_due", "amount_remaining")
    return tuple(invoice[name] for name in names)


async def test_a_customer_is_made_changed_and_deleted_for_good(client: Client) -> None:
    metadata: JsonValue = {"dealthread_key": "cust-1", "a": "1"}
    made = await client.post("customers", name="Acme", metadata=metadata)
    assert (made["object"], made["livemode"], made["balance"]) == ("customer", False, 0)
    path = f"customers/{made['id']}"
    changed = await client.post(path, email="x@acme.test", metadata={"a": "", "b": "2"})
    assert changed["metadata"] == {"dealthread_key": "cust-1", "b": "2"}
    assert (changed["name"], changed["email"]) == ("Acme", "x@acme.test")
    assert (await client.post(path, name=""))["name"] is None
    stub = {"id": made["id"], "object": "customer", "deleted": True}
    assert await client.delete(path) == stub
    assert await client.get(path) == stub
    assert (await client.get("customers"))["data"] == []
    assert await client.effects() == [
        ("create", "customer", "cust-1"),
        ("update", "customer", "cust-1"),
        ("update", "customer", "cust-1"),
        ("delete", "customer", "cust-1"),
    ]


async def test_pending_items_stay_out_unless_they_are_included(client: Client) -> None:
    customer = await client.customer()
    item = await client.post(
        "invoiceitems", customer=customer, currency="usd", quantity_decimal="7.5",
        unit_amount_decimal="12345.5", description="Work", metadata={"dealthread_key": "line-1"},
    )  # fmt: skip
    assert (item["amount"], item["invoice"], item["quantity_decimal"]) == (92591, None, "7.5")
    without = await client.post("invoices", customer=customer)
    assert (without["lines"]["data"], without["auto_advance"]) == ([], False)
    included = await client.post(
        "invoices", customer=customer, pending_invoice_items_behavior="include"
    )
    (line,) = included["lines"]["data"]
    assert (line["amount"], line["id"]) == (92591, "il_" + item["id"][3:])
    assert line["parent"]["invoice_item_details"]["invoice_item"] == item["id"]
    assert line["metadata"] == {"dealthread_key": "line-1"}
    assert money(included) == (92591,) * 4
    assert (await client.get("invoiceitems", pending=True))["data"] == []
    await client.delete(f"invoices/{included['id']}")
    back = await client.get(f"invoiceitems/{item['id']}")
    assert back["invoice"] is None  # it was pending before


async def test_lines_of_a_draft_are_added_changed_and_removed(client: Client) -> None:
    draft = await client.draft(1000, -250, 30)
    assert money(draft) == (780,) * 4
    first, second, third = draft["lines"]["data"]
    path = f"invoices/{draft['id']}"
    changed = await client.post(
        f"{path}/update_lines",
        lines=[{"id": first["id"], "amount": 2000}, {"id": third["id"], "description": "x"}],
    )
    assert changed["total"] == 1780
    removed = await client.post(
        f"{path}/remove_lines",
        lines=[{"id": second["id"], "behavior": "delete"}],
    )
    assert [line["amount"] for line in removed["lines"]["data"]] == [2000, 30]
    item = first["parent"]["invoice_item_details"]["invoice_item"]
    await client.delete(f"invoiceitems/{item}")
    assert (await client.get(path))["total"] == 30
    await client.post(f"{path}/finalize")
    for call in ("add_lines", "update_lines", "remove_lines"):
        error = await client.refused(f"{path}/{call}", lines=[{"id": third["id"]}])
        assert (error["status"], error["code"]) == (400, "invoice_not_editable")
    error = await client.refused(path, description="late")
    assert error["code"] == "invoice_not_editable"
    assert (await client.post(path, metadata={"a": "b"}))["metadata"] == {"a": "b"}


async def test_all_lines_or_none_are_added(client: Client) -> None:
    draft = await client.draft()
    lines: JsonValue = [{"amount": 1}, {"amount": 2, "quantity": 3}]
    error = await client.refused(f"invoices/{draft['id']}/add_lines", lines=lines)
    assert error["param"] == "quantity"
    assert (await client.get("invoiceitems"))["data"] == []
    assert ("create", "invoiceitem", None) not in await client.effects()


async def test_an_invoice_carries_ten_lines_and_pages_the_rest(client: Client) -> None:
    draft = await client.draft(*range(1, 14))
    assert [len(draft["lines"]["data"]), draft["lines"]["has_more"]] == [10, True]
    last = draft["lines"]["data"][-1]["id"]
    rest = await client.get(f"invoices/{draft['id']}/lines", starting_after=last)
    assert [line["amount"] for line in rest["data"]] == [11, 12, 13]
    assert rest["has_more"] is False


async def test_tax_is_worked_out_by_line(client: Client) -> None:
    outside, inside = await rate(client, "8.875"), await rate(client, "19", inclusive=True)
    draft = await client.draft(default_tax_rates=[outside])
    lines: JsonValue = [{"amount": 999}, {"amount": 1001}, {"amount": 119, "tax_rates": [inside]}]
    invoice = await client.post(f"invoices/{draft['id']}/add_lines", lines=lines)
    # 88.66 and 88.84 round by line to 89 each; 119 holds 19.
    assert [tax["amount"] for tax in invoice["total_taxes"]] == [178, 19]
    assert (invoice["subtotal"], invoice["total"]) == (2119, 2297)
    assert invoice["total_excluding_tax"] == 2100
    exempt = await client.draft(
        100, default_tax_rates=[outside], customer=await client.customer(tax_exempt="reverse")
    )
    assert exempt["total"] == 100
    assert exempt["total_taxes"][0]["taxability_reason"] == "reverse_charge"


@pytest.mark.parametrize(
    ("currency", "unit", "amount"), [("jpy", "7800.5", 11701), ("kwd", "1234.5", 1852)]
)
async def test_minor_units_are_the_currencys_own(
    client: Client, currency: str, unit: str, amount: int
) -> None:
    draft = await client.draft(currency=currency)
    lines: JsonValue = [{"quantity_decimal": "1.5", "unit_amount_decimal": unit}]
    draft = await client.post(f"invoices/{draft['id']}/add_lines", lines=lines)
    assert (draft["currency"], draft["total"]) == (currency, amount)
    await client.post(f"invoices/{draft['id']}/finalize")
    path = f"invoices/{draft['id']}/pay"
    if currency == "kwd":  # 1.852: cards take no third decimal
        error = await client.refused(path, payment_method="pm_card_visa")
        assert "last digit must be 0" in error["message"]
    paid = await client.post(path, paid_out_of_band=True)
    assert (paid["status"], paid["amount_paid_off_stripe"]) == ("paid", amount)


async def test_the_state_machine_of_an_invoice(client: Client) -> None:
    customer = await client.customer(invoice_prefix="ACME")
    sending: JsonValue = {"collection_method": "send_invoice", "days_until_due": 14}
    assert isinstance(sending, dict)
    one = await client.open(500, customer=customer, **sending)
    assert (one["status"], one["number"]) == ("open", "ACME-0001")
    assert one["due_date"] - one["status_transitions"]["finalized_at"] == 14 * DAY
    error = await client.refused(f"invoices/{one['id']}/finalize")
    assert (error["type"], "already finalized" in error["message"]) == (
        "invalid_request_error",
        True,
    )
    assert (await client.post(f"invoices/{one['id']}/send"))["status"] == "open"
    void = await client.post(f"invoices/{one['id']}/void")
    assert (void["status"], void["status_transitions"]["voided_at"] is None) == ("void", False)
    for call in ("void", "pay", "mark_uncollectible", "send", "finalize"):
        assert (await client.refused(f"invoices/{one['id']}/{call}"))["status"] == 400
    assert (await client.send("DELETE", f"invoices/{one['id']}")).status_code == 400
    two = await client.open(70, customer=customer)
    assert two["number"] == "ACME-0002"
    bad = await client.post(f"invoices/{two['id']}/mark_uncollectible")
    assert bad["status"] == "uncollectible"
    paid = await client.post(f"invoices/{two['id']}/pay", paid_out_of_band=True)
    assert (paid["status"], paid["amount_remaining"]) == ("paid", 0)
    assert (await client.refused(f"invoices/{two['id']}/pay"))["message"].endswith("already paid")
    zero = await client.open(customer=customer)
    assert (zero["status"], zero["total"]) == ("paid", 0)
    draft = await client.draft(5, customer=customer)
    gone = await client.delete(f"invoices/{draft['id']}")
    assert gone == {"id": draft["id"], "object": "invoice", "deleted": True}
    assert (await client.send("GET", f"invoices/{draft['id']}")).status_code == 404


async def test_cards_pay_or_decline_by_their_magic_names(client: Client) -> None:
    invoice = await client.open(500)
    path = f"invoices/{invoice['id']}"
    error = await client.refused(f"{path}/pay", payment_method="pm_card_chargeDeclined")
    assert (error["status"], error["type"], error["code"], error["decline_code"]) == (
        402, "card_error", "card_declined", "generic_decline",
    )  # fmt: skip
    left = await client.get(path)
    assert (left["status"], left["attempted"], left["attempt_count"]) == ("open", True, 1)
    paid = await client.post(f"{path}/pay", payment_method="pm_card_visa", expand=["payments"])
    assert (paid["status"], paid["amount_paid"]) == ("paid", 500)
    assert [row["status"] for row in paid["payments"]["data"]] == ["paid", "open"]
    listed = await client.get(
        "invoice_payments", invoice=invoice["id"], expand=["data.payment.payment_intent"]
    )
    assert listed["data"][0]["payment"]["payment_intent"]["status"] == "succeeded"
    types = [event["type"] for event in (await client.get("events", limit=100))["data"]]
    assert {"invoice.paid", "invoice.payment_succeeded", "invoice.payment_failed"} <= set(types)


async def test_a_part_is_paid_by_an_attached_payment(client: Client) -> None:
    customer = await client.customer()
    invoice = await client.open(500, customer=customer)
    path = f"invoices/{invoice['id']}"
    for amount, status, left in ((200, "open", 300), (300, "paid", 0)):
        intent = await client.post(
            "payment_intents", amount=amount, currency="usd", customer=customer,
            payment_method="pm_card_visa", confirm=True,
        )  # fmt: skip
        now = await client.post(f"{path}/attach_payment", payment_intent=intent["id"])
        assert (now["status"], now["amount_remaining"]) == (status, left)
        error = await client.refused(f"{path}/void")
        assert error["status"] == 400


async def test_credit_lowers_what_is_due_before_it_is_paid_back(client: Client) -> None:
    vat = await rate(client, "10")
    invoice = await client.open(1005, 500, default_tax_rates=[vat])
    assert invoice["total"] == 1656  # 100.5 rounds to 101
    first, second = (line["id"] for line in invoice["lines"]["data"])
    part: JsonValue = [{"type": "invoice_line_item", "invoice_line_item": first, "amount": 335}]
    taxes, notes = [], []
    for _ in range(3):
        note = await client.post(
            "credit_notes", invoice=invoice["id"], lines=part, reason="order_change"
        )
        taxes.append(note["total_taxes"][0]["amount"])
        notes.append(note)
    assert sum(taxes) == 101  # thirds of a line carry all of its tax
    assert [note["number"][-6:] for note in notes] == ["-CN-01", "-CN-02", "-CN-03"]
    error = await client.refused("credit_notes", invoice=invoice["id"], lines=part)
    assert "exceeds what is left of the line" in error["message"]
    now = await client.get(f"invoices/{invoice['id']}")
    assert (now["total"], now["amount_due"], now["amount_remaining"]) == (1656, 550, 550)
    assert now["pre_payment_credit_notes_amount"] == 1106
    void = await client.post(f"credit_notes/{notes[2]['id']}/void")
    assert void["status"] == "void"
    assert (await client.refused(f"credit_notes/{notes[2]['id']}/void"))["status"] == 400
    now = await client.get(f"invoices/{invoice['id']}")
    assert now["amount_remaining"] == 550 + notes[2]["total"]
    rest: JsonValue = [
        {"type": "invoice_line_item", "invoice_line_item": first, "amount": 335},
        {"type": "invoice_line_item", "invoice_line_item": second, "quantity": 1},
    ]
    await client.post("credit_notes", invoice=invoice["id"], lines=rest)
    now = await client.get(f"invoices/{invoice['id']}")
    assert (now["status"], now["amount_remaining"], now["amount_paid"]) == ("paid", 0, 0)
    error = await client.refused("credit_notes", invoice=invoice["id"], amount=1)
    assert "exceeds what is left" in error["message"]


async def test_the_excess_of_a_credit_note_is_given_back_exactly(client: Client) -> None:
    customer = await client.customer()
    invoice = await client.open(1000, customer=customer)
    await client.post(f"invoices/{invoice['id']}/pay", payment_method="pm_card_visa")
    error = await client.refused("credit_notes", invoice=invoice["id"], amount=400)
    assert "must equal the post payment credit note amount (400)" in error["message"]
    note = await client.post(
        "credit_notes", invoice=invoice["id"], amount=400,
        refund_amount=150, credit_amount=150, out_of_band_amount=100,
    )  # fmt: skip
    assert (note["type"], note["post_payment_amount"]) == ("post_payment", 400)
    assert [row["amount_refunded"] for row in note["refunds"]] == [150]
    assert (await client.get(f"customers/{customer}"))["balance"] == -150
    assert (await client.refused(f"credit_notes/{note['id']}/void"))["status"] == 400
    next_one = await client.open(500, customer=customer)
    assert (next_one["starting_balance"], next_one["amount_due"]) == (-150, 350)
    await client.post(f"invoices/{next_one['id']}/void")
    assert (await client.get(f"customers/{customer}"))["balance"] == -150
    shown = await client.get(
        "credit_notes/preview", invoice=invoice["id"], amount=9, credit_amount=9
    )
    assert shown["total"] == 9
    assert len((await client.get("credit_notes", invoice=invoice["id"]))["data"]) == 1


async def test_what_is_paid_too_much_goes_to_the_customer_s_balance(client: Client) -> None:
    customer = await client.customer()
    invoice = await client.open(1000, customer=customer)
    intent = await client.post(
        "payment_intents", amount=1300, currency="usd", customer=customer, confirm=True,
        payment_method="pm_card_visa",
    )  # fmt: skip

    # As a person in the Dashboard does.
    await client.control.patch_record(
        NAME, client.account, "invoice", str(invoice["id"]), {"payment_intent": intent["id"]}
    )

    now = await client.get(f"invoices/{invoice['id']}")
    assert (now["status"], now["amount_remaining"], now["amount_overpaid"]) == ("paid", 0, 300)
    assert (await client.get(f"customers/{customer}"))["balance"] == -300


async def test_the_payer_s_bank_disputes_a_payment_and_decides(client: Client) -> None:
    invoice = await client.open(1000)
    await client.post(f"invoices/{invoice['id']}/pay", payment_method="pm_card_visa")
    (payment,) = (await client.get("invoice_payments", invoice=invoice["id"]))["data"]
    intent = payment["payment"]["payment_intent"]
    by: JsonValue = {"type": "payment_intent", "payment_intent": intent}
    assert (await client.get("invoice_payments", payment=by))["data"] == [payment]
    other: JsonValue = {"type": "payment_intent", "payment_intent": "pi_0"}
    assert (await client.get("invoice_payments", payment=other))["data"] == []

    made = await client.control.put_record(
        NAME, client.account, "dispute", {"payment_intent": intent}
    )

    (dispute,) = (await client.get("disputes", payment_intent=intent))["data"]
    assert (dispute["id"], dispute["amount"], dispute["status"]) == (
        made["id"],
        1000,
        "needs_response",
    )
    await client.control.patch_record(
        NAME, client.account, "dispute", made["id"], {"status": "won"}
    )
    assert (await client.get(f"disputes/{made['id']}"))["status"] == "won"
    types = [event["type"] for event in (await client.get("events", limit=2))["data"]]
    assert types == ["charge.dispute.closed", "charge.dispute.created"]
    with pytest.raises(ControlRefused):
        await client.control.put_record(
            NAME, client.account, "dispute", {"payment_intent": "pi_none"}
        )


async def test_a_draft_takes_no_credit_note_and_no_payment(client: Client) -> None:
    draft = await client.draft(100)
    assert (await client.refused("credit_notes", invoice=draft["id"], amount=1))["status"] == 400
    error = await client.refused(f"invoices/{draft['id']}/pay", paid_out_of_band=True)
    assert error["status"] == 400


async def test_a_revision_voids_what_it_revises_once_finalized(client: Client) -> None:
    old = await client.open(100)
    new = await client.post("invoices", from_invoice={"action": "revision", "invoice": old["id"]})
    assert (new["total"], (await client.get(f"invoices/{old['id']}"))["status"]) == (100, "open")
    await client.post(f"invoices/{new['id']}/finalize")
    assert (await client.get(f"invoices/{old['id']}"))["status"] == "void"


async def test_a_failed_finalization_leaves_a_draft_that_says_why(client: Client) -> None:
    draft = await client.draft(100)
    late = await client.draft(100, customer=draft["customer"], auto_advance=True)
    await client.delete(f"customers/{draft['customer']}")
    assert (await client.refused(f"invoices/{draft['id']}/finalize"))["code"] == "resource_missing"
    await client.control.clock(client.account, advance_seconds=3601)
    for id_ in (draft["id"], late["id"]):
        left = await client.get(f"invoices/{id_}")
        assert (left["status"], left["number"]) == ("draft", None)
        assert left["last_finalization_error"]["code"] == "resource_missing"
    told = await client.get("events", type="invoice.finalization_failed")
    assert len(told["data"]) == 2


async def test_the_clock_finalizes_and_makes_overdue(client: Client) -> None:
    advancing = await client.draft(100, auto_advance=True)
    waiting = await client.draft(100)
    due = await client.open(100, collection_method="send_invoice", days_until_due=7)
    await client.control.clock(client.account, advance_seconds=3601)
    assert (await client.get(f"invoices/{advancing['id']}"))["status"] == "open"
    assert (await client.get(f"invoices/{waiting['id']}"))["status"] == "draft"
    await client.control.clock(client.account, advance_seconds=7 * DAY)
    overdue = await client.get("events", type="invoice.overdue")
    assert [event["data"]["object"]["id"] for event in overdue["data"]] == [due["id"]]


async def test_meter_events_count_once_by_their_identifier(client: Client) -> None:
    customer = await client.customer()
    meter = await client.post(
        "billing/meters", display_name="Hours", event_name="hours",
        default_aggregation={"formula": "sum"},
    )  # fmt: skip
    now = int((await client.get(f"customers/{customer}"))["created"])

    async def tell(identifier: str, value: str, who: str = customer, at: int = now) -> Shown:
        payload: JsonValue = {"stripe_customer_id": who, "value": value}
        answer = await client.send(
            "POST", "billing/meter_events", event_name="hours", payload=payload,
            identifier=identifier, timestamp=at,
        )  # fmt: skip
        body: Shown = answer.json()
        return body

    async def counted() -> float:
        start = now // 60 * 60
        found = await client.get(
            f"billing/meters/{meter['id']}/event_summaries", customer=customer,
            start_time=start - 3600, end_time=start + 3600,
        )  # fmt: skip
        return float(found["data"][0]["aggregated_value"])

    assert (await tell("e1", "1.5"))["object"] == "billing.meter_event"
    await tell("e2", "2")
    assert "already exists" in (await tell("e1", "9"))["error"]["message"]
    assert "35 days" in (await tell("e3", "1", at=now - 36 * DAY))["error"]["message"]
    assert "35 days" in (await tell("e3", "1", at=now + 400))["error"]["message"]
    assert (await tell("e4", "1", who="cus_none"))["identifier"] == "e4"  # told later
    reports = await client.get("events", type="v1.billing.meter.error_report_triggered")
    assert len(reports["data"]) == 1
    assert await counted() == 3.5
    await client.post(
        "billing/meter_event_adjustments", event_name="hours", type="cancel",
        cancel={"identifier": "e2"},
    )  # fmt: skip
    assert await counted() == 1.5
    await client.control.clock(client.account, advance_seconds=DAY + 1)
    assert (await tell("e1", "1"))["identifier"] == "e1"
    await client.post(f"billing/meters/{meter['id']}/deactivate")
    assert (await tell("e9", "1"))["error"]["code"] == "resource_missing"


async def test_a_monthly_fee_is_billed_renewed_and_credited(client: Client) -> None:
    await client.control.clock(client.account, set="2026-01-31T00:00:00Z", freeze=True)
    product = await client.post("products", name="Retainer")
    price = await client.post(
        "prices", product=product["id"], currency="usd", unit_amount=31000,
        recurring={"interval": "month"},
    )  # fmt: skip
    customer = await client.customer()
    subscription = await client.post(
        "subscriptions", customer=customer, items=[{"price": price["id"], "quantity": 2}],
        collection_method="send_invoice", days_until_due=30, expand=["latest_invoice"],
    )  # fmt: skip
    first = subscription["latest_invoice"]
    assert (subscription["status"], first["status"], first["total"]) == ("active", "draft", 62000)
    assert first["parent"]["subscription_details"]["subscription"] == subscription["id"]
    assert (await client.send("DELETE", f"invoices/{first['id']}")).status_code == 400
    await client.control.clock(client.account, set="2026-02-28T00:00:00Z")
    both = await client.get("invoices", subscription=subscription["id"])
    assert [row["billing_reason"] for row in both["data"]] == [
        "subscription_cycle",
        "subscription_create",
    ]
    assert both["data"][1]["status"] == "open"
    await client.control.clock(client.account, set="2026-03-14T00:00:00Z")
    path = f"subscriptions/{subscription['id']}"
    assert (await client.delete(path, prorate=True, invoice_now=True))["status"] == "canceled"
    last = (await client.get("invoices", subscription=subscription["id"]))["data"][0]
    assert last["total"] == -31000  # 14 of 28 days
    again = await client.get("subscriptions", customer=customer)
    assert again["data"] == []
    assert len((await client.get("subscriptions", status="all"))["data"]) == 1
    automatic = await client.customer(payment_method="pm_card_visa")
    paid = await client.post(
        "subscriptions", customer=automatic, items=[{"price": price["id"]}],
        expand=["latest_invoice"],
    )  # fmt: skip
    assert paid["latest_invoice"]["status"] == "paid"


async def test_a_person_acts_in_the_dashboard_under_the_same_rules(client: Client) -> None:
    control, account = client.control, client.account
    made = await control.put_record(NAME, account, "customer", {"name": "Bolt"}, "cust-9")
    assert made["key"] == "cust-9"
    invoice = await client.open(100, customer=made["id"])
    await control.patch_record(NAME, account, "invoice", invoice["id"], {"status": "paid"})
    assert (await client.get(f"invoices/{invoice['id']}"))["status"] == "paid"
    with pytest.raises(ControlRefused, match="open or uncollectible"):
        await control.patch_record(NAME, account, "invoice", invoice["id"], {"status": "void"})
    with pytest.raises(ControlRefused, match="only delete draft"):
        await control.delete_record(NAME, account, "invoice", invoice["id"])
    with pytest.raises(ControlRefused, match="no creation of 'event'"):
        await control.put_record(NAME, account, "event", {})


@pytest.mark.parametrize("scenario", ["standard", "bulk", "empty", "time", "time-small"])
async def test_every_scenario_is_known(client: Client, scenario: str) -> None:
    made = await client.control.seed(scenario, count=3, account=client.account)
    customers = await client.get("customers")
    expected = {"empty": 0, "bulk": 6}.get(scenario, 3)
    assert len(customers["data"]) == expected
    assert len(made[NAME].get("customers", {})) == expected  # type: ignore[arg-type]
