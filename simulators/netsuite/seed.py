"""The account's company set-up, and the scenarios.

Every account is born with the set-up, since no NetSuite account is without subsidiaries, currencies
and periods; "standard" adds the customers that the firm already has.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from pydantic import JsonValue

from simulators.kit import Account
from simulators.netsuite.reading import Reader
from simulators.netsuite.record_types import RECORD_TYPES
from simulators.netsuite.seed_books import set_up_books
from simulators.netsuite.seed_people import seed_projects, set_up_people
from simulators.netsuite.state import GOVERNANCE, Fields
from simulators.netsuite.writing import Writer

SCENARIOS = ("standard", "bulk", "empty", "time", "time-small")
CONCURRENCY_LIMIT = 15
_PREFERENCES: Mapping[str, JsonValue] = {
    "invoiceApprovalRouting": False,
    "voidByReversingJournal": False,
    "invoiceAddsReadyCharges": False,
    "settlementTouchesInvoice": True,
    "asyncDelaySeconds": 0,
}
"""Account settings that a test changes as it changes the limits."""

_CURRENCIES: Mapping[str, tuple[str, str, float, int]] = {
    "1": ("US Dollar", "USD", 1.0, 2),
    "2": ("Euro", "EUR", 1.085, 2),
    "3": ("British Pound", "GBP", 1.27, 2),
    "4": ("Japanese Yen", "JPY", 0.00665, 0),
    "5": ("Kuwaiti Dinar", "KWD", 3.25, 3),
}
_SUBSIDIARIES: Mapping[str, tuple[str, str, str]] = {
    "1": ("Dealthread Demo Holding", "1", "US"),
    "2": ("Dealthread Demo Inc.", "1", "US"),
    "3": ("Dealthread Demo GmbH", "2", "DE"),
    "4": ("Dealthread Demo KK", "4", "JP"),
}
_TERMS = {"1": 15, "2": 30, "3": 45, "4": 60}
_SEGMENTS: Mapping[str, Mapping[str, tuple[str, str | None]]] = {
    "department": {
        "10": ("Consulting", None),
        "11": ("Engineering", None),
        "12": ("Managed Services", None),
    },
    "classification": {
        "20": ("Implementation", None),
        "21": ("Advisory", None),
        "22": ("Support", None),
    },
    "location": {"30": ("New York", "2"), "31": ("Berlin", "3"), "32": ("Tokyo", "4")},
}
_STATUSES = {
    "7": "LEAD-Qualified",
    "8": "PROSPECT-In Discussion",
    "13": "CUSTOMER-Closed Won",
    "16": "CUSTOMER-Lost Customer",
}


@dataclass(frozen=True)
class _Client:
    """A customer that the firm has already; all have NET30 and no external id."""

    name: str
    tax_id: str | None
    subsidiary: str
    currency: str
    address: tuple[str, str, str, str]


_CLIENTS: Mapping[str, tuple[_Client, ...]] = {
    "duplicate-client": (
        _Client(
            "Contoso Marine Ltd",
            "98-7654321",
            "2",
            "1",
            ("55 Harbor Way", "Seattle", "98101", "US"),
        ),
    ),
    "ambiguous-client": (
        _Client("Meridian Group", None, "2", "1", ("1 Beacon St", "Boston", "02108", "US")),
        _Client("Meridian Group", None, "2", "1", ("200 Larimer St", "Denver", "80202", "US")),
    ),
    "other-subsidiary": (
        _Client(
            "Alpen Pharma AG", "CHE123456788MWST", "3", "2", ("Rheinweg 8", "Basel", "4051", "CH")
        ),
    ),
    "terms-differ": (
        _Client("Baltic Timber", "EE100931558", "3", "2", ("Sadama 5", "Tallinn", "10111", "EE")),
    ),
}
"""By the slug of the deal that meets them."""


def seed(account: Account, scenario: str, count: int) -> Mapping[str, JsonValue]:
    """Fill an account; the ids of the customers made are answered by slug.

    In the "time" scenarios `count` is the number of projects.

    Raises:
        ValueError: no such scenario.
    """
    if scenario not in SCENARIOS:
        raise ValueError(f"no scenario {scenario!r}: there are {', '.join(SCENARIOS)}")
    set_up(account)
    made: dict[str, JsonValue] = {}
    if scenario.startswith("time"):
        return {"customers": made, "projects": seed_projects(account, count)}
    if scenario == "standard":
        for slug, clients in _CLIENTS.items():
            ids: list[JsonValue] = []
            ids.extend(_create(account, client) for client in clients)
            made[slug] = ids
    return {"customers": made}


def set_up(account: Account) -> None:
    """Add the company set-up, as far as it is not there."""
    if account.store.get(GOVERNANCE, "1") is not None:
        return
    insert = account.store.insert
    limits: Fields = {"concurrencyLimit": CONCURRENCY_LIMIT, "requestsPerMinute": None}
    insert(GOVERNANCE, {**limits, **_PREFERENCES}, id="1")
    for number, (name, symbol, rate, precision) in _CURRENCIES.items():
        fields: Fields = {"name": name, "symbol": symbol, "exchangeRate": rate}
        fields |= {"currencyPrecision": precision, "isBaseCurrency": number == "1"}
        insert("currency", {**fields, "isInactive": False}, id=number)
    for number, (name, currency, country) in _SUBSIDIARIES.items():
        fields = {"name": name, "legalName": name, "isElimination": False, "isInactive": False}
        fields |= {"currency": {"id": currency}, "country": {"id": country}}
        if number != "1":
            fields["parent"] = {"id": "1"}
        insert("subsidiary", fields, id=number)
    for number, days in _TERMS.items():
        fields = {"name": f"NET{days}", "daysUntilNetDue": days, "isInactive": False}
        insert("term", fields, id=number)
    _set_up_lists(account)
    set_up_books(account)
    set_up_people(account)


def _set_up_lists(account: Account) -> None:
    insert = account.store.insert
    for kind, rows in _SEGMENTS.items():
        for number, (name, subsidiary) in rows.items():
            fields: Fields = {"name": name, "isInactive": False}
            if subsidiary is not None:
                fields["subsidiary"] = {"items": [{"id": subsidiary}]}
            insert(kind, fields, id=number)
    for number, name in _STATUSES.items():
        insert("customerStatus", {"name": name, "isInactive": False}, id=number)


def _create(account: Account, client: _Client) -> str:
    street, city, code, country = client.address
    address: Fields = {"addressee": client.name, "addr1": street, "city": city, "zip": code}
    line: Fields = {"label": "HQ", "defaultBilling": True, "defaultShipping": True}
    line["addressBookAddress"] = {**address, "country": {"id": country}}
    body: Fields = {
        "companyName": client.name,
        "vatRegNumber": client.tax_id,
        "subsidiary": {"id": client.subsidiary},
        "currency": {"id": client.currency},
        "terms": {"id": "2"},
        "addressBook": {"items": [line]},
    }
    return Writer(Reader(account)).create(RECORD_TYPES["customer"], body).id
