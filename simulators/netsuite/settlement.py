"""Credit memos and customer payments: what they apply to invoices (vendor page, 5.10 and 5.11).

Simulator choices: a line that is applied without an amount takes as much as the invoice and the
document have left; nothing is applied to an invoice that is pending, rejected or voided.
"""

from decimal import Decimal

from pydantic import JsonValue

from simulators.kit import Account, Record
from simulators.netsuite import errors, state
from simulators.netsuite.draft import Draft
from simulators.netsuite.fields import ENTITIES
from simulators.netsuite.ledger import VOIDED, fill_head, post, price_lines
from simulators.netsuite.money import as_json, decimal
from simulators.netsuite.state import Fields, ref_id, text

APPLYING = ("creditMemo", "customerPayment")
_CLOSED_TO_PAYMENT = ("D", "E", VOIDED)


def check_credit_memo(draft: Draft) -> None:
    """Fill in and check a credit memo.

    Raises:
        ReplyError: a field does not fit, too much is applied, or the period is locked.
    """
    entity = _entity(draft, "entity")
    fill_head(draft, entity)
    price_lines(draft)
    _apply(draft, entity, decimal(draft.fields["total"]))
    draft.fields["status"] = {"id": "A" if decimal(draft.fields["unapplied"]) > 0 else "B"}
    post(draft, posts=True)


def check_payment(draft: Draft) -> None:
    """Fill in and check a payment; without an amount it is over what it applies.

    Raises:
        ReplyError: a field does not fit, too much is applied, or the period is locked.
    """
    entity = _entity(draft, "customer")
    fill_head(draft, entity)
    fields = draft.fields
    if fields.get("payment") is None:
        fields["payment"] = as_json(_asked_for(draft))
    fields["total"] = fields["payment"]
    _apply(draft, entity, decimal(fields["payment"]))
    draft.default("undepFunds", True)
    fields["status"] = {"id": "C" if fields["undepFunds"] else "B"}
    post(draft, posts=True)


def settled(account: Account, invoice: str, but: str | None = None) -> Decimal:
    """Return what is applied to an invoice, leaving out one document."""
    return sum(
        (
            decimal(line.get("amount"))
            for kind in APPLYING
            for record in account.store.indexed(kind, "apply.doc", invoice)
            if record.id != but and ref_id(record.fields, "status") != VOIDED
            for line in state.lines(record.fields, "apply")
            if ref_id(line, "doc") == invoice and line.get("apply")
        ),
        Decimal(0),
    )


def applied_invoices(*all_fields: Fields | None) -> set[str]:
    """Return the invoices which the lines of some states of a document name."""
    return {
        doc
        for fields in all_fields
        if fields is not None
        for line in state.lines(fields, "apply")
        if (doc := ref_id(line, "doc")) is not None
    }


def _entity(draft: Draft, name: str) -> Record:
    draft.require(name)
    found = state.find_reference(draft.account, ENTITIES, ref_id(draft.fields, name) or "")
    if found is None:
        raise errors.invalid_value(ref_id(draft.fields, name) or "", name, name)
    return found


def _left(draft: Draft, invoice: Record) -> Decimal:
    total = decimal(invoice.fields.get("total"))
    return total - settled(draft.account, invoice.id, but=draft.id)


def _asked_for(draft: Draft) -> Decimal:
    """Return the sum of what the lines would apply."""
    asked = Decimal(0)
    for line in state.lines(draft.fields, "apply"):
        invoice = draft.account.store.get("invoice", ref_id(line, "doc") or "")
        if invoice is not None and line.get("apply") is not False:
            asked += decimal(line.get("amount"), _left(draft, invoice))
    return asked


def _apply(draft: Draft, entity: Record, available: Decimal) -> None:
    rows: list[JsonValue] = []
    used = Decimal(0)
    customer = state.customer_of(draft.account, entity)
    for line in state.lines(draft.fields, "apply"):
        invoice = draft.account.store.get("invoice", ref_id(line, "doc") or "")
        if invoice is None:
            continue
        row = {**line, "apply": line.get("apply") is not False}
        if row["apply"]:
            _check_payable(draft, invoice, customer)
            left = _left(draft, invoice)
            amount = decimal(line.get("amount"), min(left, available - used))
            if amount > left or used + amount > available or amount < 0:
                raise errors.invalid_value(str(amount), "amount", "apply")
            used += amount
            row["amount"] = as_json(amount)
        row |= {"total": invoice.fields.get("total"), "refNum": text(invoice.fields, "tranId")}
        row |= {"due": as_json(_left(draft, invoice)), "type": "Invoice"}
        rows.append(row)
    draft.fields["apply"] = {"items": rows}
    draft.fields |= {"applied": as_json(used), "unapplied": as_json(available - used)}


def _check_payable(draft: Draft, invoice: Record, customer: Record) -> None:
    own = invoice.fields
    entity = state.find_reference(draft.account, ENTITIES, ref_id(own, "entity") or "")
    foreign = entity is None or state.customer_of(draft.account, entity).id != customer.id
    if (
        foreign
        or ref_id(own, "currency") != ref_id(draft.fields, "currency")
        or ref_id(own, "subsidiary") != ref_id(draft.fields, "subsidiary")
        or ref_id(own, "status") in _CLOSED_TO_PAYMENT
    ):
        raise errors.invalid_value(invoice.id, "doc", "apply")
