"""Rating and allocation over generated claims: what has to hold whatever is recorded."""

from collections import defaultdict
from collections.abc import Sequence
from datetime import date, timedelta
from decimal import ROUND_HALF_UP, Decimal
from fractions import Fraction
from functools import cache
from random import Random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from canonical.deal import ContractLineType
from canonical.engagement import BillRate, ContractLine, ExpenseRule, Multipliers
from canonical.entries import Entry, EntryKind, EntryRef
from canonical.money import Money, minor_digits
from canonical.rating import Disposition, ExchangeRate, Part, Rated
from canonical.standing import CapStanding, RetainerStanding
from policies.allocation import allocate
from policies.posting import quantity_and_rate
from policies.quantities import billed_minutes
from policies.schema import Policies
from tests.support import month
from tests.support.month import JANUARY, LUCA, MAYA, cap, entry, line, money, retainer

pytestmark = pytest.mark.property

CURRENCIES = ("USD", "JPY", "KWD")
ZERO = Decimal(0)


@cache
def firm() -> Policies:
    return month.policies()


def rated(*entries: Entry, terms: ContractLine) -> tuple[Rated, ...]:
    rates = [
        ExchangeRate(
            from_currency=one,
            to_currency=other,
            rate=Decimal("1.234567"),
            valid_from=JANUARY,
            source="test",
        )
        for one in (*CURRENCIES, "EUR")
        for other in (*CURRENCIES, "EUR")
        if one != other
    ]
    return month.rated(*entries, contract=terms, rates=rates, firm=firm())


currencies = st.sampled_from(CURRENCIES)
minutes = st.integers(1, 24 * 60)
rates = st.decimals(0, 9999, places=6)
days = st.integers(0, 60).map(lambda back: date(2026, 11, 30) - timedelta(days=back))


def amounts(currency: str, low: int = 0, high: int = 100_000) -> st.SearchStrategy[Decimal]:
    return st.decimals(low, high, places=minor_digits(currency) or 0)


@st.composite
def lines(draw: st.DrawFn, type_: ContractLineType | None = None) -> ContractLine:
    currency = draw(currencies)
    ceiling = draw(st.none() | amounts(currency, 0, 500))
    return line(
        currency=currency,
        type=type_ or draw(st.sampled_from(ContractLineType)),
        rates=(BillRate(rate=draw(rates), valid_from=JANUARY),),
        increment_minutes=draw(st.sampled_from([1, 6, 15, 30])),
        minimum_minutes=draw(st.sampled_from([0, 15, 30])),
        multipliers=Multipliers(overtime=Decimal("1.5"), travel=Decimal("0.5")),
        expense_rules=(
            ExpenseRule(
                markup_percent=draw(st.decimals(0, 50, places=2)),
                ceiling=ceiling,
            ),
        ),
    )


@st.composite
def entries(draw: st.DrawFn, number: int) -> Entry:
    person = draw(st.sampled_from([MAYA, LUCA]))
    known = {
        "person_email": person,
        "person_id": person,
        "service_date": draw(days),
        "billable": draw(st.booleans()),
        "approved_at": None,
    }
    if draw(st.integers(0, 4)) == 0:
        currency = draw(currencies)
        gross = draw(amounts(currency, 1, 5_000))
        known |= {"receipt": draw(st.sampled_from(["", "R1", "R2", f"N{number}"]))}
        return month.expense(number, str(gross), currency, **known)
    kind = draw(st.sampled_from(["", "overtime", "travel"]))
    return entry(number, draw(minutes), category=kind, **known)


@st.composite
def claims(draw: st.DrawFn) -> list[Entry]:
    taken = [draw(entries(number)) for number in range(1, draw(st.integers(1, 12)) + 1)]
    hours = [each for each in taken if each.minutes is not None]
    for number in range(100, 100 + draw(st.integers(0, 4))):
        if hours:
            of = draw(st.sampled_from(hours))
            taken.append(
                month.adjustment(
                    number,
                    of.id,
                    draw(st.integers(-(of.minutes or 0), 60)),
                    person_email=of.person_email,
                    billable=of.billable,
                    approved_at=None,
                )
            )
    if draw(st.booleans()):
        # Of an entry that an earlier run billed, and that nobody hands in.
        earlier = month.adjustment(200, "99", draw(st.integers(-600, -1)), approved_at=None)
        taken.insert(draw(st.sampled_from([0, len(taken)])), earlier)
    return taken


def half_up(exact: Fraction, currency: str) -> Decimal:
    """Round with whole numbers alone: an independent reading of "half-up, once"."""
    digits = minor_digits(currency) or 0
    scaled = abs(exact) * 10**digits
    whole = (2 * scaled.numerator + scaled.denominator) // (2 * scaled.denominator)
    return Decimal(whole if exact >= 0 else -whole).scaleb(-digits)


def total(parts: Sequence[Part]) -> Decimal:
    return sum((part.amount.amount for part in parts), ZERO)


class TestRating:
    @given(lines(), claims())
    def test_each_amount_is_rounded_once_at_its_end(
        self, terms: ContractLine, claim: list[Entry]
    ) -> None:
        for each in rated(*claim, terms=terms):
            if each.hold is None and each.rate is not None and each.amount is not None:
                exact = Fraction(each.rate.rate) * Fraction(each.multiplier)
                exact = exact * each.billed_minutes / 60
                assert each.amount.amount == half_up(exact, terms.currency)
                assert each.cost is not None
                assert each.cost.rate is not None
                worked = Fraction(each.cost.rate.rate) * each.minutes / 60
                assert each.cost.amount.amount == half_up(worked, each.cost.amount.currency)

    @given(lines(), claims(), st.randoms(use_true_random=False))
    def test_the_order_of_a_claim_changes_no_figure(
        self, terms: ContractLine, claim: list[Entry], random: Random
    ) -> None:
        mixed = list(claim)
        random.shuffle(mixed)
        usual = {each.ref: each for each in rated(*claim, terms=terms)}
        assert {each.ref: each for each in rated(*mixed, terms=terms)} == usual

    @given(lines(), minutes, minutes)
    def test_increments_are_monotone_and_whole(
        self, terms: ContractLine, one: int, other: int
    ) -> None:
        low, high = sorted((one, other))
        assert billed_minutes(low, terms) <= billed_minutes(high, terms)
        billed = billed_minutes(low, terms)
        assert billed >= max(low, terms.minimum_minutes)
        assert billed == terms.minimum_minutes or billed % terms.increment_minutes == 0
        assert billed - max(low, terms.minimum_minutes) < terms.increment_minutes

    @given(
        lines(),
        minutes,
        st.lists(st.integers(-120, 120), max_size=4),
        st.randoms(use_true_random=False),
    )
    def test_corrections_come_to_what_the_corrected_entry_would_bill(
        self, terms: ContractLine, recorded: int, changes: list[int], random: Random
    ) -> None:
        left = recorded + sum(changes)
        corrections = [month.adjustment(n, "1", each) for n, each in enumerate(changes, 2)]
        found = rated(entry(1, recorded), *corrections, terms=terms)
        mixed = list(corrections)
        random.shuffle(mixed)
        again = {each.ref: each for each in rated(*mixed, entry(1, recorded), terms=terms)}
        assert again == {each.ref: each for each in found}
        whole = sum(each.billed_minutes for each in found)
        assert whole == (billed_minutes(left, terms) if left >= 0 else left)
        assert sum(each.minutes for each in found) == left

    @given(lines(), claims())
    def test_what_is_not_held_has_amount_and_cost_in_the_right_currency(
        self, terms: ContractLine, claim: list[Entry]
    ) -> None:
        for each in rated(*claim, terms=terms):
            if each.hold is not None:
                assert (each.amount, each.cost) == (None, None)
                assert each.hold_detail
                continue
            assert each.amount is not None
            assert each.amount.currency == terms.currency
            assert each.cost is not None
            assert each.cost.amount.currency == {"US": "USD", "DE": "EUR"}[each.cost.legal_entity]
            assert (each.intercompany is None) == (each.cost.legal_entity == "US")
            assert ("intercompany" in each.flags) == (each.intercompany is not None)
            assert ("late" in each.flags) == (each.ref.id in _late(claim))

    @given(st.data(), currencies, currencies)
    def test_conversion_says_what_it_did(self, data: st.DataObject, one: str, other: str) -> None:
        gross = data.draw(amounts(one, 1, 50_000).filter(bool))
        terms = line(currency=other, expense_rules=(ExpenseRule(),))
        found = rated(month.expense(1, str(gross), one), terms=terms)[0]
        assert found.amount is not None
        assert (found.fx is None) == (one == other)
        factor = found.fx.rate if found.fx is not None else 1
        assert found.amount.amount == half_up(Fraction(gross) * Fraction(factor), other)


class TestVersion:
    FACTS: tuple[dict[str, Any], ...] = (
        {"minutes": 61},
        {"service_date": date(2026, 11, 11)},
        {"person_id": "9"},
        {"role": "Analyst"},
        {"task_id": "9"},
        {"billable": False},
        {"psa_rate": Decimal(9)},
        {"currency": "JPY"},
        {"category": "travel"},
        {"adjusts": "9"},
        {"amount": money("1.00")},
        {"tax": money("1.00")},
    )
    NO_FACTS: tuple[dict[str, Any], ...] = (
        {"notes": "x"},
        {"receipt": "R"},
        {"reservation_id": "7"},
        {"approved": False},
    )

    @given(entries(1), st.data())
    def test_it_changes_if_and_only_if_a_fact_does(self, given: Entry, data: st.DataObject) -> None:
        change = data.draw(st.sampled_from(self.FACTS))
        changed = given.model_copy(update=change)
        assert (changed.version == given.version) == all(
            getattr(given, name) == value for name, value in change.items()
        )
        other = given.model_copy(update=data.draw(st.sampled_from(self.NO_FACTS)))
        assert other.version == given.version


@st.composite
def standings(draw: st.DrawFn, currency: str) -> tuple[list[CapStanding], list[RetainerStanding]]:
    """Caps that lie within one another (fees in all, line in engagement), and a retainer."""
    shapes = [
        {"id": "FEES", "base": "fees", "line": "L1"},
        {"id": "LINE", "base": "all", "line": "L1"},
        {"id": "ALL", "base": "all", "line": "", "scope": "engagement"},
    ]
    caps = []
    for shape in draw(st.lists(st.sampled_from(shapes), unique_by=lambda each: each["id"])):
        limit = draw(amounts(currency, 0, 3_000))
        used = min(limit, draw(amounts(currency, 0, 3_000)))
        settled = min(used, draw(amounts(currency, 0, 3_000)))
        caps.append(cap(limit, used, settled=settled, currency=currency, **shape))
    held = retainer(ZERO).model_copy(
        update={
            "balance": money(draw(amounts(currency, 0, 3_000)), currency),
            "settled": draw(amounts(currency, 0, 500)),
            "overage": draw(st.sampled_from(["to_bill", "over_cap"])),
        }
    )
    return caps, [held]


@st.composite
def worths(draw: st.DrawFn, currency: str) -> list[Rated]:
    """Rated entries of either sign; what takes back corrects one of them, or an earlier run's."""
    base = draw(st.sampled_from([Disposition.TO_BILL, Disposition.DRAWN_FROM_RETAINER]))
    found = []
    for number in range(1, draw(st.integers(1, 10)) + 1):
        amount = draw(amounts(currency, -1_000, 2_000))
        of = EntryRef(kind=EntryKind.TIME, id=str(draw(st.integers(1, number))))
        found.append(
            month.claim(
                number,
                None,
                base=base,
                billed_minutes=int(amount),
                adjusts=of if amount < 0 else None,
            ).model_copy(update={"amount": money(amount, currency)})
        )
    return found


class TestAllocation:
    @given(st.data(), currencies)
    def test_parts_sum_and_no_balance_is_broken(self, data: st.DataObject, currency: str) -> None:
        found = data.draw(worths(currency))
        caps, retainers = data.draw(standings(currency))
        assert_invariants(found, caps, retainers)

    @given(st.data(), lines(), claims())
    def test_so_it_is_for_what_rating_makes_of_entries(
        self, data: st.DataObject, terms: ContractLine, claim: list[Entry]
    ) -> None:
        caps, retainers = data.draw(standings(terms.currency))
        assert_invariants(rated(*claim, terms=terms), caps, retainers)

    @given(st.data(), lines(), claims(), st.randoms(use_true_random=False))
    def test_the_order_of_a_claim_changes_no_total(
        self, data: st.DataObject, terms: ContractLine, claim: list[Entry], random: Random
    ) -> None:
        """Who comes first decides whose part is over a cap, never how much is: of what is taken."""
        found = [each for each in rated(*claim, terms=terms) if each.adjusts is None]
        caps, retainers = data.draw(standings(terms.currency))
        if terms.type is ContractLineType.RETAINER:
            # Whether fees or expenses are overage depends on who comes first.
            caps = [each for each in caps if each.cap.id != "FEES"]
        mixed = list(found)
        random.shuffle(mixed)
        assert _sums(found, caps, retainers) == _sums(mixed, caps, retainers)

    @given(lines(ContractLineType.TIME_AND_MATERIALS), minutes, st.data())
    def test_taking_all_back_leaves_nothing(
        self, terms: ContractLine, recorded: int, data: st.DataObject
    ) -> None:
        found = rated(entry(1, recorded), month.adjustment(2, "1", -recorded), terms=terms)
        caps, retainers = data.draw(standings(terms.currency))
        sums = _sums(found, caps, retainers)
        assert not any(sums.values())


class TestCharges:
    @given(currencies, minutes, st.data())
    def test_quantity_times_rate_is_the_amount(
        self, currency: str, worked: int, data: st.DataObject
    ) -> None:
        hourly = data.draw(rates)
        of_all = Money.rounded(hourly * worked / 60, currency)
        part = data.draw(amounts(currency, 0, max(int(of_all.amount), 1)))
        for amount in (of_all, Money(amount=part, currency=currency)):
            quantity, rate = quantity_and_rate(worked, hourly, amount)
            places = Decimal(1).scaleb(-(minor_digits(currency) or 0))
            sent = (quantity * rate).quantize(places, rounding=ROUND_HALF_UP)
            assert sent == amount.amount
            assert -int(quantity.as_tuple().exponent) <= 8
            assert -int(rate.as_tuple().exponent) <= 6


def _sums(
    rated: Sequence[Rated], caps: Sequence[CapStanding], retainers: Sequence[RetainerStanding]
) -> dict[Disposition, Decimal]:
    sums = dict.fromkeys(Disposition, ZERO)
    for parts in allocate(rated, caps, retainers).parts:
        for part in parts:
            sums[part.disposition] += part.amount.amount
    return sums


def _late(claim: Sequence[Entry]) -> set[str]:
    return {each.id for each in claim if each.service_date < date(2026, 11, 1)}


def assert_invariants(
    found: Sequence[Rated], caps: Sequence[CapStanding], retainers: Sequence[RetainerStanding]
) -> None:
    """Parts sum; no cap is exceeded or given back below what is settled; nor is the retainer."""
    placed = allocate(found, caps, retainers).parts
    assert len(placed) == len(found)
    nets: defaultdict[str, Decimal] = defaultdict(Decimal)
    drawn = ZERO
    for each, parts in zip(found, placed, strict=True):
        if each.amount is None:
            assert parts == ()
            continue
        assert total(parts) == each.amount.amount
        assert sum(part.minutes for part in parts) == each.billed_minutes
        assert [part.number for part in parts] == list(range(1, len(parts) + 1))
        assert all(part.amount.amount * each.amount.amount >= 0 for part in parts)
        assert all(part.minutes * each.billed_minutes >= 0 for part in parts)
        for part in parts:
            if part.disposition is Disposition.TO_BILL:
                for standing in caps:
                    if standing.counts(each):
                        nets[standing.cap.id] += part.amount.amount
            if part.disposition is Disposition.DRAWN_FROM_RETAINER:
                drawn += part.amount.amount
        for standing in caps:
            net = nets[standing.cap.id]
            assert standing.consumed + net <= standing.cap.amount.amount
            assert standing.settled + net >= 0
        assert retainers[0].balance.amount - drawn >= 0
        assert retainers[0].settled + drawn >= 0
