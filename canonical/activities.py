"""Typed names of the activities: what `workflows` calls and `activities` registers.

A step's activity has the step's name and never changes once released. A test checks that each
reference has exactly one implementation with the same types.
"""

from dataclasses import dataclass
from typing import Generic, TypeVar

from canonical.model import CanonicalModel
from canonical.opportunity import OpportunityToProjectPlan, PlanOpportunity
from canonical.provisioning import (
    AddClientCurrency,
    AddClientEntity,
    ClientMatch,
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
    WriteBack,
)
from canonical.records import Receipt, UndoReceipt
from canonical.saga import (
    Begin,
    Begun,
    CloseGeneration,
    CloseWorkItem,
    Decision,
    EscalateWorkItem,
    Finish,
    OpenWorkItem,
    SealAudit,
    Sealed,
    StepCall,
    Sweep,
    Swept,
    TakeDecision,
    UndoCall,
)
from canonical.time_to_billing import (
    BillingRunPlan,
    Calendar,
    CheckPostings,
    ClaimEntries,
    Counted,
    HandOver,
    NoteChanges,
    OpenedRun,
    OpenRun,
    PlaceParts,
    PlanBillingRun,
    PostBatch,
    Postings,
    PreparePostings,
    ProjectPeriod,
    RatedRun,
    RateEntries,
    ReadErpTerms,
    ReadPeople,
    ReserveRun,
    TakeIn,
    TakenIn,
    Verified,
    VerifyEntries,
)

Request = TypeVar("Request", bound=CanonicalModel)
Result = TypeVar("Result", bound=CanonicalModel | None)


@dataclass(frozen=True)
class ActivityRef(Generic[Request, Result]):
    """The name of an activity with the types of its one argument and its result."""

    name: str
    request: type[Request]
    result: type[Result]


# The engine's own: quick, in the store, retried for ever.
BEGIN = ActivityRef("begin", Begin, Begun)
FINISH = ActivityRef("finish", Finish, type(None))
CLOSE_GENERATION = ActivityRef("close_generation", CloseGeneration, type(None))
OPEN_WORK_ITEM = ActivityRef("open_work_item", OpenWorkItem, type(None))
CLOSE_WORK_ITEM = ActivityRef("close_work_item", CloseWorkItem, type(None))
ESCALATE_WORK_ITEM = ActivityRef("escalate_work_item", EscalateWorkItem, type(None))
TAKE_DECISION = ActivityRef("take_decision", TakeDecision, Decision)

# Housekeeping.
SWEEP = ActivityRef("sweep", Sweep, Swept)
SEAL_AUDIT = ActivityRef("seal_audit", SealAudit, Sealed)

# OpportunityToProject: reads and plans.
PLAN_OPPORTUNITY = ActivityRef(
    "plan_opportunity", StepCall[PlanOpportunity], OpportunityToProjectPlan
)
MATCH_CLIENT = ActivityRef("match_client", StepCall[MatchClient], ClientMatch)

# OpportunityToProject: writes, each beside its undo.
PROVISION_CLIENT = ActivityRef("provision_client", StepCall[ProvisionClient], Receipt)
UNDO_PROVISION_CLIENT = ActivityRef("undo_provision_client", UndoCall[ProvisionClient], UndoReceipt)
ADD_CLIENT_ENTITY = ActivityRef("add_client_entity", StepCall[AddClientEntity], Receipt)
UNDO_ADD_CLIENT_ENTITY = ActivityRef(
    "undo_add_client_entity", UndoCall[AddClientEntity], UndoReceipt
)
ADD_CLIENT_CURRENCY = ActivityRef("add_client_currency", StepCall[AddClientCurrency], Receipt)
UNDO_ADD_CLIENT_CURRENCY = ActivityRef(
    "undo_add_client_currency", UndoCall[AddClientCurrency], UndoReceipt
)
PROVISION_ERP_PROJECT = ActivityRef("provision_erp_project", StepCall[ProvisionErpProject], Receipt)
UNDO_PROVISION_ERP_PROJECT = ActivityRef(
    "undo_provision_erp_project", UndoCall[ProvisionErpProject], UndoReceipt
)
PROVISION_PSA_CLIENT = ActivityRef("provision_psa_client", StepCall[ProvisionPsaClient], Receipt)
UNDO_PROVISION_PSA_CLIENT = ActivityRef(
    "undo_provision_psa_client", UndoCall[ProvisionPsaClient], UndoReceipt
)
PROVISION_PSA_PROJECT = ActivityRef("provision_psa_project", StepCall[ProvisionPsaProject], Receipt)
UNDO_PROVISION_PSA_PROJECT = ActivityRef(
    "undo_provision_psa_project", UndoCall[ProvisionPsaProject], UndoReceipt
)
PROVISION_TASKS = ActivityRef("provision_tasks", StepCall[ProvisionTasks], Receipt)
UNDO_PROVISION_TASKS = ActivityRef("undo_provision_tasks", UndoCall[ProvisionTasks], UndoReceipt)
PROVISION_MILESTONES = ActivityRef("provision_milestones", StepCall[ProvisionMilestones], Receipt)
UNDO_PROVISION_MILESTONES = ActivityRef(
    "undo_provision_milestones", UndoCall[ProvisionMilestones], UndoReceipt
)
LINK_PSA_PROJECT = ActivityRef("link_psa_project", StepCall[LinkPsaProject], Receipt)
UNDO_LINK_PSA_PROJECT = ActivityRef("undo_link_psa_project", UndoCall[LinkPsaProject], UndoReceipt)
LINK_ERP_PROJECT = ActivityRef("link_erp_project", StepCall[LinkErpProject], Receipt)
UNDO_LINK_ERP_PROJECT = ActivityRef("undo_link_erp_project", UndoCall[LinkErpProject], UndoReceipt)
WRITE_BACK = ActivityRef("write_back", StepCall[WriteBack], Receipt)
UNDO_WRITE_BACK = ActivityRef("undo_write_back", UndoCall[WriteBack], UndoReceipt)
OPEN_FOR_TIME = ActivityRef("open_for_time", StepCall[OpenForTime], Receipt)
CONFIRM_IN_CRM = ActivityRef("confirm_in_crm", StepCall[WriteBack], Receipt)

# ApprovedTimeToBilling: its own, in the store.
READ_CALENDAR = ActivityRef("read_calendar", ProjectPeriod, Calendar)
NOTE_CHANGES = ActivityRef("note_changes", NoteChanges, type(None))
OPEN_RUN = ActivityRef("open_run", OpenRun, OpenedRun)

# BillingRun: reads, and what it computes in the store.
PLAN_BILLING_RUN = ActivityRef("plan_billing_run", StepCall[PlanBillingRun], BillingRunPlan)
TAKE_IN = ActivityRef("take_in", StepCall[TakeIn], TakenIn)
READ_PEOPLE = ActivityRef("read_people", StepCall[ReadPeople], Counted)
READ_ERP_TERMS = ActivityRef("read_erp_terms", StepCall[ReadErpTerms], Counted)
RATE_ENTRIES = ActivityRef("rate_entries", StepCall[RateEntries], RatedRun)
VERIFY_ENTRIES = ActivityRef("verify_entries", StepCall[VerifyEntries], Verified)
PREPARE_POSTINGS = ActivityRef("prepare_postings", StepCall[PreparePostings], Postings)

# BillingRun: writes, each beside its undo.
CLAIM_ENTRIES = ActivityRef("claim_entries", StepCall[ClaimEntries], Receipt)
UNDO_CLAIM_ENTRIES = ActivityRef("undo_claim_entries", UndoCall[ClaimEntries], UndoReceipt)
RESERVE_ENTRIES = ActivityRef("reserve_entries", StepCall[ReserveRun], Receipt)
UNDO_RESERVE_ENTRIES = ActivityRef("undo_reserve_entries", UndoCall[ReserveRun], UndoReceipt)
PLACE_PARTS = ActivityRef("place_parts", StepCall[PlaceParts], Receipt)
UNDO_PLACE_PARTS = ActivityRef("undo_place_parts", UndoCall[PlaceParts], UndoReceipt)
POST_CHARGES = ActivityRef("post_charges", StepCall[PostBatch], Receipt)
UNDO_POST_CHARGES = ActivityRef("undo_post_charges", UndoCall[PostBatch], UndoReceipt)
POST_COSTS = ActivityRef("post_costs", StepCall[PostBatch], Receipt)
UNDO_POST_COSTS = ActivityRef("undo_post_costs", UndoCall[PostBatch], UndoReceipt)
CHECK_POSTINGS = ActivityRef("check_postings", StepCall[CheckPostings], Counted)
HAND_OVER = ActivityRef("hand_over", StepCall[HandOver], Receipt)
