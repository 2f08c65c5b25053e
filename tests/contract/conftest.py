"""One set of simulators for all contract tests of a process; what must not mix is per account."""

from collections.abc import AsyncIterator

import pytest_asyncio

from simulators.kit import SimulatorStack
from simulators.kit.control import Control
from simulators.registry import load_vendors


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def stack() -> AsyncIterator[SimulatorStack]:
    """All simulators, in this process."""
    async with SimulatorStack(vendors=load_vendors()) as running:
        yield running


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def control(stack: SimulatorStack) -> AsyncIterator[Control]:
    """The way to watch, break and act in them."""
    async with Control(stack.control_url) as client:
        yield client
