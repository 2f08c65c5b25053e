"""Typed ids, workflow ids and the keys that make every write repeatable (DESIGN 3.1)."""

import hashlib
import re
from enum import StrEnum
from typing import NewType

WorkflowId = NewType("WorkflowId", str)
StepKey = NewType("StepKey", str)
ExternalId = NewType("ExternalId", str)

VENDOR_ID_PATTERN = re.compile(r"[A-Za-z0-9_.\-]{1,64}")
"""What an id from a vendor may look like before it becomes part of a workflow id or a URL."""


class Role(StrEnum):
    """What a connected system is to Dealthread."""

    CRM = "crm"
    PSA = "psa"
    ERP = "erp"
    BILLING_ENGINE = "billing_engine"
    HCM = "hcm"


def opportunity_to_project_id(crm: str, opportunity_id: str) -> WorkflowId:
    """Return the workflow id of one deal; the same deal always has the same one."""
    return WorkflowId(f"opportunity-to-project/{crm}/{opportunity_id}")


def time_to_billing_id(psa: str, project_id: str, period: str) -> WorkflowId:
    """Return the workflow id of one project's billing period; `period` is `YYYY-MM`."""
    return WorkflowId(f"time-to-billing/{psa}/{project_id}/{period}")


def billing_run_id(psa: str, project_id: str, period: str, number: int) -> WorkflowId:
    """Return the workflow id of one billing run; the store counts `number` from 1."""
    return WorkflowId(f"billing-run/{psa}/{project_id}/{period}/{number}")


def milestone_to_invoice_id(psa: str, milestone_id: str) -> WorkflowId:
    """Return the workflow id of one billing milestone."""
    return WorkflowId(f"milestone-to-invoice/{psa}/{milestone_id}")


def posting_id(draft: str, posting: int) -> WorkflowId:
    """Return the workflow id of one release of a draft; the draft counts `posting` from 1."""
    return WorkflowId(f"invoice-posting/{draft.removeprefix('invoice-draft/')}/{posting}")


def invoice_id(connection: str, record_id: str) -> WorkflowId:
    """Return the workflow id of an issued invoice's life."""
    return WorkflowId(f"invoice/{connection}/{record_id}")


def look_id(connection: str, record_id: str, number: int) -> WorkflowId:
    """Return the workflow id of one look at an invoice; the store counts `number` from 1."""
    return WorkflowId(f"invoice-look/{connection}/{record_id}/{number}")


def credit_id(connection: str, record_id: str, number: int) -> WorkflowId:
    """Return the workflow id of one credit of an invoice; the store counts `number` from 1."""
    return WorkflowId(f"credit/{connection}/{record_id}/{number}")


def explained_credit_id(connection: str, record_id: str, native: str) -> WorkflowId:
    """Return the workflow id of a credit that the issuing system made by itself, by its id there.

    `undone` stands for the voiding or deletion of the whole invoice.
    """
    return WorkflowId(f"credit/{connection}/{record_id}/native-{native}")


BACKFILL = "backfill/"
"""How the ids of backfills begin, and the correlation ids of what they start."""


def backfill_id(kind: str, name: str) -> WorkflowId:
    """Return the workflow id of a backfill; the store counts `name` from 1 where none is given."""
    return WorkflowId(f"{BACKFILL}{kind}/{name}")


def is_backfilled(correlation_id: str) -> bool:
    """Tell whether a backfill asked for it: it yields to what anybody else asks for."""
    return correlation_id.startswith(BACKFILL)


def reconcile_id(psa: str, legal_entity: str, period: str) -> WorkflowId:
    """Return the workflow id of the reconciliation of a legal entity and billing period.

    Without a legal entity it is the conservation check, over the whole store.
    """
    if not legal_entity:
        return WorkflowId("watch-conservation")
    return WorkflowId(f"reconcile/{psa or 'psa'}/{legal_entity}/{period or 'any'}")


def step_key(workflow_id: str, generation: int, step: str, item: str = "") -> StepKey:
    """Return the key of one step: the same over retries, worker crashes and resets."""
    suffix = f":{item}" if item else ""
    return StepKey(f"{workflow_id}/{generation}:{step}{suffix}")


def client_key(crm: str, account_id: str) -> StepKey:
    """Return the key of the shared records of one client, whichever deal provisions them."""
    return StepKey(f"client/{crm}/{account_id}")


def external_id(key: str) -> ExternalId:
    """Return `key` as an external id that every vendor accepts: letters, digits, `_`, `-`.

    A readable tail plus 64 bits of SHA-256 of the whole key, at most 60 characters
    (NetSuite: letters, digits, `_` and `-` only; Kantata and Salesforce: text of 255).
    """
    tail = re.sub(r"[^A-Za-z0-9]+", "-", key).strip("-")[-40:].strip("-")
    return ExternalId(f"dt-{tail}-{hashlib.sha256(key.encode()).hexdigest()[:16]}")
