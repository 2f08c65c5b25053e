"""Charges: what a project or customer owes, until an invoice takes it (vendor page, 5.6).

Simulator choices, since the page is silent: the amount is quantity x rate, rounded half-up to the
currency's minor units, unless one is sent, which is then kept even if it differs; a new charge is
on hold unless its stage is sent; only memo, description, run and dimensions change once it is
billed; making a charge ready needs an open period, holding it does not.
"""

from simulators.kit import Account, Record
from simulators.netsuite import errors, state
from simulators.netsuite.draft import Draft, check_segments
from simulators.netsuite.fields import ENTITIES, SEGMENTS
from simulators.netsuite.money import as_json, decimal, rounded
from simulators.netsuite.periods import RECEIVABLES, open_period, today
from simulators.netsuite.record_types import RECORD_TYPES
from simulators.netsuite.state import ref_id, text

READY = "READY_FOR_BILLING"
HOLD = "HOLD_FOR_BILLING"
_FREE = {"memo", "description", "runId", *SEGMENTS}
"""What may still change once a charge is billed."""


def check_charge(draft: Draft) -> None:
    """Fill in and check a charge.

    Raises:
        ReplyError: a field is missing or does not fit, the charge is billed, or a period is closed.
    """
    account, fields = draft.account, draft.fields
    draft.require("billTo", "billingItem")
    bill_to = state.find_reference(account, ENTITIES, ref_id(fields, "billTo") or "")
    if bill_to is None:
        draft.refuse("billTo")
        return
    for name in ("subsidiary", "currency"):
        draft.default(name, bill_to.fields.get(name))
    draft.default("stage", {"id": HOLD})
    draft.default("use", {"id": "Actual"})
    draft.default("chargeDate", today(account))
    _price(draft)
    _check_frozen(draft)
    _check_fit(draft, bill_to)
    check_segments(draft)
    if ref_id(fields, "stage") == READY and _is_news(draft):
        open_period(account, text(fields, "chargeDate"), RECEIVABLES)


def check_charge_removal(account: Account, record: Record) -> None:
    """Refuse to delete what is billed.

    Raises:
        ReplyError: an invoice has it.
    """
    del account
    if ref_id(record.fields, "invoice") is not None:
        raise errors.has_dependents()


def _price(draft: Draft) -> None:
    fields = draft.fields
    if "amount" in draft.sent and fields.get("amount") is not None:
        draft.default("quantity", 1)
        value = decimal(fields["amount"])
    elif _keeps_amount(draft):
        return
    else:
        draft.default("quantity", 1)
        draft.require("rate")
        value = decimal(fields["quantity"]) * decimal(fields["rate"])
    fields["amount"] = as_json(rounded(draft.account, value, ref_id(fields, "currency")))


def _keeps_amount(draft: Draft) -> bool:
    if draft.before is None or draft.fields.get("amount") is None:
        return False
    return draft.differs(("quantity", "rate", "currency")) is None


def _check_frozen(draft: Draft) -> None:
    if draft.before is None or ref_id(draft.before.fields, "invoice") is None:
        return
    specs = RECORD_TYPES["charge"].fields
    changed = draft.differs(n for n, s in specs.items() if n not in _FREE and not s.read_only)
    if changed is not None:
        raise errors.user_error("This charge cannot be changed: it has been billed.", changed)


def _check_fit(draft: Draft, bill_to: Record) -> None:
    """Refuse what belongs to another subsidiary, currency or project than the bill-to."""
    account, fields = draft.account, draft.fields
    customer = state.customer_of(account, bill_to)
    own = {name: {ref_id(bill_to.fields, name)} for name in ("subsidiary", "currency")}
    if bill_to.type == "customer":
        rows = state.relationships(account, customer.id)
        own["subsidiary"] |= {ref_id(row.fields, "subsidiary") for row in rows}
        listed = state.lines(customer.fields, "currencyList")
        own["currency"] |= {ref_id(line, "currency") for line in listed}
    for name, allowed in own.items():
        if ref_id(fields, name) not in allowed:
            draft.refuse(name)
    for name, kind, owner in (
        ("projectTask", "projectTask", "project"),
        ("timeRecord", "timeBill", "customer"),
    ):
        part = account.store.get(kind, ref_id(fields, name) or "")
        if part is not None and ref_id(part.fields, owner) != bill_to.id:
            draft.refuse(name)


def _is_news(draft: Draft) -> bool:
    if draft.before is None or ref_id(draft.before.fields, "stage") != READY:
        return True
    return draft.differs(("chargeDate", "amount", "use")) is not None
