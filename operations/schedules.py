"""The Schedules that every installation has, created where they are missing."""

import contextlib
from datetime import timedelta

from temporalio.client import (
    Client,
    Schedule,
    ScheduleActionStartWorkflow,
    ScheduleAlreadyRunningError,
    ScheduleIntervalSpec,
    ScheduleOverlapPolicy,
    SchedulePolicy,
    ScheduleSpec,
)

from canonical.bill_schedules import BillSchedulesInput
from canonical.draft_to_invoice import AssembleDrafts
from canonical.saga import SealAudit, Sweep
from operations.sagas import SAGA_QUEUE
from workflows.assemble_drafts import AssembleInvoiceDrafts
from workflows.bill_schedules import BillSchedules
from workflows.housekeeping import SealAuditTrail, SweepTerminated

SWEEP_EVERY = timedelta(minutes=5)
SEAL_EVERY = timedelta(hours=1)
ASSEMBLE_EVERY = timedelta(minutes=10)
BILL_EVERY = timedelta(hours=6)


async def ensure_schedules(client: Client) -> None:
    """Create the Schedules; one that exists is left as an operator set it."""
    sweep = ScheduleActionStartWorkflow(
        SweepTerminated.run,
        Sweep(),
        id="sweep-terminated-sagas",
        task_queue=SAGA_QUEUE,
        static_summary="Look for terminated sagas",
    )
    seal = ScheduleActionStartWorkflow(
        SealAuditTrail.run,
        SealAudit(),
        id="seal-audit-trail",
        task_queue=SAGA_QUEUE,
        static_summary="Seal the audit trail",
    )
    assemble = ScheduleActionStartWorkflow(
        AssembleInvoiceDrafts.run,
        AssembleDrafts(),
        id="assemble-invoice-drafts",
        task_queue=SAGA_QUEUE,
        static_summary="Make drafts of what is due",
    )
    bill = ScheduleActionStartWorkflow(
        BillSchedules.run,
        BillSchedulesInput(),
        id="bill-schedules",
        task_queue=SAGA_QUEUE,
        static_summary="Hand over what contracts make due",
    )
    for action, every in (
        (sweep, SWEEP_EVERY),
        (seal, SEAL_EVERY),
        (assemble, ASSEMBLE_EVERY),
        (bill, BILL_EVERY),
    ):
        schedule = Schedule(
            action=action,
            spec=ScheduleSpec(intervals=[ScheduleIntervalSpec(every=every)]),
            policy=SchedulePolicy(overlap=ScheduleOverlapPolicy.SKIP),
        )
        with contextlib.suppress(ScheduleAlreadyRunningError):
            await client.create_schedule(action.id, schedule)
