"""Rates (section 12): price lists by role, cost by person, and which of them an entry gets.

A rate is in the smallest unit of its currency per hour; the page leaves that unit open.
"""

from collections.abc import Mapping
from typing import ClassVar

from simulators.kantata import participations
from simulators.kantata.collection import READ, Collection, Links
from simulators.kantata.filters import Filter, by_id, by_text
from simulators.kantata.scene import Scene
from simulators.kantata.values import Field, Kind, text_in
from simulators.kit import JsonValue, Record


class RateCardVersions(Collection):
    """A price list as published; here each card has one."""

    name = "rate_card_versions"
    singular = "rate_card_version"
    noun = "RateCardVersion"
    can = READ
    fields: ClassVar[Mapping[str, Field]] = {
        "rate_card_id": Field(Kind.REFERENCE, target="rate_cards"),
        "default_rate": Field(Kind.INTEGER, default=0),
        "active": Field(Kind.BOOLEAN, default=True),
    }
    one: ClassVar[Links] = {"rate_card": ("rate_card_id", "rate_cards")}
    filters: ClassVar[Mapping[str, Filter]] = {"rate_card_id": by_id("rate_card_id")}


class RateCardRoles(Collection):
    """The rate of one role."""

    name = "rate_card_roles"
    singular = "rate_card_role"
    noun = "RateCardRole"
    can = READ
    fields: ClassVar[Mapping[str, Field]] = {
        "rate_card_version_id": Field(Kind.REFERENCE, target="rate_card_versions"),
        "role_id": Field(Kind.REFERENCE, target="roles"),
        "rate": Field(Kind.INTEGER, default=0),
    }
    one: ClassVar[Links] = {
        "rate_card_version": ("rate_card_version_id", "rate_card_versions"),
        "role": ("role_id", "roles"),
    }
    filters: ClassVar[Mapping[str, Filter]] = {
        "rate_card_version_id": by_id("rate_card_version_id"),
        "role_id": by_id("role_id"),
    }


class CostRates(Collection):
    """What an hour of a person costs the firm, in one currency."""

    name = "cost_rates"
    singular = "cost_rate"
    noun = "CostRate"
    can = READ
    fields: ClassVar[Mapping[str, Field]] = {
        "account_membership_id": Field(required=True),
        "currency": Field(required=True),
        "amount_in_subunits": Field(Kind.INTEGER, default=0),
        "in_use": Field(Kind.BOOLEAN, default=True),
    }
    filters: ClassVar[Mapping[str, Filter]] = {
        "account_membership_id": by_id("account_membership_id"),
        "currency": by_text("currency"),
    }


def role_of(scene: Scene, workspace_id: str, user_id: str) -> str | None:
    """Return a person's role in a project, else the usual one."""
    member = participations.find(scene, workspace_id, user_id)
    own = None if member is None else member.fields.get("workspace_role_id")
    user = scene.find("users", user_id)
    usual = None if user is None else user.fields.get("role_id")
    role = own or usual
    return None if role is None else str(role)


def bill_rate(scene: Scene, workspace: Record, user_id: str, role_id: str | None) -> int:
    """Return the person's own rate in the project, else the price list's for the role, else 0."""
    member = participations.find(scene, workspace.id, user_id)
    own = None if member is None else member.fields.get("rate_in_cents")
    if isinstance(own, int):
        return own
    card_id = text_in(workspace.fields, "rate_card_id")
    for version in scene.store.list("rate_card_versions"):
        if version.fields["rate_card_id"] == card_id and version.fields["active"] is True:
            for row in scene.store.list("rate_card_roles"):
                of_version = row.fields["rate_card_version_id"] == version.id
                if of_version and row.fields["role_id"] == role_id:
                    return _number(row.fields["rate"])
            return _number(version.fields["default_rate"])
    return 0


def cost_rate(scene: Scene, workspace: Record, user_id: str) -> int | None:
    """Return the cost set in the project, else the person's in the project's currency, if any."""
    member = participations.find(scene, workspace.id, user_id)
    own = None if member is None else member.fields.get("cost_in_cents")
    if isinstance(own, int):
        return own
    user = scene.find("users", user_id)
    membership = None if user is None else user.fields.get("account_membership_id")
    for row in scene.store.list("cost_rates"):
        in_currency = row.fields["currency"] == workspace.fields["currency"]
        if in_currency and row.fields["account_membership_id"] == membership:
            return _number(row.fields["amount_in_subunits"])
    return None


def _number(value: JsonValue) -> int:
    return value if isinstance(value, int) else 0
