"""All that is kept of one thing: an invoice's way back, an entry's moves, a saga's trail."""

import json
from typing import Any

from canonical.entries import EntryKind, EntryRef
from canonical.ids import milestone_to_invoice_id, opportunity_to_project_id
from operations.cli.billing import show_entry
from operations.cli.output import fail, say, show_json, show_table
from operations.cli.way_tree import show_way, show_way_json
from operations.mistakes import Mistake
from operations.story import told
from operations.trace.finding import Found
from operations.trace.graph import ENTRY_KINDS, NodeKind
from operations.trace.thread import Tracer
from operations.way_back import WayFinder
from store import Store
from store.sagas import CrossReference


async def show_detail(tracer: Tracer, asked: str, *, everything: bool, as_json: bool) -> None:
    """Print the detail of one thing; of what is no invoice, draft, entry or saga there is none.

    Raises:
        Mistake: nothing, or more than one thing, has this id; or there is no more to tell of it.
    """
    if "/" in asked and await tracer.store.sagas.state(asked) is not None:
        await _saga(tracer.store, asked, as_json=as_json)
        return
    found = await tracer.find(asked)
    system, _, id_ = found.name.partition("/")
    if found.kind in {NodeKind.INVOICE, NodeKind.DRAFT}:
        finder = WayFinder(tracer.store)
        is_draft = found.kind is NodeKind.DRAFT
        way = await (finder.of_draft(found.name) if is_draft else finder.of_invoice(system, id_))
        show_way_json(way) if as_json else show_way(way, everything=everything)
    elif found.kind in ENTRY_KINDS:
        entry = EntryRef(kind=EntryKind(found.kind), id=id_)
        traced = await tracer.store.subledger.trace(system, entry)
        show_json(traced) if as_json else show_entry(traced)
    else:
        await _saga(tracer.store, await _saga_of(tracer.store, found), as_json=as_json)


async def _saga_of(store: Store, found: Found) -> str:
    system, _, id_ = found.name.partition("/")
    named = {
        NodeKind.DEAL: opportunity_to_project_id(system, id_),
        NodeKind.MILESTONE: milestone_to_invoice_id(system, id_),
        NodeKind.RUN: found.name,
        NodeKind.CREDIT: found.name,
    }
    workflow_id = str(named.get(found.kind, ""))
    if not workflow_id or await store.sagas.state(workflow_id) is None:
        raise Mistake(f"There is no more detail of {found.focus} than in its thread.")
    return workflow_id


async def _saga(store: Store, workflow_id: str, *, as_json: bool) -> None:
    records = (await store.sagas.trace(workflow_id)).references
    trail = await store.audit.trail(workflow_id)
    broken = await store.audit.verify(workflow_id)
    if as_json:
        acts: list[dict[str, Any]] = [
            {**entry.model_dump(mode="json", exclude={"data_json"})}
            | {"data": json.loads(entry.data_json), "told": told(entry)}
            for entry in trail
        ]
        show_json(
            {"workflow_id": workflow_id, "acts": acts, "records": records, "broken_at": broken}
        )
    else:
        rows = ((f"{e.at:%Y-%m-%d %H:%M:%S}", e.actor, told(e)) for e in trail)
        show_table(workflow_id, ("at (UTC)", "who", "what"), rows)
        show_table("Records", ("system", "type", "id", "how", "by step"), map(_record, records))
        if broken is None:
            say("The trail is intact.")
    if broken is not None:
        fail(f"THE TRAIL IS BROKEN at entry {broken}: someone changed it.")


def _record(reference: CrossReference) -> tuple[str, ...]:
    record = reference.record
    how = f"{reference.outcome}, then undone" if reference.undone_at else reference.outcome
    return record.system, record.type, record.id, how, reference.step
