"""How the OpenAPI document tells of the worklist's API, with examples."""

from typing import Any, Final

from gateway.openapi import DEFS, Described, body
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
TEXTS: Final = {
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
_ROUTES: Final = Described("worklist", TEXTS)

ACTS: Final = (400, 403, 404, 408, 409, 413)
LIST: Final = _ROUTES.route(
    "What waits for people, the most urgent first", "list_work", WorkPage, 200
)
SHOW: Final = _ROUTES.route(
    "One piece of work with its comments and what can be done", "show_work", WorkFile, 200, 404, 405
)
ADD_COMMENT: Final = {
    **_ROUTES.route("Add a comment; it stays as it is", "comment_on_work", WorkFile, 200, *ACTS),
    **body(NewComment, COMMENT),
}
SET_OWNER: Final = {
    **_ROUTES.route("Let a person see to it, or oneself", "assign_work", WorkFile, 200, *ACTS),
    **body(Assignment, ASSIGN),
}
SEEN_TO: Final = {
    **_ROUTES.route(
        "Say that residue was seen to; it leaves the list", "acknowledge_work", WorkFile, 200, *ACTS
    ),
    **body(Acknowledgement, ACKNOWLEDGE),
}
DECIDE: Final = {
    **_ROUTES.route(
        "Decide the same about all that matches; each is answered for itself",
        "decide_on_work",
        BulkAnswer,
        207,
        *(400, 403, 408, 409, 413),
    ),
    **body(AskedBulk, BULK),
}
SCHEMAS: Final[dict[str, Any]] = {
    model.__name__: {
        key: each
        for key, each in model.model_json_schema(ref_template=f"{DEFS}{{model}}").items()
        if key != "$defs"
    }
    for model in (NewComment, Assignment, Acknowledgement, AskedBulk, AskedFilter)
}
