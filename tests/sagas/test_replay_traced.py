"""Traces and correlation change nothing that a replay compares, and a replay makes no span."""

from itertools import groupby
from pathlib import Path

import pytest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from temporalio.contrib.opentelemetry import TracingInterceptor
from temporalio.contrib.pydantic import pydantic_data_converter
from temporalio.worker import Replayer

from operations.interceptors import CorrelatedWork
from operations.workers import workflow_runner
from tests.sagas.test_replay import FILES, read
from workflows.registry import WORKFLOWS

pytestmark = [pytest.mark.replay]

LARGEST = [
    max(files, key=lambda file: file.stat().st_size)
    for _, files in groupby(FILES, key=lambda file: file.parent)
]
"""Of each workflow: recorded without any of it."""


@pytest.mark.parametrize("file", LARGEST, ids=lambda file: file.parent.name)
async def test_a_history_replays_with_traces_and_correlation(file: Path) -> None:
    exporter, provider = InMemorySpanExporter(), TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    traced = TracingInterceptor(provider.get_tracer("test"), always_create_workflow_spans=True)
    replayer = Replayer(
        workflows=WORKFLOWS,
        workflow_runner=workflow_runner(),
        data_converter=pydantic_data_converter,
        interceptors=[traced, CorrelatedWork()],
    )
    await replayer.replay_workflow(read(file))
    assert [span.name for span in exporter.get_finished_spans()] == []
