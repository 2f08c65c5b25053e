"""What every transaction has: a head, a number, priced and taxed lines, a period to post to.

Sources: vendor page, 5.9 to 5.11. Simulator choices: numbers count per record type from 1, with a
prefix; tax is rounded per line; a posted transaction may not change in the ledger while its period
is locked.
"""

from collections.abc import Mapping
from decimal import Decimal

from pydantic import JsonValue

from simulators.kit import Account, Record
from simulators.netsuite import errors, state
from simulators.netsuite.draft import Draft, check_segments
from simulators.netsuite.money import as_json, base_currency, decimal, exchange_rate, rounded
from simulators.netsuite.periods import LEDGER, PAYABLES, RECEIVABLES, open_period, today
from simulators.netsuite.state import Fields, ref_id, text

VOIDED = "V"
LOCKS: Mapping[str, tuple[str, ...]] = {
    "invoice": RECEIVABLES,
    "creditMemo": RECEIVABLES,
    "customerPayment": RECEIVABLES,
    "journalEntry": LEDGER,
    "vendorBill": PAYABLES,
    "expenseReport": PAYABLES,
}
_PREFIXES: Mapping[str, str] = {
    "invoice": "INV",
    "creditMemo": "CM",
    "customerPayment": "PYMT",
    "journalEntry": "JE",
    "vendorBill": "BILL",
    "expenseReport": "EXP",
}
_LEDGER_FIELDS = ("entity", "customer", "subsidiary", "currency", "exchangeRate", "tranDate")
_LEDGER_LINES = ("item", "line", "expense", "apply")


def fill_head(draft: Draft, entity: Record | None) -> None:
    """Fill subsidiary, currency, date, rate and number; the first two are fixed once saved.

    Raises:
        ReplyError: one of them changes, a segment does not fit, or the subsidiary is missing.
    """
    account, fields = draft.account, draft.fields
    for name in ("subsidiary", "currency"):
        if entity is not None:
            draft.default(name, entity.fields.get(name))
        if draft.changed(name):
            draft.refuse(name)
    draft.require("subsidiary")
    base = base_currency(account, ref_id(fields, "subsidiary"))
    if base is not None:
        draft.default("currency", {"id": base})
    draft.default("tranDate", today(account))
    rate = exchange_rate(account, ref_id(fields, "currency"), base, text(fields, "tranDate"))
    draft.default("exchangeRate", float(rate))
    if draft.before is None:
        number = state.next_number(account, draft.type)
        draft.default("tranId", f"{_PREFIXES[draft.type]}{number:05}")
        fields["transactionNumber"] = f"{_PREFIXES[draft.type]}-{number}"
    check_segments(draft)


def post(draft: Draft, posts: bool) -> None:
    """Name the period of the date, and refuse what a locked one forbids.

    Raises:
        ReplyError: the transaction posts to a period that is locked, or leaves one.
    """
    locks, day = LOCKS[draft.type], text(draft.fields, "tranDate")
    # What waits for approval posts nowhere yet; its period is looked at when it is approved.
    period = open_period(draft.account, day, locks if posts and _is_news(draft) else ())
    draft.fields["postingPeriod"] = {"id": period.id}
    draft.fields["posting"] = posts
    before = draft.before
    if before is not None and before.fields.get("posting") and _is_news(draft):
        open_period(draft.account, text(before.fields, "tranDate"), locks)


def check_posted_removal(account: Account, record: Record) -> None:
    """Refuse to delete a transaction that posted to a period which is locked by now.

    Raises:
        ReplyError: it is.
    """
    if record.fields.get("posting"):
        open_period(account, text(record.fields, "tranDate"), LOCKS[record.type])


def price_lines(draft: Draft, mandatory: bool = True) -> None:
    """Fill amount and tax of each item line, and the totals.

    Raises:
        ReplyError: there is no line although there must be one.
    """
    fields, currency = draft.fields, ref_id(draft.fields, "currency")
    before = state.lines(draft.before.fields, "item") if draft.before is not None else []
    known = {str(line.get("line")): line for line in before}
    rows: list[JsonValue] = []
    subtotal = tax = Decimal(0)
    for line in state.lines(fields, "item"):
        priced = _priced(draft.account, line, known.get(str(line.get("line"))), currency)
        _add_tax(draft, priced, currency)
        subtotal += decimal(priced["amount"])
        tax += decimal(priced["tax1Amt"])
        rows.append(priced)
    if mandatory and not rows:
        raise errors.user_error("You must enter at least one line item for this transaction.")
    fields["item"] = {"items": rows}
    fields |= {"subtotal": as_json(subtotal), "discountTotal": 0.0, "taxTotal": as_json(tax)}
    fields["total"] = as_json(subtotal + tax)


def _priced(account: Account, line: Fields, before: Fields | None, currency: str | None) -> Fields:
    """Return a line with its amount: the one sent, else quantity x rate."""
    quantity = decimal(line.get("quantity"), Decimal(1))
    rate = decimal(line.get("rate"))
    kept = line.get("amount")
    if before is not None and kept == before.get("amount"):
        same = all(line.get(name) == before.get(name) for name in ("quantity", "rate"))
        kept = kept if same else None
    value = decimal(kept) if kept is not None else quantity * rate
    return {**line, "amount": as_json(rounded(account, value, currency))}


def _add_tax(draft: Draft, line: Fields, currency: str | None) -> None:
    """Take the tax code of the subsidiary's country and the item's category, unless one is set."""
    account = draft.account
    if line.get("taxCode") is None and line.get("isTaxable") is not False:
        subsidiary = account.store.get("subsidiary", ref_id(draft.fields, "subsidiary") or "")
        item = account.store.get("serviceSaleItem", ref_id(line, "item") or "")
        category = (ref_id(item.fields, "taxCategory") if item else None) or "standard"
        country = ref_id(subsidiary.fields, "country") if subsidiary else None
        for code in account.store.list("salesTaxItem"):
            fits = ref_id(code.fields, "nexusCountry") == country
            if fits and text(code.fields, "taxCategory") == category:
                line["taxCode"] = {"id": code.id}
    code_used = account.store.get("salesTaxItem", ref_id(line, "taxCode") or "")
    rate = decimal(code_used.fields.get("rate")) if code_used is not None else Decimal(0)
    tax = rounded(account, decimal(line["amount"]) * rate / 100, currency)
    line |= {"taxRate1": float(rate), "tax1Amt": as_json(tax)}
    line["grossAmt"] = as_json(decimal(line["amount"]) + tax)


def _is_news(draft: Draft) -> bool:
    """Whether the ledger would change; lines count without their numbers."""
    before = draft.before
    if before is None or not before.fields.get("posting"):
        return True
    if draft.differs((*_LEDGER_FIELDS, "payment", "account")) is not None:
        return True
    return any(_bare(before.fields, name) != _bare(draft.fields, name) for name in _LEDGER_LINES)


def _bare(fields: Fields, name: str) -> list[Fields]:
    return [
        {key: value for key, value in line.items() if key != "line" and value is not None}
        for line in state.lines(fields, name)
    ]
