"""Tasks, deliverables, milestones and issues of a project (section 7)."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import ClassVar

from simulators.kantata.collection import Collection, Links
from simulators.kantata.errors import ApiError, Problem, invalid, problem
from simulators.kantata.filters import (
    Filter,
    Predicate,
    by_id,
    by_text,
    hides_nothing,
    wanted_boolean,
    when_true,
)
from simulators.kantata.scene import INTEGRATION_USER_ID, Scene
from simulators.kantata.story_states import note_state
from simulators.kantata.values import (
    Field,
    Fields,
    Kind,
    integer_in,
    text_in,
    wire_datetime,
)
from simulators.kit import JsonValue, Record

NAME = "stories"
TITLE_LENGTH_MAX = 200
DESCRIPTION_LENGTH_MAX = 1000
"""Both from the specification of the official client."""

_TYPES = ("task", "deliverable", "milestone", "issue")
_STATES = ("not started", "started", "needs info", "completed")
_ISSUE_STATES = (
    "new",
    "reopened",
    "in progress",
    "blocked",
    "fixed",
    "duplicate",
    "can't repro",
    "resolved",
    "won't fix",
)
_COMPLETE = 100


class Stories(Collection):
    """`GET`, `POST` with nested `sub_stories`, `PUT`, `DELETE /stories`; a delete is soft."""

    name = NAME
    singular = "story"
    noun = "Story"
    bulk_max = 100
    fields: ClassVar[Mapping[str, Field]] = {
        "title": Field(required=True, length_max=TITLE_LENGTH_MAX),
        "story_type": Field(Kind.CHOICE, required=True, choices=_TYPES),
        "workspace_id": Field(Kind.REFERENCE, required=True, target="workspaces", on_update=False),
        "description": Field(length_max=DESCRIPTION_LENGTH_MAX),
        "parent_id": Field(Kind.REFERENCE, target=NAME),
        "start_date": Field(Kind.DATE),
        "due_date": Field(Kind.DATE),
        "state": Field(Kind.CHOICE, choices=_STATES + _ISSUE_STATES),
        "percentage_complete": Field(Kind.INTEGER, default=0),
        "priority": Field(
            Kind.CHOICE, choices=("low", "normal", "high", "critical"), default="normal"
        ),
        "budget_estimate_in_cents": Field(Kind.INTEGER),
        "cost_budget_in_cents": Field(Kind.INTEGER),
        "time_estimate_in_minutes": Field(Kind.INTEGER),
        "billable": Field(Kind.BOOLEAN),
        "fixed_fee": Field(Kind.BOOLEAN),
        "weight": Field(Kind.INTEGER),
        "time_trackable": Field(Kind.BOOLEAN, default=True),
        "archived": Field(Kind.BOOLEAN, default=False),
        "assignee_ids": Field(Kind.REFERENCES, target="users", shown=False),
        "tag_list": Field(length_max=None),
    }
    one: ClassVar[Links] = {
        "workspace": ("workspace_id", "workspaces"),
        "parent": ("parent_id", NAME),
        "root": ("root_id", NAME),
        "creator": ("creator_id", "users"),
    }
    many: ClassVar[Links] = {
        "assignees": ("assignee_ids", "users"),
        "sub_stories": ("sub_story_ids", NAME),
        "descendants": ("descendant_ids", NAME),
        "ancestors": ("ancestor_ids", NAME),
    }
    filters: ClassVar[Mapping[str, Filter]] = {
        "workspace_id": by_id("workspace_id"),
        "story_type": by_text("story_type"),
        "with_parent_id": by_id("parent_id"),
        "parents_only": when_true(lambda record: record.fields.get("parent_id") is None),
        "uncompleted": when_true(lambda record: record.fields["state"] != "completed"),
    }
    orders = frozenset({"position", "title", "start_date", "due_date"})
    search_fields = ("title",)

    def create(self, scene: Scene, body: Fields) -> Record:
        record = super().create(scene, body)
        rows = body.get("sub_stories")
        if isinstance(rows, dict):
            rows = list(rows.values())
        for row in rows if isinstance(rows, list) else []:
            if not isinstance(row, dict):
                raise invalid("Sub stories must be objects", "sub_stories")
            below: Fields = {
                **row,
                "parent_id": record.id,
                "workspace_id": record.fields["workspace_id"],
            }
            try:
                self.create(scene, below)
            except ApiError as error:
                named = [replace(p, field=f"sub_stories.{p.field}") for p in error.problems]
                raise ApiError(error.status, named) from error
        return record

    def defaults(self, scene: Scene, values: Fields) -> Fields:
        workspace = scene.find("workspaces", text_in(values, "workspace_id"))
        parent = scene.find(NAME, text_in(values, "parent_id"))
        return story_fields(scene, workspace, parent)

    def check(
        self,
        scene: Scene,
        fields: Fields,
        given: Fields,
        record: Record | None,
        problems: list[Problem],
    ) -> None:
        for name in ("billable", "fixed_fee"):
            if given.get(name) is None:
                given.pop(name, None)  # the project's own default, or what stands, holds
        _settle_state(fields, given, problems)
        if not 0 <= integer_in(fields, "percentage_complete") <= _COMPLETE:
            problems.append(problem("percentage_complete", "must be between 0 and 100"))
        parent = scene.find(NAME, text_in(fields, "parent_id"))
        if parent is None:
            return
        if parent.fields["workspace_id"] != fields["workspace_id"]:
            problems.append(problem("parent_id", "belongs to another workspace"))
        if record is not None and record.id in (parent.id, *_ancestors(scene, parent)):
            problems.append(problem("parent_id", "can't be the story itself or one below it"))

    def updated(
        self, scene: Scene, record: Record, before: Fields, values: Fields, body: Fields
    ) -> None:
        del values, body
        note_state(scene, record, before)

    def check_delete(self, scene: Scene, record: Record) -> None:
        """Refuse once time is logged here or below; the page has this as unverified."""
        own = {record.id, *_below(scene, record)}
        rows = scene.of_workspace("time_entries", text_in(record.fields, "workspace_id"))
        if any(text_in(row.fields, "story_id") in own for row in rows):
            raise invalid("Story can't be deleted because time has been logged to it")

    def deleting(self, scene: Scene, record: Record) -> None:
        now = scene.account.clock.now().isoformat()
        for id_ in _below(scene, record):
            row = scene.find(NAME, id_)
            if row is not None:
                scene.store.update(row, {"deleted_at": now})
                self.drop(scene, row)
                scene.tell("deleted", row)
        scene.store.update(record, {"deleted_at": now})

    def hidden(self, scene: Scene, query: Mapping[str, str]) -> Predicate:
        """Hide archived stories unless they are asked for."""
        del scene
        if wanted_boolean(query, "show_archived"):
            return hides_nothing
        return lambda record: record.fields["archived"] is True

    def sees_deleted(self, query: Mapping[str, str]) -> bool:
        return wanted_boolean(query, "show_deleted") is True

    def linked(self, scene: Scene, record: Record, include: str) -> Sequence[str]:
        match include:
            case "sub_stories":
                return [row.id for row in _children(scene, record)]
            case "descendants":
                return _below(scene, record)
            case "ancestors":
                return _ancestors(scene, record)
            case "root":
                return _ancestors(scene, record)[:1]
            case _:
                return super().linked(scene, record, include)

    def derived(self, scene: Scene, record: Record) -> Fields:
        workspace_id = text_in(record.fields, "workspace_id")
        entries = [
            row
            for row in scene.of_workspace("time_entries", workspace_id)
            if row.fields.get("story_id") == record.id
        ]
        ancestors = _ancestors(scene, record)
        deleted = text_in(record.fields, "deleted_at")
        return {
            "position": record.fields.get("position"),
            "creator_id": record.fields.get("creator_id"),
            "root_id": ancestors[0] if ancestors else None,
            "ancestor_ids": [*ancestors],
            "sub_story_count": len(_children(scene, record)),
            "logged_billable_time_in_minutes": _minutes(entries, True),
            "logged_nonbillable_time_in_minutes": _minutes(entries, False),
            "deleted_at": wire_datetime(record.modified_at) if deleted else None,
        }


def story_fields(scene: Scene, workspace: Record | None, parent: Record | None) -> Fields:
    """Return the fields of a new story before anything is said about it."""
    settings: Fields = {} if workspace is None else workspace.fields
    return {
        **{name: field.default for name, field in Stories.fields.items()},
        "assignee_ids": [],
        "state": _STATES[0],
        "billable": settings.get("tasks_default_non_billable") is not True,
        "fixed_fee": settings.get("stories_are_fixed_fee_by_default") is True,
        "creator_id": scene.user_id if scene.user_id else INTEGRATION_USER_ID,
        "deleted_at": None,
        "position": scene.store.seq,
        "parent_id": None if parent is None else parent.id,
    }


def _settle_state(fields: Fields, given: Fields, problems: list[Problem]) -> None:
    """Keep state and percentage in step: 100 completes, and so the other way round."""
    is_issue = fields.get("story_type") == "issue"
    states = _ISSUE_STATES if is_issue else _STATES
    state: JsonValue = fields.get("state")
    if given.get("percentage_complete") == _COMPLETE and not is_issue and not given.get("state"):
        given["state"] = "completed"
    elif state is None:
        given["state"] = states[0]
    elif state not in states:
        problems.append(problem("state", f"is not one of those of {fields.get('story_type')}"))
    elif given.get("state") == "completed":
        given["percentage_complete"] = _COMPLETE


def _children(scene: Scene, record: Record) -> list[Record]:
    rows = scene.of_workspace(NAME, text_in(record.fields, "workspace_id"))
    return [row for row in rows if row.fields.get("parent_id") == record.id]


def _below(scene: Scene, record: Record) -> list[str]:
    found: list[str] = []
    for row in _children(scene, record):
        found += [row.id, *_below(scene, row)]
    return found


def _ancestors(scene: Scene, record: Record) -> list[str]:
    found: list[str] = []
    parent = scene.find(NAME, text_in(record.fields, "parent_id"))
    while parent is not None and parent.id not in found:
        found.insert(0, parent.id)
        parent = scene.find(NAME, text_in(parent.fields, "parent_id"))
    return found


def _minutes(entries: list[Record], billable: bool) -> int:
    return sum(
        integer_in(row.fields, "time_in_minutes")
        for row in entries
        if (row.fields.get("billable") is True) == billable
    )
