"""Client purchase orders: consumed like caps, checked before release."""

from datetime import date
from enum import StrEnum

from canonical.model import CanonicalModel
from canonical.money import Money


class PoBasis(StrEnum):
    """What the amount of a client PO limits."""

    NET = "net"
    GROSS = "gross"


class PoLine(CanonicalModel):
    """A line of a client PO; without contract lines it is for any."""

    number: str
    amount: Money
    contract_lines: tuple[str, ...] = ()


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


class PoStanding(CanonicalModel):
    """A client PO with what was taken of it, in its own basis."""

    po: ClientPo
    drafted: Money
    released: Money
    invoiced: Money
    credited: Money

    @property
    def left(self) -> Money:
        """What may still be released."""
        taken = self.released.amount + self.invoiced.amount - self.credited.amount
        return Money(amount=self.po.amount.amount - taken, currency=self.po.amount.currency)
