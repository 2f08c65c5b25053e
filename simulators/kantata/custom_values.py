"""Values of custom fields: one per field and subject, unique where the field says so (section 13).

The key of a value whose field has `unique_constraint` is the value itself, which is the index.
"""

from simulators.kantata.errors import ApiError, Problem, invalid, problem
from simulators.kantata.references import renew_key
from simulators.kantata.scene import CUSTOM_VALUES, Scene
from simulators.kantata.values import (
    CURRENCIES,
    BadValue,
    Field,
    Fields,
    Kind,
    formatted,
    ids_in,
    objects_in,
    parse_value,
    text_in,
)
from simulators.kit import JsonValue, Record

NAME = "custom_field_values"
_PLAIN = {
    "string": Field(),
    "date": Field(Kind.DATE),
    "number": Field(Kind.NUMBER),
}


def put_inline(scene: Scene, noun: str, subject: Record, given: JsonValue) -> None:
    """Set the values that come with a create.

    Raises:
        ApiError: 422, among others for a value which another subject has.
    """
    if not isinstance(given, list | dict):
        raise invalid("Custom fields must be a list", "custom_fields")
    rows = given if isinstance(given, list) else list(given.values())
    problems: list[Problem] = []
    for row in objects_in(rows):
        try:
            add(scene, noun, subject, text_in(row, "custom_field_id"), row.get("value"))
        except ApiError as error:
            problems += error.problems
    if problems:
        raise ApiError(422, problems)


def add(scene: Scene, noun: str, subject: Record, field_id: str, value: JsonValue) -> Record:
    """Set a field which the subject has no value of yet.

    Raises:
        ApiError: 422, there is no such field for this type, it has a value, or the value is bad.
    """
    field = scene.find("custom_fields", field_id)
    if field is None or field.fields.get("subject_type") != noun:
        raise ApiError(422, [problem("custom_field_id", "does not exist")])
    for id_ in ids_in(subject.fields, CUSTOM_VALUES):
        held = scene.find(NAME, id_)
        if held is not None and held.fields["custom_field_id"] == field_id:
            raise ApiError(422, [problem("custom_field_id", "has already been taken")])
    fields: Fields = {
        "subject_type": noun,
        "subject_id": subject.id,
        "custom_field_id": field_id,
        "value": _judge(scene, field, value, None),
        "setter_id": scene.user_id,
    }
    record = scene.insert(NAME, fields, _key(field, fields["value"]))
    held_ids = ids_in(subject.fields, CUSTOM_VALUES)
    scene.store.update(subject, {CUSTOM_VALUES: [*held_ids, record.id]})
    renew_key(scene, subject)
    return record


def change(scene: Scene, record: Record, value: JsonValue) -> Record:
    """Set another value."""
    field = _field(scene, record)
    judged = _judge(scene, field, value, record)
    scene.store.update(record, {"value": judged, "setter_id": scene.user_id})
    scene.store.set_key(record, _key(field, judged))
    subject = subject_of(scene, record)
    if subject is not None:
        renew_key(scene, subject)
    return record


def remove(scene: Scene, record: Record) -> None:
    """Clear a field of its subject."""
    scene.store.delete(record)
    subject = subject_of(scene, record)
    if subject is not None:
        kept = [id_ for id_ in ids_in(subject.fields, CUSTOM_VALUES) if id_ != record.id]
        scene.store.update(subject, {CUSTOM_VALUES: [*kept]})
        renew_key(scene, subject)


def subject_of(scene: Scene, record: Record) -> Record | None:
    """Return what a reference or a value belongs to."""
    noun, id_ = text_in(record.fields, "subject_type"), text_in(record.fields, "subject_id")
    return scene.subject(noun, id_)


def shown(scene: Scene, record: Record) -> Fields:
    """Return the attributes that come from the field."""
    field = _field(scene, record)
    value_type = text_in(field.fields, "value_type")
    value = record.fields.get("value")
    return {
        "type": value_type,
        "custom_field_name": text_in(field.fields, "name"),
        "display_value": _display(scene, value_type, value),
    }


def _field(scene: Scene, record: Record) -> Record:
    field = scene.store.get("custom_fields", text_in(record.fields, "custom_field_id"), dead=True)
    if field is None:
        raise LookupError("a value outlives its field")
    return field


def _judge(scene: Scene, field: Record, value: JsonValue, record: Record | None) -> JsonValue:
    try:
        judged = _parse(scene, field, value)
    except BadValue as error:
        raise ApiError(422, [problem("value", str(error))]) from None
    if judged in (None, "", []):
        raise ApiError(422, [problem("value", "can't be blank")])
    if field.fields.get("unique_constraint") is True:
        for other in scene.store.all_by_key(NAME, str(judged)):
            if other is not record and other.fields["custom_field_id"] == field.id:
                raise ApiError(422, [problem("value", "has already been taken")])
    return judged


def _parse(scene: Scene, field: Record, value: JsonValue) -> JsonValue:
    value_type = text_in(field.fields, "value_type")
    if value_type in _PLAIN:
        return parse_value(_PLAIN[value_type], value)
    listed = parse_value(Field(Kind.LIST), value)
    items = listed if isinstance(listed, list) else []
    if value_type == "currency":
        if len(items) != 2 or str(items[1]) not in CURRENCIES:
            raise BadValue("must be cents and a currency")
        return [parse_value(Field(Kind.INTEGER), items[0]), str(items[1])]
    if value_type == "single" and len(items) > 1:
        raise BadValue("takes one choice")
    choices = {id_: scene.find("custom_field_choices", id_) for id_ in map(str, items)}
    if any(c is None or c.fields["custom_field_id"] != field.id for c in choices.values()):
        raise BadValue("is not one of the choices")
    return [*choices]


def _display(scene: Scene, value_type: str, value: JsonValue) -> str:
    if not isinstance(value, list):
        return str(value)
    if value_type == "currency":
        return formatted(int(str(value[0])), str(value[1]))
    found = (scene.store.get("custom_field_choices", str(id_), dead=True) for id_ in value)
    return ", ".join(text_in(choice.fields, "label") for choice in found if choice is not None)


def _key(field: Record, value: JsonValue) -> str | None:
    return str(value) if field.fields.get("unique_constraint") is True else None
