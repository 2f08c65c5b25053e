"""Invoices to NetSuite JSON, and the SuiteQL that asks for them; pure.

Sources: vendor page 5.9 (fields of the invoice and its lines, status, the query of payments), 5.10,
4.3 (tables). Unverified: that `charges` of a line takes ids separated by commas (the page has the
field, not its form), that custom columns stand on `transactionline`, and the lengths. How the
charges of an invoice are read back is sure: each charge names its invoice and line (5.6).
"""

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Final
from zoneinfo import ZoneInfo

from adapters.errors import ContractBroken, Invalid
from adapters.netsuite.billing_mapping import (
    MEMO_MAX,
    listed,
    mapped_id,
    segments_of,
    subsidiary_of,
    text_of,
)
from adapters.netsuite.client import VENDOR
from adapters.netsuite.config import NetSuiteConfig
from adapters.netsuite.mapping import Row, currency_id
from adapters.netsuite.records import checked_external_id, checked_id
from canonical.engagement import BillingMethod
from canonical.ids import ExternalId
from canonical.invoicing import InvoiceLine, ProvisionInvoice

PENDING: Final = "1"
APPROVED: Final = "2"
DESCRIPTION_MAX: Final = 4000
PO_MAX: Final = 45
ITEM_MAX: Final = 300
"""Of a free-form text column; likewise the two above (from memory)."""
MOMENT: Final = "YYYY-MM-DD HH24:MI:SS"


# What is sent.


def invoice_body(
    external_id: ExternalId,
    request: ProvisionInvoice,
    charge_ids: Mapping[str, str],
    config: NetSuiteConfig,
) -> dict[str, object]:
    """Return the invoice to create; `charge_ids` has the internal id of each charge on it.

    An invoice from charges is the project's, as that of the documented transform of a project is;
    any other is the customer's, and its lines name their projects.

    Raises:
        Invalid: something does not fit NetSuite; the message says what.
        MissingMapping: a currency or a kind of line has no internal id in the configuration.
    """
    if request.client is None:
        raise ContractBroken("An invoice was asked for before its client was known.")
    if len(request.client_po) > PO_MAX:
        raise _invalid(f"NetSuite's PO number takes {PO_MAX} characters.", "client_po")
    project = charged_project(request)
    body: dict[str, object] = {
        "externalId": checked_external_id(external_id),
        "entity": {"id": checked_id(project or request.client.id)},
        **subsidiary_of(request.subsidiary),
        "currency": {"id": currency_id(request.currency, config)},
        "tranDate": request.on.isoformat(),
        "dueDate": (request.on + timedelta(days=request.payment_days)).isoformat(),
        "memo": request.title[:MEMO_MAX],
        "item": {"items": [_line_body(line, charge_ids, config) for line in request.lines]},
    }
    if request.client_po:
        body["otherRefNum"] = request.client_po
    if config.approval_routing:
        body["approvalStatus"] = {"id": PENDING}
    return body


def charged_project(request: ProvisionInvoice) -> str:
    """Return the project whose charges are billed; empty for an invoice without charges.

    Raises:
        Invalid: the charges are of several projects, or a charge is named twice.
    """
    if request.method is not BillingMethod.ERP_CHARGES:
        return ""
    named = [id_ for line in request.lines for id_ in line.charges]
    if len(set(named)) < len(named):
        raise _invalid("A charge is on two lines of the draft.", "lines")
    projects = {line.project.id if line.project else "" for line in request.lines}
    if len(projects) != 1 or "" in projects:
        raise _invalid(
            f"NetSuite bills the charges of one project on one invoice; this draft has lines of "
            f"{len(projects)}. Correct the grouping policy: group by project for erp_charges.",
            "grouping",
        )
    return projects.pop()


def _line_body(
    line: InvoiceLine, charge_ids: Mapping[str, str], config: NetSuiteConfig
) -> dict[str, object]:
    if not 0 < len(line.item) <= ITEM_MAX:
        raise _invalid(f"The name of a line has 1 to {ITEM_MAX} characters.", "lines")
    body: dict[str, object] = {
        "item": {"id": _item_id(line, config)},
        "price": {"id": "-1"},  # custom: a price level's own rate would replace ours (from memory)
        "quantity": line.quantity,
        "rate": line.unit_price,
        "amount": line.amount.amount,
        "description": line.description[:DESCRIPTION_MAX],
        config.invoice_item_field: line.item,
        **segments_of(line.dimensions),
    }
    if line.project is not None:
        body["job"] = {"id": checked_id(line.project.id)}
    if line.charges:
        body["charges"] = ",".join(charge_ids[id_] for id_ in line.charges)
    return body


def _item_id(line: InvoiceLine, config: NetSuiteConfig) -> str:
    """An item for the tax category comes before the item for the kind of line."""
    narrow = f"{line.kind}/{line.tax_category}"
    name = narrow if narrow in config.invoice_items else line.kind
    return mapped_id(config.invoice_items, name, "invoice_items")


def _invalid(text: str, field: str) -> Invalid:
    return Invalid(text, vendor=VENDOR, operation="create the invoice", field=field)


# What is asked.


def applications_query(invoice_id: str) -> str:
    """Return the SuiteQL for what is applied to an invoice (section 5.9)."""
    return (
        "SELECT l.nextdoc, l.foreignamount, t.type, t.tranid, t.trandate, t.externalid, "  # noqa: S608 - a checked id
        "t.foreigntotal FROM nexttransactionlinelink l JOIN transaction t ON t.id = l.nextdoc "
        f"WHERE l.previousdoc = {checked_id(invoice_id)} AND l.linktype = 'Payment' "
        "ORDER BY l.nextdoc"
    )


def billed_query(invoice_id: str) -> str:
    """Return the SuiteQL for the charges on an invoice, whoever put them there (section 5.6)."""
    return (
        "SELECT id, externalid, invoiceline FROM charge "  # noqa: S608 - a checked id
        f"WHERE invoice = {checked_id(invoice_id)} ORDER BY id"
    )


def ready_query(project_id: str) -> str:
    """Return the SuiteQL for the charges of a project that NetSuite would bill now."""
    return (
        "SELECT id, externalid FROM charge "  # noqa: S608 - a checked id
        f"WHERE billto = {checked_id(project_id)} AND stage = 'READY_FOR_BILLING' "
        "AND invoice IS NULL ORDER BY id"
    )


def items_query(transaction_ids: Iterable[str]) -> str:
    """Return the SuiteQL for the items on some transactions."""
    return (
        "SELECT transaction, item FROM transactionline "  # noqa: S608 - quoted literals
        f"WHERE transaction IN ({listed(transaction_ids)}) AND mainline = 'F' AND taxline = 'F' "
        "ORDER BY transaction, id"
    )


def column_query(config: NetSuiteConfig) -> str:
    """Return the SuiteQL that fails where the custom column of item lines is not there."""
    return (
        f"SELECT {config.invoice_item_field} FROM transactionline "  # noqa: S608 - a checked name
        "WHERE transaction = 0 ORDER BY id"
    )


def changed_queries(since: datetime, config: NetSuiteConfig) -> tuple[str, str]:
    """Return the SuiteQL for the invoices that changed, and for those that something settles.

    Whether a payment touches its invoice's own date is not documented: so payments and credits
    that changed name their invoices too. Ordered by ids, which a later change does not shift.
    """
    local = since.astimezone(ZoneInfo(config.time_zone)).strftime("%Y-%m-%d %H:%M:%S")
    after = f"lastmodifieddate >= TO_DATE('{local}', '{MOMENT}')"
    invoices = (
        f"SELECT i.id, i.externalid, TO_CHAR(i.lastmodifieddate, '{MOMENT}') AS changed "  # noqa: S608 - a time
        f"FROM transaction i WHERE i.type = 'CustInvc' AND i.{after} ORDER BY i.id"
    )
    settled = (
        f"SELECT i.id, i.externalid, TO_CHAR(t.lastmodifieddate, '{MOMENT}') AS changed "  # noqa: S608 - a time
        "FROM transaction t JOIN nexttransactionlinelink l ON l.nextdoc = t.id "
        "JOIN transaction i ON i.id = l.previousdoc "
        f"WHERE t.{after} AND i.type = 'CustInvc' AND l.linktype = 'Payment' "
        "ORDER BY i.id, t.id"
    )
    return invoices, settled


def moment_from(row: Row, name: str, config: NetSuiteConfig) -> datetime:
    """Return a point in time that `TO_CHAR` gave in the account's time zone.

    Raises:
        ContractBroken: it is none.
    """
    try:
        naive = datetime.strptime(text_of(row, name), "%Y-%m-%d %H:%M:%S")  # noqa: DTZ007 - next line
    except ValueError as error:
        raise ContractBroken(f"NetSuite sent no time for {name}.") from error
    return naive.replace(tzinfo=ZoneInfo(config.time_zone)).astimezone(UTC)
