"""What live deals wait for while a backfill runs: their latency beside it, and without it.

First live deals one by one with nothing else to do, then as many while a backfill of many deals is
queued and running. The worker is `worker.py` as shipped; the backfill starts as the CLI starts it.
"""

import asyncio
import time
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from statistics import median
from typing import Final

from bench.report import Result, plain
from bench.servers import Servers, crm_of
from bench.sides import ENGINE, WAIT_SECONDS, Side, running_side
from canonical.backfill import (
    BackfillKind,
    BackfillState,
    BackfillView,
    RecordState,
)
from operations.backfill import BackfillDesk
from workflows.backfill import Backfill

IN_FLIGHT: Final = (5, 20)
QUEUED: Final = 120
QUEUED_QUICK: Final = 12
LIVE: Final = 10
LIVE_QUICK: Final = 2
RATE: Final = Decimal(200)
"""Faster than the machine: what waits, waits for its turn and not for the pace."""
LOOK_SECONDS: Final = 0.2
SINCE, UNTIL = date(2000, 1, 1), date(2099, 12, 31)


@dataclass(frozen=True)
class Beside:
    """What was measured while the backfill ran."""

    live: list[float]
    during: int
    """Live deals that ended before the backfill did."""
    seconds: float
    """The backfill's own, from its start until its last deal was carried over."""


async def backfill(servers: Servers, *, queued: int = QUEUED, live: int = LIVE) -> list[Result]:
    """Measure live deals alone, then beside backfills with more and more in flight."""
    found: list[Result] = []
    for in_flight in IN_FLIGHT:
        name = f"backfill{in_flight}"
        async with running_side(servers, ENGINE, name, queued + 2 * live) as side:
            alone = [await _timed(side, deal) for deal in side.take(live)]
            print(f"  alone: {_said(alone)}", flush=True)
            beside = await _beside(side, side.take(live), queued, in_flight)
            print(f"  beside {in_flight}: {_said(beside.live)}", flush=True)
        how = f"{live} deals one after another, simulators at 0 ms"
        also = f"{how}, a backfill of {queued} deals"
        what = f"live deal beside a backfill with {in_flight} in flight"
        found += [
            plain(f"{what}: alone before, median", median(alone), "s", how),
            plain(f"{what}: median", median(beside.live), "s", also),
            plain(f"{what}: longest", max(beside.live), "s", also),
            plain(
                f"{what}, against one without",
                median(beside.live) / median(alone),
                "×",
                f"medians; {also}",
            ),
            plain(f"{what}: ended while it ran", beside.during, "deals", also),
            plain(
                f"backfill with {in_flight} in flight: deals a second",
                queued / beside.seconds,
                "deals/s",
                also,
            ),
        ]
    return found


async def _beside(side: Side, live: list[str], queued: int, in_flight: int) -> Beside:
    """Start the backfill of all deals but those already used and the live ones.

    Raises:
        AssertionError: not every deal was carried over.
    """
    crm = crm_of(side.account)
    desk = BackfillDesk(side.servers.client, side.store, crm=crm)
    others = " AND ".join(f"Id != '{deal}'" for deal in live)
    window = desk.window(BackfillKind.OPPORTUNITIES, SINCE, UNTIL, others)
    started = time.perf_counter()
    id_ = await desk.start(window, rate=RATE, in_flight_max=in_flight, name=f"bench-{in_flight}")
    ended = asyncio.create_task(_ended(side, id_))
    try:
        await _under_way(desk, id_, min(queued, in_flight))
        times, during = [], 0
        for deal in live:
            times.append(await _timed(side, deal))
            during += not ended.done()
        view, at = await ended
    finally:
        ended.cancel()
    carried = view.standing.count(RecordState.COMPLETED)
    if view.state is not BackfillState.FINISHED or carried != queued:
        raise AssertionError(f"{view.state}: {carried} deals were carried over, not {queued}")
    return Beside(times, during, at - started)


async def _under_way(desk: BackfillDesk, id_: str, most: int) -> None:
    """Wait until as many deals of the backfill are started as may be at once, or nearly."""
    enough = 0.9 * most
    async with asyncio.timeout(WAIT_SECONDS):
        while True:
            standing = (await desk.find(id_)).view.standing
            if standing.count(RecordState.UNDER_WAY, RecordState.COMPLETED) >= enough:
                return
            await asyncio.sleep(LOOK_SECONDS)


async def _ended(side: Side, id_: str) -> tuple[BackfillView, float]:
    handle = side.servers.client.get_workflow_handle_for(Backfill.run, id_)
    return await handle.result(), time.perf_counter()


async def _timed(side: Side, deal: str) -> float:
    started = time.perf_counter()
    await side.run(deal)
    return time.perf_counter() - started


def _said(walls: list[float]) -> str:
    return ", ".join(f"{wall:.2f} s" for wall in walls)
