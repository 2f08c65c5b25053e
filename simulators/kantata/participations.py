"""Who takes part in a project (section 6.5)."""

from collections.abc import Mapping
from typing import ClassVar

from simulators.kantata.collection import Collection, Links
from simulators.kantata.errors import Problem, invalid, problem
from simulators.kantata.filters import Filter, by_id
from simulators.kantata.scene import Scene
from simulators.kantata.values import Field, Fields, Kind, text_in
from simulators.kit import Record

NAME = "participations"


class Participations(Collection):
    """`GET`, `POST`, `PUT`, `DELETE /participations`; one per project and user."""

    name = NAME
    singular = "participation"
    noun = "Participation"
    fields: ClassVar[Mapping[str, Field]] = {
        "workspace_id": Field(Kind.REFERENCE, required=True, target="workspaces", on_update=False),
        "user_id": Field(Kind.REFERENCE, required=True, target="users", on_update=False),
        "role": Field(Kind.CHOICE, choices=("maven", "buyer"), default="maven"),
        "access_level": Field(default="collaborator"),
        "rate_in_cents": Field(Kind.INTEGER, on_create=False),
        "cost_in_cents": Field(Kind.INTEGER, on_create=False),
        "workspace_role_id": Field(Kind.REFERENCE, target="roles", on_create=False),
        "is_team_lead": Field(Kind.BOOLEAN, default=False),
    }
    one: ClassVar[Links] = {
        "user": ("user_id", "users"),
        "workspace": ("workspace_id", "workspaces"),
        "workspace_role": ("workspace_role_id", "roles"),
    }
    filters: ClassVar[Mapping[str, Filter]] = {
        "workspace_id": by_id("workspace_id"),
        "user_id": by_id("user_id"),
    }

    def check(
        self,
        scene: Scene,
        fields: Fields,
        given: Fields,
        record: Record | None,
        problems: list[Problem],
    ) -> None:
        del given
        if record is None and find(scene, text_in(fields, "workspace_id"), fields["user_id"]):
            problems.append(problem("user_id", "has already been taken"))

    def check_delete(self, scene: Scene, record: Record) -> None:
        """Refuse once the person logged time in the project (section 15)."""
        rows = scene.of_workspace("time_entries", text_in(record.fields, "workspace_id"))
        if any(row.fields["user_id"] == record.fields["user_id"] for row in rows):
            raise invalid("Participation can't be deleted because the user has logged time")


def find(scene: Scene, workspace_id: str, user_id: object) -> Record | None:
    """Return a user's participation in a project."""
    rows = scene.of_workspace(NAME, workspace_id)
    return next((row for row in rows if row.fields["user_id"] == user_id), None)


def join(scene: Scene, workspace_id: str, user_id: str, given: Fields) -> Record:
    """Let a user take part unless he does, and return the participation."""
    held = find(scene, workspace_id, user_id)
    if held is not None:
        return held
    fields = {name: field.default for name, field in Participations.fields.items()}
    access = given.get("access") or given.get("access_level") or fields["access_level"]
    added: Fields = {"workspace_id": workspace_id, "user_id": user_id, "access_level": access}
    return scene.insert(NAME, {**fields, **added, "role": given.get("role") or fields["role"]})
