"""Commands of `starter.py` as processes of their own, beside a world that goes on.

Each is forked from a process that has imported the command line already: to import it anew costs
two seconds, and says nothing more about what a command does.
"""

import asyncio
import multiprocessing
import os
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from embedded.processes import ROOT

_SERVER: Final = multiprocessing.get_context("forkserver")
_SERVER.set_forkserver_preload(["tests.support.commands", "starter"])


async def command(environment: Mapping[str, str], *words: str) -> tuple[int, str, str]:
    """Run a command; return its exit code, and what it printed and said."""
    with tempfile.TemporaryDirectory() as made:
        out, err = Path(made) / "out", Path(made) / "err"
        process = _SERVER.Process(target=_run, args=(words, dict(environment), out, err))
        process.start()
        await asyncio.to_thread(process.join)
        code = process.exitcode
        process.close()
        assert code is not None
        said = err.read_text(encoding="utf-8")
        assert "Traceback" not in said, said
        return code, out.read_text(encoding="utf-8"), said


def _run(words: tuple[str, ...], environment: dict[str, str], out: Path, err: Path) -> None:
    """Be the process: with its own streams, environment and folder."""
    for path, stream in ((out, 1), (err, 2)):
        opened = os.open(path, os.O_WRONLY | os.O_CREAT)
        os.dup2(opened, stream)
        os.close(opened)
    os.environ.update(environment)
    os.chdir(ROOT)
    sys.argv = ["starter.py", *words]

    from starter import main

    main()
