"""All workflows of Dealthread. The fault matrix, the sweep and the worker read this table."""

from typing import Any

from workflows.billing_run import BillingRun
from workflows.engine import Saga
from workflows.housekeeping import SealAuditTrail, SweepTerminated
from workflows.opportunity_to_project import OpportunityToProject
from workflows.time_to_billing import ApprovedTimeToBilling

SAGAS: tuple[type[Saga[Any]], ...] = (OpportunityToProject, BillingRun)
WORKFLOWS: tuple[type, ...] = (*SAGAS, ApprovedTimeToBilling, SweepTerminated, SealAuditTrail)

PIVOTS = {saga.__name__: {step.name for step in saga.STEPS if step.pivot} for saga in SAGAS}
"""By workflow type: once one of these steps is done or unknown, there is only forward."""
