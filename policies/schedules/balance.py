"""What hours may draw from a scheduled retainer on a day; pure."""

from collections.abc import Iterable
from datetime import date
from decimal import Decimal

from canonical.schedule_facts import ScheduleFact
from canonical.schedules import RetainerTerms
from policies.schedules.amounts import ZERO, days_after
from policies.schedules.known import known
from policies.schedules.retainer import retainer_months


def balance_on(terms: RetainerTerms, facts: Iterable[ScheduleFact], day: date) -> Decimal:
    """Return what is left for hours that are placed on a day; nothing outside the term.

    It is what the months before handed on, the month's own deposit, and what was topped up by that
    day, less what was drawn in the month. Unused deposits that expired, or that are still to come,
    are not in it.

    Raises:
        FactsRefused: facts contradict the terms or one another.
    """
    for each in retainer_months(terms, known(terms, facts, days_after(day, 1))):
        if each.month.start > day:
            return ZERO
        if day <= each.month.end:
            return max(each.carried_in + each.paid_in - each.drawn, ZERO)
    return ZERO
