"""The worker of the bare workflow: the same adapters, HTTP client, transport and worker options.

`python -m bench.bare_worker --config dealthread.toml`
"""

import argparse
import asyncio
import os
import signal
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import uvloop
from temporalio import activity
from temporalio.worker import Worker
from temporalio.worker.workflow_sandbox import SandboxedWorkflowRunner

from activities.ports import Ports
from activities.steps import known
from bench.bare_workflow import BareOpportunityToProject
from canonical.ids import ExternalId, Role
from canonical.model import CanonicalModel
from canonical.provisioning import (
    LinkErpProject,
    LinkPsaProject,
    MatchClient,
    OpenForTime,
    ProvisionClient,
    ProvisionErpProject,
    ProvisionMilestones,
    ProvisionPsaClient,
    ProvisionPsaProject,
    ProvisionTasks,
    WriteBack,
)
from canonical.records import Receipt, RecordRef
from operations.composition import build_house, vendor_queue
from operations.config import Config, load_config
from operations.logs import configure_logs
from operations.servers import connect_temporal
from operations.telemetry import start_telemetry
from operations.workers import workflow_runner

QUEUE = "bare"

Found = Receipt | RecordRef | None
Act = Callable[[Ports, Any, ExternalId], Awaitable[Found]]
Activity = Callable[..., Awaitable[RecordRef | None]]


@dataclass(frozen=True)
class Pair:
    """A look and a write of one role."""

    role: Role
    name: str
    request: type[CanonicalModel]
    find: Act
    write: Act


async def _erp_link(ports: Ports, r: LinkErpProject, _: ExternalId) -> None:
    await ports.erp(r.connection).read_psa_link(known(r.project))


async def _psa_link(ports: Ports, r: LinkPsaProject, _: ExternalId) -> None:
    await ports.psa(r.connection).read_erp_link(known(r.project))


async def _deal_links(ports: Ports, r: WriteBack, _: ExternalId) -> None:
    await ports.crm(r.connection).read_links(r.deal_id)


async def _is_open(ports: Ports, r: OpenForTime, _: ExternalId) -> RecordRef | None:
    project = known(r.project)
    return project if await ports.psa(r.connection).is_open_for_time(project) else None


PAIRS = (
    Pair(
        Role.ERP,
        "client",
        ProvisionClient,
        lambda ports, r, ours: ports.erp(r.connection).find_client(ours),
        lambda ports, r, ours: ports.erp(r.connection).provision_client(ours, r),
    ),
    Pair(
        Role.ERP,
        "erp_project",
        ProvisionErpProject,
        lambda ports, r, ours: ports.erp(r.connection).find_project(ours),
        lambda ports, r, ours: ports.erp(r.connection).provision_project(ours, r),
    ),
    Pair(
        Role.ERP,
        "erp_link",
        LinkErpProject,
        _erp_link,
        lambda ports, r, _: ports.erp(r.connection).write_psa_link(r.project, r.psa_project.id),
    ),
    Pair(
        Role.PSA,
        "psa_client",
        ProvisionPsaClient,
        lambda ports, r, ours: ports.psa(r.connection).find_client(ours),
        lambda ports, r, ours: ports.psa(r.connection).provision_client(ours, r),
    ),
    Pair(
        Role.PSA,
        "psa_project",
        ProvisionPsaProject,
        lambda ports, r, ours: ports.psa(r.connection).find_project(ours),
        lambda ports, r, ours: ports.psa(r.connection).provision_project(ours, r),
    ),
    Pair(
        Role.PSA,
        "tasks",
        ProvisionTasks,
        lambda ports, r, ours: ports.psa(r.connection).find_tasks(ours, r.project),
        lambda ports, r, ours: ports.psa(r.connection).provision_tasks(ours, r),
    ),
    Pair(
        Role.PSA,
        "milestones",
        ProvisionMilestones,
        lambda ports, r, ours: ports.psa(r.connection).find_milestones(ours, r.project),
        lambda ports, r, ours: ports.psa(r.connection).provision_milestones(ours, r),
    ),
    Pair(
        Role.PSA,
        "psa_link",
        LinkPsaProject,
        _psa_link,
        lambda ports, r, _: ports.psa(r.connection).write_erp_link(
            r.project, f"{r.erp_projects[0].system}:{r.erp_projects[0].id}"
        ),
    ),
    Pair(
        Role.PSA,
        "open",
        OpenForTime,
        _is_open,
        lambda ports, r, _: ports.psa(r.connection).open_for_time(r.project),
    ),
    Pair(
        Role.CRM,
        "deal_links",
        WriteBack,
        _deal_links,
        lambda ports, r, _: ports.crm(r.connection).write_links(r.deal_id, r.links),
    ),
)


def activities(role: Role, ports: Ports) -> list[Activity]:
    """Return the activities of one role, in both shapes."""
    found = [made for pair in PAIRS if pair.role is role for made in _activities(pair, ports)]
    if role is Role.CRM:

        @activity.defn(name="read_deal")
        async def read_deal(connection: str, deal_id: str) -> RecordRef | None:
            await ports.crm(connection).read_deal(deal_id)
            return None

        found.append(read_deal)
    if role is Role.ERP:

        @activity.defn(name="search_clients")
        async def search_clients(request: MatchClient, ours: ExternalId) -> RecordRef | None:
            await ports.erp(request.connection).search_clients(request, ours)
            return None

        found.append(search_clients)
    return found


def _activities(pair: Pair, ports: Ports) -> tuple[Activity, ...]:
    request_type = pair.request

    @activity.defn(name=f"find_{pair.name}")
    async def find(request: request_type, ours: ExternalId) -> RecordRef | None:  # type: ignore[valid-type]
        return _record(await pair.find(ports, request, ours))

    @activity.defn(name=f"write_{pair.name}")
    async def write(request: request_type, ours: ExternalId) -> RecordRef | None:  # type: ignore[valid-type]
        return _record(await pair.write(ports, request, ours))

    @activity.defn(name=f"have_{pair.name}")
    async def have(request: request_type, ours: ExternalId) -> RecordRef | None:  # type: ignore[valid-type]
        found = await pair.find(ports, request, ours)
        return _record(found or await pair.write(ports, request, ours))

    return find, write, have


def _record(found: Found) -> RecordRef | None:
    return found.record if isinstance(found, Receipt) else found


async def serve(config: Config) -> None:
    """Serve until SIGTERM."""
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    house = build_house(config)
    client = await connect_temporal(config, start_telemetry().runtime)
    async with AsyncExitStack() as stack:
        stack.push_async_callback(house.aclose)
        await stack.enter_async_context(
            Worker(
                client,
                task_queue=QUEUE,
                workflows=[BareOpportunityToProject],
                workflow_runner=_runner(),
                max_concurrent_workflow_tasks=config.worker.workflow_slots,
                graceful_shutdown_timeout=timedelta(seconds=1),
            )
        )
        for name, connection in config.connections.items():
            found = activities(connection.role, house.ports)
            if not found:
                continue  # a deal does not touch it
            await stack.enter_async_context(
                Worker(
                    client,
                    task_queue=vendor_queue(name),
                    activities=found,
                    max_concurrent_activities=connection.slots,
                    graceful_shutdown_timeout=timedelta(seconds=1),
                )
            )
        await stop.wait()


def _runner() -> SandboxedWorkflowRunner:
    """Return the product's sandbox, with the bare workflow passed through as the sagas are."""
    runner = workflow_runner()
    return SandboxedWorkflowRunner(
        restrictions=runner.restrictions.with_passthrough_modules("bench")
    )


def main() -> None:
    """Run the worker; ends like the product's own."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--config", type=Path, required=True)
    configure_logs()
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(serve(load_config(parser.parse_args().config)))
    os._exit(0)


if __name__ == "__main__":
    main()
