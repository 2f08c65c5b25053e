"""Events of issued invoices: which invoice each is about, and the look that it asks for.

Stripe's webhooks (vendor page stripe_billing, 6) name an invoice, a record of one (a credit note, a
payment of an invoice), or money that goes back, which names the payment that it was; a poll names
an invoice. What is no invoice of Dealthread's is nothing of ours.
"""

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

from pydantic import JsonValue
from temporalio.common import SearchAttributePair

from canonical.ids import VENDOR_ID_PATTERN, invoice_id
from canonical.invoice_lifecycle import InvoiceKey, LifecycleInput, LookAgain
from gateway import stripe
from gateway.deliveries import Refusal as DeliveryRefusal
from gateway.parsing import json_object, object_at, text_at
from gateway.routing import Refused, Routed, Target, Verdict
from operations.sagas import SAGA_QUEUE
from store.inbox import Taken
from workflows.board import BUSINESS_KEY, SAGA_STATE

INVOICE_CHANGED: Final = "com.dealthread.invoice.changed"
"""What a poll puts into the inbox; its subject is the invoice's id."""
SENT: Final = "invoice.sent"
"""Stripe sent an invoice to the client by e-mail. That one came back, no event of Stripe says."""
LIFECYCLE: Final = "InvoiceLifecycle"
LOOK: Final = "look"
OF_INVOICES: Final = ("invoice.",)
OF_RECORDS: Final = ("invoice_payment.", "credit_note.")
"""Of records that name their invoice."""
OF_MONEY: Final = ("charge.dispute.", "charge.refunded", "refund.")
"""Of money that goes back: a payment intent, or a charge."""


class Invoices(Protocol):
    """Which invoices are ours; `store.known_invoices` is one."""

    async def of(self, connection: str, ids: Collection[str]) -> frozenset[str]:
        """Return those of these ids that are."""

    async def paid_with(
        self, connection: str, references: Collection[str]
    ) -> dict[str, frozenset[str]]:
        """Return the invoices by the payments that were applied to them."""

    async def transmitted(self, connection: str, sent: Mapping[str, str]) -> None:
        """Note which invoices were sent to their clients, each with the event that says so."""


@dataclass(frozen=True, slots=True)
class Named:
    """What an event names."""

    invoice: str = ""
    payments: tuple[str, ...] = ()


def concerns(taken: Taken) -> bool:
    """Return whether an event is about an invoice, whoever made it."""
    event = taken.event
    if event.kind == INVOICE_CHANGED:
        return True
    kinds = (*OF_INVOICES, *OF_RECORDS, *OF_MONEY)
    return event.protocol == stripe.PROTOCOL and event.kind.startswith(kinds)


async def looks(events: Sequence[Taken], invoices: Invoices) -> list[Routed | Refused]:
    """Return a look for each invoice of ours that these events are about.

    Raises:
        StoreUnavailable: nobody can say which are ours.
    """
    named = {each.event.id: _named(each) for each in events}
    ours, paid = await _ours(events, named, invoices)
    await _note_sent(events, ours, invoices)
    found: list[Routed | Refused] = []
    for each in events:
        event, of = each.event, named[each.event.id]
        ids = {of.invoice} & ours[event.connection]
        for payment in of.payments:
            ids |= paid[event.connection].get(payment, frozenset())
        found += [Routed(event.id, look_at(event.connection, id_)) for id_ in sorted(ids)]
        if not ids:
            detail = f"{event.kind} is about no invoice that Dealthread made."
            found.append(Refused(event.id, Verdict.IGNORED, "not_ours", detail))
    return found


async def _ours(
    events: Sequence[Taken], named: dict[int, Named], invoices: Invoices
) -> tuple[dict[str, frozenset[str]], dict[str, dict[str, frozenset[str]]]]:
    ids: dict[str, set[str]] = defaultdict(set)
    payments: dict[str, set[str]] = defaultdict(set)
    for each in events:
        of = named[each.event.id]
        ids[each.event.connection] |= {of.invoice} - {""}
        payments[each.event.connection].update(of.payments)
    ours = {name: await invoices.of(name, asked) for name, asked in ids.items()}
    paid = {name: await invoices.paid_with(name, asked) for name, asked in payments.items()}
    return ours, paid


async def _note_sent(
    events: Sequence[Taken], ours: Mapping[str, frozenset[str]], invoices: Invoices
) -> None:
    """Note what was sent before the look, which finds it nowhere: an invoice does not say so."""
    sent: dict[str, dict[str, str]] = defaultdict(dict)
    for each in events:
        event = each.event
        if event.kind == SENT and event.subject in ours[event.connection]:
            sent[event.connection][event.subject] = event.event_id
    for connection, ids in sent.items():
        await invoices.transmitted(connection, ids)


def _named(taken: Taken) -> Named:
    event = taken.event
    if event.kind == INVOICE_CHANGED or event.kind.startswith(OF_INVOICES):
        return Named(invoice=_id(event.subject))
    try:
        about = object_at(object_at(json_object(taken.body), "data"), "object")
    except DeliveryRefusal:
        return Named()
    if event.kind.startswith(OF_RECORDS):
        return Named(invoice=_reference(about, "invoice"))
    # A charge is its own reference where it was paid without an intent.
    fields = ("payment_intent", "charge", "id")
    given = (_reference(about, name) for name in fields)
    return Named(payments=tuple(dict.fromkeys(each for each in given if each)))


def _reference(about: Mapping[str, JsonValue], name: str) -> str:
    """Return the id that a field names; Stripe may put the whole record there."""
    value = about.get(name)
    if isinstance(value, dict):
        return _id(text_at(value, "id"))
    return _id(value) if isinstance(value, str) else ""


def _id(text: str) -> str:
    return text if VENDOR_ID_PATTERN.fullmatch(text) else ""


def look_at(connection: str, id_: str) -> Target:
    """Return the life of an invoice, with a signal to look at it."""
    workflow_id = invoice_id(connection, id_)
    return Target(
        workflow=LIFECYCLE,
        workflow_id=workflow_id,
        task_queue=SAGA_QUEUE,
        start=LifecycleInput(of=InvoiceKey(connection=connection, invoice_id=id_)),
        signal=LOOK,
        message=lambda _ids, correlation_id: LookAgain(correlation_id=correlation_id),
        summary="Issued invoice",
        search_attributes=(
            SearchAttributePair(SAGA_STATE, "running"),
            SearchAttributePair(BUSINESS_KEY, id_),
        ),
    )
