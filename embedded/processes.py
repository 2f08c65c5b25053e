"""Child processes: started in groups of their own, watched, stopped by pid and never by name."""

import asyncio
import contextlib
import os
import signal
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import psutil
from pydantic import BaseModel, ConfigDict

from embedded.errors import StackError

ROOT: Final = Path(__file__).resolve().parents[1]
"""Where the packages lie, and `worker.py`."""
PROBE_SECONDS: Final = 0.05
"""Between two looks at a child that is not ready yet."""
TAIL_LINES: Final = 12
TAIL_BYTES: Final = 8192
KILL_SECONDS: Final = 5.0
"""How long a killed process may take to be gone."""
CREATE_TIME_TOLERANCE: Final = 2.0
"""In seconds; it is counted from the boot time, which moves when the clock is set."""


class ProcessId(BaseModel):
    """A process by pid and start, so that a pid used again is not mistaken for it."""

    model_config = ConfigDict(frozen=True)

    pid: int
    created: float
    """As psutil gives it, in seconds since 1970."""

    @classmethod
    def of(cls, pid: int) -> "ProcessId":
        """Identify a process that runs.

        Raises:
            psutil.NoSuchProcess: it does not.
        """
        return cls(pid=pid, created=psutil.Process(pid).create_time())

    def find(self) -> psutil.Process | None:
        """Return the process if it still is the same one, and alive."""
        with contextlib.suppress(psutil.Error):
            found = psutil.Process(self.pid)
            same = abs(found.create_time() - self.created) < CREATE_TIME_TOLERANCE
            if same and found.status() != psutil.STATUS_ZOMBIE:
                return found
        return None


@dataclass(frozen=True)
class Surroundings:
    """What all children run in."""

    directory: Path
    environment: Mapping[str, str]


def surroundings() -> Surroundings:
    """Return the folder of our code, and our environment without what would lead a child astray.

    Settings of Dealthread, Temporal and PostgreSQL are left out: they are made for other servers,
    and a variable wins over the stack's own configuration.
    """
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("DEALTHREAD_", "TEMPORAL_", "PG"))
    }
    no_proxy = ",".join(filter(None, (kept.get("no_proxy"), "127.0.0.1,localhost")))
    kept |= {"PYTHONUNBUFFERED": "1", "no_proxy": no_proxy, "NO_PROXY": no_proxy}
    return Surroundings(ROOT, kept)


@dataclass(frozen=True)
class ChildSpec:
    """What to run and how to end it."""

    name: str
    title: str
    """What a person calls it, at the head of a sentence."""
    command: Sequence[str]
    surroundings: Surroundings
    stop_signal: signal.Signals = signal.SIGTERM
    stop_seconds: float = 15
    """How long it may take to stop by itself."""
    kill_signal: signal.Signals = signal.SIGKILL
    """What ends it at once, yet leaves its data whole where there is such a signal."""
    user: str | None = None
    """System user to run as, None for our own."""


@dataclass
class Child:
    """A child process that was started."""

    spec: ChildSpec
    log: Path
    process: asyncio.subprocess.Process
    identity: ProcessId | None = None

    @property
    def is_alive(self) -> bool:
        """Whether it has not ended yet."""
        return self.process.returncode is None

    def death(self) -> StackError:
        """Return the sentence that says how it ended, with the last lines of its log."""
        code = self.process.returncode or 0
        how = f"with code {code}" if code >= 0 else f"by signal {signal.Signals(-code).name}"
        lines = tail(self.log)
        quoted = "".join(f"\n  {line}" for line in lines) if lines else " nothing."
        return StackError(
            f"{self.spec.title} ended unexpectedly {how}; everything else was stopped. "
            f"The last lines of {self.log}:{quoted}"
        )

    async def ready(self, probe: Callable[[], Awaitable[bool]], seconds: float) -> None:
        """Wait until `probe` says yes.

        Raises:
            StackError: the child ended, or it took too long.
        """
        try:
            async with asyncio.timeout(seconds):
                while not await probe():
                    # Waiting for the end, rather than sleeping, sees a dead child at once.
                    with contextlib.suppress(TimeoutError):
                        await asyncio.wait_for(self.process.wait(), PROBE_SECONDS)
                    if not self.is_alive:
                        raise self.death()
        except TimeoutError:
            raise StackError(
                f"{self.spec.title} did not get ready within {seconds:g} seconds; see {self.log}."
            ) from None

    async def stop(self, hurry: asyncio.Event) -> None:
        """Ask it to end; kill its group when it takes too long, or once `hurry` is set."""
        if self.is_alive:
            self._signal(self.spec.stop_signal)
            ended = asyncio.ensure_future(self.process.wait())
            hurried = asyncio.ensure_future(hurry.wait())
            await asyncio.wait(
                (ended, hurried),
                timeout=self.spec.stop_seconds,
                return_when=asyncio.FIRST_COMPLETED,
            )
            hurried.cancel()
            for kill in (self.spec.kill_signal, signal.SIGKILL):
                if not ended.done():
                    self._signal(kill, group=True)
                    await asyncio.wait((ended,), timeout=KILL_SECONDS)
            ended.cancel()

    def _signal(self, number: signal.Signals, *, group: bool = False) -> None:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            (os.killpg if group else os.kill)(self.process.pid, number)


async def start(spec: ChildSpec, logs: Path) -> Child:
    """Start a child in its own process group, with its output in a log of its name.

    Raises:
        StackError: it can't be run.
    """
    log = logs / f"{spec.name}.log"
    if log.exists():
        log.replace(log.with_suffix(".log.1"))
    with log.open("wb") as output:
        try:
            process = await asyncio.create_subprocess_exec(
                *spec.command,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                cwd=spec.surroundings.directory,
                env=dict(spec.surroundings.environment),
                process_group=0,  # Ctrl-C in the terminal is for us to pass on, in order
                user=spec.user,
                group=spec.user,
                extra_groups=[] if spec.user else None,
            )
        except OSError as error:
            raise StackError(
                f"{spec.title} can't be started: {spec.command[0]}: {error.strerror}."
            ) from None
    with contextlib.suppress(psutil.Error):  # it may have ended already: `ready` says so
        return Child(spec, log, process, ProcessId.of(process.pid))
    return Child(spec, log, process)


def tail(log: Path) -> list[str]:
    """Return the last lines of a log that say something."""
    try:
        with log.open("rb") as opened:
            opened.seek(max(0, log.stat().st_size - TAIL_BYTES))
            text = opened.read().decode(errors="replace")
    except OSError:
        return []
    lines = [line.rstrip() for line in text.splitlines()]
    return [line for line in lines if line][-TAIL_LINES:]


def kill_leftovers(processes: Mapping[str, ProcessId], seconds: float = 10) -> list[str]:
    """End processes that a supervisor left behind when it was killed; return their names."""
    found = {name: process for name, known in processes.items() if (process := known.find())}
    for process in found.values():
        with contextlib.suppress(psutil.Error):
            # A fast shutdown for PostgreSQL, and a clean stop for all the others too.
            process.send_signal(signal.SIGINT)
    _, stubborn = psutil.wait_procs(list(found.values()), timeout=seconds)
    for process in stubborn:
        with contextlib.suppress(psutil.Error):
            process.kill()
    psutil.wait_procs(stubborn, timeout=KILL_SECONDS)
    return list(found)
