"""Whether a contract line's retainer has one balance; pure.

A retainer was prepaid once, or it has a schedule that keeps its balance: deposits, what rolls over
and what expires, top-ups. The hours draw from the one or the other, never from both.
"""

from collections.abc import Iterator
from typing import Final

from canonical.deal import ContractLineType
from canonical.engagement import ContractLine
from canonical.rating import Disposition
from canonical.schedules import Overage, RetainerTerms

OVERAGE: Final = (Disposition.TO_BILL.value, Disposition.OVER_CAP.value)
"""What may become of work that a balance prepaid once does not cover."""

OTHER_TYPE: Final = (
    "its schedule is a retainer's, and the hours of such a line are billed beside the deposits: "
    "it must be retainer"
)
TWO_BALANCES: Final = (
    "the schedule keeps the balance that hours draw from, and the line has no other: leave "
    "retainer out (schedule.overage says how the rest is billed), or leave schedule out"
)
CLOSED_LATER: Final = (
    "with overage entries an hour draws in the month in which it is placed, so no month is kept "
    "open for it: leave close_days out, or make overage schedule"
)


def retainer_problems(line: ContractLine) -> Iterator[tuple[str, str]]:
    """Yield what is wrong about a contract line's retainer, by field."""
    retainer, schedule = line.retainer, line.schedule
    if retainer is not None and retainer.overage not in OVERAGE:
        yield "retainer.overage", f"it must be {' or '.join(OVERAGE)}"
    if not isinstance(schedule, RetainerTerms):
        return
    if line.type is not ContractLineType.RETAINER:
        yield "type", OTHER_TYPE
    if retainer is not None:
        yield "retainer", TWO_BALANCES
    if schedule.close_days and schedule.overage is Overage.ENTRIES:
        yield "schedule.close_days", CLOSED_LATER
