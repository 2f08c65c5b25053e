"""What fell due: every occurrence once, in order, whenever and in whatever steps one asks."""

from collections.abc import Collection, Iterable
from datetime import date

from canonical.schedule_facts import ScheduledLine, ScheduleFact
from canonical.schedules import (
    FixedFeeTerms,
    ManagedServicesTerms,
    MonthlyFeeTerms,
    OutcomeTerms,
    RetainerTerms,
    ScheduleTerms,
)
from policies.schedules.amounts import Lines, Writer
from policies.schedules.fixed_fee import fixed_fee
from policies.schedules.known import known
from policies.schedules.managed_services import managed_services
from policies.schedules.monthly_fee import monthly_fee
from policies.schedules.outcome import outcome
from policies.schedules.retainer import retainer


def due(
    terms: ScheduleTerms,
    facts: Iterable[ScheduleFact],
    since: date,
    until: date,
    done_items: Collection[str] = (),
    *,
    line: str = "",
) -> tuple[ScheduledLine, ...]:
    """Return what is to be invoiced from `since` to before `until` and is not done, in order.

    Pure: the same occurrence has the same key and amount whenever it is computed, as long as no
    fact is added under a day that was asked for. So record facts under today, and ask with `until`
    today: a day counts when it is over. Tomorrow is as good where facts are numbered as they come.

    Args:
        terms: of the contract line.
        facts: all of the contract line, in any order, repeated or not; those recorded from `until`
            on do not count yet.
        since: first day that is Dealthread's to bill; what is due before is left to whoever billed
            then, but counted. Leave it as it is: `done_items` is what moves on.
        until: the day after the last one.
        done_items: keys of lines that were drafted before.
        line: ref of the contract line, for the lines.

    Raises:
        FactsRefused: facts contradict the terms or one another.
    """
    done = frozenset(done_items)
    lines = _occurrences(terms, known(terms, facts, until), Writer(line, terms.currency), until)
    fallen = [each for each in lines if since <= each.invoice_on < until and each.item not in done]
    return tuple(sorted(fallen, key=lambda each: each.invoice_on))


def _occurrences(
    terms: ScheduleTerms, facts: tuple[ScheduleFact, ...], writer: Writer, until: date
) -> Lines:
    """Yield every line to be invoiced before `until`, those of one day in their order."""
    match terms:
        case FixedFeeTerms():
            yield from fixed_fee(terms, facts, writer, until)
        case RetainerTerms():
            yield from retainer(terms, facts, writer, until)
        case ManagedServicesTerms():
            yield from managed_services(terms, facts, writer, until)
        case MonthlyFeeTerms():
            yield from monthly_fee(terms, facts, writer, until)
        case OutcomeTerms():
            yield from outcome(terms, facts, writer, until)
