"""The account itself, and the firm's master data; deals are sold elsewhere, so none are here."""

from collections.abc import Mapping

from simulators.kantata import limits
from simulators.kantata.catalog import CATALOG
from simulators.kantata.scene import INTEGRATION_USER_ID, Scene
from simulators.kantata.values import Fields
from simulators.kit import Account, JsonValue

SCENARIOS = ("standard", "bulk", "empty")
"""All alike: what differs between them is what the CRM and the ERP have."""

_PEOPLE: Mapping[str, tuple[str, str, str, str]] = {
    "3": ("Maya Chen", "maya.chen@example.com", "Project manager", "52"),
    "4": ("Luca Rossi", "luca.rossi@example.com", "Consultant", "51"),
}
_ROLES = {"51": "Consultant", "52": "Project manager", "53": "Engineer"}
_RATE_CARDS = {"5": "USD", "6": "EUR", "7": "GBP", "8": "JPY"}
_RATE_CARD_SET = "11"
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
    admin: Fields = {
        "full_name": "Integration Admin",
        "email_address": "integration@dealthread.example",
        "headline": "Integration",
        "account_permission": "Account Administrator",
        "account_membership_id": "902",
    }
    _put(account, "users", INTEGRATION_USER_ID, admin)
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
    for id_, (full_name, email, headline, role) in _PEOPLE.items():
        person: Fields = {
            "full_name": full_name,
            "email_address": email,
            "headline": headline,
            "role_id": role,
            "account_membership_id": f"90{id_}",
        }
        _put(account, "users", id_, person)
    cards: Fields = {
        "title": "Standard rates",
        "account_default": True,
        "active_currencies": [*_RATE_CARDS.values()],
    }
    _put(account, "rate_card_sets", _RATE_CARD_SET, cards)
    for id_, currency in _RATE_CARDS.items():
        card: Fields = {"rate_card_set_id": _RATE_CARD_SET, "currency": currency}
        _put(account, "rate_cards", id_, card)
    for id_, (title, stories) in _TEMPLATES.items():
        _put(account, "project_templates", id_, {"title": title, "stories": _stories(stories)})
    return {
        "users": {email: id_ for id_, (_, email, _, _) in _PEOPLE.items()},
        "templates": {title: id_ for id_, (title, _) in _TEMPLATES.items()},
        "rate_cards": {currency: id_ for id_, currency in _RATE_CARDS.items()},
        "custom_fields": {noun: id_ for id_, noun in _KEY_FIELDS.items()},
        "roles": {name: id_ for id_, name in _ROLES.items()},
    }


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
