"""How much of an entry is billed: minutes in increments, corrections, and what is no quantity.

Adjustments of time are rated as the entry that they correct (its day, person, task, kind of hour).
They bill the difference between what the corrected entry would bill and what it billed before: so
increments and minimum are rounded once for the whole, and taking all minutes back takes back all
that was billed. Where the corrected entry is not known, an adjustment bills its minutes as they
are.
"""

from collections.abc import Mapping, Sequence
from decimal import Decimal

from canonical.engagement import ContractLine
from canonical.entries import Entry, EntryKind, EntryRef, HoldReason
from policies.expenses import claim_order
from policies.lookups import Held


def billed_minutes(minutes: int, line: ContractLine) -> int:
    """Return recorded minutes as a line bills them: whole increments, at least the minimum."""
    if minutes <= 0:
        return 0
    step = max(line.increment_minutes, 1)
    return max(line.minimum_minutes, -(-minutes // step) * step)


class Corrections:
    """Adjustments of time beside what they correct, in the order of their approval."""

    def __init__(self, entries: Sequence[Entry], earlier: Sequence[Entry]) -> None:
        known = {each.ref: each for each in (*earlier, *entries)}
        self._corrected = {each.id: each for each in known.values() if each.kind is EntryKind.TIME}
        self._recorded: dict[EntryRef, tuple[int, int]] = {}
        by_entry: dict[str, list[Entry]] = {}
        for each in known.values():
            if each.kind is EntryKind.ADJUSTMENT and each.minutes is not None and each.adjusts:
                by_entry.setdefault(each.adjusts, []).append(each)
        first = {each.ref for each in earlier}
        for id_, adjustments in by_entry.items():
            if (corrected := self._corrected.get(id_)) is None:
                continue
            before = corrected.minutes or 0
            # Earlier runs' first, then by approval: the same in whatever order they are given.
            for each in sorted(
                adjustments, key=lambda one: (one.ref not in first, claim_order(one))
            ):
                after = before + (each.minutes or 0)
                self._recorded[each.ref] = (before, after)
                before = after

    def basis(self, entry: Entry) -> Entry:
        """Return the facts by which an entry is rated: of an adjustment, the corrected entry's."""
        if entry.kind is not EntryKind.ADJUSTMENT:
            return entry
        corrected = self._corrected.get(entry.adjusts)
        if corrected is None or corrected.project_id != entry.project_id:
            return entry
        own: Mapping[str, object] = {
            "kind": entry.kind,
            "id": entry.id,
            "minutes": entry.minutes,
            "amount": entry.amount,
            "billable": entry.billable,
            "adjusts": entry.adjusts,
        }
        if entry.psa_rate is not None:
            own = {**own, "psa_rate": entry.psa_rate, "currency": entry.currency}
        return corrected.model_copy(update=own)

    def billed_minutes(self, entry: Entry, line: ContractLine) -> int:
        """Return the minutes that an entry bills; of an adjustment, the difference it makes."""
        recorded = entry.minutes or 0
        if entry.kind is not EntryKind.ADJUSTMENT:
            if recorded < 0:
                return -billed_minutes(-recorded, line)
            return billed_minutes(recorded, line)
        if entry.ref not in self._recorded:
            return recorded
        before, after = self._recorded[entry.ref]
        return _in_all(after, line) - _in_all(before, line)


def _in_all(minutes: int, line: ContractLine) -> int:
    """Return what an entry bills after corrections; below zero (a mistake) as it is."""
    return minutes if minutes < 0 else billed_minutes(minutes, line)


def check_quantity(entry: Entry) -> None:
    """Refuse what is no quantity.

    Raises:
        Held: nothing, zero or less without saying which entry it corrects, or impossible tax.
    """
    problem = _adjustment_problem(entry) if entry.adjusts else _quantity_problem(entry)
    problem = problem or _tax_problem(entry)
    if problem:
        text = f"{entry.ref} {problem}: whoever recorded it corrects it in the PSA"
        raise Held(HoldReason.BAD_QUANTITY, text)


def _quantity_problem(entry: Entry) -> str:
    if entry.kind is EntryKind.ADJUSTMENT:
        return "does not say which entry it corrects"
    if entry.kind is EntryKind.TIME:
        quantity: Decimal | int | None = entry.minutes
    else:
        quantity = None if entry.amount is None else entry.amount.amount
    if quantity is None or not Decimal(quantity).is_finite():
        return "has no quantity"
    if quantity <= 0:
        return f"has a quantity of {quantity} and corrects no other entry"
    return ""


def _adjustment_problem(entry: Entry) -> str:
    if entry.kind is EntryKind.EXPENSE:
        return "has no amount" if entry.amount is None else ""
    if entry.kind is EntryKind.TIME:
        return "has no minutes" if entry.minutes is None else ""
    if entry.minutes is not None and entry.amount is not None:
        return "corrects both minutes and money: which one it means is open"
    return "has no quantity" if entry.minutes is None and entry.amount is None else ""


def _tax_problem(entry: Entry) -> str:
    if entry.tax is None or entry.amount is None:
        return ""
    if entry.tax.currency != entry.amount.currency:
        return f"has its tax in {entry.tax.currency} and its amount in {entry.amount.currency}"
    tax, amount = entry.tax.amount, entry.amount.amount
    if abs(tax) > abs(amount) or tax * amount < 0:
        return f"has {entry.tax} of recoverable tax within {entry.amount}"
    return ""
