"""Whether a milestone may be invoiced: evidence, order, contract value, prior invoices."""

from datetime import UTC, date, datetime
from typing import Any

import pytest

from canonical.deal import ContractLineType
from canonical.engagement import ContractLine, Engagement
from canonical.fees import ContractStanding, FeeStanding, FeeState
from canonical.invoicing import PsaMilestone
from canonical.records import RecordRef
from policies.bundle import load_bundle
from policies.invoicing_schema import Invoicing, PriorUnpaid
from policies.milestones import Judgement, fee_of, judge_milestone, line_of, over_contract
from tests.support.drafts import money

INVOICING = load_bundle(None).policies.invoicing
LINE = ContractLine(
    ref="L1",
    type=ContractLineType.FIXED_FEE,
    currency="EUR",
    legal_entity="DE",
    value=money("30000.00"),
)
OTHER = ContractLine(
    ref="L2", type=ContractLineType.TIME_AND_MATERIALS, currency="EUR", legal_entity="DE"
)
ENGAGEMENT = Engagement(
    id="salesforce/006",
    client_id="001",
    psa="kantata",
    project_id="5001",
    effective_from=date(2026, 1, 1),
    lines=(LINE, OTHER),
)


def milestone(number: int, amount: str = "10000.00", **more: Any) -> PsaMilestone:
    """Return an approved milestone of the first line."""
    given: dict[str, Any] = {
        "record": RecordRef(system="kantata", type="milestone", id=str(900 + number)),
        "project_id": "5001",
        "title": f"Phase {number}",
        "amount": money(amount),
        "external_ref": f"L1/M{number}",
        "position": number,
        "approved": True,
        "approved_by": "maya.chen@example.com",
        "approved_at": datetime(2026, 11, 20, 9, tzinfo=UTC),
        **more,
    }
    return PsaMilestone(**given)


SIBLINGS = (milestone(1), milestone(2), milestone(3))


def standing(*taken: tuple[int, FeeState, bool]) -> ContractStanding:
    """Return what is taken of the line: milestones by number, state, and whether it is paid."""
    fees = tuple(
        FeeStanding(
            id=number,
            fee=fee_of(SIBLINGS[number - 1], LINE, ENGAGEMENT, SIBLINGS, "2026-11", date.max),
            state=state,
            invoice=f"INV-{number}",
            paid=paid,
        )
        for number, state, paid in taken
    )
    total = money(f"{10_000 * len(taken)}.00")
    nothing = money("0.00")
    return ContractStanding(
        engagement=ENGAGEMENT.id,
        line="L1",
        reserved=nothing,
        drafted=nothing,
        invoiced=total,
        credited=nothing,
        fees=fees,
    )


def judged(
    of: PsaMilestone, stands: ContractStanding, invoicing: Invoicing = INVOICING
) -> Judgement:
    fee = fee_of(of, LINE, ENGAGEMENT, SIBLINGS, "2026-11", date(2026, 11, 21))
    return judge_milestone(of, fee, LINE, SIBLINGS, stands, invoicing)


def codes(of: Judgement) -> list[str]:
    return [each.code for each in of.problems]


def test_the_first_milestone_of_a_line_is_billed() -> None:
    assert judged(SIBLINGS[0], standing()) == Judgement()


def test_one_that_nobody_is_known_to_have_approved_parks() -> None:
    assert codes(judged(milestone(1, approved_by=""), standing())) == ["no_approver"]


def test_a_gap_in_the_sequence_blocks_and_names_what_is_missing() -> None:
    of = judged(SIBLINGS[2], standing((1, FeeState.INVOICED, True)))
    assert codes(of) == ["out_of_sequence"]
    assert "Phase 2 comes before Phase 3" in of.problems[0].text


@pytest.mark.parametrize("state", [FeeState.RESERVED, FeeState.DRAFTED, FeeState.CREDITED])
def test_a_predecessor_on_its_way_is_enough(state: FeeState) -> None:
    assert judged(SIBLINGS[1], standing((1, state, True))).problems == ()


def test_a_predecessor_given_back_is_not() -> None:
    assert codes(judged(SIBLINGS[1], standing((1, FeeState.RETURNED, False)))) == [
        "out_of_sequence"
    ]


def test_a_milestone_on_a_psa_invoice_was_billed_outside() -> None:
    of = milestone(1, invoiced_on="77")
    assert codes(judged(of, standing())) == ["billed_outside"]


def test_two_milestones_at_one_place_are_a_duplicate() -> None:
    stands = standing((1, FeeState.INVOICED, True))
    twin = milestone(1, record=RecordRef(system="kantata", type="milestone", id="999"))
    fee = fee_of(twin, LINE, ENGAGEMENT, (twin, *SIBLINGS), "2026-11", date.max)
    found = judge_milestone(twin, fee, LINE, (twin, *SIBLINGS), stands, INVOICING)
    assert codes(found) == ["duplicate"]


def test_a_large_amount_wants_the_clients_acceptance() -> None:
    large = milestone(1, "100000.00")
    assert codes(judged(large, standing())) == ["no_acceptance"]
    assert codes(judged(milestone(1, "99999.99"), standing())) == []
    assert codes(judged(milestone(1, "100000.00", acceptance="signed.pdf"), standing())) == []


def test_another_currency_is_the_psas_to_correct() -> None:
    of = milestone(1).model_copy(update={"amount": money("10.00", "USD")})
    assert codes(judged(of, standing())) == ["wrong_currency"]


@pytest.mark.parametrize(
    ("policy", "problems", "warnings"),
    [(PriorUnpaid.WARN, 0, 1), (PriorUnpaid.BLOCK, 1, 0), (PriorUnpaid.IGNORE, 0, 0)],
)
def test_an_unpaid_earlier_invoice_warns_or_blocks(
    policy: PriorUnpaid, problems: int, warnings: int
) -> None:
    terms = INVOICING.entities["DE"].model_copy(update={"unpaid_prior": policy})
    invoicing = INVOICING.model_copy(update={"entities": {**INVOICING.entities, "DE": terms}})
    found = judged(SIBLINGS[1], standing((1, FeeState.INVOICED, False)), invoicing)
    assert (len(found.problems), len(found.warnings)) == (problems, warnings)
    paid = judged(SIBLINGS[1], standing((1, FeeState.INVOICED, True)), invoicing)
    assert paid == Judgement()


@pytest.mark.parametrize(
    ("taken", "fits"), [("0.00", True), ("20000.00", True), ("20000.01", False)]
)
def test_never_more_than_the_contracts_value(taken: str, *, fits: bool) -> None:
    fee = fee_of(SIBLINGS[0], LINE, ENGAGEMENT, SIBLINGS, "2026-11", date.max)
    found = over_contract(fee, money(taken), LINE.value)
    assert (found is None) == fits
    if found is not None:
        assert "9,999.99 EUR is left" in found.text


def test_a_deduction_always_fits() -> None:
    fee = fee_of(milestone(1, "-500.00"), LINE, ENGAGEMENT, SIBLINGS, "2026-11", date.max)
    assert over_contract(fee, money("30000.00"), LINE.value) is None


def test_a_milestone_made_by_hand_belongs_to_the_only_line_without_hours() -> None:
    assert line_of(milestone(1, external_ref=""), ENGAGEMENT) == LINE
    assert line_of(milestone(1, external_ref="L9/M1"), ENGAGEMENT) is None
    two = ENGAGEMENT.model_copy(update={"lines": (LINE, LINE.model_copy(update={"ref": "L3"}))})
    assert line_of(milestone(1, external_ref=""), two) is None
