"""Limits and four eyes on real rows: what was once on one draft counts together for good."""

import itertools
from datetime import date
from decimal import Decimal

import pytest
from sqlalchemy import text

from activities.drafting import LATE_REVIEW, DraftActivities
from canonical.alerts import TellingKind
from canonical.draft_acts import (
    ActOnDraft,
    AnyAct,
    DraftAnswer,
    EditNarrative,
    Merge,
    Reject,
    Release,
    Split,
    WriteDown,
)
from canonical.draft_to_invoice import DraftInput, EscalateReview
from canonical.drafts import Draft, DraftState
from canonical.entries import HoldReason
from canonical.fees import FeeSource
from canonical.schedule_facts import ProgressFact
from policies.bundle import Bundle, load_bundle
from policies.queue_case import Actor
from store import Store
from store.database import Database
from tests.store.billing import PSA, ref, usd
from tests.store.invoicing import NOW, ON, billed, billed_contract, draft_of, fee, opened

TOM = Actor("tom", frozenset({"finance"}), "tom@example.com")
INES = Actor("ines", frozenset({"finance"}), "ines@example.com")
PEOPLE = {each.name: each for each in (TOM, INES)}
# Finance releases up to 250,000.00 USD gross; US expects no tax.
LARGE, SMALL = 200_000, 100_000
_numbers = itertools.count(1)


@pytest.fixture
def desk(store: Store) -> DraftActivities:
    bundle: Bundle = load_bundle(None)
    return DraftActivities(store, lambda _erp: bundle, PEOPLE, lambda: NOW)


async def take(desk: DraftActivities, draft: str, act: AnyAct) -> DraftAnswer:
    return await desk.act_on_draft(ActOnDraft(id=f"act-{next(_numbers)}", draft=draft, act=act))


async def release(desk: DraftActivities, draft: str, by: Actor = INES) -> DraftAnswer:
    found = await desk.store.drafts.get(draft)
    return await take(desk, draft, Release(by=by.name, content_hash=found.content_hash))


async def fees(store: Store, *amounts: int) -> Draft:
    """Return a draft with a line for each of these fees."""
    number = next(_numbers)
    for place, amount in enumerate(amounts):
        run = f"milestone-to-invoice/kantata/M{number}-{place}"
        await store.fees.reserve(run, fee(f"kantata/M{number}-{place}", amount))
        await store.fees.hand_over(run)
    free = await store.drafts.billables(on=ON)
    await store.drafts.next_number(draft_of(free[:1]).id.rpartition("/")[0])
    return await opened(store, *([each] for each in free), number=number + 100)


async def parted(desk: DraftActivities) -> tuple[str, str]:
    """Return a draft beyond the limit that was split into two, each of which is within it."""
    await desk.store.engagements.put(billed_contract())
    whole = await fees(desk.store, LARGE, SMALL)
    answer = await take(desk, whole.id, Split(by=TOM.name, lines=(2,)))
    return whole.id, answer.made[0]


def beyond(answer: DraftAnswer) -> bool:
    return not answer.taken and any("up to 250,000.00 USD" in each for each in answer.reasons)


async def test_a_split_half_that_is_merged_elsewhere_counts(desk: DraftActivities) -> None:
    rest, half = await parted(desk)
    small = await fees(desk.store, 10)
    assert (await take(desk, small.id, Merge(by=TOM.name, other=half))).taken

    assert beyond(await release(desk, rest))
    assert beyond(await release(desk, small.id))


async def test_halves_that_go_to_two_drafts_count_together(desk: DraftActivities) -> None:
    rest, half = await parted(desk)
    one, two = await fees(desk.store, 10), await fees(desk.store, 20)
    assert (await take(desk, one.id, Merge(by=TOM.name, other=half))).taken
    assert (await take(desk, two.id, Merge(by=TOM.name, other=rest))).taken

    assert beyond(await release(desk, one.id))
    assert beyond(await release(desk, two.id))


async def test_a_half_that_is_rejected_and_drafted_anew_counts(desk: DraftActivities) -> None:
    rest, half = await parted(desk)
    assert (await take(desk, half, Reject(by=TOM.name, because="anew", hold=False))).taken
    (free,) = await desk.store.drafts.billables(on=ON)
    anew = await opened(desk.store, [free], number=900)

    assert beyond(await release(desk, rest))
    assert beyond(await release(desk, anew.id))


async def test_drafts_that_share_nothing_do_not_count_together(desk: DraftActivities) -> None:
    await desk.store.engagements.put(billed_contract())
    one, two = await fees(desk.store, LARGE), await fees(desk.store, LARGE)

    assert (await release(desk, one.id)).taken
    assert (await release(desk, two.id)).taken


async def test_write_offs_on_split_drafts_add_up(desk: DraftActivities) -> None:
    await desk.store.engagements.put(billed_contract())
    whole = await fees(desk.store, 4_000, 4_000, 10)
    (half,) = (await take(desk, whole.id, Split(by=TOM.name, lines=(2,)))).made
    off = WriteDown(by=INES.name, line=1, amount=usd(4_000), because="goodwill")
    assert (await take(desk, half, off)).state is DraftState.EMPTY

    again = await take(desk, whole.id, off)

    assert "this is 8,000.00 USD" in again.reasons[0]


async def test_who_lets_a_differing_rate_pass_is_a_preparer(desk: DraftActivities) -> None:
    store = desk.store
    await store.engagements.put(billed_contract())
    draft = await opened(store, await billed(store, "1"))
    await store.subledger.hold(PSA, [ref("1")], owner="x", reason=HoldReason.RATE_MISMATCH)
    await store.subledger.unhold(PSA, [ref("1")], by=INES.name)

    refused = await release(desk, draft.id)

    assert any("let a differing rate pass" in each for each in refused.reasons)
    assert (await release(desk, draft.id, TOM)).taken


async def test_who_records_what_a_schedule_bills_by_is_a_preparer(desk: DraftActivities) -> None:
    store = desk.store
    await store.engagements.put(billed_contract())
    await store.fees.reserve("R", fee("salesforce/006/FIX/1", source=FeeSource.SCHEDULE))
    await store.fees.hand_over("R")
    draft = await opened(store, await store.drafts.billables(on=ON))
    fact = ProgressFact(id="f", recorded_on=date(2026, 11, 1), percent=Decimal(50))
    await store.schedule_facts.record("salesforce/006", "FIX", fact, by=INES.name)

    assert any("recorded what its schedule" in e for e in (await release(desk, draft.id)).reasons)
    assert (await release(desk, draft.id, TOM)).taken


async def test_a_known_closed_period_and_warnings_show_at_the_first_look(
    desk: DraftActivities, database: Database
) -> None:
    store = desk.store
    await store.engagements.put(billed_contract())
    await store.fees.reserve("R", fee(warnings=("invoice INV-1 is not paid yet",)))
    await store.fees.hand_over("R")
    draft = await opened(store, await store.drafts.billables(on=ON))
    subsidiary = load_bundle(None).policies.legal_entities["US"].subsidiary
    for run, is_open in (("r1", True), ("r2", False)):
        await database.run(
            text("""INSERT INTO posting_periods (run, connection, subsidiary, period_id, name,
                first_day, last_day, open) VALUES (:run, 'netsuite', :subsidiary, '9', 'Nov 2026',
                '2026-11-01', '2026-11-30', :open)"""),
            {"run": run, "subsidiary": subsidiary, "open": is_open},
        )

    await desk.read_draft(DraftInput(draft=draft.id))

    seen = await store.drafts.get(draft.id)
    assert seen.warnings == ("invoice INV-1 is not paid yet",)
    assert "period Nov 2026 is closed in netsuite" in seen.problems[0]
    assert any("period Nov 2026" in each for each in (await release(desk, draft.id)).reasons)


async def test_a_late_review_is_told_once_for_each_deadline(desk: DraftActivities) -> None:
    store = desk.store
    await store.engagements.put(billed_contract())
    first, second = await billed(store, "1", "2")
    draft = await opened(store, [first], number=1, state=DraftState.IN_REVIEW)
    other = await opened(store, [second], number=2, state=DraftState.IN_REVIEW)

    late = EscalateReview(draft=draft.id, version=1)
    standing = await desk.escalate_review(late)
    assert (await desk.escalate_review(late)).review_until is None is standing.review_until
    assert (await take(desk, draft.id, Merge(by=TOM.name, other=other.id))).taken
    merged = await desk.read_draft(DraftInput(draft=draft.id))
    assert merged.review_until == NOW
    await desk.escalate_review(EscalateReview(draft=draft.id, version=merged.version))

    assert (await desk.read_draft(DraftInput(draft=draft.id))).review_until is None
    told = await store.outbox.unsent()
    assert [(each.kind, each.subject) for each in told] == [
        (TellingKind.ALERT_RAISED, f"alert/{LATE_REVIEW}/US")
    ] * 2


async def test_a_deadline_of_an_older_version_tells_nobody(desk: DraftActivities) -> None:
    await desk.store.engagements.put(billed_contract())
    draft = await opened(desk.store, await billed(desk.store, "1"), state=DraftState.IN_REVIEW)
    edit = EditNarrative(by=TOM.name, line=1, narrative="Advice")
    assert (await take(desk, draft.id, edit)).taken

    standing = await desk.escalate_review(EscalateReview(draft=draft.id, version=1))

    assert standing.review_until == NOW
    assert await desk.store.outbox.unsent() == ()
