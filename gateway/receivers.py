"""Makes the receivers that `dealthread.toml` describes."""

import time
from collections.abc import Callable, Mapping
from typing import Final

from pydantic import SecretStr

from gateway.cloudevents import Check, CloudEventsReceiver
from gateway.deliveries import Receiver
from gateway.routing import (
    ENTRIES_CHANGED,
    MILESTONES_CHANGED,
    entries_data,
    milestones_data,
)
from gateway.salesforce import Expected, SalesforceReceiver
from gateway.signatures import Verifier
from gateway.stripe import StripeReceiver
from operations.config import Config, EventsConfig, EventsKind

CHECKS: Final[Mapping[str, Check]] = {
    ENTRIES_CHANGED: entries_data,
    MILESTONES_CHANGED: milestones_data,
}
"""The types of CloudEvents whose data are checked at the door."""

Clock = Callable[[], float]


def receivers_of(config: Config, clock: Clock = time.time) -> dict[str, Receiver]:
    """Return a receiver for each connection that sends events, by its name."""
    return {
        name: receiver(connection.events, clock)
        for name, connection in config.connections.items()
        if connection.events is not None
    }


def receiver(events: EventsConfig, clock: Clock = time.time) -> Receiver:
    """Return what reads the events of one connection; `clock` gives Unix seconds."""
    secrets = _secrets(events)
    if events.kind is EventsKind.SALESFORCE_OUTBOUND:
        expected = Expected(events.organization_id, events.actions, secrets)
        return SalesforceReceiver(expected, events.body_limit_bytes)
    verifier = Verifier(secrets, events.tolerance_seconds, clock)
    if events.kind is EventsKind.STRIPE:
        return StripeReceiver(verifier, events.body_limit_bytes)
    return CloudEventsReceiver(verifier, events.body_limit_bytes, CHECKS)


def _secrets(events: EventsConfig) -> tuple[SecretStr, ...]:
    given = (events.secret, events.previous_secret)
    return tuple(secret for secret in given if secret is not None)
