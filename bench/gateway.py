"""Events accepted per second, how fast they are answered, and how fast the drain sends them on."""

import asyncio
import json
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import date
from pathlib import Path

import httpx
from sqlalchemy import text

from bench.gateway_load import Found
from bench.report import Result, at_least, at_most, plain
from bench.servers import Servers, crm_of
from bench.usage import resident
from canonical.deal import ContractLineType
from canonical.engagement import ContractLine, Engagement
from embedded import gateway
from embedded.files import write_secret
from embedded.ports import HOST
from embedded.processes import Child, start, surroundings
from policies.bundle import load_bundle
from store import Store, make_store

RATES = (820, 1000, 1200, 1400)
"""Requests a second; the knee is the last at which p95 stays below its limit."""
P95_MS = 100
SHARE = 0.98
"""Of the rate, that has to be accepted."""
SECONDS = 10
PROJECTS = DEALS = 50
ORGANIZATION = "00D000000000001EAA"
ACCOUNT = "gateway"
SECRET = "bench-secret"
MEMORY_MB = 400
DRAIN_SECONDS = 180


async def gateway_bench(
    servers: Servers, *, rates: tuple[int, ...] = RATES, seconds: float = SECONDS
) -> list[Result]:
    """Load the gateway at growing rates, with its drain running, and wait for the drain."""
    store = make_store(servers.store_url, 2)
    await _engage(store)
    results: list[Result] = []
    knee: Found | None = None
    try:
        async with _running(servers) as child:
            await _loaded(servers, 100, 2, 0)  # warm
            for seed, rate in enumerate(rates, 1):
                found = await _loaded(servers, rate, seconds, seed)
                rate_found = found.accepted / found.seconds
                print(
                    f"  {rate}/s: {rate_found:.0f}/s, p50 {found.p50_ms:.0f} ms,"
                    f" p95 {found.p95_ms:.0f} ms, p99 {found.p99_ms:.0f} ms",
                    flush=True,
                )
                if seed == 1:
                    results += _goals(found, rate)
                    results += await _drained(store, rate)
                    await _nothing_lost(store, found)
                elif found.p95_ms < P95_MS and rate_found > SHARE * rate:
                    knee = found
                await _emptied(store)
            results.append(
                at_most(MEMORY_MB, "gateway: memory", resident(child), "MB", "after all rates")
            )
    finally:
        await store.aclose()
    if knee is not None:
        speed = knee.accepted / knee.seconds
        conditions = f"p95 {knee.p95_ms:.0f} ms; rates tried {rates}"
        results.append(plain("gateway: events accepted at the knee", speed, "/s", conditions))
    return results


def _goals(found: Found, rate: int) -> list[Result]:
    conditions = (
        f"{rate} requests/s for {found.seconds:.1f} s, open loop, 64 connections: Stripe, "
        "CloudEvents in both modes, Salesforce in turn; the drain, Temporal, PostgreSQL "
        "(fsync on) and the load generator on the same cores"
    )
    speed = found.accepted / found.seconds
    return [
        at_least(800, "gateway: events accepted", speed, "/s", conditions),
        at_most(P95_MS, "gateway: p95 of the answers", found.p95_ms, "ms", conditions),
    ]


async def _drained(store: Store, rate: int) -> list[Result]:
    """Wait until all is sent on; return how fast that went, from arrival to end."""
    await _emptied(store)
    row = await store.database.first(
        text(
            "SELECT count(*) AS events, count(DISTINCT workflow_id) AS workflows,"
            " extract(epoch FROM max(ended_at) - min(received_at)) AS seconds"
            " FROM event_inbox WHERE state IN ('delivered', 'ignored')"
        )
    )
    assert row is not None
    conditions = f"beside {rate} arriving a second, to {row.workflows} workflows, until none waits"
    speed = float(row.events) / float(row.seconds)
    return [plain("gateway: events drained", speed, "/s", conditions)]


async def _emptied(store: Store) -> None:
    async with asyncio.timeout(DRAIN_SECONDS):
        while (await store.inbox.waiting())[0]:  # noqa: ASYNC110 - another process
            await asyncio.sleep(0.1)


async def _nothing_lost(store: Store, found: Found) -> None:
    """Fail if an event that was accepted is not in the inbox."""
    rows = await store.database.rows(
        text("SELECT connection || ' ' || event_id AS id FROM event_inbox")
    )
    lost = set(found.ids) - {str(row.id) for row in rows}
    if lost or found.accepted != found.sent:
        raise RuntimeError(f"{len(lost)} events lost, {found.sent - found.accepted} refused")


async def _loaded(servers: Servers, rate: float, seconds: float, seed: int) -> Found:
    plan = {
        "host": HOST,
        "port": servers.ports.gateway,
        "rate": rate,
        "seconds": seconds,
        "seed": seed,
        "projects": PROJECTS,
        "deals": DEALS,
        "organization": ORGANIZATION,
        "crm": crm_of(ACCOUNT),
        "secret": SECRET,
    }
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "bench.gateway_load", json.dumps(plan)),
        stdout=asyncio.subprocess.PIPE,
        cwd=surroundings().directory,
    )
    out, _ = await process.communicate()
    return Found.model_validate_json(out)


async def _engage(store: Store) -> None:
    """Make the projects known: what is sent to unknown ones would be dead letters."""
    entity = next(iter(load_bundle(None).policies.billing.entities))
    line = ContractLine(
        ref="1", type=ContractLineType.TIME_AND_MATERIALS, currency="USD", legal_entity=entity
    )
    for n in range(PROJECTS):
        await store.engagements.put(
            Engagement(
                id=f"bench/{n}",
                client_id="bench",
                psa="kantata",
                project_id=f"p{n}",
                effective_from=date(2026, 1, 1),
                lines=(line,),
            )
        )


@asynccontextmanager
async def _running(servers: Servers) -> AsyncIterator[Child]:
    spec = gateway.spec(await _configuration(servers), surroundings())
    child = await start(spec, servers.files.logs)
    try:
        await gateway.set_up(child, servers.ports)
        async with httpx.AsyncClient(trust_env=False) as http:
            page = await http.get(f"{gateway.base_url(servers.ports)}/openapi.json")
            page.raise_for_status()
        yield child
    finally:
        await child.stop(asyncio.Event())


async def _configuration(servers: Servers) -> Path:
    """Write a whole configuration, with what each connection may send."""
    path = await servers.configuration(ACCOUNT)
    write_secret(path.parent / "events", SECRET)
    signed = 'secret_file = "events"'
    kinds = {
        crm_of(ACCOUNT): f'kind = "salesforce_outbound"\norganization_id = "{ORGANIZATION}"',
        "kantata": f'kind = "cloudevents"\n{signed}',
        "stripe": f'kind = "stripe"\n{signed}',
    }
    tables = [f"[gateway]\nport = {servers.ports.gateway}\n"]
    tables += [f"[connections.{name}.events]\n{events}\n" for name, events in kinds.items()]
    path.write_text("\n".join([path.read_text(encoding="utf-8"), *tables]), encoding="utf-8")
    return path
