"""The watch over runs, by a Schedule: what is stuck gets a work item, and loses it by itself."""

from temporalio import workflow

with workflow.unsafe.imports_passed_through():
    from canonical.activities import WATCH_RUNS
    from canonical.worklist import Watch, Watched

from datetime import timedelta

from workflows.options import STORE_RETRY

ROUND_TIME = timedelta(minutes=4)
ROUND_HEARTBEAT = timedelta(seconds=30)


@workflow.defn
class WatchRuns:
    """One round; rounds never overlap."""

    @workflow.run
    async def run(self, watch: Watch) -> Watched:
        """Look at the runs whose turn it is, and keep their work items."""
        watched: Watched = await workflow.execute_activity(
            WATCH_RUNS.name,
            watch,
            result_type=WATCH_RUNS.result,
            start_to_close_timeout=ROUND_TIME,
            heartbeat_timeout=ROUND_HEARTBEAT,
            retry_policy=STORE_RETRY,
            summary="Look for runs that make no progress",
        )
        return watched
