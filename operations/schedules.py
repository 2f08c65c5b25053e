"""The Schedules that every installation has: sweep and seal. Created where they are missing."""

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

from canonical.saga import SealAudit, Sweep
from operations.sagas import SAGA_QUEUE
from workflows.housekeeping import SealAuditTrail, SweepTerminated

SWEEP_EVERY = timedelta(minutes=5)
SEAL_EVERY = timedelta(hours=1)


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
    for action, every in ((sweep, SWEEP_EVERY), (seal, SEAL_EVERY)):
        schedule = Schedule(
            action=action,
            spec=ScheduleSpec(intervals=[ScheduleIntervalSpec(every=every)]),
            policy=SchedulePolicy(overlap=ScheduleOverlapPolicy.SKIP),
        )
        with contextlib.suppress(ScheduleAlreadyRunningError):
            await client.create_schedule(action.id, schedule)
