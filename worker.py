"""Runs Dealthread's Temporal workers: `python worker.py --config dealthread.toml`."""

import asyncio
import gc
import os
import signal
import sys
from pathlib import Path
from typing import Annotated

import typer
import uvloop
from temporalio.runtime import Runtime

from adapters.registry import SettingsInvalid
from operations.composition import build_house, connect_temporal
from operations.config import Config, ConfigInvalid, find_config, load_config
from operations.health import serving_health
from operations.logs import configure_logs
from operations.workers import prepare_namespace, running_workers
from policies.bundle import BundleInvalid


async def serve(config: Config) -> None:
    """Serve until SIGTERM or SIGINT; then finish what is under way."""
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    house = build_house(config)
    try:
        client = await connect_temporal(config, Runtime.default())
        await prepare_namespace(client, config)
        async with running_workers(client, config, house), serving_health(config, house):
            await stop.wait()
    finally:
        await house.aclose()


def main(
    config: Annotated[Path | None, typer.Option(help="Path of dealthread.toml.")] = None,
) -> None:
    """Run the workers that dealthread.toml describes."""
    configure_logs()
    code = 0
    try:
        loaded = load_config(find_config(config))
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(serve(loaded))
    except (ConfigInvalid, SettingsInvalid, BundleInvalid) as error:
        sys.stderr.write(f"{error}\n")
        code = 2
    gc.collect()
    sys.stdout.flush()
    sys.stderr.flush()
    # A process that ran a worker may abort in the interpreter's own exit (SDK 1.35).
    os._exit(code)


if __name__ == "__main__":
    typer.run(main)
