"""Schedules under generated terms and facts: what has to hold whatever a contract says."""

from collections.abc import Iterable, Sequence
from datetime import date, timedelta
from decimal import Decimal
from itertools import pairwise
from random import Random
from typing import TypeAlias

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from canonical.money import Money, minor_digits
from canonical.schedule_basics import IndexationStep, Proration, Timing
from canonical.schedule_facts import (
    Acceptance,
    DrawFact,
    LineKind,
    MeasuredValue,
    MilestoneFact,
    ProgressFact,
    ReleaseFact,
    ScheduledLine,
    ScheduleFact,
    ServiceLevelFact,
    TopUp,
    UsageFact,
)
from canonical.schedules import (
    Advance,
    AutomaticTopUp,
    CreditTier,
    FixedFeeTerms,
    Instalment,
    ManagedServicesTerms,
    MonthlyFeeTerms,
    OutcomeTerms,
    OutcomeTier,
    Overage,
    RetainerTerms,
    Retention,
    RetentionRelease,
    Rollover,
    ScheduleTerms,
    ServiceLevel,
    UsageTerms,
)
from policies.schedules import due, known
from policies.schedules.retainer import retainer_months

pytestmark = pytest.mark.property

ZERO, HUNDRED = Decimal(0), Decimal(100)
START = date(2026, 1, 1)
BEFORE, AFTER = date(2025, 6, 1), date(2029, 1, 1)
Contract: TypeAlias = tuple[ScheduleTerms, tuple[ScheduleFact, ...]]

currencies = st.sampled_from(("EUR", "JPY", "KWD"))
percents = st.decimals(1, 100, places=3)
prices = st.decimals(0, 500, places=4)
days = st.integers(0, 500).map(lambda number: START + timedelta(days=number))
releases = st.sampled_from(((100,), (50, 50), (33, 33, 34)))
months = st.sampled_from([f"2026-{number:02d}" for number in range(2, 13)])


@st.composite
def amounts(draw: st.DrawFn, currency: str, least: int = 0, most: int = 10**9) -> Decimal:
    return Decimal(draw(st.integers(least, most))).scaleb(-(minor_digits(currency) or 0))


def accepted(on: date) -> Acceptance:
    return Acceptance(by="A. Weber", on=on, document="ACC-1")


@st.composite
def advances(draw: st.DrawFn) -> Advance:
    offset = draw(st.none() | percents)
    return Advance(due=draw(days), percent=draw(percents), offset_percent=offset)


@st.composite
def retentions(draw: st.DrawFn, currency: str) -> Retention:
    shares = draw(releases)
    return Retention(
        percent=draw(percents),
        limit=draw(st.none() | amounts(currency)),
        releases=tuple(
            RetentionRelease(percent=Decimal(share), due=draw(st.none() | days)) for share in shares
        ),
    )


def released(retention: Retention | None, recorded_on: Sequence[date]) -> list[ScheduleFact]:
    """Return the facts of all releases that no day brings by itself."""
    parts = retention.releases if retention is not None else ()
    return [
        ReleaseFact(id=f"R-{number}", recorded_on=day, release=number)
        for number, (each, day) in enumerate(zip(parts, recorded_on, strict=False), 1)
        if each.due is None
    ]


@st.composite
def fixed_fees(draw: st.DrawFn) -> Contract:
    """A fixed fee that ends complete, its retention all released."""
    currency = draw(currencies)
    terms = FixedFeeTerms(
        currency=currency,
        value=draw(amounts(currency, least=1)),
        start=START,
        advance=draw(st.none() | advances()),
        retention=draw(st.none() | retentions(currency)),
    )
    facts = released(terms.retention, [draw(days) for _ in range(3)])
    if draw(st.booleans()):
        shares = draw(st.sampled_from((("100",), ("33.33", "33.33", "33.34"), ("10", "20", "70"))))
        milestones = [
            Instalment(id=f"M{place}", percent=Decimal(share), due=draw(st.none() | days))
            for place, share in enumerate(shares)
        ]
        terms = FixedFeeTerms.model_validate(terms.model_dump() | {"milestones": milestones})
        facts += [
            MilestoneFact(id=f"A-{place}", recorded_on=draw(days), milestone=each.id)
            for place, each in enumerate(terms.milestones)
            if each.due is None or draw(st.booleans())
        ]
    else:
        steps = draw(st.lists(st.tuples(percents, days), max_size=6))
        facts += [
            ProgressFact(id=f"P-{number}", recorded_on=day, percent=percent)
            for number, (percent, day) in enumerate(steps)
        ]
        facts.append(ProgressFact(id="P-end", recorded_on=draw(days), percent=HUNDRED))
    return terms, tuple(facts)


@st.composite
def retainers(draw: st.DrawFn) -> Contract:
    currency = draw(currencies)
    start = START + timedelta(days=draw(st.integers(0, 40)))
    refill = draw(amounts(currency, most=10**6))
    rollover = Rollover(
        months=draw(st.integers(1, 4)), limit=draw(st.none() | amounts(currency, most=10**6))
    )
    terms = RetainerTerms(
        currency=currency,
        start=start,
        end=draw(st.none() | st.integers(0, 400).map(lambda each: start + timedelta(days=each))),
        amount=draw(amounts(currency, most=10**6)),
        deposit=draw(st.sampled_from(("monthly", "once"))),
        rollover=rollover,
        top_up=draw(st.sampled_from((None, AutomaticTopUp(below=refill, to=refill * 2)))),
        overage=draw(st.sampled_from(Overage)),
        at_end=draw(st.sampled_from(("expire", "refund"))),
        close_days=draw(st.integers(0, 27)),
        shift_days=draw(st.integers(-40, 40)),
        proration=draw(st.sampled_from(Proration)),
    )
    facts: list[ScheduleFact] = []
    for number in range(draw(st.integers(0, 12))):
        on = draw(days)
        worth = draw(amounts(currency, least=-(10**5), most=10**6))
        recorded = on + timedelta(days=draw(st.integers(-5, 60)))
        facts.append(
            DrawFact(
                id=f"D-{number}",
                recorded_on=recorded,
                service_date=on,
                amount=Money(amount=worth, currency=currency),
            )
        )
    last = terms.end or AFTER
    for number in range(draw(st.integers(0, 2))):
        more = Money(amount=draw(amounts(currency, least=1, most=10**6)), currency=currency)
        facts.append(TopUp(id=f"T-{number}", recorded_on=min(draw(days), last), amount=more))
    return terms, tuple(facts)


@st.composite
def monthly_fees(draw: st.DrawFn) -> Contract:
    currency = draw(currencies)
    start = draw(days)
    steps = draw(st.lists(st.tuples(days, st.decimals(-20, 50, places=2)), max_size=3))
    ordered = sorted({on: percent for on, percent in steps if on > start}.items())
    terms = MonthlyFeeTerms(
        currency=currency,
        start=start,
        end=draw(st.none() | st.integers(0, 500).map(lambda each: start + timedelta(days=each))),
        fee=draw(amounts(currency)),
        timing=draw(st.sampled_from(Timing)),
        invoice_every_months=draw(st.sampled_from((1, 2, 3, 4, 6, 12))),
        shift_days=draw(st.integers(-60, 60)),
        proration=draw(st.sampled_from(Proration)),
        indexation=tuple(
            IndexationStep(valid_from=on, percent=percent, cap_percent=draw(st.none() | percents))
            for on, percent in ordered
        ),
    )
    return terms, ()


@st.composite
def managed(draw: st.DrawFn) -> Contract:
    currency = draw(currencies)
    terms = ManagedServicesTerms(
        currency=currency,
        start=START + timedelta(days=draw(st.integers(0, 50))),
        end=date(2026, 12, draw(st.integers(1, 31))),
        fee=draw(amounts(currency)),
        timing=draw(st.sampled_from(Timing)),
        usage=(
            UsageTerms(
                metric="calls", included=draw(prices), unit_price=draw(prices), credit_price=ZERO
            ),
            UsageTerms(metric="scans", unit_price=draw(prices), credit_price=draw(prices)),
        ),
        service_levels=(
            ServiceLevel(
                metric="uptime", credits=(CreditTier(below=Decimal(99), percent=draw(percents)),)
            ),
            ServiceLevel(
                metric="speed", credits=(CreditTier(below=Decimal(50), percent=draw(percents)),)
            ),
        ),
        credit_cap_percent=draw(percents),
    )
    facts: list[ScheduleFact] = []
    for number in range(draw(st.integers(0, 8))):
        recorded, month = draw(days), draw(months.filter(lambda each: each > "2026-02"))
        facts.append(
            UsageFact(
                id=f"U-{number}",
                recorded_on=recorded,
                month=month,
                metric=draw(st.sampled_from(("calls", "scans"))),
                quantity=draw(prices),
            )
        )
        facts.append(
            ServiceLevelFact(
                id=f"L-{number}",
                recorded_on=recorded,
                month=month,
                metric=draw(st.sampled_from(("uptime", "speed"))),
                reached=draw(percents),
            )
        )
    return terms, tuple(facts)


@st.composite
def outcomes(draw: st.DrawFn) -> Contract:
    currency = draw(currencies)
    floor = draw(st.none() | amounts(currency, most=10**4))
    terms = OutcomeTerms(
        currency=currency,
        start=START,
        baseline=draw(st.decimals(0, 1000, places=3)),
        gain_is=draw(st.sampled_from(("above", "below"))),
        tiers=(
            OutcomeTier(percent=draw(percents)),
            OutcomeTier(above=Decimal(100), per_unit=draw(prices)),
            OutcomeTier(above=Decimal(200), fixed=draw(amounts(currency, most=10**6))),
        ),
        floor=floor,
        cap=draw(st.none() | amounts(currency, least=10**4, most=10**7)),
        total_cap=draw(st.none() | amounts(currency, most=10**7)),
    )
    facts = [
        MeasuredValue(
            id=f"V-{number}",
            recorded_on=draw(days),
            name=draw(st.sampled_from(("Q1", "Q2", "Q3"))),
            value=draw(st.decimals(-1000, 3000, places=3)),
            acceptance=draw(st.none() | days.map(accepted)),
        )
        for number in range(draw(st.integers(0, 6)))
    ]
    return terms, tuple(facts)


contracts = st.one_of(fixed_fees(), retainers(), monthly_fees(), managed(), outcomes())
patient = settings(deadline=None, max_examples=80)


def everything(terms: ScheduleTerms, facts: Iterable[ScheduleFact]) -> tuple[ScheduledLine, ...]:
    return due(terms, facts, BEFORE, AFTER)


def summed(lines: Iterable[ScheduledLine], *kinds: LineKind) -> Decimal:
    return sum((each.net.amount for each in lines if each.kind in kinds), start=ZERO)


def balance(lines: Iterable[ScheduledLine], *kinds: LineKind) -> Decimal:
    effects = (each.balance_effect for each in lines if each.kind in kinds)
    return sum((each.amount for each in effects if each is not None), start=ZERO)


# Whatever the kind.


@patient
@given(contracts, st.lists(days, max_size=6))
def test_any_split_of_the_time_yields_the_same_lines(contract: Contract, cuts: list[date]) -> None:
    bounds = [BEFORE, *sorted(cuts), AFTER]
    pieces = [each for since, until in pairwise(bounds) for each in due(*contract, since, until)]
    assert pieces == list(everything(*contract))


@patient
@given(contracts, st.lists(days, max_size=6))
def test_asking_again_and_again_yields_every_line_once(
    contract: Contract, asked: list[date]
) -> None:
    done: list[str] = []
    for until in [*sorted(asked), AFTER, AFTER]:
        done += [each.item for each in due(*contract, BEFORE, until, done)]
    assert len(done) == len(set(done))
    assert sorted(done) == sorted(each.item for each in everything(*contract))
    assert due(*contract, BEFORE, AFTER, done) == ()


@patient
@given(contracts, st.randoms(use_true_random=False))
def test_the_order_and_repetition_of_facts_changes_nothing(
    contract: Contract, random: Random
) -> None:
    terms, facts = contract
    told = [*facts, *facts]
    random.shuffle(told)
    assert everything(terms, told) == everything(terms, facts)


@patient
@given(contracts)
def test_a_line_is_in_minor_units_and_due_in_order(contract: Contract) -> None:
    lines = everything(*contract)
    assert [each.invoice_on for each in lines] == sorted(each.invoice_on for each in lines)
    for each in lines:
        digits = minor_digits(each.net.currency) or 0
        assert each.net.amount == round(each.net.amount, digits)
        assert each.service_start <= each.service_end


# Fixed fee.


@patient
@given(fixed_fees())
def test_the_lines_of_a_fixed_fee_sum_to_its_value(contract: Contract) -> None:
    terms, facts = contract
    assert isinstance(terms, FixedFeeTerms)
    lines = everything(terms, facts)
    held = summed(lines, LineKind.RETENTION) + summed(lines, LineKind.RETENTION_RELEASE)
    assert summed(lines, LineKind.PROGRESS, LineKind.MILESTONE) == terms.value
    assert summed(lines, LineKind.ADVANCE, LineKind.ADVANCE_OFFSET) == 0
    assert summed(lines, *LineKind) == terms.value + held
    assert -held == balance(lines, LineKind.RETENTION, LineKind.RETENTION_RELEASE)


@patient
@given(fixed_fees(), days)
def test_nothing_is_withheld_or_worked_off_beyond_what_is_there(
    contract: Contract, until: date
) -> None:
    lines = due(*contract, BEFORE, until)
    for end in range(len(lines) + 1):
        assert balance(lines[:end], LineKind.ADVANCE, LineKind.ADVANCE_OFFSET) >= 0
        assert balance(lines[:end], LineKind.RETENTION, LineKind.RETENTION_RELEASE) >= 0
    paid: dict[str, Decimal] = {}
    for each in lines:
        instalment = "/".join(each.item.split("/")[:2])
        paid[instalment] = paid.get(instalment, ZERO) + each.net.amount
    assert all(amount >= 0 for amount in paid.values())


@patient
@given(fixed_fees())
def test_the_last_release_leaves_no_retention(contract: Contract) -> None:
    terms, facts = contract
    assert isinstance(terms, FixedFeeTerms)
    lines = everything(terms, facts)
    assert balance(lines, LineKind.RETENTION, LineKind.RETENTION_RELEASE) == 0
    limit = terms.retention.limit if terms.retention is not None else None
    if limit is not None:
        assert -summed(lines, LineKind.RETENTION) <= limit


# Retainer.


@patient
@given(retainers())
def test_a_retainer_never_goes_negative_and_loses_nothing(contract: Contract) -> None:
    terms, facts = contract
    assert isinstance(terms, RetainerTerms)
    lines = everything(terms, facts)
    drawn = carried = ZERO
    for each in retainer_months(terms, known(terms, facts, AFTER)):
        if each.close_on >= AFTER - timedelta(days=100):
            break
        drawn += each.drawn
        so_far = [line for line in lines if line.service_start <= each.month.end]
        movements = each.carried_in + each.paid_in - each.drawn - each.expired - each.refunded
        assert each.carried_in == carried
        assert each.carried_out == movements >= 0
        assert drawn >= 0
        assert balance(so_far, *LineKind) - drawn == each.carried_out
        if terms.rollover is not None and terms.rollover.limit is not None:
            assert each.carried_out <= terms.rollover.limit
        if each.worked >= 0:
            assert each.drawn + each.overage == each.worked
        carried = each.carried_out
        if each.month.end == terms.end:
            assert each.carried_out == 0


# Fees by the month.


@patient
@given(currencies, st.integers(0, 10**9), days, st.integers(1, 27))
def test_a_month_cut_in_two_costs_a_month(currency: str, units: int, day: date, cut: int) -> None:
    fee = Decimal(units).scaleb(-(minor_digits(currency) or 0))
    first = day.replace(day=1)
    following = (first + timedelta(days=31)).replace(day=1)
    halves = [
        MonthlyFeeTerms(currency=currency, fee=fee, start=first, end=first.replace(day=cut)),
        MonthlyFeeTerms(
            currency=currency,
            fee=fee,
            start=first.replace(day=cut + 1),
            end=following - timedelta(days=1),
        ),
    ]
    total = sum((line.net.amount for half in halves for line in everything(half, ())), start=ZERO)
    assert abs(total - fee) <= Decimal(1).scaleb(-(minor_digits(currency) or 0))


@patient
@given(managed())
def test_what_is_measured_ends_as_the_last_facts_say(contract: Contract) -> None:
    terms, facts = contract
    assert isinstance(terms, ManagedServicesTerms)
    latest: dict[tuple[str, str, str], ScheduleFact] = {}
    for fact in known(terms, facts, AFTER):
        if isinstance(fact, UsageFact | ServiceLevelFact):
            latest[fact.kind, fact.month, fact.metric] = fact
    lines, alone = everything(terms, facts), everything(terms, latest.values())
    for kind in (LineKind.TRUE_UP, LineKind.SERVICE_CREDIT):
        assert summed(lines, kind) == summed(alone, kind)
    fees = {each.service_end: each.net.amount for each in lines if each.kind is LineKind.FEE}
    for end, fee in fees.items():
        of_month = [each for each in lines if each.service_end == end]
        given_back = -summed(of_month, LineKind.SERVICE_CREDIT)
        cap = Money.rounded(fee * terms.credit_cap_percent / HUNDRED, terms.currency).amount
        assert 0 <= given_back <= cap


# Outcome.


@patient
@given(outcomes())
def test_outcomes_stay_between_floor_and_caps(contract: Contract) -> None:
    terms, facts = contract
    assert isinstance(terms, OutcomeTerms)
    lines = everything(terms, facts)
    names = {f.name for f in facts if isinstance(f, MeasuredValue) and f.acceptance is not None}
    for name in names:
        earned = summed(
            [each for each in lines if each.item.startswith(f"outcome/{name}/")], LineKind.OUTCOME
        )
        assert earned >= 0
        if terms.cap is not None:
            assert earned <= terms.cap
        if terms.floor is not None and terms.total_cap is None:
            assert earned >= terms.floor
    if terms.total_cap is not None:
        assert summed(lines, LineKind.OUTCOME) <= terms.total_cap
    if not names:
        assert lines == ()
