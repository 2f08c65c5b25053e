"""OpportunityToProject end to end: real Temporal, PostgreSQL and sockets, simulated vendors."""

import pytest

from canonical.saga import Outcome, StepState, Verb
from operations.sagas import Refused
from tests.support.world import World

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
