"""What follows for an amount when its milestone changes: every state, every word of the PSA."""

from datetime import date
from decimal import Decimal
from typing import Any

import pytest

from canonical.fees import Fee, FeeSource, FeeStanding, FeeState
from canonical.invoicing import PsaMilestone
from canonical.money import Money
from canonical.records import RecordRef
from policies.milestone_changes import Consequence, consequence_of, kept_back, why_not
from policies.queue_case import ENGINE

DAY = date(2026, 11, 30)


def usd(amount: str) -> Money:
    return Money(amount=Decimal(amount), currency="USD")


def standing(state: FeeState, cycle: int = 1, **changes: Any) -> FeeStanding:
    fee = Fee(
        source=FeeSource.MILESTONE,
        item="kantata/31",
        engagement="salesforce/006",
        line="L1",
        psa="kantata",
        project_id="5001",
        client_id="001",
        amount=usd("1000"),
        period="2026-11",
        unit_price=Decimal(1000),
        narrative="Go-live",
        start=DAY,
        end=DAY,
        on=DAY,
        cycle=cycle,
    )
    return FeeStanding.model_validate({"id": 1, "fee": fee, "state": state, **changes})


def milestone(amount: str = "1000", *, approved: bool = True) -> PsaMilestone:
    return PsaMilestone(
        record=RecordRef(system="kantata", type="milestone", id="31"),
        project_id="5001",
        title="Go-live",
        amount=usd(amount),
        approved=approved,
    )


@pytest.mark.parametrize("state", [state for state in FeeState if state.value != "returned"])
def test_one_that_stands_as_it_was_approved_is_left_alone(state: FeeState) -> None:
    assert consequence_of(standing(state), milestone()) is Consequence.NOTHING


@pytest.mark.parametrize("state", ["reserved", "handed_over", "drafted", "released", "invoiced"])
@pytest.mark.parametrize(
    ("now", "why"),
    [
        (milestone(approved=False), "it is not approved any more"),
        (None, "it is gone from the PSA"),
        (milestone("900"), "it is 900.00 USD now"),
    ],
)
def test_what_may_not_be_billed_so_is_withdrawn(
    state: str, now: PsaMilestone | None, why: str
) -> None:
    fee = standing(FeeState(state))
    assert why_not(fee, now) == why
    assert consequence_of(fee, now) is Consequence.WITHDRAW


@pytest.mark.parametrize(
    "mark", [{"withdrawn": "not approved"}, {"held": "returned", "held_by": ENGINE}]
)
def test_approved_again_it_is_restored(mark: dict[str, str]) -> None:
    fee = standing(FeeState.RELEASED, 1, **mark)
    assert consequence_of(fee, milestone()) is Consequence.RESTORE


def test_a_person_s_word_is_not_the_psa_s_to_take_back() -> None:
    held = standing(FeeState.HANDED_OVER, held="disputed", held_by="olivia")
    assert kept_back(held) == "kept back by olivia: disputed"
    assert consequence_of(held, milestone()) is Consequence.NOTHING
    withdrawn = held.model_copy(update={"withdrawn": "disputed", "state": FeeState.DRAFTED})
    assert consequence_of(withdrawn, milestone()) is Consequence.WITHDRAW


def test_what_was_given_back_is_taken_back_whatever_the_psa_says() -> None:
    for now in (None, milestone(), milestone(approved=False)):
        assert consequence_of(standing(FeeState.RETURNED), now) is Consequence.TAKE_BACK


@pytest.mark.parametrize(
    ("state", "held", "expected"),
    [
        ("handed_over", "", Consequence.HOLD),
        ("drafted", "", Consequence.HOLD),
        ("drafted", "disputed", Consequence.NOTHING),
        ("released", "", Consequence.NOTHING),
        ("credited", "", Consequence.NOTHING),
    ],
)
def test_a_rebill_is_held_and_never_given_back(
    state: str, held: str, expected: Consequence
) -> None:
    fee = standing(FeeState(state), cycle=2, held=held, held_by="olivia" if held else "")
    assert consequence_of(fee, milestone(approved=False)) is expected
    # It may be of a part of the milestone.
    assert consequence_of(fee, milestone("900")) is Consequence.NOTHING
