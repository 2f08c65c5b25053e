"""Where spans go, and what never leaves with them.

Imported only where traces are exported: what OpenTelemetry brings along is a good part of the time
that a short command takes.
"""

import logging
from collections.abc import Sequence
from typing import Final
from urllib.parse import unquote

import structlog
from opentelemetry.exporter.otlp.proto.http import Compression
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import Event, ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.sdk.trace.id_generator import RandomIdGenerator
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF, ParentBased, TraceIdRatioBased
from opentelemetry.trace import Status
from opentelemetry.util.types import Attributes

from adapters.masking import mask
from operations.config import ConfigInvalid
from operations.config_models import TelemetryConfig
from operations.span_ids import chosen_span

EXPORT_SECONDS: Final = 3.0
"""Of one export, its retries included: a stop waits no longer for a collector that is away."""
EXPORT_EVERY_SECONDS: Final = 2.0
SPANS_MAX: Final = 8_192
"""Spans that wait for their export; beyond it new ones are dropped."""
BATCH_MAX: Final = 512
EXCEPTION_TYPE: Final = "exception.type"

_log = structlog.get_logger("dealthread.tracing")


def make_provider(settings: TelemetryConfig, process: str) -> TracerProvider:
    """Return what makes and exports spans in the name of a process.

    Raises:
        ConfigInvalid: the endpoint's headers make no sense.
    """
    # Its warnings come with every batch; `MaskedExporter` says it once.
    logging.getLogger("opentelemetry").setLevel(logging.CRITICAL)
    ratio = TraceIdRatioBased(settings.sampling_ratio)
    provider = TracerProvider(
        # By the trace's id, whoever asks: so a trace is exported whole, or not at all.
        sampler=ParentBased(
            ratio,
            remote_parent_sampled=ratio,
            remote_parent_not_sampled=ALWAYS_OFF,
        ),
        resource=Resource.create(
            {
                "service.name": f"{settings.service_name}-{process}",
                "service.namespace": settings.service_name,
            }
        ),
        id_generator=_Ids(),
        shutdown_on_exit=False,
    )
    exporter = OTLPSpanExporter(
        endpoint=f"{settings.otlp_endpoint}/v1/traces",
        headers=_headers(settings),
        timeout=EXPORT_SECONDS,
        compression=Compression.Gzip,
        certificate_file=str(settings.otlp_ca_file) if settings.otlp_ca_file else None,
    )
    provider.add_span_processor(
        BatchSpanProcessor(
            MaskedExporter(exporter, str(settings.otlp_endpoint)),
            max_queue_size=SPANS_MAX,
            schedule_delay_millis=EXPORT_EVERY_SECONDS * 1000,
            max_export_batch_size=BATCH_MAX,
        )
    )
    return provider


class MaskedExporter(SpanExporter):
    """Takes texts out of spans before they leave, and says once when nobody takes the spans.

    Attributes are masked by pattern. Of an exception only its type leaves: what vendors say in an
    error may name people and amounts.
    """

    def __init__(self, inner: SpanExporter, endpoint: str) -> None:
        self._inner = inner
        self._endpoint = endpoint
        self._failing = False

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """Export spans; what fails is dropped, since traces are worth no memory."""
        result = self._inner.export([_masked(span) for span in spans])
        failing = result is not SpanExportResult.SUCCESS
        if failing and not self._failing:
            _log.warning("traces_not_exported", endpoint=self._endpoint)
        elif self._failing and not failing:
            _log.warning("traces_exported_again", endpoint=self._endpoint)
        self._failing = failing
        return result

    def shutdown(self) -> None:
        """Close the connection."""
        self._inner.shutdown()

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        """Nothing is kept here."""
        return self._inner.force_flush(timeout_millis)


class _Ids(RandomIdGenerator):
    """Random ids, but for a root whose ids are chosen."""

    def generate_trace_id(self) -> int:
        chosen = chosen_span.get()
        return super().generate_trace_id() if chosen is None else chosen.trace_id

    def generate_span_id(self) -> int:
        chosen = chosen_span.get()
        return super().generate_span_id() if chosen is None else chosen.span_id


def _masked(span: ReadableSpan) -> ReadableSpan:
    return ReadableSpan(
        name=mask(span.name),
        context=span.get_span_context(),
        parent=span.parent,
        resource=span.resource,
        attributes=_masked_values(span.attributes),
        events=[_masked_event(event) for event in span.events],
        links=span.links,
        kind=span.kind,
        status=Status(span.status.status_code),
        start_time=span.start_time,
        end_time=span.end_time,
        instrumentation_scope=span.instrumentation_scope,
    )


def _masked_event(event: Event) -> Event:
    kept = {
        name: value
        for name, value in (event.attributes or {}).items()
        if not name.startswith("exception.") or name == EXCEPTION_TYPE
    }
    return Event(event.name, _masked_values(kept), event.timestamp)


def _masked_values(attributes: Attributes) -> Attributes:
    return {
        name: mask(value) if isinstance(value, str) else value
        for name, value in (attributes or {}).items()
    }


def _headers(settings: TelemetryConfig) -> dict[str, str]:
    """Return the headers of `name=value,name=value`, values percent-encoded (OpenTelemetry's way).

    Raises:
        ConfigInvalid: it is not of this form; the text itself is never shown.
    """
    if settings.otlp_headers is None:
        return {}
    found: dict[str, str] = {}
    for pair in settings.otlp_headers.get_secret_value().split(","):
        name, is_pair, value = pair.strip().partition("=")
        if not is_pair or not name:
            raise ConfigInvalid("telemetry.otlp_headers: it must be name=value,name=value.")
        found[name.strip().lower()] = unquote(value.strip())
    return found
