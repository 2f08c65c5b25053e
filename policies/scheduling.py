"""From an occurrence of a schedule to what is handed over to drafting."""

from datetime import datetime
from decimal import Decimal

from canonical.engagement import ContractLine, Engagement
from canonical.fees import Fee, FeeSource
from canonical.schedule_facts import ScheduledLine
from policies.billing_schema import EntityBilling
from policies.periods import billing_period


def fee_of_line(
    line: ScheduledLine,
    of: ContractLine,
    engagement: Engagement,
    now: datetime,
    terms: EntityBilling,
) -> Fee:
    """Return a scheduled line as a fee; its key is the occurrence's, for good."""
    if line.quantity is None or line.unit_price is None:
        quantity, price = Decimal(1), line.net.amount
    else:
        quantity, price = line.quantity, line.unit_price
    return Fee(
        source=FeeSource.SCHEDULE,
        item=f"{engagement.id}/{of.ref}/{line.item}",
        engagement=engagement.id,
        line=of.ref,
        psa=engagement.psa,
        project_id=engagement.project_id,
        client_id=engagement.client_id,
        amount=line.net,
        period=billing_period(now, terms),
        quantity=quantity,
        unit_price=price,
        narrative=line.narrative,
        start=line.service_start,
        end=line.service_end,
        on=line.invoice_on,
        evidence=line.model_dump_json(),
    )
