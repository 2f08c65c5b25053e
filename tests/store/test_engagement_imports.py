"""Who imports the terms that price a draft's lines prepared it, and never releases it."""

from datetime import date
from decimal import Decimal
from typing import Any

import pytest

from activities.drafting import DraftActivities
from canonical.draft_acts import ActOnDraft, AnyAct, DraftAnswer, Release, Review
from canonical.draft_to_invoice import AssembleDrafts
from canonical.drafts import Draft
from canonical.engagement import BillRate, Engagement
from policies.bundle import load_bundle
from policies.queue_case import Actor
from store import Store
from store.engagement_imports import repriced
from tests.store.billing import usd
from tests.store.invoicing import NOW, billed, billed_contract, fee

MAYA = Actor("maya", frozenset({"operator"}), "maya@example.com")
TOM = Actor("tom", frozenset({"finance"}), "tom@example.com")
INES = Actor("ines", frozenset({"finance"}), "ines@example.com")
PEOPLE = {each.name: each for each in (MAYA, TOM, INES)}
BUNDLE = load_bundle(None)


@pytest.fixture
def desk(store: Store) -> DraftActivities:
    return DraftActivities(store, lambda _erp: BUNDLE, PEOPLE, lambda: NOW)


def rated(rate: int, line: str = "TM", **changes: Any) -> Engagement:
    """Return the contract with a rate on one line."""
    engagement = billed_contract(**changes)
    rates = (BillRate(rate=Decimal(rate), valid_from=date(2026, 1, 1)),)
    lines = tuple(
        each.model_copy(update={"rates": rates}) if each.ref == line else each
        for each in engagement.lines
    )
    return engagement.model_copy(update={"lines": lines})


async def assembled(desk: DraftActivities) -> Draft:
    (draft,) = (await desk.assemble_drafts(AssembleDrafts(everything=True))).drafts
    return await desk.store.drafts.get(draft)


async def importers(desk: DraftActivities) -> set[str]:
    """Return which of the people prepared the draft of all that waits."""
    return set((await assembled(desk)).preparers) & set(PEOPLE)


async def take(desk: DraftActivities, draft: str, act: AnyAct) -> DraftAnswer:
    wanted = ActOnDraft(id=f"{draft}#{act.act}-{act.by}", draft=draft, act=act)
    return await desk.act_on_draft(wanted)


async def test_who_imported_the_rates_of_a_draft_never_releases_it(desk: DraftActivities) -> None:
    await desk.store.engagements.put(rated(120), by=INES.name)
    await billed(desk.store, "1")
    draft = (await assembled(desk)).id
    assert (await take(desk, draft, Review(by=MAYA.name))).taken
    content = (await desk.store.drafts.get(draft)).content_hash

    refused = await take(desk, draft, Release(by=INES.name, content_hash=content))

    assert [each for each in refused.reasons if "ines prepared it" in each]
    assert "imported its rates" in refused.reasons[0]
    assert (await take(desk, draft, Release(by=TOM.name, content_hash=content))).taken


async def test_an_engagement_made_from_its_deal_has_nobody(desk: DraftActivities) -> None:
    await desk.store.engagements.put(rated(120))
    await billed(desk.store, "1")

    assert await importers(desk) == set()


async def test_only_a_change_of_that_lines_price_counts(desk: DraftActivities) -> None:
    put = desk.store.engagements.put
    await put(rated(120), by=INES.name)
    await put(rated(120), by=MAYA.name)
    other_line = rated(120).lines[0], *rated(99, "RET").lines[1:]
    await put(rated(120).model_copy(update={"lines": other_line}), by=TOM.name)
    titled = tuple(each.model_copy(update={"title": "Advice"}) for each in other_line)
    await put(rated(120).model_copy(update={"lines": titled}), by=MAYA.name)
    await billed(desk.store, "1")

    assert await importers(desk) == {INES.name}


async def test_everybody_who_changed_the_version_that_rated_it_counts(
    desk: DraftActivities,
) -> None:
    put = desk.store.engagements.put
    await put(rated(90), by=MAYA.name)
    begun = date(2026, 11, 1)
    await put(rated(110, effective_from=begun), by=TOM.name)
    await put(rated(120, effective_from=begun), by=INES.name)
    await put(rated(150, effective_from=date(2026, 12, 1)), by=MAYA.name)
    await billed(desk.store, "1")

    assert await importers(desk) == {TOM.name, INES.name}


async def test_a_version_that_left_the_price_alone_passes_on_who_set_it(
    desk: DraftActivities,
) -> None:
    await desk.store.engagements.put(rated(120), by=TOM.name)
    later = rated(120, effective_from=date(2026, 11, 1), client_po="PO-1")
    await desk.store.engagements.put(later, by=INES.name)
    await billed(desk.store, "1")

    assert await importers(desk) == {TOM.name}


async def test_what_is_imported_after_the_hand_over_rated_nothing(desk: DraftActivities) -> None:
    await desk.store.engagements.put(rated(120), by=TOM.name)
    await billed(desk.store, "1")
    await desk.store.engagements.put(rated(150), by=INES.name)

    assert await importers(desk) == {TOM.name}


async def test_who_imported_a_contract_value_prepared_its_milestones(
    desk: DraftActivities,
) -> None:
    store = desk.store
    await store.engagements.put(billed_contract())
    valued = tuple(
        each.model_copy(update={"value": usd(5_000)}) if each.ref == "FIX" else each
        for each in billed_contract().lines
    )
    more = billed_contract().model_copy(update={"lines": valued})
    await store.engagements.put(more, by=INES.name)
    await store.fees.reserve("milestone-to-invoice/kantata/M1", fee())
    await store.fees.hand_over("milestone-to-invoice/kantata/M1")

    assert await importers(desk) == {INES.name}


async def test_the_audit_trail_says_who_imported_which_prices(desk: DraftActivities) -> None:
    await desk.store.engagements.put(rated(120))
    await desk.store.engagements.put(rated(130), by=INES.name)

    (entry,) = await desk.store.audit.trail(rated(120).id)

    assert (entry.actor, entry.act) == (INES.name, "import_engagement")
    assert '"repriced": ["TM"]' in entry.data_json


def test_what_takes_over_the_rest_of_the_work_is_priced_anew() -> None:
    before = rated(120)
    assert not list(repriced(before, before))
    assert list(repriced(before.model_copy(update={"default_line": "RET"}), before)) == ["RET"]
    assert list(repriced(rated(120, shared_cap=500), before)) == ["TM", "RET", "FIX"]
