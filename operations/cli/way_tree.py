"""The way back from an invoice as a tree: for people, bounded; `--json` has everything."""

import json
from collections.abc import Iterable, Sequence
from typing import Final, TypeVar

import typer
from rich.text import Text
from rich.tree import Tree

from canonical.entries import Entry
from canonical.evidence import VendorCall
from canonical.rating import Rated
from operations.cli.output import OUT, plain, short
from operations.documents.filling import billed
from operations.way_back import WayBack, WayDeal, WayLine, WaySaga, name_of, subject_of
from store.finances import TracedBill

SHOWN: Final = 20
"""Entries of a line, and lines, that are shown without `--all`."""
NARRATIVE_SHOWN: Final = 60
HASH_SHOWN: Final = 12
DAY: Final = "%Y-%m-%d"
MOMENT: Final = "%Y-%m-%d %H:%M"

T = TypeVar("T")


def show_way(way: WayBack, *, everything: bool = False) -> None:
    """Print the way back; of each list the first 20, or all."""
    OUT.print(tree_of(way, None if everything else SHOWN), highlight=False)


def show_way_json(way: WayBack) -> None:
    """Print all of it as JSON, plainly: colouring some megabytes takes many seconds."""
    typer.echo(json.dumps(plain(way), indent=2))


def tree_of(way: WayBack, most: int | None) -> Tree:
    """Return the way back as a tree, with at most so many branches of one kind beside another."""
    root = Tree(Text(_head(way), style="bold"))
    _draft(root, way)
    for deal in way.deals:
        _deal(root, deal)
    for saga in way.sagas:
        _saga(root, saga, most)
    for line in _bounded(root, way.lines, most, "lines"):
        _line(root, way, line, most)
    return root


def _head(way: WayBack) -> str:
    invoice = way.invoice
    if invoice is None:
        return f"{way.draft.id}: {way.draft.state}, net {way.net}, no invoice yet"
    facts = (
        f"invoice {invoice.number or 'without a number'} ({subject_of(invoice)})",
        f"{invoice.state.replace('_', ' ')}, dated {invoice.on}",
        f"period {invoice.period}" if invoice.period else "",
        f"net {invoice.net}, tax {invoice.tax}, gross {invoice.gross}",
        f"open {invoice.remaining}",
    )
    return " · ".join(filter(None, facts))


def _draft(root: Tree, way: WayBack) -> None:
    draft = way.draft
    node = _add(root, f"draft {draft.id}, version {draft.version}")
    if draft.released_by and draft.released_at:
        hash_ = draft.released_hash[:HASH_SHOWN]
        _add(node, f"released by {draft.released_by}, {draft.released_at:{MOMENT}}, hash {hash_}")
    else:
        _add(node, f"nobody has released it; hash {way.content_hash[:HASH_SHOWN]}")
    _add(node, f"policies {draft.bundle[:HASH_SHOWN]}")
    if draft.preparers:
        _add(node, f"prepared by {', '.join(draft.preparers)}")
    if draft.client_po:
        _add(node, f"client PO {draft.client_po}")


def _deal(root: Tree, deal: WayDeal) -> None:
    title = f", {deal.title}" if deal.title else ""
    node = _add(root, f"deal {deal.opportunity_id} in {deal.crm}{title}")
    if deal.client_name:
        _add(node, f"client {deal.client_name}")
    _add(node, f"project {', '.join(deal.projects)} in {deal.psa}")
    _add(node, f"provisioned by {deal.workflow_id}")


def _saga(root: Tree, saga: WaySaga, most: int | None) -> None:
    ended = f", {saga.ended_at:{MOMENT}}" if saga.ended_at else ""
    outcome = saga.outcome.replace("_", " ") or "under way"
    node = _add(root, f"{saga.workflow_id}: {outcome}{ended}")
    for call in _bounded(node, saga.calls, most, "calls"):
        _add(node, _call(call))


def _call(call: VendorCall) -> str:
    records = [f"{each.type} {each.id}" for each in call.records]
    shown = ", ".join(records[:3]) + (f" and {len(records) - 3} more" if len(records) > 3 else "")
    undone = f", undone: {call.undo}" if call.undone_at else ""
    facts = (f"{call.step}: {call.outcome}", shown, f"in {call.connection}")
    return f"{' '.join(filter(None, facts))}, {call.at:{MOMENT}}{undone}"


def _line(root: Tree, way: WayBack, line: WayLine, most: int | None) -> None:
    narrative = short(" ".join(line.narrative.split()), NARRATIVE_SHOWN)
    if not line.number:
        _add(root, f"a line added in the issuing system: {narrative}, {line.net}")
        return
    drafted = line.drafted
    same = drafted is not None and drafted.amount == line.net
    quantity = f", {drafted.quantity:f} × {drafted.unit_price:f}" if drafted and same else ""
    node = _add(root, f"line {line.number}: {narrative}{quantity} = {line.net}")
    if drafted and drafted.written_down:
        _add(node, f"written down by {drafted.written_down}")
    if line.credited and line.credited.amount:
        _add(node, f"credited {line.credited}")
    charges = dict.fromkeys(bill.charge for bill in line.bills if bill.charge)
    for charge in _bounded(node, tuple(charges), most, "charges"):
        _add(node, f"charge {charge} in {way.draft.erp}")
    for bill in _bounded(node, line.bills, most, "entries"):
        _bill(node, way, bill)


def _bill(node: Tree, way: WayBack, bill: TracedBill) -> None:
    if bill.fee is not None:
        fee = bill.fee
        below = _add(node, f"{fee.source} {fee.item}: {billed(bill)}, contract line {fee.line}")
        when = f", {fee.approved_at:{MOMENT}}" if fee.approved_at else ""
        who = ", ".join(name_of(way.person(each)) for each in fee.approved_by)
        _add(below, f"approved by {who or 'nobody named'}{when}")
        if fee.acceptance:
            _add(below, f"accepted by the client: {short(fee.acceptance, NARRATIVE_SHOWN)}")
        _add(below, f"by {bill.run}")
        return
    if bill.entry is None:
        return
    below = _add(node, f"{_entry(way, bill, bill.entry)} = {billed(bill)}")
    by = name_of(way.person(bill.entry.approved_by)) if bill.entry.approved_by else "nobody named"
    at = bill.entry.approved_at or bill.approved_at
    when = f", {at:{MOMENT}}" if at else ""
    _add(below, f"approved by {by}{when}; {bill.run}{_cycle(bill)}")
    if bill.rated and bill.rated.fx:
        fx = bill.rated.fx
        rate = f"{fx.rate:f} {fx.to_currency} for one {fx.from_currency}"
        _add(below, f"converted at {rate} ({fx.source}, {fx.valid_from})")


def _entry(way: WayBack, bill: TracedBill, entry: Entry) -> str:
    facts = [
        str(entry.ref),
        f"{entry.service_date:{DAY}}",
        name_of(way.person(entry.person_id)),
        entry.role,
        f"{bill.minutes} min" if entry.minutes is not None else f"{entry.category or 'expense'}",
    ]
    return " · ".join(filter(None, (*facts, _rate(bill.rated))))


def _rate(rated: Rated | None) -> str:
    if rated is None or rated.rate is None:
        return ""
    more = f" × {rated.multiplier:f}" if rated.multiplier != 1 else ""
    return f"{rated.rate.rate:f} {rated.rate.currency}/h{more} ({rated.rate.source})"


def _cycle(bill: TracedBill) -> str:
    return f"; billing cycle {bill.cycle}" if bill.cycle > 1 else ""


def _bounded(node: Tree, items: Sequence[T], most: int | None, what: str) -> Iterable[T]:
    """Yield the first ones; after them the node says how many more there are."""
    shown = items if most is None else items[:most]
    yield from shown
    if len(shown) < len(items):
        _add(node, f"and {len(items) - len(shown)} more {what}: --all shows them")


def _add(node: Tree, text: str) -> Tree:
    # Never markup, nor what moves a terminal's cursor: narratives and names are other people's.
    plain = "".join(each if each.isprintable() else " " for each in text)
    return node.add(Text(plain))
