"""From each kind of id to the whole thread, with a million entries in the store.

In process, as the gateway answers: `Tracer.trace` on the store, nothing kept between two of them.
Beside it the whole command, from the start of the interpreter to the end of the process.
"""

import asyncio
import random
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

import asyncpg
from sqlalchemy import text
from sqlalchemy.engine import make_url

from bench.report import Result, at_most, plain
from bench.servers import Servers
from bench.trace_rows import (
    FULL,
    PER_DRAFT,
    PER_RUN,
    PER_TIMESHEET,
    QUICK,
    Size,
    client_of,
    fill_project,
    project_of,
)
from embedded.processes import ROOT
from operations.trace.thread import Tracer
from store import Store, make_store

LIMIT_MS: Final = 300
TRACES: Final = 40
TRACES_QUICK: Final = 2
COMMANDS: Final = 5
FILLING: Final = 2
"""Projects that are filled at once: as many as there are processors here."""
SEED: Final = 20261121


async def trace_bench(servers: Servers, *, quick: bool = False) -> list[Result]:
    """Fill the store, then trace ids of each kind from random projects."""
    size = QUICK if quick else FULL
    store = make_store(servers.store_url, FILLING)
    try:
        seconds = await _fill(store, servers, size)
        print(f"  {size.all:,} entries of {size.projects} projects in {seconds:.0f} s", flush=True)
        times = await _traced(store, size, TRACES_QUICK if quick else TRACES)
        conditions = _conditions(size)
        results = list(_results(times, conditions))
        whole = await _commands(servers, 1 if quick else COMMANDS, size)
        results.append(plain("trace: the whole command, median", whole, "ms", conditions))
        results.append(plain("trace: filling the store", seconds, "s", conditions))
    finally:
        await store.aclose()
    return results


def ids_of(number: int, dice: random.Random, size: Size) -> dict[str, str]:
    """Return an id of each kind from one project, as other systems know it."""
    entry = number * 100_000 + dice.randint(1, size.entries)
    invoice = f"I{number}-{dice.randint(1, size.invoiced // PER_DRAFT)}"
    run = dice.randint(1, size.placed // PER_RUN)
    draft = dice.randint(1, size.invoiced // PER_DRAFT)
    project, client = project_of(number), client_of(number)
    return {
        "deal": f"D{number}",
        "client": client,
        "client in the ERP": f"C-{client}",
        "project": project,
        "project in the ERP": f"J{number}",
        "entry": str(entry),
        "timesheet": f"T{number}-{dice.randint(0, size.entries // PER_TIMESHEET)}",
        "milestone": f"MS{number}-{dice.randint(1, 10)}",
        "billing run": f"billing-run/kantata/{project}/2026-01/{run}",
        "reservation": f"R{number}-{run}",
        "draft": f"invoice-draft/US/C-{client}/USD/project-{project}/2026-01/{draft}",
        "invoice": invoice,
        "invoice number": f"INV-{invoice.removeprefix('I')}",
        "mirror": f"M{invoice}",
        "payment": f"P{invoice}",
        "payment reference": f"REF-{invoice}",
        "credit note": f"N{number}",
        "client PO": f"PO-{number}",
        "work item": f"WI-{number}",
        "correlation id": f"corr-{number}",
        "workflow id": f"opportunity-to-project/salesforce/D{number}",
    }


async def _fill(store: Store, servers: Servers, size: Size) -> float:
    started = time.perf_counter()
    gate = asyncio.Semaphore(FILLING)

    async def one(number: int) -> None:
        async with gate:
            await fill_project(store.database, number, size)

    await asyncio.gather(*(one(number) for number in range(size.projects)))
    url = make_url(servers.store_url.get_secret_value()).set(drivername="postgresql")
    connection = await asyncpg.connect(url.render_as_string(hide_password=False))
    try:
        # What autovacuum does in time.
        await connection.execute("VACUUM ANALYZE")
    finally:
        await connection.close()
    return time.perf_counter() - started


async def _traced(store: Store, size: Size, count: int) -> dict[str, list[float]]:
    """Return how long each trace took, in ms, rising, by kind of id."""
    tracer, dice = Tracer(store, crms=("salesforce",)), random.Random(SEED)
    charges = await _charges(store, count)
    times: dict[str, list[float]] = {}
    for charge in charges:
        ids = ids_of(dice.randrange(size.projects), dice, size)
        for kind, word in {**ids, "charge": charge}.items():
            started = time.perf_counter()
            await tracer.trace(word)
            times.setdefault(kind, []).append((time.perf_counter() - started) * 1_000)
    return {kind: sorted(each) for kind, each in times.items()}


async def _charges(store: Store, count: int) -> Sequence[str]:
    query = text("""
        SELECT external_id FROM postings WHERE kind = 'charges'
            AND id % greatest((SELECT max(id) FROM postings) / :count, 1) = 0 LIMIT :count
    """)
    return [str(row.external_id) for row in await store.database.rows(query, {"count": count})]


def _results(times: Mapping[str, Sequence[float]], conditions: str) -> list[Result]:
    results = []
    for kind, each in times.items():
        results += [
            plain(f"trace: from a {kind}, p50", _part(each, 0.5), "ms", conditions),
            at_most(LIMIT_MS, f"trace: from a {kind}, p95", _part(each, 0.95), "ms", conditions),
        ]
    return results


async def _commands(servers: Servers, count: int, size: Size) -> float:
    """Return the median of the command's whole time, in ms."""
    config = await servers.configuration("trace")
    dice = random.Random(SEED)
    taken = []
    for _ in range(count):
        word = ids_of(dice.randrange(size.projects), dice, size)["invoice"]
        started = time.perf_counter()
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, str(Path(ROOT) / "starter.py"), "trace", word, "--json"),
            *("--config", str(config)),
            cwd=ROOT,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        _, errors = await process.communicate()
        assert process.returncode == 0, errors.decode()
        taken.append((time.perf_counter() - started) * 1_000)
    return sorted(taken)[len(taken) // 2]


def _part(rising: Sequence[float], share: float) -> float:
    return rising[min(int(len(rising) * share), len(rising) - 1)]


def _conditions(size: Size) -> str:
    return (
        f"{size.all:,} entries of {size.projects} projects, {size.projects * size.placed:,} of "
        f"them rated, placed and charged, {size.projects * size.invoiced:,} invoiced; the first "
        "20 of each kind; after VACUUM ANALYZE, PostgreSQL with its defaults"
    )
