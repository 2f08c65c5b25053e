"""Credit notes and their arithmetic (vendor page, 5.4)."""

from dataclasses import dataclass
from decimal import Decimal
from typing import Literal

from pydantic import Field, JsonValue

from simulators.kit import Record
from simulators.stripe.errors import invalid, refused
from simulators.stripe.events import changed, tell
from simulators.stripe.forms import Amount, Fine, Form, Metadata, merged, plain
from simulators.stripe.listing import Page, listed, paged
from simulators.stripe.money import Tax, rates_of, rounded, summed, taxes_on
from simulators.stripe.payments import paid, refund_of
from simulators.stripe.state import Act, Fields, item_id, number, part, text
from simulators.stripe.totals import settled
from simulators.stripe.views import line_taxes, view

URL = "/v1/credit_notes"
LINE = "credit_note_line_item"
Reason = Literal["duplicate", "fraudulent", "order_change", "product_unsatisfactory"]


class NoteLine(Form):
    amount: Amount | None = Field(default=None, ge=1)
    description: str | None = None
    invoice_line_item: str | None = None
    metadata: Metadata = None
    quantity: int | None = Field(default=None, ge=1)
    tax_rates: list[str] | None = None
    type: Literal["custom_line_item", "invoice_line_item"]
    unit_amount: Amount | None = None
    unit_amount_decimal: Fine | None = None


class LinkedRefund(Form):
    amount_refunded: Amount | None = Field(default=None, ge=1)
    refund: str
    type: Literal["refund"] = "refund"


class NoteForm(Form):
    amount: Amount | None = Field(default=None, ge=1)
    credit_amount: Amount = Field(default=0, ge=0)
    effective_at: int | None = None
    email_type: Literal["credit_note", "none"] = "credit_note"
    invoice: str
    lines: list[NoteLine] | None = None
    memo: str | None = None
    metadata: Metadata = None
    out_of_band_amount: Amount = Field(default=0, ge=0)
    reason: Reason | None = None
    refund_amount: Amount = Field(default=0, ge=0)
    refunds: list[LinkedRefund] | None = None


class NoteUpdate(Form):
    memo: str | None = None
    metadata: Metadata = None


@dataclass(frozen=True, slots=True)
class Credited:
    """What one line of a note credits, before tax that comes on top."""

    form: NoteLine
    amount: int
    quantity: int | None
    unit: Decimal | None
    description: str | None
    taxes: list[Tax]


def create(act: Act) -> Fields:
    """`POST /v1/credit_notes`: first lowers what remains to be paid; the excess is given back."""
    form = act.read(NoteForm)
    return view(act.account, issue(act, form))


def preview(act: Act) -> Fields:
    """`GET /v1/credit_notes/preview`: the note that would be issued; nothing is kept."""
    form = act.read(NoteForm)
    snapshot = act.account.store.snapshot()
    try:
        return view(act.account, issue(act, form))
    finally:
        act.account.store.restore(snapshot)
        act.effects.clear()
        act.news.clear()


def issue(act: Act, form: NoteForm) -> Record:
    """Issue a note on an open or paid invoice.

    Raises:
        Refusal: wrong state, more than the invoice, or an excess that is not given back exactly.
    """
    invoice = act.find("invoice", form.invoice, "invoice")
    if invoice.fields["status"] not in {"open", "paid"}:
        text_ = "You can only create credit notes for open or paid invoices; this one is"
        raise refused(f"{text_} {invoice.fields['status']}.", param="invoice")
    lines = _lines(act, form, invoice)
    taxes = [tax for line in lines for tax in line.taxes]
    subtotal = sum(line.amount for line in lines)
    total = subtotal + sum(tax.amount for tax in taxes if not tax.inclusive)
    net = subtotal - sum(tax.amount for tax in taxes if tax.inclusive)
    issued = _issued(act, invoice)
    left = number(invoice.fields, "total") - sum(number(n.fields, "total") for n in issued)
    if total > left:
        raise refused(f"The credit note's total ({total}) exceeds what is left ({left}).", None)
    before = min(total, number(invoice.fields, "amount_remaining"))
    after = total - before
    refunds = _refunds(act, form, invoice, after)
    counter = len(act.account.store.indexed("credit_note", "invoice", invoice.id)) + 1
    fields: Fields = {
        "amount": total,
        "amount_shipping": 0,
        "currency": invoice.fields["currency"],
        "customer": invoice.fields["customer"],
        "customer_account": None,
        "customer_balance_transaction": None,
        "discount_amount": 0,
        "discount_amounts": [],
        "effective_at": form.effective_at or act.now,
        "invoice": invoice.id,
        "memo": form.memo,
        "number": f"{invoice.fields['number']}-CN-{counter:02d}",
        "out_of_band_amount": form.out_of_band_amount or None,
        "pdf": f"https://pay.stripe.com/credit_notes/acct_simulated/{invoice.id}/{counter}/pdf",
        "post_payment_amount": after,
        "pre_payment_amount": before,
        "pretax_credit_amounts": [],
        "reason": form.reason,
        "refunds": refunds,
        "shipping_cost": None,
        "status": "issued",
        "subtotal": subtotal,
        "subtotal_excluding_tax": net,
        "total": total,
        "total_excluding_tax": net,
        "total_taxes": summed(taxes),
        "type": "pre_payment" if not after else "post_payment" if not before else "mixed",
        "voided_at": None,
    }
    note = act.insert("credit_note", fields, form.metadata)
    for line in lines:
        _insert_line(act, note, line)
    _credit_balance(act, invoice, form.credit_amount)
    _count(act, invoice, before, after)
    tell(act, "credit_note.created", note)
    if invoice.fields["status"] == "open" and number(invoice.fields, "amount_remaining") == 0:
        paid(act, invoice)
    return note


def void(act: Act) -> Fields:
    """`POST /v1/credit_notes/{id}/void`: only while its invoice is open."""
    note = act.find("credit_note")
    void_note(act, note)
    return view(act.account, note)


def void_note(act: Act, note: Record) -> None:
    """Void a note, so that its invoice is due again.

    Raises:
        Refusal: void already, or the invoice is not open, or money was given back.
    """
    invoice = act.find("invoice", text(note.fields, "invoice"))
    if note.fields["status"] != "issued":
        raise refused("This credit note has already been voided.")
    if invoice.fields["status"] != "open" or number(note.fields, "post_payment_amount"):
        raise refused("You can only void credit notes of open invoices, before payment.")
    act.update(note, {"status": "void", "voided_at": act.now})
    _count(act, invoice, -number(note.fields, "pre_payment_amount"), 0)
    tell(act, "credit_note.voided", note)


def update(act: Act) -> Fields:
    """`POST /v1/credit_notes/{id}`: memo and metadata."""
    note = act.find("credit_note")
    form = act.read(NoteUpdate)
    changes: Fields = {"memo": form.memo} if form.given("memo") else {}
    if form.given("metadata"):
        changes["metadata"] = merged(note.fields["metadata"], form.metadata)
    changed(act, "credit_note.updated", note, changes)
    return view(act.account, note)


def read_one(act: Act) -> Fields:
    """`GET /v1/credit_notes/{id}`."""
    return view(act.account, act.find("credit_note"))


def read_all(act: Act) -> Fields:
    """`GET /v1/credit_notes`."""
    rows = act.account.store.list("credit_note")
    return listed(act, URL, rows, ("created", "customer", "invoice"))


def read_lines(act: Act) -> Fields:
    """`GET /v1/credit_notes/{id}/lines`."""
    note = act.find("credit_note")
    rows = act.account.store.indexed(LINE, "note", note.id)
    return paged(act, f"{URL}/{note.id}/lines", act.read(Page), rows, view)


def _lines(act: Act, form: NoteForm, invoice: Record) -> list[Credited]:
    if (form.amount is None) == (not form.lines):
        raise invalid("You must specify exactly one of amount and lines.", "amount")
    if form.amount is not None:
        # An amount is the note's total; that it carries no tax of its own is unverified.
        line = NoteLine(type="custom_line_item", unit_amount=form.amount)
        return [Credited(line, form.amount, 1, Decimal(form.amount), None, [])]
    made: list[Credited] = []
    for line in form.lines or []:
        if line.type == "custom_line_item":
            made.append(_custom(act, line))
        else:
            made.append(_of_invoice(act, line, invoice, made))
    return made


def _custom(act: Act, line: NoteLine) -> Credited:
    unit = line.unit_amount_decimal
    if unit is None and line.unit_amount is not None:
        unit = Decimal(line.unit_amount)
    if unit is None or line.amount is not None or line.invoice_line_item is not None:
        text_ = "A custom_line_item takes unit_amount or unit_amount_decimal, and no amount."
        raise invalid(text_, "lines")
    quantity = 1 if line.quantity is None else line.quantity
    amount = rounded(unit * quantity)
    taxes = taxes_on(amount, rates_of(act.account, line.tax_rates or []), "none")
    return Credited(line, amount, quantity, unit, line.description, taxes)


def _of_invoice(act: Act, line: NoteLine, invoice: Record, made: list[Credited]) -> Credited:
    """Credit a line of the invoice, by amount or quantity, with its share of the line's tax."""
    id_ = line.invoice_line_item or ""
    item = act.account.store.get("invoiceitem", item_id(id_))
    if item is None or item.fields["invoice"] != invoice.id:
        raise invalid(f"No such invoice line item: '{id_}'", "lines", "resource_missing")
    if (line.amount is None) == (line.quantity is None):
        raise invalid("Give either amount or quantity of an invoice_line_item.", "lines")
    whole = number(item.fields, "amount")
    amount = line.amount or 0
    if line.quantity is not None:
        many = Decimal(text(item.fields, "quantity_decimal"))
        if line.quantity > many:
            raise refused(f"The quantity ({line.quantity}) exceeds the line's ({many}).")
        amount = rounded(Decimal(whole) * line.quantity / many)
    before, taxed = _credited_before(act, invoice, id_, made)
    if before + amount > whole:
        text_ = f"The credited amount ({amount}) exceeds what is left of the line"
        raise refused(f"{text_} ({whole - before}).", param="lines")
    share = Decimal(before + amount) / whole if whole else Decimal(0)
    taxes = []
    for tax in line_taxes(act.account, item, invoice):
        # Worked out from the line's beginning, so that its parts sum up to its tax.
        own = rounded(tax.amount * share) - taxed.get(tax.rate, 0)
        taxes.append(Tax(tax.rate, own, amount, tax.inclusive, tax.reason))
    return Credited(line, amount, line.quantity, None, text(item.fields, "description"), taxes)


def _credited_before(
    act: Act, invoice: Record, line: str, made: list[Credited]
) -> tuple[int, dict[str, int]]:
    """Return what issued notes, and this one so far, credit of a line: amount, tax by rate."""
    amount, taxed = 0, dict[str, int]()
    for note in _issued(act, invoice):
        for row in act.account.store.indexed(LINE, "note", note.id):
            if row.fields["invoice_line_item"] != line:
                continue
            amount += number(row.fields, "amount")
            for rate, tax in part(row.fields, "_taxed").items():
                taxed[rate] = taxed.get(rate, 0) + int(str(tax))
    for credited in made:
        if credited.form.invoice_line_item == line:
            amount += credited.amount
            for own in credited.taxes:
                taxed[own.rate] = taxed.get(own.rate, 0) + own.amount
    return amount, taxed


def _issued(act: Act, invoice: Record) -> list[Record]:
    rows = act.account.store.indexed("credit_note", "invoice", invoice.id)
    return [row for row in rows if row.fields["status"] == "issued"]


def _insert_line(act: Act, note: Record, line: Credited) -> None:
    unit = line.unit
    whole = unit is not None and unit == unit.to_integral_value()
    fields: Fields = {
        "amount": line.amount,
        "description": line.description,
        "discount_amount": 0,
        "discount_amounts": [],
        "invoice_line_item": line.form.invoice_line_item,
        "pretax_credit_amounts": [],
        "quantity": line.quantity,
        "tax_rates": list(line.form.tax_rates or []),
        "taxes": [tax.view() for tax in line.taxes],
        "type": line.form.type,
        "unit_amount": int(unit) if unit is not None and whole else None,
        "unit_amount_decimal": None if unit is None else plain(unit),
        "_note": note.id,
        "_taxed": {tax.rate: tax.amount for tax in line.taxes},
    }
    act.insert(LINE, fields, line.form.metadata)


def _refunds(act: Act, form: NoteForm, invoice: Record, after: int) -> list[JsonValue]:
    """Give the excess over what remained to be paid back; return the refunds of cards."""
    linked = [
        (act.find("refund", r.refund, "refunds"), r.amount_refunded) for r in form.refunds or []
    ]
    amounts = [number(row.fields, "amount") if part_ is None else part_ for row, part_ in linked]
    given = form.refund_amount + form.credit_amount + form.out_of_band_amount + sum(amounts)
    if given != after:
        text_ = (
            "The sum of credit amount, refund amount and out of band amount"
            f" ({given}) must equal the post payment credit note amount ({after})."
        )
        raise refused(text_)
    made = [(row.id, amount) for (row, _), amount in zip(linked, amounts, strict=True)]
    left = form.refund_amount
    for payment in act.account.store.indexed("invoice_payment", "invoice", invoice.id):
        intent_id = part(payment.fields, "payment").get("payment_intent")
        intent = act.account.store.get("payment_intent", str(intent_id))
        if intent is None or not left:
            continue
        amount = number(intent.fields, "amount_received") - number(intent.fields, "_refunded")
        if amount:
            made.append((refund_of(act, intent, min(amount, left)).id, min(amount, left)))
            left -= min(amount, left)
    if left:
        text_ = f"The refund amount exceeds what was paid by card and not yet refunded by {left}."
        raise refused(text_, param="refund_amount")
    return [
        {"amount_refunded": amount, "refund": refund, "type": "refund"} for refund, amount in made
    ]


def _credit_balance(act: Act, invoice: Record, amount: int) -> None:
    if amount:
        customer = act.find("customer", text(invoice.fields, "customer"), "customer")
        balance = number(customer.fields, "balance") - amount
        changed(act, "customer.updated", customer, {"balance": balance})


def _count(act: Act, invoice: Record, before: int, after: int) -> None:
    names = ("pre_payment_credit_notes_amount", "post_payment_credit_notes_amount")
    changes: Fields = {
        name: number(invoice.fields, name) + amount
        for name, amount in zip(names, (before, after), strict=True)
    }
    act.account.store.update(invoice, changes)
    changed(act, "invoice.updated", invoice, settled(invoice))
