"""Sends signals to workflows, starting those that do not run (signal-with-start)."""

from collections.abc import Sequence
from datetime import timedelta
from typing import Any, Final, Protocol

from temporalio.client import Client
from temporalio.common import (
    TypedSearchAttributes,
    WorkflowIDConflictPolicy,
    WorkflowIDReusePolicy,
)
from temporalio.service import RPCError, RPCStatusCode

from gateway.routing import Target
from workflows.options import LIVE_PRIORITY

SEND_WITHIN: Final = timedelta(seconds=5)
AWAY: Final = frozenset(
    {
        RPCStatusCode.UNAVAILABLE,
        RPCStatusCode.DEADLINE_EXCEEDED,
        RPCStatusCode.RESOURCE_EXHAUSTED,
        RPCStatusCode.CANCELLED,
        RPCStatusCode.UNAUTHENTICATED,
        RPCStatusCode.PERMISSION_DENIED,
    }
)
"""What says nothing about the event: all others would fare the same."""


class ServerAway(Exception):
    """Temporal does not answer, is too busy, or refuses us altogether: all events wait."""


class NotSent(Exception):
    """Temporal refused this one signal."""


class Sender(Protocol):
    """Sends one signal."""

    async def send(self, target: Target, ids: Sequence[str], correlation_id: str) -> None:
        """Signal a workflow, and start it where it does not run.

        Raises:
            ServerAway: nobody gets signals now.
            NotSent: this one is refused.
        """


class TemporalSender:
    """Sends through a Temporal client."""

    def __init__(self, client: Client) -> None:
        self._client = client

    async def send(self, target: Target, ids: Sequence[str], correlation_id: str) -> None:
        """Signal-with-start; see `Sender`."""
        signal: dict[str, Any] = {}
        if target.message is not None:
            signal = {
                "start_signal": target.signal,
                "start_signal_args": [target.message(ids, correlation_id)],
            }
        try:
            await self._client.start_workflow(
                target.workflow,
                target.start,
                id=target.workflow_id,
                task_queue=target.task_queue,
                id_reuse_policy=WorkflowIDReusePolicy.ALLOW_DUPLICATE,
                id_conflict_policy=WorkflowIDConflictPolicy.USE_EXISTING,
                static_summary=target.summary or None,
                search_attributes=TypedSearchAttributes(list(target.search_attributes)),
                priority=LIVE_PRIORITY,
                rpc_timeout=SEND_WITHIN,
                **signal,
            )
        except RPCError as error:
            if error.status in AWAY:
                raise ServerAway(error.message) from error
            raise NotSent(error.message) from error
