"""Time limits of the engine by name. Budgets and deadlines of steps come with the plan."""

from datetime import timedelta

from temporalio import workflow
from temporalio.common import Priority, RetryPolicy

with workflow.unsafe.imports_passed_through():
    from canonical.ids import is_backfilled

UNDO_PRIORITY = Priority(priority_key=1)
LIVE_PRIORITY = Priority(priority_key=2)
BACKFILL_PRIORITY = Priority(priority_key=5)


def priority_of(correlation_id: str) -> Priority:
    """Return the priority of what was asked for under a correlation id."""
    return BACKFILL_PRIORITY if is_backfilled(correlation_id) else LIVE_PRIORITY


STORE_ATTEMPT = timedelta(seconds=20)
"""Start-to-close of the engine's own activities, all short transactions."""
STORE_RETRY = RetryPolicy(
    initial_interval=timedelta(milliseconds=200), maximum_interval=timedelta(seconds=30)
)
"""They never park: without the store there is nobody to tell."""

STEP_BACKSTOP = timedelta(days=7)
"""Schedule-to-close of a step: counts queueing, so it only catches what nobody serves."""
STEP_RETRY = RetryPolicy(
    initial_interval=timedelta(seconds=1), maximum_interval=timedelta(seconds=60)
)
"""For lost attempts only: an attempt that answers says itself when to try again."""
STEP_HEARTBEAT = timedelta(seconds=10)
"""A killed worker's attempt is given up after this long."""

SLOW_RETRY_SPREAD = 0.25
"""Transient parks come back spread over this fraction of their interval (no stampede)."""
