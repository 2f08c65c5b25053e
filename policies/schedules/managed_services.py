"""Managed services: the monthly fee, usage trued up against it, service credits out of it.

A month's true-up and credits are reckoned from the latest facts and billed as the difference to
what earlier facts made of them; so a corrected figure is billed or given back by itself.
"""

from collections.abc import Sequence
from datetime import date
from decimal import ROUND_HALF_UP, Decimal, localcontext

from canonical.schedule_facts import LineKind, ScheduleFact, ServiceLevelFact, UsageFact
from canonical.schedules import ManagedServicesTerms, UsageTerms
from policies.arithmetic import DIGITS, product
from policies.schedules.amounts import (
    ZERO,
    Lines,
    Service,
    Writer,
    part_of,
    percent_of,
    plain,
)
from policies.schedules.fees import Fee, fee_in, fees

SIX_DECIMALS = Decimal("0.000001")


def managed_services(
    terms: ManagedServicesTerms, facts: Sequence[ScheduleFact], writer: Writer, until: date
) -> Lines:
    """Yield the lines to be invoiced before `until`; what is measured, when the month is over."""
    yield from fees(terms, writer, until)
    reported = _Reported(terms, writer)
    for day, fact in _in_order(terms, facts, writer):
        if day >= until:
            return
        if isinstance(fact, UsageFact):
            yield from reported.usage(day, fact)
        else:
            yield from reported.level(day, fact)


def _in_order(
    terms: ManagedServicesTerms, facts: Sequence[ScheduleFact], writer: Writer
) -> list[tuple[date, UsageFact | ServiceLevelFact]]:
    """Return what was measured with the day on which it falls due.

    Of what was recorded while the month was running, the last counts: it says it all.
    """
    due: list[tuple[date, UsageFact | ServiceLevelFact]] = []
    running: dict[tuple[str, str, str], UsageFact | ServiceLevelFact] = {}
    for fact in facts:
        if isinstance(fact, UsageFact | ServiceLevelFact):
            end = _fee(terms, fact, writer).month.end
            if fact.recorded_on < end:
                running[fact.kind, fact.month, fact.metric] = fact
            else:
                due.append((fact.recorded_on, fact))
    due += [(_fee(terms, fact, writer).month.end, fact) for fact in running.values()]
    return sorted(due, key=lambda each: (each[0], each[1].recorded_on, each[1].id))


class _Reported:
    """What the facts so far made of each month."""

    def __init__(self, terms: ManagedServicesTerms, writer: Writer) -> None:
        self._terms = terms
        self._writer = writer
        self._trued_up: dict[tuple[str, str], Decimal] = {}
        self._levels: dict[str, dict[str, Decimal]] = {}
        self._credited: dict[str, Decimal] = {}

    def usage(self, day: date, fact: UsageFact) -> Lines:
        """The true-up of a month and metric."""
        fee = _fee(self._terms, fact, self._writer)
        usage = next(each for each in self._terms.usage if each.metric == fact.metric)
        before = self._trued_up.get((fact.month, fact.metric))
        included = _included(usage, fee)
        units = fact.quantity - included
        price = usage.unit_price if units > 0 else usage.credit_price
        worth = part_of(units, price, 1, self._writer.currency)
        total = max(worth, -fee.amount)
        basis = [
            ("used", plain(fact.quantity)),
            ("included", plain(included)),
            ("above" if units > 0 else "below", plain(abs(units))),
            ("unit price", f"{plain(price)} {self._writer.currency}"),
            ("true-up", self._writer.words(worth)),
        ]
        if total != worth:
            basis.append(("at most the fee", self._writer.words(fee.amount)))
        if before is not None:
            basis.append(("billed before", self._writer.words(before)))
        self._trued_up[fact.month, fact.metric] = total
        net = total - (before or ZERO)
        if net:
            signed = (units, price) if before is None else None
            yield self._writer.write(
                f"true-up/{fact.month}/{fact.id}",
                LineKind.TRUE_UP,
                net,
                day,
                Service(fee.month.start, fee.month.end),
                f"{fact.metric} in {fact.month}: {plain(fact.quantity)}, "
                f"{plain(included)} included",
                basis,
                priced=signed,
            )

    def level(self, day: date, fact: ServiceLevelFact) -> Lines:
        """The service credits of a month: all metrics together, within the cap."""
        fee = _fee(self._terms, fact, self._writer)
        levels = self._levels.setdefault(fact.month, {})
        levels[fact.metric] = fact.reached
        percents = {metric: self._credit(metric, levels[metric]) for metric in sorted(levels)}
        percent = min(sum(percents.values(), start=ZERO), self._terms.credit_cap_percent)
        total = percent_of(fee.amount, percent, self._writer.currency)
        before = self._credited.get(fact.month, ZERO)
        self._credited[fact.month] = total
        if total == before:
            return
        yield self._writer.write(
            f"service-credit/{fact.month}/{fact.id}",
            LineKind.SERVICE_CREDIT,
            before - total,
            day,
            Service(fee.month.start, fee.month.end),
            f"Service credit for {fact.metric} in {fact.month}",
            (
                ("fee of the month", self._writer.words(fee.amount)),
                *(
                    (f"{metric} reached {plain(levels[metric])}", f"{plain(each)} %")
                    for metric, each in percents.items()
                ),
                ("at most", f"{plain(self._terms.credit_cap_percent)} %"),
                ("credit", f"{plain(percent)} %"),
                ("that is", self._writer.words(total)),
                ("credited before", self._writer.words(before)),
            ),
        )

    def _credit(self, metric: str, reached: Decimal) -> Decimal:
        """Return the highest percentage that a level falls under."""
        level = next(each for each in self._terms.service_levels if each.metric == metric)
        return max((tier.percent for tier in level.credits if reached < tier.below), default=ZERO)


def _fee(terms: ManagedServicesTerms, fact: UsageFact | ServiceLevelFact, writer: Writer) -> Fee:
    fee = fee_in(terms, date.fromisoformat(f"{fact.month}-01"), writer)
    if fee is None:
        raise ValueError(f"fact {fact.id}: {fact.month} is outside the term")
    return fee


def _included(usage: UsageTerms, fee: Fee) -> Decimal:
    """Return the units that the fee covers; of a month that is not whole, its share."""
    if fee.month.whole:
        return usage.included
    with localcontext(prec=DIGITS):
        share = product(usage.included, fee.month.days) / fee.month.of_days
        return share.quantize(SIX_DECIMALS, rounding=ROUND_HALF_UP)
