"""The work item about tax that an issuing system made otherwise than the draft expected.

Its tax is final and nothing waits for it: a person looks why, and accepts it with a reason.
"""

import hashlib
from datetime import datetime, timedelta

from temporalio import workflow

with workflow.unsafe.imports_passed_through():
    from canonical.draft_to_invoice import Posted, PostInvoicePlan
    from canonical.failures import FailureDetail, FailureKind
    from canonical.ids import invoice_id
    from canonical.money import Money
    from canonical.saga import WorkItem, WorkItemKind

REASON = "tax_differs"
STEP = "accept_tax"
"""What a person does about it, as the work item names it."""


def tax_difference(
    plan: PostInvoicePlan, posted: Posted, expected: Money, now: datetime
) -> WorkItem:
    """Return the work item, one for each invoice: opened again, it is the same."""
    record = posted.invoice
    invoice = invoice_id(record.system, record.id)
    key = f"{invoice}/tax"
    difference = Money(amount=posted.tax.amount - expected.amount, currency=expected.currency)
    return WorkItem(
        id=f"WI-tax-{hashlib.sha256(key.encode()).hexdigest()[:12]}",
        workflow_id=invoice,
        generation=1,
        step=STEP,
        key=key,
        park=1,
        kind=WorkItemKind.DIFFERENCE,
        failure=FailureDetail(
            kind=FailureKind.REJECTED,
            reason=REASON,
            message=(
                f"{record.system} made {posted.tax} of tax on invoice {posted.number}, and "
                f"{expected} was expected on {posted.net} net. Its tax is final. Where it is "
                "wrong, correct the tax code or the exemption there and credit the invoice; where "
                "it is right, correct the expected rate in the policy. Then accept it: starter.py "
                f"invoice accept-tax {record.system}/{record.id} --because REASON --as NAME."
            ),
            system=record.system,
        ),
        title=f"Tax of invoice {posted.number}",
        client_id=plan.client_id,
        project_code=plan.project_code,
        legal_entities=plan.legal_entities,
        amount=str(difference),
        connection=record.system,
        opened_at=now,
        respond_by=now + timedelta(seconds=plan.routes[plan.issuer].respond_seconds),
    )
