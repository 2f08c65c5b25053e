"""Canonical requests to NetSuite JSON and back; pure.

Sources: vendor page sections 4 (record service, SuiteQL), 5.1 (customer), 5.2 (project).
"""

import re
from collections.abc import Mapping, Sequence
from typing import Final

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
CANDIDATES_MAX: Final = 10
"""More customers that look like one client than this are ambiguous anyway."""


def search_query(request: MatchClient, external_id: ExternalId) -> str:
    """Return the SuiteQL that finds every customer that might be the client."""
    conditions = [f"externalid = {literal(external_id)}"]
    if request.tax_id:
        conditions.append(f"vatregnumber = {literal(request.tax_id)}")
    if word := first_word(request.name):
        conditions.append(f"UPPER(companyname) LIKE {literal(word.upper() + '%')}")
    return f"SELECT id FROM customer WHERE {' OR '.join(conditions)} ORDER BY id"


def relationships_query(ids: Sequence[str]) -> str:
    """Return the SuiteQL that reads to which subsidiaries customers are open."""
    listed = ", ".join(literal(id_) for id_ in ids)
    return (
        f"SELECT entity, subsidiary FROM customersubsidiaryrelationship WHERE entity IN ({listed})"
    )


def literal(value: str) -> str:
    """Return a SuiteQL string literal: quotes doubled, control characters dropped."""
    return "'" + re.sub(r"[\x00-\x1f]", "", value).replace("'", "''") + "'"


def first_word(name: str) -> str:
    """Return the first word of a name for a LIKE search, without its wildcards."""
    words = re.sub(r"[%_]", " ", name).split()
    return words[0][:40] if words else ""


def client_from(
    body: Mapping[str, object],
    subsidiaries: Sequence[str],
    config: NetSuiteConfig,
    connection: str,
) -> ErpClient:
    """Return a customer read with its sub-resources."""
    own = _ref(body.get("subsidiary"))
    currency_names = {id_: code for code, id_ in config.currencies.items()}
    terms_names = {id_: name for name, id_ in config.terms.items()}
    currencies = {_ref(body.get("currency")), *currency_ids(body)} - {""}
    return ErpClient(
        record=RecordRef(system=connection, type="client", id=_text(body, "id")),
        external_id=_text(body, "externalId"),
        name=_text(body, "companyName") or _text(body, "entityId"),
        tax_id=_text(body, "vatRegNumber"),
        country=_country(body),
        subsidiaries=tuple(sorted({own, *subsidiaries} - {""})),
        currencies=tuple(sorted(currency_names.get(id_, id_) for id_ in currencies)),
        payment_terms=terms_names.get(_ref(body.get("terms")), ""),
        active=body.get("isInactive") is not True,
    )


def currency_ids(body: Mapping[str, object]) -> list[str]:
    """Return the internal ids of the currencies on a customer's list."""
    return [_ref(line.get("currency")) for line in lines(body, "currencyList")]


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
    address = request.address
    if address.country:
        body["addressBook"] = {
            "items": [
                {
                    "label": "Billing",
                    "defaultBilling": True,
                    "defaultShipping": True,
                    "addressBookAddress": {
                        "addressee": shortened(request.name, COMPANY_NAME_MAX),
                        "addr1": address.street,
                        "city": address.city,
                        "state": address.region,
                        "zip": address.postal_code,
                        "country": {"id": address.country},
                    },
                }
            ]
        }
    return body


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


def _country(body: Mapping[str, object]) -> str:
    entries = lines(body, "addressBook")
    billing = [entry for entry in entries if entry.get("defaultBilling") is True] or entries
    address = billing[0].get("addressBookAddress") if billing else None
    return _ref(address.get("country")) if isinstance(address, Mapping) else ""


def _ref(value: object) -> str:
    """Return the id of a reference or enumeration."""
    id_ = value.get("id") if isinstance(value, Mapping) else value
    return id_ if isinstance(id_, str) else ""


def _text(body: Mapping[str, object], name: str) -> str:
    value = body.get(name)
    return value if isinstance(value, str) else ""
