"""Salesforce's outbound messages (vendor page salesforce, 12.4): SOAP, at least once, unordered.

They carry no signature. A key in the address and the organisation's id keep strangers out, and
nothing of the content is believed but which record to read again.
"""

import hmac
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final
from xml.etree.ElementTree import Element, ParseError, tostring

from defusedxml import DefusedXmlException
from defusedxml.ElementTree import fromstring
from pydantic import SecretStr
from starlette.responses import Response

from gateway.answers import headers
from gateway.deliveries import Delivery, Refusal, invalid
from store.inbox import NewEvent

PROTOCOL: Final = "salesforce_outbound"
NOTIFICATIONS_MAX: Final = 100
ENVELOPE: Final = "{http://schemas.xmlsoap.org/soap/envelope/}"
OUTBOUND: Final = "{http://soap.sforce.com/2005/09/outbound}"
SCHEMA: Final = "{http://www.w3.org/2001/XMLSchema-instance}"
OBJECT: Final = "{urn:sobject.enterprise.soap.sforce.com}"
ID: Final = re.compile(r"[A-Za-z0-9]{15}(?:[A-Za-z0-9]{3})?")
TYPE: Final = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,79}")
SHORT_ID: Final = 15
"""Characters that identify a record; three more guard them against changes of case."""
KEY: Final = "key"
"""The query parameter that holds the secret of the address."""
ANSWER: Final = (
    '<?xml version="1.0" encoding="UTF-8"?>'
    '<soapenv:Envelope xmlns:soapenv="http://schemas.xmlsoap.org/soap/envelope/"><soapenv:Body>'
    '<notificationsResponse xmlns="http://soap.sforce.com/2005/09/outbound">'
    "<Ack>{ack}</Ack></notificationsResponse></soapenv:Body></soapenv:Envelope>"
)


@dataclass(frozen=True, slots=True)
class Expected:
    """Whose messages are taken."""

    organization_id: str
    actions: frozenset[str] = frozenset()
    """Ids of outbound messages; empty: any of the organisation's."""
    keys: tuple[SecretStr, ...] = ()
    """Of the address; empty: none is asked for."""


class SalesforceReceiver:
    """Reads the outbound messages of one organisation."""

    media_types = frozenset({"text/xml"})

    def __init__(self, expected: Expected, body_limit: int) -> None:
        self.body_limit = body_limit
        self._expected = expected
        self._actions = {action[:SHORT_ID] for action in expected.actions}

    def read(self, delivery: Delivery) -> Sequence[NewEvent]:
        """Return the notifications of a message; see `Receiver`."""
        self._check_key(delivery.query.get(KEY, ""))
        message = _message(delivery.body)
        self._check_sender(message)
        notifications = message.findall(f"{OUTBOUND}Notification")
        if not 0 < len(notifications) <= NOTIFICATIONS_MAX:
            raise invalid(f"A message has 1 to {NOTIFICATIONS_MAX} notifications.")
        if len(notifications) == 1:
            return [_event(delivery.connection, notifications[0], delivery.body)]
        return [
            _event(delivery.connection, each, tostring(each, "utf-8")) for each in notifications
        ]

    def accepted(self, events: Sequence[NewEvent]) -> Response:
        """Acknowledge the whole message."""
        del events
        return Response(ANSWER.format(ack="true"), media_type="text/xml")

    def refused(self, refusal: Refusal) -> Response:
        """Do not acknowledge: Salesforce tries again, then lists it as failed."""
        return Response(
            ANSWER.format(ack="false"), refusal.status, headers(refusal), media_type="text/xml"
        )

    def _check_key(self, given: str) -> None:
        keys = [key.get_secret_value().encode() for key in self._expected.keys]
        # Every key is compared, so that the time taken tells nothing.
        if keys and not sum(hmac.compare_digest(key, given.encode()) for key in keys):
            raise Refusal(401, "wrong_key", "The address lacks the right key.")

    def _check_sender(self, message: Element) -> None:
        organization = _text(message, f"{OUTBOUND}OrganizationId")
        if organization[:SHORT_ID] != self._expected.organization_id[:SHORT_ID]:
            raise Refusal(401, "wrong_organization", "The message is of another organisation.")
        if self._actions and _text(message, f"{OUTBOUND}ActionId")[:SHORT_ID] not in self._actions:
            raise Refusal(401, "wrong_action", "This outbound message is not one to be taken.")


def id_in(body: bytes, name: str) -> str:
    """Return a record's id that a stored notification has in a field; empty where it has none."""
    try:
        message: Element = fromstring(body, forbid_dtd=True)
    except (ParseError, DefusedXmlException, ValueError, LookupError):
        return ""
    found = next((each.text or "" for each in message.iter(f"{OBJECT}{name}")), "").strip()
    return found if ID.fullmatch(found) else ""


def _message(body: bytes) -> Element:
    try:
        envelope: Element = fromstring(body, forbid_dtd=True)
    except (ParseError, DefusedXmlException, ValueError, LookupError):
        raise invalid("The body is not plain XML, or is cut off.", "not_xml") from None
    message = envelope.find(f"{ENVELOPE}Body/{OUTBOUND}notifications")
    if envelope.tag != f"{ENVELOPE}Envelope" or message is None:
        raise invalid("The body is not an outbound message.")
    return message


def _event(connection: str, notification: Element, body: bytes) -> NewEvent:
    notification_id = _text(notification, f"{OUTBOUND}Id")
    record = next(iter(notification.iterfind(f"{OUTBOUND}sObject")), None)
    kind = "" if record is None else record.get(f"{SCHEMA}type", "").rpartition(":")[2]
    record_id = "" if record is None else next(_ids(record), "")
    if not (ID.fullmatch(notification_id) and ID.fullmatch(record_id) and TYPE.fullmatch(kind)):
        raise invalid("A notification lacks its id, or the type or id of its record.")
    return NewEvent(
        connection=connection,
        event_id=notification_id,
        protocol=PROTOCOL,
        kind=kind,
        subject=record_id,
        body=body,
        correlation_id=notification_id,
    )


def _ids(record: Element) -> Iterator[str]:
    for each in record.iterfind(f"{OBJECT}Id"):
        yield (each.text or "").strip()


def _text(parent: Element, name: str) -> str:
    return (parent.findtext(name) or "").strip()
