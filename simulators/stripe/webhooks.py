"""Webhook endpoints and the delivery of signed events (vendor page, 6).

Every event goes to the registered endpoints that want it, by itself; how badly is in the settings
(`webhooks`). `emit` sends again, elsewhere, late, twice, in reverse, or with a bad signature.
"""

import asyncio
import hashlib
import hmac
import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import aiohttp
from pydantic import BaseModel, ConfigDict, Field, JsonValue

from simulators.kit import Account, Record, secret_for
from simulators.stripe.errors import invalid
from simulators.stripe.events import subscribers, tell
from simulators.stripe.forms import Form, Metadata, merged
from simulators.stripe.listing import listed
from simulators.stripe.state import NAME, TYPES, Act, Fields, settings, text
from simulators.stripe.views import view

URL = "/v1/webhook_endpoints"
_TIMEOUT = aiohttp.ClientTimeout(total=10)


class EndpointForm(Form):
    api_version: str | None = None
    description: str | None = None
    enabled_events: list[str] = Field(min_length=1)
    metadata: Metadata = None
    url: str


class EndpointUpdate(Form):
    description: str | None = None
    disabled: bool = False
    enabled_events: list[str] | None = None
    metadata: Metadata = None
    url: str | None = None


class Manner(BaseModel):
    """How events are delivered; what is not answered by 2xx is sent again."""

    model_config = ConfigDict(extra="forbid")

    times: int = Field(default=1, ge=1)
    reverse: bool = False
    delay_seconds: float = Field(default=0, ge=0)
    retry_seconds: float = Field(default=0.2, ge=0)
    attempts_max: int = Field(default=3, ge=1)


class Wish(Manner):
    """What `emit` sends: events by id, or a new one of a `type` about the object `id`.

    It goes to `url`, signed with `secrets` (the account's `webhook_secret` when none are given),
    else to the registered endpoints. `age_seconds` dates the signature back; `forged` spoils it.
    """

    events: list[str] = []
    type: str | None = None
    id: str | None = None
    url: str | None = None
    secrets: list[str] = []
    age_seconds: int = 0
    forged: bool = False


@dataclass(frozen=True, slots=True)
class Target:
    """Where an event goes, and with which secrets it is signed."""

    url: str
    secrets: Sequence[str]
    age_seconds: int = 0
    forged: bool = False


def create(act: Act) -> Fields:
    """`POST /v1/webhook_endpoints`; the secret is shown this once."""
    form = act.read(EndpointForm)
    _check_url(form.url)
    fields: Fields = {
        "api_version": form.api_version,
        "application": None,
        "description": form.description,
        "enabled_events": list(form.enabled_events),
        "status": "enabled",
        "url": form.url,
        "_secret": "",
    }
    endpoint = act.insert("webhook_endpoint", fields, form.metadata)
    secret = "whsec_" + secret_for(NAME, act.account.name, endpoint.id)[:32]
    act.account.store.update(endpoint, {"_secret": secret})
    return {**view(act.account, endpoint), "secret": secret}


def update(act: Act) -> Fields:
    """`POST /v1/webhook_endpoints/{id}`."""
    endpoint = act.find("webhook_endpoint")
    form = act.read(EndpointUpdate)
    if form.url is not None:
        _check_url(form.url)
    given = form.model_fields_set - {"disabled", "metadata"}
    changes: Fields = form.model_dump(mode="json", include=given)
    if form.given("disabled"):
        changes["status"] = "disabled" if form.disabled else "enabled"
    if form.given("metadata"):
        changes["metadata"] = merged(endpoint.fields["metadata"], form.metadata)
    act.update(endpoint, changes)
    return view(act.account, endpoint)


def delete(act: Act) -> Fields:
    """`DELETE /v1/webhook_endpoints/{id}`."""
    return act.delete(act.find("webhook_endpoint"))


def read_one(act: Act) -> Fields:
    """`GET /v1/webhook_endpoints/{id}`."""
    return view(act.account, act.find("webhook_endpoint"))


def read_all(act: Act) -> Fields:
    """`GET /v1/webhook_endpoints`."""
    return listed(act, URL, act.account.store.list("webhook_endpoint"))


def read_event(act: Act) -> Fields:
    """`GET /v1/events/{id}`."""
    return view(act.account, act.find("event"))


def read_events(act: Act) -> Fields:
    """`GET /v1/events`, by `type` or `types`; they are kept for ever here."""
    wanted = act.params.pop("types", None)
    rows = act.account.store.list("event")
    if isinstance(wanted, list):
        rows = [row for row in rows if row.fields["type"] in wanted]
    return listed(act, "/v1/events", rows, ("created", "type"))


def dispatch(account: Account, events: Sequence[Record]) -> None:
    """Send events to the endpoints that want them, beside the request."""
    manner = Manner.model_validate(settings(account).get("webhooks") or {})
    for endpoint in account.store.list("webhook_endpoint"):
        wanted = [
            event
            for event in events
            if endpoint in subscribers(account, text(event.fields, "type"))
        ]
        if wanted:
            target = Target(text(endpoint.fields, "url"), [text(endpoint.fields, "_secret")])
            account.spawn(_later(account, manner, wanted, target))


async def send(account: Account, what: dict[str, JsonValue]) -> Mapping[str, JsonValue]:
    """Send what is wished and tell what came of it, or later when a delay is wished.

    Raises:
        ValueError: the wish makes no sense, or there is no such event, object or endpoint.
    """
    wish = Wish.model_validate(what)
    events = [_event(account, id_) for id_ in wish.events]
    if wish.type is not None:
        events.append(_made(account, wish.type, wish.id or ""))
    if not events:
        raise ValueError("say which events by id, or a type and the id of an object")
    manner = Manner(**wish.model_dump(include=set(Manner.model_fields)))
    ids: list[JsonValue] = [event.id for event in events]
    targets = _targets(account, wish, events)
    if wish.delay_seconds:
        for target in targets:
            account.spawn(_later(account, manner, events, target))
        return {"scheduled": len(targets) * len(events) * wish.times, "event_ids": ids}
    attempts = [a for target in targets for a in await _deliver(account, manner, events, target)]
    return {
        "deliveries": len(attempts),
        "acknowledged": sum(attempt is not None for attempt in attempts),
        "event_ids": ids,
    }


def signature(secrets: Sequence[str], moment: int, body: bytes) -> str:
    """Return the header `Stripe-Signature`: HMAC-SHA256 of `<t>.<body>` by each secret."""
    signed = str(moment).encode() + b"." + body
    hashes = [hmac.new(secret.encode(), signed, hashlib.sha256).hexdigest() for secret in secrets]
    return ",".join([f"t={moment}", *(f"v1={value}" for value in hashes)])


def default_secret(account: str) -> str:
    """Return the secret for addresses which are no registered endpoints, by the account's name."""
    return "whsec_" + secret_for(NAME, account, "webhook")[:32]


def _targets(account: Account, wish: Wish, events: Sequence[Record]) -> list[Target]:
    if wish.url is not None:
        secrets = wish.secrets or [default_secret(account.name)]
        return [Target(wish.url, secrets, wish.age_seconds, wish.forged)]
    kinds = {text(event.fields, "type") for event in events}
    found = {row.id: row for kind in kinds for row in subscribers(account, kind)}
    if not found:
        raise ValueError("no registered endpoint wants these events: give a url")
    return [
        Target(
            text(row.fields, "url"),
            wish.secrets or [text(row.fields, "_secret")],
            wish.age_seconds,
            wish.forged,
        )
        for row in found.values()
    ]


async def _later(
    account: Account, manner: Manner, events: Sequence[Record], target: Target
) -> None:
    await asyncio.sleep(manner.delay_seconds)
    await _deliver(account, manner, events, target)


async def _deliver(
    account: Account, manner: Manner, events: Sequence[Record], target: Target
) -> list[int | None]:
    """Send each event, and return the attempt which was answered by 2xx, None when none was."""
    ordered = list(reversed(events)) if manner.reverse else list(events)
    async with aiohttp.ClientSession(timeout=_TIMEOUT) as session:
        return [
            await _post(session, account, manner, event, target) for event in ordered * manner.times
        ]


async def _post(
    session: aiohttp.ClientSession,
    account: Account,
    manner: Manner,
    event: Record,
    target: Target,
) -> int | None:
    body = json.dumps(view(account, event), separators=(",", ":"), ensure_ascii=False).encode()
    for attempt in range(1, manner.attempts_max + 1):
        if attempt > 1:
            await asyncio.sleep(manner.retry_seconds)
        # Real time: a receiver compares it with its own clock, which no test moves.
        moment = int(time.time()) - target.age_seconds
        signed = signature(target.secrets, moment, body + b" " if target.forged else body)
        headers = {"Content-Type": "application/json; charset=utf-8", "Stripe-Signature": signed}
        try:
            async with session.post(target.url, data=body, headers=headers) as response:
                if response.status // 100 == 2:
                    return attempt
        except (aiohttp.ClientError, TimeoutError):
            continue
    return None


def _event(account: Account, id_: str) -> Record:
    event = account.store.get("event", id_)
    if event is None:
        raise ValueError(f"no event {id_!r} in account {account.name}")
    return event


def _made(account: Account, kind: str, id_: str) -> Record:
    type_ = TYPES.get(id_.partition("_")[0], "")
    record = account.store.get(type_, id_, dead=True)
    if record is None:
        raise ValueError(f"no object {id_!r} in account {account.name}")
    act = Act(account)
    tell(act, kind, record)
    return act.news[0]


def _check_url(url: str) -> None:
    if not url.startswith(("http://", "https://")):
        raise invalid("Invalid URL: An explicit scheme (such as https) must be provided.", "url")
