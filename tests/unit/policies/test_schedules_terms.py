"""Terms that contradict themselves are refused, naming the field and what to change."""

from typing import Any

import pytest
from pydantic import ValidationError

from canonical.model import CanonicalModel
from canonical.schedule_facts import ScheduledLine
from canonical.schedules import FixedFeeTerms, ScheduleTerms
from tests.unit.policies.schedules_page import TERMS, cases

FIXED = {"type": "fixed_fee", "currency": "EUR", "value": "100.00", "start": "2026-01-01"}
MONTHLY = {"type": "monthly_fee", "currency": "EUR", "fee": "10.00", "start": "2026-01-01"}
MANAGED = {**MONTHLY, "type": "managed_services"}
RETAINER = {"type": "retainer", "currency": "EUR", "amount": "10.00", "start": "2026-01-01"}
OUTCOME = {
    "type": "outcome_based",
    "currency": "EUR",
    "start": "2026-01-01",
    "tiers": [{"percent": 10}],
}
METRIC = {"metric": "calls", "unit_price": 1}
LEVEL = {"metric": "uptime", "credits": [{"below": 99, "percent": 5}]}


@pytest.mark.parametrize(
    ("terms", "where", "problem"),
    [
        ({**FIXED, "currency": "EUX"}, "", "currency: 'EUX' is no ISO 4217 currency such as EUR"),
        ({**FIXED, "value": "100.005"}, "", "value: 100.005 has more than 2 decimals of EUR;"),
        ({**FIXED, "currency": "JPY", "value": "1.5"}, "", "value: 1.5 has more than 0 decimals"),
        ({**FIXED, "advance": {"due": "2026-01-01"}}, "advance", "amount, percent: give one of"),
        (
            {**FIXED, "advance": {"due": "2026-01-01", "amount": "0.001"}},
            "",
            "advance.amount: 0.001 has more than 2 decimals",
        ),
        (
            {**FIXED, "advance": {"due": "2026-01-01", "amount": 101}},
            "",
            "advance.amount: 101 is more than the value 100.00; lower it",
        ),
        (
            {**FIXED, "milestones": [{"id": "M1"}]},
            "milestones.0",
            "amount, percent: give one of the two",
        ),
        (
            {**FIXED, "milestones": [{"id": "M1", "percent": 50}, {"id": "M1", "percent": 50}]},
            "",
            "milestones: two have the same id; give each its own",
        ),
        (
            {**FIXED, "milestones": [{"id": "M1", "percent": 50}, {"id": "M2", "amount": 50}]},
            "",
            "milestones: some have an amount, some a percent; use one for all",
        ),
        (
            {**FIXED, "milestones": [{"id": "M1", "percent": 99}]},
            "",
            "milestones: the percentages sum to 99; make them sum to 100",
        ),
        (
            {**FIXED, "milestones": [{"id": "M1", "amount": 99}]},
            "",
            "milestones: the amounts sum to 99; make them sum to 100.00",
        ),
        (
            {
                **FIXED,
                "currency": "JPY",
                "value": 10,
                "milestones": [{"id": f"M{n}", "percent": 5} for n in range(20)],
            },
            "",
            "milestones: the shares round to more than the value; make them fewer, or give",
        ),
        (
            {**FIXED, "retention": {"percent": 5, "releases": [{"percent": 50}]}},
            "retention",
            "releases: the percentages sum to 50; make them sum to 100",
        ),
        (
            {**FIXED, "retention": {"percent": 101}},
            "retention.percent",
            "less than or equal to 100",
        ),
        (
            {**MONTHLY, "end": "2025-12-31"},
            "",
            "end: 2025-12-31 is before the start 2026-01-01; correct one",
        ),
        (
            {**MONTHLY, "indexation": [{"valid_from": "2026-01-01", "percent": 3}]},
            "",
            "indexation.0.valid_from: 2026-01-01 is not after the start 2026-01-01; write the",
        ),
        (
            {**MONTHLY, "indexation": [{"valid_from": "2027-01-01", "percent": 3}] * 2},
            "",
            "indexation: the days do not ascend; put them in order, each once",
        ),
        ({**MONTHLY, "invoice_every_months": 5}, "invoice_every_months", "Input should be 1, 2, 3"),
        ({**MANAGED, "usage": [METRIC, METRIC]}, "", "usage: a metric is there twice; keep one"),
        (
            {**MANAGED, "service_levels": [LEVEL, LEVEL]},
            "",
            "service_levels: a metric is there twice; keep one",
        ),
        ({**RETAINER, "deposit": "once"}, "", "deposit: without rollover all that is left expires"),
        ({**RETAINER, "at_end": "refund"}, "", "at_end: without rollover all that is left expires"),
        (
            {**RETAINER, "top_up": {"below": 5, "to": 4}},
            "top_up",
            "to: 4 is less than below 5; raise it",
        ),
        (
            {**RETAINER, "rollover": {"months": 1, "limit": "0.001"}},
            "",
            "rollover.limit: 0.001 has more than 2 decimals",
        ),
        (
            {**OUTCOME, "tiers": [{"percent": 10, "fixed": 5}]},
            "tiers.0",
            "percent, per_unit, fixed: give exactly one of the three",
        ),
        (
            {**OUTCOME, "tiers": [{"percent": 10}, {"percent": 20}]},
            "",
            "tiers: the marks in `above` do not ascend; put them in order",
        ),
        (
            {**OUTCOME, "floor": 5, "cap": 4},
            "",
            "floor: 5 is more than the cap 4; lower it",
        ),
        ({**OUTCOME, "tiers": []}, "", "tiers: there is none; say what a gain earns"),
        ({**OUTCOME, "formula": "value * 0.1"}, "formula", "Extra inputs are not permitted"),
    ],
)
def test_terms_are_refused_by_field(terms: dict[str, Any], where: str, problem: str) -> None:
    with pytest.raises(ValidationError) as refused:
        TERMS.validate_python(terms, extra="forbid")
    (error,) = refused.value.errors()
    assert ".".join(str(part) for part in error["loc"][1:]) == where
    assert problem in error["msg"]


class _Line(CanonicalModel):
    """As the contract line carries a schedule."""

    schedule: ScheduleTerms | None = None


@pytest.mark.parametrize("case", cases(), ids=lambda case: case.name)
def test_terms_travel_as_json(case: Any) -> None:
    line = _Line(schedule=case.terms)
    assert _Line.model_validate_json(line.model_dump_json()) == line


def test_fields_of_a_newer_version_are_ignored_in_history() -> None:
    assert isinstance(TERMS.validate_python({**FIXED, "of_tomorrow": 1}), FixedFeeTerms)


def test_a_line_whose_units_do_not_come_to_its_amount_is_refused() -> None:
    with pytest.raises(ValidationError, match="quantity: 3 x 5 is 15, not 14"):
        ScheduledLine.model_validate(
            {
                "item": "x",
                "kind": "fee",
                "net": {"amount": 14, "currency": "EUR"},
                "quantity": 3,
                "unit_price": 5,
                "service_start": "2026-01-01",
                "service_end": "2026-01-01",
                "invoice_on": "2026-01-01",
                "tax_point": "2026-01-01",
                "narrative": "",
                "basis": [],
            }
        )
