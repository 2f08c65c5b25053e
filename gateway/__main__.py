"""Runs the gateway: `python -m gateway --config dealthread.toml`."""

import asyncio
import gc
import os
import sys
from pathlib import Path
from typing import Annotated

import structlog
import typer
import uvloop

from adapters.registry import SettingsInvalid
from gateway.composition import extensions
from gateway.serve import serve
from operations.config import ConfigInvalid, find_config, load_config
from operations.logs import configure_logs
from operations.servers import Unreachable
from policies.bundle import BundleInvalid
from store.errors import StoreError

_log = structlog.get_logger("dealthread.gateway")


def main(
    config: Annotated[Path | None, typer.Option(help="Path of dealthread.toml.")] = None,
) -> None:
    """Receive events as dealthread.toml describes, until SIGTERM or Ctrl-C.

    Example: python -m gateway --config dealthread.toml
    """
    configure_logs()
    code = 0
    try:
        loaded = load_config(find_config(config))
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(serve(loaded, extensions(loaded)))
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
    typer.run(main)
