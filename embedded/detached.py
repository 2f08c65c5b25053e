"""A stack in the background: its launch, and the supervisor process itself.

The launched process forks before it does anything, so that the supervisor is nobody's child. They
talk through the pipe of its standard output, one JSON line at a time, until the stack is ready.
"""

import asyncio
import contextlib
import json
import os
import subprocess
import sys
from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path
from typing import Final

from embedded.errors import StackError
from embedded.files import StackFiles
from embedded.foreground import up
from embedded.options import StackInfo, StackOptions, read_record
from embedded.processes import ROOT, surroundings, tail

LINE_BYTES_MAX: Final = 1 << 20
OUTPUT: Final = 1


async def up_detached(options: StackOptions) -> StackInfo:
    """Start a stack whose supervisor runs in the background; return once everything answers.

    Raises:
        StackError: as `up`; nothing runs then.
    """
    files = StackFiles.of(options.directory)
    files.make()
    log = files.logs / "supervisor.log"
    text = options.model_copy(update={"directory": files.root}).model_dump_json()
    async with _launched(text, log) as lines:
        try:
            while line := await lines.readline():
                kind, content = json.loads(line)
                if kind == "ready":
                    return StackInfo.model_validate(content)
                if kind == "error":
                    raise StackError(content)
                options.progress(content)
        except asyncio.CancelledError:
            _ask_to_stop(files)
            raise
    said = "".join(f"\n  {line}" for line in tail(log)) or " nothing."
    raise StackError(f"The supervisor ended unexpectedly. The last lines of {log}:{said}")


def main(text: str) -> None:
    """Be the supervisor: `text` is the options as JSON."""
    options = StackOptions.model_validate_json(text).model_copy(
        update={"progress": lambda line: _tell("progress", line)}
    )

    def ready(info: StackInfo) -> None:
        _tell("ready", info.model_dump(mode="json"))
        with open(os.devnull, "wb") as nowhere:  # noqa: PTH123 - a descriptor is needed
            os.dup2(nowhere.fileno(), OUTPUT)

    try:
        asyncio.run(up(options, ready))
    except StackError as error:
        sys.stderr.write(f"{error}\n")
        _tell("error", str(error))
        sys.exit(1)


@contextlib.asynccontextmanager
async def _launched(options: str, log: Path) -> AsyncIterator[asyncio.StreamReader]:
    """Launch a supervisor and give what it says; it outlives the reader."""
    reading, writing = os.pipe()
    lines = asyncio.StreamReader(limit=LINE_BYTES_MAX)
    transport, _ = await asyncio.get_running_loop().connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(lines), os.fdopen(reading, "rb")
    )
    try:
        with os.fdopen(writing, "wb") as output, log.open("wb") as errors:
            launch = partial(
                subprocess.run,
                [sys.executable, "-m", "embedded", options],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=errors,
                cwd=ROOT,
                env=surroundings().environment,
                start_new_session=True,
                check=True,
            )
            await asyncio.to_thread(launch)
        yield lines
    finally:
        transport.close()


def _ask_to_stop(files: StackFiles) -> None:
    record = read_record(files)
    supervisor = record.supervisor.find() if record is not None else None
    if supervisor is not None:
        supervisor.terminate()


def _tell(kind: str, content: object) -> None:
    with contextlib.suppress(OSError):  # whoever launched us may be gone
        os.write(OUTPUT, json.dumps([kind, content]).encode() + b"\n")
