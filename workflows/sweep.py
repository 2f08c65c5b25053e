"""SweepTerminated: starts sagas again whose run was terminated (DESIGN 3.9), on a Schedule."""

from temporalio import workflow

with workflow.unsafe.imports_passed_through():
    from canonical.activities import SWEEP
    from canonical.saga import Sweep, Swept

from datetime import timedelta

from workflows.options import STORE_RETRY

SWEEP_SCHEDULE_ID = "sweep-terminated-sagas"
SWEEP_EVERY = timedelta(minutes=5)


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
