"""How the OpenAPI document tells of the API of backfills, with examples."""

from typing import Any, Final

from pydantic import BaseModel
from starlette.responses import Response

from gateway.answers import Problem
from gateway.backfill_models import (
    BackfillList,
    BackfillStarted,
    NewBackfill,
    NewRate,
    RecordPage,
    ShownBackfill,
)

DEFS: Final = "#/components/schemas/"
PROBLEM: Final = {"application/problem+json": {"schema": {"$ref": f"{DEFS}{Problem.__name__}"}}}
NEW: Final = {
    "kind": "opportunities",
    "since": "2026-01-01",
    "until": "2026-10-31",
    "where": "Legal_Entity__c = 'US'",
    "rate": "5",
    "in_flight_max": 20,
}
FASTER: Final = {"rate": "10", "in_flight_max": 40}


def _problems(*statuses: int) -> dict[int | str, dict[str, Any]]:
    texts = {
        400: "No JSON.",
        401: "No token, or nobody's.",
        403: "Backfills are for the roles operator and admin.",
        404: "There is no such backfill.",
        405: "What is asked for is sent by POST.",
        408: "The body took too long to arrive.",
        409: "It makes no sense now; why, is said.",
        413: "The body is longer than 16 KB.",
        422: "No such field; which, is said.",
        503: "PostgreSQL or Temporal can't be reached, or nobody answered in time.",
    }
    return {each: {"description": texts[each], "content": PROBLEM} for each in statuses}


def _described(
    summary: str, operation_id: str, answer: type[BaseModel], status: int, *refused: int
) -> dict[str, Any]:
    return {
        "summary": summary,
        "operation_id": operation_id,
        "tags": ["backfills"],
        "response_class": Response,
        "responses": {status: {"model": answer}, **_problems(401, 422, 503, *refused)},
    }


def _body(model: type[BaseModel], example: object) -> dict[str, Any]:
    content = {"schema": {"$ref": f"{DEFS}{model.__name__}"}, "example": example}
    return {
        "openapi_extra": {
            "requestBody": {"required": True, "content": {"application/json": content}}
        }
    }


LIST: Final = _described("Backfills, the newest first", "list_backfills", BackfillList, 200)
SHOW: Final = _described("How a backfill stands", "show_backfill", ShownBackfill, 200, 404)
RECORDS: Final = _described(
    "What became of each record", "list_backfill_records", RecordPage, 200, 404
)
START: Final = {
    **_described(
        "Start a backfill; a condition that the source refuses ends it as `failed`",
        "start_backfill",
        BackfillStarted,
        202,
        *(400, 403, 408, 409, 413),
    ),
    **_body(NewBackfill, NEW),
}
STEER: Final = (403, 404, 409)
PAUSE: Final = _described(
    "Start nothing more until it is resumed", "pause_backfill", ShownBackfill, 200, *STEER
)
RESUME: Final = _described(
    "Go on where it was paused", "resume_backfill", ShownBackfill, 200, *STEER
)
CANCEL: Final = _described(
    "Start nothing more, for good; what runs goes on", "cancel_backfill", ShownBackfill, 200, *STEER
)
PACE: Final = {
    **_described(
        "Make it faster or slower",
        "change_backfill_rate",
        ShownBackfill,
        200,
        *(400, *STEER, 408, 413),
    ),
    **_body(NewRate, FASTER),
}
SCHEMAS: Final[dict[str, Any]] = {
    NewBackfill.__name__: NewBackfill.model_json_schema(ref_template=DEFS + "{model}"),
    NewRate.__name__: NewRate.model_json_schema(ref_template=DEFS + "{model}"),
}
"""What the bodies name, beside what the answers' models bring."""
