"""Runs a stack in this process until it is asked to stop."""

import asyncio
import contextlib
import signal
from collections.abc import Callable, Iterator
from typing import Final

from embedded.errors import StackError
from embedded.files import StackFiles
from embedded.options import StackInfo, StackOptions
from embedded.supervisor import Supervisor

STOP_SIGNALS: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


async def up(options: StackOptions, ready: Callable[[StackInfo], None] = lambda _: None) -> None:
    """Start a stack and keep it running until Ctrl-C or SIGTERM; a second one hurries.

    The data of an earlier run is there again. `ready` is called once everything answers.

    Raises:
        StackError: a port is in use, something is missing, a child ended; all others were stopped.
    """
    files = StackFiles.of(options.directory)
    files.make()
    with files.held():
        supervisor = Supervisor(options, files)
        stop = asyncio.Event()
        with _on_signals(lambda: (supervisor.hurry if stop.is_set() else stop).set()):
            work = asyncio.create_task(supervisor.run(ready))
            asked = asyncio.create_task(stop.wait())
            try:
                await asyncio.wait((work, asked), return_when=asyncio.FIRST_COMPLETED)
            finally:
                stop.set()  # from here on a signal means: hurry
                asked.cancel()
                work.cancel()
                (failure,) = await asyncio.gather(work, return_exceptions=True)
                await supervisor.stop()
            if isinstance(failure, OSError):
                raise StackError(f"The stack can't go on: {failure}.") from failure
            if isinstance(failure, Exception):
                raise failure


@contextlib.contextmanager
def _on_signals(act: Callable[[], object]) -> Iterator[None]:
    loop = asyncio.get_running_loop()
    for number in STOP_SIGNALS:
        loop.add_signal_handler(number, act)
    try:
        yield
    finally:
        for number in STOP_SIGNALS:
            loop.remove_signal_handler(number)
