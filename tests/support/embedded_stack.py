"""Embedded stacks for tests, on ports of their own."""

import asyncio
import contextlib
import random
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from embedded.ports import GATEWAY_OFFSET, UI_OFFSET, VENDOR_OFFSETS, check_free
from embedded.stack import StackError, StackInfo, StackOptions, down, up_detached

TRIES = 3
"""Another test process may take a port between our look and the start."""


def free_base() -> int:
    """Return a port base of which every port is free."""
    offsets = (*range(5), *VENDOR_OFFSETS.values(), 8, GATEWAY_OFFSET, UI_OFFSET)
    while True:
        # Below the range from which the system takes ports for outgoing connections.
        base = random.randrange(10_000, 17_900, 10)
        with contextlib.suppress(StackError):
            check_free({str(offset): base + offset for offset in offsets})
            return base


@contextmanager
def running_stack(directory: Path, without: frozenset[str] = frozenset()) -> Iterator[StackInfo]:
    """Run a stack in a folder until the block ends."""
    try:
        yield asyncio.run(_started(directory, without))
    finally:
        asyncio.run(down(directory))


async def _started(directory: Path, without: frozenset[str]) -> StackInfo:
    for left in reversed(range(TRIES)):
        options = StackOptions(directory=directory, port_base=free_base(), without=without)
        try:
            return await up_detached(options)
        except StackError as error:
            if not left or "is in use" not in str(error):
                raise
    raise AssertionError("unreachable")
