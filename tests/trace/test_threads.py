"""What a thread holds: ids that mean several things, shared projects and drafts, loose work."""

from datetime import date

import pytest
from sqlalchemy import text

from canonical.invoicing import Invoice
from canonical.lifecycle import InvoiceState, SettledBy
from canonical.saga import OpenWorkItem
from operations.trace.finding import Ambiguous, NothingCalled
from operations.trace.graph import NodeKind, TraceGraph
from operations.trace.thread import Tracer
from store import Store
from tests.store.billing import PROJECT, SEEN, time_entry
from tests.store.build import SAGA, begin, work_item
from tests.store.invoicing import (
    billed,
    billed_contract,
    invoice_of,
    items_of,
    opened,
    po,
    release,
)


def ids(graph: TraceGraph) -> set[str]:
    return {node.id for node in graph.nodes}


def names(graph: TraceGraph, kind: NodeKind) -> set[str]:
    return {node.name for node in graph.nodes if node.kind is kind}


async def test_one_number_of_two_things_is_told_apart_by_kind_and_connection(store: Store) -> None:
    await store.engagements.put(billed_contract())
    (hours,) = await billed(store, PROJECT)
    draft = await opened(store, [hours])
    await release(store, draft.id)
    await store.invoices.posted(draft.id, 1, invoice_of(draft, PROJECT), items_of(draft))
    tracer = Tracer(store)
    with pytest.raises(Ambiguous) as caught:
        await tracer.trace(PROJECT)
    meant = (f"project:kantata/{PROJECT}", f"time:kantata/{PROJECT}", f"invoice:netsuite/{PROJECT}")
    said = str(caught.value)
    assert said.endswith(": write one of these.")
    assert all(each in said for each in meant)
    for exact in meant:
        assert (await tracer.trace(exact)).focus == exact
        kind = exact.partition(":")[0]
        assert (await tracer.trace(f"{kind}:{PROJECT}")).focus == exact
    assert (await tracer.trace(f"netsuite/{PROJECT}")).focus == f"invoice:netsuite/{PROJECT}"
    with pytest.raises(Ambiguous, match="project:kantata/5001 or time:kantata/5001"):
        await tracer.trace(f"kantata/{PROJECT}")


async def test_a_project_that_another_client_took_over_shows_each_only_its_own(
    store: Store,
) -> None:
    await store.engagements.put(billed_contract())
    await store.engagements.put(
        billed_contract(id="salesforce/007", client_id="C2", effective_from=date(2026, 11, 10))
    )
    entries = [
        time_entry("1", service_date=date(2026, 11, 9)),
        time_entry("2", service_date=date(2026, 11, 10), submission_id="S2"),
    ]
    await store.entries.take_in(entries, SEEN)
    tracer = Tracer(store)
    mine, other = await tracer.trace("006"), await tracer.trace("007")
    assert names(mine, NodeKind.CLIENT) == {"C1"}
    assert names(other, NodeKind.CLIENT) == {"C2"}
    assert names(mine, NodeKind.TIME) == {"kantata/1"}
    assert names(other, NodeKind.TIME) == {"kantata/2"}
    assert [each.count for each in mine.counts if each.kind is NodeKind.TIME] == [1]
    assert (await tracer.trace("time:2")).nodes == (await tracer.trace("007")).nodes
    assert ids(await tracer.trace("S1")) == ids(mine)


async def test_deals_of_one_client_on_one_invoice_are_one_thread(store: Store) -> None:
    await store.engagements.put(billed_contract())
    await store.engagements.put(billed_contract(id="salesforce/007", project="5002"))
    (one,) = await billed(store, "1")
    (two,) = await billed(store, "2", project_id="5002")
    draft = await opened(store, [one], [two])
    await store.engagements.put(billed_contract(id="salesforce/008", project="5003"))
    tracer = Tracer(store)
    thread = await tracer.trace("006")
    assert names(thread, NodeKind.DEAL) == {"salesforce/006", "salesforce/007"}
    for word in ("007", "time:2", draft.id, "project:5001"):
        assert ids(await tracer.trace(word)) == ids(thread)
    whole = await tracer.trace("C1")
    assert names(whole, NodeKind.DEAL) == names(thread, NodeKind.DEAL) | {"salesforce/008"}


async def test_a_payment_and_its_reversal(store: Store) -> None:
    await store.engagements.put(billed_contract())
    (hours,) = await billed(store, "1")
    draft = await opened(store, [hours])
    await release(store, draft.id)
    issued = invoice_of(draft)
    await store.invoices.posted(draft.id, 1, issued, items_of(draft))

    async def look(invoice: Invoice) -> None:
        state, by = InvoiceState.PART_SETTLED, SettledBy.CASH
        await store.invoices.observe("netsuite", "9001", invoice, state, by)

    await look(invoice_of(draft, paid={"P1": 50}))
    tracer = Tracer(store)
    found = await tracer.trace("P1")
    assert found.focus == "payment:netsuite/P1"
    (paid,) = [node for node in found.nodes if node.id == found.focus]
    assert str(paid.amounts[0].money) == "50.00 USD"
    await look(issued)
    (back,) = [node for node in (await tracer.trace("P1")).nodes if node.id == found.focus]
    assert (back.state, str(back.amounts[0].money)) == ("taken_back", "0.00 USD")


async def test_work_that_no_contract_bills_has_a_thread_of_its_own(store: Store) -> None:
    await store.entries.take_in([time_entry("1"), time_entry("2")], SEEN)
    found = await Tracer(store).trace("time:1")
    assert ids(found) == {
        *("project:kantata/5001", "timesheet:kantata/S1"),
        *("time:kantata/1", "time:kantata/2"),
    }


async def test_a_withdrawn_version_counts_only_where_none_stands(store: Store) -> None:
    await store.engagements.put(billed_contract())
    await store.entries.take_in([time_entry("1"), time_entry("2")], SEEN)
    await store.entries.take_in([time_entry("1", 90)], SEEN)
    found = await Tracer(store).trace("006")
    (time,) = [each for each in found.counts if each.kind is NodeKind.TIME]
    assert time.count == 2
    (one,) = [node for node in found.nodes if node.id == "time:kantata/1"]
    assert "90 min" in one.title


async def test_a_saga_and_what_waits_in_it_are_found_before_any_contract(store: Store) -> None:
    start = begin().model_copy(update={"correlation_id": "corr-1"})
    await store.sagas.begin(start)
    await store.work_items.open(OpenWorkItem(item=work_item()))
    tracer = Tracer(store)
    deal = f"deal:{SAGA.partition('/')[2]}"
    for word, focus in {
        "006DT0000000001AAA": deal,
        SAGA: deal,
        "corr-1": deal,
        "WI-1": "work_item:WI-1",
    }.items():
        crms = Tracer(store, crms=("salesforce",))
        found = await crms.trace(word)
        assert found.focus == focus
        assert ids(found) == {deal, "work_item:WI-1"}
    (node,) = [node for node in (await tracer.trace("WI-1")).nodes if node.id == deal]
    assert node.state == "running"
    (saga,) = node.sagas
    assert (saga.workflow_id, saga.correlation_id) == (SAGA, "corr-1")
    with pytest.raises(NothingCalled):
        await tracer.trace("opportunity-to-project/salesforce/006DT0000000002AAA")


async def test_a_client_po_leads_to_its_drafts(store: Store) -> None:
    await store.engagements.put(billed_contract(client_po="PO-1"))
    await store.client_pos.put(po(1000))
    (hours,) = await billed(store, "1")
    draft = await opened(store, [hours])
    found = await Tracer(store).trace("PO-1")
    assert found.focus == "client_po:C1/PO-1"
    edges = {(edge.source, edge.target) for edge in found.edges}
    assert (found.focus, f"draft:{draft.id}") in edges
    assert ("line:salesforce/006/TM", found.focus) in edges


async def test_each_id_is_looked_up_by_an_index(store: Store) -> None:
    """No lookup reads a whole table of the month's size, however the planner is asked."""
    from store.thread_ids import LOOKUPS, _values
    from store.thread_sql import names_of

    values = _values("1", "", "", (), ("salesforce",))
    async with store.database.transaction() as session:
        await session.execute(text("SET LOCAL enable_seqscan = off"))
        for kind, statements in LOOKUPS.items():
            for statement in statements:
                named = {name: values[name] for name in names_of(statement)}
                explained = text(f"EXPLAIN {statement.text}")
                plan = "\n".join(row[0] for row in await session.execute(explained, named))
                scanned = [
                    line.split(" on ")[1].split()[0]
                    for line in plan.splitlines()
                    if "Seq Scan on" in line
                ]
                assert not set(scanned) - {"engagements"}, (kind, plan)
