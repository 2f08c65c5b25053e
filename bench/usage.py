"""Processor time and memory of processes, their children included."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import psutil

from embedded.processes import Child

SAMPLE_SECONDS = 0.25
MEGABYTE = 1024 * 1024


@dataclass
class Usage:
    """What processes used while it was measured."""

    cpu: dict[str, float] = field(default_factory=dict)
    """Seconds of processor time, user and system, by process."""
    memory_peak: dict[str, float] = field(default_factory=dict)
    """Highest resident set seen, in MB, by process; of PostgreSQL the main process alone."""
    memory_start: dict[str, float] = field(default_factory=dict)


def cpu_seconds(child: Child) -> float:
    """Return the processor time of a process and all children it has or had."""
    process = psutil.Process(child.process.pid)
    own = process.cpu_times()
    total = own.user + own.system + own.children_user + own.children_system
    for other in process.children(recursive=True):
        with contextlib.suppress(psutil.NoSuchProcess):
            times = other.cpu_times()
            total += times.user + times.system
    return float(total)


def resident(child: Child) -> float:
    """Return the resident set in MB."""
    return float(psutil.Process(child.process.pid).memory_info().rss) / MEGABYTE


@asynccontextmanager
async def measured(children: dict[str, Child]) -> AsyncIterator[Usage]:
    """Measure processes until the block ends; `Usage` is complete then."""
    usage = Usage()
    before = {name: cpu_seconds(child) for name, child in children.items()}
    usage.memory_start = {name: resident(child) for name, child in children.items()}
    usage.memory_peak = dict(usage.memory_start)

    async def sample() -> None:
        while True:
            for name, child in children.items():
                usage.memory_peak[name] = max(usage.memory_peak[name], resident(child))
            await asyncio.sleep(SAMPLE_SECONDS)

    sampling = asyncio.create_task(sample())
    try:
        yield usage
    finally:
        sampling.cancel()
        for name, child in children.items():
            usage.cpu[name] = cpu_seconds(child) - before[name]
