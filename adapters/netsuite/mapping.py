"""Canonical requests to NetSuite JSON and back; pure.

Sources: vendor page sections 4 (record service, SuiteQL), 5.1 (customer), 5.2 (project).
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Final, TypeAlias

from adapters.errors import ContractBroken, MissingMapping
from adapters.netsuite.config import NetSuiteConfig
from canonical.ids import ExternalId
from canonical.provisioning import (
    ErpClient,
    MatchClient,
    ProvisionClient,
    ProvisionErpProject,
)
from canonical.records import RecordRef

COMPANY_NAME_MAX: Final = 83
"""Length of companyName (unverified); names are labels here and are shortened."""
CANDIDATES_MAX: Final = 50
STREET_LINES: Final = ("addr1", "addr2", "addr3")

Row: TypeAlias = Mapping[str, object]

_CLIENTS: Final = (
    "SELECT c.id, c.externalid, c.entityid, c.companyname, c.vatregnumber, c.terms, c.isinactive, "
    "c.currency, l.currency AS listed, r.subsidiary, a.country FROM customer c "
    "LEFT JOIN customersubsidiaryrelationship r ON r.entity = c.id "
    "LEFT JOIN customercurrencybalance l ON l.customer = c.id "
    "LEFT JOIN customeraddressbook b ON b.entity = c.id AND b.defaultbilling = 'T' "
    "LEFT JOIN customeraddressbookentityaddress a ON a.nkey = b.addressbookaddress"
)
"""One row per customer, subsidiary and currency. Names of tables and columns: unverified; the
connection check asks this very query."""


def search_query(request: MatchClient, external_id: ExternalId) -> str:
    """Return the SuiteQL that finds every customer that might be the client."""
    conditions = [f"c.externalid = {literal(external_id)}"]
    if request.tax_id:
        spellings = dict.fromkeys((request.tax_id, re.sub(r"[^A-Za-z0-9]", "", request.tax_id)))
        listed = ", ".join(literal(each) for each in spellings if each)
        conditions.append(f"c.vatregnumber IN ({listed})")
    if word := first_word(request.name):
        conditions.append(f"UPPER(c.companyname) LIKE {literal(word.upper() + '%')}")
    return f"{_CLIENTS} WHERE {' OR '.join(conditions)} ORDER BY c.id"


def client_query(record_id: str) -> str:
    """Return the SuiteQL that reads one customer; the id was checked to be digits."""
    return f"{_CLIENTS} WHERE c.id = {record_id} ORDER BY c.id"


def relationship_query(record_id: str, subsidiary: str) -> str:
    """Return the SuiteQL that tells how a customer is open to a subsidiary."""
    return (
        "SELECT id, externalid FROM customersubsidiaryrelationship "
        f"WHERE entity = {record_id} AND subsidiary = {subsidiary} ORDER BY id"
    )


def literal(value: str) -> str:
    """Return a SuiteQL string literal: quotes doubled, control characters dropped."""
    return "'" + re.sub(r"[\x00-\x1f]", "", value).replace("'", "''") + "'"


def first_word(name: str) -> str:
    """Return the first word of a name for a LIKE search, without its wildcards."""
    words = re.sub(r"[%_]", " ", name).split()
    return words[0][:40] if words else ""


def clients_from(
    rows: Sequence[Row], config: NetSuiteConfig, connection: str
) -> tuple[ErpClient, ...]:
    """Return the customers of joined rows, one each, in order of their rows."""
    by_id: dict[str, list[Row]] = {}
    for row in rows:
        by_id.setdefault(_text(row, "id"), []).append(row)
    return tuple(_client(id_, own, config, connection) for id_, own in by_id.items())


def likeliest(found: Sequence[ErpClient], request: MatchClient) -> tuple[ErpClient, ...]:
    """Return at most 50 candidates: a common first word must not push the right one out."""

    def rank(client: ErpClient) -> int:
        same_tax_id = bool(request.tax_id) and client.tax_id == request.tax_id
        same_name = client.name.casefold() == request.name.casefold()
        return 0 if client.external_id or same_tax_id else 1 if same_name else 2

    return tuple(sorted(found, key=rank)[:CANDIDATES_MAX])


def _client(id_: str, rows: Sequence[Row], config: NetSuiteConfig, connection: str) -> ErpClient:
    first = rows[0]
    currency_names = {id_: code for code, id_ in config.currencies.items()}
    terms_names = {id_: name for name, id_ in config.terms.items()}
    currencies = {_text(row, name) for row in rows for name in ("currency", "listed")} - {""}
    return ErpClient(
        record=RecordRef(system=connection, type="client", id=id_),
        external_id=_text(first, "externalid"),
        name=_text(first, "companyname") or _text(first, "entityid"),
        tax_id=_text(first, "vatregnumber"),
        country=_text(first, "country"),
        subsidiaries=tuple(sorted({_text(row, "subsidiary") for row in rows} - {""})),
        currencies=tuple(sorted(currency_names.get(id_, id_) for id_ in currencies)),
        payment_terms=terms_names.get(_text(first, "terms"), ""),
        active=_text(first, "isinactive") != "T",
    )


def primary_currency_id(body: Mapping[str, object]) -> str:
    """Return the internal id of a customer's own currency."""
    return _ref(body.get("currency"))


def billable_currency_ids(body: Mapping[str, object]) -> set[str]:
    """Return the internal ids of all currencies that a customer can be billed in."""
    return {primary_currency_id(body), *currency_ids(body)} - {""}


def currency_ids(body: Mapping[str, object]) -> list[str]:
    """Return the internal ids of the currencies on a customer's list."""
    return [_ref(line.get("currency")) for line in lines(body, "currencyList")]


def currency_list(ids: Iterable[str]) -> dict[str, object]:
    """Return the sublist of a customer's currencies."""
    return {"currencyList": {"items": [{"currency": {"id": id_}} for id_ in ids]}}


def lines(body: Mapping[str, object], sublist: str) -> list[Mapping[str, object]]:
    """Return the lines of an expanded sublist (section 4)."""
    holder = body.get(sublist)
    items = holder.get("items") if isinstance(holder, Mapping) else None
    return [line for line in items or [] if isinstance(line, Mapping)]


def client_body(request: ProvisionClient, config: NetSuiteConfig) -> dict[str, object]:
    """Return the customer to create.

    Raises:
        MissingMapping: the currency or the terms have no internal id in the configuration.
    """
    body: dict[str, object] = {
        "isPerson": False,
        "companyName": shortened(request.name, COMPANY_NAME_MAX),
        "subsidiary": {"id": request.subsidiary},
        "currency": {"id": currency_id(request.currency, config)},
        "entityStatus": {"id": config.statuses.client},
    }
    if request.payment_terms:
        body["terms"] = {"id": _terms_id(request.payment_terms, config)}
    if request.tax_id:
        body["vatRegNumber"] = request.tax_id
    if request.billing_email:
        body["email"] = request.billing_email
    if request.address.country:
        body["addressBook"] = {"items": [_billing_address(request)]}
    return body


def _billing_address(request: ProvisionClient) -> dict[str, object]:
    address = request.address
    street = [line.strip() for line in address.street.splitlines() if line.strip()]
    first, last = street[: len(STREET_LINES) - 1], street[len(STREET_LINES) - 1 :]
    parts = [*first, *([", ".join(last)] if last else [])]
    fields = {
        "addressee": shortened(request.name, COMPANY_NAME_MAX),
        **dict(zip(STREET_LINES, parts, strict=False)),
        "city": address.city,
        "state": address.region,
        "zip": address.postal_code,
    }
    given: dict[str, object] = {name: value for name, value in fields.items() if value}
    return {
        "label": "Billing",
        "defaultBilling": True,
        "defaultShipping": True,
        "addressBookAddress": {**given, "country": {"id": address.country}},
    }


def project_body(request: ProvisionErpProject, config: NetSuiteConfig) -> dict[str, object]:
    """Return the project to create; the client is known by then.

    Raises:
        MissingMapping: currency or billing type have no internal id in the configuration.
    """
    if request.client is None:
        raise ContractBroken("A project was asked for before its client was known.")
    if request.billing_type not in config.billing_types:
        raise MissingMapping(
            f"The billing type {request.billing_type} has no id under settings.billing_types.",
            field="billing_types",
        )
    body: dict[str, object] = {
        "companyName": shortened(f"{request.code} {request.name}", COMPANY_NAME_MAX),
        "parent": {"id": request.client.id},
        "subsidiary": {"id": request.subsidiary},
        "currency": {"id": currency_id(request.price.currency, config)},
        "jobPrice": request.price.amount,
        "jobBillingType": {"id": config.billing_types[request.billing_type]},
        "entityStatus": {"id": config.statuses.project_open},
        "startDate": request.start.isoformat(),
        "allowTime": True,
        "allowExpenses": True,
    }
    if request.end is not None:
        body["projectedEndDate"] = request.end.isoformat()
    dimensions = {
        "department": request.dimensions.department,
        "class": request.dimensions.business_class,
        "location": request.dimensions.location,
    }
    body |= {name: {"id": id_} for name, id_ in dimensions.items() if id_}
    return body


def currency_id(currency: str, config: NetSuiteConfig) -> str:
    """Return the internal id of a currency.

    Raises:
        MissingMapping: the configuration has none.
    """
    if currency not in config.currencies:
        raise MissingMapping(
            f"The currency {currency} has no id under settings.currencies.", field="currency"
        )
    return config.currencies[currency]


def _terms_id(terms: str, config: NetSuiteConfig) -> str:
    if terms not in config.terms:
        raise MissingMapping(
            f"The payment terms {terms} have no id under settings.terms.", field="payment_terms"
        )
    return config.terms[terms]


def shortened(label: str, length_max: int) -> str:
    """Return a label that fits, with an ellipsis where something is left out."""
    text = " ".join(label.split())
    return text if len(text) <= length_max else text[: length_max - 1].rstrip() + "…"


def _ref(value: object) -> str:
    """Return the id of a reference or enumeration."""
    id_ = value.get("id") if isinstance(value, Mapping) else value
    return id_ if isinstance(id_, str) else ""


def _text(body: Mapping[str, object], name: str) -> str:
    value = body.get(name)
    return value if isinstance(value, str) else ""
