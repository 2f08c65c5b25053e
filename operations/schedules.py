"""The Schedules that every installation has, created where they are missing."""

import contextlib
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final

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

from canonical.alerts import JudgeRules, SendAlerts
from canonical.bill_schedules import BillSchedulesInput
from canonical.draft_to_invoice import AssembleDrafts
from canonical.model import CanonicalModel
from canonical.reconciliation import CheckConservation, ListDue
from canonical.saga import SealAudit, Sweep
from canonical.worklist import Watch
from operations.sagas import SAGA_QUEUE
from workflows.alerting import JudgeServiceLevels, TellPeople
from workflows.assemble_drafts import AssembleInvoiceDrafts
from workflows.bill_schedules import BillSchedules
from workflows.housekeeping import SealAuditTrail, SweepTerminated
from workflows.reconcile import ReconcileNightly, WatchConservation
from workflows.watch import WatchRuns


@dataclass(frozen=True)
class Regular:
    """A workflow that runs every so often; runs never overlap."""

    id: str
    run: Any
    """The workflow's `run`."""
    given: CanonicalModel
    every: timedelta
    summary: str


REGULAR: Final = (
    Regular(
        "sweep-terminated-sagas",
        SweepTerminated.run,
        Sweep(),
        timedelta(minutes=5),
        "Look for terminated sagas",
    ),
    Regular(
        "watch-runs",
        WatchRuns.run,
        Watch(),
        timedelta(minutes=5),
        "Look for runs that make no progress",
    ),
    Regular(
        "judge-service-levels",
        JudgeServiceLevels.run,
        JudgeRules(),
        timedelta(minutes=1),
        "Measure service levels",
    ),
    Regular(
        "tell-people",
        TellPeople.run,
        SendAlerts(),
        timedelta(minutes=1),
        "Tell people what waits",
    ),
    Regular(
        "seal-audit-trail",
        SealAuditTrail.run,
        SealAudit(),
        timedelta(hours=1),
        "Seal the audit trail",
    ),
    Regular(
        "reconcile-nightly",
        ReconcileNightly.run,
        ListDue(),
        timedelta(days=1),
        "Compare the systems",
    ),
    Regular(
        "watch-conservation",
        WatchConservation.run,
        CheckConservation(),
        timedelta(hours=1),
        "Check that the sums hold",
    ),
    Regular(
        "assemble-invoice-drafts",
        AssembleInvoiceDrafts.run,
        AssembleDrafts(),
        timedelta(minutes=10),
        "Make drafts of what is due",
    ),
    Regular(
        "bill-schedules",
        BillSchedules.run,
        BillSchedulesInput(),
        timedelta(hours=6),
        "Hand over what contracts make due",
    ),
)


async def ensure_schedules(client: Client) -> None:
    """Create the Schedules; one that exists is left as an operator set it."""
    for each in REGULAR:
        schedule = Schedule(
            action=ScheduleActionStartWorkflow(
                each.run,
                each.given,
                id=each.id,
                task_queue=SAGA_QUEUE,
                static_summary=each.summary,
            ),
            spec=ScheduleSpec(intervals=[ScheduleIntervalSpec(every=each.every)]),
            policy=SchedulePolicy(overlap=ScheduleOverlapPolicy.SKIP),
        )
        with contextlib.suppress(ScheduleAlreadyRunningError):
            await client.create_schedule(each.id, schedule)
