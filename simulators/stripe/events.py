"""Events: what is told of every change, listed at `/v1/events` and sent to webhook endpoints."""

from pydantic import JsonValue

from simulators.kit import Account, Record
from simulators.stripe.state import API_VERSION, Act, Fields, names
from simulators.stripe.views import view


def tell(act: Act, kind: str, record: Record, before: Fields | None = None) -> None:
    """Note an event about an object as it is now; `before` are values that an update replaced."""
    data: Fields = {"object": view(act.account, record)}
    if before is not None:
        data["previous_attributes"] = before
    note(act, kind, data)


def note(act: Act, kind: str, data: Fields) -> None:
    """Note an event; it goes out to the endpoints once the request is done."""
    request: dict[str, JsonValue] = {
        "id": act.request_id,
        "idempotency_key": act.idempotency_key,
    }
    fields: Fields = {
        "api_version": API_VERSION,
        "created": act.now,
        "data": data,
        "livemode": False,
        "pending_webhooks": len(subscribers(act.account, kind)),
        "request": request,
        "type": kind,
    }
    act.news.append(act.account.store.insert("event", fields))


def changed(act: Act, kind: str, record: Record, changes: Fields) -> None:
    """Update an object and note it, if anything is another value than before."""
    before = {name: record.fields.get(name) for name in changes}
    act.update(record, changes)
    replaced = {
        name: value
        for name, value in before.items()
        if value != record.fields.get(name) and not name.startswith("_")
    }
    if replaced:
        tell(act, kind, record, replaced)


def subscribers(account: Account, kind: str) -> list[Record]:
    """Return the enabled webhook endpoints that want events of a type."""
    return [
        endpoint
        for endpoint in account.store.list("webhook_endpoint")
        if endpoint.fields["status"] == "enabled"
        and {"*", kind} & set(names(endpoint.fields, "enabled_events"))
    ]
