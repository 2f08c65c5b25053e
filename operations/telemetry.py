"""The Temporal SDK's own metrics and log lines: scraped and written beside ours."""

import logging
import socket
from dataclasses import dataclass
from typing import Final

from temporalio.runtime import (
    LogForwardingConfig,
    LoggingConfig,
    PrometheusConfig,
    Runtime,
    TelemetryConfig,
    TelemetryFilter,
)

TRIES: Final = 5
"""Another process may take the free port between our look and the SDK's bind."""


@dataclass(frozen=True)
class Telemetry:
    """A runtime whose metrics `/metrics` of the worker passes on."""

    runtime: Runtime
    sdk_metrics_url: str
    """On a free port of 127.0.0.1: the SDK serves them itself and cannot hand them over."""


def start_telemetry() -> Telemetry:
    """Return a runtime with metrics; its log lines go through Python's logging, so they are JSON.

    Raises:
        RuntimeError: no port of 127.0.0.1 can be opened.
    """
    log = LoggingConfig(
        filter=TelemetryFilter(core_level="WARN", other_level="ERROR"),
        forwarding=LogForwardingConfig(logger=logging.getLogger("temporalio.core")),
    )
    for left in reversed(range(TRIES)):
        address = f"127.0.0.1:{_free_port()}"
        metrics = PrometheusConfig(bind_address=address, durations_as_seconds=True)
        try:
            runtime = Runtime(telemetry=TelemetryConfig(logging=log, metrics=metrics))
        except (RuntimeError, ValueError):
            if not left:
                raise
        else:
            return Telemetry(runtime, f"http://{address}/metrics")
    raise RuntimeError("no port for the SDK's metrics")


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
