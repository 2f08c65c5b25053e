"""The commands on milestones, as processes of their own, on what a real saga handed over."""

from dataclasses import dataclass
from typing import Any

import pytest
import pytest_asyncio

from canonical.drafts import DraftState
from canonical.ids import milestone_to_invoice_id
from canonical.saga import SagaResult
from tests.cli.conftest import Ran, starter
from tests.support.billing import AT_PROJECT
from tests.support.invoicing import (
    approved_milestone,
    drafted,
    in_state,
    queued,
    release,
    start_milestone,
)
from tests.support.world import World

pytestmark = pytest.mark.e2e


@dataclass
class Firm:
    """One milestone that waits to be drafted, and commands on it."""

    world: World
    environment: dict[str, str]
    account: str
    milestone: str

    async def run(self, *words: str) -> Ran:
        return await starter(self.environment, "milestone", *words)

    async def on(self, command: str, *words: str) -> Ran:
        """Run a command on the milestone, which has to do."""
        ran = await self.run(command, self.milestone, "--psa", f"kantata@{self.account}", *words)
        assert ran.code == 0, ran
        return ran

    async def refused(self, command: str, *words: str) -> str:
        """Run a command on the milestone that has to fail with a sentence; return it."""
        ran = await self.run(command, self.milestone, "--psa", f"kantata@{self.account}", *words)
        assert ran.code == 1, ran
        return ran.err

    async def status(self) -> Any:
        return (await self.on("status", "--json")).data

    async def ended(self) -> str:
        """Wait for the milestone's saga, and return how it ended."""
        id_ = milestone_to_invoice_id(f"kantata@{self.account}", self.milestone)
        client = self.world.env.client
        handle = client.get_workflow_handle(id_, result_type=SagaResult)
        return (await self.world.result(handle)).outcome


@pytest_asyncio.fixture
async def firm(world: World, environment: dict[str, str]) -> Firm:
    """A milestone of its own."""
    account, milestone = await approved_milestone(world)
    result = await world.result(await start_milestone(world, account, milestone))
    assert result.outcome == "completed", result
    return Firm(world, environment, account, milestone)


async def test_a_held_milestone_is_not_drafted_until_it_is_released(firm: Firm) -> None:
    hold = ("--because", "client disputes it", "--as", "olivia")
    assert "held  milestone" in (await firm.on("hold", *hold)).out
    assert "held already" in (await firm.on("hold", *hold)).out
    assert await drafted(firm.world, firm.account, AT_PROJECT) == []
    shown = await firm.on("status")
    assert "kept back by olivia: client disputes it" in shown.out
    assert "1,500.00 USD" in shown.out
    (fee,) = (await firm.status())["fees"]
    assert (fee["held"], fee["held_by"]) == ("client disputes it", "olivia")
    listed = await firm.run("list", "--json")
    assert fee["id"] in [each["id"] for each in listed.data["held"]]  # type: ignore[call-overload, index, union-attr]

    assert "released  milestone" in (await firm.on("unhold", "--as", "fiona")).out
    assert "nothing holds" in (await firm.on("unhold", "--as", "fiona")).out
    assert await firm.ended() == "completed"
    assert len(await drafted(firm.world, firm.account, AT_PROJECT)) == 1


async def test_a_withdrawn_milestone_leaves_its_draft_and_comes_back_when_released(
    firm: Firm,
) -> None:
    (draft,) = await drafted(firm.world, firm.account, AT_PROJECT)
    ran = await firm.on("withdraw", "--because", "billed by hand", "--as", "fiona")
    assert f"taken off {draft.id}" in ran.out
    await in_state(firm.world, draft.id, DraftState.EMPTY)
    assert await firm.ended() == "rolled_back"
    (fee,) = (await firm.status())["fees"]
    assert (fee["state"], fee["withdrawn"]) == ("returned", "billed by hand")
    assert "nothing to be withdrawn" in await firm.refused(
        "withdraw", "--because", "again", "--as", "fiona"
    )

    await firm.on("unhold", "--as", "fiona")
    assert await firm.ended() == "completed"
    assert [each["state"] for each in (await firm.status())["fees"]] == ["returned", "handed_over"]


async def test_what_may_not_be_is_refused_in_a_sentence(firm: Firm) -> None:
    why = ("--because", "x", "--as")
    assert "has not the role" in await firm.refused("hold", *why, "cara")
    assert "is not in dealthread.toml" in await firm.refused("withdraw", *why, "nobody")
    assert "Say why" in await firm.refused("hold", "--because", " ", "--as", "olivia")
    unknown = await firm.run("hold", "31337", "--psa", "kantata", *why, "olivia")
    assert (unknown.code, "is being billed" in unknown.err) == (1, True)
    odd = await firm.run("unhold", "a/b", "--psa", "kantata", "--as", "olivia")
    assert (odd.code, "cannot be a milestone's id" in odd.err) == (1, True)

    draft = await queued(firm.world, firm.account)
    assert (await release(firm.world, draft)).taken
    await in_state(firm.world, draft.id, DraftState.INVOICED)
    assert "only credited" in await firm.refused("withdraw", *why, "olivia")
    assert "cannot be held" in await firm.refused("hold", *why, "olivia")


async def test_every_command_has_help_with_an_example(firm: Firm) -> None:
    for command in ("status", "list", "hold", "unhold", "withdraw"):
        ran = await firm.run(command, "--help")
        assert ran.code == 0
        assert "Example: starter.py milestone" in ran.out
