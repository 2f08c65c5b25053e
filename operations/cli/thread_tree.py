"""A thread as a tree for a terminal: what came of what, each thing once, readable in 80 columns."""

from collections.abc import Iterable, Sequence
from typing import Final

from rich.text import Text
from rich.tree import Tree

from operations.cli.output import short
from operations.trace.graph import (
    NodeKind,
    TraceAmount,
    TraceCount,
    TraceEdge,
    TraceGraph,
    TraceNode,
)

TITLE_SHOWN: Final = 60
HANGS_UNDER: Final = {
    NodeKind.RUN: NodeKind.PROJECT,
    NodeKind.DRAFT: NodeKind.RUN,
    NodeKind.CLIENT_PO: NodeKind.LINE,
}
"""Where a node hangs that several lead to; of the others, under the first."""
PLURAL: Final = {
    NodeKind.TIME: "time entries",
    NodeKind.TIMESHEET: "timesheets and reports",
    NodeKind.CLIENT_PO: "client POs",
    NodeKind.SCHEDULE: "occurrences of schedules",
}


def thread_tree(graph: TraceGraph) -> Tree:
    """Return the tree, with the sums of each kind before it."""
    nodes = {node.id: node for node in graph.nodes}
    forwards: dict[str, list[TraceEdge]] = {}
    above = _above(graph, nodes)
    for edge in graph.edges:
        forwards.setdefault(edge.source, []).append(edge)
    root = Tree(Text(f"the thread of {graph.focus}", style="bold"))
    totals = root.add(Text("in all"))
    for count in graph.counts:
        totals.add(Text(_plain(_counted(count))))
    for node in graph.nodes:
        if node.id not in above:
            _hang(root, node, graph.focus, nodes, forwards, above)
    return root


def _above(graph: TraceGraph, nodes: dict[str, TraceNode]) -> dict[str, str]:
    """Return under which node each hangs; those that nothing led to are missing."""
    found: dict[str, str] = {}
    for edge in graph.edges:
        wanted = HANGS_UNDER.get(nodes[edge.target].kind)
        known = found.get(edge.target)
        better = known is None or (
            nodes[edge.source].kind is wanted and nodes[known].kind is not wanted
        )
        if better and not _leads(edge.target, edge.source, found):
            found[edge.target] = edge.source
    return found


def _leads(target: str, source: str, above: dict[str, str]) -> bool:
    """Whether the source hangs under the target: a rebill follows what it replaces."""
    each: str | None = source
    while each is not None and each != target:
        each = above.get(each)
    return each == target


def _hang(
    tree: Tree,
    node: TraceNode,
    focus: str,
    nodes: dict[str, TraceNode],
    forwards: dict[str, list[TraceEdge]],
    above: dict[str, str],
) -> None:
    asked = node.id == focus
    branch = tree.add(
        Text(_plain(_told(node)) + ("  ◀ this" if asked else ""), style="bold" if asked else "")
    )
    edges = forwards.get(node.id, [])
    elsewhere = [edge for edge in edges if above.get(edge.target) != node.id]
    if elsewhere:
        branch.add(Text(_plain("; ".join(_referred(elsewhere, nodes))), style="dim"))
    for fact in _facts(node):
        branch.add(Text(_plain(fact), style="dim"))
    for edge in edges:
        if above.get(edge.target) == node.id:
            _hang(branch, nodes[edge.target], focus, nodes, forwards, above)


def _told(node: TraceNode) -> str:
    facts = (
        f"{node.kind.replace('_', ' ')} {node.name}",
        short(" ".join(node.title.split()), TITLE_SHOWN),
        node.state.replace("_", " "),
        f"{node.on}" if node.on else "",
        _amounts(node.amounts),
    )
    return " · ".join(filter(None, facts))


def _facts(node: TraceNode) -> Iterable[str]:
    told = [f"{name} {value}" for name, value in node.facts.items()]
    if told:
        yield "; ".join(told)
    for saga in node.sagas:
        more = f", generation {saga.generation}" if saga.generation > 1 else ""
        yield f"saga {saga.workflow_id}: {saga.state.replace('_', ' ')}{more}"


def _referred(edges: Sequence[TraceEdge], nodes: dict[str, TraceNode]) -> Iterable[str]:
    for edge in edges:
        target = nodes[edge.target]
        yield f"{edge.says} {target.kind.replace('_', ' ')} {target.name}"


def _counted(count: TraceCount) -> str:
    plural = PLURAL.get(count.kind, f"{count.kind.replace('_', ' ')}s")
    head = f"{count.count:,} {plural if count.count != 1 else count.kind.replace('_', ' ')}"
    states = ", ".join(f"{many:,} {each.replace('_', ' ')}" for each, many in count.states.items())
    left = f"{count.shown:,} shown, --all shows them all" if count.shown < count.count else ""
    return " · ".join(filter(None, (head, states, _amounts(count.amounts), left)))


def _amounts(amounts: Iterable[TraceAmount]) -> str:
    return ", ".join(f"{each.what.replace('_', ' ')} {each.money}" for each in amounts)


def _plain(text: str) -> str:
    # Never what moves a terminal's cursor: titles and names are other people's.
    return "".join(each if each.isprintable() else " " for each in text)
