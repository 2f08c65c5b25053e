"""Project templates: stories with days after the start, copied into a new project.

The vendor copies big templates asynchronously; these are small and are there at once.
"""

from collections.abc import Mapping
from datetime import date, timedelta
from typing import ClassVar

from simulators.kantata.collection import READ, Collection
from simulators.kantata.scene import Scene
from simulators.kantata.stories import story_fields
from simulators.kantata.values import Field, Fields, Kind, integer_in, objects_in, text_in
from simulators.kit import JsonValue, Record

NAME = "project_templates"
_FIRST_WEEKEND_DAY = 5


class ProjectTemplates(Collection):
    """`GET /project_templates`; people keep them in the vendor's own screen."""

    name = NAME
    singular = "project_template"
    noun = "ProjectTemplate"
    can = READ
    fields: ClassVar[Mapping[str, Field]] = {
        "title": Field(required=True),
        "description": Field(length_max=None),
        "stories": Field(Kind.LIST, shown=False),
    }
    search_fields = ("title",)


def copy_stories(
    scene: Scene, template: Record, workspace: Record, start: JsonValue, works_weekends: bool
) -> None:
    """Add the template's stories to a project; without a start they have no dates."""
    first = date.fromisoformat(start) if isinstance(start, str) else None
    for row in objects_in(template.fields.get("stories")):
        _copy(scene, row, workspace, None, first, works_weekends)


def _copy(
    scene: Scene,
    row: Fields,
    workspace: Record,
    parent: Record | None,
    start: date | None,
    works_weekends: bool,
) -> None:
    values: Fields = {
        "title": text_in(row, "title"),
        "story_type": text_in(row, "story_type"),
        "workspace_id": workspace.id,
        "parent_id": None if parent is None else parent.id,
    }
    if start is not None:
        begin = integer_in(row, "day")
        values["start_date"] = _day(start, begin, works_weekends)
        values["due_date"] = _day(start, begin + integer_in(row, "days"), works_weekends)
    record = scene.insert("stories", {**story_fields(scene, workspace, parent), **values})
    scene.tell("created", record)
    for below in objects_in(row.get("sub_stories")):
        _copy(scene, below, workspace, record, start, works_weekends)


def _day(start: date, days: int, works_weekends: bool) -> str:
    day = start + timedelta(days=days)
    if not works_weekends and day.weekday() >= _FIRST_WEEKEND_DAY:
        day += timedelta(days=7 - day.weekday())
    return day.isoformat()
