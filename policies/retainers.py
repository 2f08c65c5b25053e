"""Whether a scheduled retainer and the subledger agree on who bills overage; pure.

A retainer's schedule invoices deposits, and bills what they do not cover as one line, or leaves it
to the hours themselves. The subledger draws hours from the balance, and bills the rest or does not.
Each hour is billed by one of the two: never by both, and by none only if the schedule says so.
"""

from collections.abc import Iterator
from typing import Final

from canonical.deal import ContractLineType
from canonical.engagement import ContractLine
from canonical.rating import Disposition
from canonical.schedules import Overage, RetainerTerms

OVERAGE: Final = (Disposition.TO_BILL.value, Disposition.OVER_CAP.value)
"""What may become of work that the balance does not cover."""

OTHER_TYPE: Final = (
    "its schedule is a retainer's, and the hours of such a line are billed beside the deposits: "
    "it must be retainer"
)
NO_BALANCE: Final = (
    "with a scheduled retainer it must say the balance that hours draw from: without one every "
    "hour is billed beside the deposits"
)
CLASHES: Final = {
    (Overage.SCHEDULE, Disposition.TO_BILL.value): (
        "the same hours would be billed twice: by the schedule (schedule.overage: schedule) and as "
        "entries (to_bill); make it over_cap, or schedule.overage entries"
    ),
    (Overage.NONE, Disposition.TO_BILL.value): (
        "schedule.overage says that nobody bills overage, and to_bill bills it as entries; make it "
        "over_cap, or schedule.overage entries"
    ),
    (Overage.ENTRIES, Disposition.OVER_CAP.value): (
        "nobody would bill overage: schedule.overage leaves it to the entries, and over_cap bills "
        "none of them; make it to_bill, or schedule.overage schedule or none"
    ),
}


def retainer_problems(line: ContractLine) -> Iterator[tuple[str, str]]:
    """Yield what is wrong about a contract line's retainer, by field."""
    retainer, schedule = line.retainer, line.schedule
    if retainer is not None and retainer.overage not in OVERAGE:
        yield "retainer.overage", f"it must be {' or '.join(OVERAGE)}"
    elif not isinstance(schedule, RetainerTerms):
        return
    elif line.type is not ContractLineType.RETAINER:
        yield "type", OTHER_TYPE
    elif retainer is None:
        yield "retainer", NO_BALANCE
    elif clash := CLASHES.get((schedule.overage, retainer.overage)):
        yield "retainer.overage", clash
