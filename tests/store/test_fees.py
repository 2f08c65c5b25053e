"""Fees: reserved against the contract's value, once a cycle, given back until they are billed."""

import asyncio

import pytest
from sqlalchemy import text

from canonical.fees import FeeSource, FeeState
from canonical.saga import Begin, Begun, Outcome, SagaResult
from store import Store
from store.audit import ENGINE
from store.database import Database
from store.errors import Conflict, NotFound
from tests.store.billing import usd
from tests.store.invoicing import LUCA, MAYA, billed, billed_contract, fee, opened, release

RUN = "milestone-to-invoice/kantata/M1"
LINE = ("salesforce/006", "FIX")
M1 = (FeeSource.MILESTONE, "kantata/M1")


async def begin(store: Store, workflow_id: str) -> Begun:
    return await store.sagas.begin(
        Begin(
            workflow_id=workflow_id,
            run_id="r",
            saga="MilestoneToInvoice",
            business_key="M1",
            correlation_id=workflow_id,
            connection="kantata",
            input_json="{}",
        )
    )


async def finish(
    store: Store, workflow_id: str, generation: int, outcome: Outcome = Outcome.COMPLETED
) -> None:
    await store.sagas.finish(
        SagaResult(workflow_id=workflow_id, generation=generation, outcome=outcome)
    )


async def test_reserved_fee_counts_against_the_value(store: Store) -> None:
    await store.engagements.put(billed_contract())
    assert (await store.fees.standing(*LINE)).taken == usd(0)

    id_ = await store.fees.reserve(RUN, fee(amount=600), limit=usd(1000))
    again = await store.fees.reserve(RUN, fee(amount=600), limit=usd(1000))

    assert id_ == again
    standing = await store.fees.standing(*LINE)
    assert (standing.reserved, standing.taken) == (usd(600), usd(600))
    assert [(each.id, each.state, each.run) for each in standing.fees] == [
        (id_, FeeState.RESERVED, RUN)
    ]


async def test_what_exceeds_the_value_is_refused_with_figures(store: Store) -> None:
    await store.engagements.put(billed_contract())
    await store.fees.reserve(RUN, fee(amount=600), limit=usd(1000))

    with pytest.raises(Conflict, match=r"600\.00 USD of 1,000\.00 USD .* exceeds it by 0\.01 USD"):
        await store.fees.reserve("run-2", fee("kantata/M2", "400.01"), limit=usd(1000))

    await store.fees.reserve("run-2", fee("kantata/M2", 400), limit=usd(1000))
    acts = [entry.act for entry in await store.audit.trail("fee/milestone/kantata/M2")]
    assert acts == ["reserve_refused", "reserve"]


async def test_fees_reserved_at_once_never_exceed_the_value(store: Store) -> None:
    await store.engagements.put(billed_contract())

    results = await asyncio.gather(
        *(
            store.fees.reserve(f"run-{n}", fee(f"kantata/M{n}", 300), limit=usd(1000))
            for n in range(8)
        ),
        return_exceptions=True,
    )

    assert sum(isinstance(each, int) for each in results) == 3
    assert (await store.fees.standing(*LINE)).taken == usd(900)


async def test_time_of_the_line_counts_as_taken_too(store: Store) -> None:
    await store.engagements.put(billed_contract())
    await billed(store, "1", "2")

    standing = await store.fees.standing("salesforce/006", "TM")

    assert (standing.reserved, standing.taken) == (usd(240), usd(240))
    with pytest.raises(Conflict, match="exceeds it by"):
        await store.fees.reserve(RUN, fee(line="TM", amount=61), limit=usd(300))


async def test_lines_under_one_ceiling_are_counted_together(store: Store) -> None:
    await store.engagements.put(billed_contract())
    await billed(store, "1")
    others = [("salesforce/006", "TM")]

    with pytest.raises(Conflict, match="120"):
        await store.fees.reserve(RUN, fee(amount=881), limit=usd(1000), others=others)
    assert await store.fees.reserve(RUN, fee(amount=880), limit=usd(1000), others=others)


async def test_same_item_is_billed_once_a_cycle(store: Store) -> None:
    await store.engagements.put(billed_contract())
    await store.fees.reserve(RUN, fee())
    await store.fees.hand_over(RUN)

    with pytest.raises(Conflict, match=r"handed_over already in cycle 1, with 1,000\.00 USD"):
        await store.fees.reserve("another", fee())
    with pytest.raises(Conflict, match="reserved with"):
        await store.fees.reserve(RUN, fee(amount=999))


async def test_released_fee_can_be_reserved_again(store: Store) -> None:
    await store.engagements.put(billed_contract())
    first = await store.fees.reserve(RUN, fee())

    assert await store.fees.release(RUN) == 1
    assert await store.fees.release(RUN) == 0
    second = await store.fees.reserve(RUN, fee())

    assert first != second
    assert (await store.fees.get(first)).state is FeeState.RETURNED
    assert (await store.fees.standing(*LINE)).taken == usd(1000)


async def test_handed_over_fee_is_not_released(store: Store) -> None:
    await store.engagements.put(billed_contract())
    id_ = await store.fees.reserve(RUN, fee())

    assert await store.fees.hand_over(RUN) == (id_,)
    assert await store.fees.hand_over(RUN) == (id_,)

    with pytest.raises(Conflict, match="handed_over already"):
        await store.fees.release(RUN)
    with pytest.raises(NotFound):
        await store.fees.hand_over("nobody")


async def test_withdrawn_before_a_draft_is_returned(store: Store) -> None:
    await store.engagements.put(billed_contract())
    id_ = await store.fees.reserve(RUN, fee())
    await store.fees.hand_over(RUN)

    withdrawn = await store.fees.withdraw(*M1, "un-approved")

    assert (withdrawn.id, withdrawn.state) == (id_, FeeState.RETURNED)
    assert await store.fees.withdraw(*M1, "again") == withdrawn
    assert await store.drafts.billables() == ()
    assert (await store.fees.standing(*LINE)).taken == usd(0)
    with pytest.raises(NotFound, match="nothing was ever reserved"):
        await store.fees.withdraw(FeeSource.MILESTONE, "kantata/M9", "un-approved")


async def test_withdrawn_on_a_draft_is_marked_and_late_once_released(store: Store) -> None:
    await store.engagements.put(billed_contract())
    await store.fees.reserve(RUN, fee())
    await store.fees.hand_over(RUN)
    (billable,) = await store.drafts.billables()
    draft = await opened(store, [billable])

    withdrawn = await store.fees.withdraw(*M1, "un-approved")
    assert (withdrawn.state, withdrawn.draft) == (FeeState.DRAFTED, draft.id)
    assert await store.fees.late() == ()

    await release(store, draft.id)
    assert [each.state for each in await store.fees.late()] == [FeeState.RELEASED]
    with pytest.raises(Conflict, match="is released: it cannot be withdrawn any more"):
        await store.fees.withdraw(*M1, "by hand", by=LUCA)
    with pytest.raises(Conflict, match="cannot be held"):
        await store.fees.hold(*M1, by=LUCA, because="by hand")
    assert await store.fees.restore(*M1)
    assert not await store.fees.restore(*M1)
    assert await store.fees.late() == ()


async def test_held_fee_is_on_no_draft_until_it_is_released(store: Store) -> None:
    await store.engagements.put(billed_contract())
    await store.fees.reserve(RUN, fee())
    await store.fees.hand_over(RUN)

    assert await store.fees.hold(*M1, by=ENGINE, because="not approved")
    assert await store.fees.hold(*M1, by=MAYA, because="disputed")
    assert not await store.fees.hold(*M1, by=LUCA, because="me too")
    assert not await store.fees.hold(*M1, by=ENGINE, because="not approved")
    assert not await store.fees.restore(*M1), "a person's hold is not the PSA's to release"

    assert [(each.held, each.held_by) for each in await store.fees.held()] == [("disputed", MAYA)]
    assert await store.drafts.billables() == ()
    assert await store.fees.unhold(*M1, by=LUCA)
    assert not await store.fees.unhold(*M1, by=LUCA)
    assert len(await store.drafts.billables()) == 1
    trail = await store.audit.trail("fee/milestone/kantata/M1")
    assert [(entry.actor, entry.act) for entry in trail[-3:]] == [
        (ENGINE, "hold"),
        (MAYA, "hold"),
        (LUCA, "unhold"),
    ]


async def test_what_a_person_withdraws_is_kept_back_until_somebody_releases_it(
    store: Store,
) -> None:
    await store.engagements.put(billed_contract())
    await store.fees.reserve(RUN, fee())
    await store.fees.hand_over(RUN)

    withdrawn = await store.fees.withdraw(*M1, "billed by hand", by=LUCA)

    assert (withdrawn.state, withdrawn.held_by) == (FeeState.RETURNED, LUCA)
    assert [each.id for each in await store.fees.held()] == [withdrawn.id]
    with pytest.raises(Conflict, match="nothing to be withdrawn"):
        await store.fees.withdraw(*M1, "again", by=LUCA)
    assert await store.fees.unhold(*M1, by=MAYA)
    assert await store.fees.held() == ()


async def test_a_completed_saga_is_taken_back_once(store: Store) -> None:
    begun = await begin(store, RUN)
    assert not await store.sagas.take_back(RUN, "it runs")
    await finish(store, RUN, begun.generation)

    assert await store.sagas.take_back(RUN, "un-approved")
    assert not await store.sagas.take_back(RUN, "un-approved")

    again = await begin(store, RUN)
    assert (again.generation, again.closed, again.because) == (1, True, "un-approved")
    await finish(store, RUN, 1, Outcome.ROLLED_BACK)
    assert (await begin(store, RUN)).generation == 2


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE fees SET state = 'invoiced'",
        "UPDATE fees SET state = 'drafted'",
        "UPDATE fees SET state = 'credited'",
        "UPDATE fees SET amount = 1",
        "UPDATE fees SET item = 'x'",
        "DELETE FROM fees",
        (
            "INSERT INTO fees (source, item, engagement, line, psa, project_id, client_id, period,"
            " amount, currency, run, document) SELECT source, item, engagement, line, psa,"
            " project_id, client_id, period, amount, currency, 'x', document FROM fees"
        ),
        (
            "INSERT INTO fees (source, item, engagement, line, psa, project_id, client_id, period,"
            " amount, currency, run, document, state) SELECT source, 'x', engagement, line, psa,"
            " project_id, client_id, period, amount, currency, 'x', document, 'drafted' FROM fees"
        ),
        "UPDATE billing_moves SET act = 'x'",
        "DELETE FROM billing_moves",
    ],
)
async def test_database_refuses(store: Store, database: Database, statement: str) -> None:
    await store.engagements.put(billed_contract())
    await store.fees.reserve(RUN, fee())

    with pytest.raises(Conflict):
        await database.run(text(statement))


async def test_moves_tell_the_whole_way(store: Store, database: Database) -> None:
    await store.engagements.put(billed_contract())
    await store.fees.reserve(RUN, fee())
    await store.fees.hand_over(RUN)
    draft = await opened(store, await store.drafts.billables())
    await release(store, draft.id)

    moves = await database.rows(
        text("SELECT to_state, act FROM billing_moves WHERE track = 'fee' ORDER BY id")
    )

    assert [(row.to_state, row.act) for row in moves] == [
        ("reserved", "reserve"),
        ("handed_over", "hand_over"),
        ("drafted", "open"),
        ("released", "release"),
    ]
