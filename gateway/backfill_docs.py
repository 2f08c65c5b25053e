"""How the OpenAPI document tells of the API of backfills, with examples."""

from typing import Any, Final

from gateway.backfill_models import (
    BackfillList,
    BackfillStarted,
    NewBackfill,
    NewRate,
    RecordPage,
    ShownBackfill,
)
from gateway.openapi import DEFS, Described, body

NEW: Final = {
    "kind": "opportunities",
    "since": "2026-01-01",
    "until": "2026-10-31",
    "where": "Legal_Entity__c = 'US'",
    "rate": "5",
    "in_flight_max": 20,
}
FASTER: Final = {"rate": "10", "in_flight_max": 40}
TEXTS: Final = {
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
_ROUTES: Final = Described("backfills", TEXTS)

LIST: Final = _ROUTES.route("Backfills, the newest first", "list_backfills", BackfillList, 200)
SHOW: Final = _ROUTES.route("How a backfill stands", "show_backfill", ShownBackfill, 200, 404)
RECORDS: Final = _ROUTES.route(
    "What became of each record", "list_backfill_records", RecordPage, 200, 404
)
START: Final = {
    **_ROUTES.route(
        "Start a backfill; a condition that the source refuses ends it as `failed`",
        "start_backfill",
        BackfillStarted,
        202,
        *(400, 403, 408, 409, 413),
    ),
    **body(NewBackfill, NEW),
}
STEER: Final = (403, 404, 409)
PAUSE: Final = _ROUTES.route(
    "Start nothing more until it is resumed", "pause_backfill", ShownBackfill, 200, *STEER
)
RESUME: Final = _ROUTES.route(
    "Go on where it was paused", "resume_backfill", ShownBackfill, 200, *STEER
)
CANCEL: Final = _ROUTES.route(
    "Start nothing more, for good; what runs goes on", "cancel_backfill", ShownBackfill, 200, *STEER
)
PACE: Final = {
    **_ROUTES.route(
        "Make it faster or slower",
        "change_backfill_rate",
        ShownBackfill,
        200,
        *(400, *STEER, 408, 413),
    ),
    **body(NewRate, FASTER),
}
SCHEMAS: Final[dict[str, Any]] = {
    NewBackfill.__name__: NewBackfill.model_json_schema(ref_template=DEFS + "{model}"),
    NewRate.__name__: NewRate.model_json_schema(ref_template=DEFS + "{model}"),
}
"""What the bodies name, beside what the answers' models bring."""
