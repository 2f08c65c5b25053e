"""The bench's firm is one that the store takes, and each of its ids leads to its thread."""

import random

import pytest

from bench.trace import ids_of
from bench.trace_rows import QUICK, Size, client_of, fill_project
from operations.trace.graph import NodeKind
from operations.trace.thread import Tracer
from store import Store

SIZE = Size(projects=6, entries=300, placed=250, invoiced=250)


async def test_every_kind_of_id_leads_to_the_thread_of_its_project(store: Store) -> None:
    for number in range(SIZE.projects):
        await fill_project(store.database, number, SIZE)
    for statement in await store.subledger.conservation():
        assert statement.difference == 0
    tracer = Tracer(store, crms=("salesforce",))
    ids = ids_of(3, random.Random(1), SIZE)
    ids["charge"] = await _charge(store)
    for kind, word in ids.items():
        found = await tracer.trace(word)
        counts = {each.kind: each.count for each in found.counts}
        projects = 5 if kind in {"client", "client in the ERP"} else 1
        assert {node.name for node in found.nodes if node.kind is NodeKind.CLIENT} == {client_of(3)}
        entries = counts[NodeKind.TIME] + counts[NodeKind.EXPENSE]
        assert entries == projects * SIZE.entries, kind
        assert counts[NodeKind.INVOICE] == projects * 5, kind
        assert counts[NodeKind.PAYMENT] == counts[NodeKind.INVOICE]


async def _charge(store: Store) -> str:
    from sqlalchemy import text

    query = text("SELECT external_id FROM postings WHERE run_key LIKE 'billing-run/kantata/W3/%'")
    row = await store.database.first(query)
    assert row is not None
    return str(row.external_id)


@pytest.mark.parametrize("size", [QUICK])
def test_runs_and_drafts_come_out_even(size: Size) -> None:
    from bench.trace_rows import PER_DRAFT, PER_RUN

    assert size.placed % PER_RUN == 0
    assert size.invoiced % PER_RUN == 0
    assert PER_RUN % PER_DRAFT == 0
