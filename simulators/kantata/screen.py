"""People who work in the vendor's own screen; they meet the same rules as the API.

Who acts is `acting_user_id` among the fields, else the person whose time, expense or timesheet it
is, else the project manager: never the integration, whose own changes a reader of the feed leaves
out.
"""

# ruff: noqa: A002 - `type` is what every vendor calls it

from collections.abc import Iterator
from contextlib import contextmanager

from simulators.kantata.approvals import ITEMS_OF, SHEETS
from simulators.kantata.catalog import CATALOG
from simulators.kantata.collection import Collection
from simulators.kantata.errors import ApiError
from simulators.kantata.references import put_inline
from simulators.kantata.scene import INTEGRATION_USER_ID, Scene
from simulators.kantata.values import Fields
from simulators.kit import Account, Effect, Record

SERVICE = "dealthread-saga"
"""Service of the reference which a record gets that a test creates with a key."""
ACTOR = "acting_user_id"
MANAGER_ID = "3"

_OF_A_PERSON = frozenset({*SHEETS, *ITEMS_OF, "time_adjustments"})


def create(account: Account, type: str, fields: Fields, key: str | None) -> Record:
    """Create an object; a key becomes an external reference."""
    collection = _collection(type)
    owner = fields.get("user_id") if type in _OF_A_PERSON else None
    with _acting(account, fields, owner) as scene:
        record = collection.create(scene, fields)
        if key is not None:
            reference: Fields = {
                "service_name": SERVICE,
                "service_model": collection.singular,
                "service_model_ref": key,
                "status": "successful",
            }
            put_inline(scene, collection.noun, record, reference)
    return record


def update(account: Account, record: Record, changes: Fields) -> Record:
    """Change an object; what only administrators of the vendor see is set as it is."""
    collection = CATALOG.get(record.type)
    if collection is None:
        return account.store.update(record, changes)
    with _acting(account, changes, None) as scene:
        left = collection.changed_by_hand(scene, record, _without_actor(changes))
        known = collection.fields if "update" in collection.can else {}
        ours = {n: v for n, v in left.items() if n in known and known[n].on_update}
        if ours or "external_reference" in left:
            collection.update(scene, record, left)
        fixed = {n: v for n, v in left.items() if n in known and n not in ours} if known else left
        if fixed:
            before = record.fields
            account.store.update(record, fixed)
            scene.note(Effect.UPDATE, record, before)
    return record


def delete(account: Account, record: Record, by: str | None = None) -> None:
    """Delete an object, unless its state forbids that."""
    owner = record.fields.get("user_id") if record.type in _OF_A_PERSON else None
    with _acting(account, {ACTOR: by}, owner) as scene:
        _collection(record.type).delete(scene, record)


@contextmanager
def _acting(account: Account, fields: Fields, owner: object) -> Iterator[Scene]:
    """Give the act of a person; a refusal is told in words.

    Raises:
        ValueError: the vendor would refuse.
    """
    for id_ in (fields.get(ACTOR), owner, MANAGER_ID):
        if id_ is not None and account.store.get("users", str(id_)) is not None:
            scene = Scene(account, CATALOG, str(id_))
            break
    else:
        scene = Scene(account, CATALOG, INTEGRATION_USER_ID)
    try:
        with scene.transaction():
            yield scene
    except ApiError as error:
        raise ValueError(str(error)) from error


def _collection(type: str) -> Collection:
    found = CATALOG.get(type)
    if found is None:
        raise ValueError(f"no collection {type!r}: there are {', '.join(CATALOG)}")
    return found


def _without_actor(fields: Fields) -> Fields:
    return {name: value for name, value in fields.items() if name != ACTOR}
