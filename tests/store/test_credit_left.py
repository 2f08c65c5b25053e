"""What is left to credit of an invoice, and what credits left of its projects."""

from canonical.invoicing import CreditReason
from store import Store
from tests.store.billing import usd
from tests.store.invoicing import LUCA
from tests.store.test_credits import INVOICE, credit, issued, through

KEY = ("netsuite", "9001")


async def test_every_credit_that_was_not_refused_takes_of_what_is_left(store: Store) -> None:
    draft = await issued(store)
    (one,), (two,) = (line.bills for line in draft.lines)
    asked = credit((1, one, 50))
    await store.credits.open_credit(asked)
    await through(store, credit((2, two, 20), number=2), "7002")

    left = await store.credits.left(INVOICE.system, INVOICE.id)
    assert [(each.line, each.bills, each.billed, each.taken) for each in left] == [
        (1, one, usd(120), usd(50)),
        (2, two, usd(120), usd(20)),
    ]
    assert [each.open for each in left] == [70, 100]

    await store.credits.refuse_credit(asked.id, by=LUCA, because="no")
    left = await store.credits.left(INVOICE.system, INVOICE.id)
    assert [each.taken for each in left] == [usd(0), usd(20)]


async def test_what_is_billed_again_leaves_the_rest_of_its_project(store: Store) -> None:
    draft = await issued(store)
    (one,), (two,) = (line.bills for line in draft.lines)
    again = CreditReason.REBILL
    (project,) = {line.project_id for line in draft.lines}

    assert await store.credits.rests(*KEY) == {}
    await through(store, credit((1, one, 120), reason=again))
    asked = credit((2, two, 20), reason=again, number=2)
    await store.credits.open_credit(asked)
    assert await store.credits.rests(*KEY) == {project: 120}
    await through(store, asked, "7002")
    assert await store.credits.rests(*KEY) == {project: 100}
    await through(store, credit((2, two, 100), reason=again, number=3), "7003")
    assert await store.credits.rests(*KEY) == {project: None}


async def test_what_is_conceded_stays_billed_at_what_is_left(store: Store) -> None:
    draft = await issued(store)
    (one,), (two,) = (line.bills for line in draft.lines)
    (project,) = {line.project_id for line in draft.lines}
    await through(store, credit((2, two, 50)))
    assert await store.credits.rests(*KEY) == {project: 190}
    await through(store, credit((1, one, 120), reason=CreditReason.REBILL, number=2), "7002")
    assert await store.credits.rests(*KEY) == {project: 70}
    await through(store, credit((2, two, 70), number=3), "7003")
    assert await store.credits.rests(*KEY) == {project: 0}
