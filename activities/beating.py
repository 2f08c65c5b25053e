"""The heartbeat of long activities: a killed worker's attempt is then given up quickly."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

from temporalio import activity

EVERY_SECONDS: Final = 3.0


@asynccontextmanager
async def beating() -> AsyncIterator[None]:
    """Tell the server that we live until the block ends, whatever is awaited within."""

    async def beat() -> None:
        while True:
            activity.heartbeat()
            await asyncio.sleep(EVERY_SECONDS)

    task = asyncio.create_task(beat())
    try:
        yield
    finally:
        task.cancel()
