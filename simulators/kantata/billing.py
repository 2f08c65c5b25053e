"""Billing milestones and invoices (section 10): an invoice claims its items and frees them."""

from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import ClassVar

from simulators.kantata.collection import Collection, Links
from simulators.kantata.errors import Problem, invalid, problem
from simulators.kantata.filters import Filter, by_id, by_ids, by_text, when_true
from simulators.kantata.scene import Scene
from simulators.kantata.values import (
    BadValue,
    Field,
    Fields,
    Kind,
    ids_in,
    integer_in,
    objects_in,
    parse_date,
    parse_value,
    text_in,
    to_cents,
)
from simulators.kit import Effect, Record

ACTIVE, CANCELLED = "new", "cancelled"

_CLAIMED = {
    "time_entry_ids": "time_entries",
    "expense_ids": "expenses",
    "billing_milestone_ids": "billing_milestones",
}
_OWN_ITEMS = {"fixed_fee_items": "fixed_fee_item_ids", "additional_items": "additional_item_ids"}
_ITEM_FIELDS: Mapping[str, Field] = {
    "notes": Field(length_max=None),
    "amount": Field(Kind.MONEY, required=True),
    "taxable": Field(Kind.BOOLEAN, default=False),
    "story_id": Field(Kind.REFERENCE),
    "workspace_id": Field(Kind.REFERENCE),
}


class BillingMilestones(Collection):
    """`GET`, `POST` (one, or 100 in bulk), `PUT`, `DELETE /billing_milestones`."""

    name = "billing_milestones"
    singular = "billing_milestone"
    noun = "BillingMilestone"
    bulk_max = 100
    fields: ClassVar[Mapping[str, Field]] = {
        "title": Field(required=True),
        "amount_in_cents": Field(Kind.INTEGER, required=True),
        "workspace_id": Field(Kind.REFERENCE, required=True, target="workspaces", on_update=False),
        "date_to_invoice": Field(Kind.DATE),
        "billing_type": Field(
            Kind.CHOICE,
            choices=("fixed_date", "upon_completion"),
            default="fixed_date",
            on_update=False,
        ),
        "story_id": Field(Kind.REFERENCE, target="stories", on_update=False),
    }
    one: ClassVar[Links] = {
        "workspace": ("workspace_id", "workspaces"),
        "story": ("story_id", "stories"),
    }
    many: ClassVar[Links] = {"invoices": ("invoice_ids", "invoices")}
    always_shown = frozenset({"invoice_ids"})
    filters: ClassVar[Mapping[str, Filter]] = {
        "workspace_id": by_id("workspace_id"),
        "story_id": by_id("story_id"),
    }
    orders = frozenset({"date_to_invoice", "title"})

    def defaults(self, scene: Scene, values: Fields) -> Fields:
        del scene, values
        return {"invoice_id": None, "invoice_ids": []}

    def check(
        self,
        scene: Scene,
        fields: Fields,
        given: Fields,
        record: Record | None,
        problems: list[Problem],
    ) -> None:
        del given, record
        story = scene.find("stories", text_in(fields, "story_id"))
        if fields["billing_type"] == "upon_completion" and story is None:
            problems.append(problem("story_id", "can't be blank"))
        if story is not None and story.fields["workspace_id"] != fields["workspace_id"]:
            problems.append(problem("story_id", "belongs to another workspace"))

    def check_delete(self, scene: Scene, record: Record) -> None:
        del scene
        if record.fields.get("invoice_id") is not None:
            raise invalid("Billing milestone can't be deleted because it is on an invoice")

    def derived(self, scene: Scene, record: Record) -> Fields:
        workspace = scene.find("workspaces", text_in(record.fields, "workspace_id"))
        return {
            "currency": None if workspace is None else workspace.fields["currency"],
            "invoice_id": record.fields.get("invoice_id"),
        }


class InvoiceItems(Collection):
    """Lines which exist on an invoice alone; there is no path of their own here."""

    can = frozenset[str]()
    fields = _ITEM_FIELDS


class FixedFeeItems(InvoiceItems):
    """Parts of a fixed fee."""

    name = "fixed_fee_items"
    singular = "fixed_fee_item"
    noun = "FixedFeeItem"


class AdditionalItems(InvoiceItems):
    """Anything else."""

    name = "additional_items"
    singular = "additional_item"
    noun = "AdditionalItem"


class Invoices(Collection):
    """`GET`, `POST`, `PUT`, `DELETE /invoices` (drafts only) and `PUT /invoices/{id}/cancel`."""

    name = "invoices"
    singular = "invoice"
    noun = "Invoice"
    fields: ClassVar[Mapping[str, Field]] = {
        "workspace_ids": Field(Kind.REFERENCES, target="workspaces", on_update=False, shown=False),
        "payment_schedule": Field(Kind.INTEGER, required=True),
        "invoice_date": Field(Kind.DATE),
        "user_invoice_number": Field(Kind.INTEGER),
        "user_invoice_title": Field(),
        "draft": Field(Kind.BOOLEAN, default=False),
        "suppress_emails": Field(Kind.BOOLEAN, kept=False),
        "purchase_order": Field(),
        "project_code": Field(),
        "tax_rate": Field(Kind.MONEY),
        "message": Field(length_max=None),
        **{
            name: Field(Kind.REFERENCES, target=target, shown=False)
            for name, target in _CLAIMED.items()
        },
        **{name: Field(Kind.LIST, kept=False, on_update=False) for name in _OWN_ITEMS},
    }
    many: ClassVar[Links] = {
        "workspaces": ("workspace_ids", "workspaces"),
        **{target: (name, target) for name, target in _CLAIMED.items()},
        **{name: (attribute, name) for name, attribute in _OWN_ITEMS.items()},
    }
    always_shown = frozenset({"workspace_ids", "external_reference_ids"}).union(
        _CLAIMED, _OWN_ITEMS.values()
    )
    filters: ClassVar[Mapping[str, Filter]] = {
        "workspace_id": by_ids("workspace_ids"),
        "user_invoice_number": by_text("user_invoice_number"),
        "without_drafts": when_true(lambda record: record.fields["draft"] is not True),
        "pending": when_true(lambda record: record.fields["status"] == ACTIVE),
    }
    orders = frozenset({"invoice_date", "user_invoice_number"})

    def parse(self, scene: Scene, body: Fields, record: Record | None) -> Fields:
        if record is None and body.get("workspace_ids") is None:
            single = body.get("workspace_id")
            body = {**body, "workspace_ids": [] if single is None else [single]}
        return super().parse(scene, body, record)

    def defaults(self, scene: Scene, values: Fields) -> Fields:
        del values
        return {
            "status": ACTIVE,
            "user_id": scene.user_id,
            "recipient_id": None,
            **{attribute: [] for attribute in _OWN_ITEMS.values()},
        }

    def check(
        self,
        scene: Scene,
        fields: Fields,
        given: Fields,
        record: Record | None,
        problems: list[Problem],
    ) -> None:
        if not ids_in(fields, "workspace_ids"):
            problems.append(problem("workspace_id", "can't be blank"))
        if record is None:
            self._check_items(given, problems)
            if given.get("invoice_date") is None:
                given["invoice_date"] = scene.account.clock.now().date().isoformat()
        elif record.fields["status"] == CANCELLED:
            problems.append(problem("status", "is cancelled"))
        elif given.get("draft") is True and record.fields["draft"] is not True:
            problems.append(problem("draft", "can't be set once the invoice is issued"))
        for name, target in _CLAIMED.items():
            if name in given:
                for id_ in ids_in(given, name):
                    self._check_claim(scene, fields, record, name, target, id_, problems)

    def created(self, scene: Scene, record: Record, values: Fields, body: Fields) -> None:
        del body
        for name, attribute in _OWN_ITEMS.items():
            made = [scene.insert(name, row).id for row in objects_in(values[name])]
            scene.store.update(record, {attribute: [*made]})
        for name, target in _CLAIMED.items():
            _claim(scene, record, target, ids_in(values, name))

    def updated(
        self, scene: Scene, record: Record, before: Fields, values: Fields, body: Fields
    ) -> None:
        del body
        for name, target in _CLAIMED.items():
            if name in values:
                kept = ids_in(values, name)
                gone = [id_ for id_ in ids_in(before, name) if id_ not in kept]
                _free(scene, record, target, gone, forget=True)
                _claim(scene, record, target, kept)

    def check_delete(self, scene: Scene, record: Record) -> None:
        del scene
        if record.fields["draft"] is not True:
            raise invalid("Only draft invoices can be deleted")

    def deleting(self, scene: Scene, record: Record) -> None:
        for name, target in _CLAIMED.items():
            _free(scene, record, target, ids_in(record.fields, name), forget=True)
        for name, attribute in _OWN_ITEMS.items():
            for id_ in ids_in(record.fields, attribute):
                row = scene.find(name, id_)
                if row is not None:
                    self.drop(scene, row)

    def derived(self, scene: Scene, record: Record) -> Fields:
        fields = record.fields
        number = fields.get("user_invoice_number") or record.id
        words = "Draft Invoice" if fields["draft"] is True else "Invoice"
        issued = parse_date(fields["invoice_date"])
        due = issued.toordinal() + integer_in(fields, "payment_schedule")
        return {
            "title": f"{words} #{number}",
            "status": fields["status"],
            "due_date": issued.fromordinal(due).isoformat(),
            "user_id": fields["user_id"],
            "recipient_id": fields["recipient_id"],
            "currency": _currency(scene, fields),
            "balance_in_cents": _total(scene, record),
            "time_adjustment_ids": [],
        }

    def _check_items(self, given: Fields, problems: list[Problem]) -> None:
        names = (*_CLAIMED, *_OWN_ITEMS)
        if not any(isinstance(given.get(name), list) and given[name] for name in names):
            problems.append(problem("base", "must have at least one item"))
        for name in _OWN_ITEMS:
            rows = [self._parse_item(name, row, problems) for row in objects_in(given.get(name))]
            given[name] = [*rows]

    def _parse_item(self, name: str, row: Fields, problems: list[Problem]) -> Fields:
        item: Fields = {}
        for part, field in _ITEM_FIELDS.items():
            try:
                item[part] = parse_value(field, row.get(part, field.default))
            except BadValue as error:
                problems.append(problem(f"{name}.{part}", str(error)))
                continue
            if field.required and item[part] is None:
                problems.append(problem(f"{name}.{part}", "can't be blank"))
        return item

    def _check_claim(
        self,
        scene: Scene,
        fields: Fields,
        record: Record | None,
        name: str,
        target: str,
        id_: str,
        problems: list[Problem],
    ) -> None:
        row = scene.find(target, id_)
        if row is None:
            return
        holder = row.fields.get("invoice_id")
        if holder is not None and (record is None or holder != record.id):
            problems.append(problem(name, f"contain {id_}, which is on another invoice"))
        if text_in(row.fields, "workspace_id") not in ids_in(fields, "workspace_ids"):
            problems.append(problem(name, f"contain {id_} of another workspace"))


def cancel_invoice(scene: Scene, record: Record) -> None:
    """Cancel an issued invoice; its items can go on a new one, and it stays to be seen.

    Raises:
        ApiError: 422, it is a draft or cancelled already.
    """
    if record.fields["draft"] is True or record.fields["status"] != ACTIVE:
        raise invalid("Only active invoices can be cancelled")
    for name, target in _CLAIMED.items():
        _free(scene, record, target, ids_in(record.fields, name), forget=False)
    scene.store.update(record, {"status": CANCELLED})
    scene.note(Effect.UPDATE, record)


def next_invoice_number(scene: Scene) -> int:
    """Return one more than the highest number in use."""
    rows = scene.store.list("invoices")
    return max((integer_in(row.fields, "user_invoice_number") for row in rows), default=0) + 1


def _claim(scene: Scene, invoice: Record, target: str, ids: Sequence[str]) -> None:
    for id_ in ids:
        row = scene.find(target, id_)
        if row is None:
            continue
        changes: Fields = {"invoice_id": invoice.id}
        held = ids_in(row.fields, "invoice_ids")
        if "invoice_ids" in row.fields and invoice.id not in held:
            changes["invoice_ids"] = [*held, invoice.id]
        scene.store.update(row, changes)


def _free(scene: Scene, invoice: Record, target: str, ids: Sequence[str], *, forget: bool) -> None:
    for id_ in ids:
        row = scene.find(target, id_)
        if row is None:
            continue
        changes: Fields = {"invoice_id": None}
        if forget and "invoice_ids" in row.fields:
            changes["invoice_ids"] = [
                held for held in ids_in(row.fields, "invoice_ids") if held != invoice.id
            ]
        scene.store.update(row, changes)


def _currency(scene: Scene, fields: Fields) -> str:
    for id_ in ids_in(fields, "workspace_ids"):
        workspace = scene.store.get("workspaces", id_, dead=True)
        if workspace is not None:
            return text_in(workspace.fields, "currency")
    return "USD"


def _total(scene: Scene, record: Record) -> int:
    """Return the net total in cents; what the vendor adds for tax is not simulated."""
    currency = _currency(scene, record.fields)
    total = 0
    for name, target in _CLAIMED.items():
        for id_ in ids_in(record.fields, name):
            row = scene.find(target, id_)
            if row is not None:
                total += _amount(target, row)
    for name, attribute in _OWN_ITEMS.items():
        for id_ in ids_in(record.fields, attribute):
            row = scene.find(name, id_)
            if row is not None:
                total += to_cents(text_in(row.fields, "amount"), currency)
    return total


def _amount(target: str, row: Record) -> int:
    if target != "time_entries":
        return integer_in(row.fields, "amount_in_cents")
    minutes = Decimal(integer_in(row.fields, "time_in_minutes"))
    return round(minutes * integer_in(row.fields, "rate_in_cents") / 60)
