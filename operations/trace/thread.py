"""Tells the whole thread of an id: finds it, reads its facts, and shows the first of each kind."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from operations.trace.contracts import add_contracts
from operations.trace.finding import Finder, Found, NothingCalled
from operations.trace.graph import (
    ENTRY_KINDS,
    NodeKind,
    TraceCount,
    TraceEdge,
    TraceGraph,
    TraceNode,
    Web,
    amount,
    counted,
)
from operations.trace.invoices import add_drafts, add_invoices, add_work_items
from operations.trace.work import add_work
from store import Store
from store.threads import Facts, Near, Scope

SHOWN: Final = 20
"""Nodes of one kind that are shown where no more are asked for."""


@dataclass(frozen=True)
class Tracer:
    """Tells threads from one store; whoever asks sees the thread of one client."""

    store: Store
    full_ids: Callable[[str], tuple[str, ...]] = lambda id_: (id_,)
    """Every way to write the id of a deal."""
    crms: tuple[str, ...] = ()

    async def trace(
        self, asked: str, *, limit: int | None = SHOWN, depth: int | None = None
    ) -> TraceGraph:
        """Return the thread of an id of any system; see `Finder.find` for what it may be.

        Raises:
            Mistake: nothing, or more than one thing, has this id.
        """
        found = await self.find(asked)
        engagements = await self.store.threads.whole(found.engagements)
        loose = () if engagements else found.projects
        near = await self._near(found)
        facts = await self.store.threads.facts(Scope(engagements, loose), near, limit)
        web = _woven(facts, engagements)
        if found.focus not in web.nodes:
            raise NothingCalled(f"{found.focus} is in no thread: it may have been taken back.")
        return _shown(web, facts, asked, found.focus, limit, depth)

    async def find(self, asked: str) -> Found:
        """Return what an id means; see `Finder.find`, also for what it raises."""
        return await Finder(self.store, self.full_ids, self.crms).find(asked)

    async def _near(self, found: Found) -> Near:
        drafts = await self.store.threads.drafts_of(found.kind, found.name)
        return Near(found.kind, found.name, drafts)


def _woven(facts: Facts, engagements: Iterable[str]) -> Web:
    web = Web()
    add_contracts(web, facts, engagements)
    for span in facts.spans:
        web.add(NodeKind.PROJECT, span.psa, span.project_id)
    add_drafts(web, facts)
    add_work(web, facts)
    add_invoices(web, facts)
    add_work_items(web, facts)
    return web


def _shown(
    web: Web, facts: Facts, asked: str, focus: str, limit: int | None, depth: int | None
) -> TraceGraph:
    edges = list(web.edges.values())
    kept = _first(web.nodes, _close(focus, edges), focus, limit)
    if depth is not None:
        kept &= _within(focus, edges, depth)
    nodes = tuple(node for id_, node in web.nodes.items() if id_ in kept)
    return TraceGraph(
        asked=asked,
        focus=focus,
        limit=limit,
        depth=depth,
        nodes=nodes,
        edges=tuple(_bridged(edges, kept)),
        counts=tuple(_counts(web, facts, nodes)),
    )


def _close(focus: str, edges: Sequence[TraceEdge]) -> set[str]:
    """Return what led to the focus, and what came of it."""
    return _reached(focus, _by(edges, "source", "target")) | _reached(
        focus, _by(edges, "target", "source")
    )


def _by(edges: Iterable[TraceEdge], of: str, to: str) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for edge in edges:
        found.setdefault(getattr(edge, of), []).append(getattr(edge, to))
    return found


def _reached(start: str, onwards: Mapping[str, Sequence[str]]) -> set[str]:
    seen, waits = {start}, [start]
    while waits:
        for each in onwards.get(waits.pop(), ()):
            if each not in seen:
                seen.add(each)
                waits.append(each)
    return seen


def _first(
    nodes: Mapping[str, TraceNode], close: set[str], focus: str, limit: int | None
) -> set[str]:
    """Return the first nodes of each kind: the focus, what is close to it, then the others."""
    if limit is None:
        return set(nodes)
    by_kind: dict[NodeKind, list[str]] = {}
    for id_, node in nodes.items():
        by_kind.setdefault(node.kind, []).append(id_)
    kept: set[str] = set()
    for ids in by_kind.values():
        ids.sort(key=lambda id_: (id_ != focus, id_ not in close))
        kept.update(ids[:limit])
    return kept


def _within(focus: str, edges: Sequence[TraceEdge], depth: int) -> set[str]:
    """Return what is at most so many edges away, whichever way they go."""
    around = _by(edges, "source", "target")
    for target, sources in _by(edges, "target", "source").items():
        around.setdefault(target, []).extend(sources)
    seen, edge_of_it = {focus}, {focus}
    for _ in range(depth):
        edge_of_it = {each for id_ in edge_of_it for each in around.get(id_, ())} - seen
        seen |= edge_of_it
    return seen


def _bridged(edges: Sequence[TraceEdge], kept: set[str]) -> list[TraceEdge]:
    """Return the edges between what is shown; over what is not, one that says so."""
    shown = [edge for edge in edges if edge.source in kept and edge.target in kept]
    led_to = {edge.target for edge in shown}
    backwards = _by(edges, "target", "source")
    for edge in edges:
        if edge.target not in kept or edge.target in led_to:
            continue
        above = _nearest(edge.source, backwards, kept)
        if above:
            led_to.add(edge.target)
            shown.append(TraceEdge(source=above, target=edge.target, says="led to, over others"))
    return shown


def _nearest(start: str, backwards: Mapping[str, Sequence[str]], kept: set[str]) -> str:
    seen, waits = {start}, [start]
    for id_ in waits:
        if id_ in kept:
            return id_
        waits += [each for each in backwards.get(id_, ()) if each not in seen]
        seen.update(waits)
    return ""


def _counts(web: Web, facts: Facts, shown: Sequence[TraceNode]) -> Iterable[TraceCount]:
    by_kind: dict[NodeKind, list[TraceNode]] = {}
    for node in web.nodes.values():
        by_kind.setdefault(node.kind, []).append(node)
    many = {kind: sum(node.kind is kind for node in shown) for kind in NodeKind}
    whole = {NodeKind.TIMESHEET: facts.timesheets, NodeKind.CHARGE: facts.charges_count}
    for kind in NodeKind:
        if kind in ENTRY_KINDS:
            yield from _counted_entries(kind, facts, many[kind])
        elif kind in by_kind:
            found = counted(kind, by_kind[kind], many[kind])
            if whole.get(kind, 0) > found.count:
                # Of these only those of the entries at hand were read: no sums of a part.
                found = TraceCount(kind=kind, count=whole[kind], shown=many[kind])
            yield found


def _counted_entries(kind: NodeKind, facts: Facts, shown: int) -> Iterable[TraceCount]:
    states = {each.state: each.entries for each in facts.totals if each.kind == kind}
    if states:
        money = [each for each in facts.money if each.kind == kind]
        yield TraceCount(
            kind=kind,
            count=sum(states.values()),
            shown=shown,
            states=states,
            amounts=tuple(amount(each.disposition, each.amount, each.currency) for each in money),
        )
