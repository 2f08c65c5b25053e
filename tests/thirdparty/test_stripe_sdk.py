"""Stripe's own library, unchanged but for `base_addresses`, against the simulator."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from typing import TypeVar

import pytest
import stripe

from simulators.kit import SimulatorStack
from simulators.kit.control import Control
from simulators.stripe import VENDOR
from tests.simulators.stripe_account import Receiver, receiving

pytestmark = pytest.mark.thirdparty

T = TypeVar("T")
DRAFT = "wf-1:draft:m-1"


@pytest.fixture(name="stack", scope="module")
async def make_stack() -> AsyncIterator[SimulatorStack]:
    async with SimulatorStack(vendors=[VENDOR]) as stack:
        yield stack


@pytest.fixture(name="control")
async def make_control(stack: SimulatorStack) -> AsyncIterator[Control]:
    async with Control(stack.control_url) as control:
        await control.reset()
        yield control


@pytest.fixture(name="receiver")
async def make_receiver() -> AsyncIterator[Receiver]:
    async with receiving() as receiver:
        yield receiver


@pytest.fixture(name="sdk")
def make_sdk(stack: SimulatorStack, control: Control) -> stripe.StripeClient:
    return sdk_of(stack, VENDOR.credentials("default")["api_key"])


def sdk_of(stack: SimulatorStack, key: str) -> stripe.StripeClient:
    return stripe.StripeClient(
        key, base_addresses={"api": stack.urls["stripe"]}, max_network_retries=2
    )


async def apart(call: Callable[[], T]) -> T:
    """Run the library's blocking calls beside the server's loop."""
    return await asyncio.to_thread(call)


def draft_of(sdk: stripe.StripeClient, amount: int = 1000) -> stripe.Invoice:
    customer = sdk.v1.customers.create({"name": "Acme", "email": "a@acme.test"})
    invoice = sdk.v1.invoices.create(
        {
            "customer": customer.id,
            "currency": "usd",
            "collection_method": "send_invoice",
            "days_until_due": 30,
            "metadata": {"dealthread_key": "m-1"},
        },
        {"idempotency_key": DRAFT},
    )
    return sdk.v1.invoices.add_lines(
        invoice.id, {"lines": [{"amount": amount, "description": "Work"}, {"amount": 5}]}
    )


async def test_it_bills_sends_and_credits(sdk: stripe.StripeClient) -> None:
    def work() -> None:
        rate = sdk.v1.tax_rates.create(
            {"display_name": "VAT", "percentage": 19, "inclusive": False}
        )
        draft = draft_of(sdk)
        sdk.v1.invoices.update(draft.id, {"default_tax_rates": [rate.id]})
        invoice = sdk.v1.invoices.finalize_invoice(draft.id, {"auto_advance": False})
        assert (invoice.status, invoice.total, invoice.subtotal) == ("open", 1196, 1005)
        assert invoice.number is not None
        assert invoice.total_taxes is not None
        assert invoice.total_taxes[0].amount == 191
        assert sdk.v1.invoices.send_invoice(invoice.id).status == "open"
        line = invoice.lines.data[0]
        note = sdk.v1.credit_notes.create(
            {
                "invoice": invoice.id,
                "reason": "order_change",
                "lines": [
                    {"type": "invoice_line_item", "invoice_line_item": line.id, "amount": 500}
                ],
            }
        )
        assert (note.total, note.pre_payment_amount, note.type) == (595, 595, "pre_payment")
        assert sdk.v1.invoices.retrieve(invoice.id).amount_remaining == 601
        assert sdk.v1.credit_notes.void_credit_note(note.id).status == "void"
        paid = sdk.v1.invoices.pay(
            invoice.id, {"paid_out_of_band": True, "expand": ["customer", "payments"]}
        )
        assert (paid.status, paid.amount_paid_off_stripe) == ("paid", 1196)
        assert isinstance(paid.customer, stripe.Customer)
        assert paid.payments is not None
        assert [payment.status for payment in paid.payments.data] == ["paid"]

    await apart(work)


async def test_it_voids_and_deletes(sdk: stripe.StripeClient) -> None:
    def work() -> None:
        draft = draft_of(sdk)
        assert sdk.v1.invoices.finalize_invoice(draft.id).status == "open"
        assert sdk.v1.invoices.void_invoice(draft.id).status == "void"
        other = sdk.v1.invoices.create({"customer": str(draft.customer)})
        assert sdk.v1.invoices.delete(other.id).deleted
        with pytest.raises(stripe.InvalidRequestError) as missing:
            sdk.v1.invoices.retrieve(other.id)
        assert (missing.value.http_status, missing.value.code) == (404, "resource_missing")

    await apart(work)


async def test_it_follows_pages_to_the_end(sdk: stripe.StripeClient) -> None:
    def work() -> list[str | None]:
        for number in range(23):
            sdk.v1.customers.create({"name": f"c{number}"})
        return [c.name for c in sdk.v1.customers.list({"limit": 10}).auto_paging_iter()]

    assert await apart(work) == [f"c{number}" for number in reversed(range(23))]


async def test_it_searches(sdk: stripe.StripeClient) -> None:
    def work() -> list[str]:
        draft = draft_of(sdk)
        query = "metadata['dealthread_key']:'m-1' AND status:'draft'"
        found = sdk.v1.invoices.search({"query": query})
        assert [invoice.id for invoice in found.auto_paging_iter()] == [draft.id]
        return [invoice.id for invoice in found.data]

    assert len(await apart(work)) == 1


async def test_it_replays_by_its_key(sdk: stripe.StripeClient) -> None:
    def work() -> None:
        create = sdk.v1.customers.create
        first = create({"name": "Acme"}, {"idempotency_key": "k"})
        again = create({"name": "Acme"}, {"idempotency_key": "k"})
        assert first.id == again.id
        assert again.last_response is not None
        assert again.last_response.headers["Idempotent-Replayed"] == "true"
        with pytest.raises(stripe.IdempotencyError):
            create({"name": "Bolt"}, {"idempotency_key": "k"})

    await apart(work)


@pytest.mark.parametrize("kind", ["fail_before", "fail_after", "drop_before", "drop_after"])
async def test_it_retries_without_a_second_effect(
    sdk: stripe.StripeClient, control: Control, kind: str
) -> None:
    await control.add_fault("stripe", "default", {"method": "POST"}, kind)
    made = await apart(lambda: sdk.v1.customers.create({"name": "Acme"}))
    assert made.name == "Acme"
    assert len(await control.records("stripe", type="customer")) == 1


async def test_it_retries_429_only_when_told(sdk: stripe.StripeClient, control: Control) -> None:
    await control.add_fault("stripe", "default", {}, "rate_limit")
    with pytest.raises(stripe.RateLimitError):
        await apart(lambda: sdk.v1.customers.list())
    await control.add_fault("stripe", "default", {}, "rate_limit", options={"should_retry": True})
    assert (await apart(lambda: sdk.v1.customers.list())).data == []


async def test_it_understands_every_refusal(
    sdk: stripe.StripeClient, stack: SimulatorStack, control: Control
) -> None:
    def work() -> None:
        with pytest.raises(stripe.AuthenticationError, match="Invalid API Key provided"):
            sdk_of(stack, "sk_test_wrong").v1.customers.list()
        invoice = draft_of(sdk)
        sdk.v1.invoices.finalize_invoice(invoice.id)
        with pytest.raises(stripe.InvalidRequestError, match="already finalized"):
            sdk.v1.invoices.finalize_invoice(invoice.id)
        with pytest.raises(stripe.CardError) as declined:
            sdk.v1.invoices.pay(invoice.id, {"payment_method": "pm_card_chargeDeclined"})
        assert declined.value.code == "card_declined"
        assert sdk.v1.invoices.pay(invoice.id, {"payment_method": "pm_card_visa"}).status == "paid"
        with pytest.raises(stripe.InvalidRequestError, match="Missing required param: customer"):
            sdk.v1.invoice_items.create({"amount": 1})

    await apart(work)


async def test_it_verifies_webhooks(
    sdk: stripe.StripeClient, control: Control, receiver: Receiver
) -> None:
    endpoint = await apart(
        lambda: sdk.v1.webhook_endpoints.create(
            {"url": receiver.url, "enabled_events": ["customer.created"]}
        )
    )
    secret = endpoint.secret or ""
    await apart(lambda: sdk.v1.customers.create({"name": "Acme"}))
    ((body, header),) = await receiver.wait(1)
    event = sdk.construct_event(body, header, secret)
    assert event.type == "customer.created"
    assert event.data.object["name"] == "Acme"
    await control.emit("stripe", "default", {"events": [event.id], "age_seconds": 600})
    with pytest.raises(stripe.SignatureVerificationError, match="tolerance"):
        sdk.construct_event(*receiver.got[1], secret)
    await control.emit("stripe", "default", {"events": [event.id], "forged": True})
    with pytest.raises(stripe.SignatureVerificationError, match="No signatures found"):
        sdk.construct_event(*receiver.got[2], secret)
    assert json.loads(receiver.got[2][0])["id"] == event.id


async def test_it_meters_and_subscribes(sdk: stripe.StripeClient) -> None:
    def work() -> None:
        customer = sdk.v1.customers.create({"payment_method": "pm_card_visa"})
        sdk.v1.billing.meters.create(
            {
                "display_name": "Hours",
                "event_name": "hours",
                "default_aggregation": {"formula": "sum"},
            }
        )
        payload = {"stripe_customer_id": customer.id, "value": "1.5"}
        event = sdk.v1.billing.meter_events.create(
            {"event_name": "hours", "payload": payload, "identifier": "e-1"}
        )
        assert event.identifier == "e-1"
        product = sdk.v1.products.create({"name": "Retainer"})
        price = sdk.v1.prices.create(
            {
                "product": product.id,
                "currency": "jpy",
                "unit_amount": 500000,
                "recurring": {"interval": "month"},
            }
        )
        subscription = sdk.v1.subscriptions.create(
            {"customer": customer.id, "items": [{"price": price.id}], "expand": ["latest_invoice"]}
        )
        assert subscription.status == "active"
        invoice = subscription.latest_invoice
        assert isinstance(invoice, stripe.Invoice)
        assert (invoice.currency, invoice.amount_paid) == ("jpy", 500000)
        assert sdk.v1.subscriptions.cancel(subscription.id).status == "canceled"

    await apart(work)
