"""What saving or deleting one record does to others, after its own rules let it pass.

Whether a payment changes the last-modified date of its invoice is not on the page: it does, unless
the account's setting `settlementTouchesInvoice` is off.
"""

from simulators.kit import Account, Record
from simulators.netsuite import state
from simulators.netsuite.invoicing import bill_charges, free_charges, status_of
from simulators.netsuite.ledger import VOIDED
from simulators.netsuite.money import as_json, decimal
from simulators.netsuite.settlement import APPLYING, applied_invoices, settled
from simulators.netsuite.state import Fields, ref_id


def after_save(account: Account, record: Record, before: Fields | None) -> None:
    """Bill and free charges, and tell invoices what is applied to them."""
    if record.type == "invoice":
        bill_charges(account, record, before)
    if record.type in APPLYING:
        _settle_all(account, applied_invoices(before, record.fields))


def after_delete(account: Account, record: Record) -> None:
    """Free the charges of an invoice, and open invoices again that a document had settled."""
    if record.type == "invoice":
        free_charges(account, record)
    if record.type in APPLYING:
        _settle_all(account, applied_invoices(record.fields))


def _settle_all(account: Account, numbers: set[str]) -> None:
    for number in sorted(numbers):
        invoice = account.store.get("invoice", number)
        if invoice is None or ref_id(invoice.fields, "status") == VOIDED:
            continue
        paid = settled(account, number)
        left = decimal(invoice.fields.get("total")) - paid
        changes: Fields = {"amountPaid": as_json(paid), "amountRemaining": as_json(left)}
        changes["status"] = {"id": status_of(invoice.fields, left)}
        stamp = invoice.modified_at
        account.store.update(invoice, changes)
        if not state.governance(account).get("settlementTouchesInvoice", True):
            invoice.modified_at = stamp
