"""The trail of a story's states: made by the vendor, changed by nobody (its documentation)."""

from collections.abc import Mapping
from typing import ClassVar

from simulators.kantata.collection import READ, Collection, Links
from simulators.kantata.errors import invalid, syntax
from simulators.kantata.filters import Filter, by_id
from simulators.kantata.scene import Scene
from simulators.kantata.values import Field, Fields, Kind
from simulators.kit import Record

NAME = "story_state_changes"


class StoryStateChanges(Collection):
    """`GET /story_state_changes?story_id=`; the story has to be named."""

    name = NAME
    singular = "story_state_change"
    noun = "StoryStateChange"
    can = READ
    fields: ClassVar[Mapping[str, Field]] = {
        "state": Field(),
        "formatted_state": Field(),
        "story_id": Field(Kind.REFERENCE, target="stories"),
        "user_id": Field(Kind.REFERENCE, target="users"),
    }
    one: ClassVar[Links] = {
        "story": ("story_id", "stories"),
        "user": ("user_id", "users"),
    }
    filters: ClassVar[Mapping[str, Filter]] = {"story_id": by_id("story_id")}

    def check_list(self, scene: Scene, query: Mapping[str, str]) -> None:
        """Refuse a list that names no story.

        Raises:
            ApiError: 400.
        """
        del scene
        if not query.get("story_id"):
            raise syntax("story_id is required")

    def check_delete(self, scene: Scene, record: Record) -> None:
        del scene, record
        raise invalid("A change of state can't be deleted")


def note_state(scene: Scene, story: Record, before: Fields) -> None:
    """Add to the trail what a change of a story did to its state."""
    state = story.fields["state"]
    if before.get("state") != state:
        words = str(state)
        scene.insert(
            NAME,
            {
                "state": state,
                "formatted_state": words[:1].upper() + words[1:],
                "story_id": story.id,
                "user_id": scene.user_id,
            },
        )
