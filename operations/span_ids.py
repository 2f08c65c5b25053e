"""What an event's trace is called by.

One event is one trace, through inbox, workflow, activity and vendor call. Trace and first span are
computed from what the inbox keeps anyway, the event's correlation id and name, so no row has to
carry them (decision 0019).
"""

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from opentelemetry.trace import SpanContext, TraceFlags

chosen_span: ContextVar[SpanContext | None] = ContextVar("chosen_span", default=None)
"""Whose ids the next root span gets."""


def root_span(correlation_id: str, connection: str, event_id: str) -> SpanContext:
    """Return the span of an event's receipt: the same in every process, nothing is passed on.

    Events with one correlation id share a trace.
    """
    name = f"{connection}/{event_id}"
    return SpanContext(
        trace_id=_number(correlation_id or name, 16),
        span_id=_number(name, 8),
        is_remote=True,
        trace_flags=TraceFlags(TraceFlags.SAMPLED),
    )


@contextmanager
def chosen_ids(span: SpanContext) -> Iterator[None]:
    """Give the root span that is started within the block these ids."""
    token = chosen_span.set(span)
    try:
        yield
    finally:
        chosen_span.reset(token)


def _number(text: str, size: int) -> int:
    """Return so many bytes of a text's hash; never 0, which means that there is no id."""
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:size]) or 1
