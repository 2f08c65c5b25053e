"""A reconciliation of a million entries: how long it takes, and what memory its worker needs.

The store's side is made by SQL. The vendor's side is a generator of pages in the worker's own
process, in the size of the vendor's pages: what is measured is staging, comparing and judging, not
a vendor's speed. The worker is a process of its own that runs the activities as a worker does.
"""

import asyncio
import hashlib
import json
import resource
import sys
import time
from collections.abc import AsyncIterator
from datetime import UTC, date, datetime
from typing import Any, Final, cast

from pydantic import SecretStr
from sqlalchemy import text
from temporalio.testing import ActivityEnvironment

from activities.extracting import ExtractActivities
from activities.ports import Ports
from activities.reconciling import Healer, ReconcileActivities
from bench.report import Result, at_most, plain
from bench.servers import Servers
from canonical.extracts import ExtractKind, ExtractRow, ExtractScope, ExtractState
from canonical.reconciliation import (
    CompareRows,
    ExtractRows,
    JudgeCandidates,
    ReconcileInput,
)
from policies.bundle import load_bundle
from store import Store, make_store

ENTRIES: Final = 1_000_000
ENTRIES_QUICK: Final = 20_000
LIMIT_MB: Final = 500.0
PAGE: Final = 200
"""Rows of one of Kantata's pages."""
PROJECTS: Final = 1_000
EVERY: Final = 100_000
"""One in so many is missing there, and one in so many is missing here."""
PSA: Final = "kantata"
DAY: Final = date(2026, 11, 10)

_CONTRACTS = text("""
    INSERT INTO engagements (id, psa, project_id, effective_from, client_id, lines, caps)
    SELECT 'crm/' || n, 'kantata', CAST(n AS text), DATE '2026-01-01', 'C' || n,
        jsonb_build_array(jsonb_build_object('ref', 'L', 'legal_entity', 'US')), '[]'
    FROM generate_series(0, :projects - 1) AS n
""")
_ENTRIES = text("""
    INSERT INTO entry_versions (source, kind, entry_id, version, project_id, service_date, minutes,
        currency, billable, state, approved_at)
    SELECT 'kantata', 'time', CAST(n AS text), md5(CAST(n AS text)), CAST(n % :projects AS text),
        DATE '2026-11-10', 60, 'USD', true, 'approved', TIMESTAMPTZ '2026-11-11'
    FROM generate_series(CAST(:first AS integer), CAST(:last AS integer)) AS n
    WHERE n % :every <> 1
""")
BATCH: Final = 100_000


async def reconcile(servers: Servers, *, entries: int = ENTRIES) -> list[Result]:
    """Make the store's side, reconcile in a process of its own, and say what it took."""
    store = make_store(servers.store_url, 2)
    try:
        await _fill(store, entries)
    finally:
        await store.aclose()
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "bench.reconcile", str(entries)),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    out, _ = await process.communicate(servers.store_url.get_secret_value().encode())
    if process.returncode != 0:
        raise AssertionError(f"the worker ended with {process.returncode}")
    took = json.loads(out)
    expected = 2 * len(range(0, entries, EVERY))
    if took["findings"] != expected:
        raise AssertionError(f"{took['findings']} findings, not {expected}")
    name = f"reconciliation of {entries} entries"
    how = f"{entries} rows there and here, {expected} differences, one worker process"
    seconds = took["list"] + took["compare"] + took["judge"]
    return [
        plain(name, seconds, "s", how),
        plain(f"{name}: rate", entries / seconds, "rows/s", how),
        plain(f"{name}: listing into the scratch", took["list"], "s", "pages made in process"),
        plain(f"{name}: comparing", took["compare"], "s", "in PostgreSQL"),
        at_most(LIMIT_MB, f"{name}: worker memory", took["peak_mb"], "MB, peak resident set", how),
    ]


async def _fill(store: Store, entries: int) -> None:
    async with store.database.transaction() as session:
        await session.execute(text("SET LOCAL statement_timeout = 0"))
        await session.execute(text("ALTER TABLE entry_versions DISABLE TRIGGER USER"))
        await session.execute(_CONTRACTS, {"projects": PROJECTS})
        for first in range(0, entries, BATCH):
            span = {"first": first, "last": min(first + BATCH, entries) - 1}
            await session.execute(_ENTRIES, {**span, "projects": PROJECTS, "every": EVERY})
        await session.execute(text("ALTER TABLE entry_versions ENABLE TRIGGER USER"))
        # As autovacuum does in a store that grew by and by.
        await session.execute(text("ANALYZE entry_versions, engagements"))


class Generated:
    """A PSA that makes up its entries, page by page."""

    def __init__(self, entries: int) -> None:
        """Have so many, less those that are missing there."""
        self._entries = entries

    def extract_kinds(self) -> frozenset[ExtractKind]:
        """Return the one kind that it has."""
        return frozenset({ExtractKind.ENTRY})

    async def extract(self, _scope: ExtractScope) -> AsyncIterator[tuple[ExtractRow, ...]]:
        """Yield the entries."""
        for first in range(0, self._entries, PAGE):
            span = range(first, min(first + PAGE, self._entries))
            yield tuple(_row(n) for n in span if n % EVERY)


def _row(n: int) -> ExtractRow:
    version = hashlib.md5(str(n).encode(), usedforsecurity=False).hexdigest()
    return ExtractRow(
        kind=ExtractKind.ENTRY,
        id=f"time/{n}",
        project_id=str(n % PROJECTS),
        date=DAY,
        state=ExtractState.OPEN,
        minutes=60,
        version=version,
    )


async def worker(url: SecretStr, entries: int) -> dict[str, float]:
    """Run the activities of one run, as a worker does; return what each took."""
    store, bundle, took = make_store(url, 5), load_bundle(), dict[str, float]()
    ports = Ports(psas={PSA: cast(Any, Generated(entries))})
    listing = ExtractActivities(store, ports)
    judging = ReconcileActivities(
        store,
        lambda _psa: bundle,
        lambda name: bundle.route(next(iter(bundle.policies.budgets)), name),
        lambda: datetime.now(UTC),
        Healer(tell=_nothing, look=_nothing),
        PSA,
    )
    run = ActivityEnvironment().run
    try:
        wanted = ReconcileInput(legal_entity="US", period="2026-11", connections=(PSA,))
        plan = await run(
            judging.open_reconciliation, wanted.model_copy(update={"tolerance_seconds": 0.0})
        )
        (of,) = plan.connections
        started = time.perf_counter()
        asked = ExtractRows(run=plan.run, of=of, since=plan.since, until=plan.until)
        listed = await run(listing.extract_rows, asked)
        took["list"] = time.perf_counter() - started
        started = time.perf_counter()
        compared = await run(judging.compare_rows, CompareRows(plan=plan, listed=(listed,)))
        took["compare"] = time.perf_counter() - started
        started = time.perf_counter()
        judged = await run(
            judging.judge_candidates, JudgeCandidates(plan=plan, compared=compared.compared)
        )
        took["judge"] = time.perf_counter() - started
    finally:
        await store.aclose()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1_024
    return {**took, "findings": judged.findings, "peak_mb": peak}


async def _nothing(*_: object) -> None:
    """Mend nothing."""


if __name__ == "__main__":
    secret = SecretStr(sys.stdin.read().strip())
    sys.stdout.write(json.dumps(asyncio.run(worker(secret, int(sys.argv[1])))))
