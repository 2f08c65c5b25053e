"""The life of an issued invoice: paid in part and in full, over-paid, reversed, told once."""

from decimal import Decimal

from canonical.lifecycle import InvoiceState, SettledBy
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
