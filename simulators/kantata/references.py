"""External references: one per subject and service; they find subjects again (section 5).

The key under which the control origin shows a subject is the model ref of its oldest reference,
else the value of its unique custom field.
"""

from collections.abc import Mapping

from simulators.kantata.errors import ApiError, Problem, invalid, problem, syntax
from simulators.kantata.filters import Predicate, wanted_boolean
from simulators.kantata.scene import CUSTOM_VALUES, REFERENCES, Scene
from simulators.kantata.values import (
    BadValue,
    Field,
    Fields,
    Kind,
    ids_in,
    parse_value,
    text_in,
)
from simulators.kit import Effect, JsonValue, Record

NAME = "external_references"
REFS_MAX = 200
"""Values of `external_reference_service_model_refs` in one request."""

FIELDS: Mapping[str, Field] = {
    "service_name": Field(required=True),
    "service_model": Field(required=True),
    "service_model_ref": Field(required=True),
    "status": Field(
        Kind.CHOICE, choices=("pending", "successful", "failed"), default="pending"
    ),  # the default is unverified
    "external_link": Field(length_max=None),
    "external_message": Field(length_max=None),
    "external_status": Field(),
    "locked": Field(Kind.BOOLEAN, default=False),
}
_PREFIX = "external_reference_"
_EXACT = ("service_name", "service_model", "status")


def put_inline(scene: Scene, noun: str, subject: Record, given: JsonValue) -> Record:
    """Create or replace the subject's reference of the service that is named.

    Raises:
        ApiError: 422, the reference is not whole; the field is prefixed.
    """
    if not isinstance(given, dict):
        raise invalid("External reference must be an object", "external_reference")
    return _put(scene, noun, subject, given, "external_reference.")[0]


def put(scene: Scene, noun: str, subject: Record, given: Fields) -> Record:
    """Create or replace a reference as a request of its own."""
    record, is_new = _put(scene, noun, subject, given, "")
    scene.note(Effect.CREATE if is_new else Effect.UPDATE, record)
    return record


def remove(scene: Scene, record: Record) -> None:
    """Delete a reference; its subject gets another key."""
    scene.store.delete(record)
    noun, id_ = text_in(record.fields, "subject_type"), text_in(record.fields, "subject_id")
    subject = scene.subject(noun, id_)
    if subject is not None:
        kept = [id_ for id_ in ids_in(subject.fields, REFERENCES) if id_ != record.id]
        scene.store.update(subject, {REFERENCES: [*kept]})
        renew_key(scene, subject)


def renew_key(scene: Scene, subject: Record) -> None:
    """Give a subject the key under which the control origin shows it."""
    key = next((row.key for row in _rows_of(scene, subject, REFERENCES) if row.key), None)
    if key is None:
        values = _rows_of(scene, subject, CUSTOM_VALUES)
        key = next((row.key for row in values if row.key), None)
    if key != subject.key:
        scene.store.set_key(subject, key)


def match_references(scene: Scene, noun: str, query: Mapping[str, str]) -> Predicate | None:
    """Return the filter which the reference parameters of a list make together, if any.

    Raises:
        ApiError: 400, the single ref is typed integer, or the list of refs is too long.
    """
    tests: list[Predicate] = []
    found = find_subjects(scene, noun, query)
    if found is not None:
        tests.append(lambda record: record.id in found)
    has = wanted_boolean(query, "has_external_references")
    if has is not None:
        tests.append(lambda record: bool(ids_in(record.fields, REFERENCES)) == has)
    without = query.get("without_external_reference_service_name")
    if without:
        tests.append(lambda record: not _has_service(scene, record, without))
    return (lambda record: all(test(record) for test in tests)) if tests else None


def find_subjects(scene: Scene, noun: str, query: Mapping[str, str]) -> set[str] | None:
    """Return the ids of the subjects which the reference parameters name, None without any."""
    wanted = _wanted(query)
    return None if wanted is None else _subjects(scene, noun, wanted)


def _wanted(query: Mapping[str, str]) -> dict[str, list[str]] | None:
    wanted = {name: [query[_PREFIX + name]] for name in _EXACT if query.get(_PREFIX + name)}
    single = query.get(_PREFIX + "service_model_ref")
    if single:
        if not single.isdecimal():  # section 5: typed integer; what a text does is unverified
            raise syntax(f"{_PREFIX}service_model_ref must be an integer")
        wanted["service_model_ref"] = [single]
    several = query.get(_PREFIX + "service_model_refs")
    if several:
        refs = several.split(",")
        if len(refs) > REFS_MAX:
            raise syntax(f"{_PREFIX}service_model_refs takes at most {REFS_MAX} values")
        wanted["service_model_ref"] = refs
    return wanted or None


def _subjects(scene: Scene, noun: str, wanted: Mapping[str, list[str]]) -> set[str]:
    refs = wanted.get("service_model_ref")
    rows = (
        scene.store.list(NAME)
        if refs is None
        else [row for ref in refs for row in scene.store.all_by_key(NAME, ref)]
    )
    return {
        text_in(row.fields, "subject_id")
        for row in rows
        if text_in(row.fields, "subject_type") == noun
        and all(text_in(row.fields, name) in values for name, values in wanted.items())
    }


def _has_service(scene: Scene, subject: Record, service: str) -> bool:
    rows = _rows_of(scene, subject, REFERENCES)
    return any(row.fields["service_name"] == service for row in rows)


def _put(
    scene: Scene, noun: str, subject: Record, given: Fields, prefix: str
) -> tuple[Record, bool]:
    values = _parse(given, prefix)
    now = scene.account.clock.now().isoformat()
    values["last_synced_at"] = now if values["status"] == "successful" else None
    key = text_in(values, "service_model_ref")
    for record in _rows_of(scene, subject, REFERENCES):
        if record.fields["service_name"] == values["service_name"]:
            scene.store.update(record, values)
            scene.store.set_key(record, key)
            renew_key(scene, subject)
            return record, False
    values |= {"subject_type": noun, "subject_id": subject.id}
    record = scene.store.insert(NAME, values, key)
    held = ids_in(subject.fields, REFERENCES)
    scene.store.update(subject, {REFERENCES: [*held, record.id]})
    renew_key(scene, subject)
    return record, True


def _parse(given: Fields, prefix: str) -> Fields:
    values: Fields = {}
    problems: list[Problem] = []
    for name, field in FIELDS.items():
        try:
            values[name] = parse_value(field, given.get(name, field.default))
        except BadValue as error:
            problems.append(problem(prefix + name, str(error)))
            continue
        if field.required and values[name] in (None, ""):
            problems.append(problem(prefix + name, "can't be blank"))
    if problems:
        raise ApiError(422, problems)
    return values


def _rows_of(scene: Scene, subject: Record, attribute: str) -> list[Record]:
    collection = NAME if attribute == REFERENCES else "custom_field_values"
    found = (scene.find(collection, id_) for id_ in ids_in(subject.fields, attribute))
    return [row for row in found if row is not None]
