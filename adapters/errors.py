"""What can go wrong at a vendor, told apart by what to do next (DESIGN 3.5).

AdapterError            vendor, operation, status, vendor_code, request_id; a bounded, masked text
  Transient             nothing took effect: retried
  RateLimited           nothing took effect; carries the vendor's own delay
  OutcomeUnknown        sent, no usable answer: looked up, then repeated by key
  Rejected              parks at once
    Invalid             carries the field
    MissingMapping      carries the field
    Duplicate           carries the record that is in the way
    ClosedPeriod
    Forbidden
    Unsupported
    NotFound
    ContractBroken      carries the raw answer
  UndoRefused           carries the record that stays

The docstring of each class is its default message: it says in business words what happened and
what to change. `adapters.http` fills in vendor, operation, status and request id where an adapter
leaves them out. Only `activities/failures.py` turns these errors into Temporal failures.
"""

import inspect
from enum import StrEnum
from typing import ClassVar, Final, TypedDict, Unpack

from adapters.masking import mask

MESSAGE_LENGTH_MAX: Final = 2000
RAW_LENGTH_MAX: Final = 2000


class Reason(StrEnum):
    """Codes for search attributes and work items; never changed once released."""

    TRANSIENT = "transient"
    RATE_LIMITED = "rate_limited"
    OUTCOME_UNKNOWN = "outcome_unknown"
    REJECTED = "rejected"
    INVALID = "invalid"
    MISSING_MAPPING = "missing_mapping"
    DUPLICATE = "duplicate"
    CLOSED_PERIOD = "closed_period"
    FORBIDDEN = "forbidden"
    UNSUPPORTED = "unsupported"
    NOT_FOUND = "not_found"
    CONTRACT_BROKEN = "contract_broken"
    UNDO_REFUSED = "undo_refused"


class Facts(TypedDict, total=False):
    """Where it happened; all of it optional, since the HTTP layer fills in the rest."""

    vendor: str
    operation: str
    status: int | None
    vendor_code: str | None
    request_id: str | None


class AdapterError(Exception):
    """The connected system did not do what was asked of it."""

    reason: ClassVar[Reason] = Reason.REJECTED

    def __init__(
        self,
        message: str = "",
        *,
        vendor: str = "",
        operation: str = "",
        status: int | None = None,
        vendor_code: str | None = None,
        request_id: str | None = None,
    ) -> None:
        text = message or default_message(type(self))
        self.message = bounded(mask(text), MESSAGE_LENGTH_MAX)
        self.vendor = vendor
        self.operation = operation
        self.status = status
        self.vendor_code = vendor_code
        self.request_id = request_id
        super().__init__(self.message)

    def __str__(self) -> str:
        where = " ".join(part for part in (self.vendor, self.operation) if part)
        facts = ", ".join(
            f"{name} {value}"
            for name, value in (
                ("status", self.status),
                ("code", self.vendor_code),
                ("request", self.request_id),
            )
            if value is not None
        )
        text = f"{where}: {self.message}" if where else self.message
        # What happened may be cut; where it happened and the vendor's code are kept.
        tail = f" ({mask(facts)})" if facts else ""
        return bounded(text, MESSAGE_LENGTH_MAX - len(tail)) + tail

    def locate(
        self, *, vendor: str, operation: str, status: int | None, request_id: str | None
    ) -> None:
        """Fill in where it happened, as far as the adapter left it open."""
        self.vendor = self.vendor or vendor
        self.operation = self.operation or operation
        self.status = status if self.status is None else self.status
        self.request_id = self.request_id or request_id


def default_message(error: type[AdapterError]) -> str:
    """Return the first paragraph of the class's docstring, on one line."""
    return " ".join((inspect.getdoc(error) or "").split("\n\n")[0].split())


def bounded(text: str, length: int) -> str:
    """Return `text`, cut to `length` characters with an ellipsis."""
    return text if len(text) <= length else f"{text[: max(length - 1, 0)]}…"


# Tried again


class Transient(AdapterError):
    """The system could not be reached or was busy; nothing took effect. It is tried again."""

    reason = Reason.TRANSIENT


class RateLimited(AdapterError):
    """The system asked us to slow down; nothing took effect. It is tried again after the delay."""

    reason = Reason.RATE_LIMITED

    def __init__(
        self,
        message: str = "",
        *,
        retry_after_seconds: float | None = None,
        **facts: Unpack[Facts],
    ) -> None:
        super().__init__(message, **facts)
        self.retry_after_seconds = retry_after_seconds


class OutcomeUnknown(AdapterError):
    """The write was sent, but no usable answer came: it may have taken effect. It is looked up."""

    reason = Reason.OUTCOME_UNKNOWN


# Parked: a person changes something first


class Rejected(AdapterError):
    """The system refused, and will refuse again until something is changed."""

    reason = Reason.REJECTED


class _FieldRejected(Rejected):
    """The system refused one field."""

    def __init__(
        self,
        message: str = "",
        *,
        field: str | None = None,
        **facts: Unpack[Facts],
    ) -> None:
        super().__init__(message, **facts)
        self.field = field


class Invalid(_FieldRejected):
    """A value does not pass the system's rules. Correct the field and retry."""

    reason = Reason.INVALID


class MissingMapping(_FieldRejected):
    """No counterpart is configured for a value. Add it to the mapping and retry."""

    reason = Reason.MISSING_MAPPING


class Duplicate(Rejected):
    """A record that is not ours has the same identity. Adopt that record, or change the value."""

    reason = Reason.DUPLICATE

    def __init__(
        self,
        message: str = "",
        *,
        record_id: str | None = None,
        **facts: Unpack[Facts],
    ) -> None:
        super().__init__(message, **facts)
        self.record_id = record_id


class ClosedPeriod(Rejected):
    """The accounting period is closed or locked. Re-open it, or choose a date in an open one."""

    reason = Reason.CLOSED_PERIOD


class Forbidden(Rejected):
    """The connection's user may not do this. Check its credentials, role and permissions.

    `expired` says that the vendor means an expired session: the HTTP layer then renews the
    credentials once and repeats the call, since the refusal came before any effect.
    """

    reason = Reason.FORBIDDEN

    def __init__(
        self,
        message: str = "",
        *,
        expired: bool = False,
        **facts: Unpack[Facts],
    ) -> None:
        super().__init__(message, **facts)
        self.expired = expired


class Unsupported(Rejected):
    """The connected system cannot do this. Choose another way, or another system for this role."""

    reason = Reason.UNSUPPORTED


class NotFound(Rejected):
    """The record does not exist in the system, or the connection's user may not see it."""

    reason = Reason.NOT_FOUND


class ContractBroken(Rejected):
    """The system's answer does not have the documented form. The raw answer is kept with this."""

    reason = Reason.CONTRACT_BROKEN

    def __init__(
        self,
        message: str = "",
        *,
        raw: str = "",
        **facts: Unpack[Facts],
    ) -> None:
        super().__init__(message, **facts)
        self.raw = bounded(mask(raw), RAW_LENGTH_MAX)


# Refused undo


class UndoRefused(AdapterError):
    """The system will not undo this any more. Remove what depends on it and retry, or accept it."""

    reason = Reason.UNDO_REFUSED

    def __init__(
        self,
        message: str = "",
        *,
        record_type: str = "",
        record_id: str = "",
        **facts: Unpack[Facts],
    ) -> None:
        super().__init__(message, **facts)
        self.record_type = record_type
        self.record_id = record_id
