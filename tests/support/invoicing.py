"""Drafts of a project's billed work, carried to invoices by the people of the world."""

from decimal import Decimal
from typing import Any

from canonical.drafts import Draft, DraftAnswer, DraftState, Release, Review
from canonical.money import Money
from tests.support.billing import AT_PROJECT, amount, billed_account, live, start_run
from tests.support.world import World


async def handed_over(world: World, *, scenario: str = "time-small", **more: Any) -> str:
    """Return an account whose project was billed once: its lines wait to be drafted."""
    account = await billed_account(world, scenario=scenario, **more)
    await world.result(await start_run(world, account))
    return account


async def drafted(world: World, account: str, project_id: str = AT_PROJECT) -> list[Draft]:
    """Return the drafts that are made of what waits, in review."""
    made = await world.queue.assemble(psa=f"kantata@{account}", project_id=project_id)
    return [await world.store.drafts.get(draft) for draft in made.drafts]


async def queued(world: World, account: str) -> Draft:
    """Return the one draft of an account, reviewed and in the billing queue."""
    (draft,) = await drafted(world, account)
    answer = await world.queue.act(draft.id, Review(by="olivia"))
    assert answer.taken, answer.reasons
    return await world.store.drafts.get(draft.id)


async def release(world: World, draft: Draft, by: str = "cara") -> DraftAnswer:
    """Release a draft as it is, and return the answer."""
    current = await world.store.drafts.get(draft.id)
    return await world.queue.act(draft.id, Release(by=by, content_hash=current.content_hash))


async def in_state(world: World, draft: str, *states: DraftState) -> Draft:
    """Wait until a draft is in one of these states, and return it."""

    async def there() -> Draft | None:
        found = await world.store.drafts.get(draft)
        return found if found.state in states else None

    found: Draft = await world.eventually(there, f"{draft} in {', '.join(states)}")
    return found


async def invoices(world: World, account: str) -> list[dict[str, Any]]:
    """Return the ERP's invoices of an account."""
    return await live(world, "netsuite", account, "invoice")


def total(values: list[dict[str, Any]], field: str, currency: str) -> Money:
    """Return the sum of an amount over records."""
    return Money(
        amount=sum((amount(each[field]) for each in values), Decimal(0)), currency=currency
    )
