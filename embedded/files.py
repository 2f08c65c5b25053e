"""The folder of a stack: what lies where, written in one piece, secrets readable by us alone."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from embedded.errors import StackError


@dataclass(frozen=True)
class StackFiles:
    """The paths inside one stack's folder."""

    root: Path

    @classmethod
    def of(cls, directory: Path) -> Self:
        """Return those of a folder, which need not exist, by absolute paths."""
        return cls(directory.expanduser().resolve())

    @property
    def config(self) -> Path:
        """The configuration, in production's format."""
        return self.root / "dealthread.toml"

    @property
    def info(self) -> Path:
        """Addresses and pids; there while the stack is ready."""
        return self.root / "stack.json"

    @property
    def processes(self) -> Path:
        """The pids of children from their start on, to clean up after a killed supervisor."""
        return self.root / "processes.json"

    @property
    def logs(self) -> Path:
        """One log per child."""
        return self.root / "logs"

    @property
    def secrets(self) -> Path:
        """Passwords and the simulators' credentials."""
        return self.root / "secrets"

    @property
    def postgres(self) -> Path:
        """PostgreSQL's data."""
        return self.root / "postgres"

    @property
    def temporal(self) -> Path:
        """Temporal's database file."""
        return self.root / "temporal.db"

    @property
    def simulators(self) -> Path:
        """The state of the simulators at their last stop."""
        return self.root / "simulators.json"

    def make(self) -> None:
        """Create the folders.

        Raises:
            StackError: that is not allowed, or not possible there.
        """
        try:
            self.root.mkdir(parents=True, exist_ok=True)
            self.logs.mkdir(exist_ok=True)
            self.secrets.mkdir(mode=0o700, exist_ok=True)
            probe = self.root / ".probe"
            probe.touch()
            probe.unlink()
        except OSError as error:
            raise StackError(
                f"The stack can't keep its data in {self.root}: {error.strerror}; "
                "choose another folder with --dir."
            ) from None

    @contextmanager
    def held(self) -> Iterator[None]:
        """Keep other supervisors out of this folder.

        Raises:
            StackError: one is in it.
        """
        with (self.root / ".lock").open("w") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                raise StackError(
                    f"A stack already runs, starts or stops in {self.root}: stop it with "
                    "`starter.py down`, or choose another folder with --dir."
                ) from None
            yield


def write_whole(path: Path, text: str, mode: int = 0o644) -> None:
    """Write a file so that a reader sees all of it or its predecessor."""
    draft = path.with_name(f".{path.name}.new")
    draft.unlink(missing_ok=True)
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(text)
    draft.replace(path)


def write_secret(path: Path, text: str) -> None:
    """Write a file that only its owner can read."""
    write_whole(path, text, 0o600)
