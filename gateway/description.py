"""The OpenAPI document of the gateway: what is sent, what is answered, with examples."""

from collections.abc import Sequence
from typing import Any, Final

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from starlette.responses import Response

from gateway.answers import Problem, Received
from gateway.backfill_docs import SCHEMAS as BACKFILL_SCHEMAS
from gateway.openapi import PROBLEM
from gateway.queue_docs import SCHEMAS as QUEUE_SCHEMAS
from gateway.salesforce import ANSWER
from gateway.work_docs import SCHEMAS as WORK_SCHEMAS

DESCRIPTION: Final = """
Events in. Each is in the inbox before it is answered; sent twice, it gets the same answer and
counts once. What a sender may send at `/events/{connection}` depends on its kind:

| kind | content type | proof |
| --- | --- | --- |
| Stripe's webhooks | `application/json` | `Stripe-Signature` |
| Salesforce's outbound messages | `text/xml` (SOAP) | `key` in the address, organisation id |
| CloudEvents 1.0, structured | `application/cloudevents+json` | `Dealthread-Signature` |
| CloudEvents 1.0, binary | `application/json` and `ce-` headers | `Dealthread-Signature` |

Salesforce's messages are answered, and refused, with its own `Ack` in `text/xml`.

The billing queue: drafts of invoices, below `/queue`. People of `dealthread.toml` sign in with a
bearer token of their own. Every act is answered at once: taken, or refused with all reasons.

The worklist: all that waits for people, below `/worklist`, with owners, comments and one decision
over many.

The key figures, below `/kpis`, and what keeps a period from being closed, at `/close`.
"""

ACK_FALSE: Final = {
    "text/xml": {"schema": {"type": "string"}, "example": ANSWER.format(ack="false")}
}
CLOUDEVENT: Final = {
    "specversion": "1.0",
    "id": "7c5b0a3e",
    "source": "/psa/approvals",
    "type": "com.dealthread.entries.changed",
    "time": "2026-11-21T12:00:00Z",
    "data": {"project": "48213", "entries": ["time:90112", "expense:551"]},
}
STRIPE: Final = {
    "id": "evt_1QxT2eLkdIwHu7ix",
    "object": "event",
    "type": "invoice.paid",
    "data": {"object": {"id": "in_1QxT2eLkdIwHu7ix", "object": "invoice"}},
}
OUTBOUND: Final = """<?xml version="1.0" encoding="UTF-8"?>
<soapenv:Envelope xmlns:soapenv="http://schemas.xmlsoap.org/soap/envelope/"
 xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance"><soapenv:Body>
<notifications xmlns="http://soap.sforce.com/2005/09/outbound">
<OrganizationId>00D000000000001EAA</OrganizationId><ActionId>04k000000000001AAA</ActionId>
<Notification><Id>04l000000000001AAA</Id>
<sObject xsi:type="sf:Opportunity" xmlns:sf="urn:sobject.enterprise.soap.sforce.com">
<sf:Id>006000000000001AAA</sf:Id></sObject></Notification>
</notifications></soapenv:Body></soapenv:Envelope>"""


def _error(text: str, *, content: bool = True) -> dict[str, Any]:
    return {"description": text, "content": (PROBLEM | ACK_FALSE) if content else PROBLEM}


REFUSALS: Final[dict[int, dict[str, Any]]] = {
    400: _error("Cut off, no JSON or XML, NaN, or not what the kind sends."),
    401: _error("No signature, a wrong or stale one; a wrong key or organisation."),
    404: _error("No such connection sends events here.", content=False),
    408: _error("The body took too long to arrive."),
    413: _error("The body is longer than the connection's limit, 1 MB by default."),
    415: _error("Another content type, or a compressed body."),
    503: _error("The inbox can't be reached: send it again.")
    | {"headers": {"Retry-After": {"schema": {"type": "integer"}, "description": "Seconds."}}},
}
SIGNATURES: Final = [
    {
        "name": name,
        "in": "header",
        "required": False,
        "schema": {"type": "string"},
        "description": f"`t=<unix seconds>,v1=<hex>`; of {whose}.",
        "example": "t=1795262400,v1=5257a869e7ecebeda32affa62cdca3fa51cad7e77a",
    }
    for name, whose in (
        ("Stripe-Signature", "Stripe"),
        ("Dealthread-Signature", "CloudEvents: see docs/howto/send-events.md"),
    )
]
EVENTS: Final[dict[str, Any]] = {
    "summary": "Take what a connected system tells",
    "operationId": "receive_events",
    "responses": {
        "200": {
            "description": "Salesforce: the whole message is in the inbox.",
            "content": {
                "text/xml": {"schema": {"type": "string"}, "example": ANSWER.format(ack="true")}
            },
        },
        "202": {
            "description": "The event is in the inbox, be it from an earlier delivery.",
            "content": {"application/json": {"schema": {"$ref": "#/components/schemas/Received"}}},
        },
        **{str(status): refusal for status, refusal in REFUSALS.items()},
    },
    "parameters": [
        *SIGNATURES,
        {
            "name": "key",
            "in": "query",
            "required": False,
            "schema": {"type": "string"},
            "description": "Salesforce: the secret of the address, where one is configured.",
        },
    ],
    "requestBody": {
        "required": True,
        "content": {
            "application/json": {"schema": {"type": "object"}, "example": STRIPE},
            "application/cloudevents+json": {
                "schema": {"$ref": "#/components/schemas/CloudEvent"},
                "example": CLOUDEVENT,
            },
            "text/xml": {"schema": {"type": "string"}, "example": OUTBOUND},
        },
    },
}
HEALTH: Final[dict[str, Any]] = {
    "summary": "Whether the servers behind the gateway answer",
    "operation_id": "health",
    "response_class": Response,
    "responses": {
        status: {
            "description": text,
            "content": {"application/json": {"schema": {"$ref": "#/components/schemas/Health"}}},
        }
        for status, text in ((200, "All do."), (503, "One does not; which, is said."))
    },
}
METRICS: Final[dict[str, Any]] = {
    "summary": "Counters for Prometheus",
    "operation_id": "metrics",
    "response_class": Response,
    "responses": {
        200: {
            "description": "Prometheus' text format.",
            "content": {"text/plain": {"schema": {"type": "string"}}},
        }
    },
}
SCHEMAS: Final[dict[str, Any]] = {
    "CloudEvent": {
        "type": "object",
        "required": ["specversion", "id", "source", "type"],
        "properties": {
            "specversion": {"const": "1.0"},
            "id": {"type": "string", "pattern": "^[!-~]{1,120}$"},
            "source": {"type": "string", "pattern": "^[!-~]{1,120}$"},
            "type": {"type": "string", "pattern": "^[!-~]{1,120}$"},
            "subject": {"type": "string", "pattern": "^[ -~]{0,200}$"},
            "time": {"type": "string", "format": "date-time"},
            "data": {},
        },
    },
    "Health": {
        "type": "object",
        "required": ["status", "servers", "connections"],
        "properties": {
            "status": {"enum": ["serving", "unavailable"]},
            "servers": {"type": "object", "additionalProperties": {"type": "string"}},
            "connections": {"type": "array", "items": {"type": "string"}},
        },
    },
}


def described(app: FastAPI, connections: Sequence[str]) -> None:
    """Give an application its document; it names the connections that there are."""
    made: dict[str, Any] = {}

    def document() -> dict[str, Any]:
        if not made:
            made.update(_document(app, connections))
        return made

    app.openapi = document  # type: ignore[method-assign]  # FastAPI's own way of extending it


def _document(app: FastAPI, connections: Sequence[str]) -> dict[str, Any]:
    document = get_openapi(
        title=app.title,
        version=app.version,
        description=app.description,
        routes=app.routes,
    )
    place = {"type": "string"} | ({"enum": list(connections)} if connections else {})
    parameter = {"name": "connection", "in": "path", "required": True, "schema": place}
    operation = EVENTS | {"parameters": [parameter, *EVENTS["parameters"]]}
    document["paths"] = {"/events/{connection}": {"post": operation}} | document["paths"]
    schemas = document.setdefault("components", {}).setdefault("schemas", {})
    schemas.update(SCHEMAS | QUEUE_SCHEMAS | WORK_SCHEMAS | BACKFILL_SCHEMAS)
    for model in (Received, Problem):
        schemas[model.__name__] = model.model_json_schema()
    return document
