"""Carries a saga's correlation id on, to its activities and children, beside what they are asked.

Whoever starts a workflow from outside gives it the search attribute `CorrelationId`. Activities get
the id as a header, so that no request needs a field for it; children get the attribute. A replay
compares neither.
"""

from collections.abc import Mapping
from typing import Any, Final

from temporalio import workflow
from temporalio.api.common.v1 import Payload
from temporalio.common import SearchAttributePair, TypedSearchAttributes
from temporalio.converter import PayloadConverter
from temporalio.worker import (
    StartActivityInput,
    StartChildWorkflowInput,
    StartLocalActivityInput,
    WorkflowInboundInterceptor,
    WorkflowOutboundInterceptor,
)

from workflows.board import CORRELATION_ID

HEADER: Final = "dealthread-correlation-id"


def correlation_of(headers: Mapping[str, Payload]) -> str:
    """Return the correlation id that headers carry; empty: none."""
    payload = headers.get(HEADER)
    return "" if payload is None else PayloadConverter.default.from_payload(payload, str)


class CorrelatedWorkflow(WorkflowInboundInterceptor):
    """Sees to it that what a workflow starts carries its correlation id."""

    def init(self, outbound: WorkflowOutboundInterceptor) -> None:
        """Come between the workflow and what it starts."""
        super().init(_Outbound(outbound))


class _Outbound(WorkflowOutboundInterceptor):
    def start_activity(self, input: StartActivityInput) -> workflow.ActivityHandle[Any]:  # noqa: A002
        input.headers = _correlated(input.headers)
        return super().start_activity(input)

    def start_local_activity(
        self,
        input: StartLocalActivityInput,  # noqa: A002
    ) -> workflow.ActivityHandle[Any]:
        input.headers = _correlated(input.headers)
        return super().start_local_activity(input)

    async def start_child_workflow(
        self,
        input: StartChildWorkflowInput,  # noqa: A002
    ) -> workflow.ChildWorkflowHandle[Any, Any]:
        given = input.search_attributes
        if given is None or isinstance(given, TypedSearchAttributes):
            own = SearchAttributePair(CORRELATION_ID, _own())
            kept = [pair for pair in given or () if pair.key != CORRELATION_ID]
            input.search_attributes = TypedSearchAttributes([*kept, own])
        return await super().start_child_workflow(input)


def _own() -> str:
    """Return this workflow's correlation id; what nobody gave one is found by its own id."""
    info = workflow.info()
    return info.typed_search_attributes.get(CORRELATION_ID) or info.workflow_id


def _correlated(headers: Mapping[str, Payload]) -> dict[str, Payload]:
    return {**headers, HEADER: PayloadConverter.default.to_payload(_own())}
