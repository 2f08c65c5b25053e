"""The life of an issued invoice: paid in part and in full, over-paid, reversed, told once."""

from decimal import Decimal

import pytest
from pydantic import JsonValue

from canonical.invoicing import Delivery
from canonical.lifecycle import InvoiceState, SettledBy, TrackedInvoice
from canonical.saga import Verb, WorkItemKind
from operations.deliveries import say_delivery
from operations.people import Refused
from store.work_items import StoredWorkItem
from tests.support.billing import live
from tests.support.invoicing import handed_over, invoiced, look, pay, seen_as
from tests.support.world import World

HALF = Decimal("0.5")


async def mirrored_payments(world: World, account: str) -> list[Decimal]:
    """Return what the PSA was told was paid, in its main units."""
    found = await live(world, "kantata", account, "external_payments")
    return [Decimal(str(each["amount_in_cents"])) / 100 for each in found]


async def test_a_part_and_the_rest_settle_it_and_the_psa_hears_of_both(world: World) -> None:
    account = await handed_over(world)
    invoice = await invoiced(world, account)
    half = (invoice.gross.amount * HALF).quantize(Decimal("0.01"))
    await pay(world, account, invoice, half)
    await look(world, invoice)
    part = await seen_as(world, invoice, InvoiceState.PART_SETTLED)
    assert part.remaining.amount == invoice.gross.amount - half
    await pay(world, account, part, part.remaining.amount)
    await look(world, invoice)
    settled = await seen_as(world, invoice, InvoiceState.SETTLED)
    assert settled.settled_by is SettledBy.CASH

    async def told() -> bool:
        return sum(await mirrored_payments(world, account)) == invoice.net.amount

    await world.eventually(told, "both payments in the PSA")


async def test_a_look_that_brings_nothing_tells_nothing(world: World) -> None:
    account = await handed_over(world)
    invoice = await invoiced(world, account)
    await pay(world, account, invoice, invoice.gross.amount)
    for _ in range(3):
        await look(world, invoice)
        await seen_as(world, invoice, InvoiceState.SETTLED)
    handle = world.env.client.get_workflow_handle(
        f"invoice/{invoice.record.system}/{invoice.record.id}"
    )
    await handle.result()
    assert len(await mirrored_payments(world, account)) == 1


async def test_an_unapplied_payment_opens_it_again(world: World) -> None:
    account = await handed_over(world)
    invoice = await invoiced(world, account)
    payment = await pay(world, account, invoice, invoice.gross.amount)
    await look(world, invoice)
    settled = await seen_as(world, invoice, InvoiceState.SETTLED)
    await world.control.patch_record(
        "netsuite",
        account,
        "customerPayment",
        payment,
        {"apply": {"items": [{"doc": invoice.record.id, "apply": False}]}},
    )
    await look(world, invoice)
    reopened = await seen_as(world, invoice, InvoiceState.ISSUED, change=settled.change + 1)
    assert reopened.remaining == invoice.gross


async def test_the_crm_shows_the_deals_money(world: World) -> None:
    account = await handed_over(world)
    invoice = await invoiced(world, account)
    crm = world.ports.crm(f"salesforce@{account}")
    deal = invoice.engagements[0].partition("/")[2]

    async def shown() -> bool:
        finances = await crm.read_finances(deal)
        return finances is not None and finances.invoiced == invoice.net

    await world.eventually(shown, "the deal's money in the CRM")
    finances = await crm.read_finances(deal)
    assert finances is not None
    assert finances.outstanding == invoice.gross
    assert finances.unbilled.amount == 0


async def test_an_invoice_that_a_clerk_deleted_is_seen(world: World) -> None:
    account = await handed_over(world)
    invoice = await invoiced(world, account)
    await world.control.delete_record("netsuite", account, "invoice", invoice.record.id)
    await look(world, invoice)
    gone = await seen_as(world, invoice, InvoiceState.GONE)
    assert gone.net == invoice.net


async def test_the_psa_shows_the_deals_money_on_its_project(world: World) -> None:
    account = await handed_over(world)
    invoice = await invoiced(world, account)

    async def shown() -> list[str]:
        found = await live(world, "kantata", account, "custom_field_values")
        return [str(each["value"]) for each in found if each["custom_field_id"] == "34"]

    async def told(what: str) -> bool:
        return any(what in each for each in await shown())

    await world.eventually(lambda: told(f"invoiced {invoice.net}, outstanding {invoice.gross}"), "")
    await pay(world, account, invoice, invoice.gross.amount)
    await look(world, invoice)
    await world.eventually(lambda: told(f"{invoice.number}: settled"), "the payment in the PSA")
    assert len(await shown()) == 1


# On its way to the client.


async def rejected(world: World, invoice: TrackedInvoice) -> StoredWorkItem | None:
    of = f"invoice/{invoice.record.system}/{invoice.record.id}"
    items = await world.store.work_items.list(workflow_id=of)
    return next((each for each in items if each.item.kind is WorkItemKind.DELIVERY), None)


async def no_longer(world: World, invoice: TrackedInvoice) -> bool:
    return await rejected(world, invoice) is None


async def test_the_erp_says_that_it_was_sent_and_that_it_came_back(world: World) -> None:
    account = await handed_over(world)
    invoice = await invoiced(world, account)

    async def status(value: str) -> None:
        fields: dict[str, JsonValue] = {"custbody_psg_ei_status": value}
        await world.control.patch_record("netsuite", account, "invoice", invoice.record.id, fields)
        await look(world, invoice)

    await status("4")
    await seen_as(world, invoice, InvoiceState.TRANSMITTED)
    await status("8")
    seen = await seen_as(world, invoice, InvoiceState.DELIVERY_REJECTED)
    assert seen.delivery_because == f"Sending Failed in netsuite@{account}"
    found = await world.eventually(lambda: rejected(world, invoice), "a work item")
    assert f"starter.py invoice transmitted {invoice.number}" in found.item.failure.message
    with pytest.raises(Refused, match="send it again"):
        await world.desk.resolve(found.item, Verb.RETRY, by="fiona", corrections={})
    # Somebody sends it by post: the field of the ERP goes on saying that it failed.
    await say_delivery(world.invoices, seen, Delivery.TRANSMITTED, because="by post", by="olivia")
    await seen_as(world, invoice, InvoiceState.TRANSMITTED)
    await world.eventually(lambda: no_longer(world, invoice), "the end of the work item")
    closed = await world.store.work_items.get(found.item.id)
    assert closed is not None
    assert closed.how == "the invoice is transmitted"
    await look(world, invoice)
    assert (await seen_as(world, invoice, InvoiceState.TRANSMITTED)).delivery_because == "by post"


async def test_a_person_says_that_it_came_back_until_it_is_sent_again(world: World) -> None:
    account = await handed_over(world)
    invoice = await invoiced(world, account)
    for by, because, why in (
        ("olivia", " ", "say why"),
        ("nobody", "x", "not in dealthread"),
    ):
        with pytest.raises(Refused, match=why):
            await say_delivery(world.invoices, invoice, Delivery.REJECTED, because=because, by=by)
    told: list[str] = []
    for because in ("wrong portal", "wrong portal"):
        await say_delivery(world.invoices, invoice, Delivery.REJECTED, because=because, by="olivia")
        await seen_as(world, invoice, InvoiceState.DELIVERY_REJECTED)
        found = await world.eventually(lambda: rejected(world, invoice), "a work item")
        told.append(found.item.id)
        await say_delivery(
            world.invoices, invoice, Delivery.TRANSMITTED, because="sent again", by="olivia"
        )
        await seen_as(world, invoice, InvoiceState.TRANSMITTED)
        await world.eventually(lambda: no_longer(world, invoice), "the end of the work item")
    # The second rejection for the same reason is another work item.
    assert len(set(told)) == 2
    # A payment says more than a delivery.
    await pay(world, account, invoice, invoice.gross.amount)
    await look(world, invoice)
    await seen_as(world, invoice, InvoiceState.SETTLED)
