"""Monthly fees: a line per month of the term, and nothing that facts could change."""

from collections.abc import Sequence
from datetime import date

from canonical.schedule_facts import ScheduleFact
from canonical.schedules import MonthlyFeeTerms
from policies.schedules.amounts import Lines, Writer
from policies.schedules.fees import fees


def monthly_fee(
    terms: MonthlyFeeTerms,
    facts: Sequence[ScheduleFact],  # noqa: ARG001 - every kind of schedule is called alike
    writer: Writer,
    until: date,
) -> Lines:
    """Yield the lines to be invoiced before `until`."""
    yield from fees(terms, writer, until)
