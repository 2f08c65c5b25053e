"""What is on an invoice (section 10.2): items it claims, items of its own, and their worth.

An item is claimed by one invoice at a time; a cancelled invoice keeps its lists and frees them.
"""

from collections.abc import Mapping
from decimal import Decimal
from typing import ClassVar

from simulators.kantata import amounts, approvals
from simulators.kantata.collection import Collection
from simulators.kantata.errors import Problem, problem
from simulators.kantata.scene import Scene
from simulators.kantata.values import (
    BadValue,
    Field,
    Fields,
    Kind,
    ids_in,
    objects_in,
    parse_value,
    text_in,
    to_cents,
)
from simulators.kit import JsonValue, Record

CLAIMED = {
    "time_entry_ids": "time_entries",
    "expense_ids": "expenses",
    "time_adjustment_ids": "time_adjustments",
    "billing_milestone_ids": "billing_milestones",
}
OWN = {"fixed_fee_items": "fixed_fee_item_ids", "additional_items": "additional_item_ids"}

_FIELDS: Mapping[str, Field] = {
    "notes": Field(length_max=None),
    "amount": Field(Kind.MONEY, required=True),
    "taxable": Field(Kind.BOOLEAN, default=False),
    "story_id": Field(Kind.REFERENCE),
    "workspace_id": Field(Kind.REFERENCE),
}


class _OwnItems(Collection):
    """Lines which exist on an invoice alone; there is no path of their own here."""

    can = frozenset[str]()
    fields: ClassVar[Mapping[str, Field]] = _FIELDS


class FixedFeeItems(_OwnItems):
    """Parts of a fixed fee."""

    name = "fixed_fee_items"
    singular = "fixed_fee_item"
    noun = "FixedFeeItem"


class AdditionalItems(_OwnItems):
    """Anything else."""

    name = "additional_items"
    singular = "additional_item"
    noun = "AdditionalItem"


def check_own(given: Fields, problems: list[Problem]) -> None:
    """Judge the items which come with the invoice, and put them into form."""
    for name in OWN:
        rows = [_parse(name, row, problems) for row in objects_in(given.get(name))]
        given[name] = [*rows]


def check_claims(
    scene: Scene, fields: Fields, given: Fields, invoice: Record | None, problems: list[Problem]
) -> None:
    """Refuse what another invoice holds, what is not of its projects, and what is not approved.

    That time must be approved where its project requires it is unverified; of expenses the page
    says so.
    """
    workspace_ids = ids_in(fields, "workspace_ids")
    for name, target in CLAIMED.items():
        for row in scene.find_all(target, ids_in(given, name)):
            holder = row.fields.get("invoice_id")
            if holder is not None and (invoice is None or holder != invoice.id):
                problems.append(problem(name, f"contain {row.id}, which is on another invoice"))
            if text_in(row.fields, "workspace_id") not in workspace_ids:
                problems.append(problem(name, f"contain {row.id} of another workspace"))
            if target in approvals.SHEETS and not approvals.is_approved(scene, row):
                problems.append(problem(name, f"contain {row.id}, which is not approved"))


def add_own(scene: Scene, invoice: Record, values: Fields) -> None:
    """Make the items which came with the invoice."""
    for name, attribute in OWN.items():
        made: list[JsonValue] = [scene.insert(name, row).id for row in objects_in(values[name])]
        scene.store.update(invoice, {attribute: made})


def claim(scene: Scene, invoice: Record, target: str, ids: list[str]) -> None:
    """Put items on an invoice."""
    for row in scene.find_all(target, ids):
        changes: Fields = {"invoice_id": invoice.id}
        held = ids_in(row.fields, "invoice_ids")
        if "invoice_ids" in row.fields and invoice.id not in held:
            changes["invoice_ids"] = [*held, invoice.id]
        if row.fields.get("invoice_id") != invoice.id:
            _change(scene, row, changes)


def free(scene: Scene, invoice: Record, target: str, ids: list[str], *, forget: bool) -> None:
    """Take items off an invoice; `forget` leaves no trace of it on milestones."""
    for row in scene.find_all(target, ids):
        changes: Fields = {"invoice_id": None}
        if forget and "invoice_ids" in row.fields:
            held = ids_in(row.fields, "invoice_ids")
            changes["invoice_ids"] = [id_ for id_ in held if id_ != invoice.id]
        _change(scene, row, changes)


def _change(scene: Scene, row: Record, changes: Fields) -> None:
    """Write an item's invoice; a milestone's change is told in the feed (unverified of others)."""
    before = row.fields
    scene.store.update(row, changes)
    if row.type == CLAIMED["billing_milestone_ids"]:
        scene.tell("updated", row, before)


def currency_of(scene: Scene, fields: Fields) -> str:
    """Return the currency of an invoice: that of its projects, which share one."""
    for id_ in ids_in(fields, "workspace_ids"):
        workspace = scene.store.get("workspaces", id_, dead=True)
        if workspace is not None:
            return text_in(workspace.fields, "currency")
    return "USD"


def total(scene: Scene, invoice: Record) -> int:
    """Return the worth of all items and the tax on those that are taxable; see `amounts`.

    Everything claimed is taxable (unverified); fixed fees and additional items say for themselves.
    """
    fields = invoice.fields
    rows = [
        row for n, target in CLAIMED.items() for row in scene.find_all(target, ids_in(fields, n))
    ]
    taxable = sum(amounts.of_record(row) for row in rows)
    exempt = 0
    currency = currency_of(scene, fields)
    for name, attribute in OWN.items():
        for row in scene.find_all(name, ids_in(fields, attribute)):
            cents = to_cents(text_in(row.fields, "amount"), currency)
            if row.fields.get("taxable") is True:
                taxable += cents
            else:
                exempt += cents
    return taxable + exempt + amounts.tax(taxable, Decimal(text_in(fields, "tax_rate") or "0"))


def _parse(name: str, row: Fields, problems: list[Problem]) -> Fields:
    item: Fields = {}
    for part, field in _FIELDS.items():
        try:
            item[part] = parse_value(field, row.get(part, field.default))
        except BadValue as error:
            problems.append(problem(f"{name}.{part}", str(error)))
            continue
        if field.required and item[part] is None:
            problems.append(problem(f"{name}.{part}", "can't be blank"))
    return item
