"""Kantata on the wire: the envelope, and what its errors mean.

Sources: vendor page sections 3 (response envelope), 4 (errors).
"""

from collections.abc import Mapping
from typing import Final

from adapters.errors import (
    AdapterError,
    ContractBroken,
    Duplicate,
    Forbidden,
    Invalid,
    NotFound,
    RateLimited,
)
from adapters.http import Answer, Reply

VENDOR: Final = "kantata"
BUSY_SECONDS: Final = 2.0
"""There is no Retry-After (section 4)."""
TAKEN: Final = "already"
"""Part of the text by which a unique field refuses a second value (unverified)."""

Row = Mapping[str, object]


def classify(answer: Reply) -> AdapterError | None:
    """Return what an error answer of Kantata means, or None to leave it to the status."""
    error = _first(answer.json)
    if error is None:
        return None
    kind, text = str(error.get("type", "")), str(error.get("message", ""))
    field = error.get("field")
    if answer.status == 429:
        return RateLimited(text, vendor_code=kind, retry_after_seconds=BUSY_SECONDS)
    if answer.status == 404:
        return NotFound(text, vendor_code=kind)
    if answer.status == 403:
        return Forbidden(text, vendor_code=kind)
    if answer.status == 422 and TAKEN in text.lower():
        return Duplicate(text, vendor_code=kind)
    if answer.status in {400, 422}:
        return Invalid(text, vendor_code=kind, field=str(field) if field else None)
    return None


def _first(body: object) -> Row | None:
    errors = body.get("errors") if isinstance(body, Mapping) else None
    if isinstance(errors, list) and errors and isinstance(errors[0], Mapping):
        return errors[0]
    return None


def rows(answer: Answer) -> list[Row]:
    """Return the objects of an answer in the order of its `results` (section 3).

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
    return found


def included(answer: Answer, collection: str) -> dict[str, Row]:
    """Return the included objects of one kind by id; an empty one where there are none."""
    body = answer.json
    objects = body.get(collection) if isinstance(body, Mapping) else None
    if not isinstance(objects, Mapping):
        return {}
    return {id_: row for id_, row in objects.items() if isinstance(row, Mapping)}
