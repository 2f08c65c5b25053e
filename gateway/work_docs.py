"""How the OpenAPI document tells of the worklist's API, with examples."""

from typing import Any, Final

from pydantic import BaseModel
from starlette.responses import Response

from gateway.answers import Problem
from gateway.work_models import (
    Acknowledgement,
    AskedBulk,
    AskedFilter,
    Assignment,
    BulkAnswer,
    NewComment,
    WorkFile,
    WorkPage,
)

DEFS: Final = "#/components/schemas/"
PROBLEM: Final = {"application/problem+json": {"schema": {"$ref": f"{DEFS}{Problem.__name__}"}}}
COMMENT: Final = {"text": "Asked the client for the VAT id"}
ASSIGN: Final = {"to": "ines.duarte"}
ACKNOWLEDGE: Final = {"because": "The customer was deleted by hand in the ERP"}
BULK: Final = {
    "filter": {"reason": "missing_mapping", "connection": "netsuite"},
    "verb": "retry",
    "because": "The mapping is there now",
    "limit": 100,
    "dry_run": True,
}


def _problems(*statuses: int) -> dict[int | str, dict[str, Any]]:
    texts = {
        400: "No JSON.",
        401: "No token, or nobody's.",
        403: "The role of a viewer looks, and no more.",
        404: "There is no such open work: its cause may be gone.",
        405: "What is asked for is sent by another method.",
        408: "The body took too long to arrive.",
        409: "It makes no sense now, or that person may not; why, is said.",
        413: "The body is longer than 64 KB.",
        422: "No such filter or field; which, is said.",
        503: "PostgreSQL or Temporal can't be reached.",
    }
    return {each: {"description": texts[each], "content": PROBLEM} for each in statuses}


def _described(
    summary: str, operation_id: str, answer: type[BaseModel], status: int, *refused: int
) -> dict[str, Any]:
    return {
        "summary": summary,
        "operation_id": operation_id,
        "tags": ["worklist"],
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


ACTS: Final = (400, 403, 404, 408, 409, 413)
LIST: Final = _described("What waits for people, the most urgent first", "list_work", WorkPage, 200)
SHOW: Final = _described(
    "One piece of work with its comments and what can be done", "show_work", WorkFile, 200, 404, 405
)
ADD_COMMENT: Final = {
    **_described("Add a comment; it stays as it is", "comment_on_work", WorkFile, 200, *ACTS),
    **_body(NewComment, COMMENT),
}
SET_OWNER: Final = {
    **_described("Let a person see to it, or oneself", "assign_work", WorkFile, 200, *ACTS),
    **_body(Assignment, ASSIGN),
}
SEEN_TO: Final = {
    **_described(
        "Say that residue was seen to; it leaves the list", "acknowledge_work", WorkFile, 200, *ACTS
    ),
    **_body(Acknowledgement, ACKNOWLEDGE),
}
DECIDE: Final = {
    **_described(
        "Decide the same about all that matches; each is answered for itself",
        "decide_on_work",
        BulkAnswer,
        207,
        *(400, 403, 408, 409, 413),
    ),
    **_body(AskedBulk, BULK),
}
SCHEMAS: Final[dict[str, Any]] = {
    model.__name__: {
        key: each
        for key, each in model.model_json_schema(ref_template=f"{DEFS}{{model}}").items()
        if key != "$defs"
    }
    for model in (NewComment, Assignment, Acknowledgement, AskedBulk, AskedFilter)
}
