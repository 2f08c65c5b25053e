"""Passes of assembling: whole clients, so that no pass cuts what belongs on one invoice."""

from dataclasses import replace

import pytest

from activities import drafting
from activities.drafting import DraftActivities
from canonical.draft_to_invoice import Assembled, AssembleDrafts
from canonical.engagement import BillingMethod
from policies.bundle import load_bundle
from store import Store
from tests.store.invoicing import NOW, billed_contract, fee

BUNDLE = load_bundle(None)


@pytest.fixture
def desk(store: Store) -> DraftActivities:
    return DraftActivities(store, lambda _erp: BUNDLE, {}, lambda: NOW)


async def handed_over(
    store: Store, client: str, project: str, milestones: int, **terms: object
) -> None:
    engagement = f"salesforce/{client}"
    contract = billed_contract(project=project, id=engagement, client_id=client)
    lines = tuple(line.model_copy(update=terms) for line in contract.lines)
    await store.engagements.put(contract.model_copy(update={"lines": lines}))
    for number in range(milestones):
        saga = f"milestone-to-invoice/kantata/{client}-{number}"
        of = {"engagement": engagement, "client_id": client, "project_id": project}
        await store.fees.reserve(saga, fee(f"kantata/{client}-{number}", **of))
        await store.fees.hand_over(saga)


async def test_an_invoice_holds_as_many_lines_as_its_issuing_system_takes(store: Store) -> None:
    by_engine = replace(BUNDLE, billing_engine="stripe")
    limits = {"stripe": 2}
    desk = DraftActivities(store, lambda _erp: by_engine, {}, lambda: NOW, limits.get)
    await handed_over(store, "A", "P1", 5, billing_method=BillingMethod.BILLING_ENGINE)
    await handed_over(store, "B", "P2", 5)

    made = await passes(desk)

    drafts = [await store.drafts.get(id_) for each in made for id_ in each.drafts]
    assert [(draft.connection, len(draft.lines)) for draft in drafts] == [
        *[("stripe", 2), ("stripe", 2), ("stripe", 1), ("netsuite", 5)]
    ]
    assert len({ref for draft in drafts for line in draft.lines for ref in line.bills}) == 10
    assert await passes(desk) == [Assembled()]


async def passes(desk: DraftActivities) -> list[Assembled]:
    made: list[Assembled] = []
    wanted = AssembleDrafts(everything=True)
    while not made or made[-1].more:
        made.append(await desk.assemble_drafts(wanted))
        wanted = wanted.model_copy(update={"after": made[-1].after})
    return made


async def test_no_pass_cuts_what_belongs_on_one_invoice(
    store: Store, desk: DraftActivities, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(drafting, "BILLABLES_MAX", 3)
    for client, project, milestones in (("A", "P1", 5), ("B", "P2", 2), ("C", "P3", 1)):
        await handed_over(store, client, project, milestones)

    made = await passes(desk)

    assert [each.after for each in made] == ["A", "C"]
    drafts = [await store.drafts.get(id_) for each in made for id_ in each.drafts]
    assert {draft.client_id: len(draft.lines) for draft in drafts} == {"A": 5, "B": 2, "C": 1}
    assert await passes(desk) == [Assembled()]
