"""Journal entries, vendor bills and expense reports, as far as costs need them.

Forms are from memory, unverified. An intercompany journal names `toSubsidiary`; its lines name
their `lineSubsidiary` and balance per subsidiary. An expense report posts once accounting approved
it.
"""

from collections import defaultdict
from decimal import Decimal

from pydantic import JsonValue

from simulators.netsuite import errors, state
from simulators.netsuite.draft import Draft
from simulators.netsuite.ledger import fill_head, post, price_lines
from simulators.netsuite.money import as_json, decimal, exchange_rate, rounded
from simulators.netsuite.state import ref_id, text


def check_journal(draft: Draft) -> None:
    """Fill in and check a journal entry.

    Raises:
        ReplyError: it has fewer than two lines, does not balance, or its period is locked.
    """
    fill_head(draft, None)
    fields = draft.fields
    own, other = ref_id(fields, "subsidiary"), ref_id(fields, "toSubsidiary")
    sums: dict[str | None, Decimal] = defaultdict(Decimal)
    lines = state.lines(fields, "line")
    for number, line in enumerate(lines):
        path = f"line.items[{number}]"
        debit, credit = line.get("debit"), line.get("credit")
        if ref_id(line, "account") is None:
            raise errors.missing_values(["Account"])
        if (debit is None) == (credit is None) or decimal(debit) < 0 or decimal(credit) < 0:
            raise errors.user_error("A line needs either a debit or a credit.", path)
        subsidiary = ref_id(line, "lineSubsidiary") or own
        if subsidiary not in (own, other):
            raise errors.invalid_value(subsidiary or "", "lineSubsidiary", path)
        sums[subsidiary] += decimal(debit) - decimal(credit)
    if len(lines) < 2 or any(sums.values()):
        raise errors.user_error("The amounts in a journal entry must balance.")
    draft.default("approved", True)
    post(draft, fields["approved"] is True)


def check_vendor_bill(draft: Draft) -> None:
    """Fill in and check a vendor's bill.

    Raises:
        ReplyError: a field does not fit, or the period is locked for payables.
    """
    draft.require("entity")
    fill_head(draft, draft.account.store.get("vendor", ref_id(draft.fields, "entity") or ""))
    draft.default("approvalStatus", {"id": "2"})
    price_lines(draft)
    post(draft, ref_id(draft.fields, "approvalStatus") == "2")


def check_expense_report(draft: Draft) -> None:
    """Fill in and check an employee's expenses; foreign amounts are converted on their date.

    Raises:
        ReplyError: there is no line, a field does not fit, or the period is locked for payables.
    """
    draft.require("entity")
    fill_head(draft, draft.account.store.get("employee", ref_id(draft.fields, "entity") or ""))
    account, fields = draft.account, draft.fields
    currency = ref_id(fields, "currency")
    rows: list[JsonValue] = []
    total = Decimal(0)
    for line in state.lines(fields, "expense"):
        row = {"expenseDate": fields["tranDate"], "isBillable": False, **line}
        source = ref_id(line, "currency") or currency
        if line.get("foreignAmount") is not None:
            rate = exchange_rate(account, source, currency, text(row, "expenseDate"))
            rate = decimal(line.get("exchangeRate"), rate)
            value = rounded(account, decimal(line["foreignAmount"]) * rate, currency)
            row |= {"exchangeRate": float(rate), "amount": as_json(value)}
        elif line.get("amount") is None:
            raise errors.missing_values(["Amount"])
        total += decimal(row["amount"])
        rows.append(row)
    if not rows:
        raise errors.user_error("You must enter at least one line item for this transaction.")
    fields["expense"] = {"items": rows}
    fields |= {"total": as_json(total), "amount": as_json(total)}
    draft.default("supervisorApproval", False)
    draft.default("accountingApproval", False)
    post(draft, fields["accountingApproval"] is True)
