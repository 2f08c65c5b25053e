"""What stands around every call of a Temporal client and every activity: traces and log context."""

from typing import Any

import structlog
from temporalio import activity
from temporalio.client import Interceptor as ClientInterceptor
from temporalio.worker import (
    ActivityInboundInterceptor,
    ExecuteActivityInput,
    Interceptor,
    WorkflowInterceptorClassInput,
)

from operations.config import Config
from workflows.correlation import CorrelatedWorkflow, correlation_of


class CorrelatedWork(ClientInterceptor, Interceptor):
    """Gives each log line of an activity the correlation id, the workflow and the step.

    A client's interceptors are also its workers': that is all that it does on the client's side.
    """

    def intercept_activity(self, next: ActivityInboundInterceptor) -> ActivityInboundInterceptor:  # noqa: A002
        """Come before each activity."""
        return _CorrelatedActivity(next)

    def workflow_interceptor_class(
        self,
        input: WorkflowInterceptorClassInput,  # noqa: A002
    ) -> type[CorrelatedWorkflow]:
        """Return what passes the id on from workflows."""
        del input
        return CorrelatedWorkflow


class _CorrelatedActivity(ActivityInboundInterceptor):
    async def execute_activity(self, input: ExecuteActivityInput) -> Any:  # noqa: A002, ANN401
        info = activity.info()
        with structlog.contextvars.bound_contextvars(
            correlation_id=correlation_of(input.headers) or info.workflow_id,
            workflow_id=info.workflow_id,
            step=info.activity_type,
            activity_attempt=info.attempt,
        ):
            return await super().execute_activity(input)


def temporal_interceptors(config: Config) -> list[ClientInterceptor]:
    """Return what a client of ours is connected with; spans only where they are exported."""
    correlated = CorrelatedWork()
    if config.telemetry.otlp_endpoint is None:
        return [correlated]
    from temporalio.contrib.opentelemetry import TracingInterceptor  # it loads all of the SDK

    return [TracingInterceptor(), correlated]
