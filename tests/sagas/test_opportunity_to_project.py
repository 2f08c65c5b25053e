"""OpportunityToProject end to end: real Temporal, PostgreSQL and sockets, simulated vendors."""

import pytest

from canonical.ids import opportunity_to_project_id
from canonical.opportunity import OpportunityToProjectInput
from canonical.saga import Outcome, StepState, Verb
from operations.sagas import SAGA_QUEUE, Refused
from tests.sagas.matrix import assert_untouched
from tests.support.world import World
from workflows.opportunity_to_project import OpportunityToProject

GOES_THROUGH = (
    "tm-us",
    "fixed-de",
    "retainer-gb",
    "mixed-jp",
    "two-entity",
    "duplicate-client",
    "other-subsidiary",
    "terms-differ",
    "emoji-rtl",
    "waiver",
    "second-deal",
    "high-value",
)

PARKS = {
    "missing-mapping": ("missing_mapping", "template"),
    "unsigned": ("not_signed", "signed_on"),
    "change-order": ("amendment", "kind"),
    "incomplete": ("incomplete", "start"),
    "bad-currency": ("unknown_currency", "currency"),
    "negative-amount": ("invalid", "line 1 amount"),
    "long-name": ("invalid", "name"),
    "no-end": ("incomplete", "end"),
    "not-won": ("not_won", "stage"),
    "amount-mismatch": ("amount_mismatch", "contract_amount"),
    "ambiguous-client": ("ambiguous_client", "client"),
}


@pytest.mark.parametrize("slug", GOES_THROUGH)
async def test_a_ready_deal_goes_through(world: World, slug: str) -> None:
    account = await world.account()
    handle = await world.start(account, slug)
    result = await world.finished(handle)
    assert result.outcome is Outcome.COMPLETED
    assert {step.state for step in result.steps} == {StepState.DONE}


@pytest.mark.parametrize("slug", PARKS)
async def test_a_deal_that_is_not_ready_parks_and_names_the_field(world: World, slug: str) -> None:
    account = await world.account()
    before = await world.live(account)
    handle = await world.start(account, slug)
    item = await world.parked(handle)
    reason, field = PARKS[slug]
    assert (item.failure.reason, item.failure.field) == (reason, field)
    assert item.failure.owner
    await world.decide(item, Verb.ROLL_BACK)
    assert (await world.result(handle)).outcome is Outcome.ROLLED_BACK
    assert await world.live(account) == before


@pytest.mark.parametrize("opportunity_id", ["006DT0000000999YAA", "nonsense"])
async def test_an_opportunity_that_does_not_exist_parks_and_names_the_id(
    world: World, opportunity_id: str
) -> None:
    account = await world.account("empty")
    handle = await world.desk.start_opportunity(opportunity_id, crm=f"salesforce@{account}")
    item = await world.parked(handle)
    assert item.failure.field == "opportunity_id"
    await handle.cancel()
    assert (await world.result(handle)).outcome is Outcome.ROLLED_BACK


@pytest.mark.parametrize("opportunity_id", ["", "006 DT", "006DT/../x", "🚀" * 5, "6" * 10_000])
async def test_what_cannot_be_an_id_is_refused_before_anything_starts(
    world: World, opportunity_id: str
) -> None:
    with pytest.raises(Refused, match="cannot be an opportunity id"):
        await world.desk.start_opportunity(opportunity_id)


@pytest.mark.parametrize("slug", ["duplicate-client", "terms-differ", "other-subsidiary"])
async def test_rolling_back_leaves_an_existing_client_as_it_was(world: World, slug: str) -> None:
    account = await world.account()
    before = await world.live(account)
    await world.control.add_fault(
        "salesforce", account, {"write": True, "correlation": ":write_back"}, "reject"
    )
    handle = await world.start(account, slug)
    await world.decide(await world.parked(handle, "write_back"), Verb.ROLL_BACK)
    result = await world.result(handle)
    assert result.outcome is Outcome.ROLLED_BACK
    assert_untouched(before, await world.live(account), but=set())
    kept = {step.step: step.undo.result for step in result.steps if step.undo}
    assert kept["provision_client"] == "kept"


async def test_two_forms_of_one_salesforce_id_are_one_saga(world: World) -> None:
    account = await world.account()
    full = await world.deal_id(account, "tm-us")
    crm = f"salesforce@{account}"
    handles = [await world.desk.start_opportunity(id_, crm=crm) for id_ in (full, full[:15])]
    assert handles[0].id == handles[1].id
    await world.finished(handles[0])
    jobs = await world.control.records("netsuite", account, type="job")
    assert len([job for job in jobs if job["live"]]) == 1


async def test_another_form_of_the_id_past_the_cli_is_refused_with_the_right_one(
    world: World,
) -> None:
    account = await world.account()
    full = await world.deal_id(account, "tm-us")
    deal = OpportunityToProjectInput(crm=f"salesforce@{account}", opportunity_id=full[:15])
    handle = await world.env.client.start_workflow(
        OpportunityToProject.run,
        deal,
        id=opportunity_to_project_id(deal.crm, deal.opportunity_id),
        task_queue=SAGA_QUEUE,
    )
    item = await world.parked(handle)
    assert item.failure.field == "opportunity_id"
    assert full in item.failure.message
    await handle.cancel()
    await world.result(handle)
