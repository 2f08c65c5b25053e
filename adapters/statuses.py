"""What an HTTP answer means where the vendor's own translation says nothing."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, TypeAlias

import httpx

from adapters.auth import Method
from adapters.errors import (
    AdapterError,
    ContractBroken,
    Forbidden,
    Invalid,
    NotFound,
    OutcomeUnknown,
    RateLimited,
    Rejected,
    Transient,
    Unsupported,
)
from adapters.wire import JsonValue

EXCERPT_LENGTH: Final = 500


@dataclass(frozen=True)
class Answer:
    """What the vendor answered; `json` is None where the body is empty or of another type."""

    status: int
    headers: httpx.Headers
    json: JsonValue
    text: str


@dataclass(frozen=True)
class Reply(Answer):
    """An answer with an unexpected status, as a vendor's `classify` sees it."""

    operation: str
    method: Method
    path: str
    write: bool
    """The request may have had an effect."""
    retry_after_seconds: float | None = None
    """The Retry-After header, where there is a readable one."""


Classify: TypeAlias = Callable[[Reply], AdapterError | None]
"""A vendor's error translation; None leaves the answer to `default_error`.

Vendor, operation, status and request id of the error are filled in by the HTTP layer.
"""

REFUSALS: Final[dict[int, type[Rejected]]] = {
    400: Invalid,
    401: Forbidden,
    403: Forbidden,
    404: NotFound,
    405: Unsupported,
    406: Unsupported,
    410: NotFound,
    413: Invalid,
    414: Invalid,
    415: Unsupported,
    422: Invalid,
}
"""Every other 4xx is `Rejected`, but for those below."""

NOT_PROCESSED: Final = frozenset({423, 425})
"""Locked (RFC 4918) and Too Early (RFC 8470): refused for now, without effect."""

MOVED: Final = frozenset({301, 307, 308})
"""Defined as not processed here, so a wrong base URL is told at once (RFC 9110, 15.4)."""


def default_error(reply: Reply) -> AdapterError:
    """Return what the status alone says; on a write, doubt is `OutcomeUnknown`."""
    status = reply.status
    if status == httpx.codes.TOO_MANY_REQUESTS:
        return RateLimited(retry_after_seconds=reply.retry_after_seconds)
    if status in NOT_PROCESSED:
        return Transient(_said("The system refused for now", reply))
    if status in MOVED:
        return ContractBroken("The system answers at another address: check its URL.")
    if 400 <= status < 500 and status != httpx.codes.REQUEST_TIMEOUT:
        return REFUSALS.get(status, Rejected)(_said("The system refused", reply))
    if reply.write:
        return OutcomeUnknown(_said("The write may have taken effect", reply))
    if status >= 500 or status == httpx.codes.REQUEST_TIMEOUT:
        return Transient(_said("The system failed to answer", reply))
    return ContractBroken(f"The status {status} was not expected.", raw=reply.text)


def unusable(write: bool, what: str, raw: str = "") -> AdapterError:
    """Return the error for an answer that was received and cannot be used."""
    if write:
        return OutcomeUnknown(f"The write may have taken effect: {what}.")
    return ContractBroken(f"The answer cannot be used: {what}.", raw=raw)


def _said(what: str, reply: Reply) -> str:
    text = " ".join(reply.text[:EXCERPT_LENGTH].split())
    return f"{what}: {text}" if text else f"{what} with status {reply.status}."
