"""OpenTelemetry traces: when there are any at all, and to where they go.

Without `telemetry.otlp_endpoint` nothing of this is set up, and every span in the code is the API's
own no-op.
"""

from collections.abc import Iterator
from contextlib import contextmanager

from opentelemetry import trace
from opentelemetry.trace import TracerProvider

from operations.config import Config

_exporting: list[TracerProvider] = []
"""This process's, once it has one: OpenTelemetry takes a provider only once."""


def is_traced() -> bool:
    """Return whether spans go anywhere: without an endpoint, nothing is spent on them."""
    return bool(_exporting)


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
