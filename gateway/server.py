"""The HTTP server of a process of the gateway, and what both processes need around it."""

import asyncio
import contextlib
import signal
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Final

import uvicorn
from starlette.types import ASGIApp

from operations.codec import record_cipher
from operations.config import Config, ConfigInvalid
from operations.servers import awaited, check_store
from store import Store, make_store

GRACE_SECONDS: Final = 10
"""How long a stop waits for requests under way."""
CONNECTIONS_MAX: Final = 1_000
"""Beyond it senders get 503: what they hold in memory has a limit."""
BACKLOG: Final = 1_024
KEEP_ALIVE_SECONDS: Final = 30
PORT_MAX: Final = 65_535


@dataclass(frozen=True)
class Place:
    """Where a process listens."""

    host: str
    port: int

    @property
    def url(self) -> str:
        """Its address."""
        return f"http://{self.host}:{self.port}"


def door_place(config: Config) -> Place:
    """Return where events come in."""
    return Place(config.gateway.host, config.gateway.port)


def drain_place(config: Config) -> Place:
    """Return where the drain's health is: one port above the door.

    Raises:
        ConfigInvalid: there is no port above the door's.
    """
    if config.gateway.port >= PORT_MAX:
        raise ConfigInvalid("gateway.port: the drain listens one above it, so 65534 is the last.")
    return Place(config.gateway.host, config.gateway.port + 1)


@asynccontextmanager
async def opened_store(config: Config) -> AsyncIterator[Store]:
    """Give the store once it answers.

    Raises:
        ConfigInvalid: the key of the records is wrong.
        Unreachable: PostgreSQL does not answer in time, or has no tables.
    """
    cipher = record_cipher(config.worker.codec_key)
    store = make_store(config.store.secret_url, config.store.pool_size, cipher)
    try:
        await awaited(lambda: check_store(store, config), config.worker.start_seconds)
        yield store
    finally:
        await store.aclose()


async def listen(app: ASGIApp, place: Place) -> None:
    """Serve an application until SIGTERM or SIGINT.

    Raises:
        ConfigInvalid: the port can't be opened.
    """
    server = _Server(
        uvicorn.Config(
            app,
            host=place.host,
            port=place.port,
            log_config=None,
            access_log=False,
            server_header=False,
            proxy_headers=False,  # nobody asks who the sender's address is
            backlog=BACKLOG,
            limit_concurrency=CONNECTIONS_MAX,
            timeout_keep_alive=KEEP_ALIVE_SECONDS,
            timeout_graceful_shutdown=GRACE_SECONDS,
        )
    )
    try:
        with _stopping(server):
            await server.serve()
    except SystemExit:
        raise ConfigInvalid(
            f"gateway.port: {place.host}:{place.port} can't be opened; "
            "a second gateway on this machine needs a port of its own."
        ) from None


class _Server(uvicorn.Server):
    """Leaves signals to us: uvicorn would raise them again, and end the process in the middle."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


@contextlib.contextmanager
def _stopping(server: uvicorn.Server) -> Iterator[None]:
    loop = asyncio.get_running_loop()

    def stop() -> None:
        server.should_exit = True

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop)
    try:
        yield
    finally:
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.remove_signal_handler(number)
