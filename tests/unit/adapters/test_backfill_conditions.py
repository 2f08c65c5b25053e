"""Conditions that people type for a backfill: what is understood, and what is refused with why."""

import re
from datetime import date

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.errors import Invalid
from adapters.kantata.sources import conditions_of
from adapters.salesforce.conditions import soql_condition
from adapters.salesforce.config import ClientCredentials, SalesforceConfig
from adapters.salesforce.sources import opportunities_query
from canonical.backfill import BackfillKind, SourceWindow

CONFIG = SalesforceConfig(
    base_url="https://example.my.salesforce.com",
    auth=ClientCredentials(kind="client_credentials", client_id="a", client_secret="b"),  # type: ignore[arg-type]
)


def window(where: str = "", kind: BackfillKind = BackfillKind.OPPORTUNITIES) -> SourceWindow:
    return SourceWindow(
        kind=kind,
        connection="a",
        since=date(2026, 1, 1),
        until=date(2026, 1, 31),
        where=where,
    )


@pytest.mark.parametrize(
    ("typed", "written"),
    [
        ("", ""),
        ("Legal_Entity__c='US'", "Legal_Entity__c = 'US'"),
        (
            "amount >= 10000 and Account.Name like 'North%'",
            "amount >= 10000 AND Account.Name LIKE 'North%'",
        ),
        ("Amount > -5.25 OR IsPrivate = TRUE", "Amount > -5.25 OR IsPrivate = true"),
        ("(A = 1 OR B = 2) AND NOT C = null", "(A = 1 OR B = 2) AND (NOT C = null)"),
        ("Type in ('New','It\\'s')", "Type IN ('New', 'It\\'s')"),
        ("SystemModstamp < 2026-01-31T10:00:00Z", "SystemModstamp < 2026-01-31T10:00:00Z"),
        ("CloseDate != 2026-01-31", "CloseDate != 2026-01-31"),
        ("Name = 'a) OR (1 = 1'", "Name = 'a) OR (1 = 1'"),
        ("Name = 'a\\' OR Name != '", "Name = 'a\\' OR Name != '"),
    ],
)
def test_a_condition_is_written_anew(typed: str, written: str) -> None:
    assert soql_condition(typed) == written


@pytest.mark.parametrize(
    ("typed", "place", "why"),
    [
        ("Name = 'a' OR 1 = 1", 15, "field's name"),
        ("Name = 'a') OR (Name != 'a'", 11, "unexpected"),
        ("Name = 'a' ORDER BY Id", 12, "unexpected"),
        ("Id IN (SELECT Id FROM User)", 8, "literal"),
        ("Name = 'a' -- rest", 12, "nothing"),
        ("Name = 'a\\'", 8, "nothing"),
        ("Name = 'a\nb'", 8, "nothing"),
        ('Name = "a"', 8, "nothing"),
        ("A = 1 AND B = 2 OR C = 3", 17, "parentheses"),
        ("A =", 4, "literal"),
        ("A LIKE 5", 8, "text"),
        ("(A = 1", 7, "expected"),
        ("A = 1; DELETE", 6, "nothing"),
        ("CALENDAR_YEAR(CloseDate) = 2026", 14, "expected"),
        ("(" * 20 + "A = 1" + ")" * 20, 12, "deeply"),
        ("A = 1" + " " * 1000, 1001, "longer"),
    ],
)
def test_anything_else_is_refused_by_its_place(typed: str, place: int, why: str) -> None:
    with pytest.raises(Invalid, match=why) as refused:
        soql_condition(typed)
    assert f"at character {place}:" in str(refused.value), str(refused.value)
    assert refused.value.field == "where"


@given(st.text(alphabet="A='\\ ()ORandin,1-%_<>!\n", max_size=40))
def test_whatever_is_typed_stays_inside_its_parentheses(typed: str) -> None:
    try:
        written = soql_condition(typed)
    except Invalid:
        return
    bare = re.sub(r"'(?:\\.|[^'\\])*'", "''", written)
    assert "'" not in bare.replace("''", "")
    depth = 0
    for each in bare:
        depth += (each == "(") - (each == ")")
        assert depth >= 0
    assert depth == 0


def test_the_query_asks_for_won_deals_of_the_window_after_an_id() -> None:
    query = opportunities_query(window("A = 1 OR B = 2"), CONFIG, "006DT0000000001YAA")
    assert query.partition(" FROM ")[2] == (
        "Opportunity WHERE IsWon = true AND CloseDate >= 2026-01-01 AND CloseDate <= 2026-01-31 "
        "AND (A = 1 OR B = 2) AND Id > '006DT0000000001YAA' ORDER BY Id LIMIT 200"
    )
    with pytest.raises(Invalid):
        opportunities_query(window(), CONFIG, "x' OR Id != '")


@pytest.mark.parametrize(
    ("typed", "kind", "found"),
    [
        ("", BackfillKind.TIME, {}),
        ("project=5001", BackfillKind.MILESTONES, {"project": "5001"}),
        ("project = 5001 AND person=12", BackfillKind.TIME, {"project": "5001", "person": "12"}),
        ("person=12, project=5", BackfillKind.TIME, {"project": "5", "person": "12"}),
    ],
)
def test_work_is_filtered_by_project_and_person(
    typed: str, kind: BackfillKind, found: dict[str, str]
) -> None:
    assert conditions_of(window(typed, kind)) == found


@pytest.mark.parametrize(
    ("typed", "kind", "place"),
    [
        ("person=12", BackfillKind.MILESTONES, 1),
        ("project=5001&page=2", BackfillKind.TIME, 1),
        ("project=1 AND project=2", BackfillKind.TIME, 14),
        ("task=3", BackfillKind.TIME, 1),
    ],
)
def test_other_filters_of_work_are_refused(typed: str, kind: BackfillKind, place: int) -> None:
    with pytest.raises(Invalid, match=f"at character {place}:"):
        conditions_of(window(typed, kind))
