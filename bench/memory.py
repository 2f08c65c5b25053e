"""Memory of one worker over many sagas, some of which park and stay."""

import asyncio
import time

from bench.report import Result, at_most, plain
from bench.servers import Servers, crm_of
from bench.sides import ENGINE, WAIT_SECONDS, WARM_UP, Side, in_flight, running_side
from bench.throughput import IN_FLIGHT
from bench.usage import measured

LIMIT_MB = 300.0
UNKNOWN_TEMPLATE = "quantum"
"""A delivery template that no policy maps: the deal parks for a person."""
LOOK_SECONDS = 0.25


async def memory(servers: Servers, *, sagas: int, parked: int) -> list[Result]:
    """Run the sagas, every so many of them parking, and watch the worker."""
    async with running_side(servers, ENGINE, "memory", sagas) as side:
        deals = side.take(sagas)
        bad = set(deals[:: sagas // parked][:parked])
        for deal in bad:
            await servers.control.patch_record(
                "salesforce",
                side.account,
                "Opportunity",
                deal,
                {"Delivery_Template__c": UNKNOWN_TEMPLATE},
            )

        async def work(deal: str) -> None:
            if deal in bad:
                await side.start(deal)
            else:
                await side.run(deal)

        async with measured(servers.children) as usage:
            started = time.perf_counter()
            await in_flight(work, deals, IN_FLIGHT)
            await _parked(side, parked)
            seconds = time.perf_counter() - started
    text = f"{sagas} sagas, {parked} of them parked, {IN_FLIGHT} in flight, one worker process"
    limit = f"worker memory over {sagas} sagas"
    return [
        at_most(LIMIT_MB, limit, usage.memory_peak["worker"], "MB, peak resident set", text),
        plain(
            f"{limit}: at the start", usage.memory_start["worker"], "MB", f"{WARM_UP} deals done"
        ),
        plain(f"{limit}: Temporal's peak", usage.memory_peak["temporal"], "MB", text),
        plain(f"{limit}: duration", seconds, "s", text),
    ]


async def _parked(side: Side, count: int) -> None:
    """Wait until all that should park did."""
    ours = f"WorkflowId STARTS_WITH 'opportunity-to-project/{crm_of(side.account)}/'"
    query = f"SagaState = 'needs_attention' AND {ours}"
    async with asyncio.timeout(WAIT_SECONDS):
        while True:
            found = (await side.servers.client.count_workflows(query)).count
            if found >= count:
                break
            await asyncio.sleep(LOOK_SECONDS)
    if found != count:
        raise AssertionError(f"{found} sagas parked, not {count}")
