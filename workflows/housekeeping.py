"""What runs on Schedules: the sweep of terminated sagas (DESIGN 3.9), the audit trail's seal."""

from temporalio import workflow

with workflow.unsafe.imports_passed_through():
    from canonical.activities import SEAL_AUDIT, SWEEP
    from canonical.saga import SealAudit, Sealed, Sweep, Swept

from datetime import timedelta

from workflows.options import STORE_RETRY


@workflow.defn
class SweepTerminated:
    """One sweep; runs never overlap."""

    @workflow.run
    async def run(self, sweep: Sweep) -> Swept:
        """Start every terminated saga again: to roll back, or forward past its pivot."""
        swept: Swept = await workflow.execute_activity(
            SWEEP.name,
            sweep,
            result_type=SWEEP.result,
            start_to_close_timeout=timedelta(minutes=4),
            retry_policy=STORE_RETRY,
            summary="Look for terminated sagas",
        )
        return swept


@workflow.defn
class SealAuditTrail:
    """One seal; its digest stays in Temporal's history, outside the database."""

    @workflow.run
    async def run(self, seal: SealAudit) -> Sealed:
        """Seal every chain that grew since the last seal."""
        sealed: Sealed = await workflow.execute_activity(
            SEAL_AUDIT.name,
            seal,
            result_type=SEAL_AUDIT.result,
            start_to_close_timeout=timedelta(minutes=4),
            retry_policy=STORE_RETRY,
            summary="Seal the audit trail",
        )
        return sealed
