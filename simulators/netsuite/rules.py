"""What the account refuses, and what it fills in, per record type.

Sources: vendor page, section 5. That a project's currency and subsidiary must be the customer's,
and that both are fixed once something hangs on them, is from memory (unverified wording).
"""

from collections.abc import Callable

from pydantic import JsonValue

from simulators.kit import Account, Record
from simulators.netsuite import errors, state
from simulators.netsuite.charges import check_charge, check_charge_removal
from simulators.netsuite.draft import Draft, check_segments
from simulators.netsuite.invoicing import check_invoice
from simulators.netsuite.journals import check_expense_report, check_journal, check_vendor_bill
from simulators.netsuite.ledger import check_posted_removal
from simulators.netsuite.periods import check_period
from simulators.netsuite.settlement import check_credit_memo, check_payment
from simulators.netsuite.state import Fields, ref_id, text
from simulators.netsuite.timekeeping import check_time, check_time_removal

RELATIONSHIP = "customerSubsidiaryRelationship"
_USES = ("job", "invoice", "creditMemo", "customerPayment", "timeBill", "charge")
"""What keeps the subsidiary and the currency of an entity as they are."""


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
    rule = _REMOVE.get(record.type)
    if rule is not None:
        rule(account, record)
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


def _entity_id(draft: Draft, prefix: str) -> None:
    """Number an entity (numbering is on in this account), and keep its name unique."""
    if draft.fields.get("entityId") is None:
        draft.fields["entityId"] = f"{prefix}{draft.id}"  # unique, since the id is
        return
    if draft.before is not None and draft.before.fields.get("entityId") == draft.fields["entityId"]:
        return
    for kind in state.types_of_space("entity"):
        holders = draft.account.store.indexed(kind, "entityId", text(draft.fields, "entityId"))
        if any(holder is not draft.before for holder in holders):
            raise errors.already_exists("entity")


def _users(account: Account, entity: Record) -> list[Record]:
    """Return projects, time and transactions of an entity and of the projects below it."""
    found: list[Record] = []
    for other in state.referrers(account, entity):
        if other.type in _USES:
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
    "timeBill": check_time,
    "charge": check_charge,
    "accountingPeriod": check_period,
    "invoice": check_invoice,
    "creditMemo": check_credit_memo,
    "customerPayment": check_payment,
    "journalEntry": check_journal,
    "vendorBill": check_vendor_bill,
    "expenseReport": check_expense_report,
    "department": _named,
    "classification": _named,
    "location": _named,
    "subsidiary": _named,
    "employee": _employee,
}

_REMOVE: dict[str, Callable[[Account, Record], None]] = {
    "charge": check_charge_removal,
    "timeBill": check_time_removal,
    "invoice": check_posted_removal,
    "creditMemo": check_posted_removal,
    "customerPayment": check_posted_removal,
    "journalEntry": check_posted_removal,
    "vendorBill": check_posted_removal,
    "expenseReport": check_posted_removal,
}
