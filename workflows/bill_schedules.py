"""BillSchedules: what contracts make due by themselves is handed over to drafting, once.

Trigger: a Schedule, every day; after an outage the next run catches up with all that fell due.
"""

from temporalio import workflow

with workflow.unsafe.imports_passed_through():
    from canonical import activities as ref
    from canonical.bill_schedules import (
        BilledSchedules,
        BillProject,
        BillSchedulesInput,
        ScheduledLines,
    )

from datetime import timedelta

from workflows.calls import call_store
from workflows.options import STORE_RETRY

LISTING_TIME = timedelta(minutes=5)


@workflow.defn
class BillSchedules:
    """Looks at every contract that has a schedule, one project after another."""

    @workflow.run
    async def run(self, wanted: BillSchedulesInput) -> BilledSchedules:
        """Hand over what fell due; a contract that contradicts itself holds up none other."""
        listed: ScheduledLines = await workflow.execute_activity(
            ref.LIST_SCHEDULES.name,
            wanted,
            result_type=ref.LIST_SCHEDULES.result,
            start_to_close_timeout=LISTING_TIME,
            retry_policy=STORE_RETRY,
            summary="Find the contracts that have a schedule",
        )
        fees = 0
        refused: list[str] = []
        for project in listed.projects:
            billed = await call_store(ref.BILL_SCHEDULE, BillProject(project=project))
            fees += billed.fees
            refused += billed.refused
        return BilledSchedules(fees=fees, refused=tuple(refused))
