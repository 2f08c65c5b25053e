"""What was applied to an invoice at Stripe, as canonical applications; pure.

Sources: vendor page sections 5.3, 5.4; fields of payments, refunds, disputes and balances as in
PyPI stripe 16.1.0. An invoice that was paid stays so at Stripe when the money goes back, so what is
applied is added up here: payments and balance, less what went back, and credit notes.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from adapters.errors import ContractBroken
from adapters.stripe.client import VENDOR
from adapters.stripe.config import StripeConfig
from adapters.stripe.mapping import money
from adapters.stripe.rows import (
    Row,
    id_of,
    inner,
    is_void,
    key_of,
    moment,
    reference,
    rows_in,
    text,
    whole,
)
from canonical.invoicing import Application, ApplicationKind

REFUNDED: Final = frozenset({"pending", "succeeded"})
"""Of a refund: the money is gone, or on its way."""
DISPUTED: Final = frozenset({"needs_response", "under_review", "lost"})
"""Of a dispute: the money is withdrawn. A `warning_...` takes nothing, and `won` brings it back."""


SOURCES: Final = ("payment_intent", "charge", "payment_record")
"""What a payment of an invoice is made by."""


@dataclass(frozen=True)
class Settled:
    """What hangs on an issued invoice and is not in it."""

    payments: Sequence[Row] = ()
    """Paid ones."""
    refunds: Sequence[Row] = ()
    """Of those payments; likewise the disputes."""
    disputes: Sequence[Row] = ()
    notes: Sequence[Row] = ()
    """Credit notes, void ones too."""


@dataclass(frozen=True)
class _Part:
    """An application before it has a currency and a day."""

    id: str
    kind: ApplicationKind
    amount: int
    at: int
    reference: str
    external_id: str = ""


def applications(row: Row, settled: Settled, config: StripeConfig) -> tuple[Application, ...]:
    """Return what takes something off an issued invoice, and what was taken back, oldest first.

    Raises:
        ContractBroken: an amount or a time is missing.
    """
    currency = text(row, "currency").upper()
    paid = [*_payments(row, settled)]
    parts = [*paid, *_forgiven(row, paid), *_reversals(settled), *_credits(settled)]
    return tuple(
        Application(
            id=part.id,
            kind=part.kind,
            amount=money(part.amount, currency),
            on=moment(part.at).astimezone(config.zone).date(),
            reference=part.reference,
            external_id=part.external_id,
        )
        for part in sorted(parts, key=lambda each: (each.at, each.id))
        if part.amount
    )


def _payments(row: Row, settled: Settled) -> Iterator[_Part]:
    """Yield payments, the client's balance that was used, and what was paid too much.

    What Stripe says was paid but shows no payment for was paid outside. What was paid too much
    goes to the client's balance, and comes back as balance used on another invoice.
    """
    id_, kind = id_of(row), ApplicationKind.PAYMENT
    moments = inner(row, "status_transitions")
    issued, paid_at = whole(moments, "finalized_at"), whole(moments, "paid_at")
    for payment in settled.payments:
        paid = whole(inner(payment, "status_transitions"), "paid_at") or whole(payment, "created")
        of = inner(payment, "payment")
        source = next((reference(of.get(name)) for name in SOURCES if of.get(name)), "outside")
        yield _Part(id_of(payment), kind, _amount(payment, "amount_paid"), paid, source)
    listed = sum(_amount(payment, "amount_paid") for payment in settled.payments)
    outside = max(_amount(row, "amount_paid") - listed, 0)
    yield _Part(f"{id_}-outside", kind, outside, paid_at or issued, "outside")
    used = whole(row, "ending_balance") - whole(row, "starting_balance")
    yield _Part(f"{id_}-balance", kind, used, issued, "balance")
    over = whole(row, "amount_overpaid")
    yield _Part(f"{id_}-overpaid", kind, -over, paid_at or issued, "to the balance")


def _reversals(settled: Settled) -> Iterator[_Part]:
    for rows, counted in ((settled.refunds, REFUNDED), (settled.disputes, DISPUTED)):
        for each in rows:
            if text(each, "status") in counted:
                source = reference(each.get("payment_intent")) or reference(each.get("charge"))
                amount, at = _amount(each, "amount"), whole(each, "created")
                yield _Part(id_of(each), ApplicationKind.PAYMENT, -amount, at, source)


def _credits(settled: Settled) -> Iterator[_Part]:
    """Yield credit notes, and what they gave back of what was paid, refunds aside.

    What a note says was given back outside is taken to be what a dispute took, as far as it goes.
    """
    disputed = sum(
        _amount(each, "amount") for each in settled.disputes if text(each, "status") in DISPUTED
    )
    for note in settled.notes:
        if is_void(note):
            continue
        id_, number = id_of(note), text(note, "number")
        at = whole(note, "effective_at") or whole(note, "created")
        credit = ApplicationKind.CREDIT
        yield _Part(id_, credit, _amount(note, "total"), at, number, key_of(note))
        outside = whole(note, "out_of_band_amount")
        balance = whole(note, "post_payment_amount") - outside - sum(linked(note).values())
        known = min(outside, disputed)
        disputed -= known
        payment = ApplicationKind.PAYMENT
        yield _Part(f"{id_}-balance", payment, -balance, at, number)
        yield _Part(f"{id_}-outside", payment, known - outside, at, number)


def linked(note: Row) -> dict[str, int]:
    """Return the refunds of a credit note, with what of each is on it."""
    refunds = rows_in(note.get("refunds"))
    return {reference(each.get("refund")): whole(each, "amount_refunded") for each in refunds}


def unlinked(settled: Settled) -> list[tuple[str, int]]:
    """Return the refunds, with what of each is on no credit note yet."""
    free = {
        id_of(each): _amount(each, "amount")
        for each in settled.refunds
        if text(each, "status") in REFUNDED
    }
    for note in settled.notes:
        for id_, amount in () if is_void(note) else linked(note).items():
            free[id_] = free.get(id_, 0) - amount
    return [(id_, amount) for id_, amount in free.items() if amount > 0]


def _forgiven(row: Row, paid: Sequence[_Part]) -> Iterator[_Part]:
    """Yield what nobody paid or credited and Stripe asks for no more (`forgive`, section 5.3)."""
    credited = whole(row, "pre_payment_credit_notes_amount")
    owed = _amount(row, "total") - credited - sum(part.amount for part in paid)
    at = whole(inner(row, "status_transitions"), "paid_at")
    left = max(owed - _amount(row, "amount_remaining"), 0)
    yield _Part(f"{id_of(row)}-forgiven", ApplicationKind.WRITE_OFF, left, at, "forgiven")


def _amount(row: Row, name: str) -> int:
    """Return an amount in the smallest unit.

    Raises:
        ContractBroken: it is missing.
    """
    value = row.get(name)
    if not isinstance(value, int) or isinstance(value, bool):
        raise ContractBroken(f"Stripe sent {value!r} as {name}.", vendor=VENDOR)
    return value
