"""Kantata on the wire: the envelope of its answers, and what its errors mean.

Sources: vendor page sections 3 (response envelope), 4 (errors).
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from adapters.errors import (
    AdapterError,
    ContractBroken,
    Duplicate,
    Forbidden,
    Invalid,
    NotFound,
    OutcomeUnknown,
    RateLimited,
)
from adapters.http import Answer, Reply

VENDOR: Final = "kantata"
BUSY_SECONDS: Final = 2.0
"""There is no Retry-After (section 4); the page advises 1 to 60 s."""
STATUSES: Final[Mapping[int, type[AdapterError]]] = {
    400: Invalid,
    401: Forbidden,
    403: Forbidden,
    404: NotFound,
    422: Invalid,
    429: RateLimited,
}
"""Statuses with a body of errors (section 4). 500, 502 and 503 say nothing about the effect: the
HTTP layer tells writes from reads."""
TAKEN: Final = "already been taken"
"""Words by which Kantata refuses a second value of a unique field (unverified)."""
LABELS: Final = frozenset({"name", "title"})
"""Fields that people choose; names of workspace groups are unique (their POST's documentation)."""

Row = Mapping[str, object]


def classify(answer: Reply) -> AdapterError | None:
    """Return what an error answer of Kantata means, or None to leave it to the status."""
    errors = _errors(answer.json)
    if not errors:
        # A wrong address must never read as "this record is gone": an undo would believe it.
        wrong = "Something else than Kantata answers here."
        return ContractBroken(wrong, raw=answer.text) if answer.status == 404 else None
    kind = STATUSES.get(answer.status)
    if kind is None:
        return None
    code = str(errors[0].get("type", ""))
    text = " ".join(str(each.get("message", "")) for each in errors)
    if kind is RateLimited:
        wait = answer.retry_after_seconds or BUSY_SECONDS
        return RateLimited(text, vendor_code=code, retry_after_seconds=wait)
    if kind is Invalid and any(TAKEN in str(each.get("message", "")).lower() for each in errors):
        return _taken(text, code, {_field(each) for each in errors})
    if kind is Invalid:
        return Invalid(text, vendor_code=code, field=_field(errors[0]))
    return kind(text, vendor_code=code)


def _taken(text: str, code: str, fields: set[str | None]) -> AdapterError:
    """Return what a value that is taken means: a name is someone else's, our key is our own.

    The record with our key is there, though a look has just missed it: it is looked for again
    (DESIGN 3.5: only a duplicate that does not carry our key is rejected).
    """
    if fields & LABELS:
        return Duplicate(text, vendor_code=code)
    return OutcomeUnknown(
        f"A record with our key is there already, though it was not found: {text}",
        vendor_code=code,
    )


def _field(error: Row) -> str | None:
    name = error.get("field")
    return name if isinstance(name, str) and name else None


def _errors(body: object) -> list[Row]:
    errors = body.get("errors") if isinstance(body, Mapping) else None
    return (
        [each for each in errors if isinstance(each, Mapping)] if isinstance(errors, list) else []
    )


@dataclass(frozen=True)
class Listing:
    """The objects of an answer in the order of its `results`, and those it includes."""

    rows: tuple[Row, ...]
    count: int
    """How many there are on the server, on all pages."""
    maps: Mapping[str, object]
    refs: Mapping[str, str] = field(default_factory=dict)
    """Id of an object -> our reference on it, where it was looked for by reference."""
    _by_id: dict[str, Mapping[str, Row]] = field(default_factory=dict, compare=False, repr=False)
    """Collections asked for before: each row of 200 asks for the same five."""

    def included(self, collection: str) -> Mapping[str, Row]:
        """Return the objects of one collection by id, the primary ones too; {} without any."""
        known = self._by_id.get(collection)
        if known is None:
            objects = self.maps.get(collection)
            rows = objects.items() if isinstance(objects, Mapping) else ()
            known = {str(id_): row for id_, row in rows if isinstance(row, Mapping)}
            self._by_id[collection] = known
        return known


def listing(answer: Answer) -> Listing:
    """Return the objects of an answer (section 3: iterate `results`, never the map).

    Raises:
        ContractBroken: the envelope is not as documented.
    """
    body = answer.json
    results = body.get("results") if isinstance(body, Mapping) else None
    if not isinstance(body, Mapping) or not isinstance(results, list):
        raise ContractBroken("Kantata answered without results.", raw=answer.text)
    found: list[Row] = []
    for each in results:
        named = each if isinstance(each, Mapping) else {}
        objects = body.get(str(named.get("key")))
        row = objects.get(str(named.get("id"))) if isinstance(objects, Mapping) else None
        if not isinstance(row, Mapping):
            raise ContractBroken("Kantata names a result that it does not send.", raw=answer.text)
        found.append(row)
    count = body.get("count")
    return Listing(tuple(found), count if isinstance(count, int) else len(found), body)


def id_of(row: Row) -> str:
    """Return an object's id.

    Raises:
        ContractBroken: it has none.
    """
    value = row.get("id")
    if not isinstance(value, str | int) or isinstance(value, bool) or value == "":
        raise ContractBroken("Kantata sent an object without an id.")
    return str(value)
