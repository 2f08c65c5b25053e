"""The graph of a thread: what `trace --json` and the API answer, and how it is put together.

An edge goes forwards, from what was sold to what was paid. A thread with more of a kind than are
asked for is told by its first ones; `counts` always counts all.
"""

from collections.abc import Iterable, Mapping, Sequence
from datetime import date
from decimal import Decimal
from enum import StrEnum
from typing import Annotated

from pydantic import Field

from canonical.model import CanonicalModel
from canonical.money import Money


class NodeKind(StrEnum):
    """What a node of a thread is."""

    CLIENT = "client"
    DEAL = "deal"
    ENGAGEMENT = "engagement"
    LINE = "line"
    """A contract line."""
    CLIENT_PO = "client_po"
    PROJECT = "project"
    """In the PSA."""
    ERP_PROJECT = "erp_project"
    TIMESHEET = "timesheet"
    """What was handed in for approval at once: a timesheet or an expense report."""
    TIME = "time"
    EXPENSE = "expense"
    ADJUSTMENT = "adjustment"
    MILESTONE = "milestone"
    SCHEDULE = "schedule"
    """An occurrence of a schedule."""
    RUN = "run"
    """A billing run, or the saga that reserved a milestone or an occurrence."""
    CHARGE = "charge"
    DRAFT = "draft"
    INVOICE = "invoice"
    MIRROR = "mirror"
    """The PSA's own invoice of a share of an issued one."""
    CREDIT = "credit"
    PAYMENT = "payment"
    WORK_ITEM = "work_item"


class TraceAmount(CanonicalModel):
    """An amount, and what it is of its node or kind."""

    what: Annotated[str, Field(examples=["net"])]
    money: Money


class TraceSaga(CanonicalModel):
    """A saga that works, or worked, at a node."""

    workflow_id: str
    saga: str
    generation: int
    state: Annotated[str, Field(examples=["completed"])]
    """Its outcome, or `open` or `closed` while it has none."""
    correlation_id: str = ""


class TraceNode(CanonicalModel):
    """One thing of the thread."""

    id: Annotated[str, Field(examples=["invoice:netsuite/9001"])]
    """`<kind>:<name>`, where the name begins with the connection if its kind has one. Asked for
    as it stands, it is never ambiguous."""
    kind: NodeKind
    name: str
    title: str = ""
    """In a few words, for people; the words of others are in it."""
    state: str = ""
    on: date | None = None
    amounts: tuple[TraceAmount, ...] = ()
    facts: dict[str, str] = {}
    sagas: tuple[TraceSaga, ...] = ()


class TraceEdge(CanonicalModel):
    """What became of one thing in another: forwards."""

    source: str
    target: str
    says: Annotated[str, Field(examples=["became"])]


class TraceCount(CanonicalModel):
    """How much there is of one kind in the whole thread, shown or not."""

    kind: NodeKind
    count: int
    shown: int
    states: dict[str, int] = {}
    amounts: tuple[TraceAmount, ...] = ()
    """Sums by currency. Of entries: by disposition, what their first billing cycle came to."""


class TraceGraph(CanonicalModel):
    """A whole thread, or the first of each kind of it."""

    asked: str
    focus: str
    """Id of the node that was asked for."""
    limit: int | None
    """At most so many of each kind are shown; None: all."""
    depth: int | None
    """Nodes further from the focus than so many edges are left out; None: none are."""
    nodes: tuple[TraceNode, ...]
    edges: tuple[TraceEdge, ...]
    counts: tuple[TraceCount, ...]

    @property
    def whole(self) -> bool:
        """Whether nothing is left out."""
        return all(each.count == each.shown for each in self.counts)


ENTRY_KINDS = (NodeKind.TIME, NodeKind.EXPENSE, NodeKind.ADJUSTMENT)


def node_id(kind: NodeKind, *name: str) -> str:
    """Return the id of a node; its name is given in parts."""
    return f"{kind}:{'/'.join(name)}"


class Web:
    """Nodes and edges as they are found; what is found twice is there once."""

    def __init__(self) -> None:
        self.nodes: dict[str, TraceNode] = {}
        self.edges: dict[tuple[str, str], TraceEdge] = {}

    def add(self, kind: NodeKind, *name: str, **values: object) -> str:
        """Have a node, and return its id; empty values say nothing."""
        id_ = node_id(kind, *name)
        known = self.nodes.get(id_)
        if known is None:
            given = {"id": id_, "kind": kind, "name": "/".join(name), **values}
            self.nodes[id_] = TraceNode.model_validate(given)
        return id_

    def tell(self, id_: str, **facts: str) -> None:
        """Add facts to a node."""
        node = self.nodes[id_]
        self.nodes[id_] = node.model_copy(update={"facts": {**node.facts, **facts}})

    def link(self, source: str, target: str, says: str) -> None:
        """Have an edge, if both its ends are there."""
        if source in self.nodes and target in self.nodes and source != target:
            found = TraceEdge(source=source, target=target, says=says)
            self.edges.setdefault((source, target), found)


def amount(what: str, value: Decimal, currency: str) -> TraceAmount:
    """Return an amount of the store; one that is finer than its currency is rounded for show."""
    return TraceAmount(what=what, money=Money.rounded(value, currency))


def summed(nodes: Iterable[TraceNode]) -> tuple[TraceAmount, ...]:
    """Return the sums of the nodes' amounts, by what they are and currency."""
    sums: dict[tuple[str, str], Decimal] = {}
    for node in nodes:
        for each in node.amounts:
            key = (each.what, each.money.currency)
            sums[key] = sums.get(key, Decimal(0)) + each.money.amount
    return tuple(amount(what, total, currency) for (what, currency), total in sums.items())


def counted(
    kind: NodeKind, nodes: Sequence[TraceNode], shown: int, states: Mapping[str, int] | None = None
) -> TraceCount:
    """Return the count of one kind that was found whole."""
    if states is None:
        by_state: dict[str, int] = {}
        for node in nodes:
            by_state[node.state] = by_state.get(node.state, 0) + 1
        states = {state: many for state, many in by_state.items() if state}
    return TraceCount(
        kind=kind, count=len(nodes), shown=shown, states=dict(states), amounts=summed(nodes)
    )
