"""How the OpenAPI document tells of the billing queue's API, with examples."""

from typing import Any, Final

from starlette.responses import Response

from gateway.openapi import DEFS, problems
from gateway.queue_models import (
    RELEASES_MAX,
    ActAnswer,
    AskedRelease,
    DraftList,
    ReleaseResults,
    ShownDraft,
    act_schema,
)

HASH: Final = "9f2c1e7ab04d5c3388d1a6e0f7b92c4455e6d7f8091a2b3c4d5e6f708192a3b4"
DRAFT: Final = "invoice-draft/US/6001/USD/project:5001/2026-11/1"
ANSWER: Final = {
    "draft": DRAFT,
    "taken": False,
    "reasons": ["maya.chen prepared it, and somebody else has to release it"],
    "state": "queued",
    "content_hash": HASH,
    "posting": 0,
    "made": [],
    "ended": [],
}
ACTS: Final = {
    "release": {"act": "release", "content_hash": HASH},
    "review": {"act": "review"},
    "edit": {"act": "edit", "line": 1, "narrative": "Advice on the ledger migration"},
    "hold": {"act": "hold", "lines": [2], "because": "the client asks for the timesheet"},
    "write_down": {
        "act": "write_down",
        "line": 2,
        "amount": {"amount": "150.00", "currency": "USD"},
        "because": "agreed with the client",
    },
    "reject": {"act": "reject", "because": "there is no client PO yet", "hold": True},
}
RELEASES: Final = [{"draft": DRAFT, "content_hash": HASH}]
ACT_SCHEMA, ACT_SCHEMAS = act_schema(DEFS)
KEY: Final = {
    "name": "Idempotency-Key",
    "in": "header",
    "required": False,
    "schema": {"type": "string", "pattern": "^[!-~]{1,64}$"},
    "description": "The same request again with the same key is answered the same and done once.",
    "example": "4f1f6d3e-release",
}
TEXTS: Final = {
    400: "No JSON, or no key.",
    401: "No token, or nobody's.",
    403: "The role of a viewer looks, and no more.",
    404: "There is no such draft.",
    405: "What is asked for is sent by POST.",
    408: "The body took too long to arrive.",
    413: "The body is longer than 256 KB.",
    422: "No such filter, or no such act; which field, is said.",
    503: "PostgreSQL or Temporal can't be reached, or nobody answered in time.",
}


def _body(schema: dict[str, Any], **example: object) -> dict[str, Any]:
    content = {"application/json": {"schema": schema, **example}}
    return {"parameters": [KEY], "requestBody": {"required": True, "content": content}}


ACTED: Final[dict[str, Any]] = {"application/json": {"example": ANSWER}}
LIST: Final[dict[str, Any]] = {
    "summary": "Drafts, oldest first; without a state, those in review and in the queue",
    "operation_id": "list_drafts",
    "tags": ["billing queue"],
    "response_class": Response,
    "responses": {200: {"model": DraftList}, **problems(TEXTS, 401, 422, 503)},
}
SHOW: Final[dict[str, Any]] = {
    "summary": "A draft with its lines, its preparers and what blocks it",
    "operation_id": "show_draft",
    "tags": ["billing queue"],
    "response_class": Response,
    "responses": {200: {"model": ShownDraft}, **problems(TEXTS, 401, 404, 405, 422, 503)},
}
ACT: Final[dict[str, Any]] = {
    "summary": "Act on a draft; who acts is who the token says",
    "operation_id": "act_on_draft",
    "tags": ["billing queue"],
    "response_class": Response,
    "responses": {
        200: {"model": ActAnswer, "description": "Taken."},
        409: {"model": ActAnswer, "description": "Refused; every reason.", "content": ACTED},
        **problems(TEXTS, 400, 401, 403, 404, 408, 413, 422, 503),
    },
    "openapi_extra": _body(
        ACT_SCHEMA, examples={name: {"value": act} for name, act in ACTS.items()}
    ),
}
RELEASE: Final[dict[str, Any]] = {
    "summary": "Release drafts exactly as they were looked at; each is answered for itself",
    "operation_id": "release_drafts",
    "tags": ["billing queue"],
    "response_class": Response,
    "responses": {
        207: {"model": ReleaseResults, "description": "A result for each, in the same order."},
        **problems(TEXTS, 400, 401, 403, 408, 413, 422, 503),
    },
    "openapi_extra": _body(
        {
            "type": "array",
            "minItems": 1,
            "maxItems": RELEASES_MAX,
            "items": {"$ref": f"{DEFS}{AskedRelease.__name__}"},
        },
        example=RELEASES,
    ),
}
SCHEMAS: Final[dict[str, Any]] = {
    **ACT_SCHEMAS,
    AskedRelease.__name__: AskedRelease.model_json_schema(),
}
"""What the bodies name, beside what the answers' models bring."""
