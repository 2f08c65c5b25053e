"""A deal as the CRM tells it. Lenient on purpose: judging it is the work of a policy."""

from datetime import date
from decimal import Decimal
from enum import StrEnum

from canonical.model import CanonicalModel


class DealKind(StrEnum):
    """What a deal does to the client's engagements; only `new` provisions a project."""

    NEW = "new"
    CHANGE_ORDER = "change_order"
    RENEWAL = "renewal"


class ContractLineType(StrEnum):
    """How a contract line earns its money."""

    TIME_AND_MATERIALS = "time_and_materials"
    FIXED_FEE = "fixed_fee"
    RETAINER = "retainer"
    MANAGED_SERVICES = "managed_services"
    OUTCOME_BASED = "outcome_based"


class Address(CanonicalModel):
    """A postal address; `country` is an ISO 3166-1 alpha-2 code."""

    street: str = ""
    city: str = ""
    postal_code: str = ""
    region: str = ""
    country: str = ""


class DealClient(CanonicalModel):
    """The CRM account that buys."""

    id: str
    name: str = ""
    tax_id: str = ""
    billing_email: str = ""
    address: Address = Address()
    parent_id: str = ""


class DealMilestone(CanonicalModel):
    """One instalment of a contract line; `amount` is in the deal's currency, net."""

    id: str
    title: str = ""
    due: date | None = None
    amount: Decimal | None = None


class DealLine(CanonicalModel):
    """One line of the contract, as sold. Amounts are net, in the deal's currency."""

    id: str
    title: str = ""
    offering: str = ""
    """Product code of the service sold."""
    type: str = ""
    """The CRM's own word for the contract line type, already lower snake case."""
    legal_entity: str = ""
    tax_category: str = ""
    quantity: Decimal | None = None
    unit_price: Decimal | None = None
    amount: Decimal | None = None
    cap: Decimal | None = None
    milestones: tuple[DealMilestone, ...] = ()


class Deal(CanonicalModel):
    """An opportunity with its commercial terms, exactly as read; nothing in it is judged yet."""

    crm: str
    """Name of the connection it was read from."""
    id: str
    version: str = ""
    """The CRM's own version stamp of the record."""
    name: str = ""
    kind: str = ""
    stage: str = ""
    won: bool = False
    signed_on: date | None = None
    signature_waiver_until: date | None = None
    currency: str = ""
    amount: Decimal | None = None
    """What the quote adds up to."""
    contract_amount: Decimal | None = None
    """What the signed contract says."""
    start: date | None = None
    end: date | None = None
    payment_terms: str = ""
    client_po: str = ""
    legal_entity: str = ""
    """Code of the legal entity that delivers, for lines that name none."""
    template: str = ""
    project_manager_email: str = ""
    client: DealClient | None = None
    lines: tuple[DealLine, ...] = ()


class DealLinks(CanonicalModel):
    """The fields of the opportunity that Dealthread owns; None leaves a field as it is."""

    erp_client_id: str | None = None
    erp_project_id: str | None = None
    """One id, or `ENTITY:id` pairs joined by `;` where several legal entities deliver."""
    psa_project_id: str | None = None
    integration_status: str | None = None
