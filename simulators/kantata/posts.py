"""What people say on a project or a task, with files; attributes of the official client.

How a file gets there (upload to a CDN) is not played: a post names files that exist.
"""

from collections.abc import Mapping
from typing import ClassVar

from simulators.kantata.collection import READ, Collection, Links
from simulators.kantata.filters import Filter, by_id
from simulators.kantata.scene import Scene
from simulators.kantata.values import Field, Fields, Kind, ids_in
from simulators.kit import Record


class Files(Collection):
    """`GET /attachments/{id}`: uploaded files, of posts or expenses."""

    name = "attachments"
    singular = "attachment"
    noun = "Attachment"
    can = READ | {"create", "delete"}
    fields: ClassVar[Mapping[str, Field]] = {
        "filename": Field(required=True),
        "type": Field(Kind.CHOICE, choices=("post_attachment", "receipt")),
    }


class Posts(Collection):
    """`GET`, `POST`, `PUT`, `DELETE /posts`; that the list filters by story is unverified."""

    name = "posts"
    singular = "post"
    noun = "Post"
    fields: ClassVar[Mapping[str, Field]] = {
        "message": Field(required=True, length_max=None),
        "workspace_id": Field(Kind.REFERENCE, required=True, target="workspaces", on_update=False),
        "story_id": Field(Kind.REFERENCE, target="stories"),
        "attachment_ids": Field(Kind.REFERENCES, target="attachments", shown=False),
    }
    one: ClassVar[Links] = {
        "user": ("user_id", "users"),
        "workspace": ("workspace_id", "workspaces"),
        "story": ("story_id", "stories"),
    }
    many: ClassVar[Links] = {"attachments": ("attachment_ids", "attachments")}
    filters: ClassVar[Mapping[str, Filter]] = {"workspace_id": by_id("workspace_id")}

    def defaults(self, scene: Scene, values: Fields) -> Fields:
        del values
        return {"user_id": scene.user_id}

    def derived(self, scene: Scene, record: Record) -> Fields:
        del scene
        return {
            "user_id": record.fields["user_id"],
            "has_attachment": bool(ids_in(record.fields, "attachment_ids")),
        }
