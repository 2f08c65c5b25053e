"""Meters and their events (vendor page, 5.5)."""

import uuid
from decimal import Decimal, InvalidOperation
from typing import Literal

from simulators.kit import Record
from simulators.stripe.errors import invalid, missing, refused
from simulators.stripe.events import note
from simulators.stripe.forms import Form
from simulators.stripe.listing import listed
from simulators.stripe.state import Act, Fields, number, part, text
from simulators.stripe.views import view

URL = "/v1/billing/meters"
DEDUPE_SECONDS = 86_400
PAST_SECONDS_MAX = 35 * 86_400
FUTURE_SECONDS_MAX = 300
METER = "billing.meter"
EVENT = "billing.meter_event"


class Aggregation(Form):
    formula: Literal["count", "last", "sum"]


class Mapping(Form):
    event_payload_key: str
    type: Literal["by_id"] = "by_id"


class ValueSettings(Form):
    event_payload_key: str


class MeterForm(Form):
    customer_mapping: Mapping = Mapping(event_payload_key="stripe_customer_id")
    default_aggregation: Aggregation
    display_name: str
    event_name: str
    event_time_window: Literal["day", "hour"] | None = None
    value_settings: ValueSettings = ValueSettings(event_payload_key="value")


class MeterUpdate(Form):
    display_name: str


class EventForm(Form):
    event_name: str
    identifier: str | None = None
    payload: dict[str, str]
    timestamp: int | None = None


class Cancel(Form):
    identifier: str


class AdjustmentForm(Form):
    cancel: Cancel
    event_name: str
    type: Literal["cancel"]


class SummaryForm(Form):
    customer: str
    end_time: int
    start_time: int


def create(act: Act) -> Fields:
    """`POST /v1/billing/meters`; one active meter for each event name."""
    form = act.read(MeterForm)
    if _active(act, form.event_name) is not None:
        text_ = f"An active meter for the event name {form.event_name} already exists."
        raise refused(text_, "resource_already_exists", "event_name")
    shown: Fields = form.model_dump(mode="json")
    fields: Fields = {
        **shown,
        "status": "active",
        "status_transitions": {"deactivated_at": None},
        "updated": act.now,
    }
    meter = act.insert(METER, fields)
    note(act, "billing.meter.created", {"object": view(act.account, meter)})
    return view(act.account, meter)


def update(act: Act) -> Fields:
    """`POST /v1/billing/meters/{id}`: its name alone."""
    meter = act.find(METER)
    form = act.read(MeterUpdate)
    act.update(meter, {"display_name": form.display_name, "updated": act.now})
    return view(act.account, meter)


def switch(act: Act, status: str) -> Fields:
    """`POST /v1/billing/meters/{id}/{deactivate,reactivate}`; meters are never deleted."""
    meter = act.find(METER)
    if meter.fields["status"] == status:
        raise refused(f"The meter is already {status}.")
    if status == "active" and _active(act, text(meter.fields, "event_name")) is not None:
        raise refused("Another active meter has this event name.", "resource_already_exists")
    at = None if status == "active" else act.now
    act.update(meter, {"status": status, "status_transitions": {"deactivated_at": at}})
    verb = "reactivated" if status == "active" else "deactivated"
    note(act, f"billing.meter.{verb}", {"object": view(act.account, meter)})
    return view(act.account, meter)


def read_one(act: Act) -> Fields:
    """`GET /v1/billing/meters/{id}`."""
    return view(act.account, act.find(METER))


def read_all(act: Act) -> Fields:
    """`GET /v1/billing/meters`."""
    return listed(act, URL, act.account.store.list(METER), ("status",))


def create_event(act: Act) -> Fields:
    """`POST /v1/billing/meter_events`: an identifier counts once within 24 hours.

    What cannot be counted is found out later, and told as an error report.
    """
    form = act.read(EventForm)
    moment = act.now if form.timestamp is None else form.timestamp
    if moment < act.now - PAST_SECONDS_MAX or moment > act.now + FUTURE_SECONDS_MAX:
        text_ = "The timestamp must be within the past 35 days or up to 5 minutes in the future."
        raise invalid(text_, "timestamp")
    identifier = form.identifier or str(uuid.uuid4())
    if _recent(act, form.event_name, identifier) is not None:
        text_ = f"An event already exists with identifier {identifier}."
        raise refused(text_, "resource_already_exists", "identifier")
    if _active(act, form.event_name) is None:
        raise missing("active meter for event name", form.event_name, "event_name")
    fields: Fields = {
        "event_name": form.event_name,
        "identifier": identifier,
        "payload": dict(form.payload),
        "timestamp": moment,
        "_fault": None,
        "_canceled": False,
    }
    event = act.insert(EVENT, fields)
    act.account.store.set_key(event, identifier)
    _examine(act, event)
    shown = view(act.account, event)
    shown.pop("metadata")
    return shown


def adjust(act: Act) -> Fields:
    """`POST /v1/billing/meter_event_adjustments`: cancels an event of the last 24 hours."""
    form = act.read(AdjustmentForm)
    event = _recent(act, form.event_name, form.cancel.identifier)
    if event is None:
        raise missing("meter event", form.cancel.identifier, "cancel[identifier]")
    if event.fields["_canceled"]:
        raise refused("The meter event is already canceled.", param="cancel[identifier]")
    act.update(event, {"_canceled": True})
    return {
        "object": "billing.meter_event_adjustment",
        "cancel": {"identifier": form.cancel.identifier},
        "event_name": form.event_name,
        "livemode": False,
        "status": "pending",
        "type": "cancel",
    }


def summaries(act: Act) -> Fields:
    """`GET /v1/billing/meters/{id}/event_summaries`: one over the whole time asked for."""
    meter = act.find(METER)
    form = act.read(SummaryForm)
    if form.start_time % 60 or form.end_time % 60 or form.start_time >= form.end_time:
        raise invalid("start_time and end_time must be whole minutes, in order.", "start_time")
    mapping = text(part(meter.fields, "customer_mapping"), "event_payload_key")
    found = [
        event
        for event in act.account.store.indexed(
            EVENT, "event_name", text(meter.fields, "event_name")
        )
        if part(event.fields, "payload").get(mapping) == form.customer
        and form.start_time <= number(event.fields, "timestamp") < form.end_time
        and not event.fields["_canceled"]
        and event.fields["_fault"] is None
    ]
    row: Fields = {
        "id": f"mtrusg_{meter.id.partition('_')[2]}",
        "object": "billing.meter_event_summary",
        "aggregated_value": float(_aggregate(meter, found)),
        "end_time": form.end_time,
        "livemode": False,
        "meter": meter.id,
        "start_time": form.start_time,
    }
    url = f"{URL}/{meter.id}/event_summaries"
    return {"object": "list", "data": [row] if found else [], "has_more": False, "url": url}


def _aggregate(meter: Record, events: list[Record]) -> Decimal:
    key = text(part(meter.fields, "value_settings"), "event_payload_key")
    formula = part(meter.fields, "default_aggregation")["formula"]
    if formula == "count":
        return Decimal(len(events))
    ordered = sorted(events, key=lambda event: number(event.fields, "timestamp"))
    values = [Decimal(text(part(event.fields, "payload"), key)) for event in ordered]
    return values[-1] if formula == "last" and values else sum(values, Decimal(0))


def _active(act: Act, event_name: str) -> Record | None:
    rows = act.account.store.indexed(METER, "event_name", event_name)
    return next((row for row in rows if row.fields["status"] == "active"), None)


def _recent(act: Act, event_name: str, identifier: str) -> Record | None:
    for event in act.account.store.indexed(EVENT, "identifier", identifier):
        age = act.now - number(event.fields, "created")
        if event.fields["event_name"] == event_name and age < DEDUPE_SECONDS:
            return event
    return None


def _examine(act: Act, event: Record) -> None:
    """Find out, as Stripe does later, whether an event counts; report it when it does not."""
    meter = _active(act, text(event.fields, "event_name"))
    if meter is None:
        return
    payload = part(event.fields, "payload")
    customer = text(payload, text(part(meter.fields, "customer_mapping"), "event_payload_key"))
    value = text(payload, text(part(meter.fields, "value_settings"), "event_payload_key"))
    fault = None
    if act.account.store.get("customer", customer) is None:
        fault = "meter_event_customer_not_found"
    elif part(meter.fields, "default_aggregation")["formula"] != "count" and not _is_number(value):
        fault = "meter_event_invalid_value"
    if fault is not None:
        act.account.store.update(event, {"_fault": fault})
        reason: Fields = {
            "error_count": 1,
            "error_types": [
                {
                    "code": fault,
                    "error_count": 1,
                    "sample_errors": [{"request": {"identifier": event.fields["identifier"]}}],
                }
            ],
        }
        data: Fields = {"related_object": {"id": meter.id, "type": METER}, "reason": reason}
        note(act, "v1.billing.meter.error_report_triggered", data)


def _is_number(value: str) -> bool:
    try:
        return Decimal(value).is_finite()
    except InvalidOperation:
        return False
