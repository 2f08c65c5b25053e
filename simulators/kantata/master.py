"""Master data: clients, people, roles, rate cards, and the custom fields themselves."""

from collections.abc import Mapping, Sequence
from typing import ClassVar

from simulators.kantata.collection import READ, READ_AND_WRITE, Collection, Links
from simulators.kantata.filters import Filter, by_flag, by_id, by_text, when_true
from simulators.kantata.scene import Scene
from simulators.kantata.values import ACCOUNT_ID, Field, Fields, Kind, ids_in
from simulators.kit import Record


class WorkspaceGroups(Collection):
    """Clients, where `company` is true (section 6.4); not unique by name."""

    name = "workspace_groups"
    singular = "workspace_group"
    noun = "WorkspaceGroup"
    fields: ClassVar[Mapping[str, Field]] = {
        "name": Field(required=True),
        "company": Field(Kind.BOOLEAN, default=False),
        "contact_name": Field(),
        "email": Field(),
        "phone_number": Field(),
        "address": Field(length_max=None),
        "website": Field(),
        "notes": Field(length_max=None),
        "add_workspace_ids": Field(Kind.REFERENCES, target="workspaces", kept=False),
        "remove_workspace_ids": Field(
            Kind.REFERENCES, target="workspaces", kept=False, on_create=False
        ),
    }
    many: ClassVar[Links] = {"workspaces": ("workspace_ids", "workspaces")}
    filters: ClassVar[Mapping[str, Filter]] = {
        "company": by_flag("company"),
        "name": by_text("name"),
    }
    orders = frozenset({"name"})
    search_fields = ("name",)

    def created(self, scene: Scene, record: Record, values: Fields, body: Fields) -> None:
        del body
        self._move(scene, record, values)

    def updated(
        self, scene: Scene, record: Record, before: Fields, values: Fields, body: Fields
    ) -> None:
        del before, body
        self._move(scene, record, values)

    def deleting(self, scene: Scene, record: Record) -> None:
        """Leave the projects, ungrouped."""
        for workspace in self._members(scene, record):
            _leave(scene, workspace, record.id)

    def linked(self, scene: Scene, record: Record, include: str) -> Sequence[str]:
        if include == "workspaces":
            return [row.id for row in self._members(scene, record)]
        return super().linked(scene, record, include)

    def _members(self, scene: Scene, record: Record) -> list[Record]:
        rows = scene.store.list("workspaces")
        return [row for row in rows if record.id in ids_in(row.fields, "workspace_group_ids")]

    def _move(self, scene: Scene, record: Record, values: Fields) -> None:
        for id_ in ids_in(values, "add_workspace_ids"):
            workspace = scene.find("workspaces", id_)
            groups = [] if workspace is None else ids_in(workspace.fields, "workspace_group_ids")
            if workspace is not None and record.id not in groups:
                scene.store.update(workspace, {"workspace_group_ids": [*groups, record.id]})
        for id_ in ids_in(values, "remove_workspace_ids"):
            workspace = scene.find("workspaces", id_)
            if workspace is not None:
                _leave(scene, workspace, record.id)


class Users(Collection):
    """People; they come by invitation, never by a POST (section 6.5)."""

    name = "users"
    singular = "user"
    noun = "User"
    can = READ | {"update"}
    fields: ClassVar[Mapping[str, Field]] = {
        "full_name": Field(required=True),
        "email_address": Field(required=True),
        "headline": Field(),
        "account_id": Field(default=ACCOUNT_ID, on_update=False),
        "role_id": Field(Kind.REFERENCE, target="roles", on_update=False),
        "disabled": Field(Kind.BOOLEAN, default=False, on_update=False),
        "account_permission": Field(default="Collaborator", on_update=False),
        "account_membership_id": Field(on_update=False),
    }
    one: ClassVar[Links] = {"role": ("role_id", "roles")}
    filters: ClassVar[Mapping[str, Filter]] = {
        "by_email_address": by_text("email_address"),
        "on_my_account": when_true(lambda record: record.fields["account_id"] == ACCOUNT_ID),
    }
    orders = frozenset({"full_name"})
    search_fields = ("full_name", "email_address")


class Roles(Collection):
    """Job titles that rate cards and time entries name."""

    name = "roles"
    singular = "role"
    noun = "Role"
    fields: ClassVar[Mapping[str, Field]] = {"name": Field(required=True)}
    search_fields = ("name",)


class RateCardSets(Collection):
    """Rate cards of one price list (section 12)."""

    name = "rate_card_sets"
    singular = "rate_card_set"
    noun = "RateCardSet"
    can = READ
    fields: ClassVar[Mapping[str, Field]] = {
        "title": Field(required=True),
        "account_default": Field(Kind.BOOLEAN, default=False),
        "active_currencies": Field(Kind.LIST),
    }


class RateCards(Collection):
    """One price list in one currency; its currency rules in a project."""

    name = "rate_cards"
    singular = "rate_card"
    noun = "RateCard"
    can = READ
    fields: ClassVar[Mapping[str, Field]] = {
        "rate_card_set_id": Field(Kind.REFERENCE, target="rate_card_sets"),
        "currency": Field(required=True),
    }
    one: ClassVar[Links] = {"rate_card_set": ("rate_card_set_id", "rate_card_sets")}
    filters: ClassVar[Mapping[str, Filter]] = {"currency": by_text("currency")}

    def derived(self, scene: Scene, record: Record) -> Fields:
        rows = scene.store.list("workspaces")
        uses = sum(row.fields.get("rate_card_id") == record.id for row in rows)
        return {"uses": uses}


class CustomFields(Collection):
    """Fields that the account added to projects, clients, tasks and people (section 13)."""

    name = "custom_fields"
    singular = "custom_field"
    noun = "CustomField"
    fields: ClassVar[Mapping[str, Field]] = {
        "name": Field(required=True),
        "subject_type": Field(required=True, on_update=False),
        "value_type": Field(
            Kind.CHOICE,
            required=True,
            choices=("string", "date", "number", "currency", "single", "multi"),
            on_update=False,
        ),
        "unique_constraint": Field(Kind.BOOLEAN, default=False),
        "custom_field_set_id": Field(),
        "default_text": Field(),
        "hidden_in_user_interface": Field(Kind.BOOLEAN, default=False),
    }
    filters: ClassVar[Mapping[str, Filter]] = {
        "subject_type": by_text("subject_type"),
        "name": by_text("name"),
    }
    many: ClassVar[Links] = {"choices": ("custom_field_choice_ids", "custom_field_choices")}
    search_fields = ("name",)

    def linked(self, scene: Scene, record: Record, include: str) -> Sequence[str]:
        if include == "choices":
            rows = scene.store.list("custom_field_choices")
            return [row.id for row in rows if row.fields["custom_field_id"] == record.id]
        return super().linked(scene, record, include)

    def deleting(self, scene: Scene, record: Record) -> None:
        for name in ("custom_field_values", "custom_field_choices"):
            for row in scene.store.list(name):
                if row.fields["custom_field_id"] == record.id:
                    scene.catalog[name].delete(scene, row)


class CustomFieldChoices(Collection):
    """Choices of a `single` or `multi` field."""

    name = "custom_field_choices"
    singular = "custom_field_choice"
    noun = "CustomFieldChoice"
    can = READ_AND_WRITE
    fields: ClassVar[Mapping[str, Field]] = {
        "label": Field(required=True),
        "custom_field_id": Field(
            Kind.REFERENCE, required=True, target="custom_fields", on_update=False
        ),
    }
    filters: ClassVar[Mapping[str, Filter]] = {"custom_field_id": by_id("custom_field_id")}


def _leave(scene: Scene, workspace: Record, group_id: str) -> None:
    groups = [id_ for id_ in ids_in(workspace.fields, "workspace_group_ids") if id_ != group_id]
    changes: Fields = {"workspace_group_ids": [*groups]}
    if workspace.fields.get("primary_workspace_group_id") == group_id:
        changes["primary_workspace_group_id"] = None
    scene.store.update(workspace, changes)
