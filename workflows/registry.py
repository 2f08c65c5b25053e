"""All workflows of Dealthread. The fault matrix, the sweep and the worker read this table."""

from typing import Any

from workflows.assemble_drafts import AssembleInvoiceDrafts
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
from workflows.time_to_billing import ApprovedTimeToBilling

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
    BillSchedules,
    DraftToInvoice,
    InvoiceLifecycle,
    SweepTerminated,
    SealAuditTrail,
)

PIVOTS = {saga.__name__: {step.name for step in saga.STEPS if step.pivot} for saga in SAGAS}
"""By workflow type: once one of these steps is done or unknown, there is only forward."""
