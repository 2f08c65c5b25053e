"""An invoice's sums, worked out from its lines, the tax rates, payments and credit notes."""

from simulators.kit import Record
from simulators.stripe.events import changed
from simulators.stripe.money import summed
from simulators.stripe.state import Act, Fields, number
from simulators.stripe.views import items_of, line_taxes


def recount(act: Act, invoice: Record) -> None:
    """Work out a draft's sums after its lines changed, and tell when they changed."""
    changed(act, "invoice.updated", invoice, sums(act, invoice))


def sums(act: Act, invoice: Record) -> Fields:
    """Return the sums of a draft: the customer's balance is not applied yet."""
    items = items_of(act.account, invoice)
    subtotal = sum(number(item.fields, "amount") for item in items)
    taxes = [tax for item in items for tax in line_taxes(act.account, item, invoice)]
    inside = sum(tax.amount for tax in taxes if tax.inclusive)
    outside = sum(tax.amount for tax in taxes if not tax.inclusive)
    total = subtotal + outside
    due = max(total, 0)
    return {
        "subtotal": subtotal,
        "subtotal_excluding_tax": subtotal - inside,
        "total": total,
        "total_excluding_tax": subtotal - inside,
        "total_taxes": summed(taxes),
        "amount_due": due,
        "amount_remaining": due,
    }


def settled(invoice: Record) -> Fields:
    """Return what is due and open of a finalized invoice.

    Credit notes before payment lower what is due; what was paid is the sum of its payments.
    """
    fields = invoice.fields
    applied = number(fields, "ending_balance") - number(fields, "starting_balance")
    credited = number(fields, "pre_payment_credit_notes_amount")
    # A credit balance is used up towards zero, a debt is added: either way by its change.
    due = max(number(fields, "total") - applied - credited, 0)
    paid = number(fields, "amount_paid")
    return {
        "amount_due": due,
        "amount_remaining": max(due - paid, 0),
        "amount_overpaid": max(paid - due, 0),
    }
