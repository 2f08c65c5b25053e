"""Stripe's webhooks (vendor page stripe_billing, 6): signed JSON, unordered, possibly twice."""

import re
from collections.abc import Sequence
from typing import Final

from starlette.responses import Response

from gateway.answers import problem, received
from gateway.deliveries import Delivery, Refusal, invalid
from gateway.parsing import json_object, object_at, text_at
from gateway.signatures import Verifier
from store.inbox import NewEvent

PROTOCOL: Final = "stripe"
SIGNATURE: Final = "stripe-signature"
EVENT_ID: Final = re.compile(r"evt_[A-Za-z0-9_]{1,200}")
TYPE: Final = re.compile(r"[a-z0-9_.]{1,200}")
RECORD_ID: Final = re.compile(r"[A-Za-z0-9_]{1,200}")


class StripeReceiver:
    """Reads the webhooks of one Stripe account."""

    media_types = frozenset({"application/json"})

    def __init__(self, verifier: Verifier, body_limit: int) -> None:
        self.body_limit = body_limit
        self._verifier = verifier

    def read(self, delivery: Delivery) -> Sequence[NewEvent]:
        """Return the one event of a webhook; see `Receiver`."""
        signature = delivery.headers.get(SIGNATURE, "")
        self._verifier.check(signature, delivery.body)
        content = json_object(delivery.body)
        event_id, kind = text_at(content, "id"), text_at(content, "type")
        if not EVENT_ID.fullmatch(event_id) or not TYPE.fullmatch(kind):
            raise invalid("The body is not an event: its id or type is not one of Stripe's.")
        subject = text_at(object_at(object_at(content, "data"), "object"), "id")
        return [
            NewEvent(
                connection=delivery.connection,
                event_id=event_id,
                protocol=PROTOCOL,
                kind=kind,
                subject=subject if RECORD_ID.fullmatch(subject) else "",
                body=delivery.body,
                correlation_id=event_id,
            )
        ]

    def accepted(self, events: Sequence[NewEvent]) -> Response:
        """Answer 2xx: anything else makes Stripe send it again for three days."""
        return received(events)

    def refused(self, refusal: Refusal) -> Response:
        """Answer with a problem; Stripe shows it beside the attempt."""
        return problem(refusal)
