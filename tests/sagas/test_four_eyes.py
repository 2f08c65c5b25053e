"""Four eyes on the real server: who approved the work in the PSA does not release its invoice."""

import uuid
from typing import Any

import pytest
from pydantic import JsonValue

from canonical.draft_acts import ActOnDraft, DraftAnswer, Release
from canonical.drafts import Draft, DraftState
from canonical.entries import EntryKind, EntryRef
from tests.support.billing import AT_PROJECT, STORY, start_run
from tests.support.invoicing import (
    assert_invoiced,
    contracted,
    posting,
    queued,
    release,
    there,
)
from tests.support.world import ACTORS, World

APPROVER = "cara"
"""Of finance here, and whoever approves in the PSA."""
PROJECT_MANAGER = "maya.chen@example.com"
"""Who approved everything that was seeded."""
REVIEWER = "olivia"
PRIYA, INTEGRATION = "6", "2"
DAY = "2026-11-12"
SHEETS = {
    EntryKind.TIME: ("time_entries", "timesheet_submissions"),
    EntryKind.EXPENSE: ("expenses", "expense_report_submissions"),
}
"""Kind -> where a person records it, and what it is approved on."""


async def put(world: World, account: str, type_: str, fields: dict[str, JsonValue]) -> str:
    made = await world.control.put_record("kantata", account, type_, fields)
    return str(made["id"])


async def manager(world: World, account: str, email: str) -> str:
    """Let somebody with this address manage projects in the PSA; return the user."""
    return await put(
        world,
        account,
        "users",
        {
            "full_name": "Cara Controller",
            "email_address": email,
            "account_permission": "Administrator",
            "acting_user_id": INTEGRATION,
        },
    )


async def approved(world: World, account: str, kind: EntryKind, by: str) -> EntryRef:
    """Let Priya record something, and another approve it; return what is to be billed."""
    recorded, sheets = SHEETS[kind]
    of: dict[str, Any] = {"workspace_id": AT_PROJECT, "user_id": PRIYA}
    what: dict[EntryKind, dict[str, JsonValue]] = {
        EntryKind.TIME: {"story_id": str(STORY), "date_performed": DAY, "time_in_minutes": 90},
        EntryKind.EXPENSE: {
            "story_id": str(STORY + 2),
            "date": DAY,
            "category": "Travel",
            "amount_in_cents": 12_345,
        },
    }
    id_ = await put(world, account, recorded, {**of, **what[kind]})
    sheet = await put(world, account, sheets, {**of, "line_item_ids": [id_]})
    resolved: dict[str, JsonValue] = {"status": "approved", "acting_user_id": by}
    await world.control.patch_record("kantata", account, sheets, sheet, resolved)
    return EntryRef(kind=kind, id=id_)


async def billed(world: World, kind: EntryKind, email: str) -> str:
    """Return an account that was billed for what the person with this address approved, too."""
    account = await contracted(world)
    user = await manager(world, account, email)
    ref = await approved(world, account, kind, user)
    await world.store.changes.note(f"kantata@{account}", AT_PROJECT, [ref])
    result = await world.result(await start_run(world, account))
    assert result.outcome == "completed", result
    return account


async def released_past_the_desk(world: World, draft: Draft, by: str) -> DraftAnswer:
    """Send a release to the draft's workflow as any Temporal client can."""
    act = Release(by=by, content_hash=draft.content_hash)
    id_ = f"{draft.id}#{uuid.uuid4()}"
    answer: DraftAnswer = await world.env.client.get_workflow_handle(draft.id).execute_update(
        "act", ActOnDraft(id=id_, draft=draft.id, act=act), id=id_, result_type=DraftAnswer
    )
    return answer


async def refusals(world: World, draft: Draft) -> list[str]:
    """Return who was refused to release a draft, by its audit trail."""
    trail = await world.store.audit.trail(draft.id)
    assert await world.store.audit.verify(draft.id) is None
    return [each.actor for each in trail if each.act == "release_refused"]


@pytest.mark.parametrize("kind", SHEETS)
async def test_who_approved_the_work_in_the_psa_does_not_release_its_invoice(
    world: World, kind: EntryKind
) -> None:
    # Addresses are people's whatever their case.
    account = await billed(world, kind, ACTORS[APPROVER].email.title())
    draft = await queued(world, account)
    assert set(draft.preparers) == {ACTORS[APPROVER].email, PROJECT_MANAGER, REVIEWER}

    by_desk = await release(world, draft, by=APPROVER)
    past_the_desk = await released_past_the_desk(world, draft, by=APPROVER)

    for answer in (by_desk, past_the_desk):
        assert not answer.taken
        (reason,) = answer.reasons
        assert "prepared it" in reason
    assert await refusals(world, draft) == [APPROVER, APPROVER]
    assert (await world.store.drafts.get(draft.id)).state is DraftState.QUEUED
    answer = await release(world, draft, by="fiona")
    assert answer.taken, answer.reasons
    posted = posting(world, draft)
    await world.eventually(lambda: there(posted), "the posting")
    assert (await world.result(posted)).outcome == "completed"
    await assert_invoiced(world, account, draft)
    assert await refusals(world, draft) == [APPROVER, APPROVER]
