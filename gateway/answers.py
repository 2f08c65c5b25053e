"""Answers to those that send JSON: what was received, or an RFC 9457 problem."""

from collections.abc import Sequence
from http import HTTPStatus
from typing import Annotated, Final

from pydantic import BaseModel, Field
from starlette.responses import Response

from gateway.deliveries import Refusal
from store.inbox import NewEvent

RETRY_AFTER_SECONDS: Final = 5
"""What a sender is asked to wait while the inbox can't be reached."""
CLOSES: Final = frozenset({408, 413})
"""What is left of these bodies is not read."""


class Received(BaseModel):
    """The events are in the inbox: now, or since an earlier delivery of them."""

    received: Annotated[list[str], Field(examples=[["evt_1QxT2eLkdIwHu7ix"]])]
    """Their ids."""


class Problem(BaseModel):
    """Why nothing was taken (RFC 9457)."""

    title: Annotated[str, Field(examples=["Unauthorized"])]
    status: Annotated[int, Field(examples=[401])]
    detail: Annotated[str, Field(examples=["The signature is not that of the body."])]
    reason: Annotated[str, Field(examples=["wrong_signature"])]
    """A code for programs."""


def received(events: Sequence[NewEvent]) -> Response:
    """Return 202 with the ids."""
    body = Received(received=[event.event_id for event in events]).model_dump_json()
    return Response(body, 202, media_type="application/json")


def problem(refusal: Refusal) -> Response:
    """Return a problem document."""
    body = Problem(
        title=HTTPStatus(refusal.status).phrase,
        status=refusal.status,
        detail=refusal.detail,
        reason=refusal.reason,
    ).model_dump_json()
    return Response(body, refusal.status, headers(refusal), media_type="application/problem+json")


def headers(refusal: Refusal) -> dict[str, str]:
    """Return what goes with a refusal beside its body."""
    if refusal.status == HTTPStatus.SERVICE_UNAVAILABLE:
        return {"Retry-After": str(RETRY_AFTER_SECONDS)}
    if refusal.status in CLOSES:
        return {"Connection": "close"}
    return {}
