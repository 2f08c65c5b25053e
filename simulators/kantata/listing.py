"""Reading: filters, order, pages, includes, and the envelope of every answer (section 3)."""

import math
from collections.abc import Iterable, Mapping, Sequence

from simulators.kantata.collection import Collection
from simulators.kantata.errors import answer, not_found
from simulators.kantata.filters import COMMON, Predicate, containing, hides_nothing
from simulators.kantata.references import find_subjects, match_references
from simulators.kantata.scene import Scene
from simulators.kantata.values import Fields
from simulators.kit import JsonValue, Record, Reply

PAGE_SIZE = 20
PAGE_SIZE_MAX = 200

Query = Mapping[str, str]


def list_reply(scene: Scene, collection: Collection, query: Query) -> Reply:
    """Answer `GET /{collection}`."""
    collection.check_list(scene, query)
    found = _ordered(collection, _select(scene, collection, query), query)
    found = collection.arranged(scene, found, query)
    page, number, size = _page(found, query)
    return envelope(scene, collection, page, query, len(found), number, size)


def show_reply(scene: Scene, collection: Collection, id_: str, query: Query) -> Reply:
    """Answer `GET /{collection}/{id}`; what default filters hide is not found."""
    record = scene.store.get(collection.name, id_, dead=collection.sees_deleted(query))
    hides = collection.hidden(scene, query)
    if record is None or hides(record):
        raise not_found(collection.noun, id_)
    return one_reply(scene, collection, [record], query)


def one_reply(
    scene: Scene, collection: Collection, records: Sequence[Record], query: Query
) -> Reply:
    """Answer with objects which were just read or written, in the order of the request."""
    return envelope(scene, collection, records, query, len(records), 1, max(20, len(records)))


def envelope(
    scene: Scene,
    collection: Collection,
    records: Sequence[Record],
    query: Query,
    count: int,
    page_number: int,
    page_size: int,
) -> Reply:
    """Return keyed results; a requested include always has its map, empty or not."""
    includes = [name for name in _names(query, "include") if _target(collection, name)]
    hidden = collection.optional - set(_names(query, "optional_fields"))
    maps: dict[str, dict[str, JsonValue]] = {collection.name: {}}
    for record in records:
        shown = collection.show(scene, record, includes)
        maps[collection.name][record.id] = _without(shown, hidden)
    for include in includes:
        _include(scene, collection, records, include, maps)
    if collection.has_subject and "subject" in _names(query, "include"):
        _include_subjects(scene, records, maps)
    body: Fields = {
        "count": count,
        "results": [{"key": collection.name, "id": record.id} for record in records],
        **maps,
        "meta": {
            "count": count,
            "page_count": math.ceil(count / page_size),
            "page_number": page_number if count else 0,
            "page_size": page_size,
        },
    }
    return answer(200, body)


def _include(
    scene: Scene,
    collection: Collection,
    records: Sequence[Record],
    include: str,
    maps: dict[str, dict[str, JsonValue]],
) -> None:
    target = scene.catalog[_target(collection, include)]
    shown = maps.setdefault(target.name, {})
    for record in records:
        for id_ in collection.linked(scene, record, include):
            row = None if id_ in shown else scene.find(target.name, id_)
            if row is not None:
                shown[id_] = _without(target.show(scene, row, ()), target.optional)


def _include_subjects(
    scene: Scene, records: Sequence[Record], maps: dict[str, dict[str, JsonValue]]
) -> None:
    for record in records:
        noun, id_ = str(record.fields["subject_type"]), str(record.fields["subject_id"])
        row = scene.subject(noun, id_)
        if row is not None and id_ not in maps.setdefault(row.type, {}):
            target = scene.catalog[row.type]
            maps[row.type][id_] = _without(target.show(scene, row, ()), target.optional)


def _target(collection: Collection, include: str) -> str:
    """Return the collection of the objects of an include, empty where there is no such include."""
    return {**collection.one, **collection.all_many}.get(include, ("", ""))[1]


def _without(shown: Fields, hidden: Iterable[str]) -> Fields:
    for name in hidden:
        shown.pop(name, None)
    return shown


def _select(scene: Scene, collection: Collection, query: Query) -> list[Record]:
    tests: list[Predicate] = []
    for name, value in query.items():
        make = collection.filters.get(name) or COMMON.get(name)
        if make is not None:
            tests.append(make(scene, value))
    if "only" in query:
        wanted = frozenset(_names(query, "only"))
        tests.append(lambda record: record.id in wanted)
    if query.get("search") and collection.search_fields:
        tests.append(containing(*collection.search_fields)(scene, query["search"]))
    references = match_references(scene, collection.noun, query)
    if references is not None:
        tests.append(references)
    hides = collection.hidden(scene, query)
    if hides is not hides_nothing:
        tests.append(lambda record: not hides(record))
    rows = _candidates(scene, collection, query)
    for test in tests:
        rows = [row for row in rows if test(row)]
    return rows


def _candidates(scene: Scene, collection: Collection, query: Query) -> list[Record]:
    """Return the rows to start from; indexes serve only while no stale search hides anything."""
    store = scene.store
    if collection.sees_deleted(query):
        return [row for row in store.everything() if row.type == collection.name]
    if not collection.is_stored:
        return collection.candidates(scene, query) or []
    if not store.veils:
        ids = _ids_asked_for(scene, collection, query)
        if ids is not None:
            found = (store.get(collection.name, id_) for id_ in ids)
            return sorted((row for row in found if row is not None), key=lambda row: row.seq)
        rows = collection.candidates(scene, query)
        if rows is not None:
            return rows
    return store.list(collection.name, search=True)


def _ids_asked_for(scene: Scene, collection: Collection, query: Query) -> set[str] | None:
    if "only" in query:
        return set(_names(query, "only"))
    return find_subjects(scene, collection.noun, query)


def _ordered(collection: Collection, rows: list[Record], query: Query) -> list[Record]:
    """Return rows in the wanted order; an unknown one leaves the default, `updated_at:desc`.

    The default itself is unverified.
    """
    field, _, direction = query.get("order", "").partition(":")
    is_known = field in ("id", "created_at", "updated_at") or field in collection.orders
    if not is_known:
        field, direction = "updated_at", "desc"
    rows = sorted(rows, key=lambda row: row.seq)
    match field:
        case "id":
            rows.sort(key=lambda row: int(row.id) if row.id.isdecimal() else 0)
        case "created_at":
            pass  # as they were made
        case "updated_at":
            rows.sort(key=lambda row: row.modified_at)
        case _:
            rows.sort(key=lambda row: _sortable(row.fields.get(field)))
    return rows[::-1] if direction == "desc" else rows


def _sortable(value: JsonValue) -> tuple[float, str]:
    if isinstance(value, int | float):
        return float(value), ""
    return 0.0, "" if value is None else str(value)


def _page(rows: list[Record], query: Query) -> tuple[list[Record], int, int]:
    """Return a page, its number and size; `limit` and `offset` together replace page numbers."""
    if "limit" in query and "offset" in query:
        size = min(max(_number(query, "limit", PAGE_SIZE), 1), PAGE_SIZE_MAX)
        first = max(_number(query, "offset", 0), 0)
        return rows[first : first + size], first // size + 1, size
    size = _number(query, "per_page", PAGE_SIZE)
    size = min(size, PAGE_SIZE_MAX) if size >= 1 else PAGE_SIZE
    number = max(_number(query, "page", 1), 1)
    first = (number - 1) * size
    return rows[first : first + size], number, size


def _number(query: Query, name: str, default: int) -> int:
    text = query.get(name, "")
    return int(text) if text.removeprefix("-").isdecimal() else default


def _names(query: Query, name: str) -> list[str]:
    return [part.strip() for part in query.get(name, "").split(",") if part.strip()]
