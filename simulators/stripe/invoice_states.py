"""An invoice's way from draft to open, paid, uncollectible and void (vendor page, 5.3)."""

from simulators.kit import Record, Reply
from simulators.stripe.errors import Refusal, refused
from simulators.stripe.events import changed, tell
from simulators.stripe.forms import Form
from simulators.stripe.invoices import due_at
from simulators.stripe.payments import charge, method_of, paid
from simulators.stripe.state import Act, Fields, number, part, text
from simulators.stripe.totals import settled, sums
from simulators.stripe.views import view


class FinalizeForm(Form):
    auto_advance: bool | None = None


class NoForm(Form):
    """A call without parameters of its own."""


def finalize(act: Act) -> Fields | Reply:
    """`POST /v1/invoices/{id}/finalize`: freezes the lines and gives the number.

    When that fails, the draft stays one and says why in `last_finalization_error`.
    """
    invoice = act.find("invoice")
    form = act.read(FinalizeForm)
    if invoice.fields["status"] != "draft":
        text_ = "This invoice is already finalized, you can't re-finalize a non-draft invoice."
        raise refused(text_)
    if form.auto_advance is not None:
        act.update(invoice, {"auto_advance": form.auto_advance})
    refusal = try_to_finalize(act, invoice)
    return view(act.account, invoice) if refusal is None else refusal


def try_to_finalize(act: Act, invoice: Record) -> Reply | None:
    """Finalize a draft, or note and return why it cannot be, with nothing else changed."""
    effects, news = len(act.effects), len(act.news)
    try:
        with act.account.store.atomic():
            finalize_draft(act, invoice)
    except Refusal as refusal:
        del act.effects[effects:], act.news[news:]
        body = refusal.reply.body
        error = body["error"] if isinstance(body, dict) else None
        act.update(invoice, {"last_finalization_error": error, "automatically_finalizes_at": None})
        tell(act, "invoice.finalization_failed", invoice)
        return refusal.reply
    return None


def finalize_draft(act: Act, invoice: Record) -> None:
    """Finalize; nothing to pay makes it paid at once, and a revision voids what it revises."""
    customer = act.find("customer", text(invoice.fields, "customer"), "customer")
    act.update(invoice, sums(act, invoice))
    starting = number(customer.fields, "balance")
    after = starting + number(invoice.fields, "total")
    ending = min(after, 0)
    token = invoice.id.partition("_")[2]
    moments: Fields = {**part(invoice.fields, "status_transitions"), "finalized_at": act.now}
    changes: Fields = {
        "status": "open",
        "number": text(invoice.fields, "number") or _next_number(act, customer),
        "starting_balance": starting,
        "ending_balance": ending,
        "status_transitions": moments,
        "automatically_finalizes_at": None,
        "due_date": due_at(invoice, act.now),
        "effective_at": invoice.fields["effective_at"] or act.now,
        "hosted_invoice_url": f"https://invoice.stripe.com/i/acct_simulated/test_{token}",
        "invoice_pdf": f"https://pay.stripe.com/invoice/acct_simulated/test_{token}/pdf",
    }
    if ending != starting:
        changed(act, "customer.updated", customer, {"balance": ending})
    act.update(invoice, changes)
    act.update(invoice, settled(invoice))
    tell(act, "invoice.finalized", invoice)
    _void_revised(act, invoice)
    if number(invoice.fields, "amount_due") == 0:
        paid(act, invoice)
        return
    method = method_of(act, invoice)
    automatic = invoice.fields["collection_method"] == "charge_automatically"
    if automatic and invoice.fields["auto_advance"] and method is not None:
        charge(act, invoice, method)


def send(act: Act) -> Fields:
    """`POST /v1/invoices/{id}/send`: finalizes a draft first; no mail leaves the simulator."""
    invoice = act.find("invoice")
    act.read(NoForm)
    if invoice.fields["collection_method"] != "send_invoice":
        text_ = "You can only manually send an invoice if its collection method is 'send_invoice'."
        raise refused(text_)
    if not text(invoice.fields, "customer_email"):
        raise refused("Missing email. The customer must have a valid email to be sent invoices.")
    if invoice.fields["status"] == "draft":
        finalize_draft(act, invoice)
    elif invoice.fields["status"] in {"void", "uncollectible"}:
        raise refused(f"You cannot send an invoice that is {invoice.fields['status']}.")
    tell(act, "invoice.sent", invoice)
    return view(act.account, invoice)


def void(act: Act) -> Fields:
    """`POST /v1/invoices/{id}/void`: open and uncollectible ones; the number stays used."""
    invoice = act.find("invoice")
    act.read(NoForm)
    void_invoice(act, invoice)
    return view(act.account, invoice)


def void_invoice(act: Act, invoice: Record) -> None:
    """Void, and give back what was taken from the customer's balance.

    Raises:
        Refusal: a draft, a paid or void one, or one with a payment.
    """
    status = invoice.fields["status"]
    if status not in {"open", "uncollectible"}:
        text_ = f"You can only void an open or uncollectible invoice; this one is {status}."
        raise refused(text_)
    if number(invoice.fields, "amount_paid"):
        raise refused("You cannot void an invoice with a succeeded partial payment.")
    _give_back(act, invoice)
    _move(act, invoice, "void", "voided_at")
    tell(act, "invoice.voided", invoice)


def mark_uncollectible(act: Act) -> Fields:
    """`POST /v1/invoices/{id}/mark_uncollectible`: open ones."""
    invoice = act.find("invoice")
    act.read(NoForm)
    if invoice.fields["status"] != "open":
        text_ = "You can only mark an open invoice as uncollectible; this one is"
        raise refused(f"{text_} {invoice.fields['status']}.")
    _move(act, invoice, "uncollectible", "marked_uncollectible_at")
    tell(act, "invoice.marked_uncollectible", invoice)
    return view(act.account, invoice)


def _move(act: Act, invoice: Record, status: str, moment: str) -> None:
    moments: Fields = {**part(invoice.fields, "status_transitions"), moment: act.now}
    changes: Fields = {"status": status, "status_transitions": moments, "auto_advance": False}
    changed(act, "invoice.updated", invoice, changes)


def _give_back(act: Act, invoice: Record) -> None:
    customer = act.account.store.get("customer", text(invoice.fields, "customer"))
    used = number(invoice.fields, "ending_balance") - number(invoice.fields, "starting_balance")
    if customer is not None and used:
        back = number(customer.fields, "balance") - used
        changed(act, "customer.updated", customer, {"balance": back})


def _next_number(act: Act, customer: Record) -> str:
    """Return `<prefix>-0001` and so on; a number is never used again."""
    sequence = number(customer.fields, "next_invoice_sequence")
    act.account.store.update(customer, {"next_invoice_sequence": sequence + 1})
    return f"{customer.fields['invoice_prefix']}-{sequence:04d}"


def _void_revised(act: Act, invoice: Record) -> None:
    revised = part(invoice.fields, "from_invoice").get("invoice")
    old = act.account.store.get("invoice", str(revised)) if revised is not None else None
    if old is not None and old.fields["status"] == "open":
        void_invoice(act, old)
