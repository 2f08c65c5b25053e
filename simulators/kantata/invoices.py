"""Invoices and payments (section 10.2): draft, new, paid or cancelled."""

from collections.abc import Mapping, Sequence
from typing import ClassVar

from simulators.kantata.collection import Collection, Links
from simulators.kantata.errors import Problem, invalid, problem
from simulators.kantata.filters import (
    Filter,
    by_id,
    by_ids,
    by_text,
    when_true,
    within_dates,
)
from simulators.kantata.invoice_items import (
    CLAIMED,
    OWN,
    add_own,
    check_claims,
    check_own,
    claim,
    currency_of,
    free,
    total,
)
from simulators.kantata.scene import Scene
from simulators.kantata.values import (
    CURRENCIES,
    Field,
    Fields,
    Kind,
    ids_in,
    integer_in,
    parse_date,
    text_in,
)
from simulators.kit import Effect, Record

ACTIVE, CANCELLED, PAID = "new", "cancelled", "accepted payment"


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
            for name, target in CLAIMED.items()
        },
        **{name: Field(Kind.LIST, kept=False, on_update=False) for name in OWN},
    }
    one: ClassVar[Links] = {"user": ("user_id", "users")}
    many: ClassVar[Links] = {
        "workspaces": ("workspace_ids", "workspaces"),
        **{target: (name, target) for name, target in CLAIMED.items()},
        **{name: (attribute, name) for name, attribute in OWN.items()},
        "external_payments": ("external_payment_ids", "external_payments"),
    }
    always_shown = frozenset({"workspace_ids", "external_reference_ids"}).union(
        CLAIMED, OWN.values()
    )
    filters: ClassVar[Mapping[str, Filter]] = {
        "workspace_id": by_ids("workspace_ids"),
        "user_invoice_number": by_text("user_invoice_number"),
        "without_drafts": when_true(lambda record: record.fields["draft"] is not True),
        "pending": when_true(lambda record: record.fields["status"] == ACTIVE),
        "paid": when_true(lambda record: record.fields["status"] == PAID),
        "within_dates": within_dates("invoice_date"),
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
            "total": 0,
            "external_payment_ids": [],
            **{attribute: [] for attribute in OWN.values()},
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
            self._check_new(scene, fields, given, problems)
        elif record.fields["status"] != ACTIVE:
            problems.append(problem("status", f"is {record.fields['status']}"))
        elif given.get("draft") is True and record.fields["draft"] is not True:
            problems.append(problem("draft", "can't be set once the invoice is issued"))
        check_claims(scene, fields, given, record, problems)

    def created(self, scene: Scene, record: Record, values: Fields, body: Fields) -> None:
        del body
        add_own(scene, record, values)
        for name, target in CLAIMED.items():
            claim(scene, record, target, ids_in(values, name))
        scene.store.update(record, {"total": total(scene, record)})

    def updated(
        self, scene: Scene, record: Record, before: Fields, values: Fields, body: Fields
    ) -> None:
        del body
        for name, target in CLAIMED.items():
            if name in values:
                kept = ids_in(values, name)
                gone = set(ids_in(before, name)).difference(kept)
                free(scene, record, target, sorted(gone), forget=True)
                claim(scene, record, target, kept)
        scene.store.update(record, {"total": total(scene, record)})

    def check_delete(self, scene: Scene, record: Record) -> None:
        del scene
        if record.fields["draft"] is not True:
            raise invalid("Only draft invoices can be deleted")

    def deleting(self, scene: Scene, record: Record) -> None:
        for name, target in CLAIMED.items():
            free(scene, record, target, ids_in(record.fields, name), forget=True)
        for name, attribute in OWN.items():
            for row in scene.find_all(name, ids_in(record.fields, attribute)):
                self.drop(scene, row)

    def derived(self, scene: Scene, record: Record) -> Fields:
        fields = record.fields
        number = fields.get("user_invoice_number") or record.id
        words = "Draft Invoice" if fields["draft"] is True else "Invoice"
        issued = parse_date(fields["invoice_date"])
        due = issued.toordinal() + integer_in(fields, "payment_schedule")
        currency = currency_of(scene, fields)
        symbol, unit = CURRENCIES[currency]
        return {
            "title": f"{words} #{number}",
            "status": fields["status"],
            "due_date": issued.fromordinal(due).isoformat(),
            "user_id": fields["user_id"],
            "recipient_id": fields["recipient_id"],
            "currency": currency,
            "currency_symbol": symbol,
            "currency_base_unit": unit,
            "balance_in_cents": balance(scene, record),
        }

    def changed_by_hand(self, scene: Scene, record: Record, changes: Fields) -> Fields:
        """Cancel by a `status` of `cancelled`, as the page's button does."""
        left = dict(changes)
        if left.get("status") == CANCELLED:
            del left["status"]
            cancel_invoice(scene, record)
        return left

    def _check_new(
        self, scene: Scene, fields: Fields, given: Fields, problems: list[Problem]
    ) -> None:
        names = (*CLAIMED, *OWN)
        if not any(isinstance(given.get(name), list) and given[name] for name in names):
            problems.append(problem("base", "must have at least one item"))
        check_own(given, problems)
        if given.get("invoice_date") is None:
            given["invoice_date"] = scene.account.clock.now().date().isoformat()
        rows = scene.find_all("workspaces", ids_in(fields, "workspace_ids"))
        if len({text_in(row.fields, "currency") for row in rows}) > 1:
            problems.append(problem("workspace_ids", "have different currencies"))


class ExternalPayments(Collection):
    """`GET`, `POST`, `DELETE /external_payments`.

    A payment that names an invoice has the invoice's amount, whatever was sent, and is made for an
    issued invoice of one project only (the documentation of the POST). One without is the
    project's.
    """

    name = "external_payments"
    singular = "external_payment"
    noun = "ExternalPayment"
    can = frozenset({"list", "show", "create", "delete"})
    fields: ClassVar[Mapping[str, Field]] = {
        "amount_in_cents": Field(Kind.INTEGER),
        "message": Field(length_max=None),
        "invoice_id": Field(Kind.REFERENCE, target="invoices"),
        "workspace_id": Field(Kind.REFERENCE, target="workspaces"),
    }
    one: ClassVar[Links] = {
        "invoice": ("invoice_id", "invoices"),
        "workspace": ("workspace_id", "workspaces"),
        "user": ("user_id", "users"),
    }
    filters: ClassVar[Mapping[str, Filter]] = {
        "invoice_id": by_id("invoice_id"),
        "workspace_id": by_id("workspace_id"),
    }

    def candidates(self, scene: Scene, query: Mapping[str, str]) -> list[Record] | None:
        invoice = scene.find("invoices", query.get("invoice_id", ""))
        if invoice is not None:
            return scene.find_all(self.name, ids_in(invoice.fields, "external_payment_ids"))
        return super().candidates(scene, query)

    def defaults(self, scene: Scene, values: Fields) -> Fields:
        del values
        return {"user_id": scene.user_id}

    def derived(self, scene: Scene, record: Record) -> Fields:
        del scene
        return {"user_id": record.fields["user_id"]}

    def check(
        self,
        scene: Scene,
        fields: Fields,
        given: Fields,
        record: Record | None,
        problems: list[Problem],
    ) -> None:
        """Refuse what cannot be paid; that an amount must be above zero is unverified.

        The project is required by the documentation; the page's example of a payment lacks it, so
        the invoice's is taken where it is left out.
        """
        del record
        invoice = scene.find("invoices", text_in(fields, "invoice_id"))
        if invoice is None:
            if given.get("workspace_id") is None:
                problems.append(problem("workspace_id", "can't be blank"))
            if integer_in(fields, "amount_in_cents") <= 0:
                problems.append(problem("amount_in_cents", "must be above zero"))
            return
        workspace_ids = ids_in(invoice.fields, "workspace_ids")
        if given.get("workspace_id") is None:
            given["workspace_id"] = workspace_ids[0]
        elif given["workspace_id"] not in workspace_ids:
            problems.append(problem("workspace_id", "is not on the invoice"))
        if (
            invoice.fields["draft"] is True
            or invoice.fields["status"] != ACTIVE
            or len(workspace_ids) > 1
        ):
            problems.append(problem("invoice_id", "can't be paid"))
        given["amount_in_cents"] = balance(scene, invoice)

    def created(self, scene: Scene, record: Record, values: Fields, body: Fields) -> None:
        del body
        self._move(scene, record, text_in(values, "invoice_id"))

    def deleting(self, scene: Scene, record: Record) -> None:
        """Open the invoice again; that is unverified."""
        self._move(scene, record, text_in(record.fields, "invoice_id"), gone=True)

    def _move(self, scene: Scene, record: Record, invoice_id: str, *, gone: bool = False) -> None:
        invoice = scene.find("invoices", invoice_id)
        if invoice is None:
            return
        before = invoice.fields
        held = [id_ for id_ in ids_in(before, "external_payment_ids") if id_ != record.id]
        kept = held if gone else [*held, record.id]
        scene.store.update(invoice, {"external_payment_ids": [*kept]})
        if before["status"] != CANCELLED:
            is_paid = bool(kept) and balance(scene, invoice) == 0
            scene.store.update(invoice, {"status": PAID if is_paid else ACTIVE})
        scene.note(Effect.UPDATE, invoice, before)


def balance(scene: Scene, invoice: Record) -> int:
    """Return what is left to pay."""
    payments = scene.find_all("external_payments", ids_in(invoice.fields, "external_payment_ids"))
    paid = sum(integer_in(row.fields, "amount_in_cents") for row in payments)
    return integer_in(invoice.fields, "total") - paid


def cancel_invoice(scene: Scene, record: Record) -> None:
    """Cancel an issued invoice; its items can go on a new one, and it stays to be seen.

    Raises:
        ApiError: 422, it is a draft, cancelled already, or a payment is recorded on it (that a
            paid one is refused is unverified).
    """
    if record.fields["draft"] is True or record.fields["status"] != ACTIVE:
        raise invalid("Only active invoices can be cancelled")
    if ids_in(record.fields, "external_payment_ids"):
        raise invalid("Invoices with payments can't be cancelled")
    before = record.fields
    for name, target in CLAIMED.items():
        free(scene, record, target, ids_in(before, name), forget=False)
    scene.store.update(record, {"status": CANCELLED})
    scene.note(Effect.UPDATE, record, before)


def next_invoice_number(scene: Scene) -> int:
    """Return one more than the highest number in use."""
    rows: Sequence[Record] = scene.store.list("invoices")
    return max((integer_in(row.fields, "user_invoice_number") for row in rows), default=0) + 1
