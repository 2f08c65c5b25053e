"""The account as set up, and the clients of each scenario."""

from collections.abc import Mapping

from pydantic import JsonValue

from simulators.kit import Account, Record
from simulators.stripe import catalog, customers
from simulators.stripe.state import SETTINGS, Act, Fields

SCENARIOS = ("standard", "bulk", "empty", "time", "time-small")
_CLIENTS = (
    ("Northwind Robotics", "ap@northwind.example.com", "US"),
    ("Elbtal Maschinenbau GmbH", "rechnung@elbtal.example.com", "DE"),
    ("Sumida Optics KK", "keiri@sumida.example.com", "JP"),
)
_RATES = (
    ("US sales tax", "US", "8.875", False),
    ("USt", "DE", "19", False),
    ("消費税", "JP", "10", False),
)


def set_up(account: Account) -> None:
    """Make the settings: limits by the second, lag of searches, manner of webhooks."""
    limits: Fields = {
        "requests_per_second": None,
        "endpoint_requests_per_second": None,
        "search_requests_per_second": None,
        "concurrent_requests": None,
        "search_lag_seconds": 0,
        "webhooks": {},
    }
    account.store.insert(SETTINGS, limits, id="1")


def fill(account: Account, scenario: str, count: int) -> Mapping[str, JsonValue]:
    """Add the clients and tax rates of a scenario; `bulk` has `count` clients.

    Raises:
        ValueError: no such scenario.
    """
    if scenario not in SCENARIOS:
        raise ValueError(f"no scenario {scenario!r}: there are {', '.join(SCENARIOS)}")
    if scenario == "empty":
        return {}
    clients = [_client(account, *row) for row in _CLIENTS]
    if scenario == "bulk":
        clients += [
            _client(account, f"Client {n:05d}", f"ap@client-{n:05d}.example.com", "US")
            for n in range(1, count + 1)
        ]
    rates = [_rate(account, *row) for row in _RATES]
    made: dict[str, JsonValue] = {
        "customers": {str(row.fields["name"]): row.id for row in clients},
        "tax_rates": {str(row.fields["country"]): row.id for row in rates},
    }
    return made


def _client(account: Account, name: str, email: str, country: str) -> Record:
    form: Fields = {"name": name, "email": email, "address": {"country": country}}
    return _made(account, customers.create(Act(account, form)))


def _rate(account: Account, name: str, country: str, percentage: str, inclusive: bool) -> Record:
    form: Fields = {
        "country": country,
        "display_name": name,
        "inclusive": inclusive,
        "percentage": percentage,
    }
    return _made(account, catalog.create_tax_rate(Act(account, form)))


def _made(account: Account, shown: Fields) -> Record:
    record = account.store.get(str(shown["object"]), str(shown["id"]))
    if record is None:
        raise ValueError(f"{shown['id']} was not kept")
    return record
