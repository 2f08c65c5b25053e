"""What the ERP gets of placed work: charges to bill and cost, in the detail that an entity wants.

Names of items follow from what they stand for, so a retry makes the same external ids.
"""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from decimal import ROUND_HALF_UP, Decimal, localcontext

from canonical.billing import Charge, CostItem
from canonical.engagement import BillingMethod, ContractLine
from canonical.entries import Entry, EntryKind, EntryRef
from canonical.money import Money
from canonical.provisioning import Dimensions
from canonical.rating import Cost, Disposition, Part, Rated
from policies.arithmetic import DIGITS, product, sixtieths
from policies.billing_schema import Detail
from policies.costing import factor
from policies.schema import Policies

QUANTITY_STEP = Decimal("1e-8")
"""Hours are sent with at most 8 decimals (NetSuite keeps so many of a quantity: unverified)."""
RATE_STEP = Decimal("1e-6")
MINUTE = Decimal(1) / 60
DESCRIPTION_MAX = 200

PostingDays = Mapping[tuple[str, date], date]
"""Posting date by legal entity and service date; where there is none, the service date is."""


@dataclass(frozen=True)
class PlacedWork:
    """An entry with its rating, its parts and its contract line."""

    entry: Entry
    rated: Rated
    parts: tuple[Part, ...]
    line: ContractLine


@dataclass(frozen=True)
class ChargeLine:
    """A charge, for which legal entity and contract line, and the parts that it stands for."""

    charge: Charge
    legal_entity: str
    line: str
    parts: tuple[tuple[EntryRef, int], ...]


@dataclass(frozen=True)
class CostLine:
    """A cost posting, in whose books, for whose project, and the entries that it stands for."""

    item: CostItem
    legal_entity: str
    """Who employs the person."""
    line: str
    entries: tuple[EntryRef, ...]


def quantity_and_rate(
    minutes: int, hourly: Decimal | None, amount: Money
) -> tuple[Decimal, Decimal]:
    """Return hours and rate whose product, rounded once, is `amount`.

    The hours have at most 8 decimals and are within a minute of `minutes`; where no such pair
    gives the amount, it is one piece at the amount.
    """
    if hourly and minutes:
        rate = _step(hourly, RATE_STEP)
        with localcontext(prec=DIGITS):
            hours = Decimal(minutes) / 60
            exact = amount.amount / rate if rate else hours
        for quantity in (_step(hours, QUANTITY_STEP), _step(exact, QUANTITY_STEP)):
            near = abs(quantity - hours) <= MINUTE
            if near and Money.rounded(product(quantity, rate), amount.currency) == amount:
                return _plain(quantity), _plain(rate)
    return Decimal(1), amount.amount


def charges_of(
    placed: Iterable[PlacedWork], policies: Policies, days: PostingDays | None = None
) -> tuple[ChargeLine, ...]:
    """Return the charges of the parts to bill whose contract line bills by ERP charges.

    Hours are put together as the billing entity's `detail` says; expenses and corrections in money
    stand alone. What comes to nothing is not sent.
    """
    groups: dict[tuple[str, ...], list[tuple[PlacedWork, Part]]] = {}
    for work in placed:
        if work.rated.billing_method is not BillingMethod.ERP_CHARGES:
            continue
        for part in work.parts:
            if part.disposition is Disposition.TO_BILL:
                key = _charge_group(work, part, policies, days or {})
                groups.setdefault(key, []).append((work, part))
    lines = (_charge(key, group, days or {}) for key, group in groups.items())
    return tuple(line for line in lines if line.charge.amount.amount)


def costs_of(
    placed: Iterable[PlacedWork], policies: Policies, days: PostingDays | None = None
) -> tuple[CostLine, ...]:
    """Return the cost postings of all that was rated, billable or not.

    Hours of one person, day, rate and contract line are put together where the employing entity
    does not ask for each entry, and where the ERP, which works out the cost of all the minutes,
    comes to the same as we do; otherwise each entry stands alone.
    """
    groups: dict[tuple[str, ...], list[PlacedWork]] = {}
    for work in placed:
        if work.rated.cost is not None:
            groups.setdefault(_cost_group(work, work.rated.cost, policies), []).append(work)
    lines: list[CostLine] = []
    for key, group in groups.items():
        together = [group] if _adds_up(group) else [[work] for work in group]
        for works in together:
            item = _cost_name(works[0]) if len(works) == 1 else _name(key)
            lines.append(_cost(item, works, policies, days or {}))
    return tuple(lines)


def _charge_group(
    work: PlacedWork, part: Part, policies: Policies, days: PostingDays
) -> tuple[str, ...]:
    rated, entry = work.rated, work.entry
    detail = policies.billing.entities[rated.legal_entity].detail
    alone = ("entry", entry.kind.value, entry.id, rated.version, str(part.number))
    if rated.rate is None or not part.minutes or entry.kind is EntryKind.EXPENSE:
        return alone
    same = (rated.line, str(_hourly(rated)), rated.rate.source)
    posted = _posted(rated.legal_entity, entry.service_date, days)
    if detail is Detail.DAY:
        person = entry.person_id or entry.person_email
        return ("day", *same, person, entry.service_date.isoformat(), posted.isoformat())
    if detail is Detail.PERIOD:
        return ("period", *same, posted.isoformat()[:7])
    return alone


def _charge(
    key: tuple[str, ...], group: Sequence[tuple[PlacedWork, Part]], days: PostingDays
) -> ChargeLine:
    first, _ = group[0]
    amount = group[0][1].amount
    for _, part in group[1:]:
        amount += part.amount
    minutes = sum(part.minutes for _, part in group)
    quantity, rate = quantity_and_rate(minutes, _hourly(first.rated), amount)
    entity = first.rated.legal_entity
    expense = first.entry.kind is EntryKind.EXPENSE
    single = key[0] == "entry"
    text = first.entry.notes if single else ""
    return ChargeLine(
        charge=Charge(
            item=_part_name(first, group[0][1]) if single else _name(key),
            quantity=quantity,
            rate=rate,
            amount=amount,
            on=max(_posted(entity, work.entry.service_date, days) for work, _ in group),
            kind="expense" if expense else "time",
            description=_one_line(text or first.line.title),
            dimensions=first.line.dimensions,
        ),
        legal_entity=entity,
        line=first.rated.line,
        parts=tuple((work.entry.ref, part.number) for work, part in group),
    )


def _cost_group(work: PlacedWork, cost: Cost, policies: Policies) -> tuple[str, ...]:
    entry = work.entry
    alone = ("entry", entry.kind.value, entry.id, work.rated.version)
    detail = policies.billing.entities[cost.legal_entity].detail
    if cost.rate is None or detail is Detail.ENTRY:
        return alone
    # Never more than a day: the cost rate of a day is what the ERP finds for it.
    return (
        "day",
        work.rated.line,
        entry.person_email.lower(),
        entry.service_date.isoformat(),
        cost.legal_entity,
        cost.rate.source,
        str(product(cost.rate.rate, factor(cost.fx))),
    )


def _adds_up(group: Sequence[PlacedWork]) -> bool:
    """Whether the cost of all minutes, rounded once, is the sum of the entries' costs."""
    total = _total(group)
    cost = group[0].rated.cost
    if len(group) == 1 or cost is None or cost.rate is None:
        return len(group) == 1
    minutes = sum(work.rated.minutes for work in group)
    whole = product(minutes, cost.rate.rate, factor(cost.fx))
    return minutes != 0 and sixtieths(whole, total.currency) == total


def _cost(
    item: str, works: Sequence[PlacedWork], policies: Policies, days: PostingDays
) -> CostLine:
    first, total = works[0], _total(works)
    entity = _cost_of(first).legal_entity
    expense = first.entry.kind is EntryKind.EXPENSE
    dimensions = first.line.dimensions
    if entity != first.rated.legal_entity:
        dimensions = Dimensions(
            department=dimensions.department,
            business_class=dimensions.business_class,
            location=policies.legal_entities[entity].location,
        )
    text = first.entry.notes if len(works) == 1 else ""
    return CostLine(
        item=CostItem(
            item=item,
            person_email=first.entry.person_email.lower(),
            on=max(_posted(entity, work.entry.service_date, days) for work in works),
            minutes=0 if expense else sum(work.rated.minutes for work in works),
            amount=total if expense else None,
            expected_cost=total,
            category=first.entry.category,
            description=_one_line(text or first.line.title),
            dimensions=dimensions,
        ),
        legal_entity=entity,
        line=first.rated.line,
        entries=tuple(work.entry.ref for work in works),
    )


def _cost_of(work: PlacedWork) -> Cost:
    if work.rated.cost is None:
        raise ValueError(f"{work.entry.ref} has no cost")
    return work.rated.cost


def _total(works: Sequence[PlacedWork]) -> Money:
    total = _cost_of(works[0]).amount
    for work in works[1:]:
        total += _cost_of(work).amount
    return total


def _hourly(rated: Rated) -> Decimal | None:
    return None if rated.rate is None else product(rated.rate.rate, rated.multiplier).normalize()


def _posted(entity: str, service_date: date, days: PostingDays) -> date:
    return days.get((entity, service_date), service_date)


def _part_name(work: PlacedWork, part: Part) -> str:
    return f"{_cost_name(work)}-{part.number}"


def _cost_name(work: PlacedWork) -> str:
    return f"{work.entry.kind}-{work.entry.id}-{work.rated.version[:8]}"


def _name(key: tuple[str, ...]) -> str:
    """Return a group's name: what it is grouped by, without anything personal."""
    return f"{key[0]}-{hashlib.sha256(chr(31).join(key).encode()).hexdigest()[:24]}"


def _step(value: Decimal, step: Decimal) -> Decimal:
    with localcontext(prec=DIGITS):
        return value.quantize(step, rounding=ROUND_HALF_UP)


def _plain(value: Decimal) -> Decimal:
    """Return a number without trailing zeros and without an exponent."""
    with localcontext(prec=DIGITS):
        return value.quantize(Decimal(1)) if value == value.to_integral() else value.normalize()


def _one_line(text: str) -> str:
    return " ".join(text.split())[:DESCRIPTION_MAX]
