"""The sweep over terminated sagas: no orphan stays unnoticed (DESIGN 3.9)."""

import json
from collections.abc import Callable
from dataclasses import dataclass

from temporalio.client import Client, WorkflowExecutionStatus
from temporalio.common import Priority, WorkflowIDConflictPolicy, WorkflowIDReusePolicy
from temporalio.service import RPCError, RPCStatusCode

from activities.registration import implements
from canonical import activities as ref
from canonical.saga import Sweep, SweepMode, Swept, UnfinishedSaga
from store import Store

ENDED_WITHOUT_OUTCOME = {
    WorkflowExecutionStatus.TERMINATED,
    WorkflowExecutionStatus.TIMED_OUT,
    WorkflowExecutionStatus.FAILED,
    WorkflowExecutionStatus.CANCELED,
}
"""A reset leaves its old run terminated; the latest run is what is looked at."""


@dataclass(frozen=True)
class SweepActivities:
    """Finds sagas whose latest run ended without an outcome and starts them again."""

    store: Store
    client: Client
    task_queue: str
    pivots: dict[str, set[str]]
    """By workflow type: the steps after which there is only forward."""
    priority: Callable[[str], Priority]
    """Of a saga, by its correlation id: what a backfill began stays behind live work."""

    @implements(ref.SWEEP)
    async def sweep(self, request: Sweep) -> Swept:
        """Start terminated sagas again; running and completed ones are left alone.

        Idempotent: an id that already runs again is adopted, not started twice.
        """
        started: dict[SweepMode, list[str]] = {mode: [] for mode in SweepMode}
        after = ""
        while page := await self.store.sagas.unfinished(request.limit, after):
            for saga in page:
                if await self._ended(saga.workflow_id):
                    started[await self._start(saga)].append(saga.workflow_id)
            after = page[-1].workflow_id
        return Swept(
            rolled_back=tuple(started[SweepMode.ROLL_BACK]),
            forward=tuple(started[SweepMode.FORWARD]),
        )

    async def _ended(self, workflow_id: str) -> bool:
        try:
            described = await self.client.get_workflow_handle(workflow_id).describe()
        except RPCError as error:
            if error.status is RPCStatusCode.NOT_FOUND:
                return True  # retention is over; the ledger is enough
            raise
        return described.status in ENDED_WITHOUT_OUTCOME

    async def _start(self, saga: UnfinishedSaga) -> SweepMode:
        past_pivot = self.pivots.get(saga.saga, set()) & set(saga.settled_steps)
        mode = SweepMode.FORWARD if past_pivot else SweepMode.ROLL_BACK
        given = json.loads(saga.input_json)
        await self.client.start_workflow(
            saga.saga,
            {**given, "sweep": mode},
            id=saga.workflow_id,
            task_queue=self.task_queue,
            id_reuse_policy=WorkflowIDReusePolicy.ALLOW_DUPLICATE,
            id_conflict_policy=WorkflowIDConflictPolicy.USE_EXISTING,
            static_summary=f"Swept after termination: {mode}",
            priority=self.priority(given.get("correlation_id") or ""),
        )
        return mode
