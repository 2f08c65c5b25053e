"""A thread as a Mermaid flowchart, to be pasted where Mermaid is drawn.

Nodes are numbered, and everything from outside stands in quoted labels, in which each character
that could mean something to Mermaid or HTML is written as an entity code.
"""

from collections.abc import Iterable
from typing import Final

from operations.trace.graph import NodeKind, TraceGraph, TraceNode

LABEL_MAX: Final = 80
PLAIN: Final = frozenset(" .,:/@+-_()=")
"""What stands for itself in a label, beside letters and digits."""
_SHAPES: Final = {
    NodeKind.CLIENT: ("([", "])"),
    NodeKind.RUN: ("[[", "]]"),
    NodeKind.INVOICE: ("[/", "/]"),
    NodeKind.PAYMENT: ("((", "))"),
    NodeKind.WORK_ITEM: ("{{", "}}"),
}
_BOX: Final = ("[", "]")


def mermaid_of(graph: TraceGraph) -> str:
    """Return the flowchart; what is left out stands in it as a comment."""
    numbers = {node.id: f"n{place}" for place, node in enumerate(graph.nodes)}
    lines = ["flowchart LR", *(f"    %% {each}" for each in _left_out(graph))]
    lines += [f"    {numbers[node.id]}{_boxed(node)}" for node in graph.nodes]
    lines += [
        f'    {numbers[edge.source]} -->|"{escaped(edge.says)}"| {numbers[edge.target]}'
        for edge in graph.edges
    ]
    if graph.focus in numbers:
        lines.append(f"    style {numbers[graph.focus]} stroke-width:4px")
    return "\n".join(lines) + "\n"


def escaped(text: str) -> str:
    """Return a text as a label shows it, with nothing that could end the label or be markup."""
    cut = text if len(text) <= LABEL_MAX else f"{text[: LABEL_MAX - 1]}…"
    return "".join(_safe(each) for each in cut)


def _safe(character: str) -> str:
    if character.isalnum() or character in PLAIN:
        return character
    return f"#{ord(character)};" if character.isprintable() else " "


def _boxed(node: TraceNode) -> str:
    opens, closes = _SHAPES.get(node.kind, _BOX)
    amounts = ", ".join(f"{each.what} {each.money}" for each in node.amounts[:2])
    state = ", ".join(filter(None, (node.state.replace("_", " "), amounts)))
    lines = (f"{node.kind.replace('_', ' ')} {node.name}", node.title, state)
    return f'{opens}"{"<br/>".join(escaped(each) for each in lines if each)}"{closes}'


def _left_out(graph: TraceGraph) -> Iterable[str]:
    """Say how much more there is; a kind's name is ours, and numbers are numbers."""
    for each in graph.counts:
        if each.count > each.shown:
            yield f"{each.kind}: {each.shown} of {each.count} shown"
