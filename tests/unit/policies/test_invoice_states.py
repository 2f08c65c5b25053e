"""The state of an issued invoice: cash and credit told apart, reversals, due days."""

from datetime import date
from decimal import Decimal
from typing import Any

import pytest

from canonical.invoicing import Application, ApplicationKind, Delivery, Invoice, InvoiceStatus
from canonical.lifecycle import InvoiceState, SettledBy
from canonical.records import RecordRef
from policies.invoice_states import settled_by, state_of
from tests.support.drafts import money

TODAY = date(2026, 12, 15)


def applied(kind: ApplicationKind, amount: str, id_: str = "p1") -> Application:
    return Application(id=id_, kind=kind, amount=money(amount), on=TODAY)


def invoice(remaining: str = "119.00", **more: Any) -> Invoice:
    """Return an issued invoice of 119.00 gross, due on the last of the month."""
    given: dict[str, Any] = {
        "record": RecordRef(system="netsuite", type="invoice", id="77"),
        "status": InvoiceStatus.OPEN,
        "number": "INV-77",
        "currency": "EUR",
        "net": money("100.00"),
        "tax": money("19.00"),
        "gross": money("119.00"),
        "remaining": money(remaining),
        "due": date(2026, 12, 31),
        **more,
    }
    return Invoice(**given)


PAY, CREDIT = ApplicationKind.PAYMENT, ApplicationKind.CREDIT


@pytest.mark.parametrize(
    ("given", "state"),
    [
        (None, InvoiceState.GONE),
        (invoice(), InvoiceState.ISSUED),
        (invoice(due=TODAY), InvoiceState.ISSUED),
        (invoice(due=date(2026, 12, 14)), InvoiceState.OVERDUE),
        (invoice("19.00"), InvoiceState.PART_SETTLED),
        (invoice("19.00", due=date(2026, 12, 14)), InvoiceState.OVERDUE),
        (invoice("0.00", applications=(applied(PAY, "119.00"),)), InvoiceState.SETTLED),
        (invoice("-1.00", applications=(applied(PAY, "120.00"),)), InvoiceState.SETTLED),
        (invoice("0.00", applications=(applied(CREDIT, "119.00"),)), InvoiceState.CREDITED),
        (
            invoice("0.00", applications=(applied(PAY, "100.00"), applied(CREDIT, "19.00", "c1"))),
            InvoiceState.SETTLED,
        ),
        (invoice(status=InvoiceStatus.VOID), InvoiceState.VOIDED),
        (invoice(status=InvoiceStatus.UNCOLLECTIBLE), InvoiceState.SETTLED),
    ],
)
def test_state(given: Invoice | None, state: InvoiceState) -> None:
    assert state_of(given, TODAY) is state


def test_a_dispute_shows_until_it_is_settled() -> None:
    assert state_of(invoice(due=date(2026, 12, 1)), TODAY, disputed=True) is InvoiceState.DISPUTED
    paid = invoice("0.00", applications=(applied(PAY, "119.00"),))
    assert state_of(paid, TODAY, disputed=True) is InvoiceState.SETTLED


def test_delivery_is_told_while_nothing_else_is() -> None:
    assert state_of(invoice(), TODAY, delivery=Delivery.TRANSMITTED) is InvoiceState.TRANSMITTED
    assert (
        state_of(invoice("1.00"), TODAY, delivery=Delivery.TRANSMITTED) is InvoiceState.PART_SETTLED
    )


def test_a_reversed_payment_settles_nothing() -> None:
    both = (applied(PAY, "119.00"), applied(PAY, "-119.00"))
    assert settled_by(both) is SettledBy.NOTHING
    assert settled_by((*both, applied(CREDIT, "119.00"))) is SettledBy.CREDIT
    assert settled_by((applied(PAY, "1.00"), applied(CREDIT, "1.00"))) is SettledBy.SEVERAL
    assert sum((each.amount.amount for each in both), Decimal(0)) == 0
