"""A billing run on a line whose retainer has a schedule: hours draw what the schedule has."""

from collections import defaultdict
from decimal import Decimal

import pytest

from canonical.deal import ContractLineType
from canonical.ids import billing_run_id
from canonical.rating import Disposition
from canonical.saga import Outcome
from canonical.schedules import RetainerTerms
from tests.support.billing import AT_PROJECT, PERIOD, billed_account, engagement, start_run
from tests.support.world import World


async def dispositions(world: World, account: str) -> dict[Disposition, Decimal]:
    """Return what became of the retained line's work, in money."""
    key = billing_run_id(f"kantata@{account}", AT_PROJECT, PERIOD, 1)
    found: dict[Disposition, Decimal] = defaultdict(Decimal)
    for entry in await world.store.runs.placed(key):
        if entry.rated.line == "L-TM":
            for part in entry.parts:
                found[part.disposition] += part.amount.amount
    return dict(found)


@pytest.mark.parametrize("overage", ["entries", "schedule"])
async def test_a_run_draws_what_the_schedule_has(world: World, overage: str) -> None:
    account = await billed_account(world)
    terms = {"currency": "USD", "start": "2026-11-01", "amount": "500.00", "overage": overage}
    whole = engagement(account)
    retained = {"type": ContractLineType.RETAINER, "schedule": RetainerTerms.model_validate(terms)}
    lines = (whole.lines[0].model_copy(update=retained), *whole.lines[1:])
    await world.store.engagements.put(whole.model_copy(update={"lines": lines}))

    done = await world.result(await start_run(world, account))

    assert done.outcome is Outcome.COMPLETED
    found = await dispositions(world, account)
    if overage == "schedule":
        assert Disposition.TO_BILL not in found
        assert found[Disposition.DRAWN_FROM_RETAINER] > 500
    else:
        assert found[Disposition.DRAWN_FROM_RETAINER] == 500
        assert found[Disposition.TO_BILL] > 0
