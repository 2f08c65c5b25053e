"""Invoices of Kantata that mirror issued ones: what they carry and what it is worth; pure.

Sources: vendor page sections 8 to 10. Kantata's own rounding of time is not documented (section
8.1): here a line is rounded by itself, half away from zero, to the currency's minor units.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Final

from adapters.errors import ContractBroken, Invalid, Rejected
from adapters.kantata import time_mapping as mapping
from adapters.kantata.client import Row, id_of
from adapters.kantata.config import KantataConfig
from adapters.kantata.mapping import TEXT_MAX, checked_id, checked_key, reference, shortened
from canonical.ids import ExternalId
from canonical.invoicing import ConfirmInvoice, PsaInvoice
from canonical.money import Money, minor_digits
from canonical.records import RecordRef

TIME, EXPENSES, ADJUSTMENTS = "time_entry_ids", "expense_ids", "time_adjustment_ids"
MILESTONES: Final = "billing_milestone_ids"
COLLECTIONS: Final[Mapping[str, str]] = {
    TIME: "time_entries",
    EXPENSES: "expenses",
    ADJUSTMENTS: "time_adjustments",
    MILESTONES: "billing_milestones",
}
"""Fields of an invoice that name what is on it -> where that is listed (section 10.2)."""
WORDS: Final[Mapping[str, str]] = {
    TIME: "time entry",
    EXPENSES: "expense",
    ADJUSTMENTS: "time adjustment",
    MILESTONES: "billing milestone",
}
ANOTHER: Final = "another"
"""Stands for an invoice that Kantata does not name."""
ITEM_NOTE: Final = "Difference to the invoice as issued"

Ids = Mapping[str, tuple[str, ...]]
"""Field of an invoice -> ids."""


@dataclass(frozen=True)
class Held:
    """The reservation drafts that entries are still on, by id, as Kantata has them."""

    drafts: Mapping[str, Row] = field(default_factory=dict)

    def has(self, name: str, id_: str) -> bool:
        """Return whether one of them holds an item."""
        return any(id_ in ids_on(row, name) for row in self.drafts.values())


def asked_ids(request: ConfirmInvoice) -> dict[str, tuple[str, ...]]:
    """Return what the mirror has to carry, each once, by field of an invoice.

    Raises:
        Invalid: an id is none of Kantata's.
    """
    every = {
        TIME: [id_ for each in request.entries for id_ in each.entry_ids],
        EXPENSES: [id_ for each in request.entries for id_ in each.expense_ids],
        ADJUSTMENTS: [id_ for each in request.entries for id_ in each.adjustment_ids],
        MILESTONES: list(request.milestone_ids),
    }
    return {
        name: tuple(dict.fromkeys(checked_id(id_, "entries") for id_ in ids))
        for name, ids in every.items()
    }


def ids_on(row: Row, name: str) -> tuple[str, ...]:
    """Return what an invoice carries in one of its fields."""
    ids = row.get(name)
    return tuple(str(id_) for id_ in ids) if isinstance(ids, list) else ()


def left_on(row: Row, asked: Ids) -> dict[str, list[str]]:
    """Return what stays on a reservation when the entries of an invoice leave it."""
    return {
        name: [id_ for id_ in ids_on(row, name) if id_ not in asked[name]] for name in COLLECTIONS
    }


def carries(row: Row, asked: Ids) -> bool:
    """Return whether an invoice carries exactly what was asked."""
    return all(set(ids_on(row, name)) == set(asked[name]) for name in COLLECTIONS)


def worth(found: Mapping[str, Sequence[Row]], currency: str) -> Money:
    """Return what Kantata makes of items by its own rates.

    Raises:
        Rejected: one is in another currency than the invoice.
        ContractBroken: Kantata does not show what one is worth.
    """
    total = Decimal(0)
    for name, rows in found.items():
        for row in rows:
            if row.get("currency") != currency:
                raise Rejected(
                    f"The {WORDS[name]} {id_of(row)} is in {row.get('currency')}, the invoice in "
                    f"{currency}: correct the project's currency in the PSA or the invoice's."
                )
            total += _line(name, row, currency)
    return Money.rounded(total, currency)


def _line(name: str, row: Row, currency: str) -> Decimal:
    if name in {MILESTONES, EXPENSES}:
        billable = name == MILESTONES or row.get("is_billable") is True
        amount = mapping.money_of(row, "amount_in_cents")
        if amount is None:
            raise ContractBroken(f"Kantata does not show the amount of {WORDS[name]} {id_of(row)}.")
        return amount.amount if billable else Decimal(0)
    if row.get("billable") is not True:
        return Decimal(0)
    minutes = row.get("time_in_minutes" if name == TIME else "time")
    rate = mapping.main_units(row, "rate_in_cents" if name == TIME else "bill_rate_in_cents")
    if rate is None or not isinstance(minutes, int):
        raise ContractBroken(
            f"Kantata does not show the rate of {WORDS[name]} {id_of(row)}: the token's user has "
            "to see financials."
        )
    return Money.rounded(minutes * rate / 60, currency).amount


def holder_of(row: Row) -> str:
    """Return the invoice that an item says it is on, or `ANOTHER` where it only says so."""
    id_ = mapping.reservation_id(row)
    return id_ or (ANOTHER if row.get("is_invoiced") is True else "")


def mirror_body(
    key: ExternalId,
    request: ConfirmInvoice,
    asked: Ids,
    difference: Money,
    config: KantataConfig,
) -> dict[str, object]:
    """Return the draft that mirrors an issued invoice, nobody told (section 10.2).

    Amounts of additional items are main units (section 0). They are not taxable and no tax is asked
    for: the mirror is net, the tax is the issuing system's.

    Raises:
        Invalid: there is nothing to put on it.
    """
    project = checked_id(request.project.id, "project")
    body: dict[str, object] = {
        "workspace_id": project,
        "payment_schedule": request.payment_days,
        "invoice_date": request.on.isoformat(),
        "draft": True,
        "suppress_emails": True,
        "user_invoice_title": title_of(request),
        "external_reference": reference(config.billing_service, "invoice", checked_key(key)),
    }
    body |= {name: list(ids) for name, ids in asked.items() if ids}
    if difference.amount:
        item = {
            "notes": ITEM_NOTE,
            "amount": format(difference.amount, "f"),
            "taxable": False,
            "workspace_id": project,
        }
        body["additional_items"] = [item]
    elif not any(asked.values()):
        raise Invalid("The invoice has no entries, no milestones and no amount.", field="entries")
    return {"invoice": body}


def issue_body(request: ConfirmInvoice, row: Row) -> dict[str, object]:
    """Return what issues a draft as it is.

    The official client names time and expenses as required in every update, so they are said again.
    """
    lists = {name: list(ids_on(row, name)) for name in COLLECTIONS}
    issue = {"draft": False, "suppress_emails": True, "user_invoice_title": title_of(request)}
    return {"invoice": {**lists, **issue}}


def title_of(request: ConfirmInvoice) -> str:
    """Return the mirror's title: the number of the issued invoice, which may have letters."""
    return shortened(request.number, TEXT_MAX)


def balance_of(row: Row) -> Money:
    """Return what remains of an invoice; of a draft that is all of it.

    Raises:
        ContractBroken: Kantata does not say.
    """
    balance = mapping.money_of(row, "balance_in_cents")
    if balance is None:
        raise ContractBroken(f"Kantata does not say what invoice {id_of(row)} comes to.")
    return balance


def minus(left: Money, right: Money) -> Money:
    """Return the difference of two amounts of one currency."""
    return Money(amount=left.amount - right.amount, currency=left.currency)


def may_be_rounding(difference: Money, lines: int) -> bool:
    """Return whether rounding each line in another way can explain a difference."""
    unit = Decimal(1).scaleb(-(minor_digits(difference.currency) or 0))
    return abs(difference.amount) <= lines * unit


def invoice_from(row: Row, payments: Iterable[Row], system: str) -> PsaInvoice:
    """Return an invoice of Kantata with what was paid on it."""
    balance = balance_of(row)
    cents = sum((cents_of(each) for each in payments), 0)
    digits = minor_digits(balance.currency) or 0
    paid = Money(amount=Decimal(cents).scaleb(-digits), currency=balance.currency)
    return PsaInvoice(
        record=RecordRef(system=system, type="invoice", id=id_of(row)),
        number=str(row.get("user_invoice_title") or ""),
        net=balance + paid,
        draft=row.get("draft") is True,
        paid=paid,
    )


def cents_of(row: Row) -> int:
    """Return a payment's amount in minor units; payments name no currency, it is the invoice's.

    Raises:
        ContractBroken: it is no number.
    """
    value = row.get("amount_in_cents")
    if isinstance(value, bool) or not isinstance(value, int):
        raise ContractBroken(f"Kantata sent the payment {id_of(row)} without an amount.")
    return value
