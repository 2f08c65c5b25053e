"""Fixed fees: an advance, instalments that work it off, retention withheld and released.

Everything is reckoned to date and billed as the difference to what was billed before, so that
rounding never adds up and the last instalment brings the sum to the value exactly.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal

from canonical.schedule_facts import (
    LineKind,
    MilestoneFact,
    ProgressFact,
    ReleaseFact,
    ScheduleFact,
)
from canonical.schedules import FixedFeeTerms, Instalment, Retention
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


@dataclass(frozen=True)
class _Event:
    """Something that falls due on a day; of one day: advance, instalments, releases."""

    day: date
    rank: int
    key: str
    subject: ProgressFact | Instalment | int | None
    """A release by its place; None: the advance."""
    accepted_on: date | None = None


def fixed_fee(
    terms: FixedFeeTerms, facts: Sequence[ScheduleFact], writer: Writer, until: date
) -> Lines:
    """Yield the lines to be invoiced before `until`, instalments with their deductions."""
    account = _Account(terms, writer)
    events = [event for event in _events(terms, facts) if event.day < until]
    for event in sorted(events, key=lambda each: (each.day, each.rank, each.key)):
        if event.subject is None:
            yield from account.advance(event.day)
        elif isinstance(event.subject, int):
            yield from account.release(event.day, event.subject)
        elif isinstance(event.subject, ProgressFact):
            yield from account.progress(event.day, event.subject)
        else:
            yield from account.milestone(event.day, event.subject, event.accepted_on)


def _events(terms: FixedFeeTerms, facts: Sequence[ScheduleFact]) -> Iterator[_Event]:
    if terms.advance is not None:
        yield _Event(terms.advance.due, 0, "", None)
    releases = terms.retention.releases if terms.retention is not None else ()
    for number, release in enumerate(releases, 1):
        if release.due is not None:
            yield _Event(release.due, 2, f"{number:04d}", number)
    milestones = {each.id: (place, each) for place, each in enumerate(terms.milestones)}
    for place, each in milestones.values():
        if each.due is not None:
            yield _Event(each.due, 1, f"{place:04d}", each)
    for fact in facts:
        if isinstance(fact, ProgressFact):
            yield _Event(fact.recorded_on, 1, fact.id, fact)
        elif isinstance(fact, MilestoneFact):
            place, each = milestones[fact.milestone]
            accepted = fact.acceptance.on if fact.acceptance is not None else None
            yield _Event(fact.recorded_on, 1, f"{place:04d}", each, accepted)
        elif isinstance(fact, ReleaseFact):
            yield _Event(fact.recorded_on, 2, f"{fact.release:04d}", fact.release)


class _Account:
    """What was earned, advanced, worked off, withheld and released so far."""

    def __init__(self, terms: FixedFeeTerms, writer: Writer) -> None:
        self._terms = terms
        self._writer = writer
        self._earned = ZERO
        self._percent = ZERO
        self._worked_until = days_after(terms.start, -1)
        self._advance = ZERO
        self._earned_before_advance = ZERO
        self._offset = ZERO
        self._withheld = ZERO
        self._released = ZERO
        self._reached: set[str] = set()
        self._releases: set[int] = set()

    def advance(self, day: date) -> Lines:
        """The advance; never more than what is not billed yet."""
        terms, advance = self._terms, self._terms.advance
        if advance is None:
            return
        basis = [("value", self._words(terms.value))]
        if advance.percent is not None:
            agreed = percent_of(terms.value, advance.percent, terms.currency)
            basis.append(("advance", f"{plain(advance.percent)} %"))
        else:
            agreed = advance.amount or ZERO
        basis.append(("agreed", self._words(agreed)))
        left = terms.value - self._earned
        if left < agreed:
            basis.append(("limited to what is not billed yet", self._words(left)))
        self._earned_before_advance = self._earned
        self._advance = min(agreed, left)
        if self._advance:
            yield self._writer.write(
                "advance",
                LineKind.ADVANCE,
                self._advance,
                day,
                Service(terms.start, max(terms.start, day)),
                "Advance payment",
                basis,
                balance_effect=self._advance,
                priced=(Decimal(1), self._advance),
            )

    def progress(self, day: date, fact: ProgressFact) -> Lines:
        """An instalment by percent complete: the value to date less what was billed."""
        if fact.percent <= self._percent:
            return
        value, before = self._terms.value, self._earned
        to_date = percent_of(value, fact.percent, self._terms.currency)
        self._percent = fact.percent
        basis = [
            ("value", self._words(value)),
            ("complete", f"{plain(fact.percent)} %"),
            ("earned to date", self._words(to_date)),
            ("billed before", self._words(before)),
        ]
        yield from self._instalment(
            f"progress/{fact.id}",
            LineKind.PROGRESS,
            to_date - before,
            day,
            fact.as_of or fact.recorded_on,
            f"Progress to {plain(fact.percent)} % of the fixed fee",
            basis,
        )

    def milestone(self, day: date, milestone: Instalment, accepted_on: date | None) -> Lines:
        """An instalment by milestone, once, however often it is reported."""
        if milestone.id in self._reached:
            return
        self._reached.add(milestone.id)
        amount, basis = self._milestone_amount(milestone)
        if accepted_on is not None:
            basis.append(("accepted on", str(accepted_on)))
        yield from self._instalment(
            f"milestone/{milestone.id}",
            LineKind.MILESTONE,
            amount,
            day,
            accepted_on or day,
            milestone.title or f"Milestone {milestone.id}",
            basis,
        )

    def release(self, day: date, number: int) -> Lines:
        """A share of what was withheld by now; the last release pays out all that is left."""
        retention = self._terms.retention
        if retention is None or number in self._releases:
            return
        self._releases.add(number)
        percent = sum((retention.releases[each - 1].percent for each in self._releases), start=ZERO)
        due = percent_of(self._withheld, percent, self._terms.currency)
        amount = due - self._released
        basis = (
            ("withheld to date", self._words(self._withheld)),
            ("released to date", f"{plain(percent)} %"),
            ("that is", self._words(due)),
            ("released before", self._words(self._released)),
        )
        self._released = due
        if amount:
            yield self._writer.write(
                f"retention-release/{number}",
                LineKind.RETENTION_RELEASE,
                amount,
                day,
                Service(self._terms.start, max(self._terms.start, self._worked_until)),
                "Release of retention",
                basis,
                balance_effect=-amount,
            )

    def _milestone_amount(self, milestone: Instalment) -> tuple[Decimal, list[tuple[str, str]]]:
        """Return the amount by the terms alone: the last of them takes what rounding left."""
        terms = self._terms
        amounts = dict(
            zip((each.id for each in terms.milestones), terms.milestone_amounts(), strict=True)
        )
        amount = amounts[milestone.id]
        if milestone.percent is None:
            return amount, [("agreed amount", self._words(amount))]
        basis = [("value", self._words(terms.value)), ("share", f"{plain(milestone.percent)} %")]
        if milestone.id == terms.milestones[-1].id:
            others = self._words(terms.value - amount)
            basis.append(("the last: value less all others", others))
        return amount, basis

    def _instalment(
        self,
        item: str,
        kind: LineKind,
        gross: Decimal,
        day: date,
        worked_until: date,
        narrative: str,
        basis: Sequence[tuple[str, str]],
    ) -> Lines:
        """Yield the instalment, less the advance worked off, less retention."""
        service = Service(min(days_after(self._worked_until, 1), worked_until), worked_until)
        self._worked_until = max(self._worked_until, worked_until)
        self._earned += gross
        if not gross:
            return
        yield self._writer.write(
            item, kind, gross, day, service, narrative, basis, priced=(Decimal(1), gross)
        )
        offset, why = self._offset_now()
        if offset:
            self._offset += offset
            yield self._writer.write(
                f"{item}/advance-offset",
                LineKind.ADVANCE_OFFSET,
                -offset,
                day,
                service,
                "Less advance payment",
                why,
                balance_effect=-offset,
            )
        yield from self._withhold(item, gross - offset, day, service)

    def _offset_now(self) -> tuple[Decimal, list[tuple[str, str]]]:
        """Return what this instalment works off, and why.

        At least so much that what is left of the advance can still be worked off by what is left
        to bill; so the last instalment leaves none of it, and none is worked off more than once.
        """
        terms, advance = self._terms, self._terms.advance
        if advance is None or not self._advance:
            return ZERO, []
        since = self._earned - self._earned_before_advance
        if advance.offset_percent is not None:
            target = percent_of(since, advance.offset_percent, terms.currency)
            share = f"{plain(advance.offset_percent)} %"
        else:
            rest = terms.value - self._earned_before_advance
            target = part_of(self._advance, since, rest, terms.currency)
            share = f"{self._words(self._advance)} of {self._words(rest)}"
        to_bill = terms.value - self._earned
        to_date = min(max(target, self._advance - to_bill), self._advance)
        basis = [
            ("billed since the advance", self._words(since)),
            ("share worked off", share),
            ("worked off to date", self._words(to_date)),
            ("before", self._words(self._offset)),
        ]
        if to_date != target:
            basis.insert(2, ("advance", self._words(self._advance)))
            basis.insert(3, ("still to bill", self._words(to_bill)))
        return to_date - self._offset, basis

    def _withhold(self, item: str, payable: Decimal, day: date, service: Service) -> Lines:
        """Yield the retention of an instalment: to date, within its limit and what is payable."""
        retention = self._terms.retention
        if retention is None or len(self._releases) == len(retention.releases):
            return
        to_date = self._retained(retention)
        amount = min(to_date - self._withheld, payable)
        basis = [
            ("billed to date", self._words(self._earned)),
            ("retention", f"{plain(retention.percent)} %"),
            ("retained to date", self._words(to_date)),
            ("withheld before", self._words(self._withheld)),
        ]
        if retention.limit is not None:
            basis.insert(2, ("at most", self._words(retention.limit)))
        if amount != to_date - self._withheld:
            basis.append(("limited to what is payable", self._words(payable)))
        if amount:
            self._withheld += amount
            yield self._writer.write(
                f"{item}/retention",
                LineKind.RETENTION,
                -amount,
                day,
                service,
                f"Less retention of {plain(retention.percent)} %",
                basis,
                balance_effect=amount,
            )

    def _retained(self, retention: Retention) -> Decimal:
        to_date = percent_of(self._earned, retention.percent, self._terms.currency)
        return to_date if retention.limit is None else min(to_date, retention.limit)

    def _words(self, amount: Decimal) -> str:
        return self._writer.words(amount)
