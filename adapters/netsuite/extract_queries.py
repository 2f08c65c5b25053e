"""The SuiteQL that lists what a NetSuite account holds; pure.

Sources: vendor page sections 4.3 (SuiteQL: at most 1,000 rows a page and 100,000 a query, ordered
by a unique column), 5.1 to 5.11. So each page is a query of its own, for what comes after the last
id (keyset). Unverified, beside what `billing_mapping`, `cost_mapping` and `invoice_mapping` say:
that `job` and `transaction` can be joined to a charge as here, and the `lastmodifieddate` of
`customer`, `job`, `charge` and `timebill`.
"""

from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Final
from zoneinfo import ZoneInfo

from adapters.netsuite.billing_mapping import day_literal, listed
from adapters.netsuite.config import NetSuiteConfig
from adapters.netsuite.cost_mapping import reversal_id
from adapters.netsuite.invoice_mapping import MOMENT
from adapters.netsuite.records import checked_id
from canonical.extracts import ExtractKind, ExtractScope

BEYOND: Final = 10**17
"""An id after which there is none."""
CLIENTS: Final = """
SELECT c.id, c.externalid, c.entityid, c.companyname, c.isinactive,
       TO_CHAR(c.lastmodifieddate, 'YYYY-MM-DD HH24:MI:SS') AS changed
FROM customer c
"""
OF_SUBSIDIARY: Final = (
    "JOIN customersubsidiaryrelationship r ON r.entity = c.id AND r.subsidiary = {id} "
)
"""A customer is open to several subsidiaries: those of one are told by their relationships."""
PROJECTS: Final = """
SELECT j.id, j.externalid, j.companyname, j.customer, j.subsidiary, j.isinactive, j.entitystatus,
       j.{link} AS psa,
       TO_CHAR(j.lastmodifieddate, 'YYYY-MM-DD HH24:MI:SS') AS changed
FROM job j
"""
CHARGES: Final = """
SELECT c.id, c.externalid, c.billto, c.subsidiary, c.chargedate, c.amount, c.currency, c.stage,
       c.invoice, j.id AS project, j.customer, BUILTIN.CF(t.status) AS status,
       TO_CHAR(c.lastmodifieddate, 'YYYY-MM-DD HH24:MI:SS') AS changed
FROM charge c
LEFT JOIN job j ON j.id = c.billto
LEFT JOIN transaction t ON t.id = c.invoice
"""
TIME: Final = """
SELECT b.id, b.externalid, b.customer, b.subsidiary, b.trandate, b.hours, b.cost, b.costcurrency,
       b.approvalstatus, b.posted,
       TO_CHAR(b.lastmodifieddate, 'YYYY-MM-DD HH24:MI:SS') AS changed
FROM timebill b
"""
DOCUMENTS: Final = """
SELECT t.id, t.externalid, t.tranid, t.entity, t.currency, t.trandate, t.foreigntotal,
       t.foreignamountunpaid, t.foreignpaymentamountunused, BUILTIN.CF(t.status) AS status,
       l.subsidiary, l.createdfrom, j.id AS project, j.customer,
       TO_CHAR(t.lastmodifieddate, 'YYYY-MM-DD HH24:MI:SS') AS changed
FROM transaction t
JOIN transactionline l ON l.transaction = t.id AND l.mainline = 'T'
LEFT JOIN job j ON j.id = t.entity
"""
"""Invoices, credit memos, payments and expense reports, by their main line."""


def client_query(scope: ExtractScope, after: int, config: NetSuiteConfig) -> str:
    """Return the SuiteQL for the customers after an id, in the order of ids; likewise all here."""
    joined = OF_SUBSIDIARY.format(id=checked_id(scope.subsidiary)) if scope.subsidiary else ""
    return f"{CLIENTS}{joined}WHERE {_page('c', after, scope, config)}"


def project_query(scope: ExtractScope, after: int, config: NetSuiteConfig) -> str:
    """Return the SuiteQL for the projects of a subsidiary."""
    own = _of("j.subsidiary", scope)
    columns = PROJECTS.format(link=config.psa_project_field)
    return f"{columns}WHERE {own}{_page('j', after, scope, config)}"


def charge_query(scope: ExtractScope, after: int, config: NetSuiteConfig) -> str:
    """Return the SuiteQL for the charges of a window, whoever made them."""
    where = f"{_of('c.subsidiary', scope)}{_within('c.chargedate', scope)}"
    return f"{CHARGES}WHERE {where}{_page('c', after, scope, config)}"


def time_query(scope: ExtractScope, after: int, config: NetSuiteConfig) -> str:
    """Return the SuiteQL for the time of a window that carries an external id, as ours does."""
    where = f"{_of('b.subsidiary', scope)}{_within('b.trandate', scope)}"
    return f"{TIME}WHERE b.externalid IS NOT NULL AND {where}{_page('b', after, scope, config)}"


def document_query(type_: str, scope: ExtractScope, after: int, config: NetSuiteConfig) -> str:
    """Return the SuiteQL for the transactions of a type (section 4.3) in a window."""
    where = f"{_of('l.subsidiary', scope)}{_within('t.trandate', scope)}"
    return f"{DOCUMENTS}WHERE t.type = '{type_}' AND {where}{_page('t', after, scope, config)}"


def report_query(scope: ExtractScope, after: int, config: NetSuiteConfig) -> str:
    """Return the SuiteQL for the expense reports of a window that carry an external id."""
    query = document_query("ExpRept", scope, after, config)
    return query.replace("WHERE ", "WHERE t.externalid IS NOT NULL AND ", 1)


def every_query(config: NetSuiteConfig) -> tuple[str, ...]:
    """Return each of these about records that cannot exist: what a connection check asks."""
    scope = ExtractScope(kind=ExtractKind.INVOICE, subsidiary="0", changed_since=datetime.now(UTC))
    listings = (client_query, project_query, charge_query, time_query, report_query)
    return (
        *(query(scope, BEYOND, config) for query in listings),
        document_query("CustPymt", scope, BEYOND, config),
        tax_query(["0"]),
        applied_query(["0"]),
        reversed_query(["dt-nobody"]),
    )


def tax_query(ids: Iterable[str]) -> str:
    """Return the SuiteQL for the tax lines of some transactions."""
    return (
        "SELECT l.transaction, l.foreignamount FROM transactionline l "  # noqa: S608 - quoted ids
        f"WHERE l.transaction IN ({listed(ids)}) AND l.taxline = 'T' ORDER BY l.uniquekey"
    )


def applied_query(ids: Iterable[str]) -> str:
    """Return the SuiteQL for what some payments or credits are applied to (section 5.9)."""
    return (
        "SELECT l.nextdoc, l.previousdoc FROM nexttransactionlinelink l "  # noqa: S608 - quoted ids
        f"WHERE l.nextdoc IN ({listed(ids)}) AND l.linktype = 'Payment' "
        "ORDER BY l.nextdoc, l.previousdoc"
    )


def reversed_query(external_ids: Iterable[str]) -> str:
    """Return the SuiteQL for the reversals of some time that is posted."""
    ids = listed(map(reversal_id, external_ids))
    return f"SELECT b.id, b.externalid FROM timebill b WHERE b.externalid IN ({ids}) ORDER BY b.id"  # noqa: S608 - quoted ids


def _of(column: str, scope: ExtractScope) -> str:
    return f"{column} = {checked_id(scope.subsidiary)} AND " if scope.subsidiary else ""


def _within(column: str, scope: ExtractScope) -> str:
    since = f"{column} >= {day_literal(scope.since)} AND " if scope.since else ""
    until = f"{column} <= {day_literal(scope.until)} AND " if scope.until else ""
    return f"{since}{until}"


def _page(alias: str, after: int, scope: ExtractScope, config: NetSuiteConfig) -> str:
    changed = ""
    if scope.changed_since is not None:
        local = scope.changed_since.astimezone(ZoneInfo(config.time_zone))
        moment = f"TO_DATE('{local:%Y-%m-%d %H:%M:%S}', '{MOMENT}')"
        changed = f"{alias}.lastmodifieddate >= {moment} AND "
    return f"{changed}{alias}.id > {after} ORDER BY {alias}.id"
