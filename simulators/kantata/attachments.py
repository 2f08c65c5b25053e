"""External references and custom field values as collections of their own.

Their rules are in `references` and `custom_values`, which serve inline bodies too.
"""

from collections.abc import Mapping
from typing import ClassVar

from simulators.kantata import custom_values, references
from simulators.kantata.collection import READ, Collection, Links
from simulators.kantata.errors import ApiError, invalid, problem, syntax
from simulators.kantata.filters import Filter, by_id, by_text
from simulators.kantata.scene import Scene
from simulators.kantata.values import ACCOUNT_ID, Field, Fields, Kind, text_in
from simulators.kit import Effect, Record

_SUBJECT: Mapping[str, Field] = {
    "subject_type": Field(required=True, on_update=False),
    "subject_id": Field(Kind.REFERENCE, required=True, on_update=False),
}


class _Attachments(Collection):
    """Rows that belong to a subject; lists must say of which type."""

    def derived(self, scene: Scene, record: Record) -> Fields:
        noun = text_in(record.fields, "subject_type")
        id_ = text_in(record.fields, "subject_id")
        subject = scene.subject(noun, id_)
        key = scene.catalog_of(noun) if subject is None else subject.type
        return {"subject_ref": {"key": key, "id": id_}}

    def check_list(self, scene: Scene, query: Mapping[str, str]) -> None:
        """Refuse a list without a known `subject_type`.

        Raises:
            ApiError: 400.
        """
        if scene.catalog_of(query.get("subject_type", "")) is None:
            raise syntax("subject_type is required and must be a type of object")

    def subject(self, scene: Scene, body: Fields) -> tuple[str, Record]:
        """Return the subject which a body names.

        Raises:
            ApiError: 422, there is no such subject.
        """
        noun = text_in(body, "subject_type")
        if scene.catalog_of(noun) is None:
            raise ApiError(422, [problem("subject_type", "is not included in the list")])
        record = scene.subject(noun, text_in(body, "subject_id"))
        if record is None:
            raise ApiError(422, [problem("subject_id", "does not exist")])
        return noun, record


class ExternalReferences(_Attachments):
    """`GET`, `DELETE /external_references` and `POST …/create_or_update` (section 5)."""

    name = references.NAME
    singular = "external_reference"
    noun = "ExternalReference"
    can = READ | {"delete"}
    fields: ClassVar[Mapping[str, Field]] = {
        **_SUBJECT,
        **references.FIELDS,
        "last_synced_at": Field(on_create=False, on_update=False),
    }
    filters: ClassVar[Mapping[str, Filter]] = {
        "subject_type": by_text("subject_type"),
        "subject_id": by_id("subject_id"),
        "service_name": by_text("service_name"),
        "service_model": by_text("service_model"),
        "service_model_ref": by_id("service_model_ref"),
        "status": by_text("status"),
    }

    def create(self, scene: Scene, body: Fields) -> Record:
        """Create or replace: one reference per subject and service."""
        noun, subject = self.subject(scene, body)
        return references.put(scene, noun, subject, body)

    def update(self, scene: Scene, record: Record, body: Fields) -> Record:
        """Replace; only a person in the vendor's own screen gets here."""
        del record
        return self.create(scene, body)

    def delete(self, scene: Scene, record: Record) -> None:
        references.remove(scene, record)
        scene.note(Effect.DELETE, record)


class CustomFieldValues(_Attachments):
    """`GET`, `POST`, `PUT`, `DELETE /custom_field_values` (section 13)."""

    name = custom_values.NAME
    singular = "custom_field_value"
    noun = "CustomFieldValue"
    bulk_max = 100
    fields: ClassVar[Mapping[str, Field]] = {
        **_SUBJECT,
        "custom_field_id": Field(Kind.REFERENCE, required=True, on_update=False),
        "value": Field(required=True),
        "setter_id": Field(on_create=False, on_update=False),
    }
    one: ClassVar[Links] = {
        "custom_field": ("custom_field_id", "custom_fields"),
        "setter": ("setter_id", "users"),
    }
    filters: ClassVar[Mapping[str, Filter]] = {
        "subject_type": by_text("subject_type"),
        "with_subject_id": by_id("subject_id"),
        "custom_field_id": by_id("custom_field_id"),
    }

    def create(self, scene: Scene, body: Fields) -> Record:
        noun, subject = self.subject(scene, body)
        field_id = text_in(body, "custom_field_id")
        record = custom_values.add(scene, noun, subject, field_id, body.get("value"))
        scene.note(Effect.CREATE, record)
        return record

    def update(self, scene: Scene, record: Record, body: Fields) -> Record:
        if "value" not in body:
            raise invalid("Value can't be blank", "value")
        custom_values.change(scene, record, body["value"])
        scene.note(Effect.UPDATE, record)
        return record

    def delete(self, scene: Scene, record: Record) -> None:
        custom_values.remove(scene, record)
        scene.note(Effect.DELETE, record)

    def derived(self, scene: Scene, record: Record) -> Fields:
        return {
            **super().derived(scene, record),
            **custom_values.shown(scene, record),
            "account_id": ACCOUNT_ID,
            "can_edit": True,
        }
