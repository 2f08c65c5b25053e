"""A graph by hand, with the words of others in it."""

from datetime import date
from decimal import Decimal

from canonical.money import Money
from operations.trace.graph import (
    NodeKind,
    TraceAmount,
    TraceCount,
    TraceEdge,
    TraceGraph,
    TraceNode,
    TraceSaga,
)

HOSTILE = (
    'x"]; click n0 "javascript:alert(1)"\n  end --> y{{"z"}}|<script>&quot;#34;`%%{init: {}}%%',
    "]) --> n1; subgraph [red]*now*[/red]",
    "\x1b[2J\r\n%% gone",
    '#quot;"#quot;',
    "end",
    "1. a list; 🚀 عربي 日本語",
)


def node(kind: NodeKind, name: str, title: str = "", **values: object) -> TraceNode:
    return TraceNode.model_validate(
        {"id": f"{kind}:{name}", "kind": kind, "name": name, "title": title, **values}
    )


def money(amount: str) -> Money:
    return Money(amount=Decimal(amount), currency="EUR")


def graph(*titles: str) -> TraceGraph:
    """A client with a deal for each title, each on one invoice."""
    client = node(NodeKind.CLIENT, "001", "Müller & Söhne")
    saga = TraceSaga(
        workflow_id="opportunity-to-project/salesforce/006DT0000000001AAA",
        saga="OpportunityToProject",
        generation=2,
        state="completed_with_residue",
    )
    deals = [
        node(NodeKind.DEAL, f"salesforce/{title}", title, state="completed", sagas=(saga,))
        for title in titles
    ]
    invoice = node(
        NodeKind.INVOICE,
        "netsuite/9001",
        titles[0],
        state="part_settled",
        on=date(2026, 11, 30),
        amounts=(TraceAmount(what="net", money=money("1234567.89")),),
        facts={"note": titles[-1]},
    )
    nodes = (client, *deals, invoice)
    edges = [TraceEdge(source=client.id, target=deal.id, says="bought") for deal in deals]
    edges += [TraceEdge(source=deal.id, target=invoice.id, says="became") for deal in deals]
    return TraceGraph(
        asked="001",
        focus=client.id,
        limit=20,
        depth=None,
        nodes=nodes,
        edges=tuple(edges),
        counts=(
            TraceCount(kind=NodeKind.CLIENT, count=1, shown=1),
            TraceCount(kind=NodeKind.DEAL, count=5_000, shown=len(deals)),
            TraceCount(kind=NodeKind.INVOICE, count=1, shown=1, amounts=invoice.amounts),
        ),
    )
