"""The embedded stack: what the CLI calls to start, find and stop it.

`up` stays in the foreground until Ctrl-C, `up_detached` leaves a supervisor in the background,
`down` stops either, `load` tells where a running one listens. Every problem is one `StackError`.
"""

import asyncio
from pathlib import Path
from typing import Final

import psutil

from embedded.detached import up_detached
from embedded.errors import StackError
from embedded.files import StackFiles
from embedded.foreground import up
from embedded.options import (
    DIRECTORY,
    StackInfo,
    StackOptions,
    read_info,
    read_record,
)
from embedded.processes import kill_leftovers

__all__ = ["StackError", "StackInfo", "StackOptions", "down", "load", "up", "up_detached"]

DOWN_SECONDS: Final = 90
"""How long `down` waits for a supervisor: longer than the clean stop of all children takes."""


def load(directory: Path = DIRECTORY) -> StackInfo | None:
    """Return the stack that runs in a folder and is ready, None where there is none."""
    info = read_info(StackFiles.of(directory))
    return info if info is not None and info.is_running else None


async def down(directory: Path = DIRECTORY) -> bool:
    """Stop the stack of a folder; return whether there was anything to stop.

    What a killed supervisor left running is stopped too. Data stays.

    Raises:
        StackError: it does not stop.
    """
    files = StackFiles.of(directory)
    record = read_record(files)
    stopped = False
    if record is not None:
        supervisor = record.supervisor.find()
        if supervisor is not None:
            await asyncio.to_thread(_terminate, supervisor)
            stopped = True
        left = await asyncio.to_thread(kill_leftovers, record.children)
        stopped = stopped or bool(left)
    files.info.unlink(missing_ok=True)
    files.processes.unlink(missing_ok=True)
    return stopped


def _terminate(supervisor: psutil.Process) -> None:
    try:
        supervisor.terminate()
        supervisor.wait(DOWN_SECONDS)
    except psutil.NoSuchProcess:
        return
    except psutil.Error as error:
        raise StackError(
            f"The stack's supervisor (pid {supervisor.pid}) can't be stopped: {error}."
        ) from None
