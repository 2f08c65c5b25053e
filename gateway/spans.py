"""The gateway's spans: an event is received, and sent on to its workflow.

The first is made anew by the drain, from what the inbox keeps (`operations.span_ids.root_span`): so
door and drain, two processes that share a table alone, work on one trace.
"""

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Final

from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.trace import Link, NonRecordingSpan, SpanContext, SpanKind

from gateway.routing import Target
from operations.span_ids import chosen_ids, root_span
from operations.tracing import is_traced
from store.inbox import InboxEvent, NewEvent

NANOSECONDS: Final = 1_000_000_000

_tracer = trace.get_tracer("dealthread.gateway")


def received(events: Sequence[NewEvent], seconds: float) -> None:
    """Tell of events that came into the inbox for the first time, so many seconds after they came.

    What is delivered twice is told once.
    """
    if not is_traced():
        return
    ended = time.time_ns()
    for event in events:
        with chosen_ids(_root(event)):
            span = _tracer.start_span(
                f"receive {event.kind}",
                context=Context(),
                kind=SpanKind.SERVER,
                start_time=ended - int(seconds * NANOSECONDS),
                attributes={
                    "dealthread.connection": event.connection,
                    "dealthread.event_id": event.event_id,
                    "dealthread.correlation_id": event.correlation_id,
                    "messaging.system": event.protocol,
                },
            )
        span.end(ended)


@contextmanager
def sending(events: Sequence[InboxEvent], target: Target) -> Iterator[None]:
    """Send a signal within the trace of its first event; the other events' traces are linked."""
    if not is_traced() or not events:
        yield
        return
    first, *others = (_root(event) for event in events)
    with _tracer.start_as_current_span(
        f"send to {target.workflow}",
        context=trace.set_span_in_context(NonRecordingSpan(first), Context()),
        kind=SpanKind.PRODUCER,
        links=[Link(other) for other in others if other.trace_id != first.trace_id],
        attributes={
            "temporalWorkflowID": target.workflow_id,
            "dealthread.events": len(events),
            "dealthread.correlation_id": events[0].correlation_id,
        },
    ):
        yield


def _root(event: NewEvent | InboxEvent) -> SpanContext:
    return root_span(event.correlation_id, event.connection, event.event_id)
