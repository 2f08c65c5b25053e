"""What stands already when a claim is rated or placed, and what placing it comes to (DESIGN 5)."""

from datetime import date
from decimal import Decimal

from canonical.engagement import Cap, CapBase
from canonical.entries import EntryKind, EntryRef
from canonical.model import CanonicalModel
from canonical.money import Money
from canonical.rating import Part, Rated
from canonical.schedules import Overage


class KnownExpense(CanonicalModel):
    """An expense that the subledger holds already, to see one recorded twice."""

    ref: EntryRef
    person_id: str
    """The PSA's user id, or the e-mail where the PSA gives none."""
    service_date: date
    amount: Money
    receipt: str = ""


class CapStanding(CanonicalModel):
    """A cap as it stands under lock."""

    id: int
    cap: Cap
    line: str = ""
    """Ref of the contract line; empty: of the whole engagement."""
    period: str = ""
    consumed: Decimal
    """Counts against the ceiling: reserved + drafted + invoiced - credited."""
    settled: Decimal
    """Share of it that no run can undo any more: as much may be given back, not more."""

    def counts(self, rated: Rated) -> bool:
        """Whether `to_bill` parts of this entry count towards the cap."""
        if self.line and self.line != rated.line:
            return False
        if self.cap.base is CapBase.ALL:
            return True
        return (self.cap.base is CapBase.EXPENSES) == (rated.ref.kind is EntryKind.EXPENSE)


class RetainerStanding(CanonicalModel):
    """A retainer as it stands under lock."""

    id: int
    line: str
    balance: Money
    """What may still be drawn."""
    settled: Decimal
    """Drawn for good: as much may be given back, not more."""
    overage: str = "to_bill"
    schedule: Overage | None = None
    """How its schedule bills what it does not cover; None: it has no schedule, all was prepaid.

    With `entries` the balance is what the schedule has on the day, and what is given back is there
    once it is handed over. Otherwise all is drawn, and the schedule decides at a month's close what
    the balance covers.
    """


class CapWarning(CanonicalModel):
    """An entry took a cap past one of its warning marks."""

    cap: str
    line: str = ""
    percent: int
    ref: EntryRef
    """The entry that crossed the mark."""
    text: str

    def __str__(self) -> str:
        return self.text


class Allocation(CanonicalModel):
    """What becomes of each entry, in the order given, and what people should know of."""

    parts: tuple[tuple[Part, ...], ...]
    warnings: tuple[CapWarning, ...] = ()
