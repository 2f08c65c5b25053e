"""Stripe on the wire: what its errors mean.

Sources: vendor page sections 2 (idempotency), 3 (errors, rate limits).
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
    OutcomeUnknown,
    RateLimited,
    Rejected,
    Transient,
)
from adapters.http import Reply
from adapters.wire import JsonValue

VENDOR: Final = "stripe"
BUSY_SECONDS: Final = 2.0
"""There is no Retry-After (section 3)."""
REPLAYED: Final = "Idempotent-Replayed"
"""Header of a stored answer (section 1): `true`."""


class KeySpent(OutcomeUnknown):
    """Nothing more can be done by this idempotency key: an earlier call by it has ended.

    Either its failure is stored and repeated for 24 hours, or it was made with another body
    (section 2). What it left has to be looked for.
    """


IN_USE: Final = "idempotency_key_in_use"
"""An earlier attempt is still under way: to write by another key now could write twice."""
CODES: Final[Mapping[str, type[AdapterError]]] = {
    IN_USE: OutcomeUnknown,
    "lock_timeout": Transient,
    "rate_limit": RateLimited,
    "resource_already_exists": Duplicate,
}
"""Codes that say more than the status does (section 3; the list is unverified)."""
STATUSES: Final[Mapping[int, type[AdapterError]]] = {
    400: Invalid,
    401: Forbidden,
    402: Rejected,
    403: Forbidden,
    404: NotFound,
    429: RateLimited,
}
"""Of an answer in Stripe's own form (section 3). A 409 of another code is as vague as a 5xx."""


def classify(answer: Reply) -> AdapterError | None:
    """Return what an error answer of Stripe means, or None to leave it to the status."""
    detail = _detail(answer.json)
    if not detail:
        # A wrong address must never read as "this record is gone": an undo would believe it.
        wrong = "Something else than Stripe answers here."
        return ContractBroken(wrong, raw=answer.text) if answer.status == 404 else None
    text, kind_ = _text(detail.get("message")), _text(detail.get("type"))
    code = _text(detail.get("code")) or kind_
    if is_replayed(answer.headers) or (kind_ == "idempotency_error" and code != IN_USE):
        return KeySpent(text, vendor_code=code)
    kind = CODES.get(code) or STATUSES.get(answer.status)
    if kind is RateLimited:
        wait = answer.retry_after_seconds or BUSY_SECONDS
        return RateLimited(text, vendor_code=code, retry_after_seconds=wait)
    if kind is Invalid:
        return Invalid(text, vendor_code=code, field=_text(detail.get("param")) or None)
    if kind is OutcomeUnknown and not answer.write:
        kind = Transient
    if kind is None and answer.status == 409:
        kind = OutcomeUnknown if answer.write else Transient
    return kind(text, vendor_code=code) if kind else None


def is_replayed(headers: Mapping[str, str]) -> bool:
    """Return whether this is the stored answer of an earlier call."""
    return headers.get(REPLAYED, "").lower() == "true"


def _detail(body: JsonValue) -> Mapping[str, JsonValue]:
    error = body.get("error") if isinstance(body, dict) else None
    return error if isinstance(error, dict) else {}


def _text(value: JsonValue) -> str:
    return value if isinstance(value, str) else ""
