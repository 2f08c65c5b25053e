"""The commands of the billing queue, as processes of their own, on drafts of a world that runs."""

import json
from dataclasses import dataclass
from typing import Any

import pytest
import pytest_asyncio

from canonical.draft_acts import EditNarrative
from canonical.drafts import Draft, DraftState
from tests.cli.conftest import Ran, starter
from tests.support.invoicing import drafted, handed_over, in_state, queued
from tests.support.world import World

pytestmark = pytest.mark.e2e


@dataclass
class Queue:
    """One draft that waits for its release, and commands of the queue."""

    world: World
    environment: dict[str, str]
    account: str
    draft: Draft

    async def run(self, *words: str) -> Ran:
        return await starter(self.environment, "queue", *words)

    async def refused(self, *words: str) -> str:
        """Run a command that has to fail with a sentence; return what it said."""
        ran = await self.run(*words)
        assert ran.code == 1, ran
        assert "Traceback" not in ran.out + ran.err
        return ran.out + ran.err

    async def now(self, draft: str = "") -> Draft:
        return await self.world.store.drafts.get(draft or self.draft.id)

    async def trail(self) -> list[tuple[str, str]]:
        """Return who did what to the draft, by its audit trail, whose chain is whole."""
        assert await self.world.store.audit.verify(self.draft.id) is None
        trail = await self.world.store.audit.trail(self.draft.id)
        return [(each.actor, each.act) for each in trail]


@pytest_asyncio.fixture
async def queue(world: World, environment: dict[str, str]) -> Queue:
    """A draft of its own in the billing queue, reviewed by olivia."""
    account = await handed_over(world)
    return Queue(world, environment, account, await queued(world, account))


async def test_who_prepared_a_draft_does_not_release_it(queue: Queue) -> None:
    of = queue.draft.id
    adjust = ("adjust", of, "--narrative", "1=Advice", "--because", "clearer", "--as", "cara")
    assert (await queue.run(*adjust)).code == 0

    said = await queue.refused("release", of, "--as", "cara")
    asked = await queue.run("release", of, "--as", "cara", "--json")

    assert f"refused  {of.removeprefix('invoice-draft/')}: cara prepared it" in said
    assert asked.code == 1
    (answer,) = json.loads(asked.out)
    assert (answer["taken"], answer["state"]) == (False, "queued")
    assert "cara prepared it" in answer["reasons"][0]
    assert (await queue.now()).state is DraftState.QUEUED
    assert (await queue.trail())[-2:] == [("cara", "release_refused")] * 2
    released = await queue.run("release", of, "--as", "fiona")
    assert released.code == 0, released
    assert (await queue.trail())[-1][0] != "cara"
    await in_state(queue.world, of, DraftState.INVOICED)


@pytest.mark.parametrize(
    ("by", "words"),
    [
        ("olivia", ("reject", "--because", "no PO")),
        ("olivia", ("adjust", "--write-down", "1=1.00", "--because", "goodwill")),
        ("olivia", ("release",)),
        ("victor", ("split", "--lines", "1", "--because", "two orders")),
        ("victor", ("merge", "OTHER", "--because", "one order")),
        ("victor", ("adjust", "--hold", "1", "--because", "the client asks")),
        ("victor", ("adjust", "--narrative", "1=Advice")),
        ("nobody", ("split", "--lines", "1")),
    ],
)
async def test_who_has_not_the_role_changes_nothing(
    queue: Queue, by: str, words: tuple[str, ...]
) -> None:
    verb, *rest = (queue.draft.id if word == "OTHER" else word for word in words)
    before = await queue.now()

    said = await queue.refused(verb, before.id, *rest, "--as", by)

    assert ("is not in dealthread.toml" if by == "nobody" else f"{by} has not the role") in said
    assert await queue.now() == before
    ((who, act),) = (await queue.trail())[-1:]
    assert (who, act.endswith("_refused")) == (by, True)


async def test_of_a_bulk_release_one_bad_draft_keeps_back_itself_alone(queue: Queue) -> None:
    world, bad = queue.world, queue.draft
    good = [await queued(world, await handed_over(world)) for _ in range(2)]
    edit = EditNarrative(by="fiona", line=1, narrative="Advice")
    assert (await world.queue.act(bad.id, edit)).taken

    ran = await queue.run("release", good[0].id, bad.id, good[1].id, "--as", "fiona", "--json")

    assert ran.code == 1
    answers: dict[str, Any] = {each["draft"]: each for each in json.loads(ran.out)}
    assert [answers[each.id]["taken"] for each in (good[0], bad, good[1])] == [True, False, True]
    assert "fiona prepared it" in answers[bad.id]["reasons"][0]
    assert (await queue.now()).state is DraftState.QUEUED
    for each in good:
        await in_state(world, each.id, DraftState.INVOICED)


async def test_split_merge_and_reject_are_told_and_done(queue: Queue) -> None:
    of = queue.draft
    assert len(of.live_lines) > 1
    first = str(of.live_lines[0].number)
    split = await queue.run("split", of.id, "--lines", first, "--as", "olivia", "--json")
    (answer,) = json.loads(split.out)
    (made,) = answer["made"]
    assert len((await queue.now(made)).live_lines) == 1

    itself = await queue.refused("merge", of.id, of.id, "--as", "olivia")
    assert f"there is no other draft {of.id}" in itself
    merged = await queue.run("merge", of.id, made, "--as", "olivia")
    assert merged.out.startswith("merge  "), merged
    assert (await queue.now()).net == of.net
    assert (await queue.now(made)).state is DraftState.MERGED

    rejected = await queue.run("reject", of.id, "--because", "no PO", "--free", "--as", "fiona")
    assert "rejected, hash" in rejected.out, rejected
    (again,) = await drafted(queue.world, queue.account)
    assert again.net == of.net


async def test_a_list_that_goes_on_says_how_to_see_the_rest(queue: Queue) -> None:
    world = queue.world
    (other,) = await drafted(world, await handed_over(world))

    every = await queue.run("list", "--json")
    assert every.err == ""
    ids = [each["id"] for each in json.loads(every.out)]
    assert {queue.draft.id, other.id} <= set(ids)

    first = await queue.run("list", "--limit", "1", "--json")
    assert [each["id"] for each in json.loads(first.out)] == ids[:1]
    assert first.err == "There is more: --offset 1.\n"
    last = await queue.run("list", "--offset", str(len(ids) - 1), "--json")
    assert [each["id"] for each in json.loads(last.out)] == ids[-1:]
    assert last.err == ""
    assert "There is more: --offset 1." in (await queue.run("list", "--limit", "1")).err
