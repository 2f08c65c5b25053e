"""What a stack is asked for, and what it says about itself."""

from collections.abc import Callable
from pathlib import Path
from typing import Final

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, ValidationError

from embedded.files import StackFiles, write_whole
from embedded.ports import PORT_BASE, Ports
from embedded.processes import ProcessId

DIRECTORY: Final = Path(".dealthread")
PARTS: Final = ("postgres", "temporal", "simulators", "worker", "gateway")
"""What a stack has, in the order of its start; it stops in the opposite order."""
CHILDREN: Final = (*PARTS, "drain")
"""The processes, in the same order: the gateway is two, its door and its drain."""

Progress = Callable[[str], None]


def silent(text: str) -> None:
    """Say nothing."""
    del text


class StackOptions(BaseModel):
    """What to start, where, and whom to tell how it goes."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    directory: Path = DIRECTORY
    """Data, logs, secrets, configuration."""
    port_base: int = PORT_BASE
    """See `embedded.ports` for what is counted from it."""
    without: frozenset[str] = frozenset()
    """Parts to leave out, by their names in `PARTS`."""
    progress: Progress = Field(default=silent, exclude=True)
    """Called with one line at each thing done."""


class StackInfo(BaseModel):
    """A running stack: the content of `stack.json`. No secrets."""

    directory: Path
    config: Path
    """For `--config`."""
    port_base: int
    started_at: AwareDatetime
    addresses: dict[str, str]
    """Of temporal, temporal_ui, postgres, simulators (control), each vendor, worker, gateway."""
    ports: Ports
    supervisor: ProcessId
    processes: dict[str, ProcessId]
    """The children by name."""

    @property
    def is_running(self) -> bool:
        """Whether its supervisor still is there."""
        return self.supervisor.find() is not None


class Record(BaseModel):
    """Who runs in a folder, ready or not: the content of `processes.json`."""

    supervisor: ProcessId
    children: dict[str, ProcessId] = {}


def read_info(files: StackFiles) -> StackInfo | None:
    """Return what `stack.json` says, None where there is none of use."""
    try:
        return StackInfo.model_validate_json(files.info.read_bytes())
    except (OSError, ValidationError):
        return None


def read_record(files: StackFiles) -> Record | None:
    """Return what `processes.json` says, None where there is none of use."""
    try:
        return Record.model_validate_json(files.processes.read_bytes())
    except (OSError, ValidationError):
        return None


def write_model(path: Path, model: BaseModel) -> None:
    """Write a model as JSON, in one piece."""
    write_whole(path, model.model_dump_json(indent=2) + "\n")
