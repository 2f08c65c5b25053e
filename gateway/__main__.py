"""Runs the gateway: `python -m gateway door` and, beside it, `python -m gateway drain`."""

import asyncio
import gc
import os
import sys
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Annotated

import structlog
import typer
import uvloop

from adapters.registry import SettingsInvalid
from gateway.composition import extensions
from gateway.serve import serve_door, serve_drain
from operations.config import Config, ConfigInvalid, find_config, load_config
from operations.logs import configure_logs
from operations.servers import Unreachable
from operations.tracing import tracing
from policies.bundle import BundleInvalid
from store.errors import StoreError

ConfigPath = Annotated[Path | None, typer.Option(help="Path of dealthread.toml.")]

commands = typer.Typer(
    help="The gateway: events in. The door receives them, the drain sends them on.",
    no_args_is_help=True,
    add_completion=False,
)
_log = structlog.get_logger("dealthread.gateway")


@commands.command()
def door(config: ConfigPath = None) -> None:
    """Receive events as dealthread.toml describes, until SIGTERM or Ctrl-C.

    Example: python -m gateway door --config dealthread.toml
    """
    _run(config, "door", serve_door)


@commands.command()
def drain(config: ConfigPath = None) -> None:
    """Send received events on to workflows and read change feeds, until SIGTERM or Ctrl-C.

    Example: python -m gateway drain --config dealthread.toml
    """
    _run(config, "drain", lambda loaded: serve_drain(loaded, extensions(loaded)))


def _run(
    path: Path | None, process: str, serve: Callable[[Config], Coroutine[None, None, None]]
) -> None:
    configure_logs()
    code = 0
    try:
        loaded = load_config(find_config(path))
        with (
            tracing(loaded, process),
            asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner,
        ):
            runner.run(serve(loaded))
    except (BundleInvalid, ConfigInvalid, SettingsInvalid, Unreachable, StoreError) as error:
        sys.stderr.write(f"{error}\n")
        code = 1
    except Exception:
        _log.exception("gateway_failed")
        code = 1
    gc.collect()
    sys.stdout.flush()
    sys.stderr.flush()
    # A process that held a Temporal client may abort in the interpreter's own exit (SDK 1.35).
    os._exit(code)


if __name__ == "__main__":
    commands()
