"""Client purchase orders: consumed like caps, checked before release."""

from collections import Counter
from collections.abc import Iterator
from datetime import date
from decimal import Decimal
from enum import StrEnum

from canonical.model import CanonicalModel
from canonical.money import Money


class PoBasis(StrEnum):
    """What the amount of a client PO limits."""

    NET = "net"
    GROSS = "gross"


class PoLine(CanonicalModel):
    """A line of a client PO; without contract lines it is for any that no other line names."""

    number: str
    amount: Money
    """In the PO's currency and basis."""
    contract_lines: tuple[str, ...] = ()
    """Refs of contract lines: their ids in the CRM."""


class ClientPo(CanonicalModel):
    """The client's purchase order: consumed like a cap, checked before release."""

    client_id: str
    number: str
    amount: Money
    basis: PoBasis = PoBasis.NET
    valid_from: date
    valid_to: date | None = None
    projects: tuple[str, ...] = ()
    """PSA projects that it is for; empty: any of the client's."""
    lines: tuple[PoLine, ...] = ()
    replaces: str = ""
    """Number of the PO that it replaces: lines not released yet move to this one."""


class PoLineStanding(CanonicalModel):
    """A line of a client PO with what was taken of it, in the PO's own basis.

    Lines without contract lines are counted as one: what no other line names takes of them all.
    Where there are none, such contract lines are counted too, of nothing: under no number.
    """

    numbers: tuple[str, ...]
    amount: Money
    contract_lines: tuple[str, ...] = ()
    drafted: Money
    released: Money
    invoiced: Money
    credited: Money

    @property
    def left(self) -> Money:
        """What may still be released."""
        return _left(self.amount, self)


class PoStanding(CanonicalModel):
    """A client PO with what was taken of it, in its own basis."""

    po: ClientPo
    drafted: Money
    released: Money
    invoiced: Money
    credited: Money
    lines: tuple[PoLineStanding, ...] = ()
    """Empty where the PO has no lines: it is for any contract line then."""

    @property
    def left(self) -> Money:
        """What may still be released."""
        return _left(self.po.amount, self)


def untaken_lines(po: ClientPo) -> tuple[PoLineStanding, ...]:
    """Return the lines of a PO as they are counted, in order, with nothing taken of them."""
    if not po.lines:
        return ()
    counted = [_untaken((line.number,), line, po) for line in po.lines if line.contract_lines]
    others = [line for line in po.lines if not line.contract_lines]
    nothing = Money(amount=Decimal(0), currency=po.amount.currency)
    rest = PoLine(number="", amount=sum((line.amount for line in others), nothing))
    return (*counted, _untaken(tuple(line.number for line in others), rest, po))


def line_problems(po: ClientPo) -> Iterator[str]:
    """Yield what is wrong with the lines of a PO, in sentences for whoever imports it."""
    currency = po.amount.currency
    if wrong := [line.number for line in po.lines if line.amount.currency != currency]:
        yield f"line {wrong[0]} of client PO {po.number} is not in {currency}, as the PO is"
        return
    if any(not line.number.strip() or line.amount.amount < 0 for line in po.lines):
        yield f"each line of client PO {po.number} needs a number, and an amount of 0 or more"
    for number in _repeated(line.number for line in po.lines):
        yield f"client PO {po.number} has line {number} twice: number each once"
    named = (ref for line in po.lines for ref in dict.fromkeys(line.contract_lines))
    for ref in _repeated(named):
        yield f"two lines of client PO {po.number} name contract line {ref}: name it in one"
    total = sum((line.amount.amount for line in po.lines), Decimal(0))
    if total > po.amount.amount:
        sums = f"{Money(amount=total, currency=currency)}, which is more than its {po.amount}"
        yield f"the lines of client PO {po.number} come to {sums}"


def _left(amount: Money, taken: PoStanding | PoLineStanding) -> Money:
    net = taken.released.amount + taken.invoiced.amount - taken.credited.amount
    return Money(amount=amount.amount - net, currency=amount.currency)


def _untaken(numbers: tuple[str, ...], line: PoLine, po: ClientPo) -> PoLineStanding:
    nothing = Money(amount=Decimal(0), currency=po.amount.currency)
    return PoLineStanding(
        numbers=numbers,
        amount=line.amount,
        contract_lines=line.contract_lines,
        drafted=nothing,
        released=nothing,
        invoiced=nothing,
        credited=nothing,
    )


def _repeated(values: Iterator[str]) -> list[str]:
    return [value for value, count in Counter(values).items() if count > 1]
