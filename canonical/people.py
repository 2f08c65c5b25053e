"""The people who do the work, as the HCM keeps them."""

from datetime import date
from decimal import Decimal

from canonical.model import CanonicalModel


class Worker(CanonicalModel):
    """One version of a worker: what holds from `valid_from` until the next version."""

    id: str
    """The HCM's own worker id."""
    name: str
    email: str
    """Joins the systems: the same in HCM, PSA and ERP; lower case."""
    role: str = ""
    employee_class: str = ""
    legal_entity: str = ""
    """Code of the company that employs the person."""
    cost_center: str = ""
    cost_rate: Decimal | None = None
    """Cost of one hour; None where the HCM keeps none."""
    cost_currency: str = ""
    """ISO 4217."""
    valid_from: date
    active: bool = True


class CostCenter(CanonicalModel):
    """Where a person's cost belongs inside a legal entity."""

    id: str
    name: str
    legal_entity: str = ""
    active: bool = True
