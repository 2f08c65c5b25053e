"""The servers Dealthread stands on, Temporal and PostgreSQL: reached, or one sentence why not."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import timedelta
from pathlib import Path
from typing import Final, TypeVar

import structlog
from sqlalchemy import text
from sqlalchemy.engine import make_url
from temporalio.api.workflowservice.v1 import DescribeNamespaceRequest
from temporalio.client import Client, TLSConfig
from temporalio.runtime import Runtime
from temporalio.service import RPCError, RPCStatusCode

from operations.codec import data_converter
from operations.config import Config, ConfigInvalid
from operations.interceptors import temporal_interceptors
from store import Store
from store.errors import StoreUnavailable

CONNECT_SECONDS: Final = 10
PAUSE_SECONDS: Final = 1.0
"""Between two tries while a server is awaited."""

T = TypeVar("T")

_log = structlog.get_logger("dealthread.servers")


class Unreachable(Exception):
    """A server does not answer or refuses us; the message names it and the key to change."""


async def connect_temporal(config: Config, runtime: Runtime | None = None) -> Client:
    """Return a client of the configured Temporal whose namespace is there.

    Raises:
        Unreachable: the server does not answer, refuses us, or has no such namespace.
        ConfigInvalid: a key or certificate of it can't be used.
    """
    temporal = config.temporal
    converter, tls = data_converter(config.worker.codec_key), _tls(config)
    try:
        async with asyncio.timeout(CONNECT_SECONDS):
            client = await Client.connect(
                temporal.address,
                namespace=temporal.namespace,
                data_converter=converter,
                tls=tls,
                api_key=temporal.api_key.get_secret_value() if temporal.api_key else None,
                runtime=runtime,
                interceptors=temporal_interceptors(config),
            )
            await client.workflow_service.describe_namespace(
                DescribeNamespaceRequest(namespace=temporal.namespace),
                timeout=timedelta(seconds=CONNECT_SECONDS),
            )
    except RPCError as error:
        raise Unreachable(_refused(config, error)) from error
    except (RuntimeError, TimeoutError, OSError) as error:
        raise Unreachable(
            f"Temporal does not answer at {temporal.address}: start it (embedded: `starter.py up`) "
            "or correct temporal.address or temporal.tls in dealthread.toml."
        ) from error
    return client


def _refused(config: Config, error: RPCError) -> str:
    temporal = config.temporal
    if error.status is RPCStatusCode.NOT_FOUND:
        return (
            f"Temporal at {temporal.address} has no namespace {temporal.namespace!r}: create it, "
            "or correct temporal.namespace in dealthread.toml."
        )
    if error.status in {RPCStatusCode.UNAUTHENTICATED, RPCStatusCode.PERMISSION_DENIED}:
        return (
            f"Temporal at {temporal.address} refuses us ({error.message}): correct "
            "temporal.api_key_file or temporal.tls in dealthread.toml."
        )
    return f"Temporal at {temporal.address} does not serve: {error.message}."


def _tls(config: Config) -> TLSConfig | bool:
    tls = config.temporal.tls
    if tls is None:
        return config.temporal.api_key is not None
    return TLSConfig(
        domain=tls.server_name,
        server_root_ca_cert=_read(tls.ca_file, "ca_file"),
        client_cert=_read(tls.cert_file, "cert_file"),
        client_private_key=_read(tls.key_file, "key_file"),
    )


def _read(path: Path | None, key: str) -> bytes | None:
    try:
        return None if path is None else path.read_bytes()
    except OSError as error:
        raise ConfigInvalid(
            f"temporal.tls.{key}: {path} can't be read: {error.strerror}."
        ) from None


async def check_store(store: Store, config: Config) -> None:
    """Make sure that PostgreSQL answers and has our tables.

    Raises:
        Unreachable: it does not, or has not.
    """
    url = make_url(config.store.secret_url.get_secret_value())
    place = f"{url.host or 'localhost'}:{url.port or 5432}/{url.database}"
    try:
        async with asyncio.timeout(CONNECT_SECONDS):
            row = await store.database.first(text("SELECT to_regclass('budget_leases') AS found"))
    except (StoreUnavailable, TimeoutError) as error:
        reason = str(error) or "no answer in time"
        raise Unreachable(
            f"PostgreSQL does not serve us at {place} ({reason}): start it (embedded: "
            "`starter.py up`) or correct the URL in store.url_file or DEALTHREAD_STORE__URL."
        ) from error
    if row is None or row.found is None:
        raise Unreachable(
            f"The database {place} has no tables of Dealthread: run `starter.py migrate`."
        )


async def awaited(reach: Callable[[], Awaitable[T]], seconds: float) -> T:
    """Reach a server, trying again for a while: at a start, all servers may start at once.

    Raises:
        Unreachable: it still does not answer.
    """
    until = asyncio.get_running_loop().time() + seconds
    while True:
        try:
            return await reach()
        except Unreachable as error:
            if asyncio.get_running_loop().time() >= until:
                raise
            _log.warning("server_not_reached", error=str(error))
        await asyncio.sleep(PAUSE_SECONDS)
