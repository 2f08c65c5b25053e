"""The watch over runs: finds those that make no progress and wait for nobody (DESIGN 3.5, 3.9).

Temporal's search knows no run whose activity keeps failing (TEMPORAL.md, fact 5). So each round
lists what runs, asks a bounded number of runs how they are, and keeps one work item per run and
cause, which it closes once the cause is gone.
"""

import asyncio
import hashlib
from collections.abc import AsyncIterator, Callable, Collection, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Final

import structlog
from google.protobuf.timestamp_pb2 import Timestamp
from temporalio import activity
from temporalio.api.common.v1 import WorkflowExecution
from temporalio.api.enums.v1 import (
    PendingActivityState,
    PendingWorkflowTaskState,
    WorkflowExecutionStatus,
)
from temporalio.api.failure.v1 import Failure
from temporalio.api.workflow.v1 import PendingActivityInfo, PendingWorkflowTaskInfo
from temporalio.api.workflowservice.v1 import (
    DescribeWorkflowExecutionRequest,
    DescribeWorkflowExecutionResponse,
    ListWorkflowExecutionsRequest,
)
from temporalio.client import Client
from temporalio.service import RPCError, RPCStatusCode

from activities.registration import implements
from canonical import activities as ref
from canonical.failures import FailureDetail, FailureKind
from canonical.saga import CloseWorkItem, OpenWorkItem, SagaPlan, WorkItem, WorkItemKind
from canonical.worklist import (
    STUCK_ID,
    PendingActivity,
    PendingTask,
    RunSeen,
    Stuck,
    StuckCause,
    Watch,
    Watched,
)
from policies.bundle import Bundle
from policies.stuck import StuckRules, stuck_of
from store import Store
from store.watching import Length, Standing

PAGE: Final = 1_000
AT_ONCE: Final = 10
"""Runs asked side by side."""
FAILURE_MAX: Final = 400
HEARTBEAT_SECONDS: Final = 5.0

_log = structlog.get_logger("dealthread.watch")


def _now() -> datetime:
    return datetime.now(UTC)


@dataclass(frozen=True)
class WatchActivities:
    """Looks at runs, and opens and closes work items about them."""

    store: Store
    client: Client
    bundle: Callable[[str], Bundle]
    workflows: Collection[str]
    """The workflow types that are watched."""
    sagas: Collection[str]
    """Those of them that always end by themselves or wait for a person."""
    now: Callable[[], datetime] = field(default=_now)

    @implements(ref.WATCH_RUNS)
    async def watch_runs(self, _request: Watch) -> Watched:
        """Look at the runs whose turn it is. Safe to repeat: what is open is not opened twice."""
        async with _heartbeats():
            return await self._round(self.bundle("").policies.stuck, self.now())

    async def _round(self, rules: StuckRules, now: datetime) -> Watched:
        before = now - timedelta(seconds=rules.young_seconds)
        running, unlisted = await self._running(before, rules.pages)
        chosen = await self.store.watching.next(running, before=before, limit=rules.looks)
        standings = await self.store.watching.standings(chosen)
        runs = await self._looked_at(chosen, standings, now)
        found = {
            run.workflow_id: {each.cause: each for each in stuck_of(run, rules, now)}
            for run in runs
        }
        aged = await self.store.worklist.aged_holds(now - timedelta(seconds=rules.hold_seconds))
        for held in aged:
            found[held] = {StuckCause.HOLD_AGED: _aged(rules, now)}
        open_ = await self.store.watching.open_items([*found])
        closed = await self._close(open_, found)
        known = {(item.workflow_id, item.failure.reason) for item in open_}
        opened = []
        for workflow_id, causes in found.items():
            for cause, stuck in causes.items():
                if (workflow_id, cause.value) not in known:
                    about = standings.get(workflow_id)
                    opened.append(await self._open(workflow_id, stuck, about, rules, now))
        over = [run for run in runs if run.status != "running" and not run.unfinished]
        await self.store.watching.forget(over, now)
        return Watched(
            running=len(running),
            looked=len(runs),
            opened=tuple(opened),
            closed=tuple(closed),
            unlisted=unlisted,
        )

    # Looking.

    async def _running(self, before: datetime, pages: int) -> tuple[list[str], bool]:
        """List what runs and is old enough, and say whether there is more than the pages hold."""
        names = ", ".join(f"'{name}'" for name in sorted(self.workflows))
        query = (
            f"ExecutionStatus = 'Running' AND StartTime < '{before.isoformat()}' "
            f"AND WorkflowType IN ({names})"
        )
        found: list[str] = []
        token = b""
        for _ in range(pages):
            # The SDK's own listing fails at a paused run (TEMPORAL.md, P4).
            answer = await self.client.workflow_service.list_workflow_executions(
                ListWorkflowExecutionsRequest(
                    namespace=self.client.namespace,
                    page_size=PAGE,
                    next_page_token=token,
                    query=query,
                )
            )
            found += [each.execution.workflow_id for each in answer.executions]
            token = answer.next_page_token
            if not token:
                return found, False
        _log.warning("more_runs_than_listed", listed=len(found), pages=pages)
        return found, True

    async def _looked_at(
        self, chosen: Collection[str], standings: Mapping[str, Standing], now: datetime
    ) -> list[RunSeen]:
        """Ask each run how it is; one that can't be asked now has its turn again."""
        gate = asyncio.Semaphore(AT_ONCE)

        async def look(workflow_id: str) -> RunSeen | None:
            async with gate:
                return await self._look(workflow_id, standings[workflow_id], now)

        seen = [run for run in await asyncio.gather(*map(look, chosen)) if run is not None]
        since = await self.store.watching.seen(
            {run.workflow_id: Length(run.run_id, run.history_length) for run in seen}, now
        )
        return [run.model_copy(update={"unchanged_since": since[run.workflow_id]}) for run in seen]

    async def _look(self, workflow_id: str, standing: Standing, now: datetime) -> RunSeen | None:
        request = DescribeWorkflowExecutionRequest(
            namespace=self.client.namespace, execution=WorkflowExecution(workflow_id=workflow_id)
        )
        try:
            answer = await self.client.workflow_service.describe_workflow_execution(request)
        except RPCError as error:
            if error.status is RPCStatusCode.NOT_FOUND:
                return _gone(workflow_id, standing, now)
            _log.warning("run_not_seen", workflow=workflow_id, error=str(error))
            return None
        return await self._seen(answer, standing, now)

    async def _seen(
        self, answer: DescribeWorkflowExecutionResponse, standing: Standing, now: datetime
    ) -> RunSeen:
        info = answer.workflow_execution_info
        has_task = answer.HasField("pending_workflow_task")
        return RunSeen(
            workflow_id=standing.workflow_id,
            run_id=info.execution.run_id,
            saga=info.type.name,
            status=_status(info.status),
            closed_at=_time(info.close_time),
            queue=info.task_queue,
            history_length=info.history_length,
            unchanged_since=now,
            activities=tuple(
                [
                    await self._activity(each)
                    for each in answer.pending_activities
                    if not each.paused
                ]
            ),
            task=_task(answer.pending_workflow_task) if has_task else None,
            children=len(answer.pending_children),
            is_saga=info.type.name in self.sagas,
            unfinished=standing.unfinished,
            undoing_since=standing.undoing_since,
            waits_for_person=standing.waits_for_person,
        )

    async def _activity(self, each: PendingActivityInfo) -> PendingActivity:
        options = each.activity_options
        expires = _time(each.expiration_time)
        backstop = options.schedule_to_close_timeout.ToTimedelta()
        return PendingActivity(
            name=each.activity_type.name,
            attempt=each.attempt,
            scheduled_at=_time(each.scheduled_time),
            started=each.state != PendingActivityState.PENDING_ACTIVITY_STATE_SCHEDULED,
            queue=options.task_queue.name,
            failure=await self._said(each.last_failure) if each.HasField("last_failure") else "",
            first_scheduled_at=expires - backstop if expires and backstop else None,
        )

    async def _said(self, failure: Failure) -> str:
        """Return what a failure says, decoded where there is a codec."""
        decoded = Failure()
        decoded.CopyFrom(failure)
        error = await self.client.data_converter.decode_failure(decoded)
        return str(error)[:FAILURE_MAX]

    # Telling.

    async def _close(
        self, open_: Collection[WorkItem], found: Mapping[str, Mapping[StuckCause, Stuck]]
    ) -> list[str]:
        gone = [
            item for item in open_ if item.failure.reason not in found.get(item.workflow_id, {})
        ]
        for item in gone:
            how = f"{item.failure.reason} is over"
            closing = CloseWorkItem(work_item_id=item.id, park=item.park, how=how)
            await self.store.work_items.close(closing)
        return [item.id for item in gone]

    async def _open(
        self,
        workflow_id: str,
        stuck: Stuck,
        standing: Standing | None,
        rules: StuckRules,
        now: datetime,
    ) -> str:
        plan = (standing.plan if standing else None) or SagaPlan(bundle="", title="")
        generation = standing.generation if standing else 0
        key = f"{workflow_id}#{stuck.cause}"
        digest = hashlib.sha256(f"{key}@{now.timestamp()}".encode()).hexdigest()[:16]
        item = WorkItem(
            id=f"{STUCK_ID}{digest}",
            workflow_id=workflow_id,
            generation=generation,
            step=stuck.where,
            key=key,
            park=0,
            kind=WorkItemKind.STUCK,
            failure=FailureDetail(
                kind=FailureKind.BUDGET_SPENT, reason=stuck.cause, message=stuck.message
            ),
            title=plan.title,
            client_id=plan.client_id,
            project_code=plan.project_code,
            legal_entities=plan.legal_entities,
            amount=plan.amount,
            opened_at=now,
            respond_by=now + timedelta(seconds=rules.respond_seconds),
        )
        await self.store.work_items.open(OpenWorkItem(item=item))
        return item.id


def _status(status: "WorkflowExecutionStatus.ValueType") -> str:
    name = WorkflowExecutionStatus.Name(status)
    return name.removeprefix("WORKFLOW_EXECUTION_STATUS_").lower()


def _task(task: PendingWorkflowTaskInfo) -> PendingTask:
    return PendingTask(
        attempt=task.attempt,
        scheduled_at=_time(task.scheduled_time),
        started=task.state == PendingWorkflowTaskState.PENDING_WORKFLOW_TASK_STATE_STARTED,
        first_scheduled_at=_time(task.original_scheduled_time),
    )


def _gone(workflow_id: str, standing: Standing, now: datetime) -> RunSeen:
    return RunSeen(
        workflow_id=workflow_id,
        run_id="",
        saga=standing.saga,
        status="gone",
        closed_at=standing.opened_at,
        unchanged_since=now,
        unfinished=standing.unfinished,
    )


def _aged(rules: StuckRules, now: datetime) -> Stuck:
    days = int(rules.hold_seconds // 86_400)
    return Stuck(
        cause=StuckCause.HOLD_AGED,
        where="hold",
        message=f"Entries have been held for more than {days} days: what they wait for is on the "
        "worklist under this id.",
        since=now,
    )


def _time(stamp: Timestamp) -> datetime | None:
    return stamp.ToDatetime(tzinfo=UTC) if stamp.seconds else None


@asynccontextmanager
async def _heartbeats() -> AsyncIterator[None]:
    """Tell Temporal that the round goes on, until the block ends."""

    async def beat() -> None:
        while activity.in_activity():
            activity.heartbeat()
            await asyncio.sleep(HEARTBEAT_SECONDS)

    beating = asyncio.create_task(beat())
    try:
        yield
    finally:
        beating.cancel()
