"""The gateway's application on a fresh database."""

from collections.abc import AsyncIterator

import pytest_asyncio

from store.database import Database
from store.inbox import Inbox
from tests.gateway.scene import Gateway, running


@pytest_asyncio.fixture
async def gateway(database: Database) -> AsyncIterator[Gateway]:
    async with running(Inbox(database)) as opened:
        yield opened
