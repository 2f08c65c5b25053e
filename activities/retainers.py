"""What billing hours needs to know of retainers that have a schedule."""

from collections.abc import Sequence
from datetime import date, datetime
from decimal import Decimal
from typing import Final
from zoneinfo import ZoneInfo

from canonical.engagement import ContractLine
from canonical.failures import FailureDetail, FailureKind, StepFailed
from canonical.schedule_facts import ScheduleFact
from canonical.schedules import RetainerTerms
from policies.bundle import Bundle
from policies.schedules.balance import balance_on
from policies.schedules.known import FactsRefused
from store.caps import Schedules
from store.schedule_draws import LocalDay

REFUSED: Final = "schedule_refused"
"""Reason of a park: facts contradict the schedule's terms."""


def local_day(bundle: Bundle, line: ContractLine, now: datetime) -> LocalDay:
    """Return which day it is where a contract line's legal entity is."""
    zone = bundle.policies.billing.entities[line.legal_entity].zone
    return LocalDay(now.astimezone(ZoneInfo(zone)).date(), zone)


def schedules_of(bundle: Bundle, now: datetime) -> Schedules:
    """Return how the balances of scheduled retainers are worked out at a moment."""

    def today(line: ContractLine) -> LocalDay:
        return local_day(bundle, line, now)

    return Schedules(today=today, balance=_balance)


def _balance(terms: RetainerTerms, facts: Sequence[ScheduleFact], day: date) -> Decimal:
    """Return what is left on a day; what contradicts the terms waits for a person."""
    try:
        return balance_on(terms, facts, day)
    except FactsRefused as error:
        detail = FailureDetail(kind=FailureKind.REJECTED, reason=REFUSED, message=str(error))
        raise StepFailed(detail) from error
