"""The tables of `docs/schedules.md`, worked by hand, against what falls due."""

from collections import Counter, defaultdict
from decimal import Decimal

import pytest

from canonical.schedule_facts import LineKind
from policies.schedules import due
from tests.unit.policies import schedules_page as page

CASES = page.cases()
KINDS = {"fixed_fee", "retainer", "managed_services", "monthly_fee", "outcome_based"}


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_a_case_of_the_page_comes_to_the_lines_worked_by_hand(case: page.Case) -> None:
    lines = due(case.terms, case.facts, case.since, case.until, case.done)
    assert [page.shown(line) for line in lines] == [row.shown() for row in case.rows]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_the_arithmetic_of_the_page_is_right(case: page.Case) -> None:
    for row in case.rows:
        assert not list(page.wrong_sums(row.by_hand, case.terms.currency)), row.item
        worked = row.balance if page.number(row.net) == 0 else row.net
        assert page.number(row.by_hand) == page.number(worked), row.item


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_a_line_says_how_it_came_about(case: page.Case) -> None:
    for line in due(case.terms, case.facts, case.since, case.until, case.done, line="L-1"):
        assert line.line == "L-1"
        assert line.basis
        assert all(label and value for label, value in line.basis)
        assert line.narrative
        assert line.service_start <= line.service_end
        assert line.tax_point <= line.invoice_on


def test_every_kind_of_schedule_has_six_cases_with_yen_and_dinars_among_them() -> None:
    count = Counter(case.terms.type for case in CASES)
    currencies = defaultdict(set)
    for case in CASES:
        currencies[case.terms.type].add(case.terms.currency)
    assert set(count) == KINDS
    assert min(count.values()) >= 6
    assert all({"JPY", "KWD"} <= found for found in currencies.values())


def test_the_page_shows_terms_of_every_kind_that_are_valid() -> None:
    shown = [page.TERMS.validate_python(each, extra="forbid") for each in page.examples()]
    assert {each.type for each in shown} == KINDS


def test_the_cases_meet_every_kind_of_line() -> None:
    lines = [each for case in CASES for each in due(case.terms, case.facts, case.since, case.until)]
    assert {each.kind for each in lines} == set(LineKind)


def test_units_and_price_are_shown_where_they_come_to_the_amount() -> None:
    case = next(case for case in CASES if case.name == "S3")
    _, first, correction = due(case.terms, case.facts, case.since, case.until)
    assert (first.quantity, first.unit_price) == (Decimal("234.5"), Decimal("33.333"))
    assert (correction.quantity, correction.unit_price) == (None, None)


def test_wrong_arithmetic_would_be_seen() -> None:
    assert list(page.wrong_sums("to date: 3.00 × 10 % = 0.31", "EUR"))
    assert not list(page.wrong_sums("to date: (3.00 − 1) × 10 ÷ 7 = 2.86; words", "EUR"))
