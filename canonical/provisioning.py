"""The requests of OpportunityToProject: one business act each, complete before anything is written.

What only an earlier step can know (the id of the client, of the project) is None in the plan and
filled in by the workflow from that step's receipt. Names are data of the client: they travel in
payloads, which the codec covers, never in ids.
"""

from datetime import date
from decimal import Decimal
from enum import StrEnum

from canonical.deal import Address, ContractLineType, DealLinks
from canonical.model import CanonicalModel
from canonical.money import Money
from canonical.records import RecordRef


class StepRequest(CanonicalModel):
    """What every step needs: where it goes, and which of several it is."""

    connection: str
    item: str = ""
    """Tells steps of one name apart: a legal entity's code, for example."""


class MatchClient(StepRequest):
    """Find the client among the ERP's customers, before one is created (I6)."""

    client_key: str
    name: str
    tax_id: str = ""
    country: str = ""
    subsidiary: str
    """ERP id of the legal entity that sells."""
    currency: str
    payment_terms: str = ""


class ErpClient(CanonicalModel):
    """A customer as the ERP has it, with what matching and extending need."""

    record: RecordRef
    external_id: str = ""
    name: str = ""
    tax_id: str = ""
    country: str = ""
    subsidiaries: tuple[str, ...] = ()
    currencies: tuple[str, ...] = ()
    payment_terms: str = ""
    active: bool = True


class ClientMatch(CanonicalModel):
    """The customer to use, or none: then one is created."""

    client: ErpClient | None = None
    gate_reasons: tuple[str, ...] = ()
    """What finance has to look at before delivery starts."""


class ProvisionClient(StepRequest):
    """Have a customer in the ERP: the one found, or a new one. A shared record."""

    client_key: str
    name: str
    tax_id: str = ""
    billing_email: str = ""
    address: Address = Address()
    subsidiary: str
    currency: str
    payment_terms: str = ""
    existing: RecordRef | None = None


class AddClientEntity(StepRequest):
    """Let a further legal entity sell to an existing customer; nothing else of it changes."""

    client_key: str
    subsidiary: str
    client: RecordRef | None = None


class AddClientCurrency(StepRequest):
    """Let an existing customer be billed in a further currency; nothing else of it changes."""

    client_key: str
    currency: str
    client: RecordRef | None = None


class BillingType(StrEnum):
    """How the ERP project bills, decided from the types of its contract lines."""

    TIME_AND_MATERIALS = "time_and_materials"
    FIXED_BID_MILESTONE = "fixed_bid_milestone"
    FIXED_BID_INTERVAL = "fixed_bid_interval"
    CHARGE_BASED = "charge_based"


class Dimensions(CanonicalModel):
    """ERP ids of the dimensions that a project posts to; empty where the entity has none."""

    department: str = ""
    business_class: str = ""
    location: str = ""


class ProvisionErpProject(StepRequest):
    """A project in the ERP, for one legal entity."""

    name: str
    code: str
    subsidiary: str
    price: Money
    """Net contract value of this legal entity's lines."""
    billing_type: BillingType
    dimensions: Dimensions = Dimensions()
    start: date
    end: date | None = None
    client: RecordRef | None = None


class ProvisionPsaClient(StepRequest):
    """Have the client in the PSA. A shared record."""

    client_key: str
    name: str
    billing_email: str = ""
    address: Address = Address()


class ProvisionPsaProject(StepRequest):
    """A project in the PSA, from a template, with its rate card, not yet open for time."""

    name: str
    code: str
    price: Money
    start: date
    end: date | None = None
    template: str = ""
    """PSA id of the project template."""
    rate_card: str = ""
    """PSA id of the rate card that fits currency and legal entity."""
    manager_email: str = ""
    client: RecordRef | None = None


class PlannedTask(CanonicalModel):
    """One contract line as a task of the project."""

    ref: str
    """Id of the contract line."""
    title: str
    type: ContractLineType
    billable: bool
    budget: Money
    start: date | None = None
    due: date | None = None
    cap: Money | None = None
    """What the line may bill at most; billing's, not sent to the PSA."""
    legal_entity: str = ""
    """Code of the company that delivers the line; likewise. Empty in plans made before it."""
    tax_category: str = ""
    """For the line's tax inputs; likewise."""
    client_po: str = ""
    """The client's order that the line is billed under; likewise."""


class MilestoneTask(CanonicalModel):
    """What the project manager completes when a milestone is reached."""

    line: str
    """Id of the contract line, which is one of the tasks."""
    title: str
    due: date | None = None


class ProvisionTasks(StepRequest):
    """The tasks of the project, one per contract line and per milestone, as one atomic write."""

    title: str
    tasks: tuple[PlannedTask, ...]
    milestones: tuple[MilestoneTask, ...] = ()
    """In the order of the planned milestones. Empty in plans made before milestones had tasks."""
    project: RecordRef | None = None


class PlannedMilestone(CanonicalModel):
    """One instalment to be invoiced."""

    ref: str
    """`<contract line>/<milestone of the CRM>`."""
    title: str
    amount: Money
    due: date | None = None


class ProvisionMilestones(StepRequest):
    """The billing milestones of the project, as one bulk write."""

    milestones: tuple[PlannedMilestone, ...]
    project: RecordRef | None = None
    tasks: tuple[RecordRef, ...] = ()
    """The task of each, in their order; without tasks they fall due by their dates."""


class LinkPsaProject(StepRequest):
    """Tell the PSA project which ERP projects belong to it."""

    project: RecordRef | None = None
    erp_projects: tuple[RecordRef, ...] = ()


class LinkErpProject(StepRequest):
    """Tell an ERP project which PSA project belongs to it."""

    project: RecordRef | None = None
    psa_project: RecordRef | None = None


class WriteBack(StepRequest):
    """Write ids and state into the fields of the opportunity that Dealthread owns."""

    deal_id: str
    links: DealLinks = DealLinks()


class OpenForTime(StepRequest):
    """Open the PSA project for time: from here delivery can start."""

    project: RecordRef | None = None


def contract_value(amounts: tuple[Money, ...], currency: str) -> Money:
    """Return the sum of `amounts`, all in `currency`; zero where there are none."""
    total = Money(amount=Decimal(0), currency=currency)
    for amount in amounts:
        total = total + amount
    return total
