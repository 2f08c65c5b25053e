"""Typed names of the activities: what `workflows` calls and `activities` registers.

A step's activity has the step's name and never changes once released. A test checks that each
reference has exactly one implementation with the same types.
"""

from dataclasses import dataclass
from typing import Generic, TypeVar

from canonical.alerts import AlertsSent, JudgeRules, RulesJudged, SendAlerts
from canonical.backfill import (
    AdvanceBackfill,
    BackfillOpened,
    NoteBackfill,
    OpenBackfill,
    ReadSource,
    SourceRead,
    Standing,
)
from canonical.bill_schedules import (
    BilledSchedules,
    BillProject,
    BillSchedulesInput,
    ScheduledLines,
)
from canonical.credit_invoice import (
    CancelMirror,
    CheckCreditable,
    CheckCreditPeriod,
    CountExplained,
    Creditable,
    CreditAnswer,
    CreditDay,
    CreditNoted,
    CreditPlan,
    DecideCredit,
    Freed,
    IssueCredit,
    NoteCredit,
    OpenCredit,
    PlanCredit,
    SeeFreed,
)
from canonical.draft_acts import ActOnDraft, DraftAnswer
from canonical.draft_to_invoice import (
    Assembled,
    AssembleDrafts,
    CheckTerms,
    ConfirmShare,
    DraftInput,
    DraftStanding,
    EscalateReview,
    IssueInvoice,
    PlanPosting,
    PostDraftInvoice,
    Posted,
    PostInvoicePlan,
    ReadBack,
    ReadyCharges,
    Verification,
    VerifyDraft,
)
from canonical.invoice_lifecycle import (
    Look,
    Looked,
    OpenLook,
    PlanLook,
    TellPayment,
    TellPlan,
)
from canonical.invoicing import Billee, WriteFinances, WriteProjectFinances
from canonical.milestone_to_invoice import (
    HandOverFee,
    LookAtMilestone,
    MarkEligible,
    MilestoneLooked,
    MilestonePlan,
    PlanMilestone,
    ReserveFee,
)
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
from canonical.reconciliation import (
    CheckConservation,
    ComparedRows,
    CompareRows,
    ConservationChecked,
    DueReconciliations,
    Extracted,
    ExtractRows,
    Healed,
    HealFindings,
    JudgeCandidates,
    Judged,
    ListDue,
    ReconcileInput,
    ReconcilePlan,
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
    CheckReservation,
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
from canonical.worklist import Watch, Watched

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
WATCH_RUNS = ActivityRef("watch_runs", Watch, Watched)
JUDGE_RULES = ActivityRef("judge_rules", JudgeRules, RulesJudged)
SEND_ALERTS = ActivityRef("send_alerts", SendAlerts, AlertsSent)

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
CHECK_RESERVATION = ActivityRef("check_reservation", StepCall[CheckReservation], Counted)
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

# MilestoneToInvoice.
PLAN_MILESTONE = ActivityRef("plan_milestone", StepCall[PlanMilestone], MilestonePlan)
RESERVE_FEE = ActivityRef("reserve_fee", StepCall[ReserveFee], Receipt)
UNDO_RESERVE_FEE = ActivityRef("undo_reserve_fee", UndoCall[ReserveFee], UndoReceipt)
MARK_ELIGIBLE = ActivityRef("mark_eligible", StepCall[MarkEligible], Receipt)
UNDO_MARK_ELIGIBLE = ActivityRef("undo_mark_eligible", UndoCall[MarkEligible], UndoReceipt)
HAND_OVER_FEE = ActivityRef("hand_over_fee", StepCall[HandOverFee], Receipt)
LOOK_AT_MILESTONE = ActivityRef("look_at_milestone", StepCall[LookAtMilestone], MilestoneLooked)

# Schedules and drafts: their own, in the store.
LIST_SCHEDULES = ActivityRef("list_schedules", BillSchedulesInput, ScheduledLines)
BILL_SCHEDULE = ActivityRef("bill_schedule", BillProject, BilledSchedules)
ASSEMBLE_DRAFTS = ActivityRef("assemble_drafts", AssembleDrafts, Assembled)
READ_DRAFT = ActivityRef("read_draft", DraftInput, DraftStanding)
ACT_ON_DRAFT = ActivityRef("act_on_draft", ActOnDraft, DraftAnswer)
ESCALATE_REVIEW = ActivityRef("escalate_review", EscalateReview, DraftStanding)

# PostInvoice: reads.
PLAN_POSTING = ActivityRef("plan_posting", StepCall[PlanPosting], PostInvoicePlan)
VERIFY_DRAFT = ActivityRef("verify_draft", StepCall[VerifyDraft], Verification)
CHECK_TERMS = ActivityRef("check_terms", StepCall[CheckTerms], Verification)
READ_BACK = ActivityRef("read_back", StepCall[ReadBack], Posted)

# PostInvoice: writes, each beside its undo.
PROVISION_BILLEE = ActivityRef("provision_billee", StepCall[Billee], Receipt)
UNDO_PROVISION_BILLEE = ActivityRef("undo_provision_billee", UndoCall[Billee], UndoReceipt)
READY_CHARGES = ActivityRef("ready_charges", StepCall[ReadyCharges], Receipt)
UNDO_READY_CHARGES = ActivityRef("undo_ready_charges", UndoCall[ReadyCharges], UndoReceipt)
DRAFT_INVOICE = ActivityRef("draft_invoice", StepCall[IssueInvoice], Receipt)
UNDO_DRAFT_INVOICE = ActivityRef("undo_draft_invoice", UndoCall[IssueInvoice], UndoReceipt)
POST_INVOICE = ActivityRef("post_invoice", StepCall[PostDraftInvoice], Receipt)
ISSUE_INVOICE = ActivityRef("issue_invoice", StepCall[IssueInvoice], Receipt)
CONFIRM_SHARE = ActivityRef("confirm_share", StepCall[ConfirmShare], Receipt)

# InvoiceLifecycle.
OPEN_LOOK = ActivityRef("open_look", OpenLook, OpenedRun)
PLAN_LOOK = ActivityRef("plan_look", StepCall[PlanLook], TellPlan)
LOOK_AT_INVOICE = ActivityRef("look_at_invoice", StepCall[Look], Looked)
TELL_PAYMENT = ActivityRef("tell_payment", StepCall[TellPayment], Receipt)
TELL_FINANCES = ActivityRef("tell_finances", StepCall[WriteFinances], Receipt)
TELL_PROJECT = ActivityRef("tell_project", StepCall[WriteProjectFinances], Receipt)

# CreditInvoice: its own, in the store.
PLAN_CREDIT = ActivityRef("plan_credit", StepCall[PlanCredit], CreditPlan)
OPEN_CREDIT = ActivityRef("open_credit", StepCall[OpenCredit], Receipt)
UNDO_OPEN_CREDIT = ActivityRef("undo_open_credit", UndoCall[OpenCredit], UndoReceipt)
DECIDE_CREDIT = ActivityRef("decide_credit", DecideCredit, CreditAnswer)

# CreditInvoice: reads and writes.
CHECK_CREDIT_PERIOD = ActivityRef("check_credit_period", StepCall[CheckCreditPeriod], CreditDay)
CHECK_CREDITABLE = ActivityRef("check_creditable", StepCall[CheckCreditable], Creditable)
ISSUE_CREDIT = ActivityRef("issue_credit", StepCall[IssueCredit], Receipt)
NOTE_CREDIT = ActivityRef("note_credit", StepCall[NoteCredit], CreditNoted)
CANCEL_MIRROR = ActivityRef("cancel_mirror", StepCall[CancelMirror], Receipt)
MIRROR_REST = ActivityRef("mirror_rest", StepCall[ConfirmShare], Receipt)
COUNT_EXPLAINED = ActivityRef("count_explained", StepCall[CountExplained], Receipt)
SEE_FREED = ActivityRef("see_freed", StepCall[SeeFreed], Freed)

# Backfill: its own, in the store; one reads the source, on the connection's queue.
OPEN_BACKFILL = ActivityRef("open_backfill", OpenBackfill, BackfillOpened)
READ_SOURCE = ActivityRef("read_source", ReadSource, SourceRead)
NOTE_BACKFILL = ActivityRef("note_backfill", NoteBackfill, type(None))
ADVANCE_BACKFILL = ActivityRef("advance_backfill", AdvanceBackfill, Standing)

# Reconcile and the conservation check: reads of the connected systems, writes to the store alone.
LIST_DUE_RECONCILIATIONS = ActivityRef("list_due_reconciliations", ListDue, DueReconciliations)
OPEN_RECONCILIATION = ActivityRef("open_reconciliation", ReconcileInput, ReconcilePlan)
EXTRACT_ROWS = ActivityRef("extract_rows", ExtractRows, Extracted)
COMPARE_ROWS = ActivityRef("compare_rows", CompareRows, ComparedRows)
JUDGE_CANDIDATES = ActivityRef("judge_candidates", JudgeCandidates, Judged)
HEAL_FINDINGS = ActivityRef("heal_findings", HealFindings, Healed)
CHECK_CONSERVATION = ActivityRef("check_conservation", CheckConservation, ConservationChecked)
