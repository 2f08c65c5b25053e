"""Over the golden month: whichever id of a thread is asked for, it is the same whole thread."""

from collections.abc import AsyncIterator
from dataclasses import dataclass

import pytest
import pytest_asyncio

from canonical.money import Money
from operations.mistakes import Mistake
from operations.trace.finding import NothingCalled
from operations.trace.graph import NodeKind, TraceGraph, TraceNode
from operations.trace.thread import Tracer
from store import Store, make_store
from tests.golden.invoice_files import draft_rows, invoice_ref, table
from tests.golden.invoice_month import Month, Seen
from tests.support.postgres import PostgresForTests, new_name

CLIENTS = {row["client"]: row["engagement"] for row in table("month_end")}


@dataclass
class Firm:
    """The month as it was gone through, and what tells its threads."""

    store: Store
    seen: Seen
    tracer: Tracer
    threads: dict[str, TraceGraph]
    """By client, whole."""

    def node(self, client: str, id_: str) -> TraceNode:
        return next(node for node in self.threads[client].nodes if node.id == id_)


@pytest_asyncio.fixture(scope="module")
async def firm(postgres: PostgresForTests) -> AsyncIterator[Firm]:
    name = new_name()
    store = make_store(await postgres.create(name))
    seen = await Month(store).run()
    tracer = Tracer(store)
    threads = {client: await tracer.trace(f"client:{client}", limit=None) for client in CLIENTS}
    yield Firm(store, seen, tracer, threads)
    await store.aclose()
    await postgres.drop(name)


def ids(graph: TraceGraph) -> set[str]:
    return {node.id for node in graph.nodes}


def edges(graph: TraceGraph) -> set[tuple[str, str, str]]:
    return {(edge.source, edge.target, edge.says) for edge in graph.edges}


def of_kind(graph: TraceGraph, kind: NodeKind) -> list[TraceNode]:
    return [node for node in graph.nodes if node.kind is kind]


@pytest.mark.parametrize("client", CLIENTS)
async def test_from_every_node_one_reaches_the_same_thread(firm: Firm, client: str) -> None:
    whole = firm.threads[client]
    assert len(whole.nodes) > 8
    for node in whole.nodes:
        found = await firm.tracer.trace(node.id, limit=None)
        assert found.focus == node.id
        assert ids(found) == ids(whole), node.id
        assert edges(found) == edges(whole), node.id
        assert found.counts == whole.counts


def test_nothing_is_in_the_threads_of_two_clients(firm: Firm) -> None:
    seen: dict[str, str] = {}
    for client, thread in firm.threads.items():
        assert [node.name for node in of_kind(thread, NodeKind.CLIENT)] == [client]
        for id_ in ids(thread):
            # ERP project ids are the firm's own, and each has one client too.
            assert seen.setdefault(id_, client) == client, id_


@pytest.mark.parametrize("name", draft_rows())
async def test_an_invoice_is_found_by_id_number_and_connection(firm: Firm, name: str) -> None:
    row, of = draft_rows()[name], invoice_ref(name)
    invoice = firm.seen.invoices[name]
    for word in {of.id, f"{of.system}/{of.id}", invoice.number, f"invoice/{of.system}/{of.id}"}:
        found = await firm.tracer.trace(word, limit=None)
        assert found.focus == f"invoice:{of.system}/{of.id}"
        assert ids(found) == ids(firm.threads[row["client"]])
    node = firm.node(row["client"], f"invoice:{of.system}/{of.id}")
    amounts = {each.what: each.money for each in node.amounts}
    assert amounts == {
        "net": invoice.net,
        "tax": invoice.tax,
        "gross": invoice.gross,
        "remaining": invoice.remaining,
    }
    assert node.state == row["state"]


async def test_ids_as_people_and_systems_have_them(firm: Firm) -> None:
    draft = firm.seen.made["D1"].id
    for word, focus in {
        "TM": "deal:salesforce/TM",
        "salesforce/TM": "deal:salesforce/TM",
        "opportunity-to-project/salesforce/TM": "deal:salesforce/TM",
        "engagement:salesforce/TM": "engagement:salesforce/TM",
        "line:salesforce/TM/TM-1": "line:salesforce/TM/TM-1",
        "apex": "client:apex",
        "client:netsuite/C-apex": "client:apex",
        "C-apex": "client:apex",
        "501": "project:kantata/501",
        "P-501": "erp_project:netsuite/P-501",
        "time:A01": "time:kantata/A01",
        "A01": "time:kantata/A01",
        "kantata/A30": "expense:kantata/A30",
        "billing-run/kantata/501/2026-11/1": "run:billing-run/kantata/501/2026-11/1",
        "time-to-billing/kantata/501/2026-11": "project:kantata/501",
        draft: f"draft:{draft}",
        draft.removeprefix("invoice-draft/"): f"draft:{draft}",
        f"invoice-posting/{draft.removeprefix('invoice-draft/')}/1": f"draft:{draft}",
        "7001": f"credit:{firm.seen.credits['K1'].credit.id}",
    }.items():
        found = await firm.tracer.trace(word, limit=None)
        assert found.focus == focus, word
        assert ids(found) == ids(firm.threads["apex"]), word
    assert (await firm.tracer.trace("GAM-7")).focus == "client_po:gamma/GAM-7"
    assert (await firm.tracer.trace("client_po:gamma/GAM-7")).focus == "client_po:gamma/GAM-7"


def test_what_was_worked_leads_to_what_was_paid(firm: Firm) -> None:
    thread = firm.threads["apex"]
    of, draft = invoice_ref("D1"), firm.seen.made["D1"].id
    run, invoice = "run:billing-run/kantata/501/2026-11/1", f"invoice:{of.system}/{of.id}"
    (credit,) = of_kind(thread, NodeKind.CREDIT)
    payments = of_kind(thread, NodeKind.PAYMENT)
    assert payments
    wanted = {
        ("client:apex", "deal:salesforce/TM", "bought"),
        ("deal:salesforce/TM", "engagement:salesforce/TM", "became"),
        ("engagement:salesforce/TM", "line:salesforce/TM/TM-1", "has"),
        ("line:salesforce/TM/TM-1", "project:kantata/501", "is delivered in"),
        ("project:kantata/501", "erp_project:netsuite/P-501", "is kept in the ERP as"),
        ("time:kantata/A01", run, "was taken by"),
        ("time:kantata/A01", f"draft:{draft}", "is billed on"),
        (run, f"draft:{draft}", "was drafted on"),
        (f"draft:{draft}", invoice, "became"),
        (invoice, credit.id, "was credited"),
        *((invoice, payment.id, "was settled by") for payment in payments),
    }
    assert wanted <= edges(thread)
    assert credit.amounts[0].money == firm.seen.credits["K1"].credit.net


def test_a_rebill_follows_from_its_credit(firm: Firm) -> None:
    credit = f"credit:{firm.seen.credits['K3'].credit.id}"
    again = f"draft:{firm.seen.made['D10'].id}"
    assert (credit, again, "is billed again on") in edges(firm.threads["borealis"])


def test_schedules_and_milestones_lead_to_their_invoices(firm: Firm) -> None:
    thread = firm.threads["cascade"]
    occurrences = of_kind(thread, NodeKind.SCHEDULE)
    assert len(occurrences) >= 3
    drafted = {edge.source for edge in thread.edges if edge.says == "is billed on"}
    for each in occurrences:
        assert ("line:salesforce/FF/FF-1", each.id, "makes due") in edges(thread)
        assert each.id in drafted


async def test_sums_are_those_of_the_subledger(firm: Firm) -> None:
    for standing in firm.seen.conservation:
        thread = firm.threads[standing.client_id]
        found: dict[str, Money] = {}
        for count in thread.counts:
            if count.kind in {NodeKind.TIME, NodeKind.EXPENSE, NodeKind.ADJUSTMENT}:
                for each in count.amounts:
                    if each.money.currency == standing.currency:
                        known = found.get(each.what)
                        found[each.what] = each.money if known is None else known + each.money
        rated = sum(each.amount for each in found.values())
        # A rebill places again what it re-opens: the subledger counts each cycle.
        placed = {key: value for key, value in standing.placed.items() if value}
        if standing.client_id != "borealis":
            assert rated == standing.rated
            assert {what for what, each in found.items() if each.amount} == set(placed)


async def test_the_first_of_each_kind_are_shown_and_all_are_counted(firm: Firm) -> None:
    whole = firm.threads["apex"]
    found = await firm.tracer.trace("time:kantata/A25", limit=2)
    assert found.focus in ids(found)
    for count in found.counts:
        assert count.shown == sum(node.kind is count.kind for node in found.nodes)
        assert count.shown <= 2
    assert {each.kind: each.count for each in found.counts} == {
        each.kind: each.count for each in whole.counts
    }
    assert not found.whole
    assert whole.whole
    # What is shown hangs together.
    led_to = {edge.target for edge in found.edges}
    assert {node.id for node in found.nodes} - led_to == {"client:apex"}


async def test_depth_leaves_out_what_is_further_away(firm: Firm) -> None:
    of = invoice_ref("D1")
    focus = f"invoice:{of.system}/{of.id}"
    found = await firm.tracer.trace(focus, limit=None, depth=1)
    whole = firm.threads["apex"]
    near = {edge.source for edge in whole.edges if edge.target == focus}
    near |= {edge.target for edge in whole.edges if edge.source == focus}
    assert ids(found) == {focus} | near
    assert not found.whole


@pytest.mark.parametrize("word", ["nothing", "time:nothing", "0", "netsuite/404", "'; DROP TABLE"])
async def test_what_nobody_knows_is_said(firm: Firm, word: str) -> None:
    with pytest.raises(NothingCalled, match="Nothing is known of"):
        await firm.tracer.trace(word)


@pytest.mark.parametrize("word", ["", "x" * 256, "a\x00b", "a\nb"], ids=repr)
async def test_what_can_be_no_id_is_refused(firm: Firm, word: str) -> None:
    with pytest.raises(Mistake, match="cannot be the name of anything"):
        await firm.tracer.trace(word)
