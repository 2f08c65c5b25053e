"""Runs the workers of one process: which queues, how many slots; prepares the namespace."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Coroutine, Iterator
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import cast

import structlog
from temporalio.api.enums.v1 import IndexedValueType, TaskQueueType
from temporalio.api.operatorservice.v1 import AddSearchAttributesRequest
from temporalio.api.taskqueue.v1 import RateLimit
from temporalio.api.workflowservice.v1 import UpdateTaskQueueConfigRequest
from temporalio.client import Client
from temporalio.service import RPCError, RPCStatusCode
from temporalio.worker import Worker
from temporalio.worker.workflow_sandbox import SandboxedWorkflowRunner, SandboxRestrictions

from activities.registration import implementations
from activities.sweep import SweepActivities
from activities.watching import WatchActivities
from operations.alerts import alerting_of
from operations.budgets import Shares
from operations.composition import House, vendor_queue
from operations.config import Config
from operations.sagas import SAGA_QUEUE
from operations.schedules import ensure_schedules
from operations.versioning import deployment
from workflows.board import SEARCH_ATTRIBUTES
from workflows.options import priority_of
from workflows.registry import PIVOTS, WATCHED, WORKFLOWS

STICKY_SECONDS = 2
"""How long a killed worker's sagas wait before another worker takes them from the start."""

_log = structlog.get_logger("dealthread.worker")


def workflow_runner() -> SandboxedWorkflowRunner:
    """Return the sandbox; our own packages and pydantic are passed through.

    They do nothing at import time, and the dependency rule keeps I/O out of `workflows`; importing
    them anew for each of thousands of sagas would cost memory and 30 ms each.
    """
    return SandboxedWorkflowRunner(
        restrictions=SandboxRestrictions.default.with_passthrough_modules(
            "canonical", "workflows", "pydantic", "pydantic_core", "babel", "annotated_types"
        )
    )


@asynccontextmanager
async def running_workers(
    client: Client, config: Config, house: House, shares: Shares
) -> AsyncIterator[None]:
    """Serve the configured queues until the block ends, then stop gracefully.

    All workers stop polling at once and together have the grace. A connection's queue is served
    once this process has a place in its budget.
    """
    wanted = set(config.worker.queues) or {
        SAGA_QUEUE,
        *(vendor_queue(name) for name in config.connections),
    }
    serving: list[Worker] = []
    waiting: set[asyncio.Task[None]] = set()

    async def serve(worker: Worker, granted: Coroutine[None, None, None] | None = None) -> None:
        if granted is not None:
            await granted
        waiting.discard(cast(asyncio.Task[None], asyncio.current_task()))
        serving.append(worker)
        await worker.run()

    async with asyncio.TaskGroup() as group:
        if SAGA_QUEUE in wanted:
            waiting.add(group.create_task(serve(_saga_worker(client, config, house))))
        for name in config.connections:
            if vendor_queue(name) in wanted:
                worker = _vendor_worker(client, config, house, name)
                waiting.add(group.create_task(serve(worker, shares.granted(name))))
        try:
            yield
        finally:
            for task in waiting:
                task.cancel()
            await asyncio.gather(*(worker.shutdown() for worker in serving))


def _vendor_worker(client: Client, config: Config, house: House, name: str) -> Worker:
    connection = config.connections[name]
    return Worker(
        client,
        task_queue=vendor_queue(name),
        activities=list(house.vendor_activities(connection.role).values()),
        max_concurrent_activities=connection.slots,
        graceful_shutdown_timeout=timedelta(seconds=config.worker.grace_seconds),
        deployment_config=deployment(config.worker),
    )


def _saga_worker(client: Client, config: Config, house: House) -> Worker:
    sweeper = SweepActivities(house.store, client, SAGA_QUEUE, PIVOTS, priority_of)
    watch = WatchActivities(house.store, client, house.bundle, WATCHED, PIVOTS)
    alerting = alerting_of(config, house.store, house.bundle)
    beside = [sweeper, watch, alerting, house.backfills(client), house.reconciling(client)]
    activities = {**house.engine_activities(), **implementations(beside)}
    return Worker(
        client,
        task_queue=SAGA_QUEUE,
        workflows=list(WORKFLOWS),
        activities=list(activities.values()),
        workflow_runner=workflow_runner(),
        max_concurrent_workflow_tasks=config.worker.workflow_slots,
        max_concurrent_activities=config.worker.activity_slots,
        max_concurrent_local_activities=config.worker.activity_slots,
        sticky_queue_schedule_to_start_timeout=timedelta(seconds=STICKY_SECONDS),
        graceful_shutdown_timeout=timedelta(seconds=config.worker.grace_seconds),
        deployment_config=deployment(config.worker),
    )


async def prepare_namespace(client: Client, config: Config) -> None:
    """Create what is missing on the server: search attributes, rates, the sweep's Schedule.

    Idempotent; what is there already is left alone.
    """
    await _add_search_attributes(client)
    for name, connection in config.connections.items():
        if connection.rate_per_second is not None:
            await _limit_rate(client, vendor_queue(name), connection.rate_per_second)
    await ensure_schedules(client)


async def _add_search_attributes(client: Client) -> None:
    """Add ours; they are added one by one, since one that exists fails the whole request."""
    for key in SEARCH_ATTRIBUTES:
        request = AddSearchAttributesRequest(
            namespace=client.namespace,
            search_attributes={key.name: IndexedValueType.ValueType(key.indexed_value_type)},
        )
        with _left_to_the_administrator(f"search attribute {key.name}"):
            await client.operator_service.add_search_attributes(request)


async def _limit_rate(client: Client, queue: str, per_second: float) -> None:
    """Set the queue's server-side rate; the last writer wins, and all write the same."""
    request = UpdateTaskQueueConfigRequest(
        namespace=client.namespace,
        task_queue=queue,
        task_queue_type=TaskQueueType.TASK_QUEUE_TYPE_ACTIVITY,
        update_queue_rate_limit=UpdateTaskQueueConfigRequest.RateLimitUpdate(
            rate_limit=RateLimit(requests_per_second=per_second), reason="dealthread.toml"
        ),
    )
    with _left_to_the_administrator(f"rate of the task queue {queue}"):
        await client.workflow_service.update_task_queue_config(request)


@contextlib.contextmanager
def _left_to_the_administrator(what: str) -> Iterator[None]:
    """Go on where the server does not let a worker change `what`, as managed ones do not."""
    try:
        yield
    except RPCError as error:
        if error.status is RPCStatusCode.ALREADY_EXISTS:
            return
        if error.status not in {RPCStatusCode.PERMISSION_DENIED, RPCStatusCode.UNIMPLEMENTED}:
            raise
        _log.warning("not_set_by_worker", what=what, remedy="set it by hand", why=error.message)
