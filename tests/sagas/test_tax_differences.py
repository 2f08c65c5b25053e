"""A tax that the issuing system makes otherwise than expected: final, shown, accepted."""

from typing import Any

import pytest
from pydantic import JsonValue

from canonical.saga import Verb, WorkItem
from operations.cli.items import suggestion
from operations.people import Refused
from operations.tax_differences import open_difference
from tests.support.invoicing import (
    NO_CRM,
    SUBSIDIARY,
    assert_invoiced,
    invoiced,
    milestone_handed_over,
)
from tests.support.world import World

PERCENT = 8


async def taxed(world: World, account: str, percent: float = PERCENT) -> None:
    """Let the ERP levy a tax that the policy does not expect."""
    country = await country_of(world, account)
    for code in await world.control.records("netsuite", account, type="salesTaxItem"):
        fields: dict[str, Any] = dict(code["fields"])
        if fields["nexusCountry"]["id"] == country:
            rate: dict[str, JsonValue] = {"rate": percent}
            await world.control.patch_record("netsuite", account, "salesTaxItem", code["id"], rate)


async def country_of(world: World, account: str) -> str:
    """Return the country of the company that bills."""
    for each in await world.control.records("netsuite", account, type="subsidiary"):
        if each["id"] == SUBSIDIARY:
            fields: dict[str, Any] = dict(each["fields"])
            return str(fields["country"]["id"])
    raise AssertionError(f"no subsidiary {SUBSIDIARY}")


async def with_tax(world: World) -> tuple[str, Any]:
    """Return an account and its invoice, on which the ERP levied a tax."""
    account = await milestone_handed_over(world, crm=NO_CRM)
    await taxed(world, account)
    return account, await invoiced(world, account)


async def test_a_tax_beyond_tolerance_is_shown_with_both_figures_and_stops_nothing(
    world: World,
) -> None:
    account, invoice = await with_tax(world)
    await assert_invoiced(world, account, await world.store.drafts.get(invoice.draft))
    assert str(invoice.tax) == "120.00 USD"
    item = await waits(world, invoice)
    assert "120.00 USD of tax" in item.failure.message
    assert "0.00 USD was expected on 1,500.00 USD net" in item.failure.message
    assert (item.amount, item.client_id) == ("120.00 USD", invoice.client_id)
    assert item.verbs == ()


async def waits(world: World, invoice: Any) -> WorkItem:
    """Return the open work item about an invoice's tax."""
    item = await open_difference(world.store, invoice)
    assert item is not None
    return item


async def test_finance_accepts_it_with_a_reason_and_nobody_else(world: World) -> None:
    _, invoice = await with_tax(world)
    item = await waits(world, invoice)
    with pytest.raises(Refused, match="invoice accept-tax"):
        await world.desk.resolve(item, Verb.RETRY, by="fiona", corrections={})
    with pytest.raises(Refused, match="olivia has not the role"):
        await world.invoices.accept_tax(invoice, because="exempt", by="olivia")
    with pytest.raises(Refused, match="it needs a reason"):
        await world.invoices.accept_tax(invoice, because=" ", by="fiona")
    assert await waits(world, invoice) == item
    await world.invoices.accept_tax(invoice, because="they moved to Ohio", by="fiona")
    assert await open_difference(world.store, invoice) is None
    stored = await world.store.work_items.get(item.id)
    assert stored is not None
    assert stored.how == "accepted by fiona: they moved to Ohio"
    trail = await world.store.audit.trail(f"{invoice.record.system}/{invoice.record.id}")
    acts = [each for each in trail if each.act == "tax_accepted"]
    assert [(each.actor, "they moved to Ohio" in each.data_json) for each in acts] == [
        ("fiona", True)
    ]
    with pytest.raises(Refused, match="No tax of invoice"):
        await world.invoices.accept_tax(invoice, because="again", by="fiona")


async def test_a_tax_as_expected_waits_for_nobody(world: World) -> None:
    account = await milestone_handed_over(world, crm=NO_CRM)
    invoice = await invoiced(world, account)
    assert await open_difference(world.store, invoice) is None


async def test_the_list_suggests_the_command_that_accepts_it(world: World) -> None:
    _, invoice = await with_tax(world)
    name = f"{invoice.record.system}/{invoice.record.id}"
    told = suggestion(await waits(world, invoice), "fiona")
    assert told == f"starter.py invoice accept-tax {name} --because REASON --as fiona"
