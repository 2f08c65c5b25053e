"""Kantata's records as rows of an extract; pure.

Sources: vendor page sections 5 (references), 6 (workspaces and groups), 10.2 (invoices). Of an
invoice Kantata says only what is left to pay: what it came to is that and what was paid. That is
net for a mirror of ours, which asks for no tax, and with tax where a person asked for some.
"""

from collections.abc import Mapping
from datetime import date
from decimal import Decimal
from typing import Final

from adapters.kantata import confirmation_mapping, time_mapping
from adapters.kantata.client import Listing, Row, id_of
from adapters.kantata.config import KantataConfig
from adapters.kantata.mapping import CANCELLED, PAID
from canonical.entries import Entry
from canonical.extracts import ExtractKind, ExtractRow, ExtractState
from canonical.money import Money, minor_digits

NOTED_BETWEEN: Final = ";"
"""Between the ERP's projects in a note, as `write_erp_link` is given them."""
Refs = Mapping[str, Mapping[str, str]]
"""Id of a subject -> service -> our reference on it."""


def references_in(page: Listing) -> Refs:
    """Return the references that a page includes."""
    found: dict[str, dict[str, str]] = {}
    for row in page.included("external_references").values():
        subject = found.setdefault(str(row.get("subject_id")), {})
        subject[str(row.get("service_name"))] = str(row.get("service_model_ref") or "")
    return found


def client_row(row: Row, refs: Refs, config: KantataConfig) -> ExtractRow | None:
    """Return a workspace group that is a client; others only group projects (section 6.4)."""
    if row.get("company") is False:
        return None
    return ExtractRow(
        kind=ExtractKind.CLIENT,
        id=id_of(row),
        external_id=refs.get(id_of(row), {}).get(config.key_service, ""),
        number=_text(row, "name"),
        state=ExtractState.OPEN,
        changed_at=time_mapping.moment_of(row, "updated_at"),
    )


def project_row(row: Row, refs: Refs, config: KantataConfig) -> ExtractRow:
    """Return a workspace, with the ERP's projects that are noted on it."""
    own = refs.get(id_of(row), {})
    noted = own.get(config.erp_service, "")
    return ExtractRow(
        kind=ExtractKind.PROJECT,
        id=id_of(row),
        external_id=own.get(config.key_service, ""),
        number=_text(row, "title"),
        client_id=_text(row, "primary_workspace_group_id"),
        project_id=id_of(row),
        state=ExtractState.INACTIVE if row.get("archived") is True else ExtractState.OPEN,
        links=tuple(each for each in noted.split(NOTED_BETWEEN) if each),
        changed_at=time_mapping.moment_of(row, "updated_at"),
    )


def entry_row(entry: Entry, draft: bool | None) -> ExtractRow:
    """Return an approved entry; `draft` says what the invoice is that it sits on.

    None means that it sits on none that counts.
    """
    state = ExtractState.OPEN
    if draft is not None:
        state = ExtractState.RESERVED if draft else ExtractState.BILLED
    return ExtractRow(
        kind=ExtractKind.ENTRY,
        id=f"{entry.kind}/{entry.id}",
        project_id=entry.project_id,
        date=entry.service_date,
        state=state,
        amount=entry.amount,
        minutes=entry.minutes,
        version=entry.version,
        invoice_id=entry.reservation_id if draft is not None else "",
        changed_at=entry.updated_at,
    )


def invoice_row(row: Row, paid_cents: int, refs: Refs, config: KantataConfig) -> ExtractRow:
    """Return an invoice; of one that bills several projects none is named.

    Raises:
        ContractBroken: Kantata does not say what it comes to.
    """
    left = confirmation_mapping.balance_of(row)
    projects = projects_of(row)
    state = _invoice_state(row, paid_cents)
    if state is ExtractState.VOIDED:
        amount, left = left, _minor(0, left.currency)
    else:
        amount = left + _minor(paid_cents, left.currency)
    return ExtractRow(
        kind=ExtractKind.INVOICE,
        id=id_of(row),
        external_id=refs.get(id_of(row), {}).get(config.billing_service, ""),
        number=_text(row, "user_invoice_title") or _text(row, "title"),
        project_id=projects[0] if len(projects) == 1 else "",
        date=day_in(row, "invoice_date"),
        state=state,
        amount=amount,
        left=left,
        changed_at=time_mapping.moment_of(row, "updated_at"),
    )


def is_draft(row: Row) -> bool | None:
    """Return whether an invoice is a draft; None where it was cancelled and holds nothing."""
    return None if row.get("status") == CANCELLED else row.get("draft") is True


def projects_of(row: Row) -> list[str]:
    """Return the projects that an invoice bills."""
    ids = row.get("workspace_ids")
    return [str(id_) for id_ in ids] if isinstance(ids, list) else []


def day_in(row: Row, name: str) -> date | None:
    """Return a date of a row, or None where it has none; errors as for `day_of`."""
    return time_mapping.day_of(row, name) if row.get(name) is not None else None


def _invoice_state(row: Row, paid_cents: int) -> ExtractState:
    if row.get("status") == CANCELLED:
        return ExtractState.VOIDED
    if row.get("draft") is True:
        return ExtractState.DRAFT
    if row.get("status") == PAID:
        return ExtractState.PAID
    return ExtractState.PART_PAID if paid_cents else ExtractState.OPEN


def _minor(units: int, currency: str) -> Money:
    """Return minor units as an amount."""
    return Money(amount=Decimal(units).scaleb(-(minor_digits(currency) or 0)), currency=currency)


def _text(row: Row, name: str) -> str:
    value = row.get(name)
    return "" if value is None else str(value)
