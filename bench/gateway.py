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
KILL_SEED = 99
"""Of the load under which both processes are killed: ids that no other load has."""


async def gateway_bench(
    servers: Servers, *, rates: tuple[int, ...] = RATES, seconds: float = SECONDS
) -> list[Result]:
    """Load the gateway at growing rates, with its drain running, and wait for the drain."""
    store = make_store(servers.store_url, 2)
    await _engage(store)
    results: list[Result] = []
    knee: Found | None = None
    try:
        async with _running(servers) as children:
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
            results.append(_memory(children))
            results.append(await _killed(servers, store, children, rates[0], seconds))
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


def _memory(children: dict[str, Child]) -> Result:
    each = {name: resident(child) for name, child in children.items()}
    conditions = ", ".join(f"{name} {memory:.0f}" for name, memory in each.items())
    return at_most(
        MEMORY_MB, "gateway: memory", sum(each.values()), "MB", f"{conditions}, after all rates"
    )


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
    """Fail if an event was refused, or was accepted and is not in the inbox."""
    lost = await _lost(store, found)
    if lost or found.accepted != found.sent:
        raise RuntimeError(f"{lost} events lost, {found.sent - found.accepted} refused")


async def _lost(store: Store, found: Found) -> int:
    """Return how many events were accepted and are not in the inbox."""
    rows = await store.database.rows(
        text("SELECT connection || ' ' || event_id AS id FROM event_inbox")
    )
    return len(set(found.ids) - {str(row.id) for row in rows})


async def _killed(
    servers: Servers, store: Store, children: dict[str, Child], rate: int, seconds: float
) -> Result:
    """Kill both processes under load, start them again, and count what is lost or stays."""
    loading = asyncio.create_task(_loaded(servers, rate, seconds, KILL_SEED))
    before = (await store.inbox.waiting())[0]
    async with asyncio.timeout(DRAIN_SECONDS):
        while (await store.inbox.waiting())[0] <= before:  # noqa: ASYNC110 - another process
            await asyncio.sleep(0.01)
    await asyncio.sleep(seconds / 4)
    for child in children.values():
        child.process.kill()
        await child.process.wait()
    await _start(servers, servers.files.root / ACCOUNT / "dealthread.toml", children)
    found = await loading
    await _emptied(store)
    conditions = (
        f"door and drain killed and started again beside {rate} requests/s: {found.accepted} of"
        f" {found.sent} accepted, the others met a closed port; all that were accepted were drained"
    )
    name = "gateway: events lost over a SIGKILL under load"
    return at_most(0, name, await _lost(store, found), "events", conditions)


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
async def _running(servers: Servers) -> AsyncIterator[dict[str, Child]]:
    """Run the door and the drain until the block ends."""
    config = await _configuration(servers)
    children: dict[str, Child] = {}
    try:
        await _start(servers, config, children)
        async with httpx.AsyncClient(trust_env=False) as http:
            page = await http.get(f"{gateway.base_url(servers.ports)}/openapi.json")
            page.raise_for_status()
        yield children
    finally:
        for child in children.values():
            await child.stop(asyncio.Event())


async def _start(servers: Servers, config: Path, children: dict[str, Child]) -> None:
    parts = {
        gateway.base_url(servers.ports): gateway.door_spec(config, surroundings()),
        gateway.drain_url(servers.ports): gateway.drain_spec(config, surroundings()),
    }
    for url, spec in parts.items():
        children[spec.name] = await start(spec, servers.files.logs)
        await gateway.set_up(children[spec.name], url)


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
