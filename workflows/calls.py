"""The one place that executes an activity by its reference, and reads how it failed."""

from typing import TypeVar

from temporalio import workflow
from temporalio.common import Priority
from temporalio.exceptions import ActivityError, ApplicationError

with workflow.unsafe.imports_passed_through():
    from canonical.activities import ActivityRef
    from canonical.failures import FailureDetail, FailureKind
    from canonical.model import CanonicalModel
    from canonical.saga import Route

from datetime import timedelta

from workflows import options

Request = TypeVar("Request", bound=CanonicalModel)
Result = TypeVar("Result", bound=CanonicalModel | None)

StepError = (ActivityError, ApplicationError)
"""What a failed activity raises; a local one is not wrapped in ActivityError (SDK 1.35)."""


async def call_store(ref: ActivityRef[Request, Result], request: Request) -> Result:
    """Run one of the engine's own activities beside the workflow, retried for ever."""
    result: Result = await workflow.execute_local_activity(
        ref.name,
        request,
        result_type=ref.result,
        start_to_close_timeout=options.STORE_ATTEMPT,
        retry_policy=options.STORE_RETRY,
    )
    return result


async def call_vendor(
    ref: ActivityRef[Request, Result],
    request: Request,
    route: Route,
    summary: str,
    priority: Priority | None = None,
) -> Result:
    """Run a step's activity on its connection's queue."""
    result: Result = await workflow.execute_activity(
        ref.name,
        request,
        result_type=ref.result,
        task_queue=route.queue,
        start_to_close_timeout=timedelta(seconds=route.attempt_seconds),
        schedule_to_close_timeout=options.STEP_BACKSTOP,
        heartbeat_timeout=options.STEP_HEARTBEAT,
        retry_policy=options.STEP_RETRY,
        cancellation_type=workflow.ActivityCancellationType.ABANDON,
        summary=summary,
        priority=priority or own_priority(),
    )
    return result


def own_priority() -> Priority:
    """Return the priority of this workflow's steps: what a backfill started lets others first."""
    own = workflow.info().priority
    return own if own.priority_key is not None else options.LIVE_PRIORITY


def failure_of(error: BaseException) -> FailureDetail:
    """Return what `activities.failures` wrote into the error, or a description of the error.

    An attempt that ended without saying anything (lost worker, time-out) leaves its outcome
    unknown.
    """
    cause = error.cause if isinstance(error, ActivityError) else error
    if isinstance(cause, ApplicationError) and cause.details:
        return FailureDetail.model_validate(cause.details[0])
    return FailureDetail(
        kind=FailureKind.BUDGET_SPENT,
        reason="no_answer",
        message=str(cause or error)[:2000],
        outcome_unknown=True,
    )
