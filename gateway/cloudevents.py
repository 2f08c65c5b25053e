"""CloudEvents 1.0 over HTTP, structured or binary, JSON, with our signature.

The header `Dealthread-Signature` is `gateway.signatures`' over the content: in structured mode the
body; in binary mode a line `name:value` for each `ce-` header as sent, names in small letters and
in alphabetical order, then an empty line, then the body. So id, source and type are signed in both
modes, and a copy under another id is no new event. docs/howto/send-events.md shows it.
"""

import json
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Final
from urllib.parse import unquote

from pydantic import AwareDatetime, JsonValue, TypeAdapter, ValidationError
from starlette.responses import Response

from gateway.answers import problem, received
from gateway.deliveries import Delivery, Refusal, invalid
from gateway.parsing import json_object, text_at
from gateway.signatures import Verifier
from store.inbox import NewEvent, Taken

PROTOCOL: Final = "cloudevents"
STRUCTURED: Final = "application/cloudevents+json"
BINARY: Final = "application/json"
SIGNATURE: Final = "dealthread-signature"
PREFIX: Final = "ce-"
VERSION: Final = "1.0"
ATTRIBUTES_MAX: Final = 32
NAME: Final = re.compile(r"[a-z0-9]{1,40}")
ATTRIBUTE: Final = re.compile(r"[\x21-\x7e]{1,120}")
"""Of id, source and type: printable ASCII without spaces."""
SUBJECT: Final = re.compile(r"[\x20-\x7e]{0,200}")
CORRELATION: Final = "correlationid"
"""Our extension attribute: what the sender calls the business act behind the event."""
TIME: Final = TypeAdapter(AwareDatetime)

Check = Callable[[JsonValue], object]
"""Looks at the data of one type of event; a pydantic ValidationError refuses it."""


class CloudEventsReceiver:
    """Reads the CloudEvents of one sender."""

    media_types = frozenset({STRUCTURED, BINARY})

    def __init__(self, verifier: Verifier, body_limit: int, checks: Mapping[str, Check]) -> None:
        self.body_limit = body_limit
        self._verifier = verifier
        self._checks = checks

    def read(self, delivery: Delivery) -> Sequence[NewEvent]:
        """Return the one event of a request; see `Receiver`."""
        signature = delivery.headers.get(SIGNATURE, "")
        binary = delivery.media_type == BINARY
        ce_headers = _ce_headers(delivery.headers) if binary else {}
        signed = signed_content(ce_headers, delivery.body) if binary else delivery.body
        self._verifier.check(signature, signed)
        content = json_object(delivery.body)
        attributes: dict[str, JsonValue] = (
            {name.removeprefix(PREFIX): unquote(text) for name, text in ce_headers.items()}
            if binary
            else content
        )
        event = _event(delivery, attributes, ce_headers)
        self._check_data(event.kind, content if binary else content.get("data"))
        return [event]

    def accepted(self, events: Sequence[NewEvent]) -> Response:
        """Answer 202."""
        return received(events)

    def refused(self, refusal: Refusal) -> Response:
        """Answer with a problem."""
        return problem(refusal)

    def _check_data(self, kind: str, data: JsonValue) -> None:
        check = self._checks.get(kind)
        if check is None:
            return
        try:
            check(data)
        except ValidationError as error:
            raise invalid(
                f"The data are not those of {kind}: {_said(error)}.", "invalid_data"
            ) from None


def signed_content(ce_headers: Mapping[str, str], body: bytes) -> bytes:
    """Return what a sender signs in binary mode."""
    lines = "".join(f"{name}:{ce_headers[name]}\n" for name in sorted(ce_headers))
    return lines.encode() + b"\n" + body


def data_of(taken: Taken) -> JsonValue:
    """Return the data of an event in the inbox, whichever mode it came in."""
    content = json_object(taken.body)
    return content if taken.headers_json else content.get("data")


def _ce_headers(headers: Mapping[str, str]) -> dict[str, str]:
    return {name: text for name, text in headers.items() if name.startswith(PREFIX)}


def _event(
    delivery: Delivery, attributes: Mapping[str, JsonValue], ce_headers: Mapping[str, str]
) -> NewEvent:
    given = dict(attributes)
    if text_at(given, "specversion") != VERSION:
        raise invalid(f"The event is not of CloudEvents {VERSION}.", "not_a_cloudevent")
    id_, source, kind = (text_at(given, name) for name in ("id", "source", "type"))
    for name, value in (("id", id_), ("source", source), ("type", kind)):
        if not ATTRIBUTE.fullmatch(value):
            raise invalid(
                f"The attribute {name} is missing, too long, or has spaces.", "not_a_cloudevent"
            )
    _check_others(given)
    correlation = text_at(given, CORRELATION)
    return NewEvent(
        connection=delivery.connection,
        # Source and id together are what CloudEvents calls unique.
        event_id=f"{source} {id_}",
        protocol=PROTOCOL,
        kind=kind,
        subject=text_at(given, "subject"),
        body=delivery.body,
        headers_json=json.dumps(ce_headers) if ce_headers else "",
        correlation_id=correlation if ATTRIBUTE.fullmatch(correlation) else id_,
    )


def _check_others(given: dict[str, JsonValue]) -> None:
    wrong = [name for name in given if name != "data" and not NAME.fullmatch(name)]
    if wrong or len(given) > ATTRIBUTES_MAX:
        raise invalid("An attribute's name is not small letters and digits.", "not_a_cloudevent")
    if text_at(given, "datacontenttype").partition(";")[0].strip() not in ("", BINARY):
        raise invalid(f"The data must be {BINARY}.", "not_a_cloudevent")
    subject, time = given.get("subject", ""), given.get("time")
    if not isinstance(subject, str) or not SUBJECT.fullmatch(subject):
        raise invalid("The attribute subject is too long, or not plain.", "not_a_cloudevent")
    try:
        if time is not None:
            TIME.validate_python(time if isinstance(time, str) else None)
    except ValidationError:
        raise invalid(
            "The attribute time is not a time with its zone.", "not_a_cloudevent"
        ) from None


def _said(error: ValidationError) -> str:
    """Name the fields and what is wrong with them, never their values."""
    problems = error.errors(include_url=False, include_input=False, include_context=False)
    return "; ".join(
        f"{'.'.join(map(str, each['loc']))[:80] or 'data'}: {each['msg'][:120]}"
        for each in problems[:3]
    )
