"""Input, plan and messages of OpportunityToProject."""

from canonical.model import CanonicalModel
from canonical.provisioning import (
    AddClientCurrency,
    AddClientEntity,
    LinkErpProject,
    LinkPsaProject,
    MatchClient,
    OpenForTime,
    ProvisionClient,
    ProvisionErpProject,
    ProvisionMilestones,
    ProvisionPsaClient,
    ProvisionPsaProject,
    ProvisionTasks,
    StepRequest,
    WriteBack,
)
from canonical.saga import SagaPlan, SweepMode


class OpportunityToProjectInput(CanonicalModel):
    """Which opportunity of which CRM connection to provision."""

    crm: str
    opportunity_id: str
    correlation_id: str = ""
    sweep: SweepMode | None = None
    """Set only by the sweep, for a saga whose run was terminated."""


class PlanOpportunity(StepRequest):
    """Read the deal and plan everything that follows, or say what is wrong with it."""

    opportunity_id: str
    corrections: dict[str, str] = {}


class OpportunityToProjectPlan(SagaPlan):
    """Every request of the saga, computed up front from one version of the deal."""

    deal_id: str
    deal_version: str
    matches: tuple[MatchClient, ...]
    """One per ERP connection that sells this deal; `item` is the connection."""
    clients: tuple[ProvisionClient, ...]
    """One per ERP connection; in the subsidiary of its first legal entity."""
    client_entities: tuple[AddClientEntity, ...]
    """One per legal entity; those that the customer already has are not sent."""
    client_currencies: tuple[AddClientCurrency, ...]
    erp_projects: tuple[ProvisionErpProject, ...]
    """One per legal entity; `item` is its code."""
    psa_client: ProvisionPsaClient
    psa_project: ProvisionPsaProject
    tasks: ProvisionTasks
    milestones: ProvisionMilestones | None = None
    link_psa_project: LinkPsaProject
    link_erp_projects: tuple[LinkErpProject, ...]
    write_back: WriteBack
    open_for_time: OpenForTime
    gate_reasons: tuple[str, ...] = ()
    """Why finance has to approve before delivery starts, as far as the deal itself tells."""
    gate_new_client: bool = False
    """Whether a client that is new to the ERP needs that approval too."""
    gate_respond_seconds: float = 86_400.0
