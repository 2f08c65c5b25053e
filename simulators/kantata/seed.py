"""The account itself, and the firm's master data; deals are sold elsewhere, so none are here."""

from collections.abc import Mapping
from dataclasses import dataclass

from simulators.kantata import limits
from simulators.kantata.catalog import CATALOG
from simulators.kantata.scene import INTEGRATION_USER_ID, Scene, add_indexes
from simulators.kantata.values import Fields
from simulators.kit import Account, JsonValue

SCENARIOS = ("standard", "bulk", "empty", "time", "time-small")
"""The first three are alike: what differs is what the CRM and the ERP have. See `seed_time`."""

_MANAGER, _MEMBER = "Administrator", "Collaborator"


@dataclass(frozen=True, slots=True)
class Person:
    """Somebody of the firm; `cost` is that of an hour in the currency's smallest unit."""

    full_name: str
    email: str
    role: str
    currency: str
    cost: int
    permission: str = _MEMBER


PEOPLE: Mapping[str, Person] = {
    "3": Person("Maya Chen", "maya.chen@example.com", "11", "USD", 9500, _MANAGER),
    "4": Person("Luca Rossi", "luca.rossi@example.com", "12", "EUR", 6250),
    "5": Person("Aiko Tanaka", "aiko.tanaka@example.com", "12", "JPY", 7800),
    "6": Person("Priya Nair", "priya.nair@example.com", "13", "USD", 7000),
    "7": Person("Jonas Weber", "jonas.weber@example.com", "11", "EUR", 8800),
    "8": Person("Sam Okoro", "sam.okoro@example.com", "14", "USD", 4875),
}
RATE_CARDS = {"USD": "5", "EUR": "6", "GBP": "7", "JPY": "8", "KWD": "9"}
RATES: Mapping[str, Mapping[str, int]] = {
    "USD": {"11": 250_00, "12": 200_00, "13": 180_00, "14": 120_00},
    "EUR": {"11": 230_00, "12": 185_00, "13": 165_00, "14": 110_00},
    "GBP": {"11": 200_00, "12": 160_00, "13": 145_00, "14": 95_00},
    "JPY": {"11": 30_000, "12": 24_000, "13": 22_000, "14": 15_000},
    "KWD": {"11": 80_000, "12": 60_000, "13": 55_000, "14": 35_000},
}
"""Currency -> role -> rate per hour in the currency's smallest unit."""
CATEGORIES = {"61": "Travel", "62": "Lodging", "63": "Meals", "64": "Mileage", "65": "Software"}

_ROLES = {"11": "Principal", "12": "Consultant", "13": "Engineer", "14": "Analyst"}
_RATE_CARD_SET = "11"
_MONEY_FIELD = "34"
"""Of projects: what a billing system shows there."""
_KEY_FIELDS = {"31": "Workspace", "32": "WorkspaceGroup", "33": "Story"}
_TEMPLATES: Mapping[str, tuple[str, tuple[tuple[str, str, int, int, tuple[str, ...]], ...]]] = {
    "77": (
        "Implementation",
        (
            ("Discovery", "deliverable", 0, 21, ("Interviews", "Process map")),
            ("Build", "deliverable", 21, 90, ("Configuration", "Integration", "Data migration")),
            ("Go-live", "milestone", 120, 0, ()),
        ),
    ),
    "78": (
        "Advisory",
        (
            ("Kick-off", "milestone", 0, 0, ()),
            ("Advisory work", "task", 0, 180, ("Monthly review",)),
        ),
    ),
    "79": (
        "Managed service",
        (
            ("Transition", "deliverable", 0, 30, ("Runbook", "Access")),
            ("Service", "task", 30, 150, ()),
        ),
    ),
}
"""Id -> title and stories: title, type, first day, days, titles of the tasks below."""


def set_up(account: Account) -> None:
    """Make what every account has: its administrator, and the fields that hold our keys."""
    limits.set_up(account)
    add_indexes(account, CATALOG)
    admin: Fields = {
        "full_name": "Integration Admin",
        "email_address": "integration@dealthread.example",
        "headline": "Integration",
        "account_permission": "Account Administrator",
        "account_membership_id": "902",
    }
    _put(account, "users", INTEGRATION_USER_ID, admin)
    money: Fields = {"name": "Billing", "subject_type": "Workspace", "value_type": "string"}
    _put(account, "custom_fields", _MONEY_FIELD, money)
    for id_, noun in _KEY_FIELDS.items():
        field: Fields = {
            "name": "Integration key",
            "subject_type": noun,
            "value_type": "string",
            "unique_constraint": True,
        }
        _put(account, "custom_fields", id_, field)


def fill(account: Account, scenario: str) -> Mapping[str, JsonValue]:
    """Add the master data that is not there yet, and return its ids by name.

    Raises:
        ValueError: no such scenario.
    """
    if scenario not in SCENARIOS:
        raise ValueError(f"no scenario {scenario!r}: there are {', '.join(SCENARIOS)}")
    for id_, name in _ROLES.items():
        _put(account, "roles", id_, {"name": name})
    for id_, person in PEOPLE.items():
        _put_person(account, id_, person)
    cards: Fields = {
        "title": "Standard rates",
        "account_default": True,
        "active_currencies": [*RATE_CARDS],
    }
    _put(account, "rate_card_sets", _RATE_CARD_SET, cards)
    for currency, id_ in RATE_CARDS.items():
        card: Fields = {"rate_card_set_id": _RATE_CARD_SET, "currency": currency}
        _put(account, "rate_cards", id_, card)
        _put(account, "rate_card_versions", f"1{id_}", {"rate_card_id": id_})
        for role, rate in RATES[currency].items():
            row: Fields = {"rate_card_version_id": f"1{id_}", "role_id": role, "rate": rate}
            _put(account, "rate_card_roles", f"{id_}{role}", row)
    for id_, name in CATEGORIES.items():
        _put(account, "expense_categories", id_, {"name": name})
    for id_, (title, stories) in _TEMPLATES.items():
        _put(account, "project_templates", id_, {"title": title, "stories": _stories(stories)})
    return {
        "users": {person.email: id_ for id_, person in PEOPLE.items()},
        "templates": {title: id_ for id_, (title, _) in _TEMPLATES.items()},
        "rate_cards": {**RATE_CARDS},
        "custom_fields": {noun: id_ for id_, noun in _KEY_FIELDS.items()},
        "roles": {name: id_ for id_, name in _ROLES.items()},
    }


def _put_person(account: Account, id_: str, person: Person) -> None:
    membership = f"90{id_}"
    user: Fields = {
        "full_name": person.full_name,
        "email_address": person.email,
        "headline": _ROLES[person.role],
        "role_id": person.role,
        "account_permission": person.permission,
        "account_membership_id": membership,
    }
    _put(account, "users", id_, user)
    cost: Fields = {
        "account_membership_id": membership,
        "currency": person.currency,
        "amount_in_subunits": person.cost,
    }
    _put(account, "cost_rates", membership, cost)


def _stories(rows: tuple[tuple[str, str, int, int, tuple[str, ...]], ...]) -> list[JsonValue]:
    return [
        {
            "title": title,
            "story_type": story_type,
            "day": day,
            "days": days,
            "sub_stories": [
                {"title": below, "story_type": "task", "day": day, "days": days} for below in tasks
            ],
        }
        for title, story_type, day, days, tasks in rows
    ]


def _put(account: Account, type_: str, id_: str, fields: Fields) -> None:
    if account.store.get(type_, id_, dead=True) is None:
        known = {name: field.default for name, field in CATALOG[type_].fields.items()}
        Scene(account, CATALOG).insert(type_, {**known, **fields}, id_=id_)
