"""Temporal for the door, which receives events without it: connected when first needed."""

import asyncio
from collections.abc import Awaitable, Callable

import structlog
from temporalio.client import Client

from operations.config import Config
from operations.servers import Unreachable, connect_temporal

Connect = Callable[[], Awaitable[Client]]

_log = structlog.get_logger("dealthread.gateway")


class TemporalLink:
    """Connects once for all who ask, and again for the next who asks where that failed."""

    def __init__(self, connect: Connect) -> None:
        self._connect = connect
        self._connecting: asyncio.Task[Client] | None = None

    async def client(self) -> Client:
        """Return the client.

        Raises:
            Unreachable: Temporal does not answer, or refuses us.
        """
        if self._connecting is None:
            self._connecting = asyncio.create_task(_connected(self._connect))
        connecting = self._connecting
        try:
            # One who gives up leaves the others waiting for the same connection.
            return await asyncio.shield(connecting)
        except Unreachable:
            if self._connecting is connecting:
                self._connecting = None
            raise


def link_of(config: Config) -> TemporalLink:
    """Return the link to the Temporal that `dealthread.toml` names; nothing is sent yet."""
    return TemporalLink(lambda: connect_temporal(config))


async def _connected(connect: Connect) -> Client:
    try:
        client = await connect()
    except Unreachable:
        raise
    except Exception as error:
        _log.exception("temporal_not_connected")
        raise Unreachable("Temporal can't be reached: see the gateway's log.") from error
    _log.info("temporal_connected")
    return client
