"""Who reviews a draft: whoever leads its project in the PSA, as the billing read it."""

from canonical.draft_acts import Review
from canonical.saga import Outcome
from tests.sagas.test_milestones import provisioned
from tests.support.billing import AT_PROJECT, start_run
from tests.support.invoicing import contracted, drafted
from tests.support.world import World

MAYA, FIONA = "3", "fiona@example.com"


async def leads_as(world: World, account: str, email: str) -> None:
    """Let the manager of the PSA's projects have the address of one of our people."""
    await world.control.patch_record("kantata", account, "users", MAYA, {"email_address": email})


async def test_the_lead_of_a_milestone_s_project_reviews_its_draft(world: World) -> None:
    deal = await provisioned(world)
    await leads_as(world, deal.account, FIONA)
    first, _ = await deal.ids()
    assert await deal.billed(first) is Outcome.COMPLETED

    draft = await deal.draft()

    assert draft.reviewer == "fiona"
    refused = await world.queue.act(draft.id, Review(by="olivia"))
    assert (refused.taken, refused.reasons) == (False, ("fiona reviews this draft",))
    assert (await world.queue.act(draft.id, Review(by="fiona"))).taken


async def test_the_lead_of_a_project_reviews_its_hours(world: World) -> None:
    account = await contracted(world)
    await leads_as(world, account, FIONA)
    lead = {"primary_maven_id": MAYA}
    await world.control.patch_record("kantata", account, "workspaces", AT_PROJECT, dict(lead))
    assert (await world.result(await start_run(world, account))).outcome == "completed"

    assert {draft.reviewer for draft in await drafted(world, account)} == {"fiona"}


async def test_a_lead_whom_nobody_here_knows_leaves_it_to_all_who_may(world: World) -> None:
    deal = await provisioned(world)
    first, _ = await deal.ids()
    assert await deal.billed(first) is Outcome.COMPLETED

    draft = await deal.draft()

    assert draft.reviewer == ""
    assert (await world.queue.act(draft.id, Review(by="olivia"))).taken
