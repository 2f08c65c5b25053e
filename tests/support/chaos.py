"""A machine whose processes are killed and come back: the embedded stack without its supervisor.

Every process has a keeper, as production's has: one that ended is started again. Which are killed,
when, and how long they stay away comes from a seed.
"""

import asyncio
import contextlib
import itertools
import random
import signal
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from enum import StrEnum
from pathlib import Path

import psutil

from embedded import gateway, simulators, temporal, worker
from embedded.configuration import write_configuration
from embedded.errors import StackError
from embedded.files import StackFiles
from embedded.ports import Ports
from embedded.postgres import Postgres
from embedded.processes import Child, ChildSpec, start, surroundings
from tests.support.embedded_stack import free_base

GONE_SECONDS = 10
READY_SECONDS = 180
PAUSE_SECONDS = (0.5, 4.0)
"""From the last recovery to the next kill: at least, at most."""
AWAY_SECONDS = (0.0, 3.0)
"""How long what was killed stays away, before it is started again."""
TOGETHER = 0.25
"""How often two parts are killed at once."""
EXTRA_KILLS = 2


class Part(StrEnum):
    """What is killed."""

    TEMPORAL = "temporal"
    WORKER = "worker"
    GATEWAY = "gateway"
    """Its door and its drain."""
    POSTGRES = "postgres"

    @property
    def processes(self) -> tuple[str, ...]:
        """The names of its processes."""
        return ("gateway", "drain") if self is Part.GATEWAY else (self.value,)


@dataclass
class Kept:
    """One process with what its keeper knows of it."""

    spec: ChildSpec
    set_up: Callable[[Child], Awaitable[object]]
    """Waits until it answers."""
    may_run: asyncio.Event = field(default_factory=asyncio.Event)
    answers: asyncio.Event = field(default_factory=asyncio.Event)
    child: Child | None = None
    killed: Child | None = None
    """The last one that was killed on purpose."""
    lives: Iterator[int] = field(default_factory=lambda: itertools.count(1))


class Machine:
    """The processes of one stack, each under a keeper of its own."""

    def __init__(self, directory: Path) -> None:
        """Use a folder of its own, and ports that are free."""
        self.files = StackFiles.of(directory)
        self.ports = Ports.from_base(free_base())
        self.starts: Counter[str] = Counter()
        self.deaths: list[str] = []
        """Of those that ended though nobody killed them, in words."""
        self._kept: dict[str, Kept] = {}
        self._keepers: list[asyncio.Task[None]] = []

    @property
    def simulators(self) -> str:
        """The address of the simulators' control origin."""
        return simulators.control_url(self.ports)

    @property
    def door(self) -> str:
        """The address that events are sent to."""
        return gateway.base_url(self.ports)

    async def start(self) -> None:
        """Start everything and wait until it answers."""
        self.files.make()
        around, ports = surroundings(), self.ports
        postgres = Postgres(
            self.files.postgres, self.files.secrets / "postgres_password", ports.postgres
        )
        spec = await asyncio.to_thread(postgres.prepare, around)
        vendors = await start(simulators.spec(self.files, ports, around), self.files.logs)
        # The vendors are never killed: they are who can tell what happened.
        self._kept["simulators"] = Kept(vendors.spec, _nothing, child=vendors)
        urls = await simulators.set_up(vendors, ports, seed=True)
        self._keep(spec, postgres.set_up)
        self._keep(
            temporal.spec(self.files.temporal, ports, around),
            lambda child: temporal.set_up(child, ports),
        )
        await self.answer(Part.POSTGRES, Part.TEMPORAL)
        kept = self._kept["postgres"].child
        assert kept is not None
        write_configuration(self.files, ports, await postgres.set_up(kept), urls)
        config = self.files.config
        self._keep(worker.spec(config, around), lambda child: worker.set_up(child, ports))
        self._keep(
            gateway.door_spec(config, around),
            lambda child: gateway.set_up(child, gateway.base_url(ports)),
        )
        self._keep(
            gateway.drain_spec(config, around),
            lambda child: gateway.set_up(child, gateway.drain_url(ports)),
        )
        await self.answer(*Part)

    async def stop(self) -> None:
        """Stop everything, the last started first."""
        for keeper in self._keepers:
            keeper.cancel()
        await asyncio.gather(*self._keepers, return_exceptions=True)
        for kept in reversed(self._kept.values()):
            if kept.child is not None:
                await kept.child.stop(asyncio.Event())

    async def kill(self, part: Part) -> None:
        """Kill all processes of a part at once; they stay away until `let`."""
        for name in part.processes:
            kept = self._kept[name]
            kept.may_run.clear()
            kept.answers.clear()
            if kept.child is not None and kept.child.is_alive:
                kept.killed = kept.child
                await asyncio.to_thread(_kill_tree, kept.child.process.pid)

    def let(self, part: Part) -> None:
        """Let the keepers start a part again."""
        for name in part.processes:
            self._kept[name].may_run.set()

    async def answer(self, *parts: Part) -> None:
        """Wait until these parts answer.

        Raises:
            AssertionError: they do not, in time.
        """
        kept = [self._kept[name] for part in parts for name in part.processes]
        try:
            async with asyncio.timeout(READY_SECONDS):
                await asyncio.gather(*(each.answers.wait() for each in kept))
        except TimeoutError:
            silent = [each.spec.name for each in kept if not each.answers.is_set()]
            raise AssertionError(f"{silent} did not come back; {self.deaths}") from None

    def _keep(self, spec: ChildSpec, set_up: Callable[[Child], Awaitable[object]]) -> None:
        kept = self._kept[spec.name] = Kept(spec, set_up)
        kept.may_run.set()
        self._keepers.append(asyncio.create_task(self._keeper(kept)))

    async def _keeper(self, kept: Kept) -> None:
        """Start a process again whenever it ended, as soon as it may run."""
        name = kept.spec.name
        while True:
            await kept.may_run.wait()
            self.starts[name] += 1
            # Each life has a log of its own.
            spec = replace(kept.spec, name=f"{name}-{next(kept.lives)}")
            kept.child = child = await start(spec, self.files.logs)
            while child.is_alive and not kept.answers.is_set():
                with contextlib.suppress(StackError):  # it ended: told below; or is slow
                    await kept.set_up(child)
                    if child is kept.killed:
                        break
                    kept.answers.set()
            await child.process.wait()
            kept.answers.clear()
            if child is not kept.killed:
                self.deaths.append(str(child.death()))


async def _nothing(_child: Child) -> None:
    """Wait for nothing."""


def _kill_tree(pid: int) -> None:
    """Kill a process and then its children, and wait until they are gone.

    A PostgreSQL that is started while a session of the last one lives refuses to.
    """
    with contextlib.suppress(psutil.NoSuchProcess):
        head = psutil.Process(pid)
        tree = [head, *head.children(recursive=True)]
        for each in tree:
            with contextlib.suppress(psutil.NoSuchProcess):
                each.send_signal(signal.SIGKILL)
        until = time.monotonic() + GONE_SECONDS
        while any(map(_runs, tree[1:])) and time.monotonic() < until:
            time.sleep(0.02)


def _runs(process: psutil.Process) -> bool:
    """Return whether a process does anything still; who should collect its end may not."""
    with contextlib.suppress(psutil.NoSuchProcess):
        return bool(process.is_running() and process.status() != psutil.STATUS_ZOMBIE)
    return False


@asynccontextmanager
async def running_machine(directory: Path) -> AsyncIterator[Machine]:
    """Run a machine until the block ends."""
    machine = Machine(directory)
    try:
        await machine.start()
        yield machine
    finally:
        await machine.stop()


# Kills.


@dataclass(frozen=True)
class Kill:
    """One blow: what was killed at once, and how long until all was well again."""

    parts: tuple[Part, ...]
    at: float
    """Seconds after the first record could be carried."""
    away: float
    """Seconds until everything answered again."""
    still: float | None
    """Seconds until a vendor was written to again; None: there was nothing left to write."""


def blows(seed: int, each: int) -> Iterator[tuple[tuple[Part, ...], float, float]]:
    """Yield what to kill at once, after how many seconds, and how long it stays away.

    Every part is hit `each` times, in any order, and some once more.
    """
    chance = random.Random(seed)
    parts = [*Part] * each
    chance.shuffle(parts)
    parts += chance.choices([*Part], k=EXTRA_KILLS)
    while parts:
        hit = {parts.pop(0)}
        if parts and parts[0] not in hit and chance.random() < TOGETHER:
            hit.add(parts.pop(0))
        yield tuple(sorted(hit)), chance.uniform(*PAUSE_SECONDS), chance.uniform(*AWAY_SECONDS)


async def torment(
    machine: Machine,
    seed: int,
    each: int,
    writes: Callable[[], Awaitable[int]],
    over: asyncio.Event,
) -> Sequence[Kill]:
    """Kill by a seed until every part was hit often enough, or everything is over."""
    begun, kills = time.monotonic(), list[Kill]()
    for parts, pause, away in blows(seed, each):
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(over.wait(), pause)
        if over.is_set():
            break
        hit = time.monotonic()
        await asyncio.gather(*map(machine.kill, parts))
        await asyncio.sleep(away)  # a machine takes its time
        for part in parts:
            machine.let(part)
        await machine.answer(*Part)
        answered = time.monotonic()
        moved = await _moves(writes, over)
        still = time.monotonic() - hit if moved else None
        kills.append(Kill(parts, hit - begun, answered - hit, still))
    return kills


async def _moves(writes: Callable[[], Awaitable[int]], over: asyncio.Event) -> bool:
    """Wait for the next write at a vendor; say whether there was one before all was over."""
    before = await writes()
    while not over.is_set():
        if await writes() > before:
            return True
        await asyncio.sleep(0.1)  # what is waited for is in another process
    return False
