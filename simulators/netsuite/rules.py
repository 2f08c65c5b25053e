"""What the account refuses, and what it fills in, per record type.

Sources: vendor page, section 5. That a project's currency and subsidiary must be the customer's,
and that both are fixed once something hangs on them, is from memory (unverified wording).
"""

from collections.abc import Callable
from dataclasses import dataclass

from pydantic import JsonValue

from simulators.kit import Account, Record
from simulators.netsuite import errors, state
from simulators.netsuite.record_types import RECORD_TYPES
from simulators.netsuite.state import Fields, ref_id, text
from simulators.netsuite.transactions import check_invoice, check_invoice_removal, check_time

RELATIONSHIP = "customerSubsidiaryRelationship"


@dataclass
class Draft:
    """A record about to be saved: `before` is None for a new one, `fields` may still change."""

    account: Account
    type: str
    id: str
    before: Record | None
    fields: Fields

    def require(self, *names: str) -> None:
        """Raise the refusal that names every mandatory field without a value.

        Raises:
            ReplyError: one of them is empty.
        """
        specs = RECORD_TYPES[self.type].fields
        empty = [specs[name].label for name in names if self.fields.get(name) in (None, "")]
        if empty:
            raise errors.missing_values(empty)

    def default(self, name: str, value: JsonValue) -> None:
        """Fill a field that has no value."""
        if self.fields.get(name) is None and value is not None:
            self.fields[name] = value

    def changed(self, name: str) -> bool:
        """Whether a reference of an existing record is about to become another one."""
        return self.before is not None and ref_id(self.before.fields, name) != ref_id(
            self.fields, name
        )

    def refuse(self, name: str) -> None:
        """Refuse the value of a field."""
        value = ref_id(self.fields, name) or text(self.fields, name)
        raise errors.invalid_value(value, name, name)


def check_save(draft: Draft) -> None:
    """Fill in what the account fills in, and refuse what it refuses.

    Raises:
        ReplyError: a rule is broken.
    """
    rule = _SAVE.get(draft.type)
    if rule is not None:
        rule(draft)


def check_removal(account: Account, record: Record) -> None:
    """Refuse to delete what is in use.

    Raises:
        ReplyError: other records name this one, or its own rule forbids it.
    """
    if record.type == RELATIONSHIP:
        _check_relationship_removal(account, record)
    if record.type == "invoice":
        check_invoice_removal(account, record)
    # A customer's relationships are its own parts and go with it.
    parts = frozenset({RELATIONSHIP}) if record.type == "customer" else frozenset[str]()
    if any(True for _ in state.referrers(account, record, parts)):
        raise errors.has_dependents()


def _customer(draft: Draft) -> None:
    account, fields = draft.account, draft.fields
    draft.default("isPerson", False)
    draft.default("isInactive", False)
    draft.require(*(("firstName", "lastName") if fields["isPerson"] else ("companyName",)))
    draft.require("subsidiary")
    draft.default("entityStatus", {"id": "13"})
    subsidiary = account.store.get("subsidiary", ref_id(fields, "subsidiary") or "")
    draft.default("currency", subsidiary.fields.get("currency") if subsidiary else None)
    _entity_id(draft, "CUST")
    if draft.before is not None:
        if ref_id(fields, "parent") == draft.id:
            draft.refuse("parent")
        for name in ("subsidiary", "currency"):
            if draft.changed(name) and _used(account, draft.before):
                raise errors.user_error(
                    f"The {name} of this customer cannot be changed: it is in use.", name
                )
        _check_currencies_kept(draft)
    _list_primary_currency(fields)


def _list_primary_currency(fields: Fields) -> None:
    listed = state.lines(fields, "currencyList")
    primary = fields["currency"]
    if all(line.get("currency") != primary for line in listed):
        first: Fields = {"currency": primary}
        rows: list[JsonValue] = [first, *listed]
        fields["currencyList"] = {"items": rows}


def _check_currencies_kept(draft: Draft) -> None:
    """A currency stays on the customer while a project or transaction is in it."""
    if draft.before is None:
        return
    left = {ref_id(line, "currency") for line in state.lines(draft.fields, "currencyList")}
    left.add(ref_id(draft.fields, "currency"))
    for line in state.lines(draft.before.fields, "currencyList"):
        currency = ref_id(line, "currency")
        if currency not in left and any(
            ref_id(other.fields, "currency") == currency
            for other in _users(draft.account, draft.before)
        ):
            raise errors.user_error(
                "This currency cannot be removed: it is in use.", "currencyList"
            )


def _job(draft: Draft) -> None:
    account, fields = draft.account, draft.fields
    draft.require("companyName")
    parent = ref_id(fields, "parent")
    above = state.find_reference(account, ("customer", "job"), parent) if parent else None
    if above is not None:
        draft.default("subsidiary", above.fields.get("subsidiary"))
        draft.default("currency", above.fields.get("currency"))
    draft.require("subsidiary")
    subsidiary = account.store.get("subsidiary", ref_id(fields, "subsidiary") or "")
    draft.default("currency", subsidiary.fields.get("currency") if subsidiary else None)
    draft.default("entityStatus", {"id": "2"})
    for flag, value in (("isInactive", False), ("allowTime", True), ("allowExpenses", True)):
        draft.default(flag, value)
    if draft.before is not None:
        if parent == draft.id:
            draft.refuse("parent")
        for name in ("parent", "subsidiary", "currency"):
            if draft.changed(name) and _used(account, draft.before):
                raise errors.user_error(
                    f"The {name} of this project cannot be changed: it is in use.", name
                )
    if above is not None:
        _check_shared_with(draft, state.customer_of(account, above))
    check_segments(draft)
    _entity_id(draft, "PRJ")


def _check_shared_with(draft: Draft, customer: Record) -> None:
    if customer.type != "customer":
        return
    open_to = {
        ref_id(row.fields, "subsidiary") for row in state.relationships(draft.account, customer.id)
    }
    if ref_id(draft.fields, "subsidiary") not in open_to:
        draft.refuse("subsidiary")
    listed = state.lines(customer.fields, "currencyList")
    if ref_id(draft.fields, "currency") not in {ref_id(line, "currency") for line in listed}:
        draft.refuse("currency")


def check_segments(draft: Draft) -> None:
    """Refuse a department, class or location that another subsidiary alone may use.

    Raises:
        ReplyError: one of them is not for the record's subsidiary.
    """
    for name, kind in (
        ("department", "department"),
        ("class", "classification"),
        ("location", "location"),
    ):
        segment = draft.account.store.get(kind, ref_id(draft.fields, name) or "")
        if segment is None:
            continue
        allowed = [line.get("id") for line in state.lines(segment.fields, "subsidiary")]
        if allowed and ref_id(draft.fields, "subsidiary") not in allowed:
            draft.refuse(name)


def _relationship(draft: Draft) -> None:
    draft.require("entity", "subsidiary")
    fields = draft.fields
    for name in ("entity", "subsidiary"):
        if draft.changed(name):
            draft.refuse(name)  # only custom fields and the external id can change (vendor's help)
    if draft.before is not None:
        return
    present = state.relationships(draft.account, ref_id(fields, "entity") or "")
    if any(ref_id(row.fields, "subsidiary") == ref_id(fields, "subsidiary") for row in present):
        raise errors.already_exists("record")
    fields["isPrimarySub"] = not present


def _check_relationship_removal(account: Account, record: Record) -> None:
    if record.fields.get("isPrimarySub"):
        raise errors.user_error("The primary subsidiary of a customer cannot be removed.")
    customer = account.store.get("customer", ref_id(record.fields, "entity") or "")
    subsidiary = ref_id(record.fields, "subsidiary")
    if customer is not None and any(
        ref_id(other.fields, "subsidiary") == subsidiary for other in _users(account, customer)
    ):
        raise errors.has_dependents()


def _task(draft: Draft) -> None:
    draft.require("title", "project")
    if draft.before is not None and draft.changed("project"):
        draft.refuse("project")
    parent = draft.account.store.get("projectTask", ref_id(draft.fields, "parent") or "")
    if parent is not None and ref_id(parent.fields, "project") != ref_id(draft.fields, "project"):
        draft.refuse("parent")
    draft.default("status", {"id": "NOTSTART"})
    draft.default("constraintType", {"id": "ASAP"})
    draft.default("priority", {"id": "MEDIUM"})


def _named(draft: Draft) -> None:
    draft.require("name")
    draft.default("isInactive", False)
    name, parent = draft.fields["name"], ref_id(draft.fields, "parent")
    for other in draft.account.store.list(draft.type):
        same = other.fields.get("name") == name and ref_id(other.fields, "parent") == parent
        if other is not draft.before and same:
            raise errors.already_exists("record")


def _employee(draft: Draft) -> None:
    draft.require("firstName", "lastName")
    fields = draft.fields
    draft.default("entityId", f"{fields['firstName']} {fields['lastName']}")
    draft.default("isInactive", False)


def _time(draft: Draft) -> None:
    draft.require("employee", "hours")
    check_time(draft.account, draft.fields)


def _invoice(draft: Draft) -> None:
    draft.require("entity")
    check_invoice(draft.account, draft.fields, draft.before, draft.id)
    check_segments(draft)


def _entity_id(draft: Draft, prefix: str) -> None:
    """Number an entity (numbering is on in this account), and keep its name unique."""
    if draft.fields.get("entityId") is None:
        draft.fields["entityId"] = f"{prefix}{draft.id}"  # unique, since the id is
        return
    if draft.before is not None and draft.before.fields.get("entityId") == draft.fields["entityId"]:
        return
    for kind in state.types_of_space("entity"):
        for other in draft.account.store.list(kind):
            if (
                other is not draft.before
                and other.fields.get("entityId") == draft.fields["entityId"]
            ):
                raise errors.already_exists("entity")


def _users(account: Account, entity: Record) -> list[Record]:
    """Return projects, time and transactions of an entity and of the projects below it."""
    found: list[Record] = []
    for other in state.referrers(account, entity):
        if other.type in ("job", "invoice", "timeBill"):
            found.append(other)
            if other.type == "job":
                found.extend(_users(account, other))
    return found


def _used(account: Account, entity: Record) -> bool:
    return bool(_users(account, entity))


_SAVE: dict[str, Callable[[Draft], None]] = {
    "customer": _customer,
    "job": _job,
    RELATIONSHIP: _relationship,
    "projectTask": _task,
    "timeBill": _time,
    "invoice": _invoice,
    "department": _named,
    "classification": _named,
    "location": _named,
    "subsidiary": _named,
    "employee": _employee,
}
