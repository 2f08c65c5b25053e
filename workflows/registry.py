"""All workflows of Dealthread. The fault matrix, the sweep and the worker read this table."""

from typing import Any

from workflows.alerting import JudgeServiceLevels, TellPeople
from workflows.assemble_drafts import AssembleInvoiceDrafts
from workflows.backfill import Backfill
from workflows.bill_schedules import BillSchedules
from workflows.billing_run import BillingRun
from workflows.credit_invoice import CreditInvoice
from workflows.draft_to_invoice import DraftToInvoice
from workflows.engine import Saga
from workflows.housekeeping import SealAuditTrail, SweepTerminated
from workflows.invoice_lifecycle import InvoiceLifecycle, TellInvoice
from workflows.milestone_to_invoice import MilestoneToInvoice
from workflows.opportunity_to_project import OpportunityToProject
from workflows.post_invoice import PostInvoice
from workflows.reconcile import Reconcile, ReconcileNightly, WatchConservation
from workflows.time_to_billing import ApprovedTimeToBilling
from workflows.watch import WatchRuns

SAGAS: tuple[type[Saga[Any]], ...] = (
    OpportunityToProject,
    BillingRun,
    MilestoneToInvoice,
    PostInvoice,
    TellInvoice,
    CreditInvoice,
)
WORKFLOWS: tuple[type, ...] = (
    *SAGAS,
    ApprovedTimeToBilling,
    AssembleInvoiceDrafts,
    Backfill,
    BillSchedules,
    DraftToInvoice,
    InvoiceLifecycle,
    Reconcile,
    ReconcileNightly,
    WatchConservation,
    SweepTerminated,
    SealAuditTrail,
    WatchRuns,
    JudgeServiceLevels,
    TellPeople,
)

PIVOTS = {saga.__name__: {step.name for step in saga.STEPS if step.pivot} for saga in SAGAS}
"""By workflow type: once one of these steps is done or unknown, there is only forward."""
LIVING: tuple[type, ...] = (ApprovedTimeToBilling, Backfill, DraftToInvoice, InvoiceLifecycle)
"""Live as long as what they look after: they can't wait for the build that began them to end."""
WATCHED = tuple(each.__name__ for each in WORKFLOWS)
"""The workflow types among whose runs the watch looks for such as are stuck."""
