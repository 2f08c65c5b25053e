"""From a request to a collection: paths, root keys, bulk bodies, and the few acts beside CRUD."""

from collections.abc import Callable
from dataclasses import dataclass

from simulators.kantata import (
    approvals,
    feed,
    invitations,
    invoices,
    limits,
    submissions,
    workspaces,
)
from simulators.kantata.bodies import parse_body
from simulators.kantata.catalog import CATALOG
from simulators.kantata.collection import Collection
from simulators.kantata.errors import (
    ApiError,
    answer,
    no_route,
    not_found,
    syntax,
)
from simulators.kantata.listing import list_reply, one_reply, show_reply
from simulators.kantata.scene import Scene
from simulators.kantata.values import Fields, objects_in, text_in
from simulators.kit import Call, Record, Reply

BASE = "/api/v1/"
BULK_DELETE_MAX = 100

_BULK_DELETES = frozenset({"time_entries"})
_UPDATES = frozenset({"PUT", "PATCH"})


@dataclass(slots=True)
class Asked:
    """A request with its path taken apart."""

    scene: Scene
    call: Call
    collection: Collection

    def record(self, id_: str) -> Record:
        """Return a live record; archived ones can be written to.

        Raises:
            ApiError: 404.
        """
        found = self.scene.find(self.collection.name, id_)
        if found is None:
            raise not_found(self.collection.noun, id_)
        return found

    def body(self) -> Fields:
        """Return the object under the singular root key.

        Raises:
            ApiError: 400, it is not there.
        """
        root = parse_body(self.call).get(self.collection.singular)
        if not isinstance(root, dict):
            raise syntax(f"Missing root key: {self.collection.singular}")
        return root

    def one(self, record: Record) -> Reply:
        """Answer with one object."""
        return one_reply(self.scene, self.collection, [record], self.call.query)


def path_segments(path: str) -> list[str]:
    """Return the parts of an API path; the suffix `.json` is optional."""
    return [part for part in path.removeprefix(BASE).removesuffix(".json").split("/") if part]


async def serve(call: Call) -> Reply:
    """Answer anything under `/api/v1/`; a refusal undoes what was begun."""
    scene = Scene(call.account, CATALOG)
    try:
        with scene.transaction():
            reply = _dispatch(call, scene)
    except ApiError as error:
        return error.reply()
    for effect, record in scene.effects:
        call.effected(effect, record.key, record.type, record.id)
    return reply


def _dispatch(call: Call, scene: Scene) -> Reply:
    segments = path_segments(call.path)
    if len(segments) == 1 and segments[0] in submissions.BULK and call.method == "POST":
        return _resolve_several(call, scene, segments[0])
    collection = CATALOG.get(segments[0]) if segments else None
    if collection is None:
        raise no_route()
    is_invitation = segments[2:] == [invitations.ACTION]
    counted = f"{collection.name}/{invitations.ACTION}" if is_invitation else collection.name
    limits.count_request(call.account, call.method, counted)
    asked = Asked(scene, call, collection)
    match segments[1:]:
        case []:
            return _on_collection(asked)
        case [id_]:
            return _on_member(asked, id_)
        case [id_, action]:
            return _act(asked, id_, action)
        case _:
            raise no_route()


def _on_collection(asked: Asked) -> Reply:
    method, can = asked.call.method, asked.collection.can
    if method == "GET" and "list" in can:
        return list_reply(asked.scene, asked.collection, asked.call.query)
    if method == "POST" and "create" in can:
        return _create(asked)
    if method == "DELETE" and asked.collection.name in _BULK_DELETES:
        return _delete_several(asked)
    raise no_route()


def _on_member(asked: Asked, id_: str) -> Reply:
    scene, collection, method = asked.scene, asked.collection, asked.call.method
    special = _SPECIAL.get((method, f"{collection.name}/{id_}"))
    if special is not None:
        return special(asked)
    if method == "GET" and "show" in collection.can:
        return show_reply(scene, collection, id_, asked.call.query)
    if method in _UPDATES and "update" in collection.can:
        record = asked.record(id_)
        return asked.one(collection.update(scene, record, asked.body()))
    if method == "DELETE" and "delete" in collection.can:
        collection.delete(scene, asked.record(id_))
        return answer(204)
    raise no_route()


def _act(asked: Asked, id_: str, action: str) -> Reply:
    name = asked.collection.name
    if (asked.call.method, name, action) == ("POST", "workspaces", invitations.ACTION):
        made = invitations.invite(asked.scene, asked.record(id_), parse_body(asked.call))
        return one_reply(asked.scene, CATALOG[made.type], [made], asked.call.query)
    if asked.call.method not in _UPDATES:
        raise no_route()
    if name in approvals.ITEMS_OF and action in approvals.STATUS_OF:
        return _resolve(asked, id_, action)
    match name, action:
        case "workspaces", "apply_template":
            record = asked.record(id_)
            workspaces.apply_template(asked.scene, record, asked.body())
        case "invoices", "cancel":
            record = asked.record(id_)
            invoices.cancel_invoice(asked.scene, record)
        case _:
            raise no_route()
    return asked.one(record)


def _resolve(asked: Asked, id_: str, action: str) -> Reply:
    record = asked.record(id_)
    body = parse_body(asked.call).get("resolution")
    words = text_in(body, "description") if isinstance(body, dict) else ""
    approvals.resolve(asked.scene, record, action, words)
    return asked.one(record)


def _resolve_several(call: Call, scene: Scene, path: str) -> Reply:
    limits.count_request(call.account, call.method, path)
    body = parse_body(call).get("resolution")
    if not isinstance(body, dict):
        raise syntax("Missing root key: resolution")
    return answer(200, {"resolutions": submissions.resolve_several(scene, path, body)})


def _create(asked: Asked) -> Reply:
    """Create one object, or all or none of a bulk request."""
    collection = asked.collection
    body = parse_body(asked.call)
    if not collection.bulk_max or collection.name not in body:
        return asked.one(collection.create(asked.scene, asked.body()))
    several = body[collection.name]
    listed = list(several.values()) if isinstance(several, dict) else several
    rows = objects_in(listed)
    if not isinstance(listed, list) or len(rows) != len(listed) or not rows:
        raise syntax(f"{collection.name} must be a list of objects")
    if len(rows) > collection.bulk_max:
        raise syntax(f"{collection.name} takes at most {collection.bulk_max} objects")
    made: list[Record] = []
    refused: list[ApiError] = []
    for index, row in enumerate(rows):
        try:
            made.append(collection.create(asked.scene, row))
        except ApiError as error:
            refused.append(error.at(index))
    if refused:
        problems = [problem for error in refused for problem in error.problems]
        raise ApiError(refused[0].status, problems)
    return one_reply(asked.scene, collection, made, asked.call.query)


def _delete_several(asked: Asked) -> Reply:
    ids = [id_ for id_ in asked.call.query.get("ids", "").split(",") if id_]
    if not ids or len(ids) > BULK_DELETE_MAX:
        raise syntax(f"ids takes 1 to {BULK_DELETE_MAX} values")
    for id_ in ids:
        asked.collection.delete(asked.scene, asked.record(id_))
    return answer(204)


def _me(asked: Asked) -> Reply:
    return asked.one(asked.record(asked.scene.user_id))


def _next_invoice_number(asked: Asked) -> Reply:
    return answer(200, {"next_invoice_number": invoices.next_invoice_number(asked.scene)})


def _create_or_update(asked: Asked) -> Reply:
    return asked.one(asked.collection.create(asked.scene, asked.body()))


def _event_types(asked: Asked) -> Reply:
    asked.collection.check_list(asked.scene, asked.call.query)
    return answer(200, [*feed.EVENT_TYPES])


_SPECIAL: dict[tuple[str, str], Callable[[Asked], Reply]] = {
    ("GET", "users/me"): _me,
    ("GET", "invoices/next_invoice_number"): _next_invoice_number,
    ("GET", "subscribed_events/event_types"): _event_types,
    ("POST", "external_references/create_or_update"): _create_or_update,
}
