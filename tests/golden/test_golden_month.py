"""Dealthread rates and allocates the golden month as the hand did: every figure, to the cent.

Each contract is one claim, in the order of the rows. The month stands on its own: nothing was
consumed of caps and retainers before.
"""

from collections import defaultdict
from dataclasses import dataclass
from decimal import Decimal
from functools import cache

import pytest

from canonical.engagement import Cap, CapScope, Engagement
from canonical.entries import Entry, EntryRef
from canonical.rating import Disposition, Part, Rated
from canonical.standing import CapStanding, RetainerStanding
from policies.allocation import allocate
from policies.billing_schema import IntercompanyPolicy, TransferRule
from policies.bundle import load_bundle
from policies.rating import Before, MasterData, rate
from policies.schema import Policies
from tests.golden.comparing import Figures, differences, expected, found
from tests.golden.loading import (
    engagements,
    entry_of,
    exchange_rates,
    known_expenses,
    read,
    rows,
    workers,
)

ROWS = {row["entry"]: row for row in rows()}


@dataclass(frozen=True)
class Outcome:
    """What Dealthread makes of one entry."""

    entry: Entry
    rated: Rated
    parts: tuple[Part, ...]
    warnings: tuple[str, ...]

    @property
    def figures(self) -> Figures:
        return found(self.rated, self.parts, self.warnings)


@pytest.mark.parametrize("entry", ROWS)
def test_every_figure_matches(entry: str) -> None:
    outcome = month()[entry]
    assert outcome.rated.version == outcome.entry.version
    told = differences(ROWS[entry], outcome.figures, outcome.entry)
    if told:
        pytest.fail("\n".join(told), pytrace=False)


@pytest.mark.parametrize("entry", [name for name, row in ROWS.items() if row["hold"]])
def test_a_hold_says_why_in_words(entry: str) -> None:
    detail = month()[entry].rated.hold_detail
    assert detail
    for figure in filter(None, ROWS[entry]["hold_detail_names"].split(";")):
        assert figure in detail


def test_evidence_names_record_and_day_of_each_exchange_rate() -> None:
    used = {
        name: (fx.source, str(fx.valid_from))
        for name in ("A30", "A31", "F05")
        if (fx := month()[name].rated.fx) is not None
    }
    assert used == {
        "A30": ("netsuite:currencyRate/EUR-USD-2026-10-01", "2026-10-01"),
        "A31": ("netsuite:currencyRate/EUR-USD-2026-11-16", "2026-11-16"),
        "F05": ("netsuite:currencyRate/USD-KWD-2026-10-01", "2026-10-01"),
    }


def test_the_comparison_sees_any_figure_that_differs() -> None:
    for name, row in ROWS.items():
        if row["hold"]:
            continue
        outcome = month()[name]
        for figure in expected(row):
            wrong = {**outcome.figures, figure: "something else"}
            assert differences(row, wrong, outcome.entry), (name, figure)


def test_parts_of_all_entries_sum_to_what_they_are_worth() -> None:
    for name, outcome in month().items():
        amount = outcome.rated.amount
        parts = sum((part.amount.amount for part in outcome.parts), Decimal(0))
        assert parts == (Decimal(0) if amount is None else amount.amount), name
        assert all(part.disposition is not Disposition.WRITTEN_OFF for part in outcome.parts)


@cache
def month() -> dict[str, Outcome]:
    """Rate and allocate the whole month once."""
    entries = [entry_of(row, number) for number, row in enumerate(ROWS.values())]
    contracts = engagements()
    by_project: dict[str, list[Entry]] = defaultdict(list)
    for entry in entries:
        by_project[entry.project_id].append(entry)
    outcomes = {}
    for project, claim in by_project.items():
        versions = [each for each in contracts if each.project_id == project]
        for outcome in _claimed(claim, versions):
            outcomes[outcome.entry.id] = outcome
    return outcomes


def _claimed(claim: list[Entry], versions: list[Engagement]) -> list[Outcome]:
    master = MasterData(versions, workers(), exchange_rates())
    before = Before(known_expenses=known_expenses(claim[0].project_id))
    rated = rate(claim, master, _policies(), read("policy.yaml")["billing_period"], before)
    free = [each for each in rated if each.hold is None]
    allocation = allocate(free, _caps(versions[-1]), _retainers(versions[-1]))
    parts = dict(zip((each.ref for each in free), allocation.parts, strict=True))
    warnings: dict[EntryRef, list[str]] = defaultdict(list)
    for warning in allocation.warnings:
        warnings[warning.ref].append(f"{warning.cap}:{warning.percent}")
    return [
        Outcome(entry, each, parts.get(each.ref, ()), tuple(warnings[each.ref]))
        for entry, each in zip(claim, rated, strict=True)
    ]


def _caps(of: Engagement) -> list[CapStanding]:
    """Return the contract's caps untouched: the lines' first, in the order of the contract."""
    named: list[tuple[str, Cap]] = [(line.ref, cap) for line in of.lines for cap in line.caps]
    named += [("", cap) for cap in of.caps]
    period = read("policy.yaml")["billing_period"]
    return [
        CapStanding(
            id=number,
            cap=cap,
            line=line,
            period=period if cap.scope is CapScope.PERIOD else "",
            consumed=Decimal(0),
            settled=Decimal(0),
        )
        for number, (line, cap) in enumerate(named, 1)
    ]


def _retainers(of: Engagement) -> list[RetainerStanding]:
    return [
        RetainerStanding(
            id=number,
            line=line.ref,
            balance=line.retainer.balance,
            settled=Decimal(0),
            overage=line.retainer.overage,
        )
        for number, line in enumerate(of.lines, 1)
        if line.retainer is not None
    ]


@cache
def _policies() -> Policies:
    """Return the default bundle with the month's transfer prices; no other pair has a sane one."""
    pairs: dict[str, dict[str, TransferRule]] = defaultdict(dict)
    for each in read("policy.yaml")["intercompany"]:
        terms = {name: each[name] for name in each if name not in ("from", "to")}
        pairs[each["from"]][each["to"]] = TransferRule.model_validate(terms)
    absurd = TransferRule.model_validate({"of": "cost", "percent": 999})
    policies = load_bundle().policies
    prices = IntercompanyPolicy(default=absurd, pairs=dict(pairs))
    return policies.model_copy(
        update={"billing": policies.billing.model_copy(update={"intercompany": prices})}
    )
