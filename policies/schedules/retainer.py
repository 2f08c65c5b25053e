"""Retainers: deposits, draws of the oldest money first, overage, rollover, expiry, top-ups.

A month is decided at its close, from the draws recorded by then; one recorded later counts in the
first month that is still open. What was decided stays.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal

from canonical.schedule_facts import DrawFact, LineKind, ScheduledLine, ScheduleFact, TopUp
from canonical.schedules import Overage, RetainerTerms
from policies.schedules.amounts import (
    ZERO,
    Lines,
    Service,
    Writer,
    days_after,
    part_of,
    percent_of,
    plain,
)
from policies.schedules.months import ServiceMonth, months_on, service_month, service_months


@dataclass(frozen=True)
class RetainerMonth:
    """How the balance moved in a month, as its close decides."""

    month: ServiceMonth
    close_on: date
    carried_in: Decimal
    paid_in: Decimal
    """Deposit and top-ups."""
    worked: Decimal
    """Worth of the draws; negative: more was taken back than done."""
    drawn: Decimal
    """Share of it that the balance covered; negative: given back to the balance."""
    expired: Decimal
    refunded: Decimal
    carried_out: Decimal
    top_up: Decimal
    """Automatic, for the next month."""

    @property
    def overage(self) -> Decimal:
        """Work that the balance did not cover."""
        return max(self.worked - self.drawn, ZERO)


def retainer(
    terms: RetainerTerms, facts: Sequence[ScheduleFact], writer: Writer, until: date
) -> Lines:
    """Yield the lines to be invoiced before `until`, and possibly later ones."""
    for fact in facts:
        if isinstance(fact, TopUp):
            yield _ordered(fact, writer, terms)
    closed: RetainerMonth | None = None
    drawn = ZERO
    for number, each in enumerate(retainer_months(terms, facts)):
        first_day = days_after(each.month.start, terms.shift_days)
        if min(first_day, each.month.start) >= until:
            return
        if number == 0 or terms.deposit == "monthly":
            yield from _deposit(terms, each.month, first_day, writer)
        yield from _close(terms, each, writer)
        closed = each
        drawn += each.drawn
    if closed is not None and terms.overage is Overage.SCHEDULE:
        yield from _uncovered(terms, facts, closed, writer)
    if closed is not None and terms.at_end == "refund":
        yield from _given_back(facts, closed, drawn, writer)


def retainer_months(terms: RetainerTerms, facts: Sequence[ScheduleFact]) -> Iterator[RetainerMonth]:
    """Yield month after month of the term, without end where it is open.

    Args:
        terms: of the retainer.
        facts: as `known` returns them. A month is decided once its `close_on` is past.
    """
    account = _Account(terms, facts)
    for number, month in enumerate(service_months(terms)):
        yield account.close(number, month)


def deposit_of(terms: RetainerTerms, month: ServiceMonth) -> Decimal:
    """Return the deposit of a month: its share of the amount; once: all of it."""
    if terms.deposit == "once":
        return terms.amount if month.start == terms.start else ZERO
    return part_of(terms.amount, month.days, month.of_days, terms.currency)


@dataclass
class _Money:
    """What is left of what was paid in during one month."""

    month: int
    amount: Decimal


class _Account:
    """The balance, as months of payment, and the facts not counted yet."""

    def __init__(self, terms: RetainerTerms, facts: Sequence[ScheduleFact]) -> None:
        self._terms = terms
        self._draws = [fact for fact in facts if isinstance(fact, DrawFact)]
        self._top_ups = [fact for fact in facts if isinstance(fact, TopUp)]
        self._money: list[_Money] = []
        self._drawn = ZERO
        self._topped_up = ZERO

    def close(self, number: int, month: ServiceMonth) -> RetainerMonth:
        """Return what becomes of a month, and carry on to the next."""
        close_on = close_of(self._terms, month)
        carried_in = self._balance()
        paid_in = deposit_of(self._terms, month) + self._topped_up + self._ordered(month)
        self._money.append(_Money(number, paid_in))
        worked = self._worked(month, close_on)
        drawn = self._draw(worked) if worked >= 0 else -self._give_back(number, -worked)
        last = month.end == self._terms.end
        expired = self._expire(number)
        refunded = ZERO
        if last:
            left = self._balance()
            self._money.clear()
            refunded = left if self._terms.at_end == "refund" else ZERO
            expired += left - refunded
        self._topped_up = ZERO if last else self._top_up(month)
        return RetainerMonth(
            month=month,
            close_on=close_on,
            carried_in=carried_in,
            paid_in=paid_in,
            worked=worked,
            drawn=drawn,
            expired=expired,
            refunded=refunded,
            carried_out=self._balance(),
            top_up=self._topped_up,
        )

    def _balance(self) -> Decimal:
        return sum((each.amount for each in self._money), start=ZERO)

    def _ordered(self, month: ServiceMonth) -> Decimal:
        """Take the top-ups ordered up to the end of a month."""
        taken = [fact for fact in self._top_ups if fact.recorded_on <= month.end]
        self._top_ups = [fact for fact in self._top_ups if fact.recorded_on > month.end]
        return sum((fact.amount.amount for fact in taken), start=ZERO)

    def _worked(self, month: ServiceMonth, close_on: date) -> Decimal:
        """Take the draws for work up to the end of a month that were recorded by its close."""
        taken = [fact for fact in self._draws if _counts(fact, month, close_on)]
        self._draws = [fact for fact in self._draws if not _counts(fact, month, close_on)]
        return sum((fact.amount.amount for fact in taken), start=ZERO)

    def _draw(self, worth: Decimal) -> Decimal:
        """Draw from the oldest money on, down to nothing; return what was covered."""
        covered = min(worth, self._balance())
        self._take(covered)
        self._drawn += covered
        return covered

    def _give_back(self, number: int, worth: Decimal) -> Decimal:
        """Give back to the balance what was drawn before, and no more."""
        given = min(worth, self._drawn)
        self._money.append(_Money(number, given))
        self._drawn -= given
        return given

    def _expire(self, number: int) -> Decimal:
        """Let what may not roll over expire: by age, then, oldest first, what is over the limit."""
        rollover = self._terms.rollover
        before = self._balance()
        months = rollover.months if rollover is not None else 0
        self._money = [each for each in self._money if number - each.month < months]
        if rollover is not None and rollover.limit is not None:
            self._take(max(self._balance() - rollover.limit, ZERO))
        return before - self._balance()

    def _top_up(self, month: ServiceMonth) -> Decimal:
        """Return what the next month needs on top of what it begins with."""
        top_up = self._terms.top_up
        following = service_month(self._terms, months_on(month.first, 1))
        if top_up is None or following is None:
            return ZERO
        begins_with = self._balance() + deposit_of(self._terms, following)
        return top_up.to - begins_with if begins_with < top_up.below else ZERO

    def _take(self, amount: Decimal) -> None:
        for each in sorted(self._money, key=lambda money: money.month):
            taken = min(each.amount, amount)
            each.amount -= taken
            amount -= taken


def close_of(terms: RetainerTerms, month: ServiceMonth) -> date:
    """Return the last day on which draws for a month are taken."""
    return days_after(month.end, terms.close_days)


def _counts(fact: DrawFact, month: ServiceMonth, close_on: date) -> bool:
    return fact.service_date <= month.end and fact.recorded_on <= close_on


def _deposit(terms: RetainerTerms, month: ServiceMonth, day: date, writer: Writer) -> Lines:
    amount = deposit_of(terms, month)
    basis = [("deposit", writer.words(terms.amount))]
    service = Service(month.start, month.end)
    if terms.deposit == "once":
        service = Service(month.start, terms.end or month.end)
    elif not month.whole:
        basis.append(("days of service", f"{month.days} of {month.of_days} days"))
        basis.append(("prorated", writer.words(amount)))
    if amount:
        yield writer.write(
            f"deposit/{month.name}",
            LineKind.DEPOSIT,
            amount,
            day,
            service,
            f"Retainer {month.name}" if terms.deposit == "monthly" else "Retainer",
            basis,
            balance_effect=amount,
            priced=(Decimal(1), amount),
        )


def _ordered(fact: TopUp, writer: Writer, terms: RetainerTerms) -> ScheduledLine:
    amount = fact.amount.amount
    return writer.write(
        f"top-up/order/{fact.id}",
        LineKind.TOP_UP,
        amount,
        fact.recorded_on,
        Service(max(fact.recorded_on, terms.start), max(fact.recorded_on, terms.start)),
        "Retainer top-up as ordered",
        (("ordered", writer.words(amount)),),
        balance_effect=amount,
        priced=(Decimal(1), amount),
    )


def _close(terms: RetainerTerms, each: RetainerMonth, writer: Writer) -> Lines:
    """Yield what the close of a month brings."""
    month, name = each.month, each.month.name
    service = Service(month.start, month.end)
    moved = (
        ("carried in", writer.words(each.carried_in)),
        ("paid in", writer.words(each.paid_in)),
        ("worked", writer.words(each.worked)),
        ("drawn", writer.words(each.drawn)),
    )
    if each.overage and terms.overage is Overage.SCHEDULE:
        yield _overage(
            terms, f"overage/{name}", each.overage, each.close_on, service, moved, writer
        )
    if each.expired:
        yield writer.write(
            f"expiry/{name}",
            LineKind.EXPIRY,
            ZERO,
            each.close_on,
            service,
            f"Retainer balance expired at the end of {name}",
            (*moved, ("expired", writer.words(each.expired)), _left(each, writer)),
            balance_effect=-each.expired,
        )
    if each.refunded:
        yield writer.write(
            "refund",
            LineKind.REFUND,
            -each.refunded,
            each.close_on,
            service,
            "Refund of the unused retainer",
            (*moved, ("refunded", writer.words(each.refunded))),
            balance_effect=-each.refunded,
        )
    if each.top_up and terms.top_up is not None:
        first = months_on(month.first, 1)
        following = service_month(terms, first) or month
        yield writer.write(
            f"top-up/{following.name}",
            LineKind.TOP_UP,
            each.top_up,
            each.close_on,
            Service(following.start, following.end),
            f"Retainer top-up for {following.name}",
            (
                _left(each, writer),
                ("next deposit", writer.words(deposit_of(terms, following))),
                ("refilled when below", writer.words(terms.top_up.below)),
                ("to", writer.words(terms.top_up.to)),
            ),
            balance_effect=each.top_up,
            priced=(Decimal(1), each.top_up),
        )


def _uncovered(
    terms: RetainerTerms, facts: Sequence[ScheduleFact], last: RetainerMonth, writer: Writer
) -> Lines:
    """Yield work recorded after the last close, or done after the end: all of it is overage."""
    for fact in facts:
        if not isinstance(fact, DrawFact) or _counts(fact, last.month, last.close_on):
            continue
        if fact.amount.amount > 0:
            day = max(fact.recorded_on, last.close_on)
            item, worth = f"overage/late/{fact.id}", fact.amount.amount
            moved = (("worked after the last close", writer.words(worth)),)
            yield _overage(
                terms,
                item,
                worth,
                day,
                Service(fact.service_date, fact.service_date),
                moved,
                writer,
            )


def _given_back(
    facts: Sequence[ScheduleFact], last: RetainerMonth, drawn: Decimal, writer: Writer
) -> Lines:
    """Yield what work taken back after the last close gives back: no more than was drawn."""
    for fact in facts:
        if not isinstance(fact, DrawFact) or _counts(fact, last.month, last.close_on):
            continue
        given = min(-fact.amount.amount, drawn)
        if given > 0:
            drawn -= given
            yield writer.write(
                f"refund/late/{fact.id}",
                LineKind.REFUND,
                -given,
                max(fact.recorded_on, last.close_on),
                Service(fact.service_date, fact.service_date),
                "Refund of the retainer for work taken back",
                (("taken back after the last close", writer.words(given)),),
            )


def _overage(
    terms: RetainerTerms,
    item: str,
    worth: Decimal,
    day: date,
    service: Service,
    moved: tuple[tuple[str, str], ...],
    writer: Writer,
) -> ScheduledLine:
    net = percent_of(worth, terms.overage_percent, terms.currency)
    basis = (
        *moved,
        ("not covered", writer.words(worth)),
        ("billed at", f"{plain(terms.overage_percent)} %"),
    )
    return writer.write(
        item, LineKind.OVERAGE, net, day, service, "Work beyond the retainer", basis
    )


def _left(each: RetainerMonth, writer: Writer) -> tuple[str, str]:
    return "carried out", writer.words(each.carried_out)
