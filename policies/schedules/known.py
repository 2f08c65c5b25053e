"""The facts that count for a schedule: each once, in order, and refused where they do not fit."""

from collections.abc import Iterable, Iterator, Sequence
from datetime import date

from canonical.schedule_facts import (
    DrawFact,
    Fact,
    MeasuredValue,
    MilestoneFact,
    ProgressFact,
    ReleaseFact,
    ScheduleFact,
    ServiceLevelFact,
    TopUp,
    UsageFact,
)
from canonical.schedules import (
    FixedFeeTerms,
    ManagedServicesTerms,
    MonthlyFeeTerms,
    OutcomeTerms,
    RetainerTerms,
    ScheduleTerms,
)
from policies.schedules.months import service_month

_FITTING: dict[type, tuple[type[Fact], ...]] = {
    FixedFeeTerms: (ProgressFact, MilestoneFact, ReleaseFact),
    RetainerTerms: (DrawFact, TopUp),
    ManagedServicesTerms: (UsageFact, ServiceLevelFact),
    MonthlyFeeTerms: (),
    OutcomeTerms: (MeasuredValue,),
}


class FactsRefused(ValueError):
    """Facts do not fit the terms; one problem a line, with the fact, its field and the cure."""

    def __init__(self, problems: Sequence[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = tuple(problems)


def known(
    terms: ScheduleTerms, facts: Iterable[ScheduleFact], until: date
) -> tuple[ScheduleFact, ...]:
    """Return the facts recorded before `until`, each once, by the day recorded and id.

    Raises:
        FactsRefused: some contradict the terms or one another.
    """
    by_id: dict[str, ScheduleFact] = {}
    problems: list[str] = []
    for fact in facts:
        if by_id.setdefault(fact.id, fact) != fact:
            text = f"fact {fact.id}: it is told in two ways"
            problems.append(f"{text}; record a correction as a fact with an id of its own")
    problems += [
        f"fact {fact.id}: {problem}"
        for fact in sorted(by_id.values(), key=_order)
        for problem in _problems(terms, fact)
    ]
    if problems:
        raise FactsRefused(sorted(set(problems)))
    return tuple(sorted((f for f in by_id.values() if f.recorded_on < until), key=_order))


def _order(fact: Fact) -> tuple[date, str]:
    return fact.recorded_on, fact.id


def _problems(terms: ScheduleTerms, fact: ScheduleFact) -> Iterator[str]:
    """Yield what is wrong with a fact under these terms."""
    if not isinstance(fact, _FITTING[type(terms)]):
        kinds = ", ".join(each.model_fields["kind"].default for each in _FITTING[type(terms)])
        text = f"kind: a {fact.kind} says nothing to a {terms.type} schedule"
        yield f"{text}; allowed: {kinds or 'none'}"
    elif isinstance(terms, FixedFeeTerms):
        yield from _of_fixed_fee(terms, fact)
    elif isinstance(terms, RetainerTerms) and isinstance(fact, DrawFact | TopUp):
        yield from _of_retainer(terms, fact)
    elif isinstance(terms, ManagedServicesTerms):
        yield from _of_managed_services(terms, fact)


def _of_fixed_fee(terms: FixedFeeTerms, fact: ScheduleFact) -> Iterator[str]:
    if isinstance(fact, ProgressFact) and terms.milestones:
        yield "kind: the line is invoiced by milestones; record a milestone"
    if isinstance(fact, MilestoneFact):
        ids = [each.id for each in terms.milestones]
        if fact.milestone not in ids:
            text = f"milestone: the terms have no {fact.milestone}"
            yield f"{text}; allowed: {', '.join(ids) or 'none, the line goes by progress'}"
    if isinstance(fact, ReleaseFact):
        releases = terms.retention.releases if terms.retention is not None else ()
        if fact.release > len(releases):
            text = f"release: the terms have {len(releases)} releases of retention"
            yield f"{text}, not {fact.release}; correct the number"
        elif releases[fact.release - 1].due is not None:
            text = f"release: {fact.release} is due on {releases[fact.release - 1].due} by itself"
            yield f"{text}; record none, or take the day out of the terms"


def _of_retainer(terms: RetainerTerms, fact: DrawFact | TopUp) -> Iterator[str]:
    if fact.amount.currency != terms.currency:
        text = f"amount: it is in {fact.amount.currency}"
        yield f"{text}, the schedule in {terms.currency}; record it in that"
    if isinstance(fact, TopUp) and fact.amount.amount <= 0:
        yield f"amount: a top-up of {fact.amount} adds nothing; record more than nil"
    if isinstance(fact, TopUp) and terms.end is not None and fact.recorded_on > terms.end:
        yield f"recorded_on: the retainer ended on {terms.end}; extend its `end` first"


def _of_managed_services(terms: ManagedServicesTerms, fact: ScheduleFact) -> Iterator[str]:
    if isinstance(fact, UsageFact):
        metrics = [each.metric for each in terms.usage]
    elif isinstance(fact, ServiceLevelFact):
        metrics = [each.metric for each in terms.service_levels]
    else:
        return
    if fact.metric not in metrics:
        text = f"metric: the terms have no {fact.metric}"
        yield f"{text}; allowed: {', '.join(metrics) or 'none'}"
    if service_month(terms, date.fromisoformat(f"{fact.month}-01")) is None:
        until = f"to {terms.end}" if terms.end is not None else "open"
        text = f"month: {fact.month} is outside the term (from {terms.start}, {until})"
        yield f"{text}; correct the month"
