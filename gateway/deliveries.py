"""What a sender delivers, how it is refused, and what reads it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from starlette.responses import Response

from store.inbox import NewEvent


@dataclass(frozen=True, slots=True)
class Delivery:
    """One HTTP request, its body read within the limit."""

    connection: str
    media_type: str
    """Of the content type: in small letters, without parameters."""
    headers: Mapping[str, str]
    """By name in small letters."""
    query: Mapping[str, str]
    body: bytes


class Refusal(Exception):
    """A delivery is not taken: nothing of it is kept."""

    def __init__(self, status: int, reason: str, detail: str) -> None:
        super().__init__(detail)
        self.status = status
        """HTTP status."""
        self.reason = reason
        """A code, never changed once released."""
        self.detail = detail
        """What to change, in a sentence. Nothing of what was sent stands in it."""


class Receiver(Protocol):
    """Reads what one connection sends."""

    media_types: frozenset[str]
    body_limit: int
    """Bytes."""

    def read(self, delivery: Delivery) -> Sequence[NewEvent]:
        """Return the events of a delivery, once its sender has proved who it is.

        Raises:
            Refusal: it is not to be taken, and why.
        """

    def accepted(self, events: Sequence[NewEvent]) -> Response:
        """Return the answer that makes the sender forget the events; it says the same twice."""

    def refused(self, refusal: Refusal) -> Response:
        """Return the answer from which the sender learns that nothing was taken."""


def invalid(detail: str, reason: str = "invalid") -> Refusal:
    """Return the refusal of content that makes no sense, whoever sent it."""
    return Refusal(400, reason, detail)
