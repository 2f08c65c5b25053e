"""OpenTelemetry traces: what an event's trace is called by, and when there is one at all.

One event is one trace, through inbox, workflow, activity and vendor call. Trace and first span are
computed from what the inbox keeps anyway, the event's correlation id and name, so no row has to
carry them (decision 0019). Without `telemetry.otlp_endpoint` nothing of this is set up, and every
span in the code is the API's own no-op.
"""

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from opentelemetry import trace
from opentelemetry.trace import SpanContext, TraceFlags, TracerProvider

from operations.config import Config

chosen_span: ContextVar[SpanContext | None] = ContextVar("chosen_span", default=None)
"""Whose ids the next root span gets."""
_exporting: list[TracerProvider] = []
"""This process's, once it has one: OpenTelemetry takes a provider only once."""


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


def is_traced() -> bool:
    """Return whether spans go anywhere: without an endpoint, nothing is spent on them."""
    return bool(_exporting)


@contextmanager
def chosen_ids(span: SpanContext) -> Iterator[None]:
    """Give the root span that is started within the block these ids."""
    token = chosen_span.set(span)
    try:
        yield
    finally:
        chosen_span.reset(token)


@contextmanager
def tracing(config: Config, process: str) -> Iterator[None]:
    """Export this process's spans until the block ends, where an endpoint is configured.

    Raises:
        ConfigInvalid: the endpoint's headers make no sense.
    """
    if config.telemetry.otlp_endpoint is None or is_traced():
        yield
        return
    from operations.exporting import make_provider  # only where it is needed: see there

    provider = make_provider(config.telemetry, process)
    trace.set_tracer_provider(provider)
    _exporting.append(provider)
    try:
        yield
    finally:
        provider.shutdown()


def _number(text: str, size: int) -> int:
    """Return so many bytes of a text's hash; never 0, which means that there is no id."""
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:size]) or 1
